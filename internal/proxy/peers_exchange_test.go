package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// echo answers with what it got.
func echo(p *peer, _ int) {
	for {
		q, err := p.request()
		if err != nil {
			return
		}
		b, err := io.ReadAll(q.Body)
		if err != nil {
			return
		}
		p.send(okAnswer(q.Method + " " + q.RequestURI + " " + string(b)))
	}
}

// Requests that are sent without waiting are answered in their order.
func TestPipelined(t *testing.T) {
	up := startUpstream(t, echo)
	r := newRig(t, []string{up.addr}, nil)
	p := dial(t, r.addr)
	var all strings.Builder
	var want []string
	for i := range 50 {
		switch i % 3 {
		case 0:
			fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
			want = append(want, fmt.Sprintf("GET /%d ", i))
		case 1:
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n%02d", i, i)
			want = append(want, fmt.Sprintf("POST /%d %02d", i, i))
		case 2:
			fmt.Fprintf(&all, "\r\nPUT /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n%02d\r\n0\r\n\r\n", i, i)
			want = append(want, fmt.Sprintf("PUT /%d %02d", i, i))
		}
	}
	p.send(all.String())
	for _, w := range want {
		if _, body := p.answer(t, "GET"); body != w {
			t.Fatalf("got %q, want %q", body, w)
		}
	}
	if up.conns.Load() != 1 {
		t.Errorf("%d connections to the endpoint, want 1", up.conns.Load())
	}
}

// Pipelined requests behind large bodies, which an uploader sends, keep their
// order too, wherever the reads happen to cut.
func TestPipelinedBehindLargeBodies(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) {
		for {
			q, err := p.request()
			if err != nil {
				return
			}
			b, _ := io.ReadAll(q.Body)
			p.send(okAnswer(fmt.Sprintf("%s %x", q.RequestURI, sha256.Sum256(b))))
		}
	})
	r := newRig(t, []string{up.addr}, nil)
	p := dial(t, r.addr)
	var all bytes.Buffer
	var want []string
	for i := range 12 {
		body := pattern(i * 20011)
		if i%2 == 0 {
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", i, len(body), body)
		} else {
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", i, len(body), body)
		}
		want = append(want, fmt.Sprintf("/%d %x", i, sha256.Sum256([]byte(body))))
	}
	go func() { _, _ = p.Conn.Write(all.Bytes()) }()
	for _, w := range want {
		if _, body := p.answer(t, "POST"); body != w {
			t.Fatalf("got %q, want %q", body, w)
		}
	}
}

// A head that comes byte by byte, and one that is larger than the read buffer,
// are read like any other.
func TestHeadInPieces(t *testing.T) {
	up := startUpstream(t, echo)
	r := newRig(t, []string{up.addr}, nil)
	p := dial(t, r.addr)
	for i := range smallRequest {
		p.send(string(smallRequest[i : i+1]))
	}
	if _, body := p.answer(t, "GET"); body != "GET /x " {
		t.Errorf("%q", body)
	}
	long := "/" + pattern(40_000)
	p.send("GET " + long + " HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, body := p.answer(t, "GET"); body != "GET "+long+" " {
		t.Errorf("%d bytes", len(body))
	}
	if _, body := p.answer(t, "GET"); body != "GET /next " {
		t.Errorf("%q", body)
	}
}

// The 100 of the endpoint reaches the caller, who then sends its body.
func TestExpectContinue(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) {
		for {
			q, err := p.request()
			if err != nil || q.Header.Get("Expect") != "100-continue" || p.br.Buffered() > 0 {
				return
			}
			p.send("HTTP/1.1 100 Continue\r\n\r\n")
			b, _ := io.ReadAll(q.Body)
			p.send(okAnswer(string(b)))
		}
	})
	r := newRig(t, []string{up.addr}, nil)
	p := dial(t, r.addr)
	for range 2 { // the connection goes on
		p.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		if resp, _ := p.answer(t, "POST"); resp.StatusCode != 100 {
			t.Fatalf("%d", resp.StatusCode)
		}
		p.send("hello")
		if resp, body := p.answer(t, "POST"); resp.StatusCode != 200 || body != "hello" || resp.Close {
			t.Fatalf("%d %q", resp.StatusCode, body)
		}
	}
}

