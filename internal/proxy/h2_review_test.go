package proxy

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/bridge"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
	"github.com/reclosermesh/recloser/internal/proxy/listener"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// dialWindow is dialFramed by a caller that takes as many bytes of each answer.
func dialWindow(t testing.TB, addr string, window uint32) *framed {
	t.Helper()
	f := dialFramed(t, addr)
	f.write(func() error {
		return f.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: window})
	})
	return f
}

// post begins a POST.
func (f *framed) post(id uint32, more ...string) {
	f.headers(id, false, append([]string{":method", "POST", ":scheme", "http", ":authority", "bb:8080", ":path", "/"}, more...)...)
}

// A caller that does not take the end of its answer does not keep it for ever,
// whether it has sent all of its request or not.
func TestAnswerThatIsNotTaken(t *testing.T) {
	for _, protocol := range []upstream.Protocol{upstream.HTTP1, upstream.HTTP2} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(fmt.Sprint(method, " to ", protocol), func(t *testing.T) {
				addr := startUpstream(t, func(p *peer, _ int) {
					p.head()
					p.send(okAnswer("hello"))
					p.rest()
				}).addr
				if protocol == upstream.HTTP2 {
					addr = framedBackend(t, func(_ int, f *framed) {
						for fr := f.next(); fr != nil; fr = f.next() {
							if h, ok := fr.(*xhttp2.MetaHeadersFrame); ok {
								f.headers(h.StreamID, false, ":status", "200")
								f.write(func() error { return f.fr.WriteData(h.StreamID, true, []byte("hello")) })
							}
						}
					})
				}
				r := newRig(t, []string{addr}, func(sc *ServerConfig, uc *upstream.Config) {
					uc.Protocol = protocol
					sc.Timeouts.Stream = 300 * time.Millisecond
				})
				f := dialWindow(t, r.addr, 0)
				if method == "GET" {
					f.get(1, "/")
				} else {
					f.post(1)
				}
				if status, body := f.answer(1); status != "reset CANCEL" || body != "" {
					t.Errorf("%q with %q, want a reset", status, body)
				}
			})
		}
	}
}

// webSocket is the head of an HTTP/1.1 caller's request for one.
const webSocket = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

var takesWebSockets = xhttp2.Setting{ID: xhttp2.SettingEnableConnectProtocol, Val: 1}

// An endpoint of HTTP/2 hears that the caller at the other end of its tunnel has
// died.
func TestTunnelCallerDies(t *testing.T) {
	told := make(chan string, 1)
	addr := framedBackend(t, func(_ int, f *framed) {
		for fr := f.next(); fr != nil; fr = f.next() {
			switch fr := fr.(type) {
			case *xhttp2.MetaHeadersFrame:
				f.headers(fr.StreamID, false, ":status", "200")
			case *xhttp2.RSTStreamFrame:
				told <- fr.ErrCode.String()
			}
		}
		close(told)
	}, takesWebSockets)
	r := newRig(t, []string{addr}, func(_ *ServerConfig, uc *upstream.Config) { uc.Protocol = upstream.HTTP2 })
	p := dial(t, r.addr)
	p.send(webSocket)
	if head := p.head(); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatal(head)
	}
	p.abort()
	if got := receive(t, told); got != "CANCEL" {
		t.Errorf("the endpoint was told %q", got)
	}
}

