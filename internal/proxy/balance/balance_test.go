package balance

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
)

type fake struct {
	loads   []Load
	weights *Weights
	ramps   []float64
}

func newFake(n int) *fake {
	f := &fake{loads: make([]Load, n), ramps: make([]float64, n)}
	for i := range f.loads {
		f.loads[i].Init(0)
		f.ramps[i] = 1
	}
	return f
}

func (f *fake) Len() int                            { return len(f.loads) }
func (f *fake) Load(i int) *Load                    { return &f.loads[i] }
func (f *fake) Weights() *Weights                   { return f.weights }
func (f *fake) Ramp(i int, _ time.Duration) float64 { return f.ramps[i] }

func counts(p *Picker, f *fake, picks int) []int {
	got := make([]int, f.Len())
	for range picks {
		got[p.Pick(f, 0)]++
	}
	return got
}

func TestNoEndpoint(t *testing.T) {
	for p := PeakEWMA; p <= Maglev; p++ {
		if got := NewPicker(p, 0).Pick(newFake(0), 0); got != -1 {
			t.Errorf("%v: picked %d of none", p, got)
		}
	}
}

func TestEveryPolicyUsesEveryEndpointEvenly(t *testing.T) {
	const picks = 30_000
	for p := PeakEWMA; p <= Random; p++ {
		f := newFake(3)
		for i, n := range counts(NewPicker(p, 0), f, picks) {
			if n < picks/3*9/10 || n > picks/3*11/10 {
				t.Errorf("%v: endpoint %d got %d of %d", p, i, n, picks)
			}
		}
	}
}

func TestPeakEWMAPrefersTheFaster(t *testing.T) {
	f := newFake(2)
	f.loads[0].Observe(0, 95*time.Millisecond)
	f.loads[1].Observe(0, 995*time.Millisecond) // a peak: taken at once
	// Costs of 100 ms and 1 s: odds of 100 to 1.
	if got := counts(NewPicker(PeakEWMA, 0), f, 10_000); got[1] < 40 || got[1] > 200 {
		t.Errorf("of 10000, the one that is ten times slower got %d, want about 99", got[1])
	}
}

// One slow moment of a millisecond service must not cost an endpoint its share.
func TestAHiccupDoesNotStarve(t *testing.T) {
	f := newFake(2)
	for i := range f.loads {
		f.loads[i].Forget(0, time.Millisecond)
	}
	f.loads[1].Observe(0, 10*time.Millisecond)
	if got := counts(NewPicker(PeakEWMA, 0), f, 10_000); got[1] < 1000 {
		t.Errorf("after 10 ms once, an endpoint got %d of 10000", got[1])
	}
}

func TestLeastRequestTakesTheLeastOfItsChoices(t *testing.T) {
	f := newFake(2)
	f.loads[0].Begin()
	f.loads[1].Observe(0, time.Hour) // round trips do not matter here
	if got := counts(NewPicker(LeastRequest, 0), f, 1000); got[0] != 0 {
		t.Errorf("the busy one of two got %d of 1000", got[0])
	}
	// Of four of which one is idle, n choices find it as often as one of n
	// different draws is it, or nearly: with 2, half the time.
	for choices, want := range map[int]float64{1: 0.25, 2: 0.5, 16: 0.999} {
		f := newFake(4)
		for i := range 3 {
			f.loads[i].Begin()
		}
		got := float64(counts(NewPicker(LeastRequest, choices), f, 20_000)[3]) / 20_000
		if math.Abs(got-want) > 0.02 {
			t.Errorf("%d choices: the idle one of four got %.3f, want about %.3f", choices, got, want)
		}
	}
}

// Of endpoints that are otherwise alike, each gets the share of its weight.
func TestWeightsAreShares(t *testing.T) {
	const picks = 60_000
	weights := []float64{1, 2, 3, 0.5}
	for p := PeakEWMA; p <= Maglev; p++ {
		f := newFake(len(weights))
		f.weights = NewWeights(weights)
		got := counts(NewPicker(p, 0), f, picks)
		for i, w := range weights {
			if share := float64(got[i]) / picks; math.Abs(share-w/6.5) > 0.01 {
				t.Errorf("%v: weight %v of 6.5 got %.4f of the picks, want about %.4f", p, w, share, w/6.5)
			}
		}
	}
}

// Where requests are in flight, they are in proportion to weights too.
func TestLeastRequestEvensOutByWeight(t *testing.T) {
	f := newFake(3)
	f.weights = NewWeights([]float64{1, 2, 4})
	p := NewPicker(LeastRequest, 0)
	for range 7000 { // none of these ends
		f.loads[p.Pick(f, 0)].Begin()
	}
	for i, want := range []int64{1000, 2000, 4000} {
		if got := f.loads[i].Pending(); got < want*95/100 || got > want*105/100 {
			t.Errorf("endpoint %d has %d in flight, want about %d", i, got, want)
		}
	}
}

// Round robin keeps to weights all along, not on average only.
func TestRoundRobinByWeightNeverBunches(t *testing.T) {
	weights := []float64{5, 1, 1, 3}
	f := newFake(len(weights))
	f.weights = NewWeights(weights)
	p := NewPicker(RoundRobin, 0)
	got := make([]float64, len(weights))
	for n := 1.0; n <= 10_000; n++ {
		got[p.Pick(f, 0)]++
		for i, w := range weights {
			if ahead := got[i] - n*w/10; math.Abs(ahead) > 4 {
				t.Fatalf("after %v picks endpoint %d of weight %v of 10 has %v", n, i, w, got[i])
			}
		}
	}
}

