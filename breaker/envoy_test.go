package breaker

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// envoyHost and envoyDetector are Envoy's outlier detection once more, as its
// documentation and the reference have it, to compare with.
type envoyHost struct {
	fives, gateways int
	ejected         bool
	at              time.Duration
	multiplier      int
}

type envoyDetector struct {
	hosts          []envoyHost
	limit, gateway int // in a row
	percent        int
	alwaysOne      bool
	base, longest  time.Duration
}

func (d *envoyDetector) result(i, status int, now time.Duration) {
	h := &d.hosts[i]
	switch {
	case status < 500:
		h.fives, h.gateways = 0, 0
		return
	case status >= 502 && status <= 504:
		if h.gateways++; h.gateways == d.gateway {
			h.gateways = 0
			d.eject(h, now)
		}
	default:
		h.gateways = 0
	}
	if h.fives++; h.fives == d.limit {
		h.fives = 0
		d.eject(h, now)
	}
}

func (d *envoyDetector) eject(h *envoyHost, now time.Duration) {
	out := 0
	for i := range d.hosts {
		if d.hosts[i].ejected {
			out++
		}
	}
	may := 100*float64(out+1)/float64(len(d.hosts)) <= float64(d.percent) || d.alwaysOne && out == 0
	if h.ejected || !may {
		return
	}
	h.ejected, h.at = true, now
	if time.Duration(h.multiplier)*d.base < d.longest+d.base {
		h.multiplier++
	}
}

func (d *envoyDetector) interval(now time.Duration) {
	for i := range d.hosts {
		h := &d.hosts[i]
		switch {
		case !h.ejected && h.multiplier > 0:
			h.multiplier--
		case h.ejected && min(time.Duration(h.multiplier)*d.base, d.longest) <= now-h.at:
			*h = envoyHost{multiplier: h.multiplier}
		}
	}
}

// Whatever happens, the same endpoints are out as in Envoy, and with the same
// multiplier.
func TestEjectsAsEnvoyDoes(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		n := 1 + rng.IntN(12)
		d := &envoyDetector{
			hosts: make([]envoyHost, n), limit: 1 + rng.IntN(5), gateway: 1 + rng.IntN(5),
			percent: []int{0, 10, 34, 50, 100}[rng.IntN(5)], alwaysOne: rng.IntN(2) == 0,
			base: time.Duration(1+rng.IntN(40)) * time.Second, longest: time.Duration(40+rng.IntN(200)) * time.Second,
		}
		cfg := Config{
			Detectors: Detectors{
				Consecutive:        &Consecutive{Failures: uint32(d.limit)},
				ConsecutiveGateway: &Consecutive{Failures: uint32(d.gateway)},
			},
			Recovery:      Recovery{Mode: Timed, Backoff: Linear, Min: d.base, Max: d.longest},
			Guards:        Guards{MaxEjectionPercent: new(uint32(d.percent)), AlwaysEjectOne: d.alwaysOne},
			SweepInterval: 10 * time.Second,
		}
		r := newRig(t, cfg, n)
		next := 10 * time.Second
		for range 3000 {
			r.now += time.Duration(rng.IntN(300)) * time.Millisecond
			for ; next <= r.now; next += 10 * time.Second {
				d.interval(next)
				r.g.Sweep(next)
			}
			i, status := rng.IntN(n), []int{200, 500, 503, 502, 404, 503}[rng.IntN(6)]
			if !d.hosts[i].ejected {
				d.result(i, status, r.now)
				r.call(i, Result{Status: status, GRPCStatus: -1}, 1)
			}
			for j, s := range r.g.States() {
				if h := d.hosts[j]; (s.State == Open) != h.ejected || int(s.Attempt) != h.multiplier {
					t.Fatalf("seed %d, %+v, at %v: %s is %v with multiplier %d, Envoy's host is %+v", seed, d, r.now, s.Name, s.State, s.Attempt, h)
				}
			}
		}
	}
}

// Jitter is absolute: it comes on top of the longest ejection time too.
func TestMaxJitter(t *testing.T) {
	r := Recovery{Mode: Timed, Backoff: Linear, Min: 30 * time.Second, Max: 40 * time.Second, MaxJitter: 8 * time.Second}
	for i, want := range []time.Duration{34 * time.Second, 44 * time.Second, 44 * time.Second} {
		if got := r.backoff(uint32(i), 0, func() float64 { return 0.5 }); got != want {
			t.Errorf("ejection %d lasts %v, want %v", i+1, got, want)
		}
	}
	r.Max, r.MaxJitter = math.MaxInt64, math.MaxInt64
	if got := r.backoff(9, 0, func() float64 { return 1 }); got <= 0 {
		t.Errorf("%v after an overflow", got)
	}
}

