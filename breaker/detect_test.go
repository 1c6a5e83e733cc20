package breaker

import (
	"strings"
	"testing"
	"time"
)

// step is n results of one kind, after a time.
type step struct {
	after time.Duration
	r     Result
	n     int
}

func TestDetectors(t *testing.T) {
	consecutive := func(n uint32) Detectors { return Detectors{Consecutive: &Consecutive{Failures: n}} }
	window := Detectors{SuccessRateWindow: &SuccessRateWindow{Threshold: 0.8, Window: 10 * time.Second, MinRequests: 5}}
	slow := Detectors{SlowCalls: &SlowCalls{Duration: time.Second, Share: 0.5, Window: 10 * time.Second, MinRequests: 4}}
	ewma := Detectors{SuccessRateEWMA: &SuccessRateEWMA{Threshold: 0.8, Requests: 10}}
	took := func(d time.Duration, r Result) Result { r.Latency = d; return r }
	unified := LinkerdUnified()
	unified.Detectors.SuccessRateWindow = nil
	split := probing(Detectors{Consecutive: &Consecutive{Failures: 3}, ConsecutiveLocalOrigin: &Consecutive{Failures: 2}})
	split.Classification.SplitLocalOrigin = true
	gatewayOnly := probing(Detectors{ConsecutiveGateway: &Consecutive{Failures: 3}})

	tests := []struct {
		name  string
		cfg   Config
		steps []step
		want  string // Detail of the trip; "": none
	}{
		{"linkerd: the 7th", LinkerdConsecutive(), []step{{r: bad, n: 7}}, "7 failures in a row, limit 7"},
		{"linkerd: not the 6th", LinkerdConsecutive(), []step{{r: bad, n: 6}}, ""},
		{"a success resets", probing(consecutive(3)), []step{{r: bad, n: 2}, {r: good, n: 1}, {r: bad, n: 2}}, ""},
		{"a cancellation does not", probing(consecutive(3)), []step{{r: bad, n: 2}, {r: cancelled, n: 5}, {r: bad, n: 1}}, "3 failures in a row"},
		{"0 never trips", probing(consecutive(0)), []step{{r: bad, n: 1000}}, ""},
		{"time-outs count", probing(consecutive(2)), []step{{r: timedOut, n: 1}, {r: refused, n: 1}}, "2 failures"},
		{"unified: 429 is not counted", unified, []step{{r: limited, n: 50}}, ""},
		{"unified: 429 does not reset", unified, []step{{r: bad, n: 6}, {r: limited, n: 3}, {r: bad, n: 1}}, "7 failures"},

		{"gateway", gatewayOnly, []step{{r: gateway, n: 1}, {r: timedOut, n: 1}, {r: refused, n: 1}}, "3 gateway errors in a row, limit 3"},
		{"gateway: 500 resets", gatewayOnly, []step{{r: gateway, n: 2}, {r: bad, n: 1}, {r: gateway, n: 2}}, ""},
		{"gateway: a success resets", gatewayOnly, []step{{r: gateway, n: 2}, {r: good, n: 1}, {r: gateway, n: 2}}, ""},

		{"split: local", split, []step{{r: refused, n: 2}}, "2 calls without a response in a row, limit 2"},
		{"split: an answer resets local", split, []step{{r: refused, n: 1}, {r: bad, n: 1}, {r: timedOut, n: 1}}, ""},
		{"split: local is not external", split, []step{{r: bad, n: 2}, {r: refused, n: 1}}, ""},
		{"split: local does not reset external", split, []step{{r: bad, n: 2}, {r: refused, n: 1}, {r: bad, n: 1}}, "3 failures in a row"},

		{"window: 3 of 5", probing(window), []step{{r: good, n: 3}, {r: bad, n: 2}}, "success rate 60.0% (3 of 5 requests in 10s), below 80.0%"},
		{"window: 4 of 5 is at the threshold", probing(window), []step{{r: good, n: 4}, {r: bad, n: 1}}, ""},
		{"window: too few", probing(window), []step{{r: bad, n: 4}}, ""},
		{"window: slides", probing(window), []step{{r: bad, n: 4}, {after: 10 * time.Second, r: bad, n: 4}}, ""},
		{"window: nine tenths stay", probing(window), []step{{r: bad, n: 4}, {after: 9900 * time.Millisecond, r: bad, n: 1}}, "(0 of 5 requests in 10s)"},
		{"window: rate only hurts", func() Config { c := LinkerdUnified(); return c }(), []step{{r: good, n: 3}, {r: limited, n: 2}}, "(3 of 5 requests in 10s)"},

		// 0.9 after 9 good ones and a bad one? With weight 1-exp(-1/10) a bad
		// one costs 9.5%, a second takes the average to 0.819, a third to 0.741.
		{"ewma: two of ten", probing(ewma), []step{{r: good, n: 8}, {r: bad, n: 2}}, ""},
		{"ewma: three of eleven", probing(ewma), []step{{r: good, n: 8}, {r: bad, n: 3}}, "success rate 74.1% on average over 10 requests, below 80.0%"},
		{"ewma: not before the tenth", probing(ewma), []step{{r: bad, n: 9}}, ""},
		{"ewma: the tenth", probing(ewma), []step{{r: bad, n: 10}}, "success rate 0.0%"},
		{"ewma: a success does not trip", probing(ewma), []step{{r: bad, n: 9}, {r: good, n: 1}}, ""},

		{"slow: half", probing(slow), []step{{r: took(time.Millisecond, good), n: 2}, {r: took(2*time.Second, good), n: 2}}, "2 of 4 calls in 10s (50.0%) slower than 1s, limit 50.0%"},
		{"slow: exactly the duration is not", probing(slow), []step{{r: took(time.Second, good), n: 10}}, ""},
		{"slow: a quick failure is not", probing(slow), []step{{r: took(time.Millisecond, bad), n: 10}}, ""},
		{"slow: given up late counts", probing(slow), []step{{r: took(3*time.Second, cancelled), n: 4}}, "4 of 4 calls"},
		{"slow: given up early says nothing", probing(slow), []step{{r: took(time.Millisecond, cancelled), n: 9}, {r: took(2*time.Second, good), n: 3}}, ""},
		{"slow: what a limit of ours refused was never sent", probing(slow), []step{{r: took(3*time.Second, Result{Cause: Overflow}), n: 9}}, ""},
		{"slow: the window slides", probing(slow), []step{{r: took(2*time.Second, good), n: 3}, {after: 10 * time.Second, r: took(2*time.Second, good), n: 3}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.cfg, 2)
			var tripped string
			for i, s := range tt.steps {
				r.now += s.after
				for n := range s.n {
					if tripped = detail(r); tripped != "" {
						t.Fatalf("tripped before call %d of step %d: %s", n, i, tripped)
					}
					r.call(0, s.r, 1)
				}
			}
			if tripped = detail(r); (tt.want == "") != (tripped == "") || !strings.Contains(tripped, tt.want) {
				t.Errorf("tripped with %q, want %q", tripped, tt.want)
			}
		})
	}
}

