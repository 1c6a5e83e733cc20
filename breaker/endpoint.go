package breaker

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// An Endpoint is one breaker: an address, and what is known about it. It
// belongs to one Group.
type Endpoint struct {
	// Immutable after Group.Add.
	group *Group
	name  string

	// Read without a lock; written with group.mu and mu held.

	// word is the period: the state in the low two bits, above them a number
	// that grows with each transition. A Permit carries the word that it was
	// given under, so that it counts in no other period.
	word atomic.Uint64
	// due is the instant from which a call may take the place of the probe:
	// never while closed. While a probe is out it is when the next may go if
	// this one is lost.
	due atomic.Int64
	// tier is where it counts.
	tier atomic.Pointer[tier]
	// ramp is the instant of the last recovery; noRamp before the first.
	ramp atomic.Int64

	// Guarded by group.mu.
	index    int           // in group.endpoints
	since    time.Duration // of the present state
	opened   time.Duration // of the last trip
	until    time.Duration // Event.Until of the present state
	attempt  uint32        // back-offs since the trip (Probe), multiplier (Timed)
	pause    time.Duration // last back-off
	next     time.Duration // back-off after the probe that is out, if it fails
	reason   Reason        // of the last trip
	detail   string
	trips    uint64
	refused  uint64
	openTime time.Duration // of finished periods

	mu sync.Mutex
	// Guarded by mu.
	cfg  *policy
	det  detectors
	last ring
}

const (
	stateBits = 2
	stateMask = 1<<stateBits - 1
	noRamp    = math.MinInt64
)

func stateOf(word uint64) State { return State(word & stateMask) }

// Name is the name that the endpoint was added with.
func (e *Endpoint) Name() string { return e.name }

// State is the present state. A HalfOpen endpoint whose probe is lost stays so
// until the next Sweep or Acquire finds out.
func (e *Endpoint) State() State {
	if s := stateOf(e.word.Load()); s != gone {
		return s
	}
	return Closed
}

// Ready tells whether Acquire would give a permit: the endpoint is closed, or a
// probe is due and nobody has it, or its tier panics. Atomic loads only.
func (e *Endpoint) Ready(now time.Duration) bool {
	switch stateOf(e.word.Load()) {
	case Closed:
		return true
	case gone:
		return false
	default:
		return int64(now) >= e.due.Load() || e.tier.Load().panicking.Load()
	}
}

// ProbeDue tells whether the endpoint is not closed and waits for a call that
// probes it.
func (e *Endpoint) ProbeDue(now time.Duration) bool {
	s := stateOf(e.word.Load())
	return s != Closed && s != gone && int64(now) >= e.due.Load()
}

// NextProbe is the instant from which a call may probe the endpoint, as for
// Group.NextProbe; false while it is closed.
func (e *Endpoint) NextProbe() (time.Duration, bool) {
	due := time.Duration(e.due.Load())
	return due, due != never
}

// Panicking tells whether the endpoint's tier panics.
func (e *Endpoint) Panicking() bool { return e.tier.Load().panicking.Load() }

// Acquire asks for one call at now. Without ok the call must go elsewhere. If a
// probe is due, this call is the probe. Every permit must be ended by Done,
// whatever becomes of the call.
func (e *Endpoint) Acquire(now time.Duration) (p Permit, ok bool) {
	word := e.word.Load()
	if stateOf(word) == Closed {
		if e.group.tracking.Load() {
			return e.track(now), true
		}
		return Permit{endpoint: e, word: word, start: now}, true
	}
	if !e.Ready(now) {
		return Permit{}, false
	}
	return e.group.admit(e, now)
}

// track gives a permit whose age HungCalls can see.
func (e *Endpoint) track(now time.Duration) Permit {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := Permit{endpoint: e, word: e.word.Load(), start: now}
	if stateOf(p.word) == Closed && e.cfg.Detectors.HungCalls != nil {
		p.slot, p.gen = e.det.calls.enter(now), e.det.calls.gen
	} else if stateOf(p.word) != Closed {
		p.word = 0 // opened this instant: a call of the period before
	}
	return p
}

// A Permit is leave for one call. It is a small value; the zero Permit is no
// leave and its Done does nothing.
type Permit struct {
	endpoint *Endpoint
	word     uint64 // period of the endpoint; 0: counts nowhere
	start    time.Duration
	slot     uint32 // in inflight; 0: none
	gen      uint32
}

// Probe tells whether the call is the probe that decides about its endpoint.
func (p Permit) Probe() bool { return stateOf(p.word) == HalfOpen }

// Endpoint is the endpoint that the permit is for.
func (p Permit) Endpoint() *Endpoint { return p.endpoint }

// Done reports what became of the call, exactly once. A result of an earlier
// period of the endpoint is not counted. Done gives the class of the result.
func (p Permit) Done(now time.Duration, r Result) Class {
	e := p.endpoint
	if e == nil {
		return Ignored
	}
	if r.Latency == 0 {
		r.Latency = now - p.start
	}
	e.mu.Lock()
	cfg := e.cfg
	class := cfg.Classification.classify(&r)
	if e.word.Load() != p.word {
		e.mu.Unlock()
		return class
	}
	probe := p.Probe()
	e.last.add(now, &r, class, probe)
	var found []finding
	if probe {
		e.det.countRow(class)
	} else {
		e.det.calls.leave(p.slot, p.gen)
		if t := e.det.observe(cfg, now, &r, class); t != 0 {
			found = e.det.findings(cfg, t)
		}
	}
	e.mu.Unlock()

	if probe {
		e.group.probed(e, p.word, now, &r, class)
	} else if found != nil {
		e.group.tripped(e, p.word, now, found)
	}
	return class
}
