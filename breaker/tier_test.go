package breaker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// loads of tiers that have so many of a hundred endpoints closed.
func loads(threshold float64, overprovision uint32, closed ...int) (out []uint32, panics []bool) {
	tiers := make([]Tier, len(closed))
	for i, n := range closed {
		tiers[i] = Tier{Endpoints: 100, Closed: n}
	}
	Spread(tiers, overprovision, threshold)
	for _, t := range tiers {
		out, panics = append(out, t.Load), append(panics, t.Panic)
	}
	return out, panics
}

// The tables of Envoy's documentation ("Priority levels", "Panic threshold").
func TestSpreadIsEnvoys(t *testing.T) {
	for _, tt := range []struct {
		closed    []int
		threshold float64
		loads     string
		panics    string
	}{
		{[]int{100, 100}, 0, "[100 0]", "[false false]"},
		{[]int{72, 100}, 0, "[100 0]", "[false false]"},
		{[]int{71, 100}, 0, "[99 1]", "[false false]"},
		{[]int{50, 100}, 0, "[70 30]", "[false false]"},
		{[]int{25, 100}, 0, "[35 65]", "[false false]"},
		{[]int{0, 100}, 0, "[0 100]", "[false false]"},
		{[]int{25, 25}, 0, "[50 50]", "[false false]"},
		{[]int{72, 72}, 0, "[100 0]", "[false false]"},
		{[]int{20, 20, 10}, 0, "[40 40 20]", "[false false false]"},
		// Rounding gives to the first that has any.
		{[]int{0, 20, 20, 20}, 0, "[0 34 33 33]", "[false false false false]"},
		// Panic: not while all together can take all.
		{[]int{72, 72}, 50, "[100 0]", "[false false]"},
		{[]int{50, 60}, 50, "[70 30]", "[false false]"},
		{[]int{1, 100}, 50, "[1 99]", "[false false]"},
		{[]int{30, 10}, 50, "[50 50]", "[true true]"}, // both: by endpoints
		{[]int{0, 0}, 50, "[50 50]", "[true true]"},
		{[]int{60, 5}, 50, "[93 7]", "[false true]"},
		// Without a threshold all that is open stays so.
		{[]int{0, 0}, 0, "[100 0]", "[false false]"},
		{[]int{0}, 50, "[100]", "[true]"},
	} {
		got, panics := loads(tt.threshold, DefaultOverprovision, tt.closed...)
		if fmt.Sprint(got) != tt.loads || fmt.Sprint(panics) != tt.panics {
			t.Errorf("closed %v, threshold %v: loads %v, panics %v, want %s, %s", tt.closed, tt.threshold, got, panics, tt.loads, tt.panics)
		}
	}
}

func TestSpreadByFactor(t *testing.T) {
	for factor, want := range map[uint32]string{100: "[80 20]", 125: "[100 0]", 200: "[100 0]"} {
		if got, _ := loads(0, factor, 80, 100); fmt.Sprint(got) != want {
			t.Errorf("80%% closed, factor %d: %v, want %s", factor, got, want)
		}
	}
}

// envoyShares is Envoy's algorithm once more, from its documentation alone, in
// exact fractions but for where Envoy itself rounds down.
func envoyShares(tiers []Tier, factor int) []int {
	health := make([]int, len(tiers))
	sum := 0
	for i, t := range tiers {
		if t.Endpoints > 0 {
			health[i] = factor * t.Closed / t.Endpoints
		}
		if health[i] > 100 {
			health[i] = 100
		}
		sum += health[i]
	}
	if sum > 100 {
		sum = 100
	}
	out := make([]int, len(tiers))
	if sum == 0 {
		return out
	}
	rest := 100
	for i := range tiers {
		out[i] = min(rest, 100*health[i]/sum)
		rest -= out[i]
	}
	for i := range tiers {
		if health[i] > 0 {
			out[i] += rest
			break
		}
	}
	return out
}

func TestSpreadAgreesWithEnvoysFormula(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		tiers := make([]Tier, 1+rng.IntN(5))
		for i := range tiers {
			tiers[i].Endpoints = rng.IntN(40)
			if tiers[i].Endpoints > 0 {
				tiers[i].Closed = rng.IntN(tiers[i].Endpoints + 1)
			}
		}
		factor := 100 + rng.IntN(150)
		want := envoyShares(tiers, factor)
		Spread(tiers, uint32(factor), 0) //nolint:gosec // small
		sum := uint32(0)
		nothing := slices.Max(want) == 0 // then Envoy has no answer, and ours is tested elsewhere
		for i, tier := range tiers {
			sum += tier.Load
			if !nothing && want[i] != int(tier.Load) {
				t.Fatalf("%+v, factor %d: want %v", tiers, factor, want)
			}
		}
		if sum != 100 {
			t.Fatalf("%+v: the shares add up to %d", tiers, sum)
		}
	}
}

