package model

import "iter"

// LabelIndex finds among many label sets those that a selector matches,
// without looking at each. The zero LabelIndex has none.
type LabelIndex struct {
	sets []map[string]string
	by   map[[2]string][]int // label name and value to positions in sets; nil: few sets
}

// fewSets are searched faster than indexed.
const fewSets = 8

// NewLabelIndex makes an index; the sets must not change afterwards.
func NewLabelIndex(sets []map[string]string) LabelIndex {
	x := LabelIndex{sets: sets}
	if len(sets) <= fewSets {
		return x
	}
	x.by = map[[2]string][]int{}
	for i, s := range sets {
		for k, v := range s {
			kv := [2]string{k, v}
			x.by[kv] = append(x.by[kv], i)
		}
	}
	return x
}

// Matches yields the positions of the sets that the selector matches.
func (x LabelIndex) Matches(selector map[string]string) iter.Seq[int] {
	return func(yield func(int) bool) {
		if x.by == nil {
			for i, s := range x.sets {
				if selects(selector, s) && !yield(i) {
					return
				}
			}
			return
		}
		// The pair that the fewest sets have leaves the least to look at.
		var least []int
		first := true
		for k, v := range selector {
			if c := x.by[[2]string{k, v}]; first || len(c) < len(least) {
				least, first = c, false
			}
		}
		for _, i := range least {
			if selects(selector, x.sets[i]) && !yield(i) {
				return
			}
		}
	}
}

// Any says whether the selector matches any set.
func (x LabelIndex) Any(selector map[string]string) bool {
	for range x.Matches(selector) {
		return true
	}
	return false
}
