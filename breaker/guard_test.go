package breaker

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// guarded trips on one failure.
func guarded(g Guards) Config {
	c := probing(Detectors{Consecutive: &Consecutive{Failures: 1}})
	c.Guards = g
	return c
}

// Each of n endpoints fails; how many the guards let go.
func TestGuards(t *testing.T) {
	share := func(p uint32) Guards { return Guards{MaxEjectionPercent: &p} }
	tests := []struct {
		guards  Guards
		n, want int
	}{
		{Guards{}, 3, 3}, // Linkerd: all can be shut
		{share(100), 3, 3},
		{share(0), 3, 0},
		// Envoy: 100 x (ejected + 1) / hosts <= max. Istio's default of 10%
		// ejects nothing below 10 hosts.
		{share(10), 9, 0},
		{share(10), 10, 1},
		{share(10), 19, 1},
		{share(10), 20, 2},
		{share(50), 3, 1},
		{share(50), 4, 2},
		{share(99), 5, 4},
		{Guards{MinReady: 1}, 3, 2},
		{Guards{MinReady: 3}, 3, 0},
		{Guards{MinReady: 9}, 3, 0},
		{Guards{MinReady: 2, MaxEjectionPercent: new(uint32(20))}, 10, 2},
	}
	for _, tt := range tests {
		name := fmt.Sprintf("%d endpoints, min ready %d", tt.n, tt.guards.MinReady)
		if m := tt.guards.MaxEjectionPercent; m != nil {
			name += fmt.Sprintf(", max %d%%", *m)
		}
		t.Run(name, func(t *testing.T) {
			r := newRig(t, guarded(tt.guards), tt.n)
			for i := range tt.n {
				r.call(i, bad, 1)
			}
			if got := len(r.open()); got != tt.want {
				t.Errorf("%d are open, want %d", got, tt.want)
			}
			refused := 0
			for _, ev := range r.events {
				if ev.Kind == Refused {
					refused++
				}
			}
			if refused != tt.n-tt.want {
				t.Errorf("%d refusals, want %d", refused, tt.n-tt.want)
			}
		})
	}
}

func TestRefusalSaysWhy(t *testing.T) {
	r := newRig(t, guarded(Guards{MaxEjectionPercent: new(uint32(10))}), 9)
	r.call(0, bad, 1)
	ev := r.last()
	if ev.Kind != Refused || ev.From != Closed || ev.To != Closed || ev.Ejected != 0 || ev.Endpoints != 9 {
		t.Errorf("event: %+v", ev)
	}
	if want := "1 failures in a row, limit 1; refused: 1 of 9 endpoints would be out (11.1%), limit 10%"; ev.Detail != want {
		t.Errorf("detail is %q", ev.Detail)
	}
	if got := r.g.States()[0].Refused; got != 1 {
		t.Errorf("%d refused", got)
	}
	r = newRig(t, guarded(Guards{MinReady: 2}), 2)
	r.call(0, bad, 1)
	if want := "refused: 1 endpoints would stay, at least 2 must"; !strings.HasSuffix(r.last().Detail, want) {
		t.Errorf("detail is %q", r.last().Detail)
	}
}

// After a refusal the detector starts over (Envoy resets its counter too).
func TestRefusedDetectorStartsOver(t *testing.T) {
	cfg := guarded(Guards{MinReady: 1})
	cfg.Detectors.Consecutive.Failures = 3
	r := newRig(t, cfg, 1)
	r.call(0, bad, 8)
	if len(r.events) != 2 {
		t.Errorf("%d refusals of 8 failures, want 2", len(r.events))
	}
	if got := r.g.States()[0].Failures; got != 8 {
		t.Errorf("%d failures in a row are shown, want 8", got)
	}
}

func TestLastEndpointSaysSo(t *testing.T) {
	r := newRig(t, guarded(Guards{}), 2)
	r.call(0, bad, 1)
	if strings.Contains(r.last().Detail, "no endpoint is left") {
		t.Error("said so too early")
	}
	r.call(1, bad, 1)
	if !strings.HasSuffix(r.last().Detail, "; no endpoint is left") {
		t.Errorf("detail is %q", r.last().Detail)
	}
}

