package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Annotations of a Service about routing.
const (
	// StackAnnotation lets a Service's own routes and policy apply when it is a
	// backend of another's route: "true" or "false", the default. Routes do not
	// stack otherwise, as Gateway API and Linkerd have it.
	StackAnnotation = "recloser.io/stack-routes"
	// RouteToAnnotation sends all requests to another service: NAME,
	// NAME.NAMESPACE, each with an optional :PORT (default: the port that is
	// asked for). Any route of another dialect comes before it.
	RouteToAnnotation = "recloser.io/route-to"
)

// target is a port of a service, as an annotation names it.
type target struct {
	host string // NAME or NAME.NAMESPACE
	port uint16 // 0: the port that was asked for
}

const allowedTarget = "NAME or NAME.NAMESPACE of a Service, each with an optional :PORT"

// stacks reads StackAnnotation.
func (r *reader) stacks() Value[bool] {
	switch value, ok := r.values[StackAnnotation]; {
	case !ok:
		return Value[bool]{Value: false, Origin: Origin{Default: "Recloser: routes do not stack"}}
	case strings.TrimSpace(value) == "true", strings.TrimSpace(value) == "false":
		return Value[bool]{Value: strings.TrimSpace(value) == "true", Origin: r.origin(StackAnnotation)}
	default:
		r.bad(StackAnnotation, "bad-value", "this is neither true nor false", "true, false", "")
		return Value[bool]{}
	}
}

// routeTo reads RouteToAnnotation.
func (r *reader) routeTo() Value[target] {
	value, ok := r.values[RouteToAnnotation]
	if !ok {
		return Value[target]{}
	}
	t, err := parseTarget(value)
	if err != nil {
		r.bad(RouteToAnnotation, "bad-target", err.Error(), allowedTarget, "")
		return Value[target]{}
	}
	return Value[target]{Value: t, Origin: r.origin(RouteToAnnotation)}
}

// parseTarget reads NAME[.NAMESPACE][:PORT].
func parseTarget(value string) (target, error) {
	host, number, withPort := strings.Cut(strings.TrimSpace(value), ":")
	t := target{host: host}
	if withPort {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n == 0 {
			return target{}, fmt.Errorf("port %q is not a number from 1 to 65535", number)
		}
		t.port = uint16(n)
	}
	a, ok := model.ParseAuthority(host, "any")
	if !ok || a.Service == (model.Name{}) || strings.ContainsFunc(host, notInName) {
		return target{}, fmt.Errorf("%q is not the name of a Service", host)
	}
	return t, nil
}

// notInName tells what no name of a Service has in it.
func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.'
}

// maxLookUps bounds how many services' routes are looked at for one port: where
// services stack in layers, the ways through them multiply.
const maxLookUps = 256

// trail are the services that lead to one whose routes are stacked: one that
// comes again would lead round in a circle.
type trail struct {
	names []model.Name
	left  *int // look-ups, of all ways together
}

func newTrail() trail {
	left := maxLookUps
	return trail{left: &left}
}

// by is the trail that goes on by way of a service.
func (w trail) by(service model.Name) trail {
	return trail{append(slices.Clip(w.names), service), w.left}
}

// stack puts the routes of backends that stack in their place.
func (t *Table) stack(r *Routes, way trail) {
	rules, losers := routing.Stack(r.Rules, func(b *routing.Backend) ([]routing.Rule, bool) {
		p := t.services[b.Service]
		if p == nil || !p.stacks.Value || b.Invalid != "" || b.Subset != "" || b.Service == r.Service {
			return nil, false // a service that names itself means its endpoints
		}
		if i := slices.Index(way.names, b.Service); i >= 0 {
			r.Losers = append(r.Losers, routing.Loser{Origin: p.stacks.Origin, Reason: "its routes are not stacked here, for they lead round in a circle: " + circle(way.names[i:], b.Service)})
			return nil, false
		}
		if *way.left--; *way.left < 0 {
			if *way.left == -1 { // told once
				r.Losers = append(r.Losers, routing.Loser{Origin: p.stacks.Origin, Reason: fmt.Sprintf(
					"its routes, and those of further backends, are not stacked here: more than %d services would have to be looked at", maxLookUps)})
			}
			return nil, false
		}
		inner, err := t.routes(r.Client, b.Service, b.Port, way)
		if err != nil {
			return nil, false // the backend is invalid, and says so elsewhere
		}
		r.Services = append(append(r.Services, b.Service), inner.Services...)
		if len(inner.Rules) == 1 && inner.Dialect == routing.Recloser && inner.Rules[0].Name == defaultRule {
			return nil, false // nothing to stack
		}
		r.Losers = append(r.Losers, inner.Losers...)
		return inner.Rules, true
	})
	r.Rules, r.Losers = rules, append(r.Losers, losers...)
}