// An endpoint that does not want the body says so without a 100; the caller
// gets that, and since nobody knows whether it still sends the body, the
// connection closes.
func TestExpectRefused(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) {
		if _, err := p.request(); err == nil {
			p.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
			if got := p.rest(); got != "" {
				t.Errorf("the endpoint still got %q", got)
			}
		}
	})
	r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) { quickly(s) })
	p := dial(t, r.addr)
	p.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 35\r\n\r\n")
	resp, body := p.answer(t, "POST")
	if resp.StatusCode != 417 || body != "no" || !resp.Close {
		t.Errorf("%d %q close %v", resp.StatusCode, body, resp.Close)
	}
	if more := p.rest(); more != "" {
		t.Errorf("then %q", more)
	}
}

// net/http on both sides: the client waits for the 100 of the server.
func TestExpectContinueNetHTTP(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body) // sends the 100
		_, _ = w.Write(b)
	})
	r := newRig(t, []string{up}, nil)
	hc := client(t)
	hc.Transport.(*http.Transport).ExpectContinueTimeout = hangs
	got100 := false
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got100Continue: func() { got100 = true }})
	q, _ := http.NewRequestWithContext(ctx, http.MethodPut, r.url("/"), strings.NewReader(pattern(100_000)))
	q.Header.Set("Expect", "100-continue")
	resp, err := hc.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(b) != pattern(100_000) || !got100 {
		t.Errorf("%d bytes, 100 seen: %v", len(b), got100)
	}
}

// Interim answers go through in their order; a caller of HTTP/1.0 gets none.
func TestInterimAnswers(t *testing.T) {
	up := startUpstream(t, answering("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: close\r\n\r\n"+okAnswer("hello")))
	r := newRig(t, []string{up.addr}, nil)

	var seen []int
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if code == 103 && (h.Get("Link") != "</a>" || h.Get("Connection") != "") {
				t.Errorf("103 with %v", h)
			}
			seen = append(seen, code)
			return nil
		},
	})
	q, _ := http.NewRequestWithContext(ctx, http.MethodGet, r.url("/"), nil)
	resp, err := client(t).Do(q)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if fmt.Sprint(seen) != "[102 103]" || resp.StatusCode != 200 {
		t.Errorf("%v then %d", seen, resp.StatusCode)
	}

	p := dial(t, r.addr)
	p.send("GET / HTTP/1.0\r\n\r\n")
	if got := p.rest(); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(got, "hello") {
		t.Errorf("HTTP/1.0 got %q", got)
	}
}

// Answers without a body do not stop the connection, whatever their fields say
// about the body that is not there.
func TestBodilessAnswers(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) {
		for {
			q, err := p.request()
			if err != nil {
				return
			}
			switch {
			case q.Method == "HEAD" && q.URL.Path == "/chunked":
				p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			case q.Method == "HEAD":
				p.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
			case q.URL.Path == "/204":
				p.send("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
			case q.URL.Path == "/304":
				p.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: \"a\"\r\n\r\n")
			default:
				p.send(okAnswer("end"))
			}
		}
	})
	r := newRig(t, []string{up.addr}, nil)
	p := dial(t, r.addr)
	for _, c := range []struct {
		method, path   string
		status         int
		length, coding string
		body           string
	}{
		{"HEAD", "/", 200, "1000", "", ""},
		{"HEAD", "/chunked", 200, "", "chunked", ""},
		{"GET", "/204", 204, "", "", ""},
		{"GET", "/304", 304, "1000", "", ""},
		{"GET", "/", 200, "3", "", "end"},
	} {
		p.send(c.method + " " + c.path + " HTTP/1.1\r\nHost: a\r\n\r\n")
		head := p.head()
		if !strings.HasPrefix(head, fmt.Sprintf("HTTP/1.1 %d ", c.status)) ||
			strings.Contains(head, "Content-Length: "+c.length) != (c.length != "") ||
			strings.Contains(head, "Transfer-Encoding: chunked") != (c.coding != "") ||
			strings.Contains(head, "Connection:") {
			t.Errorf("%s %s: %q", c.method, c.path, head)
		}
		b := make([]byte, len(c.body))
		if _, err := io.ReadFull(p.br, b); err != nil || string(b) != c.body {
			t.Fatalf("%s %s: body %q, %v", c.method, c.path, b, err)
		}
	}
	if up.conns.Load() != 1 {
		t.Errorf("%d connections to the endpoint, want 1", up.conns.Load())
	}
}