// A request's deadline bounds the exchange of heads, and not the WebSocket that
// comes of it.
func TestTunnelOutlivesTheDeadline(t *testing.T) {
	serve := func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, len(xhttp2.ClientPreface)))
		f := newFramed(t, c)
		f.write(func() error { return f.fr.WriteSettings(takesWebSockets) })
		for fr := f.next(); fr != nil; fr = f.next() {
			switch fr := fr.(type) {
			case *xhttp2.MetaHeadersFrame:
				f.headers(fr.StreamID, false, ":status", "200")
			case *xhttp2.DataFrame:
				if b := bytes.Clone(fr.Data()); !fr.StreamEnded() {
					f.write(func() error { return f.fr.WriteData(fr.StreamID, false, b) })
				}
			}
		}
	}
	inBubble(t, serve, func(sc *ServerConfig, uc *upstream.Config) {
		uc.Protocol = upstream.HTTP2
		sc.Protocol = ProtocolHTTP
		sc.TCP = nil
	}, func(t *testing.T, b *bubble) {
		b.server.cfg.Hosts = oneHost{anyPath(300*time.Millisecond, b.cluster)}
		p := b.dial(t)
		p.send(webSocket)
		if head := p.head(); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
			t.Fatal(head)
		}
		sleep(time.Second)
		p.send("hello")
		got := make([]byte, 5)
		if _, err := io.ReadFull(p.br, got); err != nil || string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
		p.Close()
	})
}

// An endpoint that answers before it has taken all of the request, and then
// takes no more of it, does not keep a stream of its connection for ever.
func TestRequestThatIsNotTaken(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint("from HTTP/", version), func(t *testing.T) {
			told := make(chan string, 1)
			addr := framedBackend(t, func(_ int, f *framed) {
				for fr := f.next(); fr != nil; fr = f.next() {
					switch fr := fr.(type) {
					case *xhttp2.DataFrame:
						f.headers(fr.StreamID, true, ":status", "200")
					case *xhttp2.RSTStreamFrame:
						told <- fr.ErrCode.String()
					}
				}
				close(told)
			}, xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 10})
			r := newRig(t, []string{addr}, func(_ *ServerConfig, uc *upstream.Config) { uc.Protocol = upstream.HTTP2 })
			if version == 1 {
				p := dial(t, r.addr)
				p.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + pattern(100))
				if resp, _ := p.answer(t, "POST"); resp.StatusCode != 200 {
					t.Errorf("%d", resp.StatusCode)
				}
			} else {
				f := dialFramed(t, r.addr)
				f.post(1)
				f.write(func() error { return f.fr.WriteData(1, true, []byte(pattern(100))) })
				if status, _ := f.answer(1); status != "200" {
					t.Error(status)
				}
			}
			if got := receive(t, told); got != "CANCEL" {
				t.Errorf("the endpoint was told %q", got)
			}
		})
	}
}

// As TestTimeoutWithinTheBody, for callers of HTTP/2: a caller that does not
// send its body is to blame for the time that passes.
func TestTimeoutWithinTheBodyHTTP2(t *testing.T) {
	for _, protocol := range []upstream.Protocol{upstream.HTTP1, upstream.HTTP2} {
		for _, tc := range []struct {
			name           string
			deadline, idle time.Duration
			all            bool
			status         string
			failure        bool
		}{
			{"deadline, a caller that stalls", 300 * time.Millisecond, 0, false, "504", false},
			{"deadline, an endpoint that stalls", 300 * time.Millisecond, 0, true, "504", true},
			{"idle, a caller that stalls", 0, 300 * time.Millisecond, false, "408", false},
			{"idle, an endpoint that stalls", 0, 300 * time.Millisecond, true, "504", true},
		} {
			t.Run(fmt.Sprint(protocol, ", ", tc.name), func(t *testing.T) {
				addr := startUpstream(t, func(p *peer, _ int) { p.rest() }).addr
				if protocol == upstream.HTTP2 {
					addr = framedBackend(t, func(_ int, f *framed) {
						for f.next() != nil {
						}
					})
				}
				hosts := &hostTables{}
				r := newRig(t, []string{addr}, func(sc *ServerConfig, uc *upstream.Config) {
					uc.Protocol = protocol
					uc.Breaker = firstFailure(time.Minute)
					sc.Hosts = hosts
					sc.Timeouts.Stream = tc.idle
				})
				hosts.set("bb:8080", anyPath(tc.deadline, r.cluster))
				f := dialFramed(t, r.addr)
				f.post(1)
				f.write(func() error { return f.fr.WriteData(1, tc.all, []byte("some")) })
				if status, _ := f.answer(1); status != tc.status {
					t.Errorf("%s, want %s", status, tc.status)
				}
				if s := r.breakerState(); (s.State == breaker.Open) != tc.failure {
					t.Errorf("the breaker is %v after %+v", s.State, s.Last)
				}
			})
		}
	}
}

