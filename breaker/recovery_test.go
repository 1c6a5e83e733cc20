package breaker

import (
	"strings"
	"testing"
	"time"
)

// tripped has endpoint 0 of two open since 0s, its probe due at 1s.
func trippedRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, probing(Detectors{Consecutive: &Consecutive{Failures: 3}}), 2)
	r.call(0, bad, 3)
	r.want(0, Open)
	return r
}

func TestProbeIsOneAtATime(t *testing.T) {
	r := trippedRig(t)
	r.now = time.Second - 1
	r.refuse(0)
	r.now = time.Second
	if !r.e[0].Ready(r.now) || !r.e[0].ProbeDue(r.now) {
		t.Error("probe is not due")
	}
	p := r.acquire(0)
	if !p.Probe() || p.Endpoint() != r.e[0] {
		t.Error("permit is not the probe")
	}
	r.want(0, HalfOpen)
	r.refuse(0)
	if r.e[0].ProbeDue(r.now) {
		t.Error("probe is due while one is out")
	}
	p.Done(r.now, good)
	r.want(0, Closed)
	if r.acquire(0).Probe() {
		t.Error("a closed endpoint gave a probe")
	}
}

func TestProbeFailsAndBacksOff(t *testing.T) {
	for name, res := range map[string]Result{"500": bad, "timeout": timedOut, "refused": refused} {
		t.Run(name, func(t *testing.T) {
			r := trippedRig(t)
			// After 1s, then 2s, 4s, 8s, 8s more.
			for _, at := range []time.Duration{1, 3, 7, 15, 23} {
				r.now = at*time.Second - 1
				r.refuse(0)
				r.now = at * time.Second
				r.call(0, res, 1)
				r.want(0, Open)
			}
			r.now = 31 * time.Second
			r.call(0, good, 1)
			r.want(0, Closed)
			// The back-off starts again at the next trip.
			r.call(0, bad, 3)
			if got := r.last().Until - r.now; got != time.Second {
				t.Errorf("back-off after recovery is %v, want 1s", got)
			}
		})
	}
}

func TestRateOnlyFailsTheProbe(t *testing.T) {
	cfg := LinkerdUnified()
	r := newRig(t, cfg, 1)
	r.call(0, bad, 5) // 0 of 5: the window trips before the seventh
	r.now = time.Second
	r.call(0, limited, 1)
	r.want(0, Open)
	if got := r.last().Detail; got != "probe failed: status 429; out for another 2s" {
		t.Errorf("detail is %q", got)
	}
}

func TestSlowProbeFails(t *testing.T) {
	r := newRig(t, probing(Detectors{
		Consecutive: &Consecutive{Failures: 1},
		SlowCalls:   &SlowCalls{Duration: time.Second, Share: 1, Window: time.Minute, MinRequests: 5},
	}), 1)
	r.call(0, bad, 1)
	r.now = time.Second
	p := r.acquire(0)
	r.now += 1500 * time.Millisecond
	p.Done(r.now, good)
	r.want(0, Open)
	if got := r.last().Detail; got != "probe failed: took 1.5s, slow after 1s; out for another 2s" {
		t.Errorf("detail is %q", got)
	}
}

