package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// addresses are the keys of n endpoints.
func addresses(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("10.%d.%d.%d:8080", i>>16, i>>8&255, i&255)
	}
	return out
}

// makers make each kind of Hash with sizes that fit n endpoints.
var makers = map[string]func(keys []string, weights []float64) Hash{
	"ring":   func(k []string, w []float64) Hash { return NewRing(k, w, 100*uint64(len(k)), 0) },
	"maglev": func(k []string, w []float64) Hash { return NewTable(k, w, 0) },
}

// hashes are some, the same in each run.
func hashes(n int) []uint64 {
	rng := rand.New(rand.NewPCG(7, 7))
	out := make([]uint64, n)
	for i := range out {
		out[i] = rng.Uint64()
	}
	return out
}

func TestHashesGiveEachItsShare(t *testing.T) {
	weights := []float64{1, 2, 3, 4}
	for name, make := range makers {
		for _, w := range [][]float64{nil, weights} {
			h := make(addresses(4), w)
			got := [4]float64{}
			for _, key := range hashes(50_000) {
				got[h.At(key, 0)]++
			}
			for i := range got {
				want := 0.25
				if w != nil {
					want = w[i] / 10
				}
				// 400 points of a ring spread unevenly by a few percent.
				if share := got[i] / 50_000; math.Abs(share-want) > 0.06 || name == "maglev" && math.Abs(share-want) > 0.01 {
					t.Errorf("%s, weights %v: endpoint %d got %.4f of the keys, want about %.4f", name, w, i, share, want)
				}
			}
		}
	}
}

// moved is the share of keys whose endpoint was there before and after, and that
// went to another all the same.
func moved(t *testing.T, before Hash, old []string, after Hash, new []string) (needless, all float64) {
	t.Helper()
	stays := map[string]bool{}
	for _, k := range new {
		stays[k] = true
	}
	was := map[string]bool{}
	for _, k := range old {
		was[k] = true
	}
	keys := hashes(20_000)
	for _, key := range keys {
		a, b := old[before.At(key, 0)], new[after.At(key, 0)]
		if a == b {
			continue
		}
		all++
		if stays[a] && was[b] {
			needless++
		}
	}
	return needless / float64(len(keys)), all / float64(len(keys))
}

// A change of endpoints moves the keys of those that go, and those that a new
// one takes, and few others.
func TestChangesMoveFewKeys(t *testing.T) {
	for name, make := range makers {
		for _, n := range []int{5, 50, 500} {
			old := addresses(n + 1)
			without := append(append([]string(nil), old[:n/2]...), old[n/2+1:]...)
			before, after := make(old, nil), make(without, nil)
			for _, tt := range []struct {
				what    string
				a, b    Hash
				ka, kb  []string
				perfect float64
			}{
				{"one goes", before, after, old, without, 1 / float64(n+1)},
				{"one comes", after, before, without, old, 1 / float64(n+1)},
			} {
				needless, all := moved(t, tt.a, tt.ka, tt.b, tt.kb)
				t.Logf("%s of %d, %s: %.4f of the keys moved (%.4f must), %.4f needlessly", name, n, tt.what, all, tt.perfect, needless)
				if needless > 0.05 {
					t.Errorf("%s of %d, %s: %.4f of the keys moved needlessly", name, n, tt.what, needless)
				}
			}
		}
	}
}

// Whatever order endpoints are told in, a key has the same one.
func TestRingDoesNotDependOnOrder(t *testing.T) {
	keys := addresses(20)
	turned := append(append([]string(nil), keys[7:]...), keys[:7]...)
	a, b := NewRing(keys, nil, 2000, 0), NewRing(turned, nil, 2000, 0)
	for _, h := range hashes(5000) {
		if x, y := keys[a.At(h, 0)], turned[b.At(h, 0)]; x != y {
			t.Fatalf("hash %x is of %s, or of %s", h, x, y)
		}
	}
}

// Attempts come to every endpoint, and where one fails its keys are spread over
// the others.
func TestAttemptsGoOn(t *testing.T) {
	const n = 8
	for name, make := range makers {
		h := make(addresses(n), nil)
		heirs := map[int]int{}
		for _, key := range hashes(500) {
			first := h.At(key, 0)
			seen := map[int]bool{}
			for attempt := range 2000 {
				seen[h.At(key, attempt)] = true
			}
			if len(seen) != n {
				t.Fatalf("%s: 2000 attempts came to %d of %d endpoints", name, len(seen), n)
			}
			if first != 0 {
				continue
			}
			for attempt := 1; ; attempt++ {
				if i := h.At(key, attempt); i != 0 {
					heirs[i]++
					break
				}
			}
		}
		if len(heirs) < n-2 {
			t.Errorf("%s: the keys of one went to %d others, want about %d: %v", name, len(heirs), n-1, heirs)
		}
	}
}

func TestRingSizes(t *testing.T) {
	for _, tt := range []struct {
		n        int
		weights  []float64
		min, max uint64
		want     int
	}{
		{4, nil, 0, 0, 1024},
		{3, nil, 1024, 0, 1026}, // each as often as the others
		{10, nil, 100, 50, 50},
		{2, []float64{1, 3}, 100, 0, 100},
		{2000, nil, 0, 0, 2000},
	} {
		if got := NewRing(addresses(tt.n), tt.weights, tt.min, tt.max).Size(); got != tt.want {
			t.Errorf("%d endpoints, weights %v, %d to %d: %d points, want %d", tt.n, tt.weights, tt.min, tt.max, got, tt.want)
		}
	}
}

func TestValidateSizes(t *testing.T) {
	for _, tt := range []struct {
		min, max uint64
		ok       bool
	}{{0, 0, true}, {1, 0, true}, {1024, 1024, true}, {2000, 1000, false}, {0, 1000, false}, {1 << 24, 0, false}, {1, 1 << 24, false}} {
		if err := ValidateRing(tt.min, tt.max); (err == nil) != tt.ok {
			t.Errorf("ring %d to %d: %v", tt.min, tt.max, err)
		}
	}
	for size, ok := range map[uint64]bool{0: true, 65537: true, 2: true, 4: false, 65536: false, 5_000_011: true, 5_000_077: false} {
		if err := ValidateTable(size); (err == nil) != ok {
			t.Errorf("table %d: %v", size, err)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	for name, make := range makers {
		for _, n := range []int{10, 1000, 10_000} {
			h := make(addresses(n), nil)
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				key := uint64(1)
				b.ReportAllocs()
				for b.Loop() {
					key *= 0x9E3779B97F4A7C15
					h.At(key, 0)
				}
			})
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		keys := addresses(n)
		b.Run(fmt.Sprintf("ring/%d", n), func(b *testing.B) {
			for b.Loop() {
				NewRing(keys, nil, 0, 0)
			}
		})
		b.Run(fmt.Sprintf("maglev/%d", n), func(b *testing.B) {
			for b.Loop() {
				NewTable(keys, nil, 0)
			}
		})
	}
}
