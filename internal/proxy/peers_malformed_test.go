package proxy

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/detect"
	"github.com/reclosermesh/recloser/internal/proxy/http1/http1test"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// smuggled is what an attacker puts behind a message whose end is disputed.
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

// refused reads everything that the proxy still has to say, which must be one
// 400 that closes.
func refused(t *testing.T, p *peer) {
	t.Helper()
	resp, body := p.answer(t, "GET")
	if resp.StatusCode != 400 || !resp.Close || resp.Header.Get("recloser-reason") != "http1.codec_error" || body == "" {
		t.Errorf("%d, close %v, %q, %q; want 400 that closes and names its reason",
			resp.StatusCode, resp.Close, resp.Header.Get("recloser-reason"), body)
	}
	if more := p.rest(); more != "" {
		t.Errorf("behind the refusal came %q", more)
	}
}

// A malformed head is refused, the connection closes, and not a byte reaches
// the endpoint: neither of it, nor of what follows.
func TestMalformedRequests(t *testing.T) {
	up := startUpstream(t, answering(okAnswer("hello")))
	r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) { quickly(s) })
	for _, bad := range http1test.Requests() {
		if strings.HasPrefix(bad.Bytes, detect.Preface) {
			continue // malformed as HTTP/1.1, but it begins another protocol
		}
		t.Run(bad.Rule, func(t *testing.T) {
			before := up.bytes.Load()
			conns := up.conns.Load()
			p := dial(t, r.addr)
			p.send(bad.Bytes + smuggled)
			refused(t, p)
			if up.bytes.Load() != before || up.conns.Load() != conns {
				t.Errorf("%d bytes reached the endpoint", up.bytes.Load()-before)
			}
		})
	}
}

// The same behind a good request on one connection: that one is answered, and
// nothing after it reaches the endpoint.
func TestMalformedBehindGood(t *testing.T) {
	up := startUpstream(t, answering(okAnswer("hello")))
	r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) { quickly(s) })
	for _, bad := range http1test.Requests() {
		if strings.HasPrefix(bad.Bytes, "\n") && len(bad.Bytes) < 2 {
			continue
		}
		t.Run(bad.Rule, func(t *testing.T) {
			heads := up.heads.Load()
			p := dial(t, r.addr)
			p.send("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + bad.Bytes + smuggled)
			if resp, body := p.answer(t, "POST"); resp.StatusCode != 200 || body != "hello" {
				t.Fatalf("the good request got %d %q", resp.StatusCode, body)
			}
			refused(t, p)
			if n := up.heads.Load() - heads; n != 1 {
				t.Errorf("%d requests reached the endpoint, want 1", n)
			}
		})
	}
}

// A malformed chunked body that came with its head: the same.
func TestMalformedBodies(t *testing.T) {
	up := startUpstream(t, answering(okAnswer("hello")))
	r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) { quickly(s) })
	const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, bad := range http1test.ChunkedBodies() {
		t.Run(bad.Rule, func(t *testing.T) {
			before := up.bytes.Load()
			p := dial(t, r.addr)
			p.send(head + bad.Bytes + smuggled)
			refused(t, p)
			if n := up.bytes.Load() - before; n != 0 {
				t.Errorf("%d bytes reached the endpoint", n)
			}
		})
	}
}

// A chunked body that goes wrong later: the endpoint never sees a complete
// request, its connection closes, and the caller gets 400.
func TestMalformedBodiesLate(t *testing.T) {
	complete := make(chan bool, 1)
	up := startUpstream(t, func(p *peer, _ int) {
		q, err := p.request()
		if err != nil {
			return
		}
		b := make([]byte, 5)
		n, _ := q.Body.Read(b)
		p.send("HTTP/1.1 103 Early Hints\r\nX-Got: " + string(b[:n]) + "\r\n\r\n")
		for err == nil {
			_, err = q.Body.Read(b)
		}
		complete <- err.Error() == "EOF"
	})
	r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) { quickly(s) })
	for _, bad := range http1test.ChunkedBodies() {
		t.Run(bad.Rule, func(t *testing.T) {
			p := dial(t, r.addr)
			p.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
			if hint, _ := p.answer(t, "POST"); hint.StatusCode != 103 || hint.Header.Get("X-Got") != "hello" {
				t.Fatalf("%d %v", hint.StatusCode, hint.Header)
			}
			p.send(bad.Bytes + smuggled)
			refused(t, p)
			if <-complete {
				t.Error("the endpoint saw a complete request")
			}
		})
	}
	if up.heads.Load() != up.conns.Load() {
		t.Errorf("%d requests on %d connections", up.heads.Load(), up.conns.Load())
	}
}