// detail is that of the first event.
func detail(r *rig) string {
	if len(r.events) == 0 {
		return ""
	}
	return r.events[0].Detail
}

// Envoy's enforcing_*: the share of detections that open.
func TestEnforcing(t *testing.T) {
	cfg := probing(Detectors{
		Consecutive:        &Consecutive{Failures: 5},
		ConsecutiveGateway: &Consecutive{Failures: 3, Enforcing: new(uint32(30))},
	})
	r := newRig(t, cfg, 2)
	r.random = 0.30
	r.call(0, gateway, 3)
	r.want(0, Closed)
	if ev := r.last(); ev.Kind != NotEnforced || ev.Reason != ConsecutiveGatewayErrors ||
		ev.Detail != "3 gateway errors in a row, limit 3; not enforced (30%)" {
		t.Errorf("event is %+v", ev)
	}
	r.call(0, gateway, 1)
	r.want(0, Closed) // starts over
	r.call(0, gateway, 1)
	r.want(0, Open) // by the other
	if got := r.last().Reason; got != ConsecutiveFailures {
		t.Errorf("reason is %v", got)
	}
	r.random = 0.29
	r.call(1, gateway, 3)
	r.want(1, Open)
}

// Two detectors that trip on one result are both told, and one opens.
func TestDetectionsTogether(t *testing.T) {
	r := newRig(t, EnvoyOutlier(), 10)
	r.call(0, gateway, 5)
	r.want(0, Open)
	if got := strings.Join(r.reasons(), " "); got != "a:transition:consecutive_failures" {
		t.Errorf("events: %s", got)
	}
	cfg := EnvoyOutlier()
	cfg.Detectors.Consecutive.Enforcing = new(uint32(0))
	cfg.Detectors.ConsecutiveGateway.Enforcing = nil
	r = newRig(t, cfg, 10)
	r.call(0, gateway, 5)
	r.want(0, Open)
	if got := strings.Join(r.reasons(), " "); got != "a:not_enforced:consecutive_failures a:transition:consecutive_gateway_errors" {
		t.Errorf("events: %s", got)
	}
}

// The latency of a result without one is from Acquire to Done.
func TestLatencyDefaultsToThePermitsAge(t *testing.T) {
	r := newRig(t, probing(Detectors{
		SlowCalls: &SlowCalls{Duration: time.Second, Share: 1, Window: 10 * time.Second, MinRequests: 1},
	}), 1)
	p := r.acquire(0)
	r.now = 1001 * time.Millisecond
	p.Done(r.now, good)
	r.want(0, Open)
	if got := r.last().Last[0].Latency; got != r.now {
		t.Errorf("recorded latency is %v", got)
	}
}

