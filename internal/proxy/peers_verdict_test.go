package proxy

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/listener"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// hostTables routes by authority. It is filled in after the rig is made.
type hostTables struct{ byHost sync.Map }

func (h *hostTables) set(authority string, table *route.Table) { h.byHost.Store(authority, table) }

func (h *hostTables) Lookup(authority []byte) (*route.Table, bool) {
	table, _ := h.byHost.Load(string(authority))
	return table.(*route.Table), true
}

func (h *hostTables) Await(context.Context, string) (*route.Table, error) { return nil, nil }

// firstFailure opens after one failure.
func firstFailure(after time.Duration) breaker.Config {
	return breaker.Config{
		Detectors: breaker.Detectors{Consecutive: &breaker.Consecutive{Failures: 1}},
		Recovery:  breaker.Recovery{Mode: breaker.Probe, Backoff: breaker.Constant, Min: after, Max: after, ProbeTimeout: time.Minute},
	}
}

func (r *rig) breakerState() breaker.EndpointState { return r.cluster.States()[0] }

// A request has its place of the limit no longer than it takes: not while its
// connection, which has to close, waits for the caller's side.
func TestRequestLimitEndsWithTheAnswer(t *testing.T) {
	up := startUpstream(t, answering(okAnswer("hello")))
	r := newRig(t, []string{up.addr}, func(s *ServerConfig, c *upstream.Config) {
		s.Timeouts.Linger = 2 * hangs
		c.Limits.MaxRequests = 1
	})
	first := dial(t, r.addr)
	first.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	first.answer(t, "GET") // and does not close
	second := dial(t, r.addr)
	eventually(t, "another request gets through", func() bool {
		second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, _ := second.answer(t, "GET")
		return resp.StatusCode == 200
	})
}

// The time that a request waited while all endpoints were open is not the
// endpoint's: a probe that is fast is not slow.
func TestProbeThatWaitedIsNotSlow(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) {
		for n := 0; ; n++ {
			if _, err := p.request(); err != nil {
				return
			}
			if n == 0 {
				p.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
			} else {
				p.send(okAnswer("hello"))
			}
		}
	})
	r := newRig(t, []string{up.addr}, func(_ *ServerConfig, c *upstream.Config) {
		c.Breaker = firstFailure(600 * time.Millisecond)
		c.Breaker.Detectors.SlowCalls = &breaker.SlowCalls{Duration: 400 * time.Millisecond, Share: 1, MinRequests: 100, Window: time.Minute}
	})
	p := dial(t, r.addr)
	for _, want := range []int{500, 200} {
		p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if resp, _ := p.answer(t, "GET"); resp.StatusCode != want {
			t.Fatalf("%d, want %d", resp.StatusCode, want)
		}
	}
	if s := r.breakerState(); s.State != breaker.Closed {
		t.Errorf("the breaker is %v after a fast probe: %+v", s.State, s.Last)
	}
}

// A request that got no connection in time says nothing about the endpoint,
// which never saw it.
func TestTimeoutInTheQueueIsNoVerdict(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) {
		_, _ = p.request()
		p.rest() // no answer
	})
	hosts := &hostTables{}
	r := newRig(t, []string{up.addr}, func(s *ServerConfig, c *upstream.Config) {
		s.Hosts = hosts
		c.Breaker = firstFailure(time.Minute)
		c.Limits.MaxConnections = 1
	})
	hosts.set("patient", anyPath(0, r.cluster))
	hosts.set("hasty", anyPath(50*time.Millisecond, r.cluster))
	dial(t, r.addr).send("GET / HTTP/1.1\r\nHost: patient\r\n\r\n")
	eventually(t, "the endpoint has it", func() bool { return up.heads.Load() == 1 })
	p := dial(t, r.addr)
	p.send("GET / HTTP/1.1\r\nHost: hasty\r\n\r\n")
	if resp, _ := p.answer(t, "GET"); resp.StatusCode != 504 {
		t.Errorf("%d, want 504", resp.StatusCode)
	}
	if s := r.breakerState(); s.State != breaker.Closed || s.Failures != 0 {
		t.Errorf("the breaker is %v with %d failures", s.State, s.Failures)
	}
}

