package breaker

import (
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the surroundings of a Group; every field may be left zero.
type Options struct {
	// Clock gives the instant in the methods that are not told it: NewGroup,
	// Add, Update and Remove. nil: Monotonic.
	Clock Clock
	// OnEvent gets every Event, in order, one at a time, with no lock held. A
	// call that it makes to the Group may give events too: they follow.
	OnEvent func(Event)
	// Rand gives numbers in [0, 1). It is called with a lock held and from
	// many goroutines, one at a time. nil: math/rand/v2.
	Rand func() float64
}

// A Group is the breakers of the endpoints of one service, as one caller sees
// them, under one Config.
type Group struct {
	// Immutable after NewGroup.
	clock   Clock
	onEvent func(Event)
	random  func() float64

	// Read without a lock, written with mu held.
	panicking atomic.Bool // some tier does
	tracking  atomic.Bool // HungCalls is on
	slowStart atomic.Pointer[slowStart]

	// mu is taken before an endpoint's mu.
	mu sync.Mutex
	// Guarded by mu.
	cfg        *policy
	endpoints  []*Endpoint
	tiers      []*tier
	ejected    int           // endpoints that are not closed
	swept      time.Duration // last Sweep
	interval   time.Duration // instant when the present interval ends
	available  chan struct{} // nil: nobody asked
	seq        uint64
	queue      []Event // to be delivered
	delivering bool
}

// NewGroup makes an empty Group. cfg must be valid (Config.Validate).
func NewGroup(cfg Config, opts Options) *Group {
	g := &Group{clock: opts.Clock, onEvent: opts.OnEvent, random: opts.Rand}
	if g.clock == nil {
		g.clock = Monotonic
	}
	if g.random == nil {
		g.random = rand.Float64
	}
	g.setPolicy(newPolicy(cfg))
	g.swept = g.clock()
	g.interval = plus(g.swept, g.cfg.SweepInterval)
	return g
}

func (g *Group) setPolicy(p *policy) {
	g.cfg = p
	g.tracking.Store(p.Detectors.HungCalls != nil)
	g.slowStart.Store(newSlowStart(&p.Config))
}

// Add makes an endpoint of the first tier, closed. Names are for people; the
// Group does not compare them.
func (g *Group) Add(name string) *Endpoint { return g.AddTier(name, 0) }

// AddTier is Add for any tier.
func (g *Group) AddTier(name string, n int) *Endpoint {
	g.mu.Lock()
	defer g.unlock()
	e := &Endpoint{group: g, name: name, index: len(g.endpoints), since: g.clock(), cfg: g.cfg}
	e.word.Store(1<<stateBits | uint64(Closed))
	e.due.Store(int64(never))
	e.ramp.Store(noRamp)
	if g.cfg.SlowStart > 0 && g.cfg.Ramp.Added {
		e.ramp.Store(int64(e.since))
	}
	e.det.reset()
	g.endpoints = append(g.endpoints, e)
	e.tier.Store(g.tierOf(max(n, 0)))
	e.tier.Load().count(1, Closed)
	g.checkPanic(e.since)
	g.wake()
	return e
}

// Remove takes an endpoint out for good: Acquire gives no more permits, and
// those that are out count nowhere. To replace endpoints without touching the
// guards, add the new ones first.
func (g *Group) Remove(e *Endpoint) {
	g.mu.Lock()
	defer g.unlock()
	state := stateOf(e.word.Load())
	if state == gone || e.group != g {
		return
	}
	now := g.clock()
	last := len(g.endpoints) - 1
	g.endpoints[e.index] = g.endpoints[last]
	g.endpoints[e.index].index = e.index
	g.endpoints[last] = nil
	g.endpoints = g.endpoints[:last]
	e.tier.Load().count(-1, state)
	if state != Closed {
		g.ejected--
		e.openTime += now - e.opened
	}
	g.enter(e, now, gone, never, 0)
	if state != Closed {
		g.emit(Event{
			At: now, Endpoint: e.name, From: state, To: Closed, Reason: EndpointRemoved,
			Detail: "removed while " + state.String(),
		}, e)
	}
	g.restoreGuards(now)
	g.checkPanic(now)
}

// Update changes the policy. Endpoints keep their state: what is open stays
// open, for no longer than the new Recovery.Max, and a probe that is out still
// decides. Without any detector left all endpoints close. If Detectors or
// Classification changed, all counts start over. An equal Config changes
// nothing. cfg must be valid.
func (g *Group) Update(cfg Config) {
	g.mu.Lock()
	defer g.unlock()
	old, p := g.cfg, newPolicy(cfg)
	if reflect.DeepEqual(old.Config, p.Config) {
		return
	}
	now := g.clock()
	g.setPolicy(p)
	if old.SweepInterval != p.SweepInterval {
		g.interval = plus(now, p.SweepInterval)
	}
	restart := !reflect.DeepEqual(old.Detectors, p.Detectors) ||
		!reflect.DeepEqual(old.Classification, p.Classification)
	for _, e := range g.endpoints {
		e.mu.Lock()
		e.cfg = p
		if restart {
			e.det.reset()
		}
		e.mu.Unlock()
		if old.Recovery.Mode != p.Recovery.Mode {
			e.attempt = 0
		}
		if old.Recovery != p.Recovery {
			g.reschedule(e)
		}
	}
	if !p.active {
		for _, e := range g.endpoints {
			g.reclose(e, now, SwitchedOff, "the breaker was switched off")
		}
	}
	g.restoreGuards(now)
	g.checkPanic(now)
	g.wake()
}

// reschedule applies a changed Recovery to an endpoint that is not closed.
func (g *Group) reschedule(e *Endpoint) {
	switch stateOf(e.word.Load()) {
	case Open:
		e.until = min(e.until, plus(e.since, g.cfg.Recovery.Max))
		e.due.Store(int64(g.due(e.until)))
	case HalfOpen:
		e.next = min(e.next, g.cfg.Recovery.Max)
		e.due.Store(int64(g.due(plus(e.until, e.next))))
	case Closed, gone:
	}
}

// due is when a probe may take an endpoint that is open until then.
func (g *Group) due(until time.Duration) time.Duration {
	if g.cfg.Recovery.Mode == Timed {
		return never
	}
	return until
}

// emit queues an event; e adds its last requests.
func (g *Group) emit(ev Event, e *Endpoint) {
	g.seq++
	if g.onEvent == nil {
		return
	}
	ev.Seq, ev.Ejected, ev.Endpoints = g.seq, g.ejected, len(g.endpoints)
	if e != nil {
		e.mu.Lock()
		ev.Last = e.last.records()
		e.mu.Unlock()
	}
	g.queue = append(g.queue, ev)
}

// unlock releases mu when every queued event was delivered, by this goroutine
// or by the one that is at it already.
func (g *Group) unlock() {
	defer g.mu.Unlock()
	if g.delivering {
		return
	}
	g.delivering = true
	defer func() { g.delivering = false }()
	for len(g.queue) > 0 {
		g.deliver()
	}
}

func (g *Group) deliver() {
	batch := g.queue
	g.queue = nil
	g.mu.Unlock()
	defer g.mu.Lock()
	for i := range batch {
		g.onEvent(batch[i])
	}
}
