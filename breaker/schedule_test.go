package breaker

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// A schedule is any sequence of things that can happen to a group, read from
// bytes, with the invariants of the package checked after each of them.
type schedule struct {
	*rig
	cfg   Config
	rand  *rand.Rand
	held  []held
	seen  int              // events that the replay has read
	state map[string]State // by replaying the events
	turns map[string]int   // transitions of each endpoint
	names int

	// probe is the probe of each endpoint that may still decide: at most one.
	probe map[string]time.Duration // its deadline
}

// held is a permit that is out, and the period that it was given in.
type held struct {
	p     Permit
	name  string
	turn  int
	panic bool
}

// policies are what a schedule switches between.
func policies() []Config {
	pct := func(p uint32) *uint32 { return &p }
	every := full()
	every.Detectors.Consecutive.Failures = 4
	every.Detectors.SlowCalls.MinRequests = 3
	every.Detectors.HungCalls.Age = 20 * time.Second
	every.Detectors.SuccessRateOutlier = &SuccessRateOutlier{Factor: 1.2, MinHosts: 3, RequestVolume: 2}
	every.Detectors.FailurePercentage = &FailurePercentage{Threshold: 60, MinHosts: 2, RequestVolume: 2, Enforcing: pct(50)}
	every.Guards = Guards{MaxEjectionPercent: pct(50), MinReady: 1}
	quick := probing(Detectors{Consecutive: &Consecutive{Failures: 1}})
	quick.Recovery.Jitter = 0.5
	timed := EnvoyOutlier()
	timed.Detectors.Consecutive.Failures = 2
	timed.Guards.MaxEjectionPercent = pct(60)
	panics := quick
	panics.Guards = Guards{PanicThreshold: 60}
	jittered := Linkerd1()
	jittered.Detectors.Consecutive.Failures = 2
	jittered.Guards.MinReady = 2
	split := timed
	split.Classification.SplitLocalOrigin = true
	split.Detectors.ConsecutiveLocalOrigin = &Consecutive{Failures: 2}
	split.Recovery.Mode = Probe
	rates := probing(Detectors{
		ConsecutiveGateway: &Consecutive{Failures: 2},
		SuccessRateEWMA:    &SuccessRateEWMA{Threshold: 0.6, Requests: 3},
	})
	rates.Recovery.Backoff = Constant
	rates.SlowStart = 10 * time.Second
	return []Config{quick, every, timed, panics, jittered, split, rates, LinkerdUnified(), {}}
}

var outcomes = []Result{
	bad, bad, bad, bad, good, good, gateway, limited, refused, timedOut, cancelled,
	{Cause: Overflow},
	{Cause: Reset},
	{Status: 200, GRPCStatus: 14},
	{Status: 200, Latency: 3 * time.Second},
}

func newSchedule(t *testing.T, policy int, seed uint64) *schedule {
	s := &schedule{
		cfg: policies()[policy], rand: rand.New(rand.NewPCG(seed, 1)),
		state: map[string]State{}, turns: map[string]int{}, probe: map[string]time.Duration{},
	}
	s.rig = newRig(t, s.cfg, 0)
	for range 4 {
		s.add()
	}
	return s
}

func (s *schedule) add() {
	s.e = append(s.e, s.g.Add(fmt.Sprintf("e%d", s.names)))
	s.names++
}

// do makes one step of two bytes.
func (s *schedule) do(op, arg byte) {
	s.t.Helper()
	s.random = s.rand.Float64()
	switch op % 16 {
	default:
		s.begin(int(arg))
	case 6, 7, 8, 9, 10, 11:
		s.end(int(arg), outcomes[int(op/16+arg)%len(outcomes)])
	case 12:
		s.now += time.Duration(arg) * time.Duration(arg) * 20 * time.Millisecond // to 22 min in all sizes
	case 13:
		s.g.Sweep(s.now)
	case 14:
		if arg%2 == 0 && len(s.e) < 12 {
			s.add()
		} else if len(s.e) > 0 {
			i := int(arg) % len(s.e)
			s.g.Remove(s.e[i])
			s.e = append(s.e[:i], s.e[i+1:]...)
		}
	case 15:
		all := policies()
		s.cfg = all[int(arg)%len(all)]
		s.g.Update(s.cfg)
	}
	s.check()
}

