package http1

import (
	"errors"
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/http1/http1test"
)

// The body of a response depends on its request and status (RFC 9112 section 6.3).
func TestResponseBody(t *testing.T) {
	const (
		get = iota
		head
		connect
	)
	length := Body{BodyLength, 5}
	chunked := Body{Kind: BodyChunked}
	until := Body{Kind: BodyUntilClose}
	for _, c := range []struct {
		name      string
		req       int
		head      string
		want      Body
		keepAlive bool
	}{
		{"length", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", length, true},
		{"length 0", get, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", Body{}, true},
		{"length, close", get, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n", length, false},
		{"length, 1.0", get, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n", length, false},
		{"length, 1.0 kept", get, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n", length, true},
		{"chunked", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n", chunked, true},
		{"until close", get, "HTTP/1.1 200 OK\r\n", until, false},
		{"until close, 1.0 kept", get, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", until, false},
		{"error status", get, "HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n", length, true},
		{"no reason", get, "HTTP/1.1 200\r\nContent-Length: 5\r\n", length, true},
		{"empty reason", get, "HTTP/1.1 200 \r\nContent-Length: 5\r\n", length, true},
		{"status 999", get, "HTTP/1.1 999 X\r\nContent-Length: 5\r\n", length, true},
		{"204", get, "HTTP/1.1 204 No Content\r\n", Body{}, true},
		{"204 length 0", get, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n", Body{}, true},
		{"304", get, "HTTP/1.1 304 Not Modified\r\n", Body{}, true},
		{"304 length", get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n", Body{}, true},
		{"304 chunked", get, "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n", Body{}, true},
		{"100", get, "HTTP/1.1 100 Continue\r\n", Body{}, true},
		{"103", get, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n", Body{}, true},
		{"HEAD", head, "HTTP/1.1 200 OK\r\n", Body{}, true},
		{"HEAD length", head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Body{}, true},
		{"HEAD chunked", head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", Body{}, true},
		{"CONNECT 200", connect, "HTTP/1.1 200 OK\r\n", Body{}, false},
		{"CONNECT 200 length", connect, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", Body{}, false},
		{"CONNECT 407", connect, "HTTP/1.1 407 No\r\nContent-Length: 5\r\n", length, true},
		{"101", get, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n", Body{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r Response
			b := c.head + "\r\n"
			n, err := r.Parse([]byte(b+"tail"), c.req == head, c.req == connect, nil)
			if err != nil || n != len(b) {
				t.Fatalf("n=%d err=%v", n, err)
			}
			if r.Body != c.want || r.KeepAlive != c.keepAlive {
				t.Errorf("body %v, keep-alive %v", r.Body, r.KeepAlive)
			}
			tunnel := r.Status == 101 || c.req == connect && r.Status == 200
			if r.Tunnel != tunnel || r.Informational != (r.Status < 200 && r.Status != 101) {
				t.Errorf("tunnel %v, informational %v", r.Tunnel, r.Informational)
			}
		})
	}
}

func TestResponseRefused(t *testing.T) {
	for _, c := range http1test.Responses() {
		t.Run(c.Rule, func(t *testing.T) {
			var r Response
			_, err := r.Parse([]byte(c.Bytes), false, false, nil)
			var pe *ParseError
			if !errors.As(err, &pe) || pe.Reason != c.Reason {
				t.Fatalf("%.200q: %v, want %s", c.Bytes, err, c.Reason)
			}
		})
	}
}

func TestResponsePrefixes(t *testing.T) {
	heads := []string{okResponse, "HTTP/1.0 404\r\n\r\n"}
	for _, c := range http1test.Responses() {
		if len(c.Bytes) < 1000 {
			heads = append(heads, c.Bytes)
		}
	}
	for _, h := range heads {
		checkResponsePrefixes(t, []byte(h))
	}
}

func checkResponsePrefixes(t *testing.T, b []byte) {
	t.Helper()
	var whole, part Response
	n, err := whole.Parse(b, false, false, nil)
	for i := range b {
		pn, perr := part.Parse(b[:i], false, false, nil)
		if perr == ErrMore { //nolint:errorlint // identity
			continue
		}
		if pn != n || perr != err { //nolint:errorlint // identity
			t.Fatalf("%q: %d %v; its first %d bytes: %d %v", b, n, err, i, pn, perr)
		}
		return
	}
}
