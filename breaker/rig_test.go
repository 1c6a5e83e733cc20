package breaker

import (
	"testing"
	"time"
)

// Results that tests report.
var (
	good      = Result{Status: 200, GRPCStatus: -1}
	bad       = Result{Status: 500, GRPCStatus: -1}
	gateway   = Result{Status: 503, GRPCStatus: -1}
	limited   = Result{Status: 429, GRPCStatus: -1}
	refused   = Result{Cause: ConnectFailure, GRPCStatus: -1}
	timedOut  = Result{Cause: RequestTimeout, GRPCStatus: -1}
	cancelled = Result{Cause: Cancelled, GRPCStatus: -1}
)

// rig is a group under a clock and a random number that the test sets.
type rig struct {
	t      *testing.T
	now    time.Duration
	random float64
	events []Event
	g      *Group
	e      []*Endpoint
}

// newRig has n endpoints, named "a", "b" and so on.
func newRig(t *testing.T, cfg Config, n int) *rig {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t}
	r.g = NewGroup(cfg, Options{
		Clock:   func() time.Duration { return r.now },
		OnEvent: func(ev Event) { r.events = append(r.events, ev) },
		Rand:    func() float64 { return r.random },
	})
	for i := range n {
		r.e = append(r.e, r.g.Add(string(rune('a'+i))))
	}
	return r
}

func (r *rig) acquire(i int) Permit {
	r.t.Helper()
	p, ok := r.e[i].Acquire(r.now)
	if !ok {
		r.t.Fatalf("at %v: no permit for %s, which is %v", r.now, r.e[i].Name(), r.e[i].State())
	}
	return p
}

// call makes n calls of endpoint i that end at once as told.
func (r *rig) call(i int, res Result, n int) {
	r.t.Helper()
	for range n {
		r.acquire(i).Done(r.now, res)
	}
}

// refuse wants no permit.
func (r *rig) refuse(i int) {
	r.t.Helper()
	if r.e[i].Ready(r.now) {
		r.t.Errorf("at %v: %s is ready", r.now, r.e[i].Name())
	}
	if _, ok := r.e[i].Acquire(r.now); ok {
		r.t.Errorf("at %v: %s gave a permit", r.now, r.e[i].Name())
	}
}

func (r *rig) want(i int, s State) {
	r.t.Helper()
	if got := r.e[i].State(); got != s {
		r.t.Fatalf("at %v: %s is %v, want %v; events: %v", r.now, r.e[i].Name(), got, s, r.reasons())
	}
}

// open lists the endpoints that are not closed, as one string.
func (r *rig) open() string {
	out := ""
	for _, s := range r.g.States() {
		if s.State != Closed {
			out += s.Name
		}
	}
	return out
}

func (r *rig) last() Event {
	r.t.Helper()
	if len(r.events) == 0 {
		r.t.Fatal("no event")
	}
	return r.events[len(r.events)-1]
}

func (r *rig) reasons() (out []string) {
	for _, ev := range r.events {
		out = append(out, ev.Endpoint+":"+ev.Kind.String()+":"+ev.Reason.String())
	}
	return out
}

// sweepTo sweeps whenever the group asks for it, up to and including the
// instant.
func (r *rig) sweepTo(end time.Duration) {
	r.t.Helper()
	for range 100_000 {
		next := r.g.NextSweep()
		if next == 0 || next > end {
			r.now = end
			return
		}
		r.now = max(r.now, next)
		r.g.Sweep(r.now)
	}
	r.t.Fatal("NextSweep does not move on")
}

// probing is a short policy with a probe after 1s, 2s, 4s, 8s.
func probing(d Detectors) Config {
	return Config{
		Detectors: d,
		Recovery:  Recovery{Mode: Probe, Min: time.Second, Max: 8 * time.Second, ProbeTimeout: 5 * time.Second},
	}
}
