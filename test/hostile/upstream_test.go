package hostile

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/test/mesh"
	"github.com/reclosermesh/recloser/test/peer"
)

// upstream is an HTTP/2 server that does what a test wants.
type upstream struct {
	addr     string
	outcomes chan outcome // of each connection that has ended
	// settled tells that enough was heard of a connection that is open; nil:
	// never. It is set before the first connection.
	settled func(*outcome) bool
}

// newUpstream serves until the test ends. All frames go to handle, until it gives
// an error.
func newUpstream(t *testing.T, settings []http2.Setting, handle func(c *peer.Conn, f http2.Frame) error) *upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{addr: l.Addr().String(), outcomes: make(chan outcome, 1000)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				stop := context.AfterFunc(ctx, func() { nc.Close() })
				defer stop()
				defer nc.Close()
				u.serve(nc, settings, handle)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		running.Wait()
	})
	return u
}

func (u *upstream) serve(nc net.Conn, settings []http2.Setting, handle func(*peer.Conn, http2.Frame) error) {
	c, err := peer.Accept(nc, settings...)
	if err != nil || c.Settle(time.Now().Add(mesh.Patience)) != nil {
		return // a connection that was never used
	}
	o := outcome{resets: make(map[uint32]http2.ErrCode), statuses: make(map[uint32]string)}
	var ended error
	o.listenWith(c, u.settled, func(f http2.Frame) {
		if ended == nil {
			ended = handle(c, f)
		}
	})
	u.outcomes <- o
}

// onRequest does something once for each request, in a goroutine of its own.
func onRequest(f func(c *peer.Conn, id uint32)) func(*peer.Conn, http2.Frame) error {
	return func(c *peer.Conn, frame http2.Frame) error {
		if h, ok := frame.(*http2.MetaHeadersFrame); ok {
			go f(c, h.StreamID)
		}
		return nil
	}
}

// again is a round of an attack until it fails, or there were enough.
func again(round func(i int) error) {
	for i := range 300_000 {
		if round(i) != nil {
			return
		}
	}
}

// ask makes a request of the hostile upstream by HTTP/1.1 and gives the status,
// 0 where the connection ended before one.
func (a *arena) ask(method string, body io.Reader) (status int) {
	ctx, cancel := context.WithTimeout(a.t.Context(), mesh.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+a.addr+"/hostile/", body)
	if err != nil {
		a.t.Error(err)
		return 0
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if ctx.Err() != nil {
		a.t.Error("a request of the hostile upstream does not end")
	}
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body) // it may end in the middle
	return res.StatusCode
}

// answered are the fields of an answer.
func answered(more ...string) []string { return append([]string{":status", "200"}, more...) }

// TestUpstreamFloods sends each on a connection of the proxy's own making, once
// a request was sent on it.
func TestUpstreamFloods(t *testing.T) {
	for _, flood := range []struct {
		name  string
		round func(c *peer.Conn, id uint32, i int) error
		codes []http2.ErrCode
	}{
		{"SETTINGS", func(c *peer.Conn, _ uint32, _ int) error {
			return c.Write(func(fr *http2.Framer) error {
				return fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
			})
		}, []http2.ErrCode{calm}},
		{"PING", func(c *peer.Conn, _ uint32, i int) error {
			return c.Write(func(fr *http2.Framer) error { return fr.WritePing(false, [8]byte{byte(i)}) })
		}, []http2.ErrCode{calm}},
		{"PRIORITY", func(c *peer.Conn, id uint32, _ int) error {
			return c.Write(func(fr *http2.Framer) error { return fr.WritePriority(id, http2.PriorityParam{}) })
		}, []http2.ErrCode{calm}},
		{"WINDOW_UPDATE", func(c *peer.Conn, _ uint32, _ int) error {
			return c.Write(func(fr *http2.Framer) error { return fr.WriteWindowUpdate(0, 1) })
		}, []http2.ErrCode{calm}},
		{"empty DATA", func(c *peer.Conn, id uint32, i int) error {
			if i == 0 {
				return c.Headers(id, false, answered()...)
			}
			return c.Write(func(fr *http2.Framer) error { return fr.WriteData(id, false, nil) })
		}, []http2.ErrCode{calm}},
		{"CONTINUATION", func(c *peer.Conn, id uint32, i int) error {
			return endlessAnswer(c, id, i)
		}, []http2.ErrCode{calm, http2.ErrCodeProtocol}},
		{"pushes", func(c *peer.Conn, id uint32, i int) error {
			block, err := c.Encode(peer.Request("GET", "/")...)
			if err != nil {
				return err
			}
			return c.Write(func(fr *http2.Framer) error {
				return fr.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: uint32(2 * (i + 1)), BlockFragment: block, EndHeaders: true})
			})
		}, []http2.ErrCode{http2.ErrCodeProtocol}},
		{"window too large", func(c *peer.Conn, _ uint32, _ int) error {
			return c.Write(func(fr *http2.Framer) error { return fr.WriteWindowUpdate(0, 1<<31-1) })
		}, []http2.ErrCode{http2.ErrCodeFlowControl}},
	} {
		t.Run(flood.name, func(t *testing.T) {
			u := newUpstream(t, nil, onRequest(func(c *peer.Conn, id uint32) {
				again(func(i int) error { return flood.round(c, id, i) })
			}))
			a := newArena(t, mesh.HTTP1, u.addr)
			a.withstand(24*MiB, func() {
				if status := a.ask(http.MethodGet, nil); status >= 300 && status < 500 {
					t.Errorf("status %d for a flood of the upstream", status)
				}
				mustClose(t, []outcome{<-u.outcomes}, flood.codes...)
			})
		})
	}
}

