package upstream

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
)

var errEnded = errors.New("the proxy ends")

// pool2 is an endpoint's connections of HTTP/2. One is made for all who need it
// first, a further one when the peer allows no more streams on those that are
// there. Only one is dialled at a time, by nobody's goroutine but its own: who
// gives up waiting takes nothing from the others.
//
// A connection is usable from when the peer's SETTINGS have come until it
// drains. Those that drain live until their last stream has ended, but count no
// more against the one that each endpoint may have.
type pool2 struct {
	e    *Endpoint                // immutable
	live atomic.Pointer[[]*conn2] // the usable ones; the list is replaced, never changed

	// Guarded by mu, which is taken before an engine's lock, and never held
	// over what an engine may tell of.
	mu      sync.Mutex
	dialing *conn2 // dialled, or waiting for the peer's SETTINGS
	waiters []*waiter2
	inVain  int  // dials since the last that gave a usable connection, or failed
	gone    bool // no longer configured: what is there drains when nobody waits
}

// waiter2 waits in a pool2's queue for a look at its connections.
type waiter2 struct {
	ready  chan error // has room for one: nil to look again, or why that is in vain
	queued bool       // guarded by the pool's mu; false: something is in ready
}

func (p *pool2) connections() []*conn2 {
	if list := p.live.Load(); list != nil {
		return *list
	}
	return nil
}

// try opens a stream on the first connection that has room: few connections
// with many streams are cheaper than many with few.
func (p *pool2) try(fields []http1.Header, end bool, sink http2.Sink) (*http2.Stream, bool) {
	for _, c := range p.connections() {
		if s := c.open(fields, end, sink); s != nil {
			return s, true
		}
	}
	return nil, false
}

// await waits until look succeeds, having a connection dialled where that may
// help.
func (p *pool2) await(deadline time.Duration, done <-chan struct{}, look func() bool) error {
	w := &waiter2{ready: make(chan error, 1)}
	p.enqueue(w, false)
	if look() {
		p.served(w)
		return nil
	}
	if !p.need(w) { // who has it dialled is not pending, as in HTTP/1.1
		limits := p.e.cluster.limits.Load()
		if !limits.TryPending() {
			p.leaveQueue(w)
			return ErrOverflow
		}
		defer limits.ReleasePending()
	}
	timer := time.NewTimer(deadline - p.e.cluster.opts.Clock())
	defer timer.Stop()
	for {
		select {
		case err := <-w.ready:
			if err != nil {
				return err
			}
		case <-timer.C:
			return p.late(w)
		case <-done:
			p.leaveQueue(w)
			return context.Canceled
		}
		p.enqueue(w, true) // before the look: no news is lost
		if look() {
			p.served(w)
			return nil
		}
		p.need(w)
	}
}

func (p *pool2) enqueue(w *waiter2, first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.queued = true
	if first {
		p.waiters = slices.Insert(p.waiters, 0, w)
	} else {
		p.waiters = append(p.waiters, w)
	}
}

// need has a connection dialled for w if none is, and the limit allows one. It
// tells whether it did. One who has been told to look again needs none yet.
func (p *pool2) need(w *waiter2) (dials bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return w.queued && p.grow()
}

// grow has a further connection dialled if none is, and the limit allows one.
// mu is held.
func (p *pool2) grow() bool {
	if p.dialing != nil {
		return false
	}
	limits := p.e.cluster.limits.Load()
	// Each endpoint may have one, as for HTTP/1.1.
	if len(p.connections()) == 0 {
		limits.AddConnection()
	} else if !limits.TryConnection() {
		return false
	}
	p.dial()
	return true
}

// dial makes a connection, which is counted already. mu is held.
func (p *pool2) dial() {
	c := &conn2{pool: p}
	p.dialing = c
	if !p.e.cluster.dials.start(c.run) {
		p.dialing = nil
		p.e.cluster.limits.Load().ReleaseConnection()
		p.fail(errEnded)
	}
}

