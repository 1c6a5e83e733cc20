package http1

import (
	"math/rand/v2"
	"testing"
)

// A mutator that knows nothing of HTTP seldom gets past the request line. This
// generator puts messages together from pieces that are right, nearly right and
// hostile, and holds each against net/http as the fuzz targets do.
func TestDifferential(t *testing.T) {
	const rounds = 20_000
	rnd := rand.New(rand.NewPCG(9112, 2))
	accepted := 0
	for range rounds {
		if differRequest(t, generate(rnd, requestLines, requestFields)) {
			accepted++
		}
		if differResponse(t, generate(rnd, statusLines, responseFields), pick(rnd, []string{"GET", "HEAD"})) {
			accepted++
		}
	}
	if accepted < rounds/4 {
		t.Errorf("only %d of %d were accepted: the generator has become too hostile", accepted, 2*rounds)
	}
}

func differRequest(t *testing.T, b []byte) (accepted bool) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("in %q", b)
		}
	}()
	checkRequestPrefixes(t, b)
	var r Request
	n, err := r.Parse(b, nil)
	if err != nil {
		return false
	}
	compareRequest(t, &r, b, n)
	checkRequestRoundTrip(t, &r)
	return true
}

func differResponse(t *testing.T, b []byte, method string) (accepted bool) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("in %q, to %s", b, method)
		}
	}()
	checkResponsePrefixes(t, b)
	var r Response
	n, err := r.Parse(b, method == "HEAD", false, nil)
	if err != nil {
		return false
	}
	compareResponse(t, &r, b, n, method)
	checkResponseRoundTrip(t, &r, method == "HEAD")
	return true
}

var (
	requestLines = [][]string{
		{"", "", "", "", "", "\r\n", "\n", " "},
		{"GET", "POST", "HEAD", "OPTIONS", "CONNECT", "get", "M-SEARCH", "G,T"},
		{" ", " ", " ", " ", " ", " ", "  ", "\t"},
		{
			"/", "/a?b=c", "/%41%2f", "//a", "/a?%", "*", "http://a", "http://A/b", "HTTP://a:80?c", "a:80", "[::1]:80",
			"/?a#b", "/%zz", "/a;b=c", "/a/../b", "http://a@b/", "/|{}\"<>`^", "/\\", "/?", "/:", "http://[::1]/", "http://a/%2",
		},
		{" ", " ", " ", " ", " ", "  "},
		{"HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.0", "HTTP/2.0", "HTTP/1.1 "},
		{"\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r"},
		{"Host: a\r\n", "Host: a\r\n", "host:a:80\r\n", "Host: A\r\n", "Host: [::1]\r\n", "Host: a:\r\n", "Host: a,b\r\n", ""},
	}
	requestFields = append(sharedFields,
		"Expect: 100-continue\r\n", "TE: trailers\r\n", "TE: trailers, gzip;q=0.1\r\n", "Host: a\r\n",
		"X-Request-Id: 1\r\n", "HTTP2-Settings: a\r\n", "Upgrade: h2c\r\n", "Pragma: no-cache\r\n",
	)
	statusLines = [][]string{
		{"HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2"},
		{" ", " ", " ", " ", " ", "  ", "\t"},
		{"200", "200", "200", "204", "304", "100", "103", "101", "404", "426", "599", "999", "099", "20", "2000"},
		{" OK", " OK", " ", "", " a b\tc", "  x ", " \xff", "\x00"},
		{"\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r"},
	}
	responseFields = append(sharedFields, "Set-Cookie: a\r\n", "Upgrade: h2,h2c\r\n", "Cache-Control: no-store\r\n")

	sharedFields = []string{
		"Content-Length: 5\r\n", "Content-Length: 5\r\n", "content-length:\t0 \r\n", "Content-Length: 005\r\n",
		"Content-Length: 5,5\r\n", "Content-Length: +5\r\n", "Content-Length:\r\n",
		"Transfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\n", "transfer-encoding:CHUNKED \r\n",
		"Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: chunked\r\n , gzip\r\n", "Transfer-Encoding: \x0bchunked\r\n",
		"Connection: close\r\n", "Connection: keep-alive\r\n", "Connection: upgrade\r\n", "Connection: x-a, content-length\r\n",
		"Connection: , close,\r\n", "Connection: \"close\"\r\n", "Connection: transfer-encoding\r\n",
		"Upgrade: websocket\r\n", "Trailer: X-Sum\r\n", "Trailer: content-length\r\n", "Keep-Alive: timeout=5\r\n", "Proxy-Connection: close\r\n",
		"X-A: b\r\n", "x-a:b\r\n", "X-A:  b\tc \r\n", "X-A:\r\n", "X-A: \xff\r\n", "Content_Length: 7\r\n", "X-Long: " + long + "\r\n",
		"X-A: b\rc\r\n", "X-A: b\nc: d\r\n", "X-A : b\r\n", " X-A: b\r\n", ": b\r\n", "X-A\r\n", "X-A: \x00\r\n", "X-A: b\n",
	}
	bodies = []string{
		"", "", "hello", "hello", "hell", "helloGET / HTTP/1.1\r\n\r\n",
		"5\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", "5;a=\"b;\"\r\nhello\r\n00\r\nX-Sum: 1\r\n\r\nmore",
		"5\r\nhello0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n", "5\r\nhello\r\n0\r\nContent-Length: 1\r\n\r\n", "5\r\nhel", "0\r\n",
		"5\r\nhello\r\n0\r\n\n", "0x5\r\nhello\r\n0\r\n\r\n", "5;\r\nhello\r\n0\r\n\r\n", "ffffffffffffffff\r\n", "1\r\na\r\n0\r\nX-Sum: a\r\n b\r\n\r\n",
	}
)

const long = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func generate(rnd *rand.Rand, line [][]string, fields []string) []byte {
	var b []byte
	for _, choices := range line {
		// Mostly the first choice, so that most messages are nearly right.
		if rnd.IntN(4) > 0 {
			b = append(b, choices[rnd.IntN((len(choices)+1)/2)]...)
		} else {
			b = append(b, pick(rnd, choices)...)
		}
	}
	for range rnd.IntN(4) {
		b = append(b, pick(rnd, fields)...)
	}
	b = append(b, pick(rnd, []string{"\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r\n\r\n", ""})...)
	return append(b, pick(rnd, bodies)...)
}

func pick(rnd *rand.Rand, from []string) string { return from[rnd.IntN(len(from))] }
