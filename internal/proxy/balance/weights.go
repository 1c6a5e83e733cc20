package balance

import "math/bits"

// Weights draws indexes in proportion to weights, each draw at the same cost:
// Walker's alias method as Vose built it ("A linear algorithm for generating
// random numbers with a given distribution", 1991). Each index has a column of
// its own, filled up by one other. Immutable.
type Weights struct {
	columns []column
	shares  []float64 // of each index: its weight beside the heaviest
}

type column struct {
	own   uint64 // of 2^64: how much of the column is the index's own
	other int32  // whose the rest is
}

// full is a column that is all its own.
const full = ^uint64(0)

// NewWeights makes Weights. All must be 0 or more and one above 0; nil is given
// where all are alike, as then no table is needed.
func NewWeights(weights []float64) *Weights {
	sum, most := 0.0, 0.0
	even := true
	for _, w := range weights {
		sum += w
		most = max(most, w)
		even = even && w == weights[0]
	}
	if even || sum <= 0 {
		return nil
	}
	n := len(weights)
	w := &Weights{columns: make([]column, n), shares: make([]float64, n)}
	scaled := make([]float64, n)
	var small, large []int
	for i, v := range weights {
		w.shares[i] = v / most
		if scaled[i] = v * float64(n) / sum; scaled[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		w.columns[s] = column{own: uint64(scaled[s] * (1 << 63) * 2), other: int32(l)} //nolint:gosec // an index
		if scaled[l] -= 1 - scaled[s]; scaled[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) { // 1 but for rounding
		w.columns[i] = column{own: full, other: int32(i)} //nolint:gosec // an index
	}
	return w
}

// At gives the index that a number stands for: equally spread numbers give each
// index its share.
func (w *Weights) At(r uint64) int {
	i, within := bits.Mul64(r, uint64(len(w.columns)))
	if c := &w.columns[i]; within >= c.own {
		return int(c.other)
	}
	return int(i) //nolint:gosec // below the number of columns
}

// Share is the weight of i beside the heaviest, from 0 to 1.
func (w *Weights) Share(i int) float64 { return w.shares[i] }

// at is At, where w may be nil for n that weigh the same.
func at(w *Weights, n int, r uint64) int {
	if w != nil {
		return w.At(r)
	}
	i, _ := bits.Mul64(r, uint64(n))
	return int(i) //nolint:gosec // below n
}
