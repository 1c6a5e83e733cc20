package breaker

import (
	"testing"
	"time"
)

func TestMonotonic(t *testing.T) {
	last := Monotonic()
	for range 1000 {
		now := Monotonic()
		if now < last {
			t.Fatalf("%v after %v", now, last)
		}
		last = now
	}
}

// Durations of centuries mean never, not long ago.
func TestInstantsDoNotOverflow(t *testing.T) {
	cfg := guarded(Guards{})
	cfg.Recovery = Recovery{Min: never, Max: never, ProbeTimeout: never}
	cfg.SweepInterval = never
	for _, mode := range []Mode{Probe, Timed} {
		cfg.Recovery.Mode = mode
		r := newRig(t, cfg, 1)
		r.now = time.Hour
		r.call(0, bad, 1)
		r.g.Sweep(r.now)
		r.refuse(0)
		if at, _ := r.g.NextAvailable(r.now); at != never {
			t.Errorf("mode %d: available at %v", mode, at)
		}
	}
	cfg.Recovery = Recovery{Max: never, ProbeTimeout: never}
	r := newRig(t, cfg, 1)
	r.now = time.Hour
	r.call(0, bad, 1)
	p := r.acquire(0)
	r.g.Sweep(r.now)
	r.want(0, HalfOpen)
	p.Done(r.now, good)
	r.want(0, Closed)
}

// An endpoint that opens while a call is on its way in gives a permit that
// counts nowhere, above all not as the probe.
func TestPermitTakenWhileOpening(t *testing.T) {
	cfg := guarded(Guards{})
	cfg.Detectors.HungCalls = &HungCalls{Age: time.Minute}
	r := newRig(t, cfg, 1)
	r.call(0, bad, 1)
	r.now = time.Second
	probe := r.acquire(0)
	late := r.e[0].track(r.now) // as if Acquire had read the word before
	if late.Probe() {
		t.Fatal("a second probe")
	}
	late.Done(r.now, good)
	r.want(0, HalfOpen)
	probe.Done(r.now, bad)
	r.want(0, Open)
}
