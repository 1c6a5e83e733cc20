// Package balance chooses an endpoint among those that are ready.
//
// A Picker knows only counts, costs and weights: which endpoints are ready is
// the breaker's word, and the cluster (package upstream) hands in just those.
// Every choice is flat in the number of endpoints but RoundRobin over weights,
// and none allocates or locks.
package balance

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Policy names a way of choosing.
type Policy uint8

const (
	// PeakEWMA takes two endpoints at random and of these, most likely, the one
	// with the lower product of round-trip average and requests in flight. The
	// default.
	PeakEWMA Policy = iota
	// RoundRobin takes one after the other.
	RoundRobin
	// LeastRequest takes two at random and of these, most likely, the one with
	// fewer requests in flight (Envoy's LEAST_REQUEST with choice_count 2).
	LeastRequest
	// Random takes any.
	Random
)

var policyNames = [...]string{"peak-ewma", "round-robin", "least-request", "random"}

func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("balance.Policy(%d)", uint8(p))
}

// ParsePolicy reads a Policy's name.
func ParsePolicy(name string) (Policy, error) {
	for i, n := range policyNames {
		if n == name {
			return Policy(i), nil
		}
	}
	return 0, fmt.Errorf("balancer %q: allowed are %q", name, policyNames)
}

// Endpoints is what a Picker sees of the endpoints that are ready.
type Endpoints interface {
	Len() int
	// Load is the live load of endpoint i.
	Load(i int) *Load
	// Weight is the share that endpoint i shall get beside the others: above
	// 0, and 1 where nothing is said. Slow start lowers it for a while.
	Weight(i int, now time.Duration) float64
}

// Picker chooses by one policy. Safe for concurrent use.
type Picker struct {
	policy Policy
	next   atomic.Uint64 // round robin
}

// NewPicker makes a Picker.
func NewPicker(p Policy) *Picker { return &Picker{policy: p} }

// Policy is what the picker was made with.
func (p *Picker) Policy() Policy { return p.policy }

// Pick returns the index of the chosen endpoint, or -1 when there is none.
func (p *Picker) Pick(eps Endpoints, now time.Duration) int {
	n := eps.Len()
	if n < 2 {
		return n - 1
	}
	switch p.policy {
	case RoundRobin:
		return p.roundRobin(eps, n, now)
	case Random:
		return weightedRandom(eps, n, now)
	default:
		return p.bestOfTwo(eps, n, now)
	}
}

// bestOfTwo is "power of two choices" (Mitzenmacher): nearly as good as the
// best of all, and no herd runs to the one that looks best.
//
// Of the two, the cheaper is taken with odds of the squared costs: 4 to 1 where
// the other costs twice as much, 99 to 1 at ten times. To take it always would
// starve, at few requests per second, an endpoint that had one slow moment: it
// gets no request that could show it to be well again until the average has
// faded, tens of seconds later.
func (p *Picker) bestOfTwo(eps Endpoints, n int, now time.Duration) int {
	r := rand.Uint64()
	i := int(uint64(uint32(r)) * uint64(n) >> 32)
	j := int(uint64(uint32(r>>32)) * uint64(n-1) >> 32)
	if j >= i {
		j++
	}
	a, b := p.cost(eps, i, now), p.cost(eps, j, now)
	a, b = a*a, b*b
	if rand.Float64()*(a+b) < a {
		return j
	}
	return i
}

func (p *Picker) cost(eps Endpoints, i int, now time.Duration) float64 {
	load, weight := eps.Load(i), eps.Weight(i, now)
	if p.policy == LeastRequest {
		return float64(load.Pending()+1) / weight
	}
	return load.Cost(now) / weight
}

// roundRobin passes over an endpoint whose weight is low as often as its
// weight says. After one whole turn it takes what comes, so that it ends.
func (p *Picker) roundRobin(eps Endpoints, n int, now time.Duration) int {
	for range n {
		i := int(p.next.Add(1) % uint64(n))
		if w := eps.Weight(i, now); w >= 1 || rand.Float64() < w {
			return i
		}
	}
	return int(p.next.Add(1) % uint64(n))
}

// weightedRandom is rejection sampling: flat while weights are alike. Weights
// count up to 1 here; the heaviest endpoint is taken as 1 by the cluster.
func weightedRandom(eps Endpoints, n int, now time.Duration) int {
	const tries = 16
	i := rand.IntN(n)
	for range tries {
		if w := eps.Weight(i, now); w >= 1 || rand.Float64() < w {
			break
		}
		i = rand.IntN(n)
	}
	return i
}