// An answer of gRPC without a status is a broken one, in whatever form.
func TestGRPCStatusMissing(t *testing.T) {
	const grpc = "application/grpc"
	framedly := func(how func(f *framed, id uint32)) string {
		return framedBackend(t, func(_ int, f *framed) {
			for fr := f.next(); fr != nil; fr = f.next() {
				if h, ok := fr.(*xhttp2.MetaHeadersFrame); ok {
					how(f, h.StreamID)
				}
			}
		})
	}
	for _, tc := range []struct {
		name string
		addr string
		open bool
	}{
		{"in a head that is all", framedly(func(f *framed, id uint32) {
			f.headers(id, true, ":status", "200", "content-type", grpc)
		}), true},
		{"in trailers", framedly(func(f *framed, id uint32) {
			f.headers(id, false, ":status", "200", "content-type", grpc)
			f.headers(id, true, "x-end", "1")
		}), true},
		{"without trailers", framedly(func(f *framed, id uint32) {
			f.headers(id, false, ":status", "200", "content-type", grpc)
			f.write(func() error { return f.fr.WriteData(id, true, make([]byte, 5)) })
		}), true},
		{"it is there", framedly(func(f *framed, id uint32) {
			f.headers(id, false, ":status", "200", "content-type", grpc)
			f.headers(id, true, "grpc-status", "0")
		}), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, []string{tc.addr}, func(_ *ServerConfig, uc *upstream.Config) {
				uc.Protocol = upstream.HTTP2
				uc.Breaker = firstFailure(time.Minute)
			})
			f := dialFramed(t, r.addr)
			f.post(1, "content-type", grpc)
			f.write(func() error { return f.fr.WriteData(1, true, nil) })
			if status, _ := f.answer(1); status != "200" {
				t.Errorf("%s", status)
			}
			eventually(t, "the exchange is settled", func() bool {
				s := r.breakerState()
				return (s.State == breaker.Open) == tc.open
			})
		})
	}
}

// switching reads the head of a request for a WebSocket, and takes it.
func (p *peer) switching() {
	_, key, _ := strings.Cut(p.head(), "Sec-WebSocket-Key: ")
	key, _, _ = strings.Cut(key, "\r\n")
	p.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " +
		string(bridge.WebSocketAccept(nil, []byte(key))) + "\r\n\r\n")
}

func (f *framed) webSocket(id uint32) {
	f.headers(id, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "bb:8080", ":path", "/ws",
		"sec-websocket-version", "13")
}

// A tunnel whose endpoint has ended its half ends when the caller is silent for
// too long.
func TestHalfOpenTunnelEnds(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) {
		p.switching()
		_ = p.Conn.(*net.TCPConn).CloseWrite()
		p.rest()
	})
	r := newRig(t, []string{up.addr}, func(sc *ServerConfig, uc *upstream.Config) {
		uc.Protocol = upstream.HTTP1
		sc.Timeouts.Tunnel = 300 * time.Millisecond
	})
	f := dialFramed(t, r.addr)
	f.webSocket(1)
	if status, body := f.answer(1); status != "200" || body != "" {
		t.Fatalf("%s %q", status, body)
	}
	if fr, ok := f.next().(*xhttp2.RSTStreamFrame); !ok || fr.StreamID != 1 {
		t.Errorf("got %v, want the stream's reset", fr)
	}
}

