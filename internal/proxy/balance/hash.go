package balance

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// Hash finds the endpoint that a hash belongs to. Immutable.
type Hash interface {
	// At is the index of the endpoint for a hash, and for attempts from 1 on of
	// those that come after it: the same may come again.
	At(hash uint64, attempt int) int
}

// Sizes of rings and tables, Envoy's.
const (
	DefaultMinRing   = 1024
	DefaultMaxRing   = 8 << 20
	DefaultTableSize = 65537
	// MaxTableSize is the largest that Envoy allows.
	MaxTableSize = 5_000_011
)

// Ring is a ring of hashes ("ketama"), with Envoy's weighting: the lightest
// endpoint lies on it as often as makes the ring minimum_ring_size large, and
// each other as much more often as it is heavier, so that a request's key stays
// where it is unless its own endpoint goes, or a new one comes before it.
type Ring struct {
	points []point
	starts []uint32 // of each bucket of the leading bits: its first point
	shift  uint
}

type point struct {
	hash  uint64
	index int32
}

// NewRing makes a Ring of endpoints by their keys, which are their addresses or
// what stands for them. Sizes of 0 are the defaults. There must be at least one
// endpoint, and weights above 0, nil where all are alike.
func NewRing(keys []string, weights []float64, minSize, maxSize uint64) *Ring {
	if minSize == 0 {
		minSize = DefaultMinRing
	}
	if maxSize == 0 {
		maxSize = DefaultMaxRing
	}
	share, least := normalize(len(keys), weights)
	scale := min(math.Ceil(least*float64(minSize))/least, float64(maxSize))
	r := &Ring{points: make([]point, 0, int(math.Ceil(scale)))}
	var buf []byte
	have, wanted := 0.0, 0.0
	for i, key := range keys {
		wanted += scale * share(i)
		buf = append(append(buf[:0], key...), '_')
		stem := len(buf)
		for n := uint64(0); have < wanted; n++ {
			buf = strconv.AppendUint(buf[:stem], n, 10)
			r.points = append(r.points, point{xxhash.Sum64(buf), int32(i)}) //nolint:gosec // an index
			have++
		}
	}
	slices.SortFunc(r.points, func(a, b point) int {
		switch {
		case a.hash < b.hash:
			return -1
		case a.hash > b.hash:
			return 1
		}
		return int(a.index - b.index)
	})
	r.index()
	return r
}

// index makes starts: about one point for each bucket, so that a search looks at
// one or two.
func (r *Ring) index() {
	width := max(1, bits.Len(uint(len(r.points)-1)))
	r.shift = 64 - uint(width)
	r.starts = make([]uint32, 1<<width)
	next := 0
	for b := range r.starts {
		for next < len(r.points) && r.points[next].hash>>r.shift < uint64(b) { //nolint:gosec // not negative
			next++
		}
		r.starts[b] = uint32(next) //nolint:gosec // the largest ring has fewer points
	}
}

// Size is the number of points.
func (r *Ring) Size() int { return len(r.points) }

// At implements Hash: the first point at or after the hash, and attempt points
// further.
func (r *Ring) At(hash uint64, attempt int) int {
	i := int(r.starts[hash>>r.shift])
	for i < len(r.points) && r.points[i].hash < hash {
		i++
	}
	return int(r.points[(i+attempt)%len(r.points)].index)
}

// Table is a Maglev table: every endpoint has as many of its places as its
// weight says, and a change of endpoints moves few of the others'.
type Table struct{ places []int32 }

// NewTable makes a Table of size places, which must be a prime; 0 is the
// default. Keys and weights are as for NewRing.
func NewTable(keys []string, weights []float64, size uint64) *Table {
	if size == 0 {
		size = DefaultTableSize
	}
	t := &Table{places: make([]int32, size)}
	for i := range t.places {
		t.places[i] = -1
	}
	share, _ := normalize(len(keys), weights)
	most := 0.0
	for i := range keys {
		most = max(most, share(i))
	}
	rows := make([]row, len(keys))
	for i, key := range keys {
		rows[i] = row{at: xxhash.Sum64String(key) % size, skip: seeded(key)%(size-1) + 1, weight: share(i)}
	}
	filled := uint64(0)
	for turn := 1.0; ; turn++ {
		for i := range rows {
			// The heaviest has a place in every turn, one a third as heavy in
			// every third.
			if turn*rows[i].weight < rows[i].target {
				continue
			}
			rows[i].target += most
			t.places[rows[i].free(t.places, size)] = int32(i) //nolint:gosec // an index
			if filled++; filled == size {
				return t
			}
		}
	}
}

// row is an endpoint's own order of the places: from at, in steps of skip.
type row struct {
	at, skip       uint64
	weight, target float64
}

// free gives its next place that nobody has.
func (r *row) free(places []int32, size uint64) uint64 {
	for places[r.at] >= 0 {
		r.at = (r.at + r.skip) % size
	}
	return r.at
}

// seeded is a second hash of a key.
func seeded(key string) uint64 {
	d := xxhash.NewWithSeed(1)
	_, _ = d.WriteString(key)
	return d.Sum64()
}

// At implements Hash: the hash's place, and attempt places further.
func (t *Table) At(hash uint64, attempt int) int {
	size := uint64(len(t.places))
	return int(t.places[(hash%size+uint64(attempt))%size]) //nolint:gosec // attempts are few
}

// normalize gives the shares of n weights, which add up to 1, and the least.
func normalize(n int, weights []float64) (share func(int) float64, least float64) {
	if weights == nil {
		each := 1 / float64(n)
		return func(int) float64 { return each }, each
	}
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	return func(i int) float64 { return weights[i] / sum }, slices.Min(weights) / sum
}

// Prime tells whether n is one: only then does every endpoint of a Table come to
// every place.
func Prime(n uint64) bool {
	if n < 4 {
		return n > 1
	}
	for d := uint64(2); d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return true
}

// ValidateRing says what is wrong with a ring's sizes.
func ValidateRing(minSize, maxSize uint64) error {
	if minSize > DefaultMaxRing || maxSize > DefaultMaxRing {
		return fmt.Errorf("ring sizes %d to %d: at most %d", minSize, maxSize, DefaultMaxRing)
	}
	if minSize == 0 {
		minSize = DefaultMinRing
	}
	if maxSize != 0 && minSize > maxSize {
		return fmt.Errorf("ring sizes %d to %d: the first must not be above the second", minSize, maxSize)
	}
	return nil
}

// ValidateTable says what is wrong with a table's size.
func ValidateTable(size uint64) error {
	if size != 0 && (size > MaxTableSize || !Prime(size)) {
		return fmt.Errorf("table size %d: a prime of at most %d is needed", size, MaxTableSize)
	}
	return nil
}
