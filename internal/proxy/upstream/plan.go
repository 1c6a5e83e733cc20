package upstream

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/balance"
)

// This file says where requests go at one moment: to which priorities, within
// these to which localities, and there among which endpoints.
//
// The plan is made anew whenever a breaker has moved or the configuration is
// another, never by the hand of time alone; a request reads one pointer.

// plan is immutable.
type plan struct {
	levels []level // those that are to get requests, best first
}

// level is one priority.
type level struct {
	upTo    uint32 // of 100: the level's share ends here
	hash    *hashed
	members []*members       // one, or one for each locality
	weights *balance.Weights // of members; nil: all alike
}

// members are endpoints among which one picker chooses.
type members struct {
	endpoints []*Endpoint
	weights   *balance.Weights
	slowUntil time.Duration // when the last of them has started slowly
	picker    *balance.Picker
}

func (m *members) Len() int                  { return len(m.endpoints) }
func (m *members) Load(i int) *balance.Load  { return &m.endpoints[i].load }
func (m *members) Weights() *balance.Weights { return m.weights }

func (m *members) Ramp(i int, now time.Duration) float64 {
	if now >= m.slowUntil {
		return 1
	}
	return m.endpoints[i].breaker.Weight(now)
}

// hashed is all endpoints of a priority, ready or not, by the hashes that belong
// to them: keys stay where they are while a breaker is open, but for those of
// the endpoint that it is about.
type hashed struct {
	keys      []string
	weights   []float64
	table     balance.Hash
	endpoints []*Endpoint
}

// each calls f with every endpoint that gets requests, until it says no.
func (p *plan) each(f func(*Endpoint) bool) {
	for i := range p.levels {
		for _, m := range p.levels[i].members {
			for _, e := range m.endpoints {
				if !f(e) {
					return
				}
			}
		}
	}
}

// pick chooses an endpoint; nil where there is none.
func (p *plan) pick(now time.Duration, key Key) *Endpoint {
	if len(p.levels) == 0 {
		return nil
	}
	l := &p.levels[0]
	if len(p.levels) > 1 {
		l = p.level(key)
	}
	if l.hash != nil {
		return l.byHash(key)
	}
	return l.choose(now)
}

// level takes a priority by its share. A request with a hash has a place of its
// own in this too (Envoy's choosePriority).
func (p *plan) level(key Key) *level {
	at := uint32(key.Hash % 100)
	if !key.Hashed {
		at = rand.Uint32N(100)
	}
	last := len(p.levels) - 1
	for i := range p.levels[:last] {
		if at < p.levels[i].upTo {
			return &p.levels[i]
		}
	}
	return &p.levels[last]
}

// choose takes a locality by its weight, and there whom its picker says.
func (l *level) choose(now time.Duration) *Endpoint {
	m := l.members[0]
	if n := len(l.members); n > 1 {
		if l.weights != nil {
			m = l.members[l.weights.At(rand.Uint64())]
		} else {
			m = l.members[rand.IntN(n)]
		}
	}
	return m.endpoints[m.picker.Pick(m, now)]
}

// mostSteps bounds how far byHash goes on: where so many in a row are open, any
// other way is as good.
const mostSteps = 32

// byHash takes the endpoint that the key's hash belongs to, or the next after it
// that is ready. A request without a hash goes anywhere, as in Envoy.
func (l *level) byHash(key Key) *Endpoint {
	h := key.Hash
	if !key.Hashed {
		h = rand.Uint64()
	}
	for step := range mostSteps {
		e := l.hash.endpoints[l.hash.table.At(h, step)]
		if e.takes() {
			return e
		}
	}
	ready := l.members[0].endpoints
	return ready[h%uint64(len(ready))]
}

// takes tells whether the endpoint gets usual requests, by what its breaker
// says at this moment.
func (e *Endpoint) takes() bool {
	return e.breaker.State() == breaker.Closed || e.breaker.Panicking()
}

// makePlan is of what breakers say now. It tells the last priority that has a
// share, of those in use. mu is held.
func (c *Cluster) makePlan() (p *plan, last int) {
	tiers := c.group.Tiers()
	byLevel := c.byPriority(len(tiers))
	p = &plan{}
	share := uint32(0)
	for i, t := range tiers {
		if t.Load == 0 {
			continue
		}
		last = i
		share += t.Load
		l := level{upTo: share, members: c.localities(i, byLevel[i], t.Panic)}
		if i < len(c.hashes) {
			l.hash = c.hashes[i]
		}
		if len(l.members) == 0 {
			continue
		}
		l.weights = c.localityWeights(l.members, byLevel[i])
		p.levels = append(p.levels, l)
	}
	return p, last
}

// byPriority are the endpoints of each priority, ready or not. mu is held.
func (c *Cluster) byPriority(n int) [][]*Endpoint {
	if n < 2 {
		return [][]*Endpoint{c.list}
	}
	out := make([][]*Endpoint, n)
	for _, e := range c.list {
		if i := e.place.Load().Priority; int(i) < n {
			out[i] = append(out[i], e)
		}
	}
	return out
}