// served ends the waiting of w, which found what it waited for. If there is
// more, the next one looks.
func (p *pool2) served(w *waiter2) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(w)
	p.advance()
}

// leaveQueue ends the waiting of w. If it was told to look, another looks
// instead.
func (p *pool2) leaveQueue(w *waiter2) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.remove(w) {
		p.advance()
	}
}

// late ends the waiting of w at its deadline, and says what it was that took so
// long: connecting, which is the endpoint's doing, or others' streams.
func (p *pool2) late(w *waiter2) error {
	p.leaveQueue(w)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dialing != nil && len(p.connections()) == 0 {
		return context.DeadlineExceeded
	}
	return ErrPendingTimeout
}

// remove: mu is held.
func (p *pool2) remove(w *waiter2) bool {
	if !w.queued {
		return false
	}
	w.queued = false
	i := slices.Index(p.waiters, w)
	p.waiters = slices.Delete(p.waiters, i, i+1)
	return true
}

// wake lets the first in the queue look again. mu is held.
func (p *pool2) wake() {
	if len(p.waiters) > 0 {
		w := p.waiters[0]
		p.remove(w)
		w.ready <- nil
	}
}

// advance lets the first in the queue look again if there is room for another
// stream, and otherwise has a connection dialled for the queue. Whoever is
// served does the same: so all get to know of all room, one by one, and when it
// is used up there will be more. mu is held.
func (p *pool2) advance() {
	if len(p.waiters) == 0 {
		return
	}
	for _, c := range p.connections() {
		if c.h2.Room() > 0 {
			p.wake()
			return
		}
	}
	p.grow()
}

// fail ends all waiting. mu is held.
func (p *pool2) fail(err error) {
	for _, w := range p.waiters {
		w.queued = false
		w.ready <- err
	}
	p.waiters = nil
}

// settled puts a connection to use, now that its peer has said its SETTINGS;
// false where it was made for another transport than is wanted now. mu is held.
func (p *pool2) settled(c *conn2) bool {
	p.dialing, p.inVain = nil, 0
	if c.transport != p.e.cluster.cfg.Load().Transport {
		p.advance()
		return false
	}
	c.usable = true
	list := append(slices.Clip(p.connections()), c)
	p.live.Store(&list)
	p.advance()
	return true
}

// leave takes a connection out of use; who waits may need another in its place.
// mu is held.
func (p *pool2) leave(c *conn2) {
	if !c.usable {
		return
	}
	c.usable = false
	list := slices.DeleteFunc(slices.Clone(p.connections()), func(o *conn2) bool { return o == c })
	p.live.Store(&list)
	p.advance()
}

// drain lets all connections end with their streams; gone: nobody is to come
// any more.
func (p *pool2) drain(gone bool) {
	p.mu.Lock()
	p.gone = p.gone || gone
	list := p.connections()
	for _, c := range list {
		p.leave(c)
	}
	p.mu.Unlock()
	for _, c := range list {
		c.h2.Shutdown()
	}
}

// ended is told when a connection is no more, or could not be made.
func (p *pool2) ended(c *conn2, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.e.cluster.limits.Load().ReleaseConnection()
	if p.dialing != c {
		p.leave(c)
		p.advance() // the limit may allow another now
		return
	}
	p.dialing = nil
	switch {
	case len(p.connections()) > 0: // the others serve who waits
	case err != nil:
		p.inVain = 0
		p.fail(err)
	case p.inVain < mostInVain:
		p.inVain++
		p.advance()
	default:
		p.inVain = 0
		p.fail(http2.ErrClosed)
	}
}

// mostInVain bounds how often in a row a connection is made anew because the
// peer ended the last one in peace before it was of any use, as one that
// restarts does.
const mostInVain = 3

// replaceEarly has a connection made that takes over when one has carried
// almost as many streams as it may.
func (p *pool2) replaceEarly() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dialing == nil && len(p.connections()) == 1 && !p.gone {
		p.e.cluster.limits.Load().AddConnection()
		p.dial()
	}
}
