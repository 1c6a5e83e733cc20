package http1

import (
	"errors"
	"strings"
	"testing"
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

type badBody struct {
	rule, body string
	want       *ParseError
}

// badBodies are chunked bodies whose end, or meaning, parsers differ over.
func badBodies() []badBody {
	return []badBody{
		{"9112/7.1 no size", "\r\n\r\n", errChunkSize},
		{"9112/7.1 extension without size", ";a\r\n\r\n", errChunkSize},
		{"9112/7.1 no hexadecimal", "g\r\n", errChunkSize},
		{"9112/7.1 plus", "+1\r\na\r\n", errChunkSize},
		{"9112/7.1 minus", "-1\r\na\r\n", errChunkSize},
		{"9112/7.1 0x", "0x1\r\na\r\n", errChunkSize},
		{"9112/7.1 underscore", "1_0\r\na\r\n", errChunkSize},
		{"9112/7.1 SP before", " 1\r\na\r\n", errChunkSize},
		{"9112/7.1 SP behind", "1 \r\na\r\n", errChunkSize},
		{"9112/7.1 HTAB behind", "1\t\r\na\r\n", errChunkSize},
		{"9112/7.1 SP before extension", "1 ;a\r\na\r\n", errChunkSize},
		{"9112/7.1 2^63", "8000000000000000\r\n", errChunkSize},
		{"9112/7.1 2^64", "10000000000000000\r\n", errChunkSize},
		{"9112/7.1 2^64+1", "10000000000000001\r\n", errChunkSize},
		{"9112/7.1 many zeros", strings.Repeat("0", 17) + "\r\n\r\n", errChunkSize},
		{"9112/2.2 LF behind size", "1\na\r\n", errBareLF},
		{"9112/2.2 CR behind size", "1\ra\r\n", errBareCR},
		{"9112/7.1 no CRLF behind data", "1\r\nab\r\n", errChunkEnd},
		{"9112/7.1 LF behind data", "1\r\na\n0\r\n\r\n", errChunkEnd},
		{"9112/7.1 CR behind data", "1\r\na\r0\r\n\r\n", errChunkEnd},
		{"9112/7.1.1 no name", "1;\r\na\r\n", errChunkExt},
		{"9112/7.1.1 no name before value", "1;=a\r\na\r\n", errChunkExt},
		{"9112/7.1.1 no value", "1;a=\r\na\r\n", errChunkExt},
		{"9112/7.1.1 SP", "1; a\r\na\r\n", errChunkExt},
		{"9112/7.1.1 SP in value", "1;a=b c\r\na\r\n", errChunkExt},
		{"9112/7.1.1 LF in name", "1;a\n0\r\n\r\n", errBareLF},
		{"9112/7.1.1 LF in value", "1;a=b\n0\r\n\r\n", errBareLF},
		{"9112/7.1.1 CR in extension", "1;a\rb\r\n", errBareCR},
		{"9112/7.1.1 CRLF in quotes", "1;a=\"\r\n\"\r\na\r\n", errChunkExt},
		{"9112/7.1.1 behind quotes", "1;a=\"b\"c\r\na\r\n", errChunkExt},
		{"9112/7.1.1 control escaped", "1;a=\"\\\x01\"\r\na\r\n", errChunkExt},
		{"9112/7.1.1 NUL", "1;a\x00\r\na\r\n", errChunkExt},
		{"9112/7.1.1 too long", "1;" + strings.Repeat("a", DefaultMaxChunkExtBytes) + "\r\na\r\n", errChunkExtLong},
		{"9112/7.1.2 LF ends trailers", "0\r\nA: b\r\n\n", errBareLF},
		{"9112/7.1.2 LF ends body", "0\r\n\n", errBareLF},
		{"9112/7.1.2 CR ends body", "0\r\n\rX\n", errBareCR},
		{"9112/7.1.2 folded trailer", "0\r\nA: b\r\n c\r\n\r\n", errFold},
		{"9112/7.1.2 SP before colon", "0\r\nA : b\r\n\r\n", errSpaceColon},
		{"9112/7.1.2 no colon", "0\r\nA\r\n\r\n", errFieldName},
		{"9112/7.1.2 a request for trailers", "0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", errSpaceColon},
		{"9110/5.5 NUL in trailer", "0\r\nA: \x00\r\n\r\n", errFieldValue},
		{"9110/6.5.1 Transfer-Encoding", "0\r\nTransfer-Encoding: chunked\r\n\r\n", errTrailer},
		{"9110/6.5.1 Content-Length", "0\r\ncontent-length: 1\r\n\r\n", errTrailer},
		{"9110/6.5.1 Host", "0\r\nHost: a\r\n\r\n", errTrailer},
		{"9110/6.5.1 Connection", "0\r\nConnection: close\r\n\r\n", errTrailer},
		{"9110/6.5.1 Trailer", "0\r\nTrailer: a\r\n\r\n", errTrailer},
		{"9110/6.5.1 TE", "0\r\nTE: trailers\r\n\r\n", errTrailer},
		{"9110/6.5.1 Upgrade", "0\r\nUpgrade: a\r\n\r\n", errTrailer},
		{"9110/6.5.1 Expect", "0\r\nExpect: 100-continue\r\n\r\n", errTrailer},
		{"9110/6.5.1 Content-Encoding", "0\r\nContent-Encoding: gzip\r\n\r\n", errTrailer},
		{"9110/6.5.1 Authorization", "0\r\nAuthorization: a\r\n\r\n", errTrailer},
		{"9112/7.1.2 too large", "0\r\nA: " + strings.Repeat("a", DefaultMaxTrailerBytes) + "\r\n\r\n", errTrailerLarge},
		{"9112/7.1.2 too large without a line end", "0\r\n" + strings.Repeat("a", DefaultMaxTrailerBytes+1), errTrailerLarge},
		{"9112/7.1.2 too many", "0\r\n" + strings.Repeat("A: b\r\n", DefaultMaxHeaders+1) + "\r\n", errTooManyHeaders},
	}
}

func TestChunkRefused(t *testing.T) {
	for _, c := range badBodies() {
		t.Run(c.rule, func(t *testing.T) {
			b := []byte(c.body)
			got := readChunks(t, b)
			var pe *ParseError
			if !errors.As(got.err, &pe) || pe != c.want || got.done {
				t.Fatalf("%.200q: %+v, want %v", c.body, got, c.want)
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

// Payload that went by unseen is accounted for.
func TestChunkSkip(t *testing.T) {
	var c ChunkReader
	c.Reset(nil)
	if _, _, err := c.Scan([]byte("a\r\n01")); err != nil || c.Remaining() != 8 {
		t.Fatal(err, c.Remaining())
	}
	c.Skip(8)
	if n, done, err := c.Scan([]byte("\r\n0\r\n\r\n")); n != 7 || !done || err != nil || c.Payload() != 10 || c.Remaining() != 0 {
		t.Fatal(n, done, err, c.Payload())
	}
	defer func() {
		if recover() == nil {
			t.Error("Skip beyond the chunk went unnoticed")
		}
	}()
	c.Skip(1)
}