func endlessAnswer(c *peer.Conn, id uint32, i int) error {
	if i == 0 {
		block, err := c.Encode(answered()...)
		if err != nil {
			return err
		}
		return c.Write(func(fr *http2.Framer) error {
			return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block})
		})
	}
	return c.Write(func(fr *http2.Framer) error { return fr.WriteContinuation(id, false, literal(1000)) })
}

// TestUpstreamExpandingHeaders answers with few bytes that stand for many: the
// caller gets a refusal.
func TestUpstreamExpandingHeaders(t *testing.T) {
	u := newUpstream(t, nil, onRequest(func(c *peer.Conn, id uint32) { _ = bomb(c, id, answered()) }))
	a := newArena(t, mesh.HTTP1, u.addr)
	a.withstand(24*MiB, func() {
		for range 50 {
			if status := a.ask(http.MethodGet, nil); status != http.StatusBadGateway && status != http.StatusServiceUnavailable {
				t.Fatalf("status %d for an answer with a head of 64 MB", status)
			}
		}
	})
}

// TestUpstreamTakesNothing has fifty callers send 8 MiB each to an upstream that
// never opens a window: the proxy must stop reading from the callers.
func TestUpstreamTakesNothing(t *testing.T) {
	u := newUpstream(t, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}}, func(*peer.Conn, http2.Frame) error { return nil })
	a := newArena(t, mesh.HTTP1, u.addr, "--stream-timeout", "3s")
	a.withstand(64*MiB, func() {
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				// Either a refusal, or the end of a connection on which the
				// caller was still sending.
				if status := a.ask(http.MethodPost, io.LimitReader(zeros{}, 8*MiB)); status != 0 && status < 500 {
					t.Errorf("status %d of an upstream that answers nothing", status)
				}
			})
		}
		all.Wait()
	})
}

// zeros are without an end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestUpstreamTalksOn sends interim answers without an end, to a caller that
// does not read them.
func TestUpstreamTalksOn(t *testing.T) {
	for name, caller := range map[string]func(a *arena) (io.Closer, error){
		"HTTP1": func(a *arena) (io.Closer, error) {
			c, err := net.Dial("tcp", a.addr)
			if err != nil {
				return nil, err
			}
			_, err = fmt.Fprintf(c, "GET /hostile/ HTTP/1.1\r\nHost: peer.test\r\n\r\n")
			return c, err
		},
		"HTTP2": func(a *arena) (io.Closer, error) {
			c, err := peer.Dial(a.t.Context(), a.addr)
			if err != nil {
				return nil, err
			}
			return c, c.Headers(1, true, peer.Request("GET", "/hostile/")...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			said := make(chan struct{})
			u := newUpstream(t, nil, onRequest(func(c *peer.Conn, id uint32) {
				defer close(said)
				// 100 MB, or until the proxy does not take more.
				for i := range 100_000 {
					link := fmt.Sprintf("</%0900d>; rel=preload", i)
					if c.SetWriteDeadline(time.Now().Add(5*time.Second)) != nil || c.Headers(id, false, ":status", "103", "link", link) != nil {
						return
					}
				}
			}))
			a := newArena(t, mesh.HTTP1, u.addr, "--stream-timeout", "3s")
			a.withstand(48*MiB, func() {
				c, err := caller(a)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				<-said
			})
		})
	}
}

// TestUpstreamBeyondWindow answers with more than it may, to a caller that does
// not read.
func TestUpstreamBeyondWindow(t *testing.T) {
	u := newUpstream(t, nil, onRequest(func(c *peer.Conn, id uint32) {
		part := make([]byte, 16384)
		if c.Headers(id, false, answered()...) != nil {
			return
		}
		again(func(int) error {
			return c.Write(func(fr *http2.Framer) error { return fr.WriteData(id, false, part) })
		})
	}))
	u.settled = func(o *outcome) bool { return len(o.resets) > 0 }
	a := newArena(t, mesh.HTTP1, u.addr)
	a.withstand(48*MiB, func() {
		c, err := net.Dial("tcp", a.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := fmt.Fprintf(c, "GET /hostile/ HTTP/1.1\r\nHost: peer.test\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		beyondWindow(t, <-u.outcomes)
	})
}