// begin asks an endpoint for a permit; Ready must have told the truth.
func (s *schedule) begin(i int) {
	if len(s.e) == 0 || len(s.held) > 60 {
		return
	}
	e := s.e[i%len(s.e)]
	ready := e.Ready(s.now)
	p, ok := e.Acquire(s.now)
	if ok != ready {
		s.t.Fatalf("%s: Ready %v, Acquire %v", e.Name(), ready, ok)
	}
	s.check()
	if !ok {
		return
	}
	if p.Probe() {
		if deadline, out := s.probe[e.Name()]; out && s.now < deadline {
			s.t.Fatalf("%s: a second probe while one is out", e.Name())
		}
		s.probe[e.Name()] = s.now + s.g.cfg.Recovery.ProbeTimeout
	}
	s.held = append(s.held, held{p, e.Name(), s.turns[e.Name()], s.state[e.Name()] != Closed && !p.Probe()})
}

// end ends a permit. One of an earlier period must change nothing.
func (s *schedule) end(i int, r Result) {
	if len(s.held) == 0 {
		return
	}
	i %= len(s.held)
	h := s.held[i]
	s.held = append(s.held[:i], s.held[i+1:]...)
	stale := h.turn != s.turns[h.name] || h.panic
	var before []EndpointState
	if stale {
		before = s.g.States()
	}
	events := len(s.events)
	h.p.Done(s.now, r)
	if stale && (len(s.events) != events || !reflect.DeepEqual(before, s.g.States())) {
		s.t.Fatalf("%s: a result of an earlier period had an effect: %v\n%+v\n%+v", h.name, s.events[events:], before, s.g.States())
	}
}

// check replays the new events and compares with what the group says.
func (s *schedule) check() {
	s.t.Helper()
	for ; s.seen < len(s.events); s.seen++ {
		s.replay(s.events[s.seen])
	}
	states := s.g.States()
	out := 0
	for _, st := range states {
		if st.State != s.state[st.Name] {
			s.t.Fatalf("%s is %v, by its events it is %v", st.Name, st.State, s.state[st.Name])
		}
		if st.State != Closed {
			out++
		}
	}
	if len(states) != len(s.e) {
		s.t.Fatalf("%d states of %d endpoints", len(states), len(s.e))
	}
	g := s.cfg.Guards
	if g.MaxEjectionPercent != nil && 100*out > int(*g.MaxEjectionPercent)*len(s.e) {
		s.t.Fatalf("%d of %d are out, more than %d%%", out, len(s.e), *g.MaxEjectionPercent)
	}
	if out > 0 && len(s.e)-out < g.MinReady {
		s.t.Fatalf("%d of %d are out, %d must stay", out, len(s.e), g.MinReady)
	}
	if !s.cfg.Detectors.active() && out > 0 {
		s.t.Fatalf("%d are out without a detector", out)
	}
	if want := out > 0 && 100*float64(len(s.e)-out)/float64(len(s.e)) < g.PanicThreshold; s.g.Panicking() != want {
		s.t.Fatalf("panic is %v, want %v", s.g.Panicking(), want)
	}
}

// replay applies one event to what is known from the events before it.
func (s *schedule) replay(ev Event) {
	s.t.Helper()
	fail := func(what string) { s.t.Fatalf("%s: %+v", what, ev) }
	if ev.Seq != uint64(s.seen+1) {
		fail("number out of sequence")
	}
	if ev.Kind == Panic {
		return
	}
	if ev.Detail == "" {
		fail("no words")
	}
	if ev.Kind != Transition {
		if ev.From != ev.To || ev.From != Closed || s.state[ev.Endpoint] != Closed {
			fail("a refusal that is a transition")
		}
		return
	}
	if ev.From != s.state[ev.Endpoint] {
		fail("from a state that it was not in")
	}
	switch {
	case ev.From == Closed && ev.To == Open && ev.Reason <= HungCall:
		if len(ev.Last) == 0 && ev.Reason != HungCall {
			fail("no last requests")
		}
		s.explain(ev)
	case ev.From == Open && ev.To == HalfOpen && ev.Reason == ProbeStarted:
	case ev.From == HalfOpen && ev.To == Open && ev.Reason >= ProbeFailed && ev.Reason <= ProbeCancelled:
	case ev.From == HalfOpen && ev.To == Closed && ev.Reason == ProbeSucceeded:
	case ev.From == Open && ev.To == Closed && ev.Reason == EjectionTimeOver:
	case ev.To == Closed && (ev.Reason == SwitchedOff || ev.Reason == GuardRestored || ev.Reason == EndpointRemoved):
	default:
		fail("not a way that a breaker goes")
	}
	if (ev.Until != 0) != (ev.To != Closed) && ev.At != 0 {
		fail("until")
	}
	if ev.From == HalfOpen {
		delete(s.probe, ev.Endpoint)
	}
	s.state[ev.Endpoint] = ev.To
	s.turns[ev.Endpoint]++
	out := 0
	for _, st := range s.state {
		if st != Closed {
			out++
		}
	}
	if out != ev.Ejected {
		fail(fmt.Sprintf("by the events %d are out", out))
	}
}

