package proxy

import (
	"context"
	"time"
)

// tickLength is how often a Server's sweeper looks at its connections, and so
// the precision of the bounds that it keeps.
const tickLength = 100 * time.Millisecond

// watchAfter is the number of ticks after which an exchange that waits for its
// upstream gets a watcher for the caller going away.
const watchAfter = 2

// phase is what a connection is doing; each has its own bound.
type phase uint8

const (
	phaseIdle   phase = iota // no byte of a next request yet
	phaseHead                // within a request's head
	phaseWait                // for the control plane, an endpoint, or a connection to it
	phaseStream              // for the upstream's answer, or moving bytes either way
	phaseTunnel              // after an upgrade
	phaseEnd                 // closing: nothing is swept
)

// A connection's state word is its phase, the tick at which that was entered
// or last saw a byte move, and whether its bound has expired. The sweeper sets
// expired by compare-and-swap before it interrupts the connection, so that an
// interruption can never hit a later phase unnoticed.
const (
	phaseMask  = 0x7f
	expiredBit = 0x80
	tickShift  = 8
)

// enter begins a phase, or notes that bytes moved within it. False: the bound
// of the phase before has expired, and the connection is being interrupted.
func (c *conn) enter(p phase) bool {
	next := uint64(p) | c.srv.tick.Load()<<tickShift
	for {
		old := c.state.Load() // what has expired stays known
		if old == next || c.state.CompareAndSwap(old, next|old&expiredBit) {
			return old&expiredBit == 0
		}
	}
}

// revive begins a phase although the bound of the one before may have expired.
// It does so under the sweeper's lock: what the sweeper saw expired it has
// interrupted by then, and not a moment later.
func (c *conn) revive(p phase) {
	c.srv.mu.Lock()
	c.state.Store(uint64(p) | c.srv.tick.Load()<<tickShift)
	c.srv.mu.Unlock()
	c.resume()
}

// resume ends an interruption of ours, but not one by leave or the sweeper, not
// even one that comes at the same time.
func (c *conn) resume() {
	c.down.Resume()
	if c.isGone() || c.expired() {
		c.interrupt()
	}
}

func (c *conn) expired() bool { return c.state.Load()&expiredBit != 0 }

// sweepUntil sweeps every tick until ctx ends.
func (s *Server) sweepUntil(ctx context.Context) {
	t := time.NewTicker(tickLength)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.sweep()
		}
	}
}

// sweep is one look at all connections.
func (s *Server) sweep() {
	tick := s.tick.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.sweep(tick)
	}
}

func (c *conn) sweep(tick uint64) {
	word := c.state.Load()
	if word&expiredBit != 0 {
		return
	}
	p := phase(word & phaseMask)
	age := tick - word>>tickShift
	if bound := c.bound(p, tick); bound > 0 && time.Duration(age)*tickLength > bound {
		if c.state.CompareAndSwap(word, word|expiredBit) {
			c.interrupt()
		}
		return
	}
	if age >= watchAfter && (p == phaseWait || p == phaseStream) {
		c.watch()
	}
}

// bound is how long a connection may stay in phase p. 0: for ever.
func (c *conn) bound(p phase, tick uint64) time.Duration {
	t := &c.srv.t
	switch p {
	case phaseIdle:
		// A draining server waits a little for what may be on its way.
		if c.srv.draining.Load() && time.Duration(tick-c.srv.drainAt.Load())*tickLength > t.DrainIdle {
			return min(t.Idle, t.DrainIdle)
		}
		return t.Idle
	case phaseHead:
		return t.Head
	case phaseStream:
		return idleOr(c.idle.Load(), t.Stream)
	case phaseTunnel:
		return idleOr(c.idle.Load(), t.Tunnel)
	default: // waits have bounds of their own
		return 0
	}
}

// interrupt wakes the connection's goroutine out of whatever it waits for.
func (c *conn) interrupt() {
	c.down.Interrupt()
	c.interruptUpstream()
}

func (c *conn) interruptUpstream() {
	if up := c.current.Load(); up != nil {
		up.Interrupt()
	}
	if b := c.box.Load(); b != nil {
		b.interrupt()
	}
}

// leave tells the connection that its caller is gone (or that the server
// closes without grace).
func (c *conn) leave() {
	c.goneOnce.Do(func() { close(c.gone) })
	c.interrupt()
}

func (c *conn) isGone() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// watch starts a goroutine that notices when the caller closes its side while
// its request is being answered. Called by the sweeper, so that only a slow
// exchange has one. While a request body is still being read the reader itself
// would notice.
func (c *conn) watch() {
	c.watchMu.Lock()
	defer c.watchMu.Unlock()
	if c.watcher != nil || !c.watchable.Load() {
		return
	}
	done := make(chan struct{})
	c.watcher = done
	c.srv.watchers.Go(func() {
		defer close(done)
		if c.down.WaitClosed() {
			c.leave()
		}
	})
}

// allowWatch lets the sweeper start a watcher from now on.
func (c *conn) allowWatch() { c.watchable.Store(true) }

// endWatch makes sure that nobody else reads from the downstream connection.
func (c *conn) endWatch() {
	c.watchable.Store(false)
	c.watchMu.Lock()
	done := c.watcher
	c.watcher = nil
	c.watchMu.Unlock()
	if done == nil {
		return
	}
	c.down.InterruptRead()
	<-done
	c.resume()
}
