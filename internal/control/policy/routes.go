package policy

import (
	"fmt"
	"slices"

	"github.com/reclosermesh/recloser/internal/control/dialect/gateway"
	"github.com/reclosermesh/recloser/internal/control/dialect/istio"
	"github.com/reclosermesh/recloser/internal/control/dialect/linkerd"
	"github.com/reclosermesh/recloser/internal/control/dialect/smi"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// Routes is where the requests of a client to one port of a service go.
type Routes struct {
	Client  model.Client `json:"client"`
	Service model.Name   `json:"service"`
	Port    uint16       `json:"port"`
	// Dialect that decides. Recloser where no route says anything.
	Dialect routing.Dialect `json:"dialect"`
	// Rules in the order of their precedence: the first that matches wins. A
	// request that none matches is answered with 404.
	Rules []routing.Rule `json:"rules"`
	// Losers were written for this port and have no effect on these requests.
	Losers []routing.Loser `json:"losers,omitempty"`
	// Services that this depends on, there or not.
	Services []model.Name `json:"-"`
}

// dialects are in the order in which they govern a port.
var dialects = []struct {
	name   routing.Dialect
	routes func(routing.Input) routing.Answer
}{
	{routing.GatewayAPI, gateway.Routes},
	{routing.Istio, istio.Routes},
	{routing.SMI, smi.Routes},
	{routing.Linkerd, linkerd.Routes},
}

// Routes puts together what all dialects say. port may be 0 where the service
// has one port.
func (t *Table) Routes(client model.Client, service model.Name, port uint16) (*Routes, error) {
	return t.routes(client, service, port, newTrail())
}

// routes is Routes for a service that is reached by way of others, whose routes
// are stacked upon its own.
func (t *Table) routes(client model.Client, service model.Name, port uint16, way trail) (*Routes, error) {
	s := t.world.Service(service.Namespace, service.Name)
	if s == nil {
		return nil, fmt.Errorf("there is no service %s in namespace %s", service.Name, service.Namespace)
	}
	p, err := portOf(s, port)
	if err != nil {
		return nil, err
	}
	in := routing.Input{
		World: t.world, Client: client, Labels: t.world.LabelsOf(client),
		Service: s, Port: p, Objects: t.world.Rules(service),
	}
	r := &Routes{Client: client, Service: service, Port: p.Number}
	for _, d := range dialects {
		r.take(d.name, d.routes(in))
	}
	r.take(routing.Recloser, t.routedTo(in))
	if r.Dialect == "" {
		r.Dialect = routing.Recloser
		r.Rules = []routing.Rule{toItself(s, p)}
	}
	rules, losers := linkerd.Overlay(in, r.Rules)
	r.Rules, r.Losers = rules, append(r.Losers, losers...)
	t.lendBreaker(r)
	t.stack(r, way.by(service))
	return r, nil
}

// HostRoutes are the rules for a host that is no Service, and whether anybody
// speaks of it. Only VirtualServices do.
func (t *Table) HostRoutes(client model.Client, host string, port uint16) (*Routes, bool) {
	a := istio.Host(istio.Asked{World: t.world, Client: client, Labels: t.world.LabelsOf(client), Host: host, Port: port})
	r := &Routes{Client: client, Service: model.HostOf(host), Port: port}
	r.take(routing.Istio, a)
	t.stack(r, newTrail())
	return r, a.Speaks
}

// TCP is where bytes to a port of a service go that are no requests: backends
// with weights, the service itself where no rule says anything.
func (t *Table) TCP(client model.Client, service model.Name, port uint16) (backends []routing.Backend, services []model.Name) {
	s := t.world.Service(service.Namespace, service.Name)
	if s == nil || s.Port(port) == nil {
		return nil, nil
	}
	p := s.Port(port)
	a := istio.TCP(routing.Input{
		World: t.world, Client: client, Labels: t.world.LabelsOf(client),
		Service: s, Port: p, Objects: t.world.Rules(service),
	})
	if a.Speaks && len(a.Rules) > 0 {
		return a.Rules[0].Backends, a.Services
	}
	return toItself(s, p).Backends, a.Services
}

// take adds a dialect's answer: the first that speaks governs, and the rules of
// all further ones lose.
func (r *Routes) take(d routing.Dialect, a routing.Answer) {
	r.Losers = append(r.Losers, a.Losers...)
	r.Services = append(r.Services, a.Services...)
	switch {
	case !a.Speaks:
	case r.Dialect == "":
		r.Dialect, r.Rules = d, a.Rules
	default:
		reason := fmt.Sprintf("%s governs this port, and %s comes before %s", r.governor(), r.Dialect, d)
		for _, o := range objectsOf(a.Rules) {
			r.Losers = append(r.Losers, routing.Loser{Origin: o, Reason: reason})
		}
	}
}

// governor names the object of the first rule.
func (r *Routes) governor() string {
	if len(r.Rules) == 0 {
		return "a route without rules"
	}
	return r.Rules[0].Origin.Object
}

// objectsOf are the objects that rules come from, each once.
func objectsOf(rules []routing.Rule) []origin.Origin {
	var out []origin.Origin
	for i := range rules {
		o := rules[i].Origin
		if !slices.ContainsFunc(out, func(have origin.Origin) bool { return have.Object == o.Object }) {
			out = append(out, o)
		}
	}
	return out
}

// defaultRule is the name of the rule of a port that no route is about.
const defaultRule = "default"

// toItself is the rule of a port that no route is about.
func toItself(s *model.Service, p *model.Port) routing.Rule {
	none := origin.Origin{Default: "Recloser: no route is about this port"}
	return routing.Rule{
		Name: defaultRule, Dialect: routing.Recloser, Origin: none,
		Backends: []routing.Backend{{
			Origin: none, Service: s.Name, Port: p.Number, Weight: origin.Value[uint32]{Value: 1, Origin: none},
		}},
	}
}
