package breaker

import (
	"fmt"
	"math"
	"testing"
)

func TestMeanSigma(t *testing.T) {
	tests := []struct {
		values      []float64
		mean, sigma float64
	}{
		{nil, 0, 0},
		{[]float64{70}, 70, 0},
		// Envoy's example: the population's deviation, not the sample's (22.4).
		{[]float64{50, 100, 100, 100, 100}, 90, 20},
		{[]float64{0, 100}, 50, 50},
	}
	for _, tt := range tests {
		mean, sigma := meanSigma(tt.values)
		if math.Abs(mean-tt.mean) > 1e-9 || math.Abs(sigma-tt.sigma) > 1e-9 {
			t.Errorf("%v: mean %v, sigma %v, want %v, %v", tt.values, mean, sigma, tt.mean, tt.sigma)
		}
	}
}

// load is one interval of an endpoint: requests and how many of them fail.
type load struct{ requests, failures int }

// run makes the load of one interval, so that no failures follow one another,
// and sweeps at its end.
func (r *rig) run(loads []load) {
	r.t.Helper()
	for i, l := range loads {
		if r.e[i].State() != Closed {
			continue
		}
		failed := 0
		for n := range l.requests {
			res := good
			if (n+1)*l.failures/max(l.requests, 1) > failed {
				failed++
				res = bad
			}
			r.call(i, res, 1)
		}
	}
	r.now = r.g.NextSweep()
	r.g.Sweep(r.now)
}

func TestSuccessRateOutlier(t *testing.T) {
	cfg := EnvoyOutlier()
	cfg.Detectors = Detectors{SuccessRateOutlier: cfg.Detectors.SuccessRateOutlier}
	cfg.Guards = Guards{}
	tests := []struct {
		name  string
		loads []load
		want  string
	}{
		{"envoy's example: threshold 52", []load{{100, 50}, {100, 0}, {100, 0}, {100, 0}, {100, 0}}, "a"},
		{"all alike", []load{{100, 50}, {100, 50}, {100, 50}, {100, 50}, {100, 50}}, ""},
		{"four hosts are too few", []load{{100, 50}, {100, 0}, {100, 0}, {100, 0}}, ""},
		{"99 requests are too few", []load{{99, 99}, {100, 0}, {100, 0}, {100, 0}, {100, 0}, {100, 0}}, ""},
		{"idle hosts do not count", []load{{100, 50}, {100, 0}, {100, 0}, {100, 0}, {0, 0}}, ""},
		{"the threshold itself is not below", []load{{100, 0}, {100, 0}, {100, 0}, {100, 0}, {100, 0}}, ""},
		{"two worse than the rest", []load{
			{100, 50}, {100, 50}, {100, 0}, {100, 0}, {100, 0}, {100, 0}, {100, 0}, {100, 0}, {100, 0}, {100, 0},
		}, "ab"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, cfg, len(tt.loads))
			r.run(tt.loads)
			if got := r.open(); got != tt.want {
				t.Errorf("open: %q, want %q; %v", got, tt.want, r.events)
			}
		})
	}
	t.Run("in words", func(t *testing.T) {
		r := newRig(t, cfg, 5)
		r.run(tests[0].loads)
		want := "success rate 50.0% of 100 requests, below 52.0% = mean 90.0% - 1.9 x sigma 20.0% over 5 endpoints"
		if got := r.last().Detail; got != want {
			t.Errorf("detail is %q, want %q", got, want)
		}
	})
	t.Run("open ones are left out, and each interval stands alone", func(t *testing.T) {
		r := newRig(t, cfg, 5)
		r.run(tests[0].loads)
		r.run([]load{{}, {100, 50}, {100, 0}, {100, 0}, {100, 0}}) // four left: too few
		if got := r.open(); got != "a" {
			t.Errorf("open: %q", got)
		}
	})
	t.Run("the worst goes first when the guard has room for one", func(t *testing.T) {
		guarded := cfg
		guarded.Guards.MaxEjectionPercent = new(uint32(10))
		r := newRig(t, guarded, 10)
		r.run([]load{{100, 50}, {100, 51}, {100, 0}, {100, 0}, {100, 0}, {100, 0}, {100, 0}, {100, 0}, {100, 0}, {100, 0}})
		if got := r.open(); got != "b" {
			t.Errorf("open: %q, want b; %v", got, r.reasons())
		}
		if got := fmt.Sprint(r.reasons()); got != "[b:transition:success_rate_outlier a:refused:success_rate_outlier]" {
			t.Errorf("events: %s", got)
		}
	})
}

func TestFailurePercentage(t *testing.T) {
	cfg := EnvoyOutlier()
	f := *cfg.Detectors.FailurePercentage
	f.Enforcing = nil
	cfg.Detectors = Detectors{FailurePercentage: &f}
	cfg.Guards = Guards{}
	tests := []struct {
		name  string
		loads []load
		want  string
	}{
		{"at 85%", []load{{100, 85}, {100, 84}, {50, 0}, {50, 0}, {50, 0}}, "a"},
		{"everyone", []load{{50, 50}, {50, 50}, {50, 50}, {50, 50}, {50, 50}}, "abcde"},
		{"49 requests are too few", []load{{49, 49}, {50, 0}, {50, 0}, {50, 0}, {50, 0}, {50, 0}}, ""},
		{"four hosts are too few", []load{{50, 50}, {50, 0}, {50, 0}, {50, 0}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, cfg, len(tt.loads))
			r.run(tt.loads)
			if got := r.open(); got != tt.want {
				t.Errorf("open: %q, want %q", got, tt.want)
			}
			if tt.want == "" {
				r.run(tt.loads) // two intervals are no longer one
				if got := r.open(); got != "" {
					t.Errorf("open after the second interval: %q", got)
				}
			}
			if tt.want == "a" {
				if got := r.last().Detail; got != "85 of 100 requests failed (85.0%), limit 85%" {
					t.Errorf("detail is %q", got)
				}
			}
		})
	}
}

// With split classification the comparisons see responses only.
func TestStatisticsSplit(t *testing.T) {
	cfg := EnvoyOutlier()
	cfg.Detectors = Detectors{FailurePercentage: &FailurePercentage{Threshold: 50, RequestVolume: 1}}
	cfg.Classification.SplitLocalOrigin = true
	cfg.Guards = Guards{}
	r := newRig(t, cfg, 2)
	r.call(0, refused, 10)
	r.call(0, good, 1)
	r.call(1, bad, 1)
	r.run([]load{{}, {}})
	if got := r.open(); got != "b" {
		t.Errorf("open: %q, want b", got)
	}
}
