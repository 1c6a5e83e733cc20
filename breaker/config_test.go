package breaker

import (
	"math"
	"strings"
	"testing"
	"time"
)

// The defaults as Linkerd's and Envoy's documents give them, each spelled out.
func TestPresets(t *testing.T) {
	check := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	l := LinkerdConsecutive()
	check("max-failures", l.Detectors.Consecutive.Failures, uint32(7))
	check("recovery", l.Recovery, Recovery{
		Mode: Probe, Backoff: Exponential, Min: time.Second, Max: time.Minute, Jitter: 0.5, ProbeTimeout: 10 * time.Second,
	})
	check("guards", l.Guards, Guards{})

	u := LinkerdUnified()
	check("unified max-failures", u.Detectors.Consecutive.Failures, uint32(7))
	check("unified window", *u.Detectors.SuccessRateWindow, SuccessRateWindow{Threshold: 0.8, Window: 10 * time.Second, MinRequests: 5})
	check("unified 429", u.Classification.Classify(limited), RateOnly)
	check("unified RESOURCE_EXHAUSTED", u.Classification.Classify(Result{Status: 200, GRPCStatus: 8}), RateOnly)

	o := Linkerd1()
	check("1.x failures", o.Detectors.Consecutive.Failures, uint32(5))
	check("1.x back-off", o.Recovery.Backoff, Decorrelated)
	check("1.x least", o.Recovery.Min, 5*time.Second)
	check("1.x most", o.Recovery.Max, 300*time.Second)

	e := EnvoyOutlier()
	check("consecutive_5xx", *e.Detectors.Consecutive, Consecutive{Failures: 5})
	check("consecutive_gateway_failure", e.Detectors.ConsecutiveGateway.Failures, uint32(5))
	check("enforcing_consecutive_gateway_failure", *e.Detectors.ConsecutiveGateway.Enforcing, uint32(0))
	check("success_rate", *e.Detectors.SuccessRateOutlier, SuccessRateOutlier{Factor: 1.9, MinHosts: 5, RequestVolume: 100})
	check("failure_percentage", e.Detectors.FailurePercentage.Threshold, 85.0)
	check("failure_percentage hosts", e.Detectors.FailurePercentage.MinHosts, uint32(5))
	check("failure_percentage volume", e.Detectors.FailurePercentage.RequestVolume, uint32(50))
	check("enforcing_failure_percentage", *e.Detectors.FailurePercentage.Enforcing, uint32(0))
	check("interval", e.SweepInterval, 10*time.Second)
	check("ejection", e.Recovery, Recovery{Mode: Timed, Backoff: Linear, Min: 30 * time.Second, Max: 300 * time.Second})
	check("max_ejection_percent", *e.Guards.MaxEjectionPercent, uint32(10))
	check("healthy_panic_threshold", e.Guards.PanicThreshold, 50.0)

	for _, c := range []Config{l, u, o, e, {}} {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name string
		edit func(*Config)
		want string // in the error; "": valid
	}{
		{"as it is", func(*Config) {}, ""},
		{"min 0", func(c *Config) { c.Recovery.Min = 0 }, ""},
		{"min = max", func(c *Config) { c.Recovery.Min = c.Recovery.Max }, ""},
		{"min > max", func(c *Config) { c.Recovery.Min = 2 * time.Minute }, "Recovery.Min: 2m0s is not allowed: 0 to Recovery.Max (1m0s)"},
		{"max 0", func(c *Config) { c.Recovery.Max = 0 }, "Recovery.Max: 0s is not allowed: more than 0"},
		{"min negative", func(c *Config) { c.Recovery.Min = -1 }, "Recovery.Min"},
		{"jitter 100", func(c *Config) { c.Recovery.Jitter = 100 }, ""},
		{"jitter 101", func(c *Config) { c.Recovery.Jitter = 101 }, "Recovery.Jitter: 101 is not allowed: 0 to 100"},
		{"jitter NaN", func(c *Config) { c.Recovery.Jitter = math.NaN() }, "Recovery.Jitter"},
		{"probe timeout", func(c *Config) { c.Recovery.ProbeTimeout = -1 }, "Recovery.ProbeTimeout"},
		{"mode", func(c *Config) { c.Recovery.Mode = 9 }, "Recovery.Mode: 9"},
		{"back-off", func(c *Config) { c.Recovery.Backoff = 9 }, "Recovery.Backoff: 9"},
		{"threshold", func(c *Config) { c.Detectors.SuccessRateWindow.Threshold = 1.1 }, "Detectors.SuccessRateWindow.Threshold: 1.1 is not allowed: 0 to 1"},
		{"threshold 0 disables", func(c *Config) { c.Detectors.SuccessRateWindow.Threshold = 0 }, ""},
		{"window", func(c *Config) { c.Detectors.SuccessRateWindow.Window = 9 * time.Millisecond }, "Detectors.SuccessRateWindow.Window: 9ms is not allowed: 10ms or more"},
		{"requests", func(c *Config) { c.Detectors.SuccessRateWindow.MinRequests = 1_000_001 }, "Detectors.SuccessRateWindow.MinRequests: 1000001 is not allowed: 0 to 1000000"},
		{"enforcing", func(c *Config) { c.Detectors.Consecutive.Enforcing = new(uint32(101)) }, "Detectors.Consecutive.Enforcing: 101"},
		{"gateway enforcing", func(c *Config) {
			c.Detectors.ConsecutiveGateway = &Consecutive{Enforcing: new(uint32(101))}
		}, "Detectors.ConsecutiveGateway.Enforcing: 101"},
		{"local origin without split", func(c *Config) {
			c.Detectors.ConsecutiveLocalOrigin = &Consecutive{Failures: 5}
		}, "only with Classification.SplitLocalOrigin"},
		{"ewma", func(c *Config) { c.Detectors.SuccessRateEWMA = &SuccessRateEWMA{} }, "Detectors.SuccessRateEWMA.Requests: 0"},
		{"outlier", func(c *Config) { c.Detectors.SuccessRateOutlier = &SuccessRateOutlier{} }, "Detectors.SuccessRateOutlier.Factor: 0"},
		{"failure percentage", func(c *Config) { c.Detectors.FailurePercentage = &FailurePercentage{Threshold: 101} }, "Detectors.FailurePercentage.Threshold: 101"},
		{"slow calls", func(c *Config) {
			c.Detectors.SlowCalls = &SlowCalls{Share: 2, Window: time.Second}
		}, "Detectors.SlowCalls.Duration: 0s is not allowed: more than 0\nDetectors.SlowCalls.Share: 2"},
		{"hung calls", func(c *Config) { c.Detectors.HungCalls = &HungCalls{} }, "Detectors.HungCalls.Age: 0s"},
		{"ejection percent", func(c *Config) { c.Guards.MaxEjectionPercent = new(uint32(101)) }, "Guards.MaxEjectionPercent: 101 is not allowed: 0 to 100"},
		{"min ready", func(c *Config) { c.Guards.MinReady = -1 }, "Guards.MinReady: -1"},
		{"panic", func(c *Config) { c.Guards.PanicThreshold = 101 }, "Guards.PanicThreshold: 101"},
		{"slow start", func(c *Config) { c.SlowStart = -1 }, "SlowStart: -1ns"},
		{"sweep", func(c *Config) { c.SweepInterval = 1 }, "SweepInterval: 1ns"},
		{"statuses", func(c *Config) { c.Classification.Failures = []StatusRange{{500, 599}, {600, 500}} }, "Classification.Failures[1]: 600-500"},
		{"codes", func(c *Config) { c.Classification.GRPCRateOnly = []uint32{17} }, "Classification.GRPCRateOnly[0]: 17"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := LinkerdUnified()
			tt.edit(&c)
			err := c.Validate()
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error is %v, want %q", err, tt.want)
			}
		})
	}
}

// The zero value of a count means "never", not "at once".
func TestActive(t *testing.T) {
	for _, d := range []Detectors{
		{},
		{Consecutive: &Consecutive{}},
		{SuccessRateWindow: &SuccessRateWindow{Window: time.Second}},
		{SuccessRateEWMA: &SuccessRateEWMA{Requests: 5}},
	} {
		if d.active() {
			t.Errorf("%+v is active", d)
		}
	}
}
