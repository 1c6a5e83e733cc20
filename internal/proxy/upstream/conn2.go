package upstream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
)

// conn2 is one connection of HTTP/2 of a pool. One goroutine, that of run, makes
// it, serves it, and ends with it.
type conn2 struct {
	pool    *pool2
	streams atomic.Uint32 // opened so far
	reads   atomic.Uint64 // what the peer let be heard
	swept   atomic.Uint64 // of which sweep knows
	madeAt  time.Duration // immutable once served
	heardAt atomic.Int64  // instant at which sweep found something new

	// Set by run before the pool knows the connection.
	h2        *http2.Conn
	transport string // as configured when it was dialled

	usable bool // in the pool's list. Guarded by the pool's mu.
}

// run dials and serves. ctx ends with the Set.
func (c *conn2) run(ctx context.Context) {
	e := c.pool.e
	err := c.connect(ctx)
	if err == nil {
		stop := context.AfterFunc(ctx, func() { c.h2.Close(xhttp2.ErrCodeNo, "") })
		e.cluster.roster.add(c)
		err = c.h2.Serve()
		e.cluster.roster.remove(c)
		stop()
		e.metrics.ConnClosed()
	}
	c.pool.ended(c, err)
}

func (c *conn2) connect(ctx context.Context) error {
	e := c.pool.e
	cfg := e.cluster.cfg.Load()
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	nc, err := cfg.dial(ctx, e.address, "h2")
	e.dialFailed.Store(err != nil)
	if err != nil {
		return err
	}
	e.metrics.ConnOpened()
	settings := cfg.HTTP2
	settings.Clock = e.cluster.opts.Clock
	settings.OnRead = func(n int) {
		c.reads.Add(1)
		e.metrics.BytesRead(n)
	}
	settings.OnWritten = e.metrics.BytesWritten
	c.madeAt = e.cluster.opts.Clock()
	c.heardAt.Store(int64(c.madeAt))
	if settings.SettingsTimeout == 0 {
		settings.SettingsTimeout = cfg.ConnectTimeout
	}
	c.transport = cfg.Transport
	c.h2 = http2.NewClient(nc, &settings, c.news)
	return nil
}

// news is told by the engine of room, of the peer's SETTINGS, and of the
// beginning of the end.
func (c *conn2) news(*http2.Conn) {
	p := c.pool
	wanted := true
	p.mu.Lock()
	switch {
	case c.h2.Draining():
		p.leave(c)
	case p.dialing != c:
		p.advance()
	case c.h2.PeerSettled():
		wanted = p.settled(c)
	}
	p.mu.Unlock()
	if !wanted {
		c.h2.Shutdown()
	}
}

// mostStreams keeps a connection from running out of stream ids, which are 2^30
// for a client.
const mostStreams = 1 << 29

// open opens a stream if there is room. The last that the limit allows sends the
// connection into retirement.
func (c *conn2) open(fields []http1.Header, end bool, sink http2.Sink) *http2.Stream {
	if c.h2.Room() == 0 {
		return nil
	}
	most := min(c.pool.e.cluster.limits.Load().RequestsPerConnection(), mostStreams)
	n := c.streams.Add(1)
	if n > most {
		return nil
	}
	s, err := c.h2.Open(fields, end, sink)
	if err != nil {
		c.streams.Add(^uint32(0))
		return nil
	}
	switch {
	case n == most:
		c.retire()
	case most >= 8 && n == most-most/8:
		c.pool.replaceEarly()
	}
	return s
}

// retire lets the connection end with its last stream.
func (c *conn2) retire() {
	c.pool.mu.Lock()
	c.pool.leave(c)
	c.pool.mu.Unlock()
	c.h2.Shutdown()
}

// doubtAfter is for how long a connection must have been silent, at least, to be
// doubted.
const doubtAfter = time.Second

// silent tells whether nothing was heard from the peer since then, nor for
// doubtAfter.
func (c *conn2) silent(now, since time.Duration) bool {
	heardAt := time.Duration(c.heardAt.Load())
	return c.reads.Load() == c.swept.Load() && heardAt < since && now-heardAt >= doubtAfter
}

// sweep does what only time brings about.
func (c *conn2) sweep(now time.Duration) {
	c.h2.Sweep(now)
	if n := c.reads.Load(); n != c.swept.Load() {
		c.swept.Store(n)
		c.heardAt.Store(int64(now))
	}
	cfg := c.pool.e.cluster.cfg.Load()
	quiet := c.h2.Quiet()
	idle := quiet >= 0 && quiet <= before(now, cfg.IdleTimeout)
	old := c.madeAt <= before(now, cfg.MaxConnectionDuration)
	p := c.pool
	p.mu.Lock()
	retire := c.usable && (old || len(p.waiters) == 0 && (idle || p.gone))
	p.mu.Unlock()
	if retire {
		c.retire()
	}
}

// roster is all connections of HTTP/2 of a Set that are served.
type roster struct {
	mu    sync.Mutex
	conns map[*conn2]struct{}
	list  []*conn2 // space of sweep
}

func (r *roster) add(c *conn2) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns == nil {
		r.conns = map[*conn2]struct{}{}
	}
	r.conns[c] = struct{}{}
}

func (r *roster) remove(c *conn2) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

// sweep is called by one goroutine.
func (r *roster) sweep(now time.Duration) {
	r.mu.Lock()
	for c := range r.conns {
		r.list = append(r.list, c)
	}
	r.mu.Unlock()
	for _, c := range r.list {
		c.sweep(now)
	}
	clear(r.list)
	r.list = r.list[:0]
}
