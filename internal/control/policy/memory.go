package policy

import (
	"strconv"
	"time"

	"github.com/reclosermesh/recloser/internal/control/model"
)

// Remembered are the last good values of a service that says something by now
// that cannot be. They are the memory of a Table: all else follows from the
// World.
type Remembered struct {
	Namespace  string               `json:"namespace"`
	Service    string               `json:"service"`
	Balancer   Value[Balancer]      `json:"balancer"`
	FailFast   Value[time.Duration] `json:"failFast"`
	MaxWaiting Value[uint32]        `json:"maxWaiting"`
	Stacks     Value[bool]          `json:"stacks"`
	// RouteTo is as the annotation has it; unset: there is none.
	RouteTo Value[string] `json:"routeTo,omitzero"`
	// Failover is as its annotation has it.
	Failover Value[string] `json:"failover,omitzero"`
	Overflow Value[uint32] `json:"overflow,omitzero"`
	Breaker  *Breaker      `json:"breaker,omitempty"`
}

// Memory is what a Table does not have from its World, in no order. Restore
// takes it.
func (t *Table) Memory() []Remembered {
	var out []Remembered
	for name, p := range t.services {
		stale := p.balancer.Origin.Stale || p.failFast.Origin.Stale || p.maxWaiting.Origin.Stale ||
			p.stacks.Origin.Stale || p.routeTo.Origin.Stale || p.failover.Origin.Stale || p.overflow.Origin.Stale ||
			p.breaker != nil && p.breaker.Mode.Origin.Stale
		if stale {
			out = append(out, Remembered{
				Namespace: name.Namespace, Service: name.Name,
				Balancer: p.balancer, FailFast: p.failFast, MaxWaiting: p.maxWaiting, Breaker: p.breaker, Stacks: p.stacks,
				RouteTo:  Value[string]{Value: p.routeTo.Value.String(), Origin: p.routeTo.Origin},
				Failover: Value[string]{Value: writeTargets(p.failover.Value), Origin: p.failover.Origin}, Overflow: p.overflow,
			})
		}
	}
	return out
}

// Restore makes the Table of a World with the memory that the Table of an equal
// World had. Values that are still good are read from the World all the same.
// empty is what New gives.
func Restore(empty *Table, w *model.World, memory []Remembered) *Table {
	if len(memory) == 0 {
		return Build(empty, w)
	}
	prev := &Table{world: empty.world, root: empty.root, services: map[model.Name]*servicePolicy{}}
	for i := range memory {
		m := &memory[i]
		to, _ := parseTarget(m.RouteTo.Value) // it was written by target.String
		prev.services[model.Name{Namespace: m.Namespace, Name: m.Service}] = &servicePolicy{
			balancer: m.Balancer, failFast: m.FailFast, maxWaiting: m.MaxWaiting, breaker: m.Breaker, stacks: m.Stacks,
			routeTo:  Value[target]{Value: to, Origin: m.RouteTo.Origin},
			failover: Value[[]target]{Value: readTargets(m.Failover.Value), Origin: m.Failover.Origin}, overflow: m.Overflow,
		}
	}
	return Build(prev, w)
}

// String is the target as parseTarget reads it.
func (t target) String() string {
	if t.port == 0 {
		return t.host
	}
	return t.host + ":" + strconv.Itoa(int(t.port))
}