// An endpoint that takes no WebSocket is not a broken one.
func TestWebSocketDeclinedIsNoFailure(t *testing.T) {
	t.Run("by an ordinary answer", func(t *testing.T) {
		up := startUpstream(t, func(p *peer, _ int) {
			p.head()
			p.send(okAnswer("a page"))
		})
		r := newRig(t, []string{up.addr}, func(_ *ServerConfig, uc *upstream.Config) {
			uc.Protocol = upstream.HTTP1
			uc.Breaker = firstFailure(time.Minute)
		})
		f := dialFramed(t, r.addr)
		f.webSocket(1)
		if status, _ := f.answer(1); status != "502" {
			t.Errorf("%s, want 502", status)
		}
		if s := r.breakerState(); s.State != breaker.Closed {
			t.Errorf("the breaker is %v after %+v", s.State, s.Last)
		}
	})
	t.Run("by its SETTINGS", func(t *testing.T) {
		addr := framedBackend(t, func(_ int, f *framed) {
			for f.next() != nil {
			}
		})
		r := newRig(t, []string{addr}, func(_ *ServerConfig, uc *upstream.Config) {
			uc.Protocol = upstream.HTTP2
			uc.Breaker = firstFailure(time.Minute)
		})
		p := dial(t, r.addr)
		p.send(webSocket)
		if resp, _ := p.answer(t, "GET"); resp.StatusCode != 502 {
			t.Errorf("%d, want 502", resp.StatusCode)
		}
		if s := r.breakerState(); s.State != breaker.Closed {
			t.Errorf("the breaker is %v after %+v", s.State, s.Last)
		}
	})
}

// A call whose time is up when it comes is refused, and says nothing about the
// endpoint.
func TestDeadlineThatIsOver(t *testing.T) {
	addr := framedBackend(t, func(_ int, f *framed) {
		for f.next() != nil {
		}
	})
	r := newRig(t, []string{addr}, func(_ *ServerConfig, uc *upstream.Config) {
		uc.Protocol = upstream.HTTP2
		uc.Breaker = firstFailure(time.Minute)
	})
	f := dialFramed(t, r.addr)
	for id := uint32(1); id < 20; id += 2 {
		f.post(id, "content-type", "application/grpc", "grpc-timeout", "0m")
		if status, _ := f.answer(id); status != "200" {
			t.Errorf("%s, want 200 with a status of gRPC", status)
		}
	}
	if s := r.breakerState(); s.State != breaker.Closed {
		t.Errorf("the breaker is %v after %+v", s.State, s.Last)
	}
}

// The time that a request waited for a stream of its endpoint is not taken from
// the time that the endpoint has for it.
func TestWaitForAStreamIsNotIdleTime(t *testing.T) {
	serve := func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, len(xhttp2.ClientPreface)))
		f := newFramed(t, c)
		f.write(func() error {
			return f.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingMaxConcurrentStreams, Val: 1})
		})
		for fr := f.next(); fr != nil; fr = f.next() {
			if h, ok := fr.(*xhttp2.MetaHeadersFrame); ok {
				sleep(9 * time.Second)
				f.headers(h.StreamID, true, ":status", "200")
			}
		}
	}
	inBubble(t, serve, func(sc *ServerConfig, uc *upstream.Config) {
		uc.Protocol = upstream.HTTP2
		uc.Limits.MaxConnections = 1
		sc.Timeouts.Stream = 10 * time.Second
	}, func(t *testing.T, b *bubble) {
		f := newFramed(t, b.dial(t).Conn)
		_, _ = io.WriteString(f.c, xhttp2.ClientPreface)
		f.write(func() error { return f.fr.WriteSettings() })
		f.get(1, "/")
		f.get(3, "/")
		for range 2 { // either may be the first
			h, ok := f.next().(*xhttp2.MetaHeadersFrame)
			if !ok || h.PseudoValue("status") != "200" {
				t.Fatalf("%v, want 200", h)
			}
		}
		f.c.Close()
	})
}

