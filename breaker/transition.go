package breaker

import (
	"fmt"
	"time"
)

// All functions of this file but admit, tripped and probed run with Group.mu
// held. They are the only ones that change an endpoint's state.

// enter begins a new period of e.
func (g *Group) enter(e *Endpoint, now time.Duration, s State, due, until time.Duration) {
	e.mu.Lock()
	word := e.word.Load()
	row := e.det.row
	e.det.reset()
	if s != Closed {
		e.det.row = row // shown while it is open
	}
	e.due.Store(int64(due))
	e.word.Store((word>>stateBits+1)<<stateBits | uint64(s))
	e.mu.Unlock()
	e.since, e.until = now, until
}

// tripped acts on what detectors found in the period word.
func (g *Group) tripped(e *Endpoint, word uint64, now time.Duration, found []finding) {
	g.mu.Lock()
	defer g.unlock()
	for _, f := range found {
		if e.word.Load() != word {
			return // open already, or removed, or closed by an Update
		}
		g.eject(e, now, f)
	}
}

// eject opens a closed endpoint if the finding is enforced and the guards allow
// it.
func (g *Group) eject(e *Endpoint, now time.Duration, f finding) {
	ev := Event{At: now, Endpoint: e.name, Reason: f.reason, Detail: f.detail}
	if f.enforcing != nil && g.random()*100 >= float64(*f.enforcing) {
		ev.Kind = NotEnforced
		ev.Detail += fmt.Sprintf("; not enforced (%d%%)", *f.enforcing)
		g.emit(ev, e)
		return
	}
	if why := g.refusal(); why != "" {
		e.refused++
		ev.Kind = Refused
		ev.Detail += "; refused: " + why
		g.emit(ev, e)
		return
	}
	r := &g.cfg.Recovery
	if r.Mode == Probe {
		e.attempt = 0
	}
	e.pause = r.backoff(e.attempt, e.pause, g.random)
	if r.Mode == Timed && float64(r.Min)*float64(e.attempt) < float64(r.Max)+float64(r.Min) {
		e.attempt++ // Envoy's bound of the multiplier: one more than max / base
	}
	e.reason, e.detail, e.opened = f.reason, f.detail, now
	e.trips++
	g.ejected++
	e.tier.Load().closed--
	until := plus(now, e.pause)
	g.enter(e, now, Open, g.due(until), until)
	ev.From, ev.To, ev.Until = Closed, Open, e.until
	if g.ejected == len(g.endpoints) {
		ev.Detail += "; no endpoint is left"
	}
	g.emit(ev, e)
	g.checkPanic(now)
}

// refusal is why the guards forbid one more ejection; "" if they do not.
func (g *Group) refusal() string {
	all, after := len(g.endpoints), g.ejected+1
	if g.overShare(after) {
		return fmt.Sprintf("%d of %d endpoints would be out (%.1f%%), limit %d%%",
			after, all, 100*float64(after)/float64(all), *g.cfg.Guards.MaxEjectionPercent)
	}
	if !g.mayEject(after) {
		return fmt.Sprintf("%d endpoints would stay, at least %d must", all-after, g.cfg.Guards.MinReady)
	}
	return ""
}

// mayEject tells whether the guards allow n endpoints to be out.
func (g *Group) mayEject(n int) bool {
	return !g.overShare(n) && len(g.endpoints)-n >= g.cfg.Guards.MinReady
}

// overShare tells whether n endpoints are more than MaxEjectionPercent.
func (g *Group) overShare(n int) bool {
	m := g.cfg.Guards.MaxEjectionPercent
	if m == nil || g.cfg.Guards.AlwaysEjectOne && n == 1 {
		return false
	}
	return 100*n > int(*m)*len(g.endpoints)
}

// restoreGuards takes back the endpoints that have been out longest until the
// guards hold again.
func (g *Group) restoreGuards(now time.Duration) {
	for g.ejected > 0 && !g.mayEject(g.ejected) {
		var longest *Endpoint
		for _, e := range g.endpoints {
			if stateOf(e.word.Load()) != Closed && (longest == nil || e.opened < longest.opened) {
				longest = e
			}
		}
		g.reclose(longest, now, GuardRestored, fmt.Sprintf(
			"taken back: %d of %d endpoints were out, more than the guards allow", g.ejected, len(g.endpoints)))
	}
}

