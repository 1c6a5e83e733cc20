package policy

import (
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
	Breaker    *Breaker             `json:"breaker,omitempty"`
}

// Memory is what a Table does not have from its World, in no order. Restore
// takes it.
func (t *Table) Memory() []Remembered {
	var out []Remembered
	for name, p := range t.services {
		stale := p.balancer.Origin.Stale || p.failFast.Origin.Stale || p.maxWaiting.Origin.Stale ||
			p.breaker != nil && p.breaker.Mode.Origin.Stale
		if stale {
			out = append(out, Remembered{name.Namespace, name.Name, p.balancer, p.failFast, p.maxWaiting, p.breaker})
		}
	}
	return out
}

// Restore makes the Table of a World with the memory that the Table of an equal
// World had. Values that are still good are read from the World all the same.
func Restore(w *model.World, memory []Remembered) *Table {
	if len(memory) == 0 {
		return Build(nil, w)
	}
	prev := &Table{world: &model.World{}, services: map[model.Name]*servicePolicy{}}
	for i := range memory {
		m := &memory[i]
		prev.services[model.Name{Namespace: m.Namespace, Name: m.Service}] = &servicePolicy{
			balancer: m.Balancer, failFast: m.FailFast, maxWaiting: m.MaxWaiting, breaker: m.Breaker,
		}
	}
	return Build(prev, w)
}