// Linkerd's fault: a probe without an answer keeps the endpoint out for good.
func TestLostProbe(t *testing.T) {
	t.Run("found by a sweep", func(t *testing.T) {
		r := trippedRig(t)
		r.now = time.Second
		lost := r.acquire(0)
		r.sweepTo(6*time.Second - 1) // deadline: 1s + 5s
		r.want(0, HalfOpen)
		r.sweepTo(6 * time.Second)
		r.want(0, Open)
		if ev := r.last(); ev.Reason != ProbeTimedOut || ev.Until != 8*time.Second || ev.Detail != "probe gave no result in 5s; out for another 2s" {
			t.Errorf("event: %+v", ev)
		}
		lost.Done(r.now, good) // too late to decide
		r.want(0, Open)
		r.now = 8 * time.Second
		next := r.acquire(0)
		lost.Done(r.now, bad) // nor for the next probe
		r.want(0, HalfOpen)
		next.Done(r.now, good)
		r.want(0, Closed)
	})
	t.Run("found by the next call, without any sweep", func(t *testing.T) {
		r := trippedRig(t)
		r.now = time.Second
		r.acquire(0)
		r.now = 8*time.Second - 1 // deadline 6s, and a back-off of 2s
		r.refuse(0)
		r.now = 8 * time.Second
		if !r.acquire(0).Probe() {
			t.Error("no second probe")
		}
		if got := strings.Join(r.reasons()[2:], " "); got != "a:transition:probe_timed_out a:transition:probe_started" {
			t.Errorf("events: %s", got)
		}
	})
	t.Run("found by its own late result", func(t *testing.T) {
		r := trippedRig(t)
		r.now = time.Second
		p := r.acquire(0)
		r.now = 6 * time.Second
		p.Done(r.now, good)
		r.want(0, Open)
		if got := r.last().Reason; got != ProbeTimedOut {
			t.Errorf("reason is %v", got)
		}
	})
}

// A cancelled probe gives its place to the next call at once.
func TestCancelledProbe(t *testing.T) {
	for _, res := range []Result{cancelled, {Cause: Overflow}} {
		r := trippedRig(t)
		r.now = time.Second
		p := r.acquire(0)
		wake := r.g.Available()
		p.Done(r.now, res)
		r.want(0, Open)
		select {
		case <-wake:
		default:
			t.Error("nobody was told that the place is free")
		}
		if !r.e[0].ProbeDue(r.now) {
			t.Error("the place is not free")
		}
		r.call(0, bad, 1)
		if got := r.last().Until - r.now; got != 2*time.Second {
			t.Errorf("back-off is %v, want 2s: a cancellation is no attempt", got)
		}
	}
}

// A call from before the trip decides nothing after it.
func TestStragglers(t *testing.T) {
	r := newRig(t, probing(Detectors{Consecutive: &Consecutive{Failures: 3}}), 2)
	early := []Permit{r.acquire(0), r.acquire(0), r.acquire(0), r.acquire(0)}
	r.call(0, bad, 3)
	early[0].Done(r.now, good)
	r.want(0, Open)
	r.now = time.Second
	p := r.acquire(0)
	early[1].Done(r.now, good)
	r.want(0, HalfOpen)
	early[2].Done(r.now, bad)
	r.want(0, HalfOpen)
	p.Done(r.now, good)
	r.want(0, Closed)
	r.call(0, bad, 2)
	early[3].Done(r.now, bad) // not the third of this period
	r.want(0, Closed)
	r.call(0, bad, 1)
	r.want(0, Open)
}

// A permit ended twice counts for nothing once its period is over, and the zero
// permit never.
func TestDoneIsForgiving(t *testing.T) {
	r := trippedRig(t)
	r.now = time.Second
	p := r.acquire(0)
	p.Done(r.now, bad)
	p.Done(r.now, good)
	r.want(0, Open)
	if got := (Permit{}).Done(0, bad); got != Ignored {
		t.Errorf("class of the zero permit: %v", got)
	}
	if got := r.acquire(1).Done(r.now, limited); got != Success {
		t.Errorf("class: %v", got)
	}
}

// Envoy: un-ejection happens in the interval sweep, so 30s lasts 30 to 40s.
func TestTimedLasts30To40Seconds(t *testing.T) {
	for _, at := range []time.Duration{0, 1, 9999, 10_000, 13_500} {
		at *= time.Millisecond
		r := newRig(t, EnvoyOutlier(), 10)
		r.sweepTo(at)
		r.call(0, bad, 5)
		r.want(0, Open)
		for r.e[0].State() != Closed {
			r.refuse(0)
			until, ok := r.g.NextAvailable(r.now)
			if !ok || until != r.now {
				t.Fatal("the others are not available")
			}
			r.now = r.g.NextSweep()
			r.g.Sweep(r.now)
		}
		if out := r.now - at; out < 30*time.Second || out > 40*time.Second {
			t.Errorf("ejected at %v for %v", at, out)
		}
		if got := r.last().Reason; got != EjectionTimeOver {
			t.Errorf("reason is %v", got)
		}
	}
}

