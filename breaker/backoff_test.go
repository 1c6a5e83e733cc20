package breaker

import (
	"math"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	const s = time.Second
	linkerd := LinkerdConsecutive().Recovery
	envoy := EnvoyOutlier().Recovery
	jitteredEnvoy := envoy
	jitteredEnvoy.Jitter = 0.1
	tests := []struct {
		name   string
		r      Recovery
		random float64
		want   []time.Duration
	}{
		{"linkerd without luck", linkerd, 0, []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s}},
		// b + U x 0.5 x b, the sum capped at 60s: jitter only adds.
		{
			"linkerd, U = 0.5", linkerd, 0.5,
			[]time.Duration{1250 * time.Millisecond, 2500 * time.Millisecond, 5 * s, 10 * s, 20 * s, 40 * s, 60 * s},
		},
		{"linkerd, jitter 100", Recovery{Min: s, Max: 60 * s, Jitter: 100}, 0.5, []time.Duration{51 * s, 60 * s}},
		{"linkerd, min = max", Recovery{Min: 5 * s, Max: 5 * s, Jitter: 0.5}, 0.9, []time.Duration{5 * s, 5 * s}},
		{"linkerd, min 0", Recovery{Max: 5 * s, Jitter: 0.5}, 0.9, []time.Duration{0, 0, 0}},
		{"envoy: base x count", envoy, 0.9, []time.Duration{
			30 * s, 60 * s, 90 * s, 120 * s, 150 * s, 180 * s, 210 * s, 240 * s, 270 * s, 300 * s, 300 * s,
		}},
		// Envoy: min(base x count, max) + jitter.
		{"envoy, jitter over the cap", jitteredEnvoy, 0.5, []time.Duration{31500 * time.Millisecond}},
		{"constant", Recovery{Backoff: Constant, Min: 3 * s, Max: 10 * s}, 0.9, []time.Duration{3 * s, 3 * s, 3 * s}},
		{"constant, jitter", Recovery{Backoff: Constant, Min: 3 * s, Max: 4 * s, Jitter: 1}, 0.1, []time.Duration{3300 * time.Millisecond}},
		// Decorrelated: from Min to 3 x the last one.
		{"finagle, lowest", Linkerd1().Recovery, 0, []time.Duration{5 * s, 5 * s, 5 * s}},
		{"finagle, middle", Linkerd1().Recovery, 0.5, []time.Duration{5 * s, 10 * s, 17500 * time.Millisecond}},
		{"finagle, capped", Linkerd1().Recovery, 1, []time.Duration{5 * s, 15 * s, 45 * s, 135 * s, 300 * s, 300 * s}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			previous := time.Duration(0)
			for i, want := range tt.want {
				got := tt.r.backoff(uint32(i), previous, func() float64 { return tt.random })
				if got != want {
					t.Errorf("back-off %d is %v, want %v", i, got, want)
				}
				previous = got
			}
		})
	}
}

func TestBackoffNeverOverflows(t *testing.T) {
	none := Recovery{Max: time.Second}
	if got := none.backoff(math.MaxUint32, 0, func() float64 { return 0 }); got != 0 {
		t.Errorf("back-off without a least is %v", got)
	}
	// What came before may be less than Min after an Update.
	finagle := Linkerd1().Recovery
	if got := finagle.backoff(1, time.Second, func() float64 { return 1 }); got != 15*time.Second {
		t.Errorf("back-off after 1s is %v, want 3 x 5s", got)
	}
	for kind := Exponential; kind <= Decorrelated; kind++ {
		r := Recovery{Backoff: kind, Min: time.Hour, Max: math.MaxInt64, Jitter: 100}
		for _, i := range []uint32{0, 1, 40, 63, 64, 2000, math.MaxUint32} {
			if got := r.backoff(i, math.MaxInt64, func() float64 { return 0.999 }); got < time.Hour {
				t.Errorf("kind %d, back-off %d is %v", kind, i, got)
			}
		}
	}
}
