package proxy

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// abort closes with RST, as a process that dies does.
func (p *peer) abort() {
	_ = p.Conn.(*net.TCPConn).SetLinger(0)
	_ = p.Conn.Close()
}

// A head that does not come to its end is answered 408 when its time is over,
// however busily its sender drips.
func TestSlowHead(t *testing.T) {
	up := startUpstream(t, answering(okAnswer("hello")))
	r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) { quickly(s) })
	for _, c := range []struct{ name, first, drip string }{
		{"silent", "GET / HTTP/1.1\r\nHost: a\r\n", ""},
		{"dripping a field", "GET / HTTP/1.1\r\nHost: a\r\nX-A: ", "a"},
		{"dripping fields", "GET / HTTP/1.1\r\nHost: a\r\n", "A:b\r\n"},
		{"behind a good request", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := dial(t, r.addr)
			p.send(c.first)
			if strings.HasPrefix(c.name, "behind") {
				p.answer(t, "GET")
			}
			if c.drip != "" {
				stop := make(chan struct{})
				defer close(stop)
				go func() {
					tick := time.NewTicker(20 * time.Millisecond)
					defer tick.Stop()
					for {
						select {
						case <-stop:
							return
						case <-tick.C:
							p.send(c.drip)
						}
					}
				}()
			}
			resp, _ := p.answer(t, "GET")
			if resp.StatusCode != 408 || !resp.Close || resp.Header.Get("recloser-reason") != "request_header_timeout" {
				t.Errorf("%d %v", resp.StatusCode, resp.Header)
			}
			if !p.closed() {
				t.Error("the connection goes on")
			}
		})
	}
}

// A connection without a request is closed without a word when its time is
// over.
func TestIdleCaller(t *testing.T) {
	up := startUpstream(t, answering(okAnswer("hello")))
	r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) {
		s.Timeouts.Idle = 200 * time.Millisecond
	})
	fresh, used := dial(t, r.addr), dial(t, r.addr)
	used.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	used.answer(t, "GET")
	if got := fresh.rest() + used.rest(); got != "" {
		t.Errorf("%q", got)
	}
}

// A body that stops coming ends the exchange when its time is over; the
// endpoint never sees it complete.
func TestSlowBody(t *testing.T) {
	complete := make(chan bool, 1)
	up := startUpstream(t, func(p *peer, _ int) {
		q, err := p.request()
		if err != nil {
			return
		}
		_, err = io.ReadAll(q.Body)
		complete <- err == nil
	})
	r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) {
		quickly(s)
		s.Timeouts.Stream = 300 * time.Millisecond
	})
	p := dial(t, r.addr)
	p.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
	resp, _ := p.answer(t, "POST")
	if reason := resp.Header.Get("recloser-reason"); resp.StatusCode != 408 || reason != "request_body_timeout" || !resp.Close {
		t.Errorf("%d %q, close %v, want 408 and the end", resp.StatusCode, reason, resp.Close)
	}
	if <-complete {
		t.Error("the endpoint saw a complete request")
	}
}

// An endpoint that only ever announces an answer does not keep the exchange.
func TestInterimAnswersWithoutEnd(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) {
		if _, err := p.request(); err != nil {
			return
		}
		for {
			if _, err := io.WriteString(p, "HTTP/1.1 102 Processing\r\n\r\n"); err != nil {
				return
			}
		}
	})
	r := newRig(t, []string{up.addr}, nil)
	p := dial(t, r.addr)
	p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	for n := 0; ; n++ {
		resp, _ := p.answer(t, "GET")
		if resp.StatusCode == 102 && n <= maxInterims {
			continue
		}
		if resp.StatusCode != 502 || n != maxInterims {
			t.Errorf("after %d interim answers: %d, want 502 after %d", n, resp.StatusCode, maxInterims)
		}
		return
	}
}