// A stream of an endpoint may end before its opener has gone on. Whoever sends
// the request again is not disturbed by it.
func TestReplayBeforeTheFirstTryIsJoined(t *testing.T) {
	addr := framedBackend(t, func(_ int, f *framed) {
		for fr := f.next(); fr != nil; fr = f.next() {
			if h, ok := fr.(*xhttp2.MetaHeadersFrame); ok {
				f.headers(h.StreamID, true, ":status", "200")
			}
		}
	})
	r := newRig(t, []string{addr}, func(_ *ServerConfig, uc *upstream.Config) { uc.Protocol = upstream.HTTP2 })
	resp, err := client2(t).Get(r.url("/")) // there is a connection now
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()

	ours, p := tcpPair(t)
	c := &h2conn{srv: r.server, down: listener.NewConn(ours)}
	begun := make(chan *stream, 1)
	c.h2 = http2.NewServer(ours, nil, &r.server.http2, func(down *http2.Stream, h *http2.Head, end bool) http2.Sink {
		st := &stream{conn: c, down: down}
		st.news.L = &st.mu
		_ = bridge.RequestView(&st.req, h, end)
		st.x.begin(c.srv, c.down, "HTTP/2", &st.req)
		st.in.end = end
		begun <- st
		return st
	})
	served := make(chan error, 1)
	go func() { served <- c.h2.Serve() }()
	f := newFramed(t, p.Conn)
	_, _ = io.WriteString(f.c, xhttp2.ClientPreface)
	f.write(func() error { return f.fr.WriteSettings() })
	f.get(1, "/")
	st := receive(t, begun)

	_, _ = st.x.known()
	if why := st.x.choose(); why != telemetry.ViaUpstream || !st.x.tryAdmit() {
		t.Fatal(why)
	}
	var space fieldSpace
	first, ok := st.x.endpoint.TryOpen(st.x.requestFields(&space), st.bodyless(), (*answerSink)(st))
	if !ok {
		t.Fatal("no room for a stream")
	}
	(*answerSink)(st).Closed(first, &http2.StreamError{Code: xhttp2.ErrCodeRefusedStream, Remote: true, Unprocessed: true})
	first.Reset(xhttp2.ErrCodeCancel)
	st.mu.Lock()
	st.joined(first)
	if st.up == first {
		t.Error("the stream that was refused is the exchange's")
	}
	st.mu.Unlock()
	if status, _ := f.answer(1); status != "200" {
		t.Error(status)
	}
	f.c.Close()
	_ = receive(t, served)
	c.work.Wait()
}

// An endpoint cannot fill the memory with heads while a caller does not read.
func TestInterimsAreBounded(t *testing.T) {
	b := newAnswerBox()
	for range 100 * maxInterims {
		b.Head(nil, &http2.Head{Status: 103}, false)
	}
	n := 0
	for ; len(b.heads) > 0; n++ {
		b.head()
	}
	if n <= maxInterims || n > 2*maxInterims {
		t.Errorf("%d heads are kept, want little more than the %d that are too many", n, maxInterims)
	}
}

// What is lost with a connection that gave no sign of life is a lost connection.
func TestLostStream(t *testing.T) {
	for _, code := range []xhttp2.ErrCode{xhttp2.ErrCodeNo, xhttp2.ErrCodeCancel} {
		if why := lostStream(&http2.StreamError{Conn: true, Code: code}, false); why != telemetry.ConnectionLost {
			t.Errorf("%v: %v", code, why)
		}
	}
	if why := lostStream(&http2.StreamError{Conn: true, Code: xhttp2.ErrCodeProtocol}, false); why != telemetry.UpstreamProtocol {
		t.Errorf("%v", why)
	}
}

// The proxy ends although an endpoint does not read what it is told at the end.
func TestEndpointThatDoesNotReadTheEnd(t *testing.T) {
	serve := func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, len(xhttp2.ClientPreface)))
		f := newFramed(t, c)
		f.write(func() error { return f.fr.WriteSettings() })
		for fr := f.next(); fr != nil; fr = f.next() {
			if h, ok := fr.(*xhttp2.MetaHeadersFrame); ok {
				f.headers(h.StreamID, true, ":status", "200")
				break
			}
		}
		for f.fr.WritePing(true, [8]byte{}) == nil {
			sleep(time.Second)
		}
	}
	inBubble(t, serve, func(_ *ServerConfig, uc *upstream.Config) { uc.Protocol = upstream.HTTP2 }, func(t *testing.T, b *bubble) {
		p := b.dial(t)
		p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if resp, _ := p.answer(t, "GET"); resp.StatusCode != 200 {
			t.Errorf("%d", resp.StatusCode)
		}
		p.Close()
	})
}