// explain checks a trip against the requests that its event shows.
func (s *schedule) explain(ev Event) {
	if r := s.g.cfg.Recovery; ev.Until-ev.At > r.Max+time.Duration(r.Jitter*float64(r.Max)) || ev.Until < ev.At {
		s.t.Fatalf("out for %v: %+v", ev.Until-ev.At, ev)
	}
	d := s.g.cfg.Detectors.Consecutive
	if ev.Reason != ConsecutiveFailures || d == nil || s.g.cfg.Classification.SplitLocalOrigin {
		return
	}
	failures := uint32(0)
	for i := len(ev.Last) - 1; i >= 0 && failures < d.Failures; i-- {
		switch ev.Last[i].Class {
		case Failure:
			failures++
		case Success:
			s.t.Fatalf("tripped with a success among the last %d: %+v", d.Failures, ev)
		case RateOnly, Ignored:
		}
	}
	if failures == 0 {
		s.t.Fatalf("tripped without a failure: %+v", ev)
	}
}

// settle lets every permit that is out be lost. After a while each endpoint
// must come back by itself, and stay.
func (s *schedule) settle() {
	s.t.Helper()
	s.held = nil
	r := s.g.cfg.Recovery
	for range 3 { // sweeps are rare, and probes are given up in one and go in the next
		s.now += r.ProbeTimeout + 2*r.Max + time.Duration(r.Jitter*float64(r.Max)) + 2*s.g.cfg.SweepInterval
		s.g.Sweep(s.now)
	}
	s.check()
	for _, e := range s.e {
		if !e.Ready(s.now) {
			s.t.Fatalf("%s is out for ever: %+v", e.Name(), s.g.States())
		}
		p, ok := e.Acquire(s.now)
		if !ok {
			s.t.Fatalf("%s gave no permit", e.Name())
		}
		p.Done(s.now, Result{Status: 200, Latency: 1})
		if e.State() != Closed {
			s.t.Fatalf("%s is %v after a success", e.Name(), e.State())
		}
	}
	s.check()
}

func runSchedule(t *testing.T, policy byte, seed uint64, steps []byte) *schedule {
	s := newSchedule(t, int(policy)%len(policies()), seed)
	for i := 0; i+1 < len(steps); i += 2 {
		s.do(steps[i], steps[i+1])
	}
	s.settle()
	return s
}

func TestRandomSchedules(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(180) {
		r := rand.New(rand.NewPCG(seed, 2))
		steps := make([]byte, 1000)
		for i := range steps {
			steps[i] = byte(r.Uint32())
		}
		if !t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			s := runSchedule(t, byte(seed), seed, steps)
			for _, ev := range s.events {
				seen[ev.Kind.String()+" "+ev.Reason.String()]++
			}
		}) {
			return
		}
	}
	// The schedules are worth something only if they get everywhere.
	for r := ConsecutiveFailures; r <= EndpointRemoved; r++ {
		if seen["transition "+r.String()] == 0 {
			t.Errorf("no schedule led to %v", r)
		}
	}
	for _, k := range []string{"refused consecutive_failures", "not_enforced failure_percentage", "panic panic_started", "panic panic_ended"} {
		if seen[k] == 0 {
			t.Errorf("no schedule led to %s", k)
		}
	}
	t.Log(seen)
}

func FuzzSchedule(f *testing.F) {
	f.Add(byte(0), uint64(1), []byte{0, 0, 6, 0, 12, 8, 0, 0, 6, 4})
	f.Add(byte(1), uint64(2), []byte{0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 6, 0, 6, 0, 6, 0, 12, 255, 13, 0})
	f.Add(byte(2), uint64(3), []byte{0, 1, 6, 0, 0, 1, 6, 0, 14, 1, 15, 3, 12, 90, 13, 0})
	f.Fuzz(func(t *testing.T, policy byte, seed uint64, steps []byte) {
		if len(steps) > 2000 {
			t.Skip("long enough")
		}
		runSchedule(t, policy, seed, steps)
	})
}