// A caller that goes away while it waits: the endpoint's connection closes, so
// that its work can stop.
func TestCallerGoneWhileWaiting(t *testing.T) {
	for _, how := range []string{"closed", "reset"} {
		t.Run(how, func(t *testing.T) {
			started, cancelled := make(chan struct{}), make(chan struct{})
			up := backend(t, func(_ http.ResponseWriter, q *http.Request) {
				close(started)
				<-q.Context().Done()
				close(cancelled)
			})
			r := newRig(t, []string{up}, nil)
			p := dial(t, r.addr)
			p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			<-started
			if how == "reset" {
				p.abort()
			} else {
				p.Close()
			}
			select {
			case <-cancelled:
			case <-time.After(hangs):
				t.Fatal("the endpoint goes on")
			}
			eventually(t, "the exchange has ended", func() bool { return r.server.Open() == 0 })
		})
	}
}

// A caller that goes away within its answer: the endpoint's connection closes.
func TestCallerGoneWithinAnswer(t *testing.T) {
	for _, c := range []struct{ name, head, piece string }{
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "4000\r\n" + pattern(0x4000) + "\r\n"},
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", pattern(0x4000)},
		{"until close", "HTTP/1.1 200 OK\r\n\r\n", pattern(0x4000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			stopped := make(chan struct{})
			up := startUpstream(t, func(p *peer, _ int) {
				if _, err := p.request(); err != nil {
					return
				}
				p.send(c.head)
				for {
					if _, err := io.WriteString(p.Conn, c.piece); err != nil {
						if !isTimeout(err) {
							close(stopped)
						}
						return
					}
				}
			})
			r := newRig(t, []string{up.addr}, nil)
			p := dial(t, r.addr)
			p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			_ = p.head()
			_, _ = io.CopyN(io.Discard, p.br, 100_000)
			p.abort()
			select {
			case <-stopped:
			case <-time.After(hangs):
				t.Fatal("the endpoint goes on")
			}
		})
	}
}

// A caller that goes away within its body: the endpoint sees an incomplete
// request, never a short one.
func TestCallerGoneWithinBody(t *testing.T) {
	for _, c := range []struct{ name, fields, part string }{
		{"length", "Content-Length: 10", "hello"},
		{"large", "Content-Length: 1000000", pattern(300_000)},
		{"chunked", "Transfer-Encoding: chunked", "5\r\nhello\r\n"},
		{"chunked, in a chunk", "Transfer-Encoding: chunked", "10\r\nhello"},
		{"chunked, in a size", "Transfer-Encoding: chunked", "5\r\nhello\r\n1"},
		{"chunked, in trailers", "Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nA: b\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			result := make(chan error, 1)
			up := startUpstream(t, func(p *peer, _ int) {
				q, err := p.request()
				if err != nil {
					return
				}
				p.send("HTTP/1.1 103 Early Hints\r\n\r\n") // it has begun
				_, err = io.ReadAll(q.Body)
				result <- err
			})
			r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) { quickly(s) })
			p := dial(t, r.addr)
			p.send("POST / HTTP/1.1\r\nHost: a\r\n" + c.fields + "\r\n\r\n" + c.part)
			p.answer(t, "POST")
			p.Close()
			if err := <-result; err == nil || isTimeout(err) {
				t.Errorf("the endpoint read to %v, want an error", err)
			}
		})
	}
}

