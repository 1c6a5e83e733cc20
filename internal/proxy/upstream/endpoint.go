package upstream

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/balance"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// trustIdle is how long an idle connection is reused without a look whether
// its peer has closed it: the look is a system call, and within so short a
// time the peer's close would hardly have arrived anyway.
const trustIdle = 5 * time.Millisecond

var (
	// ErrOverflow says that a limit was reached (response flag UO).
	ErrOverflow = errors.New("limit reached")
	// ErrPendingTimeout says that no connection came free in time.
	ErrPendingTimeout = errors.New("no connection came free in time")
)

// Endpoint is one live endpoint of a cluster.
type Endpoint struct {
	// Immutable.
	address string
	cluster *Cluster
	metrics *telemetry.EndpointMetrics
	breaker *breaker.Endpoint

	load   balance.Load
	weight atomic.Uint32 // in thousandths of the cluster's heaviest
	labels atomic.Pointer[telemetry.Labels]

	dialFailed atomic.Bool // the last dial

	// Guarded by mu.
	mu      sync.Mutex
	idle    []*Conn // the last used is last
	open    int     // idle, busy and being dialled
	waiters []chan *Conn
	gone    bool // no longer configured: nothing is pooled any more
}

// Address is HOST:PORT.
func (e *Endpoint) Address() string { return e.address }

// Cluster is what the endpoint belongs to.
func (e *Endpoint) Cluster() *Cluster { return e.cluster }

// Metrics are the endpoint's counters.
func (e *Endpoint) Metrics() *telemetry.EndpointMetrics { return e.metrics }

// Labels say what runs there.
func (e *Endpoint) Labels() telemetry.Labels { return *e.labels.Load() }

// Begin counts a request in flight; Observe or Abandon ends it.
func (e *Endpoint) Begin() { e.load.Begin() }

// Observe ends a request that was answered after rtt.
func (e *Endpoint) Observe(now, rtt time.Duration) {
	e.load.End()
	e.load.Observe(now, rtt)
}

// Abandon ends a request from whose duration nothing is to be learned.
func (e *Endpoint) Abandon() { e.load.End() }

// Get returns a pooled connection, or a new one. A careful caller, whose
// request cannot be sent again, gets a pooled one only after a look whether its
// peer has closed it. Where the cluster's
// connection limit is reached it waits for one to come back, if the limit on
// pending requests allows, until done is closed or deadline has come; dialling
// ends with the deadline too. The error is ErrOverflow, ErrPendingTimeout, a
// dialling error, or context.Canceled for done.
func (e *Endpoint) Get(now, deadline time.Duration, careful bool, done <-chan struct{}) (*Conn, error) {
	e.mu.Lock()
	for n := len(e.idle); n > 0; n = len(e.idle) {
		c := e.idle[n-1]
		e.idle[n-1] = nil
		e.idle = e.idle[:n-1]
		if !careful && now-c.idleSince < trustIdle {
			e.mu.Unlock()
			return c, nil
		}
		e.mu.Unlock()
		if c.checkAlive() {
			return c, nil
		}
		e.Discard(c)
		e.mu.Lock()
	}
	// Each endpoint may have one connection whatever the limit says, as in
	// Envoy: otherwise one endpoint's connections could starve another.
	if e.open == 0 {
		e.cluster.limits.Load().AddConnection()
	} else if !e.cluster.limits.Load().TryConnection() {
		return e.queue(deadline, done) // unlocks
	}
	e.open++
	e.mu.Unlock()
	return e.dial(deadline, "http/1.1")
}

// GetNew is Get, never from the pool: for a request whose pooled connection
// turned out to be dead.
func (e *Endpoint) GetNew(deadline time.Duration) (*Conn, error) {
	e.mu.Lock()
	e.cluster.limits.Load().AddConnection()
	e.open++
	e.mu.Unlock()
	return e.dial(deadline, "http/1.1")
}

