package breaker

import (
	"strings"
	"testing"
	"time"
)

func TestUpdateSwitchesOff(t *testing.T) {
	for name, off := range map[string]Config{
		"nothing":        {},
		"max-failures 0": probing(Detectors{Consecutive: &Consecutive{}}),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, probing(Detectors{Consecutive: &Consecutive{Failures: 1}}), 3)
			r.call(0, bad, 1)
			r.call(1, bad, 1)
			r.now = time.Second
			probe := r.acquire(1)
			wake := r.g.Available()
			r.g.Update(off)
			<-wake
			if got := r.open(); got != "" {
				t.Errorf("open: %q", got)
			}
			if got := strings.Join(r.reasons()[3:], " "); got != "a:transition:switched_off b:transition:switched_off" {
				t.Errorf("events: %s", got)
			}
			probe.Done(r.now, bad)
			r.call(0, bad, 100)
			if got := r.open(); got != "" {
				t.Errorf("open: %q", got)
			}
		})
	}
}

func TestUpdateWithTheSameKeepsCounts(t *testing.T) {
	r := newRig(t, LinkerdConsecutive(), 1)
	r.call(0, bad, 6)
	r.g.Update(LinkerdConsecutive())
	r.call(0, bad, 1)
	r.want(0, Open)
	r.g.Update(LinkerdConsecutive())
	r.want(0, Open)
}

func TestUpdateOfDetectorsStartsOver(t *testing.T) {
	r := newRig(t, LinkerdConsecutive(), 1)
	out := r.acquire(0)
	r.call(0, bad, 6)
	cfg := LinkerdConsecutive()
	cfg.Detectors.Consecutive = &Consecutive{Failures: 2}
	r.g.Update(cfg)
	r.call(0, bad, 1)
	r.want(0, Closed)
	out.Done(r.now, bad) // still of this period
	r.want(0, Open)
}

func TestUpdateShortensTheBackoff(t *testing.T) {
	cfg := LinkerdConsecutive()
	cfg.Recovery.Min = time.Minute
	r := newRig(t, cfg, 1)
	r.call(0, bad, 7)
	r.now = 5 * time.Second
	r.refuse(0)
	wake := r.g.Available()
	cfg.Recovery.Min, cfg.Recovery.Max = time.Second, 2*time.Second
	r.g.Update(cfg)
	<-wake
	r.call(0, good, 1)
	r.want(0, Closed)
}

func TestUpdateBetweenModes(t *testing.T) {
	probe := probing(Detectors{Consecutive: &Consecutive{Failures: 1}})
	timed := probe
	timed.Recovery.Mode = Timed
	t.Run("probe to timed", func(t *testing.T) {
		r := newRig(t, probe, 2)
		r.call(0, bad, 1)
		r.call(1, bad, 1)
		r.now = time.Second
		lost := r.acquire(1)
		r.g.Update(timed)
		r.refuse(0) // no probe any more
		r.refuse(1)
		r.sweepTo(30 * time.Second)
		r.want(0, Closed)
		r.want(1, Closed)
		lost.Done(r.now, bad)
		r.want(1, Closed)
	})
	t.Run("timed to probe", func(t *testing.T) {
		r := newRig(t, timed, 1)
		r.call(0, bad, 1)
		r.now = time.Second
		r.refuse(0)
		r.g.Update(probe)
		r.call(0, good, 1)
		r.want(0, Closed)
	})
}

func TestUpdateTightensGuards(t *testing.T) {
	cfg := guarded(Guards{})
	r := newRig(t, cfg, 4)
	for i := range 4 {
		r.now += time.Millisecond
		r.call(i, bad, 1)
	}
	cfg.Guards.MinReady = 2
	r.g.Update(cfg)
	if got := r.open(); got != "cd" {
		t.Errorf("open: %q, want cd: the others were out longer", got)
	}
}

func TestUpdateStartsTrackingOfHungCalls(t *testing.T) {
	r := newRig(t, probing(Detectors{Consecutive: &Consecutive{Failures: 1}}), 1)
	old := r.acquire(0)
	cfg := probing(Detectors{HungCalls: &HungCalls{Age: time.Second}})
	r.g.Update(cfg)
	r.acquire(0).Done(r.now, good)
	old.Done(r.now, good)
	tracked := r.acquire(0)
	r.g.Update(probing(Detectors{Consecutive: &Consecutive{Failures: 1}}))
	r.g.Update(cfg)
	fresh := r.acquire(0)
	tracked.Done(r.now, good) // its slot is another's by now
	r.sweepTo(r.now + time.Second)
	r.want(0, Open)
	fresh.Done(r.now, good)
}

func TestRemove(t *testing.T) {
	r := newRig(t, guarded(Guards{}), 3)
	closed := r.acquire(0)
	r.g.Remove(r.e[0])
	closed.Done(r.now, bad)
	r.refuse(0)
	r.g.Remove(r.e[0]) // again: nothing
	if len(r.events) != 0 {
		t.Errorf("events: %v", r.reasons())
	}
	r.call(1, bad, 1)
	r.now = time.Second
	probe := r.acquire(1)
	r.g.Remove(r.e[1])
	if ev := r.last(); ev.Reason != EndpointRemoved || ev.From != HalfOpen || ev.To != Closed || ev.Ejected != 0 || ev.Endpoints != 1 {
		t.Errorf("event: %+v", ev)
	}
	probe.Done(r.now, good)
	if r.e[1].ProbeDue(time.Hour) || r.e[1].Ready(time.Hour) {
		t.Error("a removed endpoint is ready")
	}
	if got := r.g.States(); len(got) != 1 || got[0].Name != "c" || got[0].State != Closed {
		t.Errorf("states: %+v", got)
	}
	r.call(2, bad, 1)
	if got := r.last().Detail; !strings.HasSuffix(got, "no endpoint is left") {
		t.Errorf("detail is %q", got)
	}
	other := NewGroup(Config{}, Options{})
	other.Remove(r.e[2]) // not its own
	r.now = 2 * time.Second
	r.call(2, good, 1)
	r.want(2, Closed)
}