// An endpoint that goes away within its answer: the caller can tell that the
// answer is not complete, whatever its framing.
func TestEndpointLostWithinAnswer(t *testing.T) {
	for _, c := range []struct{ name, request, answer string }{
		{"length", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"},
		{"large", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + pattern(300_000)},
		{"chunked", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"},
		{"chunked, gone wrong", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n|x\r\n"},
		{"chunked, to HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"},
		{"chunked, gone wrong, to HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n|x\r\n"},
		{"until close", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nhello"},
	} {
		t.Run(c.name, func(t *testing.T) {
			goOn := make(chan struct{})
			up := startUpstream(t, func(p *peer, _ int) {
				if _, err := p.request(); err != nil {
					return
				}
				good, bad, _ := strings.Cut(c.answer, "|")
				p.send(good)
				<-goOn // what was sent is with the caller
				if bad == "" {
					p.abort()
				} else {
					p.send(bad)
					p.rest()
				}
			})
			r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) { quickly(s) })
			p := dial(t, r.addr)
			p.send(c.request)
			resp, err := http.ReadResponse(p.br, nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatal(resp, err)
			}
			b := make([]byte, 5)
			if _, err := io.ReadFull(resp.Body, b); err != nil {
				t.Fatal(err)
			}
			close(goOn)
			_, err = io.ReadAll(resp.Body)
			if err == nil || isTimeout(err) {
				t.Errorf("the caller read to %v, want an error", err)
			}
		})
	}
}

// An endpoint that hangs up instead of answering: 503, and the caller's
// connection goes on.
func TestEndpointHangsUp(t *testing.T) {
	for _, how := range []string{"closed", "reset", "within the head"} {
		t.Run(how, func(t *testing.T) {
			up := startUpstream(t, func(p *peer, number int) {
				if number > 0 {
					answering(okAnswer("hello"))(p, number)
					return
				}
				if _, err := p.request(); err != nil {
					return
				}
				switch how {
				case "reset":
					p.abort()
				case "within the head":
					p.send("HTTP/1.1 200 OK\r\nContent-Le")
				}
			})
			r := newRig(t, []string{up.addr}, nil)
			p := dial(t, r.addr)
			p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, body := p.answer(t, "GET")
			if resp.StatusCode != 503 || resp.Header.Get("recloser-reason") != "upstream_reset_before_response_started{connection_termination}" || resp.Close {
				t.Fatalf("%d %v %q", resp.StatusCode, resp.Header, body)
			}
			p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			if resp, body := p.answer(t, "GET"); resp.StatusCode != 200 || body != "hello" {
				t.Errorf("then %d %q", resp.StatusCode, body)
			}
		})
	}
}

// A pooled connection that died idle is replaced, whatever the method, and
// nobody notices: not the caller, not the breaker.
func TestDeadIdleConnection(t *testing.T) {
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
		"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n" + pattern(40_000),
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
	} {
		method, _, _ := strings.Cut(request, " ")
		for _, how := range []string{"closed", "reset"} {
			t.Run(method+" "+how, func(t *testing.T) {
				die, died := make(chan struct{}), make(chan struct{}, 1)
				up := startUpstream(t, func(p *peer, _ int) {
					q, err := p.request()
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, q.Body)
					p.send(okAnswer("hello"))
					<-die
					if how == "reset" {
						p.abort()
					} else {
						p.Close()
					}
					died <- struct{}{}
				})
				t.Cleanup(func() { close(die) })
				r := newRig(t, []string{up.addr}, func(_ *ServerConfig, c *upstream.Config) {
					c.Breaker.Detectors.Consecutive = &breaker.Consecutive{Failures: 1}
				})
				p := dial(t, r.addr)
				for i := range 4 {
					p.send(request)
					if resp, body := p.answer(t, method); resp.StatusCode != 200 || body != "hello" {
						t.Fatalf("request %d got %d %q", i, resp.StatusCode, body)
					}
					die <- struct{}{}
					<-died
				}
				if up.conns.Load() != 4 {
					t.Errorf("%d connections, want 4", up.conns.Load())
				}
			})
		}
	}
}

// After a 101 bytes go through unread both ways, also those that came with the
// heads, and each side can close its half.
func TestUpgradeTunnel(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) {
		head := p.head()
		if !strings.Contains(head, "\r\nConnection: Upgrade\r\nUpgrade: echo\r\n") || !strings.Contains(head, "\r\nX-Key: 1\r\n") {
			t.Errorf("the endpoint got %q", head)
		}
		p.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Accept: 1\r\n\r\nwelcome ")
		_, _ = io.Copy(p.Conn, p.br)
		p.send("bye")
		_ = p.Conn.(*net.TCPConn).CloseWrite()
	})
	r := newRig(t, []string{up.addr}, nil)
	p := dial(t, r.addr)
	p.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\nX-Key: 1\r\n\r\nearly ")
	if head := p.head(); head != "HTTP/1.1 101 Switching Protocols\r\nX-Accept: 1\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n" {
		t.Fatalf("%q", head)
	}
	expect := func(want string) {
		t.Helper()
		b := make([]byte, len(want))
		if _, err := io.ReadFull(p.br, b); err != nil || string(b) != want {
			t.Fatalf("%q, %v, want %q", b, err, want)
		}
	}
	expect("welcome early ")
	for range 3 {
		p.send("GET / HTTP/1.1\r\n\r\n") // not a request any more
		expect("GET / HTTP/1.1\r\n\r\n")
	}
	_ = p.Conn.(*net.TCPConn).CloseWrite()
	if got := p.rest(); got != "bye" {
		t.Errorf("at the end %q", got)
	}
	eventually(t, "the tunnel has ended", func() bool { return r.server.Open() == 0 })
}