func TestHungCalls(t *testing.T) {
	hung := func() *rig {
		return newRig(t, probing(Detectors{HungCalls: &HungCalls{Age: 10 * time.Second}}), 2)
	}
	t.Run("trips on the oldest", func(t *testing.T) {
		r := hung()
		first := r.acquire(0)
		r.sweepTo(3 * time.Second)
		r.acquire(0).Done(r.now, good)
		second := r.acquire(0)
		r.sweepTo(9 * time.Second)
		first.Done(r.now, good)
		r.sweepTo(13*time.Second - 1)
		r.want(0, Closed)
		r.sweepTo(13 * time.Second)
		r.want(0, Open)
		r.want(1, Closed)
		if got := r.last().Detail; got != "oldest call in flight for 10s, limit 10s" {
			t.Errorf("detail is %q", got)
		}
		second.Done(r.now, bad) // late: counts nowhere
		r.now += time.Second
		r.call(0, good, 1)
		r.want(0, Closed)
	})
	t.Run("calls of an earlier period are forgotten", func(t *testing.T) {
		r := hung()
		stuck := r.acquire(0)
		r.sweepTo(10 * time.Second)
		r.sweepTo(11 * time.Second)
		r.call(0, good, 1)
		fresh := r.acquire(0) // may get the slot of the stuck one
		stuck.Done(r.now, good)
		r.sweepTo(21*time.Second - 1)
		r.want(0, Closed)
		r.sweepTo(21 * time.Second)
		r.want(0, Open)
		fresh.Done(r.now, good)
	})
	t.Run("idle", func(t *testing.T) {
		r := hung()
		r.sweepTo(time.Hour)
		if len(r.events) != 0 {
			t.Errorf("events: %v", r.reasons())
		}
	})
	t.Run("refused once aloud, then tried again", func(t *testing.T) {
		cfg := probing(Detectors{HungCalls: &HungCalls{Age: 10 * time.Second}})
		cfg.Guards.MinReady = 1
		r := newRig(t, cfg, 1)
		r.acquire(0)
		r.sweepTo(60 * time.Second)
		if got := strings.Join(r.reasons(), " "); got != "a:refused:hung_calls" {
			t.Errorf("events: %s", got)
		}
		r.g.Add("b")
		r.sweepTo(80 * time.Second)
		r.want(0, Open)
	})
	t.Run("slots are used again", func(t *testing.T) {
		var f inflight
		f.reset()
		a, b := f.enter(1), f.enter(2)
		f.leave(a, f.gen)
		if c := f.enter(3); c != a {
			t.Errorf("slot %d, want %d again", c, a)
		}
		if oldest, _ := f.oldest(); oldest != 2 {
			t.Errorf("oldest is %v, want 2", oldest)
		}
		f.leave(b, f.gen-1) // of an earlier generation
		if oldest, _ := f.oldest(); oldest != 2 {
			t.Errorf("oldest is %v, want 2", oldest)
		}
	})
}

func TestWindow(t *testing.T) {
	// Against a plain list of what was added.
	type hit struct {
		step int64
		hit  bool
	}
	const span = 100 * time.Millisecond
	var w window
	var all []hit
	now := time.Duration(0)
	for i := range 5000 {
		now += time.Duration(i*i%37) * time.Millisecond
		if i%500 == 0 {
			now += span
		}
		h := i%3 == 0
		w.add(now, span, h)
		all = append(all, hit{int64(now / (span / windowSteps)), h})
		var hits, n uint32
		for _, a := range all {
			if a.step > all[len(all)-1].step-windowSteps {
				n++
				if a.hit {
					hits++
				}
			}
		}
		if w.all != n || w.hits != hits {
			t.Fatalf("after %d: %d of %d, want %d of %d", i, w.hits, w.all, hits, n)
		}
	}
}

// A call may have its own view of what a failure is, such as that of its route.
func TestResultSaysWhatFails(t *testing.T) {
	notFound := &Classification{Failures: []StatusRange{{First: 404, Last: 404}}}
	none := &Classification{Failures: []StatusRange{{First: -1, Last: -1}}}
	cluster := &Classification{Failures: []StatusRange{{First: 400, Last: 400}}}
	for _, tt := range []struct {
		c    *Classification
		r    Result
		want Class
	}{
		{&Classification{}, Result{Status: 404, Classification: notFound}, Failure},
		{&Classification{}, Result{Status: 500, Classification: notFound}, Success},
		{&Classification{}, Result{Status: 500, Classification: none}, Success},
		{cluster, Result{Status: 400, Classification: notFound}, Success},
		{cluster, Result{Status: 400}, Failure},
		{&Classification{}, Result{Cause: Reset, Classification: none}, Failure},
	} {
		if got := tt.c.Classify(tt.r); got != tt.want {
			t.Errorf("%+v of %+v is %v, want %v", tt.r, tt.c, got, tt.want)
		}
	}
}
