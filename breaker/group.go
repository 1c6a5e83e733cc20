package breaker

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
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
	panicking atomic.Bool
	tracking  atomic.Bool // HungCalls is on
	slowStart atomic.Int64

	// mu is taken before an endpoint's mu.
	mu sync.Mutex
	// Guarded by mu.
	cfg        *Config
	endpoints  []*Endpoint
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
	g.setConfig(cfg)
	g.swept = g.clock()
	g.interval = g.swept + g.cfg.SweepInterval
	return g
}

func (g *Group) setConfig(cfg Config) {
	cfg = cfg.withDefaults()
	g.cfg = &cfg
	g.tracking.Store(cfg.Detectors.HungCalls != nil)
	g.slowStart.Store(int64(cfg.SlowStart))
}

// Add makes an endpoint, closed. Names are for people; the Group does not
// compare them.
func (g *Group) Add(name string) *Endpoint {
	g.mu.Lock()
	defer g.unlock()
	e := &Endpoint{group: g, name: name, index: len(g.endpoints), since: g.clock(), cfg: g.cfg}
	e.word.Store(1<<stateBits | uint64(Closed))
	e.due.Store(int64(never))
	e.ramp.Store(noRamp)
	e.det.reset()
	g.endpoints = append(g.endpoints, e)
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
	if state == gone {
		return
	}
	now := g.clock()
	last := len(g.endpoints) - 1
	g.endpoints[e.index] = g.endpoints[last]
	g.endpoints[e.index].index = e.index
	g.endpoints[last] = nil
	g.endpoints = g.endpoints[:last]
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
// decides. Without any detector left all endpoints close. Detectors whose
// policy changed start over. An equal Config changes nothing.
func (g *Group) Update(cfg Config) {
	g.mu.Lock()
	defer g.unlock()
	old := g.cfg
	cfg = cfg.withDefaults()
	if reflect.DeepEqual(*old, cfg) {
		return
	}
	now := g.clock()
	g.setConfig(cfg)
	if old.SweepInterval != cfg.SweepInterval {
		g.interval = now + cfg.SweepInterval
	}
	restart := !reflect.DeepEqual(old.Detectors, cfg.Detectors) ||
		!reflect.DeepEqual(old.Classification, cfg.Classification)
	for _, e := range g.endpoints {
		e.mu.Lock()
		e.cfg = g.cfg
		if restart {
			e.det.reset()
		}
		e.mu.Unlock()
		if old.Recovery.Mode != cfg.Recovery.Mode {
			e.attempt = 0
		}
		g.reschedule(e)
	}
	if !cfg.Detectors.active() {
		for _, e := range g.endpoints {
			g.recover(e, now, SwitchedOff, "the breaker was switched off")
		}
	}
	g.restoreGuards(now)
	g.checkPanic(now)
	g.wake()
}

// reschedule applies a changed Recovery to an endpoint that is not closed.
func (g *Group) reschedule(e *Endpoint) {
	if stateOf(e.word.Load()) != Open {
		return
	}
	e.until = min(e.until, e.since+g.cfg.Recovery.Max)
	e.due.Store(int64(g.due(e.until)))
}

// due is when a probe may take an endpoint that is open until then.
func (g *Group) due(until time.Duration) time.Duration {
	if g.cfg.Recovery.Mode == Timed {
		return never
	}
	return until
}

// Panicking tells whether less than Guards.PanicThreshold of the endpoints is
// closed, so that all are to be used. Ready and Acquire go by it already: an
// open endpoint then gives permits that count nowhere.
func (g *Group) Panicking() bool { return g.panicking.Load() }

// checkPanic starts or ends panic.
func (g *Group) checkPanic(now time.Duration) {
	hosts := len(g.endpoints)
	threshold := g.cfg.Guards.PanicThreshold
	share := 100 * float64(hosts-g.ejected) / float64(max(hosts, 1))
	panics := hosts > 0 && g.ejected > 0 && share < threshold
	if panics == g.panicking.Load() {
		return
	}
	g.panicking.Store(panics)
	ev := Event{At: now, Kind: Panic, Reason: PanicEnded}
	ev.Detail = panicDetail(hosts-g.ejected, hosts, share, threshold, panics)
	if panics {
		ev.Reason = PanicStarted
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

// usable is when an endpoint that is not closed will be, by time alone.
func (g *Group) usable(e *Endpoint) time.Duration {
	if due := time.Duration(e.due.Load()); due != never {
		return due
	}
	at, step := g.interval, g.cfg.SweepInterval
	if e.until > at {
		at += (e.until - at + step - 1) / step * step
	}
	return at
}

// emit queues an event; e adds its last requests.
func (g *Group) emit(ev Event, e *Endpoint) {
	g.seq++
	if g.onEvent == nil {
		return
	}
	ev.Seq, ev.Ejected, ev.Hosts = g.seq, g.ejected, len(g.endpoints)
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

// EndpointState is what is known about one endpoint.
type EndpointState struct {
	Name  string
	State State
	Since time.Duration // instant when the state began
	// Until is as in Event: the next probe or end of the ejection time, or the
	// deadline of the probe that is out. 0 while closed.
	Until time.Duration
	// Reason and Detail of the last trip; Detail is "" if there was none.
	Reason Reason
	Detail string
	// Failures in a row, up to now or up to the trip and its probes.
	Failures uint32
	// Attempt counts back-offs since the trip (Probe), or is the multiplier of
	// the ejection time (Timed).
	Attempt uint32
	// Trips, and ejections that a guard refused, since the endpoint was added.
	Trips, Refused uint64
	// OpenTime is how long the endpoint was not closed, in sum.
	OpenTime time.Duration
	// SuccessRate of the last requests, 0 to 1; -1 without any.
	SuccessRate float64
	Last        []Record
}

// States lists the endpoints by name.
func (g *Group) States() []EndpointState {
	now := g.clock()
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]EndpointState, 0, len(g.endpoints))
	for _, e := range g.endpoints {
		s := EndpointState{
			Name: e.name, State: stateOf(e.word.Load()), Since: e.since, Until: e.until,
			Reason: e.reason, Detail: e.detail, Attempt: e.attempt,
			Trips: e.trips, Refused: e.refused, OpenTime: e.openTime,
		}
		if s.State != Closed {
			s.OpenTime += max(now-e.opened, 0)
		}
		e.mu.Lock()
		s.Failures, s.SuccessRate, s.Last = e.det.row, e.last.successRate(), e.last.records()
		e.mu.Unlock()
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b EndpointState) int { return strings.Compare(a.Name, b.Name) })
	return out
}