// Envoy: the multiplier grows with each ejection and falls by one for each
// interval in service.
func TestTimedMultiplier(t *testing.T) {
	r := newRig(t, EnvoyOutlier(), 10)
	eject := func(want time.Duration) {
		t.Helper()
		r.call(0, bad, 5)
		if got := r.last().Until - r.now; got != want {
			t.Errorf("ejected for %v, want %v", got, want)
		}
		for r.e[0].State() != Closed {
			r.now = r.g.NextSweep()
			r.g.Sweep(r.now)
		}
	}
	for i := range 10 {
		eject(time.Duration(i+1) * 30 * time.Second)
	}
	eject(300 * time.Second) // the maximum
	eject(300 * time.Second) // Envoy's multiplier has stopped at 11
	for range 4 {            // 11 - 4 in service
		r.now = r.g.NextSweep()
		r.g.Sweep(r.now)
	}
	eject(240 * time.Second)
	for range 20 {
		r.now += 10 * time.Second
		r.g.Sweep(r.now)
	}
	eject(30 * time.Second)
}

func TestTimedCountsStartOverAfterReadmission(t *testing.T) {
	r := newRig(t, EnvoyOutlier(), 10)
	r.call(0, bad, 5)
	r.sweepTo(time.Minute)
	r.want(0, Closed)
	r.call(0, bad, 4)
	r.want(0, Closed)
	r.call(0, bad, 1)
	r.want(0, Open)
}

func TestNextSweep(t *testing.T) {
	t.Run("probe policy", func(t *testing.T) {
		r := newRig(t, probing(Detectors{Consecutive: &Consecutive{Failures: 1}}), 1)
		if got := r.g.NextSweep(); got != 0 {
			t.Errorf("closed: %v", got)
		}
		r.call(0, bad, 1)
		if got := r.g.NextSweep(); got != 0 {
			t.Errorf("open: %v, the next call finds out", got)
		}
		r.now = time.Second
		r.acquire(0)
		if got := r.g.NextSweep(); got != 6*time.Second {
			t.Errorf("probe out: %v, want its deadline 6s", got)
		}
	})
	t.Run("timed policy", func(t *testing.T) {
		cfg := EnvoyOutlier()
		cfg.Detectors = Detectors{Consecutive: &Consecutive{Failures: 1}}
		r := newRig(t, cfg, 10)
		if got := r.g.NextSweep(); got != 0 {
			t.Errorf("closed: %v", got)
		}
		r.call(0, bad, 1)
		if got := r.g.NextSweep(); got != 10*time.Second {
			t.Errorf("open: %v", got)
		}
		r.sweepTo(25 * time.Second)
		r.now = 67 * time.Second
		r.g.Sweep(r.now) // late: re-admits, and does not catch up
		r.want(0, Closed)
		if got := r.g.NextSweep(); got != 77*time.Second {
			t.Errorf("after a late sweep: %v, want 77s", got)
		}
		r.sweepTo(90 * time.Second)
		if got := r.g.NextSweep(); got != 0 {
			t.Errorf("multiplier is down: %v", got)
		}
	})
}

func TestSlowStart(t *testing.T) {
	cfg := probing(Detectors{Consecutive: &Consecutive{Failures: 1}})
	cfg.SlowStart = 10 * time.Second
	r := newRig(t, cfg, 1)
	if got := r.e[0].Weight(r.now); got != 1 {
		t.Errorf("a new endpoint weighs %v", got)
	}
	r.call(0, bad, 1)
	r.now = time.Second
	r.call(0, good, 1)
	for after, want := range map[time.Duration]float64{
		-1: 0.1, 0: 0.1, time.Second: 0.1, 2 * time.Second: 0.2, 5 * time.Second: 0.5, 10 * time.Second: 1, time.Hour: 1,
	} {
		if got := r.e[0].Weight(r.now + after); got != want {
			t.Errorf("%v after recovery the weight is %v, want %v", after, got, want)
		}
	}
}
