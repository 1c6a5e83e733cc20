package http1

import (
	"errors"
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/http1/http1test"
)

func TestChunkReader(t *testing.T) {
	for _, c := range []struct{ name, body, payload, trailers string }{
		{"empty", "0\r\n\r\n", "", ""},
		{"one", "5\r\nhello\r\n0\r\n\r\n", "hello", ""},
		{"two", "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!", ""},
		{"hexadecimal", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", ""},
		{"leading zeros", "0000000000000001\r\na\r\n000\r\n\r\n", "a", ""},
		{"payload that looks like framing", "5\r\n\r\n0\r\n\r\n0\r\n\r\n", "\r\n0\r\n", ""},
		{"extensions", "1;a\r\nx\r\n1;a=b;c\r\ny\r\n0;d=\"e; \\\"\"\r\n\r\n", "xy", ""},
		{"trailers", "1\r\nx\r\n0\r\nA: b\r\nc:\td \r\n\r\n", "x", "A=b c=d "},
	} {
		t.Run(c.name, func(t *testing.T) {
			const next = "GET / HTTP/1.1"
			stream := []byte(c.body + next)
			// Every way to cut the stream in three gives the same.
			for i := range len(stream) + 1 {
				for j := i; j <= len(stream); j++ {
					got := readChunks(t, stream[:i], stream[i:j], stream[j:])
					if got.payload != c.payload || got.trailers != c.trailers || got.n != len(c.body) || !got.done || got.err != nil {
						t.Fatalf("cut at %d, %d: %+v", i, j, got)
					}
				}
			}
		})
	}
}

type chunkResult struct {
	payload, trailers string
	n                 int
	done              bool
	err               error
}

// readChunks reads pieces with both methods, which must agree.
func readChunks(t *testing.T, pieces ...[]byte) chunkResult {
	t.Helper()
	var scan, decode ChunkReader
	scan.Reset(nil)
	decode.Reset(nil)
	var res chunkResult
	var out []byte
	for _, p := range pieces {
		n, done, err := scan.Scan(p)
		var n2 int
		var done2 bool
		var err2 error
		out, n2, done2, err2 = decode.Decode(out, p)
		if n != n2 || done != done2 || err != err2 { //nolint:errorlint // identity
			t.Fatalf("Scan: %d %v %v, Decode: %d %v %v", n, done, err, n2, done2, err2)
		}
		res.n += n
		res.done, res.err = done, err
		if err == nil && !done && n != len(p) {
			t.Fatalf("Scan took %d of %d bytes without an end", n, len(p))
		}
	}
	res.payload = string(out)
	if scan.Payload() != int64(len(out)) || scan.Done() != res.done {
		t.Fatalf("payload %d, done %v", scan.Payload(), scan.Done())
	}
	for _, h := range scan.Trailers() {
		res.trailers += string(h.Name) + "=" + string(h.Value) + " "
	}
	return res
}

func TestChunkRefused(t *testing.T) {
	for _, c := range http1test.ChunkedBodies() {
		t.Run(c.Rule, func(t *testing.T) {
			b := []byte(c.Bytes)
			got := readChunks(t, b)
			var pe *ParseError
			if !errors.As(got.err, &pe) || pe.Reason != c.Reason || got.done {
				t.Fatalf("%.200q: %+v, want %s", c.Bytes, got, c.Reason)
			}
			if len(b) > 500 {
				return
			}
			for i := range b {
				if cut := readChunks(t, b[:i], b[i:]); cut.err != got.err || cut.payload != got.payload { //nolint:errorlint // identity
					t.Fatalf("cut at %d: %+v", i, cut)
				}
			}
		})
	}
}

// A reader that refused a body never goes on with it.
func TestChunkErrorStays(t *testing.T) {
	var c ChunkReader
	c.Reset(nil)
	if _, _, err := c.Scan([]byte("x")); err == nil {
		t.Fatal("accepted")
	}
	if n, done, err := c.Scan([]byte("0\r\n\r\n")); n != 0 || done || err == nil {
		t.Fatal(n, done, err)
	}
	c.Reset(nil)
	if n, done, err := c.Scan([]byte("0\r\n\r\n")); n != 5 || !done || err != nil {
		t.Fatal(n, done, err)
	}
}