func TestAlwaysEjectOne(t *testing.T) {
	r := newRig(t, guarded(Guards{MaxEjectionPercent: new(uint32(10)), AlwaysEjectOne: true}), 3)
	r.call(0, bad, 1)
	r.call(1, bad, 1)
	if got := r.open(); got != "a" {
		t.Errorf("open: %q, want the first alone", got)
	}
}

// Split, both statistical detectors look at calls without a response too, with
// everything else for successes.
func TestLocalOriginRates(t *testing.T) {
	rate := &SuccessRateOutlier{Factor: 1, MinHosts: 3, RequestVolume: 10}
	share := &FailurePercentage{Threshold: 50, MinHosts: 1, RequestVolume: 10}
	for name, tt := range map[string]struct {
		d    Detectors
		want string
	}{
		"rates":           {Detectors{LocalSuccessRateOutlier: rate}, "b"},
		"shares":          {Detectors{LocalFailurePercentage: share}, "b"},
		"both, and usual": {Detectors{LocalFailurePercentage: share, FailurePercentage: share}, "ab"},
		"not enforced":    {Detectors{LocalFailurePercentage: &FailurePercentage{Threshold: 50, RequestVolume: 10, Enforcing: new(uint32(0))}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{
				Detectors: tt.d, Classification: Classification{SplitLocalOrigin: true},
				Recovery: Recovery{Mode: Timed, Backoff: Linear, Min: time.Minute, Max: time.Minute},
			}
			r := newRig(t, cfg, 3)
			r.call(0, bad, 20) // answers, and all of them errors
			for range 10 {
				r.call(1, refused, 1)
				r.call(1, good, 1)
				r.call(2, good, 2)
			}
			r.now = 10 * time.Second
			r.g.Sweep(r.now)
			if got := r.open(); got != tt.want {
				t.Errorf("open: %q, want %q: %v", got, tt.want, r.events)
			}
		})
	}
	t.Run("need the split", func(t *testing.T) {
		cfg := Config{Detectors: Detectors{LocalFailurePercentage: share, LocalSuccessRateOutlier: rate}, Recovery: Recovery{Max: 1}}
		if err := cfg.Validate(); err == nil {
			t.Error("taken without SplitLocalOrigin")
		}
	})
}

// UNAVAILABLE and DEADLINE_EXCEEDED are gateway errors of gRPC.
func TestGatewayErrorsOfGRPC(t *testing.T) {
	for status, want := range map[int]string{14: "a", 4: "a", 13: "", 2: ""} {
		cfg := probing(Detectors{ConsecutiveGateway: &Consecutive{Failures: 3}})
		r := newRig(t, cfg, 1)
		r.call(0, Result{Status: 200, GRPCStatus: status}, 3)
		if got := r.open(); got != want {
			t.Errorf("grpc-status %d: open %q, want %q", status, got, want)
		}
	}
}

// A budget over an interval counts requests that have ended.
func TestRetryBudgetOverAnInterval(t *testing.T) {
	cfg := UnlimitedLimits()
	cfg.RetryBudget = &RetryConcurrency{Percent: 20, Interval: 10 * time.Second}
	l := NewLimits(cfg)
	retries := func() (n int) {
		for l.TryRetry() {
			n++
		}
		for range n {
			l.ReleaseRetry()
		}
		return n
	}
	request := func(n int) {
		for range n {
			l.TryRequest()
			l.ReleaseRequest()
		}
	}
	var got []int
	now := time.Second
	sweep := func(d time.Duration) {
		for range d / (100 * time.Millisecond) {
			now += 100 * time.Millisecond
			l.Sweep(now)
		}
	}
	l.Sweep(now)
	request(100)
	got = append(got, retries()) // 20
	sweep(5 * time.Second)
	request(50)
	got = append(got, retries()) // 30
	sweep(6 * time.Second)
	got = append(got, retries()) // the first hundred are forgotten: 10
	sweep(11 * time.Second)
	got = append(got, retries()) // all are
	if fmt.Sprint(got) != "[20 30 10 0]" {
		t.Errorf("retries allowed: %v, want [20 30 10 0]", got)
	}
	for range 40 {
		l.TryRequest()
	}
	sweep(30 * time.Second)
	if n := retries(); n != 8 {
		t.Errorf("%d retries beside 40 requests that are under way for long, want 8", n)
	}
}