// A request whose time is up while its body is on its way: the endpoint is to
// blame if it does not read, the caller if it does not send.
func TestTimeoutWithinTheBody(t *testing.T) {
	for _, tc := range []struct {
		name    string
		length  string
		send    int
		failure bool
	}{
		{"a caller that stalls", "1000", 10, false},
		{"a caller that stalls within much", "50000000", 10, false},
		{"an endpoint that does not read", "50000000", 20_000_000, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			end := make(chan struct{})
			up := startUpstream(t, func(p *peer, _ int) {
				_ = p.Conn.(*net.TCPConn).SetReadBuffer(1 << 16)
				p.head()
				<-end
			})
			defer close(end)
			hosts := &hostTables{}
			r := newRig(t, []string{up.addr}, func(s *ServerConfig, c *upstream.Config) {
				quickly(s)
				s.Hosts = hosts
				c.Breaker = firstFailure(time.Minute)
			})
			hosts.set("a", anyPath(300*time.Millisecond, r.cluster))
			p, body := dial(t, r.addr), pattern(tc.send)
			p.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + tc.length + "\r\n\r\n")
			go p.send(body)
			if resp, _ := p.answer(t, "POST"); resp.StatusCode != 504 {
				t.Errorf("%d, want 504", resp.StatusCode)
			}
			if s := r.breakerState(); (s.State == breaker.Open) != tc.failure {
				t.Errorf("the breaker is %v after %+v", s.State, s.Last)
			}
		})
	}
}

// What goes through a tunnel does not show up in the access log's line about
// the request that made it.
func TestTunnelKeepsItsRequest(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) {
		p.head()
		p.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(p.Conn, p.br)
	})
	r := newRig(t, []string{up.addr}, nil)
	p := dial(t, r.addr)
	p.send("GET /the-path HTTP/1.1\r\nHost: the-host\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	p.head()
	secret := strings.Repeat("secret ", 1000)
	p.send(secret)
	b := make([]byte, len(secret))
	if _, err := io.ReadFull(p.br, b); err != nil || string(b) != secret {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	p.Close()
	eventually(t, "the tunnel has ended", func() bool { return r.server.Open() == 0 })
	r.drain()
	if line := r.log.String(); !strings.Contains(line, `"GET /the-path HTTP/1.1" 101`) || !strings.Contains(line, `"the-host"`) || strings.Contains(line, "secret") {
		t.Errorf("access log line %q", line)
	}
}

// A request that comes in the instant in which its connection was idle for too
// long is served: it has been read, so its caller cannot know that it may send
// it again.
func TestRequestInTheLastInstant(t *testing.T) {
	up := startUpstream(t, answering(okAnswer("hello")))
	r := newRig(t, []string{up.addr}, nil)
	ours, p := tcpPair(t)
	c := newConn(r.server, listener.NewConn(ours))
	take := c.take
	c.take = func() []byte {
		c.take = take
		c.state.Or(expiredBit) // as the sweeper does
		c.interrupt()
		return take()
	}
	p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	eventually(t, "the request is here", c.down.HasInput)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.serve()
	}()
	if resp, body := p.answer(t, "GET"); resp.StatusCode != 200 || body != "hello" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	p.Close()
	<-done
}

// A caller that dies within a large answer, which the kernel moves, says nothing
// about the endpoint; an endpoint that dies does.
func TestLostWithinALargeAnswer(t *testing.T) {
	for _, who := range []string{"caller", "endpoint"} {
		t.Run(who, func(t *testing.T) {
			die := make(chan struct{})
			up := startUpstream(t, func(p *peer, _ int) {
				p.head()
				p.send("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
				if who == "endpoint" {
					p.send(pattern(1_000_000))
					<-die
					p.abort()
					return
				}
				p.send(pattern(50_000_000))
			})
			r := newRig(t, []string{up.addr}, func(sc *ServerConfig, c *upstream.Config) {
				c.Breaker = firstFailure(time.Minute)
				sc.Clock = func() time.Duration { return time.Hour } // it stands: on a slow machine a verdict would be due
			})
			p := dial(t, r.addr)
			p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			if _, err := io.ReadFull(p.br, make([]byte, 900_000)); err != nil {
				t.Fatal(err)
			}
			if who == "caller" {
				p.abort()
			}
			close(die)
			eventually(t, "the exchange has ended", func() bool { return len(r.breakerState().Last) == 1 })
			want := map[string]breaker.Cause{"caller": breaker.Cancelled, "endpoint": breaker.Reset}[who]
			if got := r.breakerState().Last[0].Cause; got != want {
				t.Errorf("the breaker heard %v, want %v", got, want)
			}
		})
	}
}
