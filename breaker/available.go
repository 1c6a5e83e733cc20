package breaker

import "time"

// Panicking tells whether less than Guards.PanicThreshold of the endpoints of a
// tier is closed, so that all of that tier are to be used. Ready and Acquire go
// by it already: an open endpoint then gives permits that count nowhere.
func (g *Group) Panicking() bool { return g.panicking.Load() }

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