func TestPanic(t *testing.T) {
	r := newRig(t, guarded(Guards{PanicThreshold: 50}), 4)
	r.call(0, bad, 1)
	r.call(1, bad, 1)
	if r.g.Panicking() {
		t.Error("panics at 50%, which is not below")
	}
	r.refuse(0)
	wake := r.g.Available()
	r.call(2, bad, 1)
	if !r.g.Panicking() {
		t.Fatal("no panic at 25%")
	}
	<-wake
	if ev := r.last(); ev.Kind != Panic || ev.Reason != PanicStarted || ev.Endpoint != "" ||
		ev.Detail != "1 of 4 endpoints are ready, threshold 50%: all are used" {
		t.Errorf("event: %+v", ev)
	}
	// Every endpoint is used; what was open stays so and learns nothing.
	for i := range 4 {
		if !r.e[i].Ready(r.now) {
			t.Errorf("%s is not ready", r.e[i].Name())
		}
	}
	before := len(r.events)
	r.call(0, good, 5)
	r.call(0, bad, 5)
	r.want(0, Open)
	if len(r.events) != before {
		t.Error("a call in panic had an effect")
	}
	r.call(3, bad, 1) // the last
	if at, ok := r.g.NextAvailable(r.now); !ok || at != r.now {
		t.Errorf("available at %v while all are used", at)
	}
	// Probes go on and end it.
	r.now = time.Second
	r.call(0, good, 1)
	r.call(1, good, 1)
	r.want(0, Closed)
	if r.g.Panicking() || r.last().Reason != PanicEnded {
		t.Errorf("panic did not end: %v", r.reasons())
	}
	if at, ok := r.g.NextAvailable(r.now); !ok || at != r.now {
		t.Error("not available")
	}
}

func TestPanicAtZeroNever(t *testing.T) {
	r := newRig(t, guarded(Guards{}), 1)
	r.call(0, bad, 1)
	if r.g.Panicking() {
		t.Error("panics")
	}
	r.refuse(0)
}

// What is removed from under a guard is made good.
func TestRemoveRestoresGuards(t *testing.T) {
	r := newRig(t, guarded(Guards{MaxEjectionPercent: new(uint32(20))}), 10)
	r.call(0, bad, 1)
	r.now += time.Millisecond
	r.call(1, bad, 1)
	r.g.Remove(r.e[9])
	if got := r.open(); got != "b" { // 2 of 9 are more than 20%; a was out longer
		t.Errorf("open: %q, want b", got)
	}
	if ev := r.last(); ev.Reason != GuardRestored ||
		ev.Detail != "taken back: 2 of 9 endpoints were out, more than the guards allow; out for 1ms" {
		t.Errorf("event: %+v", ev)
	}
}

// The same for detectors that work on rates: a refusal is not repeated with
// each request that follows.
func TestRefusedRatesStartOver(t *testing.T) {
	slow := Result{Status: 200, Latency: 2 * time.Second}
	for name, tt := range map[string]struct {
		d Detectors
		r Result
	}{
		"window": {Detectors{SuccessRateWindow: &SuccessRateWindow{Threshold: 0.8, Window: time.Minute, MinRequests: 5}}, bad},
		"ewma":   {Detectors{SuccessRateEWMA: &SuccessRateEWMA{Threshold: 0.8, Requests: 5}}, bad},
		"slow":   {Detectors{SlowCalls: &SlowCalls{Duration: time.Second, Share: 0.5, Window: time.Minute, MinRequests: 5}}, slow},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := probing(tt.d)
			cfg.Guards.MinReady = 1
			r := newRig(t, cfg, 1)
			r.call(0, tt.r, 14)
			if len(r.events) != 2 {
				t.Errorf("%d refusals of 14 requests, want 2: %v", len(r.events), r.reasons())
			}
		})
	}
}
