package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/internal/proxy/bridge"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
	"github.com/reclosermesh/recloser/internal/proxy/listener"
)

// h2conn is a downstream connection of HTTP/2. Its frames are the engine's
// business; here are its streams as requests.
type h2conn struct {
	srv  *Server
	down *listener.Conn
	h2   *http2.Conn
	work sync.WaitGroup // the streams' goroutines

	idleSince atomic.Uint64 // tick since which no stream is open
	draining  atomic.Bool

	mu    sync.Mutex
	first *stream // of those that are open; guarded by mu
}

// idleLook is the number of ticks between two looks for streams on which
// nothing moves: their bounds are minutes, and there may be thousands.
const idleLook = 10

// http2Config is how a server of cfg speaks HTTP/2.
func http2Config(cfg *ServerConfig) http2.Config {
	c := cfg.HTTP2
	c.ExtendedConnect = true
	c.MaxHeaderBytes, c.MaxHeaders = cfg.HTTP1.MaxHeadBytes, cfg.HTTP1.MaxHeaders
	c.HeadTimeout = cfg.Timeouts.Head
	c.Clock = cfg.Clock
	c.OnRead, c.OnWritten = cfg.Metrics.BytesRead, cfg.Metrics.BytesWritten
	return c
}

// serveHTTP2 serves a connection that speaks HTTP/2; early is what was read of
// it already.
func (s *Server) serveHTTP2(down *listener.Conn, early []byte) {
	c := &h2conn{srv: s, down: down}
	c.idleSince.Store(s.tick.Load())
	c.h2 = http2.NewServer(down, early, &s.http2, c.accept)
	unregister := s.register(c)
	if err := c.h2.Serve(); err != nil && s.cfg.Logger != nil {
		s.cfg.Logger.Debug("HTTP/2 connection ended", "remote", down.RemoteAddr().String(), "error", err)
	}
	unregister()
	c.work.Wait()
}

// accept is where a request begins. It runs on the connection's reader, so
// nothing here waits.
func (c *h2conn) accept(down *http2.Stream, h *http2.Head, end bool) http2.Sink {
	st := &stream{conn: c, down: down}
	st.news.L = &st.mu
	err := bridge.RequestView(&st.req, h, end)
	st.x.begin(c.srv, c.down, "HTTP/2", &st.req)
	st.in.end = end
	st.touch()
	c.add(st)
	if err != nil {
		st.refuseView(err)
		return st
	}
	st.proceed()
	return st
}

func (c *h2conn) add(st *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.next = c.first; st.next != nil {
		st.next.prev = st
	}
	c.first = st
	st.listed = true
}

func (c *h2conn) remove(st *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !st.listed {
		return
	}
	st.listed = false
	if st.prev != nil {
		st.prev.next = st.next
	} else {
		c.first = st.next
	}
	if st.next != nil {
		st.next.prev = st.prev
	}
	st.next, st.prev = nil, nil
	if c.first == nil {
		c.idleSince.Store(c.srv.tick.Load())
	}
}

func (c *h2conn) leave() { go c.h2.Close(xhttp2.ErrCodeNo, "") }

// sweep is called with the Server's lock held.
func (c *h2conn) sweep(tick uint64) {
	c.h2.Sweep(c.srv.clock())
	switch {
	case c.draining.Load():
	case c.srv.draining.Load(), c.idle(tick):
		c.draining.Store(true)
		c.h2.Shutdown()
	}
	if tick%idleLook == 0 {
		for _, st := range c.stale(tick) {
			c.work.Go(st.expire)
		}
	}
}

func (c *h2conn) idle(tick uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first == nil && time.Duration(tick-c.idleSince.Load())*tickLength > c.srv.t.Idle
}

// stale lists the streams on which nothing has moved for too long.
func (c *h2conn) stale(tick uint64) []*stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*stream
	for st := c.first; st != nil; st = st.next {
		age := time.Duration(tick-st.moved.Load()) * tickLength
		if bound := st.bound(); bound > 0 && age > bound && !st.expired.Swap(true) {
			list = append(list, st)
		}
	}
	return list
}
