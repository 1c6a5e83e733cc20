package breaker

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Everything at once, under the race detector. What must hold at every moment
// whoever looks: the guard's share, one probe at a time, events in order that
// explain the state.
func TestConcurrently(t *testing.T) {
	cfg := full()
	cfg.Detectors.Consecutive.Failures = 3
	cfg.Detectors.SuccessRateWindow.MinRequests = 20
	cfg.Recovery = Recovery{Mode: Probe, Min: time.Millisecond, Max: 8 * time.Millisecond, Jitter: 0.5, ProbeTimeout: time.Hour}
	cfg.Guards = Guards{MaxEjectionPercent: new(uint32(50)), PanicThreshold: 60}
	var clock atomic.Int64
	now := func() time.Duration { return time.Duration(clock.Load()) }

	state := map[string]State{} // by the events
	var seq uint64
	g := NewGroup(cfg, Options{Clock: now, OnEvent: func(ev Event) {
		if seq++; ev.Seq != seq {
			t.Errorf("event %d came as number %d", ev.Seq, seq)
		}
		if ev.Kind != Transition {
			return
		}
		if state[ev.Endpoint] != ev.From {
			t.Errorf("%s: from %v, was %v", ev.Endpoint, ev.From, state[ev.Endpoint])
		}
		state[ev.Endpoint] = ev.To
		if 2*ev.Ejected > ev.Endpoints {
			t.Errorf("%d of %d are out", ev.Ejected, ev.Endpoints)
		}
	}})
	const endpoints, callers, calls = 6, 4, 3000
	var e [endpoints]*Endpoint
	var probes [endpoints]atomic.Int32
	for i := range e {
		e[i] = g.Add(string(rune('a' + i)))
	}
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 3))
			for range calls {
				i := r.IntN(endpoints)
				at := time.Duration(clock.Add(int64(20 * time.Microsecond)))
				e[i].Ready(at)
				e[i].Weight(at)
				p, ok := e[i].Acquire(at)
				if !ok {
					continue
				}
				if p.Probe() && probes[i].Add(1) != 1 {
					t.Error("two probes at a time")
				}
				res := outcomes[r.IntN(len(outcomes))]
				if p.Probe() {
					probes[i].Add(-1)
				}
				p.Done(now(), res)
			}
		})
	}
	wg.Go(func() {
		for range 200 {
			g.Sweep(now())
			g.NextSweep()
			g.NextAvailable(now())
			g.Available()
			g.States()
			g.Panicking()
		}
	})
	wg.Go(func() {
		other := cfg
		other.Detectors.HungCalls = nil
		for i := range 100 {
			g.Remove(g.Add("extra"))
			if i%2 == 0 {
				g.Update(other)
			} else {
				g.Update(cfg)
			}
		}
	})
	wg.Wait()
	for _, s := range g.States() {
		if s.State != state[s.Name] {
			t.Errorf("%s is %v, by its events %v", s.Name, s.State, state[s.Name])
		}
	}
	if seq < 20 {
		t.Errorf("only %d events: nothing was tried", seq)
	}
}

// Many callers see a probe fall due at the same moment: one gets it.
func TestOneOfManyGetsTheProbe(t *testing.T) {
	for range 200 {
		r := newRig(t, guarded(Guards{}), 1)
		r.call(0, bad, 1)
		var got atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if p, ok := r.e[0].Acquire(time.Second); ok && p.Probe() {
					got.Add(1)
				}
			})
		}
		wg.Wait()
		if got.Load() != 1 {
			t.Fatalf("%d got the probe", got.Load())
		}
	}
}

// A caller that finds every endpoint open waits for what comes first: news from
// the group, the next probe's time, or its own deadline. Nobody polls, and the
// group has no goroutine.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		clock := func() time.Duration { return time.Since(begin) }
		g := NewGroup(guarded(Guards{}), Options{Clock: clock})
		e := g.Add("a")
		looks := 0
		wait := func(patience time.Duration) (Permit, bool) {
			deadline := clock() + patience
			for {
				wake := g.Available()
				if p, ok := e.Acquire(clock()); ok {
					return p, true
				}
				looks++
				next, _ := g.NextAvailable(clock())
				next = min(next, deadline)
				if next <= clock() {
					return Permit{}, false
				}
				timer := time.NewTimer(next - clock())
				select {
				case <-wake:
				case <-timer.C:
				}
				timer.Stop()
			}
		}
		p, _ := e.Acquire(clock())
		p.Done(clock(), bad)

		p, ok := wait(3 * time.Second)
		if !ok || !p.Probe() || clock() != time.Second || looks != 1 {
			t.Fatalf("probe %v at %v after %d looks, want at 1s after one", ok, clock(), looks)
		}
		// Three more wait while the probe is out; its success frees all.
		var wg sync.WaitGroup
		var through atomic.Int32
		for range 3 {
			wg.Go(func() {
				if _, ok := wait(3 * time.Second); ok {
					through.Add(1)
				}
			})
		}
		synctest.Wait()
		<-time.After(200 * time.Millisecond)
		p.Done(clock(), good)
		wg.Wait()
		if through.Load() != 3 || clock() != 1200*time.Millisecond {
			t.Errorf("%d went through at %v, want 3 at 1.2s", through.Load(), clock())
		}
		// Patience ends before the next probe.
		p, _ = e.Acquire(clock())
		p.Done(clock(), bad)
		from := clock()
		if _, ok := wait(300 * time.Millisecond); ok || clock()-from != 300*time.Millisecond {
			t.Errorf("gave up after %v, want 300ms", clock()-from)
		}
	})
}
