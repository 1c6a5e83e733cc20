package breaker

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// DefaultOverprovision is Envoy's overprovisioning factor, in percent: a tier
// takes all requests while at least 1/1.4 of its endpoints are closed.
const DefaultOverprovision = 140

// Tier is one level of failover of a Group (Envoy's priority): 0 is the first.
type Tier struct {
	// Endpoints of the tier, and those of them that are closed.
	Endpoints, Closed int
	// Load is the share of all requests that the tier is to get, in percent.
	// Over all tiers of a Group it adds up to 100.
	Load uint32
	// Panic: so few are closed that all of the tier's endpoints are used.
	Panic bool
}

// Spread sets Load and Panic of tiers from their numbers of endpoints, by
// Envoy's rules (its documentation of priority levels, and
// LoadBalancerBase::recalculatePerPriorityState):
//
//   - A tier's health is overprovision percent of its share of closed
//     endpoints, at most 100; what fits into 100 goes to the tiers in their
//     order, and if all together have less, in proportion.
//   - A tier panics when less than panicThreshold percent of it is closed and
//     all tiers together have less health than 100. When every tier panics, load
//     goes by the number of endpoints. A threshold of 0 never panics.
//
// Envoy counts in whole percents, and so takes one closed endpoint of 200 for
// none; where nothing is left but such, the first tier that has any gets all.
func Spread(tiers []Tier, overprovision uint32, panicThreshold float64) {
	if len(tiers) == 0 {
		return
	}
	health := make([]uint32, len(tiers))
	total := uint32(0)
	for i, t := range tiers {
		if t.Endpoints > 0 {
			health[i] = uint32(min(100, uint64(overprovision)*uint64(t.Closed)/uint64(t.Endpoints))) //nolint:gosec // at most 100
		}
		total = min(100, total+health[i])
	}
	spreadHealth(tiers, health, total)
	allPanic := panicThreshold > 0
	for i := range tiers {
		t := &tiers[i]
		t.Panic = total < 100 && panicThreshold > 0 && 100*float64(t.Closed) < panicThreshold*float64(max(t.Endpoints, 1))
		allPanic = allPanic && t.Panic
	}
	switch {
	case allPanic:
		spreadAll(tiers)
	case total == 0:
		i := slices.IndexFunc(tiers, func(t Tier) bool { return t.Closed > 0 || t.Panic && t.Endpoints > 0 })
		tiers[max(i, 0)].Load = 100
	}
}

// spreadHealth gives each tier what its health is of the total; what rounding
// leaves goes to the first that has any.
func spreadHealth(tiers []Tier, health []uint32, total uint32) {
	left, first := uint32(100), -1
	for i := range tiers {
		tiers[i].Load = 0
		if health[i] == 0 {
			continue
		}
		if first < 0 {
			first = i
		}
		tiers[i].Load = min(left, health[i]*100/total)
		left -= tiers[i].Load
	}
	if first >= 0 {
		tiers[first].Load += left
	}
}

// spreadAll goes by the number of endpoints, whatever their state.
func spreadAll(tiers []Tier) {
	all, first := 0, -1
	for i, t := range tiers {
		all += t.Endpoints
		if first < 0 && t.Endpoints > 0 {
			first = i
		}
	}
	left := uint32(100)
	for i := range tiers {
		tiers[i].Load = uint32(100 * tiers[i].Endpoints / max(all, 1)) //nolint:gosec // at most 100
		left -= tiers[i].Load
	}
	tiers[max(first, 0)].Load += left
}

// tier is the live side of a Tier. Guarded by the Group's mu, but for panicking,
// which is read without it.
type tier struct {
	endpoints, closed int
	panicking         atomic.Bool
}

// tierOf gives a tier by number, with those before it. mu is held.
func (g *Group) tierOf(n int) *tier {
	for len(g.tiers) <= n {
		g.tiers = append(g.tiers, &tier{})
	}
	return g.tiers[n]
}

// count takes an endpoint into its tier's numbers, or out of them. mu is held.
func (t *tier) count(n int, state State) {
	t.endpoints += n
	if state == Closed {
		t.closed += n
	}
}

// SetTier moves an endpoint to another tier, 0 being the first. Negative numbers
// are 0.
func (g *Group) SetTier(e *Endpoint, n int) {
	g.mu.Lock()
	defer g.unlock()
	state := stateOf(e.word.Load())
	if next := g.tierOf(max(n, 0)); state != gone && e.tier.Load() != next {
		e.tier.Load().count(-1, state)
		next.count(1, state)
		e.tier.Store(next)
		g.checkPanic(g.clock())
	}
}

// Tiers tells how requests are to be spread over the Group's tiers at this
// moment, by Spread.
func (g *Group) Tiers() []Tier {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.spread()
}

func (g *Group) spread() []Tier {
	out := make([]Tier, len(g.tiers))
	for i, t := range g.tiers {
		out[i].Endpoints, out[i].Closed = t.endpoints, t.closed
	}
	Spread(out, g.cfg.Guards.Overprovision, g.cfg.Guards.PanicThreshold)
	return out
}

// checkPanic starts or ends panic, of each tier by itself. mu is held.
func (g *Group) checkPanic(now time.Duration) {
	threshold := g.cfg.Guards.PanicThreshold
	if threshold == 0 && !g.panicking.Load() {
		return
	}
	tiers := g.spread()
	any := false
	for i, t := range tiers {
		panics := t.Panic && t.Closed < t.Endpoints
		any = any || panics
		if panics == g.tiers[i].panicking.Load() {
			continue
		}
		g.tiers[i].panicking.Store(panics)
		ev := Event{At: now, Kind: Panic, Reason: PanicEnded}
		if len(tiers) > 1 {
			ev.Detail = fmt.Sprintf("priority %d: ", i)
		}
		ev.Detail += fmt.Sprintf("%d of %d endpoints are ready, threshold %g%%", t.Closed, t.Endpoints, threshold)
		if panics {
			ev.Reason = PanicStarted
			ev.Detail += ": all are used"
			g.wake()
		}
		g.emit(ev, nil)
	}
	g.panicking.Store(any)
}
