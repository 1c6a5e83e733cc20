// Package smi reads the Service Mesh Interface's TrafficSplits (v1alpha1 to
// v1alpha4) with the HTTPRouteGroups that they name.
//
// A TrafficSplit divides the requests for its root service among backends, which
// are services of its namespace, by weight. With matches it divides those that
// match, and all others go to the root's own endpoints. Ports are not written:
// a backend is asked at the port that the root was asked at, and one without
// that port is left out, as the specification has it.
//
// All of it is a pure function of the World.
package smi

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// split is a TrafficSplit.
type split struct {
	object source.Object
	spec   *source.TrafficSplitSpec
}

func splitOf(o source.Object) *split {
	return &split{object: o, spec: &o.Value.(*source.SMITrafficSplit).Spec}
}

// Routes are the rules of TrafficSplits for a port. Of several for one service
// those with matches come first, then the older, then the first by name; of
// those without matches the first counts.
func Routes(in routing.Input) routing.Answer {
	var a routing.Answer
	whole := ""
	for _, s := range splits(in) {
		switch {
		case s.object.Namespace != in.Service.Namespace:
			a.Losers = append(a.Losers, routing.Loser{
				Origin: origin.Of(s.object, ""), Reason: "a TrafficSplit is for services of its own namespace",
			})
			continue
		case whole != "":
			a.Losers = append(a.Losers, routing.Loser{
				Origin: origin.Of(s.object, ""), Reason: whole + " divides all requests for this service, and comes first",
			})
			continue
		}
		rules, losers, services := s.rules(in)
		a.Rules, a.Losers, a.Services = append(a.Rules, rules...), append(a.Losers, losers...), append(a.Services, services...)
		a.Speaks = a.Speaks || len(rules) > 0
		if len(s.spec.Matches) == 0 && len(rules) > 0 {
			whole = s.object.String()
		}
	}
	if a.Speaks && whole == "" {
		a.Rules = append(a.Rules, root(in, a.Rules[0].Origin))
	}
	return a
}

// splits are the TrafficSplits for a service, in their order.
func splits(in routing.Input) []*split {
	var out []*split
	for _, o := range in.Objects {
		if o.Kind != source.TrafficSplit {
			continue
		}
		s := splitOf(o)
		if name, ok := model.RuleHost(s.spec.Service, o.Namespace); ok && name == in.Service.Name {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b *split) int {
		x, y := a.object.Meta().GetCreationTimestamp(), b.object.Meta().GetCreationTimestamp()
		first := func(s *split) int { return min(len(s.spec.Matches), 1) }
		return cmp.Or(cmp.Compare(first(b), first(a)), x.Compare(y.Time), cmp.Compare(a.object.Name, b.object.Name))
	})
	return out
}

// rules are those of one split: one for each match, or one for all requests.
func (s *split) rules(in routing.Input) (rules []routing.Rule, losers []routing.Loser, services []model.Name) {
	backends, losers, services := s.backends(in)
	name := fmt.Sprintf("trafficsplit/%s/%s", s.object.Namespace, s.object.Name)
	if len(s.spec.Matches) == 0 {
		return []routing.Rule{{
			Name: name, Dialect: routing.SMI, Origin: origin.Of(s.object, "spec.backends"), Backends: backends,
		}}, losers, services
	}
	matches, bad := s.matches(in.World)
	for _, b := range bad {
		losers = append(losers, routing.Loser{Origin: origin.Of(s.object, b.field), Reason: b.reason})
	}
	for _, m := range matches {
		for i, alternative := range m.alternatives {
			r := routing.Rule{
				Name: name + "/" + m.name, Dialect: routing.SMI, Origin: origin.Of(s.object, m.reference),
				Also: []origin.Origin{m.origin}, Match: alternative, Backends: backends,
			}
			if i > 0 {
				r.Name += fmt.Sprintf("/%d", i)
			}
			rules = append(rules, r)
		}
	}
	return rules, losers, services
}

// backends are those that can be asked at the port. Without any the root's own
// endpoints are asked.
func (s *split) backends(in routing.Input) (out []routing.Backend, losers []routing.Loser, services []model.Name) {
	sum := uint64(0)
	weights := s.weights()
	for i := range s.spec.Backends {
		at := fmt.Sprintf("spec.backends[%d]", i)
		name, why := s.backend(in.World, i, in.Port.Number)
		if name != (model.Name{}) {
			services = append(services, name)
		}
		if why != "" {
			losers = append(losers, routing.Loser{Origin: origin.Of(s.object, at), Reason: why})
			continue
		}
		sum += uint64(weights[i])
		out = append(out, routing.Backend{
			Origin: origin.Of(s.object, at), Service: name, Port: in.Port.Number,
			Weight: origin.Said(weights[i], s.object, at+".weight"),
		})
	}
	if sum > 0 {
		return out, losers, services
	}
	losers = append(losers, routing.Loser{Origin: origin.Of(s.object, "spec.backends"), Reason: "no backend has a weight, so the root's own endpoints are asked"})
	return []routing.Backend{itself(in, origin.Of(s.object, "spec.service"))}, losers, services
}

func (s *split) weights() []uint32 {
	quantities := make([]*resource.Quantity, len(s.spec.Backends))
	for i := range s.spec.Backends {
		quantities[i] = s.spec.Backends[i].Weight
	}
	return routing.Weights(quantities)
}

// backend is the service of a backend, and why it gets nothing.
func (s *split) backend(w *model.World, i int, port uint16) (name model.Name, why string) {
	host := s.spec.Backends[i].Service
	name, ok := model.RuleHost(host, s.object.Namespace)
	if !ok {
		return model.Name{}, fmt.Sprintf("%q is not the name of a service, so this backend is left out", host)
	}
	switch service := w.Service(name.Namespace, name.Name); {
	case name.Namespace != s.object.Namespace:
		return name, "a backend is a service of the TrafficSplit's own namespace, so this one is left out"
	case service == nil:
		return name, fmt.Sprintf("there is no service %s in namespace %s, so this backend is left out", name.Name, name.Namespace)
	case service.Port(port) == nil:
		return name, fmt.Sprintf("the backend is asked at port %d, as the root is, and it has %s, so it is left out", port, service.PortList())
	}
	return name, ""
}

// root is the rule of requests that no match takes.
func root(in routing.Input, from origin.Origin) routing.Rule {
	from.Field = "spec.service"
	return routing.Rule{
		Name:    fmt.Sprintf("trafficsplit/%s/%s/root", in.Service.Namespace, in.Service.Name.Name),
		Dialect: routing.SMI, Origin: from, Backends: []routing.Backend{itself(in, from)},
	}
}

func itself(in routing.Input, from origin.Origin) routing.Backend {
	return routing.Backend{Origin: from, Service: in.Service.Name, Port: in.Port.Number, Weight: origin.Value[uint32]{Value: 1, Origin: from}}
}
