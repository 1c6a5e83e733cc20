package breaker

import (
	"fmt"
	"time"
)

// Panicking tells whether less than Guards.PanicThreshold of the endpoints is
// closed, so that all are to be used. Ready and Acquire go by it already: an
// open endpoint then gives permits that count nowhere.
func (g *Group) Panicking() bool { return g.panicking.Load() }

// checkPanic starts or ends panic.
func (g *Group) checkPanic(now time.Duration) {
	all := len(g.endpoints)
	threshold := g.cfg.Guards.PanicThreshold
	share := 100 * float64(all-g.ejected) / float64(max(all, 1))
	panics := all > 0 && g.ejected > 0 && share < threshold
	if panics == g.panicking.Load() {
		return
	}
	g.panicking.Store(panics)
	ev := Event{
		At: now, Kind: Panic, Reason: PanicEnded,
		Detail: fmt.Sprintf("%d of %d endpoints are ready, threshold %g%%", all-g.ejected, all, threshold),
	}
	if panics {
		ev.Reason = PanicStarted
		ev.Detail += ": all are used"
		g.wake()
	}
	g.emit(ev, nil)
}

// Available gives a channel that is closed when an endpoint may have become
// usable by an event: one was added, recovered, lost its probe to a
// cancellation, or the policy changed. Ask for it before looking at Ready, and
// anew after each time. That a probe falls due with the passing of time closes
// nothing: see NextAvailable.
func (g *Group) Available() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.available == nil {
		g.available = make(chan struct{})
	}
	return g.available
}

func (g *Group) wake() {
	if g.available != nil {
		close(g.available)
		g.available = nil
	}
}

// NextAvailable is the instant when an endpoint will be usable if nothing else
// happens: now if one is, else when the first probe falls due or, with Timed
// recovery, when the sweep comes that re-admits the first. Without endpoints
// there is none.
func (g *Group) NextAvailable(now time.Duration) (time.Duration, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.endpoints) == 0 {
		return 0, false
	}
	if g.ejected < len(g.endpoints) || g.panicking.Load() {
		return now, true
	}
	first := never
	for _, e := range g.endpoints {
		first = min(first, g.usable(e))
	}
	return max(first, now), true
}

// NextProbe is the earliest instant at which an endpoint that is not closed will
// admit a probe, also while others are closed; for one whose probe is out, when
// the next may go if this one is lost. It may have passed. false: none waits
// for a probe, as always with Timed recovery.
func (g *Group) NextProbe() (time.Duration, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := never
	for _, e := range g.endpoints {
		first = min(first, time.Duration(e.due.Load()))
	}
	return first, first != never
}

// usable is when an endpoint that is not closed will be, by time alone.
func (g *Group) usable(e *Endpoint) time.Duration {
	if due := time.Duration(e.due.Load()); due != never {
		return due
	}
	at, step := g.interval, g.cfg.SweepInterval
	if e.until > never-step {
		return never
	}
	if e.until > at {
		at = plus(at, (e.until-at+step-1)/step*step)
	}
	return at
}