// A deadline that comes in the very moment in which a WebSocket is opened does
// not end it.
func TestDeadlineAtTheTunnelsBeginning(t *testing.T) {
	for _, protocol := range []upstream.Protocol{upstream.HTTP1, upstream.HTTP2} {
		t.Run(protocol.String(), func(t *testing.T) {
			addr := startUpstream(t, func(p *peer, _ int) {
				p.switching()
				_, _ = io.Copy(p.Conn, p.br)
			}).addr
			if protocol == upstream.HTTP2 {
				addr = framedBackend(t, func(_ int, f *framed) {
					for fr := f.next(); fr != nil; fr = f.next() {
						switch fr := fr.(type) {
						case *xhttp2.MetaHeadersFrame:
							f.headers(fr.StreamID, false, ":status", "200")
						case *xhttp2.DataFrame:
							f.write(func() error { return f.fr.WriteData(fr.StreamID, fr.StreamEnded(), fr.Data()) })
						}
					}
				}, takesWebSockets)
			}
			hosts := &hostTables{}
			r := newRig(t, []string{addr}, func(sc *ServerConfig, uc *upstream.Config) {
				uc.Protocol = protocol
				sc.Hosts = hosts
			})
			hosts.set("bb:8080", anyPath(time.Hour, r.cluster))
			f := dialFramed(t, r.addr)
			f.webSocket(1)
			if h, ok := f.next().(*xhttp2.MetaHeadersFrame); !ok || h.PseudoValue("status") != "200" {
				t.Fatal(h)
			}
			r.server.mu.Lock()
			for s := range r.server.conns {
				c := s.(*h2conn)
				c.mu.Lock()
				st := c.first
				c.mu.Unlock()
				eventually(t, "the tunnel is open", st.open.Load)
				st.cut(telemetry.RequestTimeout) // as its timer does, which had begun to
			}
			r.server.mu.Unlock()
			f.write(func() error { return f.fr.WriteData(1, true, []byte("hello")) })
			if status, body := f.answer(1); status != "" || body != "hello" {
				t.Errorf("%q %q", status, body)
			}
		})
	}
}

// tally counts the streams that are open at endpoints.
type tally struct{ open atomic.Int64 }

// erratic is an endpoint that does all that an endpoint can do to a stream.
func (n *tally) erratic(_ int, f *framed) {
	const heard, said = 1, 2
	last := uint32(1<<31 - 1) // that is served
	newest := uint32(0)
	open := map[uint32]int{}
	mark := func(id uint32, how int) {
		before, ok := open[id]
		if !ok {
			return
		}
		if open[id] = before | how; open[id] == heard|said {
			delete(open, id)
			n.open.Add(-1)
		}
	}
	defer func() { n.open.Add(int64(-len(open))) }()
	for fr := f.next(); fr != nil; fr = f.next() {
		id := fr.Header().StreamID
		switch fr := fr.(type) {
		case *xhttp2.RSTStreamFrame:
			mark(id, heard|said)
		case *xhttp2.DataFrame:
			if fr.StreamEnded() {
				mark(id, heard)
			}
		case *xhttp2.MetaHeadersFrame:
			if id <= newest { // trailers, perhaps of one that was reset
				mark(id, heard)
				continue
			}
			newest = id
			if id > last {
				continue
			}
			open[id] = 0
			n.open.Add(1)
			if fr.StreamEnded() {
				mark(id, heard)
			}
			switch rand.IntN(12) {
			case 0:
				f.write(func() error { return f.fr.WriteRSTStream(id, xhttp2.ErrCodeRefusedStream) })
				mark(id, heard|said)
			case 1:
				f.write(func() error { return f.fr.WriteRSTStream(id, xhttp2.ErrCodeInternal) })
				mark(id, heard|said)
			case 2:
				f.headers(id, false, ":status", "103")
				f.headers(id, false, ":status", "200")
				f.write(func() error { return f.fr.WriteRSTStream(id, xhttp2.ErrCodeCancel) })
				mark(id, heard|said)
			case 3:
				last = min(last, id-2*uint32(rand.IntN(2)))
				f.write(func() error { return f.fr.WriteGoAway(last, xhttp2.ErrCodeNo, nil) })
				for id := range open {
					if id > last {
						mark(id, heard|said)
					}
				}
			case 4:
				if rand.IntN(4) == 0 {
					return
				}
			case 5, 6: // nothing, or half an answer
			case 7:
				f.headers(id, false, ":status", "200")
			case 8:
				f.headers(id, false, ":status", "200", "content-length", "3")
				f.write(func() error { return f.fr.WriteData(id, true, []byte("more than 3")) })
				mark(id, said)
			default:
				f.headers(id, false, ":status", "200")
				f.write(func() error { return f.fr.WriteData(id, false, []byte("all")) })
				f.headers(id, true, "grpc-status", "0")
				mark(id, said)
			}
		}
	}
}