// An endpoint that does not switch answers as usual, and the connection goes on.
func TestUpgradeDeclined(t *testing.T) {
	up := startUpstream(t, answering(okAnswer("hello")))
	r := newRig(t, []string{up.addr}, nil)
	p := dial(t, r.addr)
	for range 2 {
		p.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		if resp, body := p.answer(t, "GET"); resp.StatusCode != 200 || body != "hello" {
			t.Fatalf("%d %q", resp.StatusCode, body)
		}
	}
}

// A 101 before the body of its request is complete would leave two parties to
// read one stream (RFC 9110 section 7.8): it is refused. One behind the body is
// taken.
func TestUpgradeWithBody(t *testing.T) {
	const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
	up := startUpstream(t, func(p *peer, _ int) {
		q, err := p.request()
		if err != nil {
			return
		}
		if q.URL.Path == "/late" {
			_, _ = io.Copy(io.Discard, q.Body)
		}
		p.send(switching)
		_, _ = io.Copy(p.Conn, p.br)
	})
	r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) { quickly(s) })
	head := func(path string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 40000\r\n\r\n"
	}
	p := dial(t, r.addr)
	p.send(head("/early") + "begun")
	if resp, _ := p.answer(t, "POST"); resp.StatusCode != 502 || !resp.Close {
		t.Errorf("%d, close %v", resp.StatusCode, resp.Close)
	}

	p = dial(t, r.addr)
	p.send(head("/late") + "begun")
	p.send(pattern(40_000-5) + "tunnelled")
	if got := p.head(); got != switching {
		t.Fatalf("%q", got)
	}
	b := make([]byte, len("tunnelled"))
	if _, err := io.ReadFull(p.br, b); err != nil || string(b) != "tunnelled" {
		t.Errorf("%q, %v", b, err)
	}
}

// A tunnel ends when one of its ends dies.
func TestTunnelAborted(t *testing.T) {
	for _, who := range []string{"caller", "endpoint"} {
		t.Run(who, func(t *testing.T) {
			ended := make(chan error, 1)
			up := startUpstream(t, func(p *peer, _ int) {
				p.head()
				p.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
				if _, err := p.br.ReadByte(); err != nil {
					t.Error(err)
				}
				if who == "endpoint" {
					p.abort()
					return
				}
				_, err := io.Copy(io.Discard, p.br)
				ended <- err
			})
			r := newRig(t, []string{up.addr}, nil)
			p := dial(t, r.addr)
			p.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n!")
			p.head()
			if who == "caller" {
				p.abort()
				if err := <-ended; err != nil && isTimeout(err) {
					t.Error("the endpoint was not told")
				}
			} else if _, err := p.br.ReadByte(); err == nil || isTimeout(err) {
				t.Errorf("the caller was not told: %v", err)
			}
			eventually(t, "the tunnel has ended", func() bool { return r.server.Open() == 0 })
		})
	}
}

// An endpoint that answers before it has read the body, and stops reading it:
// the caller gets the answer though it still sends.
func TestEarlyAnswer(t *testing.T) {
	for _, fields := range []string{"Content-Length: 50000000", "Transfer-Encoding: chunked"} {
		t.Run(fields, func(t *testing.T) {
			up := startUpstream(t, func(p *peer, _ int) {
				if _, err := p.request(); err == nil {
					p.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
				}
			})
			r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) { quickly(s) })
			p := dial(t, r.addr)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				p.send("POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n\r\n")
				for range 100 {
					if _, err := io.WriteString(p.Conn, "1000\r\n"+pattern(0x1000)+"\r\n"); err != nil {
						return
					}
				}
			}()
			resp, err := http.ReadResponse(p.br, nil)
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			b, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != 413 || string(b) != "big" || !resp.Close {
				t.Errorf("%d %q close %v", resp.StatusCode, b, resp.Close)
			}
			p.Close()
			<-sent
		})
	}
}
