package upstream

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/reclosermesh/recloser/breaker"
)

// This file is what connections of opaque bytes need beyond requests: an
// endpoint other than those that were tried, a connection of their own, and
// recovery without risking a caller's connection.
//
// An endpoint that is open and to which the last dial failed is probed by
// dialling, in the background (Linkerd 1.x failFast): traffic returns when a
// connection was made. Where dialling was not the trouble, a connection proves
// nothing, and a caller's own is the probe as requests are.

// Connect makes a connection that is nobody else's and is never pooled, counted
// against the limit on connections like any: ErrOverflow where that is reached.
// Dialling ends with deadline. Discard ends its use.
func (e *Endpoint) Connect(deadline time.Duration) (*Conn, error) {
	e.http1.mu.Lock()
	ok := e.http1.count()
	e.http1.mu.Unlock()
	if !ok {
		return nil, ErrOverflow
	}
	return e.http1.dial(deadline, "")
}

// DialResult is what a breaker hears of dialling: a success, or one of the
// failures that count as of local origin.
func DialResult(err error) breaker.Result {
	switch {
	case err == nil:
		return breaker.Result{}
	case errors.Is(err, ErrOverflow):
		return breaker.Result{Cause: breaker.Overflow}
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return breaker.Result{Cause: breaker.ConnectTimeout}
	default:
		return breaker.Result{Cause: breaker.ConnectFailure}
	}
}

// PickTCP is Pick for a connection of opaque bytes. Endpoints in tried are
// not chosen, so there is none once each that takes connections was tried.
func (c *Cluster) PickTCP(now time.Duration, key Key, tried []*Endpoint) (*Endpoint, breaker.Permit, bool) {
	if !c.tcp.Load() {
		c.tcp.Store(true)
	}
	c.probeByDialling(now)
	return c.PickOther(now, key, tried)
}

// AwaitTCP is Await for a connection of opaque bytes.
func (c *Cluster) AwaitTCP(now, deadline time.Duration, done <-chan struct{}, key Key) (*Endpoint, breaker.Permit, error) {
	return c.await(now, deadline, done, key, func(now time.Duration, key Key) (*Endpoint, breaker.Permit, bool) {
		return c.PickTCP(now, key, nil)
	})
}

// probeByDialling dials each endpoint that waits for a probe and could not be
// connected to. It does nothing in clusters that never carried opaque bytes:
// there, a request finds out more.
func (c *Cluster) probeByDialling(now time.Duration) {
	if !c.tcp.Load() || int64(now) < c.nextProbe.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.list {
		if !e.dialFailed.Load() || !e.breaker.ProbeDue(now) {
			continue
		}
		if p, ok := e.breaker.Acquire(now); ok && !c.dials.start(func(ctx context.Context) { e.probe(ctx, p) }) {
			p.Done(now, breaker.Result{Cause: breaker.Cancelled}) // the set has ended
		}
	}
	c.scheduleProbe()
}

// probe dials and gives the verdict. The connection is closed again: whether
// the bytes of a caller may follow is not known yet when it is made.
func (e *Endpoint) probe(ctx context.Context, p breaker.Permit) {
	cfg := e.cluster.cfg.Load()
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	nc, err := cfg.dial(ctx, e.address, "")
	ended := context.Cause(ctx)
	e.dialFailed.Store(err != nil)
	result := DialResult(err)
	if err == nil {
		_ = nc.Close()
	} else if errors.Is(ended, context.Canceled) {
		result.Cause = breaker.Cancelled // by the set's end
	}
	p.Done(e.cluster.opts.Clock(), result)
}

// dials are the background dials of a Set.
type dials struct {
	wg sync.WaitGroup

	mu     sync.Mutex
	ctx    context.Context // of all of them; nil before the first
	cancel context.CancelFunc
	ended  bool
}

// start runs one. False: there are none any more.
func (d *dials) start(dial func(context.Context)) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return false
	}
	if d.ctx == nil {
		d.ctx, d.cancel = context.WithCancel(context.Background())
	}
	ctx := d.ctx
	d.wg.Go(func() { dial(ctx) })
	return true
}

// end ends all of them.
func (d *dials) end() {
	d.mu.Lock()
	d.ended = true
	if d.cancel != nil {
		d.cancel()
	}
	d.mu.Unlock()
	d.wg.Wait()
}