// Whatever callers and endpoints do, all that was begun ends, and is ended once.
func TestAllThatWasBegunEnds(t *testing.T) {
	var n tally
	addresses := []string{framedBackend(t, n.erratic), framedBackend(t, n.erratic)}
	hosts := &hostTables{}
	r := newRig(t, addresses, func(sc *ServerConfig, uc *upstream.Config) {
		uc.Protocol = upstream.HTTP2
		sc.Hosts = hosts
	})
	hosts.set("bb:8080", anyPath(300*time.Millisecond, r.cluster))
	var callers sync.WaitGroup
	for i := range 12 {
		f := dialFramed(t, r.addr)
		callers.Go(func() {
			for f.next() != nil {
			}
		})
		for id := uint32(1); id < 120; id += 2 {
			switch rand.IntN(5) {
			case 0:
				f.get(id, "/")
			case 1:
				f.get(id, "/")
				f.write(func() error { return f.fr.WriteRSTStream(id, xhttp2.ErrCodeCancel) })
			case 2:
				f.post(id)
				f.write(func() error { return f.fr.WriteData(id, false, []byte("never ends")) })
			case 3:
				f.post(id, "content-type", "application/grpc", "grpc-timeout", "100m")
				f.write(func() error { return f.fr.WriteData(id, rand.IntN(2) == 0, []byte("call")) })
			default:
				f.post(id)
				f.write(func() error { return f.fr.WriteData(id, false, []byte("with")) })
				f.headers(id, true, "x-end", "trailers")
			}
		}
		if i%3 == 0 {
			f.c.Close()
		}
	}
	r.awaitNothingInFlight()
	eventually(t, "no stream is open at an endpoint", func() bool { return n.open.Load() == 0 })
	r.awaitNoStreams()
	r.drain()
	callers.Wait()
	if c := r.cluster.Limits().InFlight(); c.Requests != 0 || c.Pending != 0 {
		t.Errorf("in flight at the end: %+v", c)
	}
}