// reclose closes an endpoint; one that is closed stays as it is.
func (g *Group) reclose(e *Endpoint, now time.Duration, why Reason, detail string) {
	from := stateOf(e.word.Load())
	if from == Closed || from == gone {
		return
	}
	g.ejected--
	e.tier.Load().closed++
	e.openTime += now - e.opened
	if g.cfg.SlowStart > 0 {
		e.ramp.Store(int64(now))
	}
	g.enter(e, now, Closed, never, 0)
	g.emit(Event{
		At: now, Endpoint: e.name, From: from, To: Closed, Reason: why,
		Detail: fmt.Sprintf("%s; out for %v", detail, round(now-e.opened)),
	}, e)
	g.checkPanic(now)
	g.wake()
}

// admit gives a permit for an endpoint that was not closed a moment ago.
func (g *Group) admit(e *Endpoint, now time.Duration) (Permit, bool) {
	g.mu.Lock()
	defer g.unlock()
	g.expire(e, now)
	word := e.word.Load()
	switch {
	case stateOf(word) == Closed:
		return e.track(now), true
	case stateOf(word) == gone:
		return Permit{}, false
	case stateOf(word) == Open && int64(now) >= e.due.Load():
		return g.probe(e, now), true
	case e.tier.Load().panicking.Load():
		return Permit{endpoint: e, start: now}, true
	default:
		return Permit{}, false
	}
}

// probe lets one call through an open endpoint.
func (g *Group) probe(e *Endpoint, now time.Duration) Permit {
	r := &g.cfg.Recovery
	e.next = r.backoff(e.attempt+1, e.pause, g.random)
	deadline := plus(now, r.ProbeTimeout)
	g.enter(e, now, HalfOpen, plus(deadline, e.next), deadline)
	g.emit(Event{
		At: now, Endpoint: e.name, From: Open, To: HalfOpen, Reason: ProbeStarted, Until: deadline,
		Detail: fmt.Sprintf("back-off of %v over, probe %d", round(e.pause), e.attempt+1),
	}, e)
	return Permit{endpoint: e, word: e.word.Load(), start: now}
}

// probed is the result of the probe of period word.
func (g *Group) probed(e *Endpoint, word uint64, now time.Duration, r *Result, class Class) {
	g.mu.Lock()
	defer g.unlock()
	g.expire(e, now)
	if e.word.Load() != word {
		return
	}
	slow := g.cfg.Detectors.SlowCalls
	switch {
	case class == Ignored:
		g.enter(e, now, Open, g.due(now), now)
		g.emit(Event{
			At: now, Endpoint: e.name, From: HalfOpen, To: Open, Reason: ProbeCancelled, Until: now,
			Detail: "probe " + r.Cause.String() + ", the next call takes its place",
		}, e)
		g.wake()
	case class != Success:
		g.reopen(e, now, now, ProbeFailed, "probe failed: "+r.words())
	case slow != nil && r.Latency > slow.Duration:
		g.reopen(e, now, now, ProbeFailed, fmt.Sprintf("probe failed: took %v, slow after %v", round(r.Latency), slow.Duration))
	default:
		g.reclose(e, now, ProbeSucceeded, "probe succeeded: "+r.words())
	}
}

// expire gives up the probe that is out if its deadline has passed. The next
// back-off counts from the deadline, so that it does not matter how late this
// is noticed.
func (g *Group) expire(e *Endpoint, now time.Duration) {
	if stateOf(e.word.Load()) == HalfOpen && now >= e.until {
		g.reopen(e, now, e.until, ProbeTimedOut, fmt.Sprintf("probe gave no result in %v", round(e.until-e.since)))
	}
}

// reopen ends a probe with the next back-off, which counts from an instant.
func (g *Group) reopen(e *Endpoint, now, from time.Duration, why Reason, detail string) {
	e.attempt++
	e.pause = e.next
	until := plus(from, e.pause)
	g.enter(e, now, Open, g.due(until), until)
	g.emit(Event{
		At: now, Endpoint: e.name, From: HalfOpen, To: Open, Reason: why, Until: until,
		Detail: fmt.Sprintf("%s; out for another %v", detail, round(e.pause)),
	}, e)
}

// words describes a result.
func (r *Result) words() string {
	s := r.Cause.String()
	if r.Cause == Response && r.Status != 0 {
		s = fmt.Sprintf("status %d", r.Status)
	}
	if r.GRPCStatus > 0 {
		s += fmt.Sprintf(", gRPC status %d", r.GRPCStatus)
	}
	return s
}

// round keeps a duration readable.
func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