func TestSlowStartLowersTheShare(t *testing.T) {
	const picks = 40_000
	for p := PeakEWMA; p <= Random; p++ {
		f := newFake(5)
		f.ramps[1] = 0.25
		got := counts(NewPicker(p, 0), f, picks)
		// A quarter of the others' share is 1/17 of all.
		if share := float64(got[1]) / picks; math.Abs(share-1.0/17) > 0.015 {
			t.Errorf("%v: one of five at a quarter of its share got %.4f, want about %.4f", p, share, 1.0/17)
		}
	}
}

// Slow start holds for one of two as well, where the other is always at hand.
func TestSlowStartOfOneOfTwo(t *testing.T) {
	for _, p := range []Policy{PeakEWMA, LeastRequest} {
		f := newFake(2)
		f.ramps[1] = 0.1
		for range 20 {
			f.loads[0].Begin()
		}
		f.loads[1].Begin()
		f.loads[1].Begin() // a tenth of the work, as it shall have
		if got := counts(NewPicker(p, 0), f, 10_000); got[1] > 2500 {
			t.Errorf("%v: the one at a tenth got %d of 10000", p, got[1])
		}
	}
}

// An alias table is exact: all numbers together give each index its weight.
func TestAliasTableIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		weights := make([]float64, 1+rng.IntN(40))
		sum := 0.0
		for i := range weights {
			weights[i] = math.Exp(rng.NormFloat64() * 3)
			if rng.IntN(10) == 0 {
				weights[i] = 0
			}
			sum += weights[i]
		}
		w := NewWeights(weights)
		if w == nil {
			continue
		}
		got := make([]float64, len(weights))
		for i, c := range w.columns {
			own := float64(c.own) / (1 << 63) / 2
			got[i] += own
			got[c.other] += 1 - own
		}
		for i := range got {
			if want := weights[i] / sum * float64(len(weights)); math.Abs(got[i]-want) > 1e-9*float64(len(weights)) {
				t.Fatalf("weights %v: index %d has %v columns, want %v", weights, i, got[i], want)
			}
		}
	}
}

func TestNoTableForEqualWeights(t *testing.T) {
	for _, w := range [][]float64{nil, {3}, {2, 2, 2}, {0, 0}} {
		if NewWeights(w) != nil {
			t.Errorf("a table for %v", w)
		}
	}
}

func TestLoadFormula(t *testing.T) {
	var l Load
	l.Init(0)
	if got := l.RTT(0); got != DefaultRTT {
		t.Errorf("before any answer: %v, want %v", got, DefaultRTT)
	}
	l.Observe(0, 100*time.Millisecond)
	if got := l.RTT(0); got != 100*time.Millisecond {
		t.Errorf("after a peak: %v, want 100ms at once", got)
	}
	// One decay time later a sample of 0 leaves 1/e of the peak.
	l.Observe(DefaultDecay, 0)
	want := float64(100*time.Millisecond) / math.E
	if got := float64(l.RTT(DefaultDecay)); math.Abs(got-want) > want/1000 {
		t.Errorf("after one decay time: %v, want %v", time.Duration(got), time.Duration(want))
	}
	l.Begin()
	l.Begin()
	busy := 3 * (want + float64(noise))
	if got := l.Cost(DefaultDecay, 1); math.Abs(got-busy) > busy/100 {
		t.Errorf("cost with two in flight: %v, want three times the average and the noise, %v", got, busy)
	}
	faded := 3 * (want/math.E + float64(noise))
	if got := l.Cost(2*DefaultDecay, 1); math.Abs(got-faded) > faded/100 {
		t.Errorf("cost one decay time later: %v, want it faded to %v", got, faded)
	}
	l.End()
	if l.Pending() != 1 {
		t.Errorf("pending %d, want 1", l.Pending())
	}
}

func TestParsePolicy(t *testing.T) {
	for p := PeakEWMA; p <= Maglev; p++ {
		if got, err := ParsePolicy(p.String()); err != nil || got != p {
			t.Errorf("ParsePolicy(%q) = %v, %v", p, got, err)
		}
	}
	if _, err := ParsePolicy("best"); err == nil {
		t.Error("an unknown balancer was taken")
	}
}

// Picks cost the same for ten endpoints and for ten thousand, whatever their
// weights.
func BenchmarkPick(b *testing.B) {
	for p := PeakEWMA; p <= Random; p++ {
		for _, weighted := range []string{"even", "weighted"} {
			for _, n := range []int{10, 1000, 10_000} {
				b.Run(p.String()+"/"+weighted+"/"+strconv.Itoa(n), func(b *testing.B) {
					f, picker := newFake(n), NewPicker(p, 0)
					if weighted == "weighted" {
						weights := make([]float64, n)
						for i := range weights {
							weights[i] = 1
						}
						weights[0] = 1000
						f.weights = NewWeights(weights)
					}
					b.ReportAllocs()
					for b.Loop() {
						picker.Pick(f, time.Second)
					}
				})
			}
		}
	}
}