// queue waits for a connection. Called with mu held; returns without it.
func (e *Endpoint) queue(deadline time.Duration, done <-chan struct{}) (*Conn, error) {
	limits := e.cluster.limits.Load()
	if !limits.TryPending() {
		e.mu.Unlock()
		return nil, ErrOverflow
	}
	defer limits.ReleasePending()
	ticket := make(chan *Conn, 1)
	e.waiters = append(e.waiters, ticket)
	e.mu.Unlock()
	timer := time.NewTimer(deadline - e.cluster.opts.Clock())
	defer timer.Stop()
	select {
	case c := <-ticket:
		if c != nil {
			return c, nil
		}
		return e.dial(deadline, "http/1.1") // a slot came free, and is ours already
	case <-timer.C:
		e.leaveQueue(ticket)
		return nil, ErrPendingTimeout
	case <-done:
		e.leaveQueue(ticket)
		return nil, context.Canceled
	}
}

// leaveQueue takes a waiter out. What was handed to it meanwhile goes back.
func (e *Endpoint) leaveQueue(ticket chan *Conn) {
	e.mu.Lock()
	for i, w := range e.waiters {
		if w == ticket {
			e.waiters = append(e.waiters[:i], e.waiters[i+1:]...)
			e.mu.Unlock()
			return
		}
	}
	e.mu.Unlock()
	if c := <-ticket; c != nil {
		e.pool(c)
	} else {
		e.slotFree()
	}
}

// dial opens the connection for a slot that is counted already.
func (e *Endpoint) dial(deadline time.Duration, alpn string) (*Conn, error) {
	cfg := e.cluster.cfg.Load()
	timeout := min(cfg.ConnectTimeout, deadline-e.cluster.opts.Clock())
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	raw, err := cfg.Dial(ctx, e.address, alpn)
	e.dialFailed.Store(err != nil)
	if err != nil {
		e.slotFree()
		return nil, err
	}
	e.metrics.ConnOpened()
	return newConn(raw, e), nil
}

// Put gives a connection back whose exchange is complete, byte for byte.
func (e *Endpoint) Put(c *Conn, now time.Duration) {
	c.requests++
	c.reused = true
	c.idleSince = now
	if most := e.cluster.limits.Load().RequestsPerConnection(); most > 0 && c.requests >= most {
		e.Discard(c)
		return
	}
	e.pool(c)
}

// pool hands a connection to the first waiter, or keeps it.
func (e *Endpoint) pool(c *Conn) {
	e.mu.Lock()
	switch {
	case e.gone:
		e.mu.Unlock()
		e.Discard(c)
	case len(e.waiters) > 0:
		e.popWaiter() <- c
		e.mu.Unlock()
	default:
		e.idle = append(e.idle, c)
		e.mu.Unlock()
	}
}

// Discard closes a connection that must not be used again.
func (e *Endpoint) Discard(c *Conn) {
	_ = c.Close()
	e.metrics.ConnClosed()
	e.slotFree()
}

// slotFree hands a connection slot to a waiter, or back to the limit.
func (e *Endpoint) slotFree() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.waiters) > 0 {
		e.popWaiter() <- nil
		return
	}
	e.open--
	e.cluster.limits.Load().ReleaseConnection()
}

func (e *Endpoint) popWaiter() chan *Conn {
	w := e.waiters[0]
	e.waiters = e.waiters[1:]
	return w
}

// closeIdle closes pooled connections that were idle since before cut, or whose
// peer has closed them: each holds a place of the limit on connections.
func (e *Endpoint) closeIdle(cut time.Duration) {
	e.mu.Lock()
	var closed []*Conn
	e.idle = slices.DeleteFunc(e.idle, func(c *Conn) bool {
		if c.idleSince >= cut && c.checkAlive() {
			return false
		}
		closed = append(closed, c)
		return true
	})
	e.mu.Unlock()
	for _, c := range closed {
		e.Discard(c)
	}
}

// retire stops pooling. Requests on their way end in peace.
func (e *Endpoint) retire() {
	e.mu.Lock()
	e.gone = true
	e.mu.Unlock()
	e.closeIdle(1<<63 - 1)
}
