package breaker

import (
	"testing"
	"time"
)

// full is a policy with every per-request detector on.
func full() Config {
	c := LinkerdUnified()
	c.Detectors.ConsecutiveGateway = &Consecutive{Failures: 5}
	c.Detectors.SuccessRateEWMA = &SuccessRateEWMA{Threshold: 0.8, Requests: 100}
	c.Detectors.SlowCalls = &SlowCalls{Duration: time.Second, Share: 0.5, Window: 10 * time.Second, MinRequests: 10}
	c.Detectors.HungCalls = &HungCalls{Age: time.Minute}
	return c
}

var benchmarks = []struct {
	name string
	cfg  Config
}{
	{"off", Config{}},
	{"consecutive", LinkerdConsecutive()},
	{"unified", LinkerdUnified()},
	{"envoy", EnvoyOutlier()},
	{"everything", full()},
}

func BenchmarkAcquireDone(b *testing.B) {
	for _, bb := range benchmarks {
		b.Run(bb.name, func(b *testing.B) {
			e := NewGroup(bb.cfg, Options{}).Add("a")
			now := time.Duration(0)
			b.ReportAllocs()
			for b.Loop() {
				now += time.Microsecond
				p, _ := e.Acquire(now)
				p.Done(now, Result{Status: 200, GRPCStatus: -1, Latency: time.Millisecond})
			}
		})
	}
}

// Failures that do not trip are no slower.
func BenchmarkAcquireDoneFailing(b *testing.B) {
	e := NewGroup(LinkerdConsecutive(), Options{}).Add("a")
	now, n := time.Duration(0), 0
	b.ReportAllocs()
	for b.Loop() {
		now += time.Microsecond
		p, _ := e.Acquire(now)
		r := Result{Status: 500, GRPCStatus: -1, Latency: time.Millisecond}
		if n++; n%5 == 0 {
			r.Status = 200
		}
		p.Done(now, r)
	}
}

func BenchmarkAcquireDoneParallel(b *testing.B) {
	e := NewGroup(LinkerdConsecutive(), Options{}).Add("a")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		now := time.Duration(0)
		for pb.Next() {
			now += time.Microsecond
			p, _ := e.Acquire(now)
			p.Done(now, Result{Status: 200, GRPCStatus: -1, Latency: time.Millisecond})
		}
	})
}

func BenchmarkRefused(b *testing.B) {
	e := NewGroup(LinkerdConsecutive(), Options{}).Add("a")
	for range 7 {
		p, _ := e.Acquire(0)
		p.Done(0, Result{Status: 500})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := e.Acquire(0); ok {
			b.Fatal("open")
		}
	}
}

func BenchmarkReady(b *testing.B) {
	e := NewGroup(LinkerdConsecutive(), Options{}).Add("a")
	for b.Loop() {
		if !e.Ready(0) {
			b.Fatal("not ready")
		}
	}
}

func BenchmarkMonotonic(b *testing.B) {
	for b.Loop() {
		Monotonic()
	}
}

func BenchmarkLimits(b *testing.B) {
	l := NewLimits(EnvoyLimits())
	b.ReportAllocs()
	for b.Loop() {
		if l.TryRequest() {
			l.ReleaseRequest()
		}
	}
}

func BenchmarkRetryBudgetDeposit(b *testing.B) {
	r := NewRetryBudget(DefaultRetryBudget())
	now := time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		now += time.Microsecond
		r.Deposit(now)
	}
}