// A malformed answer becomes a 502 that names its reason, its connection is
// not used again, and the caller's goes on.
func TestMalformedAnswers(t *testing.T) {
	answers := http1test.Responses()
	for _, bad := range http1test.ChunkedBodies() {
		answers = append(answers, http1test.Bad{
			Rule: "body " + bad.Rule, Reason: bad.Reason,
			Bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + bad.Bytes,
		})
	}
	answers = append(answers, http1test.Bad{
		Rule: "9110/7.8 101 that nobody asked for", Reason: "101 without a request to upgrade",
		Bytes: "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n",
	})
	for _, bad := range answers {
		t.Run(bad.Rule, func(t *testing.T) {
			up := startUpstream(t, func(p *peer, number int) {
				if number == 0 {
					if _, err := p.request(); err != nil {
						return
					}
					p.send(bad.Bytes)
					p.rest() // until the proxy closes
					return
				}
				answering(okAnswer("hello"))(p, number)
			})
			r := newRig(t, []string{up.addr}, nil)
			p := dial(t, r.addr)
			p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, body := p.answer(t, "GET")
			if resp.StatusCode != 502 || resp.Header.Get("recloser-reason") != "upstream_reset_before_response_started{protocol_error}" ||
				!strings.Contains(body, bad.Reason) {
				t.Fatalf("%d %v %q, want 502 with %q", resp.StatusCode, resp.Header, body, bad.Reason)
			}
			p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			if resp, body := p.answer(t, "GET"); resp.StatusCode != 200 || body != "hello" {
				t.Errorf("the next request got %d %q", resp.StatusCode, body)
			}
			if n := up.conns.Load(); n != 2 {
				t.Errorf("%d connections to the endpoint, want a new one for the second request", n)
			}
		})
	}
}

// Bytes behind a complete answer are nobody's: the caller does not see them and
// the connection that brought them is not used again.
func TestAnswerOutOfStep(t *testing.T) {
	for _, answer := range []string{
		okAnswer("hello"),
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
	} {
		t.Run(answer[9:12], func(t *testing.T) {
			up := startUpstream(t, func(p *peer, _ int) {
				if _, err := p.request(); err == nil {
					p.send(answer + okAnswer("poison"))
					p.rest()
				}
			})
			r := newRig(t, []string{up.addr}, nil)
			p := dial(t, r.addr)
			for range 2 {
				p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				if _, body := p.answer(t, "GET"); strings.Contains(body, "poison") {
					t.Fatalf("the caller got %q", body)
				}
			}
			if n := up.conns.Load(); n != 2 {
				t.Errorf("%d connections to the endpoint, want 2", n)
			}
		})
	}
}

// An endpoint that answers and hangs up before it is asked: the answer is good,
// but the rest of the request's body must not be read as a next request.
func TestAnswerBeforeTheBodyIsSent(t *testing.T) {
	hungUp := make(chan struct{}, 2)
	up := startUpstream(t, func(p *peer, _ int) {
		p.send(okAnswer("hello"))
		p.abort()
		hungUp <- struct{}{}
	})
	for _, framing := range []string{"Content-Length: 40000\r\n\r\nbegun", "Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n"} {
		r := newRig(t, []string{up.addr}, func(s *ServerConfig, c *upstream.Config) {
			quickly(s)
			c.Dial = func(_ context.Context, address, _ string) (net.Conn, error) {
				conn, err := net.Dial("tcp", address)
				<-hungUp
				return conn, err
			}
		})
		p := dial(t, r.addr)
		p.send("POST / HTTP/1.1\r\nHost: a\r\n" + framing)
		if resp, body := p.answer(t, "POST"); !resp.Close {
			t.Fatalf("%q: %d %q, and the connection goes on", framing, resp.StatusCode, body)
		}
		p.send(smuggled)
		if rest := p.rest(); rest != "" {
			t.Errorf("%q: the body was read as a request: %q", framing, rest)
		}
	}
}