// pickerKey is whose picker it is: of a priority and, where these are chosen by
// weight, a locality.
type pickerKey struct {
	priority int
	locality Locality
}

// localities are the endpoints of a priority that get requests: in one list, or
// by locality. mu is held.
func (c *Cluster) localities(priority int, all []*Endpoint, panics bool) []*members {
	one := &members{endpoints: make([]*Endpoint, 0, len(all))}
	for _, e := range all {
		if panics || e.breaker.State() == breaker.Closed {
			one.endpoints = append(one.endpoints, e)
		}
	}
	if len(one.endpoints) == 0 {
		return nil
	}
	out := []*members{one}
	if c.cfg.Load().LocalityWeighted && weighty(one.endpoints) {
		out = split(one.endpoints)
	}
	for _, m := range out {
		k := pickerKey{priority: priority}
		if m != one {
			k.locality = m.endpoints[0].place.Load().Locality
		}
		m.picker, m.weights = c.pickerOf(k), weightsOf(m.endpoints)
		for _, e := range m.endpoints {
			m.slowUntil = max(m.slowUntil, e.breaker.SlowUntil())
		}
	}
	return out
}

// split makes a list of each locality that has a weight: Envoy gives the others
// nothing.
func split(ready []*Endpoint) []*members {
	var out []*members
	at := map[Locality]*members{}
	for _, e := range ready {
		place := e.place.Load()
		if place.LocalityWeight == 0 {
			continue
		}
		m := at[place.Locality]
		if m == nil {
			m = &members{}
			at[place.Locality] = m
			out = append(out, m)
		}
		m.endpoints = append(m.endpoints, e)
	}
	return out
}

func weighty(all []*Endpoint) bool {
	return slices.ContainsFunc(all, func(e *Endpoint) bool { return e.place.Load().LocalityWeight > 0 })
}

func weightsOf(list []*Endpoint) *balance.Weights {
	first := list[0].weight.Load()
	if !slices.ContainsFunc(list, func(e *Endpoint) bool { return e.weight.Load() != first }) {
		return nil
	}
	w := make([]float64, len(list))
	for i, e := range list {
		w[i] = float64(e.weight.Load())
	}
	return balance.NewWeights(w)
}

// pickerOf keeps pickers over plans, so that round robin goes on where it was.
// mu is held.
func (c *Cluster) pickerOf(k pickerKey) *balance.Picker {
	p := c.pickers[k]
	if p == nil {
		cfg := c.cfg.Load()
		p = balance.NewPicker(cfg.LB, int(cfg.Choices))
		c.pickers[k] = p
	}
	return p
}

// localityWeights are those of members, each lowered by what of its endpoints is
// ready, with the overprovisioning that priorities have too (Envoy's locality
// weighted load balancing).
func (c *Cluster) localityWeights(list []*members, all []*Endpoint) *balance.Weights {
	if len(list) < 2 {
		return nil
	}
	total := map[Locality]int{}
	for _, e := range all {
		total[e.place.Load().Locality]++
	}
	factor := float64(c.cfg.Load().overprovision()) / 100
	w := make([]float64, len(list))
	for i, m := range list {
		at := m.endpoints[0].place.Load()
		ready := float64(len(m.endpoints)) / float64(total[at.Locality])
		w[i] = float64(at.LocalityWeight) * min(1, factor*ready)
	}
	return balance.NewWeights(w)
}

// hashTables are made of the configuration alone, before anything is locked,
// with what did not change taken over. Its endpoints are not set yet.
func hashTables(cfg *Config, old []*hashed) []*hashed {
	if !cfg.LB.Hashes() {
		return nil
	}
	var out []*hashed
	byLocality := map[Place]float64{}
	for _, e := range cfg.Endpoints {
		byLocality[e.Place] += float64(max(e.Weight, 1))
	}
	for _, e := range cfg.Endpoints {
		for len(out) <= int(e.Place.Priority) {
			out = append(out, &hashed{})
		}
		h := out[e.Place.Priority]
		weight := float64(max(e.Weight, 1))
		if cfg.LocalityWeighted && e.Place.LocalityWeight > 0 {
			weight *= float64(e.Place.LocalityWeight) / byLocality[e.Place]
		}
		h.keys = append(h.keys, e.hashKey())
		h.weights = append(h.weights, weight)
	}
	for i, h := range out {
		switch {
		case len(h.keys) == 0:
			out[i] = nil
		case i < len(old) && old[i] != nil && slices.Equal(h.keys, old[i].keys) && slices.Equal(h.weights, old[i].weights):
			h.table = old[i].table
		case cfg.LB == balance.RingHash:
			h.table = balance.NewRing(h.keys, h.weights, cfg.MinRing, cfg.MaxRing)
		default:
			h.table = balance.NewTable(h.keys, h.weights, cfg.TableSize)
		}
	}
	return out
}
