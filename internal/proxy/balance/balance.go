// Package balance chooses an endpoint among those that are ready.
//
// A Picker knows only counts, costs and weights: which endpoints are ready is
// the breaker's word, and the cluster (package upstream) hands in just those. A
// Ring or a Maglev table knows all endpoints, and finds the one that a hash
// belongs to; whoever asks goes on to the next where that one is not ready.
//
// Every choice costs the same whatever the number of endpoints and their
// weights, and none allocates or locks. What that takes (alias tables, rings)
// is made beforehand, when endpoints change.
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
	// LeastRequest takes some at random and of these the one with the fewest
	// requests in flight (Envoy's LEAST_REQUEST).
	LeastRequest
	// Random takes any.
	Random
	// RingHash takes the next on a ring from where a request's hash lies
	// (Envoy's RING_HASH, "ketama").
	RingHash
	// Maglev looks a request's hash up in a table (Envoy's MAGLEV; Eisenbud et
	// al., NSDI 2016).
	Maglev
)

var policyNames = [...]string{"peak-ewma", "round-robin", "least-request", "random", "ring-hash", "maglev"}

func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("balance.Policy(%d)", uint8(p))
}

// Hashes tells whether the policy places requests by a hash.
func (p Policy) Hashes() bool { return p == RingHash || p == Maglev }

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
	// Weights are the shares that they shall get; nil where all get the same.
	Weights() *Weights
	// Ramp is what of its share endpoint i shall get at now, above 0 and to 1:
	// slow start lowers it for a while.
	Ramp(i int, now time.Duration) float64
}

// DefaultChoices is how many endpoints LeastRequest compares (Envoy's
// choice_count).
const DefaultChoices = 2

// Picker chooses by one policy. Safe for concurrent use.
type Picker struct {
	policy  Policy
	choices int
	next    atomic.Uint64 // round robin
}

// NewPicker makes a Picker. choices is how many endpoints LeastRequest compares;
// 0: DefaultChoices. Those that hash choose by chance here.
func NewPicker(p Policy, choices int) *Picker {
	if choices < 1 {
		choices = DefaultChoices
	}
	return &Picker{policy: p, choices: choices}
}

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
	case LeastRequest:
		return p.leastRequest(eps, n, now)
	case PeakEWMA:
		return peakEWMA(eps, n, now)
	default:
		return draw(eps, n, now)
	}
}

// peakEWMA is "power of two choices" (Mitzenmacher): nearly as good as the best
// of all, and no herd runs to the one that looks best.
//
// Of the two, the cheaper is taken with odds of the squared costs: 4 to 1 where
// the other costs twice as much, 99 to 1 at ten times. To take it always would
// starve, at few requests per second, an endpoint that had one slow moment: it
// gets no request that could show it to be well again until the average has
// faded, tens of seconds later.
func peakEWMA(eps Endpoints, n int, now time.Duration) int {
	w := eps.Weights()
	i, j := drawTwo(eps, w, n, now)
	a, b := cost(eps, w, i, now), cost(eps, w, j, now)
	a, b = a*a, b*b
	if rand.Float64()*(a+b) < a {
		return j
	}
	return i
}

// cost is what a request at i may expect to wait.
func cost(eps Endpoints, w *Weights, i int, now time.Duration) float64 {
	return eps.Load(i).Cost(now, share(eps, w, i, now))
}

// share is what i shall get beside an endpoint of full weight: one that shall
// get half as much is as busy with half as many requests in flight.
func share(eps Endpoints, w *Weights, i int, now time.Duration) float64 {
	s := eps.Ramp(i, now)
	if w != nil {
		s *= w.Share(i)
	}
	return max(s, 1e-9)
}

// drawTwo draws two endpoints: different ones where all weigh the same.
// Otherwise the heavy are drawn twice in a row, as often as it takes for each to
// get its share where costs are equal.
func drawTwo(eps Endpoints, w *Weights, n int, now time.Duration) (i, j int) {
	i, j = draw(eps, n, now), draw(eps, n, now)
	if w == nil && i == j {
		j = another(eps, n, i, now)
	}
	return i, j
}

// another draws any but i, or i where slow start spares the other.
func another(eps Endpoints, n, i int, now time.Duration) int {
	if j := (i + 1 + rand.IntN(n-1)) % n; taken(eps, j, now) {
		return j
	}
	return i
}

// leastRequest draws some, each by its weight, and takes the one with the fewest
// requests in flight for its weight. As the first of equals is taken, an idle
// cluster's requests go by weight. Where all weigh the same no draw is of the
// best so far: of two endpoints, chance would send a quarter to the busier.
func (p *Picker) leastRequest(eps Endpoints, n int, now time.Duration) int {
	w := eps.Weights()
	best := draw(eps, n, now)
	least := busy(eps, w, best, now)
	for range p.choices - 1 {
		i := draw(eps, n, now)
		if i == best && w == nil {
			i = another(eps, n, i, now)
		}
		if b := busy(eps, w, i, now); b < least {
			best, least = i, b
		}
	}
	return best
}

func busy(eps Endpoints, w *Weights, i int, now time.Duration) float64 {
	return float64(eps.Load(i).Pending()) / share(eps, w, i, now)
}

// golden is 2^64 over the golden ratio: multiples of it fall into the gaps
// between those before (Weyl's sequence), so that weights get their shares in
// few requests and in an order that never bunches.
const golden = 0x9E3779B97F4A7C15

// mostDraws bounds how often slow start may have another endpoint drawn.
const mostDraws = 16

// roundRobin takes one after the other, and by weights as evenly as it can. It
// passes over an endpoint in slow start as often as its ramp says.
func (p *Picker) roundRobin(eps Endpoints, n int, now time.Duration) int {
	w := eps.Weights()
	i := 0
	for range mostDraws {
		if k := p.next.Add(1); w == nil {
			i = int(k % uint64(n)) //nolint:gosec // below n
		} else {
			i = w.At(k * golden)
		}
		if taken(eps, i, now) {
			break
		}
	}
	return i
}

// draw takes any, by weight.
func draw(eps Endpoints, n int, now time.Duration) int {
	w := eps.Weights()
	i := 0
	for range mostDraws {
		if i = at(w, n, rand.Uint64()); taken(eps, i, now) {
			break
		}
	}
	return i
}

// taken lets slow start have its say.
func taken(eps Endpoints, i int, now time.Duration) bool {
	r := eps.Ramp(i, now)
	return r >= 1 || rand.Float64() < r
}
