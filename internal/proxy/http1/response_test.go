package http1

import (
	"errors"
	"strings"
	"testing"
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

type badResponse struct {
	rule string
	head string
	want *ParseError
}

// badResponses are answers of an upstream that must not reach a client.
func badResponses() []badResponse {
	line := func(l string) string { return l + "\r\nContent-Length: 0\r\n\r\n" }
	field := func(f string) string { return "HTTP/1.1 200 OK\r\n" + f + "\r\n\r\n" }
	return []badResponse{
		{"9112/4 empty line before", "\r\n" + line("HTTP/1.1 200 OK"), errVersion},
		{"9112/4 no status", line("HTTP/1.1"), errStatusLine},
		{"9112/4 two SP", line("HTTP/1.1  200 OK"), errStatusCode},
		{"9112/4 HTAB", line("HTTP/1.1\t200 OK"), errStatusLine},
		{"9110/15 two digits", line("HTTP/1.1 20 OK"), errStatusCode},
		{"9110/15 four digits", line("HTTP/1.1 2000 OK"), errStatusCode},
		{"9110/15 below 100", line("HTTP/1.1 099 OK"), errStatusCode},
		{"9110/15 sign", line("HTTP/1.1 +20 OK"), errStatusCode},
		{"9112/4 NUL in reason", line("HTTP/1.1 200 O\x00K"), errStatusLine},
		{"9112/2.3 HTTP/2.0", line("HTTP/2.0 200 OK"), errVersion},
		{"9112/2.3 HTTP/1.2", line("HTTP/1.2 200 OK"), errVersion},
		{"9112/2.3 not HTTP", line("ICY 200 OK"), errVersion},
		{"9112/2.2 LF", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", errBareLF},
		{"9112/2.2 LF without reason", "HTTP/1.1 200\nContent-Length: 0\r\n\r\n", errBareLF},
		{"9112/2.2 CR in reason", line("HTTP/1.1 200 O\rK"), errBareCR},
		{"9112/5.2 folded line", field("A: b\r\n c"), errFold},
		{"9112/5.1 SP before colon", field("Content-Length : 1"), errSpaceColon},
		{"9110/5.5 NUL in value", field("A: b\x00"), errFieldValue},
		{"9112/2.2 LF in value", field("A: b\nSet-Cookie: c"), errBareLF},
		{"9112/6.1 length and coding", field("Content-Length: 1\r\nTransfer-Encoding: chunked"), errLengthAndCoding},
		{"9112/6.3 two lengths", field("Content-Length: 1\r\nContent-Length: 1"), errLengthTwice},
		{"9112/6.3 list of lengths", field("Content-Length: 1, 1"), errLength},
		{"9110/8.6 negative", field("Content-Length: -1"), errLength},
		{"9112/6.1 other coding", field("Transfer-Encoding: gzip, chunked"), errCoding},
		{"9112/6.1 coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", errCodingVersion},
		{"9110/8.6 204 with length", "HTTP/1.1 204 No\r\nContent-Length: 1\r\n\r\n", errNoContent},
		{"9112/6.1 204 with coding", "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", errNoContent},
		{"9110/8.6 100 with length", "HTTP/1.1 100 Go\r\nContent-Length: 1\r\n\r\n", errNoContent},
		{"9112/6.1 103 with coding", "HTTP/1.1 103 Go\r\nTransfer-Encoding: chunked\r\n\r\n", errNoContent},
		{"9112/6.1 101 with coding", "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: a\r\nTransfer-Encoding: chunked\r\n\r\n", errNoContent},
		{"9110/15.2.2 101 without Upgrade", "HTTP/1.1 101 Go\r\nConnection: upgrade\r\n\r\n", errSwitching},
		{"9110/7.8 101 without the option", "HTTP/1.1 101 Go\r\nUpgrade: a\r\n\r\n", errSwitching},
		{"9110/7.8 101 in HTTP/1.0", "HTTP/1.0 101 Go\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n", errSwitching},
		{"9112/5 too long", field("A: " + strings.Repeat("a", DefaultMaxHeadBytes)), errHeadTooLarge},
		{"9112/5 too many", field(strings.Repeat("A: b\r\n", DefaultMaxHeaders+1)), errTooManyHeaders},
	}
}

func TestResponseRefused(t *testing.T) {
	for _, c := range badResponses() {
		t.Run(c.rule, func(t *testing.T) {
			var r Response
			_, err := r.Parse([]byte(c.head), false, false, nil)
			var pe *ParseError
			if !errors.As(err, &pe) || pe != c.want {
				t.Fatalf("%.200q: %v, want %v", c.head, err, c.want)
			}
		})
	}
}

func TestResponsePrefixes(t *testing.T) {
	heads := []string{okResponse, "HTTP/1.0 404\r\n\r\n"}
	for _, c := range badResponses() {
		if len(c.head) < 1000 {
			heads = append(heads, c.head)
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