func TestNextAvailable(t *testing.T) {
	r := newRig(t, guarded(Guards{}), 0)
	if _, ok := r.g.NextAvailable(0); ok {
		t.Error("available without endpoints")
	}
	r.e = append(r.e, r.g.Add("a"), r.g.Add("b"))
	want := func(at time.Duration) {
		t.Helper()
		if got, ok := r.g.NextAvailable(r.now); !ok || got != at {
			t.Errorf("next available at %v, want %v", got, at)
		}
	}
	want(0)
	r.call(0, bad, 1)
	want(0)
	r.now = 500 * time.Millisecond
	r.call(1, bad, 1)
	want(time.Second)
	r.now = time.Second
	probe := r.acquire(0)
	want(1500 * time.Millisecond) // the other's
	r.now = 1500 * time.Millisecond
	r.acquire(1)
	want(8 * time.Second) // if the first probe is lost: 1s + 5s + 2s
	probe.Done(r.now, bad)
	want(3500 * time.Millisecond)
	r.now = time.Minute
	want(time.Minute)
}

func TestNextAvailableTimed(t *testing.T) {
	cfg := EnvoyOutlier()
	cfg.Guards = Guards{}
	r := newRig(t, cfg, 1)
	r.sweepTo(13 * time.Second)
	r.call(0, bad, 5)
	// Ejected until 43s; sweeps at 20, 30, 40, 50s.
	if got, ok := r.g.NextAvailable(r.now); !ok || got != 50*time.Second {
		t.Errorf("next available at %v, want 50s", got)
	}
	r.sweepTo(50*time.Second - 1)
	r.want(0, Open)
	r.sweepTo(50 * time.Second)
	r.want(0, Closed)
}

func TestUpdateOfTheRestKeepsCounts(t *testing.T) {
	cfg := LinkerdConsecutive()
	r := newRig(t, cfg, 2)
	r.call(0, bad, 6)
	cfg.Guards.PanicThreshold = 10
	cfg.Recovery.Min = 2 * time.Second
	r.g.Update(cfg)
	r.call(0, bad, 1)
	r.want(0, Open)
}

// A probe that is out when the back-off is shortened fails into the new one.
func TestUpdateWhileHalfOpen(t *testing.T) {
	cfg := guarded(Guards{})
	r := newRig(t, cfg, 1)
	r.call(0, bad, 1)
	r.now = time.Second
	p := r.acquire(0)
	cfg.Recovery.Min, cfg.Recovery.Max = time.Millisecond, 100*time.Millisecond
	r.g.Update(cfg)
	if at, _ := r.g.NextAvailable(r.now); at != 6100*time.Millisecond {
		t.Errorf("next available at %v, want the deadline 6s and 100ms", at)
	}
	p.Done(r.now, bad)
	if got := r.last().Until - r.now; got != 100*time.Millisecond {
		t.Errorf("back-off is %v, want 100ms", got)
	}
}

// The multiplier of timed ejections is no count of probes.
func TestUpdateToProbesCountsFromTheStart(t *testing.T) {
	cfg := guarded(Guards{})
	cfg.Recovery.Mode = Timed
	r := newRig(t, cfg, 1)
	r.call(0, bad, 1)
	cfg.Recovery.Mode = Probe
	r.g.Update(cfg)
	r.now = time.Second
	r.call(0, bad, 1)
	if got := r.last().Until - r.now; got != 2*time.Second {
		t.Errorf("back-off after the first probe is %v, want 2s", got)
	}
}

func TestUpdateOfTheSweepInterval(t *testing.T) {
	cfg := EnvoyOutlier()
	r := newRig(t, cfg, 1)
	r.now = 2 * time.Second
	cfg.SweepInterval = time.Second
	r.g.Update(cfg)
	if got := r.g.NextSweep(); got != 3*time.Second {
		t.Errorf("next sweep at %v, want 3s", got)
	}
}

func TestNextProbe(t *testing.T) {
	cfg := guarded(Guards{})
	r := newRig(t, cfg, 3)
	if at, ok := r.g.NextProbe(); ok {
		t.Errorf("a probe at %v of closed endpoints", at)
	}
	want := func(at time.Duration) {
		t.Helper()
		if got, ok := r.g.NextProbe(); !ok || got != at {
			t.Errorf("next probe at %v, want %v", got, at)
		}
	}
	r.call(0, bad, 1)
	r.now = 500 * time.Millisecond
	r.call(1, bad, 1)
	want(time.Second)
	r.now = time.Second
	r.acquire(0)
	want(1500 * time.Millisecond)
	r.now = 1500 * time.Millisecond
	r.call(1, good, 1)
	want(8 * time.Second) // if the probe that is out is lost
	cfg.Recovery.Mode = Timed
	r.g.Update(cfg)
	if at, ok := r.g.NextProbe(); ok {
		t.Errorf("a probe at %v with timed recovery", at)
	}
}
