// Package gateway reads Gateway API's routes for services (GAMMA, GEP-1294):
// HTTPRoute and GRPCRoute of gateway.networking.k8s.io, HTTPRoute of
// policy.linkerd.io, which is the same in an older group, and
// XBackendTrafficPolicy.
//
// Routes says what holds for the requests to one port, Status and Check what is
// to be said of one object: all three are made of one compilation of a route,
// so that they cannot disagree. The package is pure: it reads the World, and
// keeps nothing.
//
// What the specification leaves open, and what holds here:
//
//   - Paths by regular expression come behind exact paths and before prefixes.
//   - Host names of a route are compared with the request's authority. GEP-1294
//     wants nothing inferred from them; a route that is written for some hosts
//     only must not govern all.
//   - A rule without backendRefs leads to its parent.
//   - Routes of a client's own namespace for a Service of another (consumer
//     routes) take the place of all routes of the Service's namespace, port by
//     port; the two are not merged.
//   - Regular expressions are RE2's, and are compared with all of the value.
package gateway

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// Routes are the rules of HTTPRoutes and GRPCRoutes for a port, in the
// specification's order of precedence.
func Routes(in routing.Input) routing.Answer {
	var a routing.Answer
	lose := func(r *route, format string, args ...any) {
		a.Losers = append(a.Losers, routing.Loser{Origin: origin.Of(r.Object, ""), Reason: fmt.Sprintf(format, args...)})
	}
	var producers, consumers []*compiler
	for _, o := range in.Objects {
		r := read(o)
		if r == nil || !r.isAttached(in.Service, in.Port) {
			continue
		}
		if why := noFrontend(in.Service); why != "" {
			lose(r, "%s", why)
			continue
		}
		producer := r.Namespace == in.Service.Namespace
		if !producer && r.Namespace != in.Client.Namespace {
			lose(r, "it is of another namespace than the Service, so it is for callers in namespace %s only", r.Namespace)
			continue
		}
		c := compile(in.World, r, in.Service, in.Port)
		switch {
		case len(c.entries) == 0:
			lose(r, "it has no rule that can be carried out")
		case producer:
			producers = append(producers, c)
		default:
			consumers = append(consumers, c)
		}
	}
	governing := producers
	if len(consumers) > 0 {
		governing = consumers
		for _, c := range producers {
			lose(c.route, "%s is the caller's own, and a consumer's routes take the place of the Service's", oldest(consumers).route)
		}
	}
	governing = oneType(governing, lose)
	if len(governing) == 0 {
		return a
	}
	a.Speaks = true
	a.Rules = ordered(governing)
	for _, c := range governing {
		a.Services = append(a.Services, c.services...)
	}
	return a
}

// oneType are the routes that hold of those for one port, in the order of their
// age: those of gRPC, if there is any, else those of HTTP (GEP-1294, "Route
// types").
func oneType(list []*compiler, lose func(*route, string, ...any)) []*compiler {
	slices.SortFunc(list, func(a, b *compiler) int { return age(a.route, b.route) })
	first := slices.IndexFunc(list, func(c *compiler) bool { return c.route.grpc })
	if first < 0 {
		return list
	}
	var out []*compiler
	for _, c := range list {
		if c.route.grpc {
			out = append(out, c)
		} else {
			lose(c.route, "%s is for the same port, and a GRPCRoute comes before every HTTPRoute", list[first].route)
		}
	}
	return out
}

func oldest(list []*compiler) *compiler {
	return slices.MinFunc(list, func(a, b *compiler) int { return age(a.route, b.route) })
}

// noFrontend says why a Service cannot be a parent, empty where it can
// (GEP-1294, "Allowed service types").
func noFrontend(s *model.Service) string {
	switch spec := &s.Spec.Spec; {
	case spec.Type == corev1.ServiceTypeExternalName:
		return "Service " + s.Name.Name + " is of type ExternalName, which is an alias and no place to route from"
	case spec.ClusterIP == corev1.ClusterIPNone:
		return "Service " + s.Name.Name + " is headless, so it has no address of its own to route from"
	default:
		return ""
	}
}
