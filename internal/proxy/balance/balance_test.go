package balance

import (
	"math"
	"strconv"
	"testing"
	"time"
)

type fake struct {
	loads   []Load
	weights []float64
}

func newFake(n int) *fake {
	f := &fake{loads: make([]Load, n), weights: make([]float64, n)}
	for i := range f.loads {
		f.loads[i].Init(0)
		f.weights[i] = 1
	}
	return f
}

func (f *fake) Len() int                              { return len(f.loads) }
func (f *fake) Load(i int) *Load                      { return &f.loads[i] }
func (f *fake) Weight(i int, _ time.Duration) float64 { return f.weights[i] }

func counts(p *Picker, f *fake, picks int) []int {
	got := make([]int, f.Len())
	for range picks {
		got[p.Pick(f, 0)]++
	}
	return got
}

func TestNoEndpoint(t *testing.T) {
	for p := PeakEWMA; p <= Random; p++ {
		if got := NewPicker(p).Pick(newFake(0), 0); got != -1 {
			t.Errorf("%v: picked %d of none", p, got)
		}
	}
}

func TestEveryPolicyUsesEveryEndpointEvenly(t *testing.T) {
	const picks = 30_000
	for p := PeakEWMA; p <= Random; p++ {
		f := newFake(3)
		for i, n := range counts(NewPicker(p), f, picks) {
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
	if got := counts(NewPicker(PeakEWMA), f, 10_000); got[1] < 40 || got[1] > 200 {
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
	if got := counts(NewPicker(PeakEWMA), f, 10_000); got[1] < 1000 {
		t.Errorf("after 10 ms once, an endpoint got %d of 10000", got[1])
	}
}

func TestLeastRequestPrefersTheIdle(t *testing.T) {
	f := newFake(2)
	for range 9 {
		f.loads[0].Begin()
	}
	f.loads[1].Observe(0, time.Hour) // round trips do not matter here
	if got := counts(NewPicker(LeastRequest), f, 10_000); got[0] < 40 || got[0] > 200 {
		t.Errorf("of 10000, the one with nine in flight got %d, want about 99", got[0])
	}
}

func TestWeightsLowerTheShare(t *testing.T) {
	const picks = 40_000
	for _, p := range []Policy{RoundRobin, Random} {
		f := newFake(2)
		f.weights[1] = 0.25
		got := counts(NewPicker(p), f, picks)
		if share := float64(got[1]) / picks; math.Abs(share-0.2) > 0.02 {
			t.Errorf("%v: weight 0.25 beside 1 got %.3f of the picks, want about 0.2", p, share)
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
	if got := l.Cost(DefaultDecay); math.Abs(got-busy) > busy/100 {
		t.Errorf("cost with two in flight: %v, want three times the average and the noise, %v", got, busy)
	}
	faded := 3 * (want/math.E + float64(noise))
	if got := l.Cost(2 * DefaultDecay); math.Abs(got-faded) > faded/100 {
		t.Errorf("cost one decay time later: %v, want it faded to %v", got, faded)
	}
	l.End()
	if l.Pending() != 1 {
		t.Errorf("pending %d, want 1", l.Pending())
	}
}

func TestParsePolicy(t *testing.T) {
	for p := PeakEWMA; p <= Random; p++ {
		if got, err := ParsePolicy(p.String()); err != nil || got != p {
			t.Errorf("ParsePolicy(%q) = %v, %v", p, got, err)
		}
	}
	if _, err := ParsePolicy("best"); err == nil {
		t.Error("an unknown balancer was taken")
	}
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		for p := PeakEWMA; p <= Random; p++ {
			b.Run(p.String()+"/"+strconv.Itoa(n), func(b *testing.B) {
				f, picker := newFake(n), NewPicker(p)
				b.ReportAllocs()
				for b.Loop() {
					picker.Pick(f, time.Second)
				}
			})
		}
	}
}