// lendBreaker lets a Service's breaker hold for the backends of its routes, as
// Linkerd has it: whoever sets failure accrual on the Service that callers name
// means all endpoints that its requests reach. VirtualServices are Istio's,
// where each destination has its own DestinationRule, and a backend that stacks
// keeps its own policy.
func (t *Table) lendBreaker(r *Routes) {
	p := t.services[r.Service]
	if p == nil || p.breaker == nil || r.Dialect == routing.Istio {
		return
	}
	r.Rules = slices.Clone(r.Rules)
	told := map[model.Name]bool{}
	for i := range r.Rules {
		rule := &r.Rules[i]
		rule.Backends = slices.Clone(rule.Backends)
		for j := range rule.Backends {
			b := &rule.Backends[j]
			own := t.services[b.Service]
			if b.Service == r.Service || b.Invalid != "" || own == nil || own.stacks.Value {
				continue
			}
			b.Via = r.Service
			if own.breaker != nil && !told[b.Service] {
				told[b.Service] = true
				r.Losers = append(r.Losers, routing.Loser{Origin: own.breaker.Mode.Origin, Reason: fmt.Sprintf(
					"requests to it by way of %s are under the breaker of %s, as in Linkerd; %s: \"true\" on %s keeps its own",
					r.Service.Name, r.Service.Name, StackAnnotation, b.Service.Name)})
			}
		}
	}
}

func circle(trail []model.Name, again model.Name) string {
	var names []string
	for _, n := range append(slices.Clone(trail), again) {
		names = append(names, n.Name+"."+n.Namespace)
	}
	return strings.Join(names, " → ")
}

// routedTo is the rule of a service that sends all of its requests to another
// one.
func (t *Table) routedTo(in routing.Input) routing.Answer {
	p := t.services[in.Service.Name]
	if p == nil || !p.routeTo.IsSet() || p.routeTo.Value.host == "" {
		return routing.Answer{}
	}
	b := t.routeToBackend(p, in.Service.Name, in.Port.Number)
	name := "service/" + in.Service.Namespace + "/" + in.Service.Name.Name + "/route-to"
	return routing.Answer{
		Speaks:   true,
		Rules:    []routing.Rule{{Name: name, Dialect: routing.Recloser, Origin: b.Origin, Backends: []routing.Backend{b}}},
		Services: []model.Name{b.Service},
	}
}

// routeToBackend is where all requests for a port of a service go.
func (t *Table) routeToBackend(p *servicePolicy, from model.Name, port uint16) routing.Backend {
	to, at := p.routeTo.Value, p.routeTo.Origin
	a, _ := model.ParseAuthority(to.host, from.Namespace)
	b := routing.Backend{Origin: at, Service: a.Service, Port: cmp.Or(to.port, port), Weight: Value[uint32]{Value: 1, Origin: at}}
	switch s := t.world.Service(b.Service.Namespace, b.Service.Name); {
	case s == nil:
		b.Invalid = fmt.Sprintf("there is no service %s in namespace %s", b.Service.Name, b.Service.Namespace)
	case s.Port(b.Port) == nil:
		b.Invalid = fmt.Sprintf("service %s in namespace %s has no port %d; it has %s", b.Service.Name, b.Service.Namespace, b.Port, s.PortList())
	}
	return b
}

// routeToFindings are what is wrong with the service that all requests for a
// Service go to, for any of its ports.
func (t *Table) routeToFindings(name model.Name, p *servicePolicy) []source.Problem {
	s := t.world.Service(name.Namespace, name.Name)
	if s == nil || !p.routeTo.IsSet() || p.routeTo.Value.host == "" {
		return nil
	}
	var out []source.Problem
	for i := range s.Ports {
		b := t.routeToBackend(p, name, s.Ports[i].Number)
		if b.Invalid == "" {
			continue
		}
		missing := t.world.Service(b.Service.Namespace, b.Service.Name) == nil
		find := source.Problem{
			Code: "no-such-port", Severity: source.Error, Field: source.AnnotationPath(RouteToAnnotation),
			Value:  p.object.Meta().GetAnnotations()[RouteToAnnotation],
			Reason: fmt.Sprintf("%s; requests to port %d are answered with 500", b.Invalid, s.Ports[i].Number),
		}
		if missing {
			find.Code, find.Mend = "no-such-backend", t.world.NearService(b.Service)
		}
		if missing || p.routeTo.Value.port != 0 {
			find.Reason = b.Invalid + "; all requests are answered with 500"
			return append(out, p.object.Problem(find))
		}
		out = append(out, p.object.Problem(find))
	}
	return out
}