// Callers of HTTP/1.0 get what they can read: no chunks, a connection that is
// kept only if they asked, and an end.
func TestHTTP10Callers(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) {
		for {
			q, err := p.request()
			if err != nil {
				return
			}
			if q.ProtoMinor != 1 || q.Header.Get("Connection") != "" {
				t.Errorf("the endpoint got %s with %v", q.Proto, q.Header)
			}
			b, _ := io.ReadAll(q.Body)
			switch q.URL.Path {
			case "/chunked":
				p.send("HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
				p.send("lo\r\n3\r\n+++\r\n0\r\nX-Sum: 1\r\n\r\n")
			case "/open":
				p.send("HTTP/1.1 200 OK\r\n\r\nhello+++")
				return
			default:
				p.send(okAnswer("hello" + string(b)))
			}
		}
	})
	r := newRig(t, []string{up.addr}, nil)
	for _, c := range []struct{ name, request, want string }{
		{"length", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
		{"chunked", "GET /chunked HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello+++"},
		{"until close", "GET /open HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello+++"},
		{
			"kept", "POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.0\r\nHost: a\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: keep-alive\r\n\r\nhelloabc" +
				"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := dial(t, r.addr)
			p.send(c.request)
			if got := p.rest(); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// Chunked bodies with trailers, both ways, as net/http writes and reads them.
func TestTrailersBothWays(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, q *http.Request) {
		// All of the body first: net/http drops what is left when it answers.
		b, _ := io.ReadAll(q.Body)
		w.Header().Set("Trailer", "X-Down")
		_, _ = w.Write(b)
		w.Header().Set("X-Down", fmt.Sprintf("%s/%d", q.Trailer.Get("X-Up"), len(b)))
	})
	r := newRig(t, []string{up}, nil)
	hc := client(t)
	for _, size := range []int{1, 5000, 300_000} {
		q, _ := http.NewRequest(http.MethodPost, r.url("/"), struct{ io.Reader }{strings.NewReader(pattern(size))})
		q.Trailer = http.Header{"X-Up": {"sum"}}
		resp, err := hc.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(b) != pattern(size) || resp.Trailer.Get("X-Down") != fmt.Sprintf("sum/%d", size) {
			t.Errorf("%d bytes: %d back, %v, trailer %q", size, len(b), err, resp.Trailer.Get("X-Down"))
		}
	}
}

// A chunked answer is sent on byte for byte, extensions and all, however it is
// cut.
func TestChunksVerbatim(t *testing.T) {
	const body = "5;a=\"b;c\"\r\nhello\r\n1\r\n!\r\n00;z\r\nX-Sum: 1\r\n\r\n"
	var cut atomic.Int32
	up := startUpstream(t, func(p *peer, _ int) {
		for {
			if _, err := p.request(); err != nil {
				return
			}
			i := int(cut.Load())
			answer := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
			p.send(answer[:i])
			p.send(answer[i:])
		}
	})
	r := newRig(t, []string{up.addr}, nil)
	p := dial(t, r.addr)
	for i := range len(body) + 40 {
		cut.Store(int32(i))
		p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if head := p.head(); head != "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" {
			t.Fatalf("%q", head)
		}
		b := make([]byte, len(body))
		if _, err := io.ReadFull(p.br, b); err != nil || string(b) != body {
			t.Fatalf("cut at %d: %q, %v", i, b, err)
		}
	}
}

// What came as absolute-form, as it does through HTTP_PROXY, goes on in
// origin-form, with the hop-by-hop fields gone and an id of its own.
func TestForwardedHead(t *testing.T) {
	heads := make(chan string, 1)
	up := startUpstream(t, func(p *peer, _ int) {
		for {
			head := p.head()
			if head == "" {
				return
			}
			heads <- head
			p.send(okAnswer(""))
		}
	})
	r := newRig(t, []string{up.addr}, nil)
	p := dial(t, r.addr)
	p.send("GET http://bb:8080/a?b HTTP/1.1\r\nHost: bb:8080\r\nProxy-Connection: keep-alive\r\nConnection: X-Hop\r\nX-Hop: 1\r\nAccept: */*\r\n\r\n")
	p.answer(t, "GET")
	head := <-heads
	id, ok := strings.CutPrefix(head, "GET /a?b HTTP/1.1\r\nHost: bb:8080\r\nAccept: */*\r\nx-request-id: ")
	if !ok || len(id) != 36+4 {
		t.Errorf("%q", head)
	}
	p.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: mine\r\n\r\n")
	p.answer(t, "GET")
	if head := <-heads; head != "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: mine\r\n\r\n" {
		t.Errorf("%q", head)
	}
}