// As TestAllThatWasBegunEnds, where callers speak HTTP/1.1.
func TestAllThatWasBegunEndsOfHTTP1Callers(t *testing.T) {
	var n tally
	hosts := &hostTables{}
	r := newRig(t, []string{framedBackend(t, n.erratic)}, func(sc *ServerConfig, uc *upstream.Config) {
		uc.Protocol = upstream.HTTP2
		sc.Hosts = hosts
		quickly(sc)
		sc.Timeouts.Idle = 500 * time.Millisecond
	})
	hosts.set("bb:8080", anyPath(300*time.Millisecond, r.cluster))
	var callers sync.WaitGroup
	for i := range 100 {
		callers.Go(func() {
			p := dial(t, r.addr)
			defer p.Close()
			for range 4 {
				p.send([]string{
					"GET / HTTP/1.1\r\nHost: bb:8080\r\n\r\n",
					"POST / HTTP/1.1\r\nHost: bb:8080\r\nContent-Length: 4\r\n\r\nbody",
					"POST / HTTP/1.1\r\nHost: bb:8080\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-end: 1\r\n\r\n",
					"POST / HTTP/1.1\r\nHost: bb:8080\r\nContent-Length: 40\r\n\r\nnever ends",
				}[rand.IntN(4)])
			}
			if i%4 == 0 {
				p.abort()
			}
			p.rest()
		})
	}
	callers.Wait()
	eventually(t, "no request is in flight", func() bool { return r.cluster.Limits().InFlight().Requests == 0 })
	eventually(t, "no stream is open at an endpoint", func() bool { return n.open.Load() == 0 })
}

// As TestAllThatWasBegunEnds, where the endpoint speaks HTTP/1.1.
func TestAllThatWasBegunEndsAtHTTP1Endpoints(t *testing.T) {
	up := startUpstream(t, erratic1)
	hosts := &hostTables{}
	r := newRig(t, []string{up.addr}, func(sc *ServerConfig, uc *upstream.Config) {
		uc.Protocol = upstream.HTTP1
		uc.Limits.MaxConnections = 20
		sc.Hosts = hosts
	})
	hosts.set("bb:8080", anyPath(300*time.Millisecond, r.cluster))
	var callers sync.WaitGroup
	for i := range 6 {
		f := dialFramed(t, r.addr)
		callers.Go(func() {
			for f.next() != nil {
			}
		})
		for id := uint32(1); id < 80; id += 2 {
			switch rand.IntN(4) {
			case 0:
				f.get(id, "/")
			case 1:
				f.get(id, "/")
				f.write(func() error { return f.fr.WriteRSTStream(id, xhttp2.ErrCodeCancel) })
			case 2:
				f.post(id)
				f.write(func() error { return f.fr.WriteData(id, false, []byte("never ends")) })
			default:
				f.post(id)
				f.write(func() error { return f.fr.WriteData(id, false, []byte("with")) })
				f.headers(id, true, "x-end", "trailers")
			}
		}
		if i%3 == 0 {
			f.c.Close()
		}
	}
	r.awaitNothingInFlight()
	r.awaitNoStreams()
	r.drain()
	callers.Wait()
	if c := r.cluster.Limits().InFlight(); c.Connections != 0 {
		t.Errorf("connections at the end: %+v", c)
	}
}

// erratic1 answers as endpoints of HTTP/1.1 do, and as they should not.
func erratic1(p *peer, _ int) {
	for {
		q, err := p.request()
		if err != nil {
			return
		}
		switch rand.IntN(8) {
		case 0:
			return
		case 1:
			p.abort()
			return
		case 2: // before the body
			p.send(okAnswer("early"))
		case 3:
			p.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		case 4:
			p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nbroken")
		case 5: // nothing
		default:
			_, _ = io.Copy(io.Discard, q.Body)
			p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n0\r\nx-end: 1\r\n\r\n")
		}
	}
}

// awaitNoStreams waits until no caller's stream is open.
func (r *rig) awaitNoStreams() {
	r.t.Helper()
	eventually(r.t, "no caller's stream is open", func() bool {
		r.server.mu.Lock()
		defer r.server.mu.Unlock()
		for s := range r.server.conns {
			if c, ok := s.(*h2conn); ok && c.h2.Streams() > 0 {
				return false
			}
		}
		return true
	})
}

// awaitNothingInFlight waits until the cluster's limits count no request.
func (r *rig) awaitNothingInFlight() {
	r.t.Helper()
	eventually(r.t, "no request is in flight", func() bool {
		c := r.cluster.Limits().InFlight()
		return c.Requests == 0 && c.Pending == 0
	})
}