// A single closed endpoint of very many is not forgotten by rounding.
func TestTheLastOfManyGetsAll(t *testing.T) {
	tiers := []Tier{{Endpoints: 500}, {Endpoints: 500, Closed: 1}}
	Spread(tiers, DefaultOverprovision, 0)
	if tiers[1].Load != 100 {
		t.Errorf("%+v: the only closed endpoint gets nothing", tiers)
	}
}

// Panic is by tier: the first is used whole while the second is not needed.
func TestPanicOfOneTier(t *testing.T) {
	r := newRig(t, guarded(Guards{PanicThreshold: 50}), 2)
	for i := range 4 {
		r.e = append(r.e, r.g.AddTier(fmt.Sprint("far", i), 1))
	}
	r.call(0, bad, 1)
	r.call(1, bad, 1)
	if r.g.Panicking() {
		t.Fatal("panics while the second tier has all of its endpoints")
	}
	if got := r.g.Tiers(); got[0].Load != 0 || got[1].Load != 100 {
		t.Errorf("tiers %+v: want all requests on the second", got)
	}
	r.call(2, bad, 1)
	r.call(3, bad, 1)
	if !r.g.Panicking() || !r.e[0].Panicking() || r.e[2].Panicking() {
		t.Fatalf("with none of 2 and 2 of 4 closed, only the first tier panics: %v", r.g.Tiers())
	}
	if ev := r.last(); ev.Reason != PanicStarted || !strings.HasPrefix(ev.Detail, "priority 0: 0 of 2 endpoints are ready") {
		t.Errorf("event: %+v", ev)
	}
	if _, ok := r.e[0].Acquire(r.now); !ok {
		t.Error("an open endpoint of a tier in panic gives no permit")
	}
	if _, ok := r.e[2].Acquire(r.now); ok {
		t.Error("an open endpoint of a tier that does not panic gives one")
	}
	r.now = time.Second
	r.call(2, good, 1)
	r.call(3, good, 1)
	if r.g.Panicking() {
		t.Errorf("panic did not end: %v", r.g.Tiers())
	}
}

func TestSetTier(t *testing.T) {
	r := newRig(t, guarded(Guards{}), 3)
	r.call(2, bad, 1)
	r.g.SetTier(r.e[1], 1)
	r.g.SetTier(r.e[2], 2)
	want := []Tier{{Endpoints: 1, Closed: 1, Load: 100}, {Endpoints: 1, Closed: 1}, {Endpoints: 1}}
	if got := r.g.Tiers(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("tiers %+v, want %+v", got, want)
	}
	r.g.Remove(r.e[0])
	r.g.SetTier(r.e[0], 1) // it is gone
	want[0], want[1].Load = Tier{}, 100
	if got := r.g.Tiers(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("tiers %+v, want %+v", got, want)
	}
}

func TestRamp(t *testing.T) {
	for _, tt := range []struct {
		ramp Ramp
		want [5]float64 // at 0, 1/16, 1/4, 1/2 and all of the window
	}{
		{Ramp{}, [5]float64{0.1, 0.1, 0.25, 0.5, 1}},
		{Ramp{Aggression: 2}, [5]float64{0.1, 0.25, 0.5, 0.7071, 1}},
		{Ramp{Aggression: 0.5}, [5]float64{0.1, 0.1, 0.1, 0.25, 1}},
		{Ramp{MinWeight: new(0.3)}, [5]float64{0.3, 0.3, 0.3, 0.5, 1}},
		{Ramp{MinWeight: new(0.0)}, [5]float64{leastWeight, 0.0625, 0.25, 0.5, 1}},
	} {
		tt.ramp.Added = true
		cfg := guarded(Guards{})
		cfg.SlowStart, cfg.Ramp = 16*time.Second, tt.ramp
		r := newRig(t, cfg, 1)
		for i, after := range []time.Duration{0, 1, 4, 8, 16} {
			if got := r.e[0].Weight(r.now + after*time.Second); got < tt.want[i]-1e-4 || got > tt.want[i]+1e-4 {
				t.Errorf("%+v after %d of 16s: %v, want %v", tt.ramp, after, got, tt.want[i])
			}
		}
		if got := r.e[0].SlowUntil(); got != r.now+16*time.Second {
			t.Errorf("slow until %v", got)
		}
	}
}

func BenchmarkSpread(b *testing.B) {
	tiers := []Tier{{Endpoints: 100, Closed: 40}, {Endpoints: 50, Closed: 50}, {Endpoints: 9, Closed: 3}}
	for b.Loop() {
		Spread(tiers, DefaultOverprovision, 0)
	}
}
