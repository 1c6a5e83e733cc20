package upstream

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// trustIdle is how long an idle connection is reused without a look whether
// its peer has closed it: the look is a system call, and within so short a
// time the peer's close would hardly have arrived anyway.
const trustIdle = 5 * time.Millisecond

// pool1 is an endpoint's connections that carry one exchange at a time: those of
// HTTP/1.1, which are pooled, and those of opaque bytes, which are not.
type pool1 struct {
	e *Endpoint // immutable

	mu      sync.Mutex
	idle    []*Conn // the last used is last
	open    int     // idle, busy and being dialled
	waiters []chan *Conn
	gone    bool // no longer configured: nothing is pooled any more
}

func (p *pool1) get(now, deadline time.Duration, careful bool, done <-chan struct{}) (*Conn, error) {
	p.mu.Lock()
	for n := len(p.idle); n > 0; n = len(p.idle) {
		c := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		if !careful && now-c.idleSince < trustIdle {
			p.mu.Unlock()
			return c, nil
		}
		p.mu.Unlock()
		if c.checkAlive() {
			return c, nil
		}
		p.discard(c)
		p.mu.Lock()
	}
	if !p.count() {
		return p.queue(deadline, done) // unlocks
	}
	p.mu.Unlock()
	return p.dial(deadline, "http/1.1")
}

// count counts a further connection if the limit allows it. Each endpoint may
// have one whatever the limit says, as in Envoy: otherwise one endpoint's
// connections could starve another. mu is held.
func (p *pool1) count() bool {
	if p.open == 0 {
		p.e.cluster.limits.Load().AddConnection()
	} else if !p.e.cluster.limits.Load().TryConnection() {
		return false
	}
	p.open++
	return true
}

func (p *pool1) getNew(deadline time.Duration) (*Conn, error) {
	p.mu.Lock()
	p.e.cluster.limits.Load().AddConnection()
	p.open++
	p.mu.Unlock()
	return p.dial(deadline, "http/1.1")
}

// queue waits for a connection. Called with mu held; returns without it.
func (p *pool1) queue(deadline time.Duration, done <-chan struct{}) (*Conn, error) {
	limits := p.e.cluster.limits.Load()
	if !limits.TryPending() {
		p.mu.Unlock()
		return nil, ErrOverflow
	}
	defer limits.ReleasePending()
	ticket := make(chan *Conn, 1)
	p.waiters = append(p.waiters, ticket)
	p.mu.Unlock()
	timer := time.NewTimer(deadline - p.e.cluster.opts.Clock())
	defer timer.Stop()
	select {
	case c := <-ticket:
		if c != nil {
			return c, nil
		}
		return p.dial(deadline, "http/1.1") // a slot came free, and is ours already
	case <-timer.C:
		p.leaveQueue(ticket)
		return nil, ErrPendingTimeout
	case <-done:
		p.leaveQueue(ticket)
		return nil, context.Canceled
	}
}

// leaveQueue takes a waiter out. What was handed to it meanwhile goes back.
func (p *pool1) leaveQueue(ticket chan *Conn) {
	p.mu.Lock()
	for i, w := range p.waiters {
		if w == ticket {
			p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
			p.mu.Unlock()
			return
		}
	}
	p.mu.Unlock()
	if c := <-ticket; c != nil {
		p.keep(c)
	} else {
		p.slotFree()
	}
}

// dial opens the connection for a slot that is counted already.
func (p *pool1) dial(deadline time.Duration, alpn string) (*Conn, error) {
	cfg := p.e.cluster.cfg.Load()
	timeout := min(cfg.ConnectTimeout, deadline-p.e.cluster.opts.Clock())
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	raw, err := cfg.dial(ctx, p.e.address, alpn)
	p.e.dialFailed.Store(err != nil)
	if err != nil {
		p.slotFree()
		return nil, err
	}
	p.e.metrics.ConnOpened()
	c := newConn(raw, p.e)
	c.transport = cfg.Transport
	return c, nil
}

func (p *pool1) put(c *Conn, now time.Duration) {
	c.requests++
	c.reused = true
	c.idleSince = now
	cfg := p.e.cluster.cfg.Load()
	if c.requests >= p.e.cluster.limits.Load().RequestsPerConnection() || c.transport != cfg.Transport ||
		c.madeAt <= before(now, cfg.MaxConnectionDuration) {
		p.discard(c)
		return
	}
	p.keep(c)
}

// keep hands a connection to the first waiter, or keeps it.
func (p *pool1) keep(c *Conn) {
	p.mu.Lock()
	switch {
	case p.gone:
		p.mu.Unlock()
		p.discard(c)
	case len(p.waiters) > 0:
		p.popWaiter() <- c
		p.mu.Unlock()
	default:
		p.idle = append(p.idle, c)
		p.mu.Unlock()
	}
}

func (p *pool1) discard(c *Conn) {
	_ = c.Close()
	p.e.metrics.ConnClosed()
	p.slotFree()
}

// slotFree hands a connection slot to a waiter, or back to the limit.
func (p *pool1) slotFree() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiters) > 0 {
		p.popWaiter() <- nil
		return
	}
	p.open--
	p.e.cluster.limits.Load().ReleaseConnection()
}

func (p *pool1) popWaiter() chan *Conn {
	w := p.waiters[0]
	p.waiters = p.waiters[1:]
	return w
}

// closeIdle closes pooled connections that were idle since before an instant, or
// were made at another or before, or whose peer has closed them: each holds a
// place of the limit on connections.
func (p *pool1) closeIdle(idleSince, madeAt time.Duration) {
	p.mu.Lock()
	var closed []*Conn
	p.idle = slices.DeleteFunc(p.idle, func(c *Conn) bool {
		if c.idleSince >= idleSince && c.madeAt > madeAt && c.checkAlive() {
			return false
		}
		closed = append(closed, c)
		return true
	})
	p.mu.Unlock()
	for _, c := range closed {
		p.discard(c)
	}
}

// retire stops pooling. Requests on their way end in peace.
func (p *pool1) retire() {
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	p.closeIdle(math.MaxInt64, math.MaxInt64)
}
