package http1

import "testing"

// What goes to the upstream, for what came: RFC 9110 section 7.6.1 and RFC 9112
// section 3.2.
func TestRequestForward(t *testing.T) {
	id := ForwardOptions{Extra: []Header{{Name: []byte("x-request-id"), Value: []byte("7")}}}
	for _, c := range []struct {
		name     string
		opts     ForwardOptions
		in, want string
	}{
		{
			"as it is",
			ForwardOptions{},
			"GET /a?b HTTP/1.1\r\nHost: c\r\nUser-Agent: d\r\nACCEPT: e\r\nCookie: f\r\nCookie: g\r\n\r\n",
			"GET /a?b HTTP/1.1\r\nHost: c\r\nUser-Agent: d\r\nACCEPT: e\r\nCookie: f\r\nCookie: g\r\n\r\n",
		},
		{
			"host first, white space normal",
			ForwardOptions{},
			"GET / HTTP/1.1\r\nA:b\r\nB:  c\t\r\nC: d\r\nE:\r\nhOST:x\r\nD: e \r\n\r\n",
			"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\nB: c\r\nC: d\r\nE: \r\nD: e\r\n\r\n",
		},
		{
			"absolute-form",
			ForwardOptions{},
			"GET http://A:80/b HTTP/1.1\r\nX: y\r\nHost: a\r\n\r\n",
			"GET /b HTTP/1.1\r\nHost: A:80\r\nX: y\r\n\r\n",
		},
		{
			"absolute-form without path",
			ForwardOptions{},
			"GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n",
			"GET /?b HTTP/1.1\r\nHost: a\r\n\r\n",
		},
		{
			"asterisk-form from absolute-form",
			ForwardOptions{},
			"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
			"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		},
		{
			"CONNECT",
			ForwardOptions{},
			"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
			"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
		},
		{
			"hop-by-hop fields end here",
			ForwardOptions{},
			"GET / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nx-hop: 2\r\nX-Stay: 3\r\n" +
				"Proxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: x\r\nHTTP2-Settings: y\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\nX-Stay: 3\r\n\r\n",
		},
		{
			"Connection can not remove what is for all",
			ForwardOptions{},
			"POST / HTTP/1.1\r\nConnection: host, content-length, authorization, cookie, x-forwarded-for, content-type, trailer\r\nHost: a\r\n" +
				"Content-Length: 1\r\nAuthorization: b\r\nCookie: c\r\nX-Forwarded-For: d\r\nContent-Type: e\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nAuthorization: b\r\nCookie: c\r\nX-Forwarded-For: d\r\nContent-Type: e\r\n\r\n",
		},
		{
			"Connection can not remove what others rely on",
			ForwardOptions{},
			"POST / HTTP/1.1\r\nConnection: expect, x-request-id, trailer, forwarded, date\r\nHost: a\r\nExpect: 100-continue\r\n" +
				"X-Request-Id: b\r\nTrailer: c\r\nForwarded: d\r\nDate: e\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" +
				"X-Request-Id: b\r\nTrailer: c\r\nForwarded: d\r\nDate: e\r\n\r\n",
		},
		{
			"Connection can not remove the coding",
			ForwardOptions{},
			"POST / HTTP/1.1\r\nConnection: transfer-encoding\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
		},
		{
			"coding restated, trailers announced",
			ForwardOptions{},
			"POST / HTTP/1.1\r\ntransfer-encoding:Chunked\r\nHost: a\r\nTrailer: X-Sum\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n",
		},
		{
			"trailers wanted",
			ForwardOptions{},
			"GET / HTTP/1.1\r\nHost: a\r\nTE: deflate;q=0.5, trailers\r\nConnection: TE\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\n\r\n",
		},
		{
			"tunnel",
			ForwardOptions{},
			"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		},
		{
			"h2c is not taken up",
			ForwardOptions{},
			"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		},
		{
			"close and all others",
			ForwardOptions{Close: true},
			"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, TE\r\nTE: trailers\r\n\r\n",
		},
		{
			"Expect goes on", id,
			"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
			"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\nx-request-id: 7\r\n\r\n",
		},
		{
			"HTTP/1.0", id,
			"POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nx-request-id: 7\r\n\r\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r Request
			if _, err := r.Parse([]byte(c.in), nil); err != nil {
				t.Fatal(err)
			}
			if got := string(r.AppendForward([]byte("before|"), c.opts)); got != "before|"+c.want {
				t.Errorf("got  %q\nwant %q", got, "before|"+c.want)
			}
		})
	}
}

// What goes to the client, for what came from the upstream.
func TestResponseForward(t *testing.T) {
	for _, c := range []struct {
		name     string
		opts     ForwardOptions
		head     bool
		in, want string
	}{
		{
			"as it is",
			ForwardOptions{},
			false,
			"HTTP/1.1 200 Fine\r\nServer: a\r\nContent-Length: 1\r\nSet-Cookie: b\r\nSet-Cookie: c\r\n\r\n",
			"HTTP/1.1 200 Fine\r\nServer: a\r\nContent-Length: 1\r\nSet-Cookie: b\r\nSet-Cookie: c\r\n\r\n",
		},
		{
			"no reason",
			ForwardOptions{},
			false,
			"HTTP/1.0 404\r\nContent-Length: 1\r\n\r\n",
			"HTTP/1.1 404 \r\nContent-Length: 1\r\n\r\n",
		},
		{
			"hop-by-hop fields end here",
			ForwardOptions{},
			false,
			"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nKeep-Alive: a\r\nX-Hop: b\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
		},
		{
			"chunked",
			ForwardOptions{Close: true},
			false,
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTrailer: A\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
		},
		{
			"chunked to HTTP/1.0",
			ForwardOptions{HTTP10: true, Close: true},
			false,
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n",
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
		},
		{
			"length to HTTP/1.0",
			ForwardOptions{HTTP10: true},
			false,
			"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n",
		},
		{
			"HEAD keeps what GET would have",
			ForwardOptions{},
			true,
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		},
		{
			"204 has no length",
			ForwardOptions{},
			false,
			"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 204 No Content\r\n\r\n",
		},
		{
			"304 keeps its length",
			ForwardOptions{},
			false,
			"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
			"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
		},
		{
			"1xx says nothing of the connection",
			ForwardOptions{Close: true},
			false,
			"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
			"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
		},
		{
			"101",
			ForwardOptions{},
			false,
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nconnection: upgrade\r\nSec-WebSocket-Accept: a\r\n\r\n",
			"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		},
		{
			"426 says what it wants",
			ForwardOptions{Close: true},
			false,
			"HTTP/1.1 426 Upgrade Required\r\nUpgrade: a\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nConnection: close, Upgrade\r\nUpgrade: a\r\n\r\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r Response
			if _, err := r.Parse([]byte(c.in), c.head, false, nil); err != nil {
				t.Fatal(err)
			}
			if got := string(r.AppendForward([]byte("before|"), c.opts)); got != "before|"+c.want {
				t.Errorf("got  %q\nwant %q", got, "before|"+c.want)
			}
		})
	}
}

// The answer to CONNECT opens a tunnel and has no length (RFC 9110 section 9.3.6).
func TestConnectForward(t *testing.T) {
	var r Response
	if _, err := r.Parse([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), false, true, nil); err != nil {
		t.Fatal(err)
	}
	if got := string(r.AppendForward(nil, ForwardOptions{})); got != "HTTP/1.1 200 OK\r\n\r\n" {
		t.Errorf("%q", got)
	}
}

func TestAnswer(t *testing.T) {
	extra := []Header{{Name: []byte("recloser-reason"), Value: []byte("x")}}
	for _, c := range []struct {
		name string
		a    Answer
		want string
	}{
		{
			"closing",
			Answer{Status: 400, Body: []byte("no\n"), Extra: extra},
			"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\nConnection: close\r\nrecloser-reason: x\r\n\r\nno\n",
		},
		{
			"kept",
			Answer{Status: 503, KeepAlive: true},
			"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
		},
		{
			"to HEAD",
			Answer{Status: 404, Body: []byte("no\n"), KeepAlive: true, Head: true},
			"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n\r\n",
		},
		{
			"to HTTP/1.0",
			Answer{Status: 299, Reason: "Mine", KeepAlive: true, HTTP10: true},
			"HTTP/1.1 299 Mine\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
		},
		{
			"204",
			Answer{Status: 204, Body: []byte("x"), KeepAlive: true},
			"HTTP/1.1 204 No Content\r\n\r\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(c.a.Append(nil)); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			var r Response
			if _, err := r.Parse(c.a.Append(nil), c.a.Head, false, nil); err != nil {
				t.Errorf("own parser: %v", err)
			}
		})
	}
	if got := string(AppendError(nil, 502, "", []byte("x"), true, extra)); got !=
		"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 1\r\nrecloser-reason: x\r\n\r\nx" {
		t.Errorf("%q", got)
	}
}

// The codec allocates nothing once its values have grown.
func TestNoAllocations(t *testing.T) {
	req, res := []byte(appRequest), []byte(okResponse)
	absolute := []byte("GET http://a?b HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\nX: y\r\n\r\n")
	bad := []byte("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n")
	body := []byte("5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n")
	extra := []Header{{Name: []byte("a"), Value: []byte("b")}}
	var r Request
	var s Response
	var c ChunkReader
	var dst []byte
	if n := testing.AllocsPerRun(100, func() {
		dst = dst[:0]
		for _, b := range [][]byte{req, absolute} {
			if _, err := r.Parse(b, nil); err != nil {
				t.Fatal(err)
			}
			dst = r.AppendForward(dst, ForwardOptions{Extra: extra})
		}
		if _, err := r.Parse(bad, nil); err == nil {
			t.Fatal("accepted")
		}
		if _, err := s.Parse(res, false, false, nil); err != nil {
			t.Fatal(err)
		}
		dst = s.AppendForward(dst, ForwardOptions{Extra: extra, Close: true})
		c.Reset(nil)
		if _, done, err := c.Scan(body); err != nil || !done {
			t.Fatal(done, err)
		}
		c.Reset(nil)
		dst, _, _, _ = c.Decode(dst, body)
		dst = AppendError(dst, 503, "", body, true, extra)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
