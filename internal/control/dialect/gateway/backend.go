package gateway

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// backends are those of the rule at hand. A rule without any leads to its
// parent, as Linkerd's do: on a route that is there to say something about
// timeouts or retries people leave them out. (Gateway API has no answer of its
// own for that; GEP-1294 has taken the same one back.)
func (c *compiler) backends(out *routing.Rule) []routing.Backend {
	if len(c.spec.backends) == 0 {
		if !c.route.linkerd() {
			c.note(source.Info, "no-backends", c.spec.field+".backendRefs", "", "",
				"a rule without backendRefs leads to the parent Service itself, as with Linkerd; other implementations of Gateway API answer 500",
				"name the Service as a backend")
		}
		if c.parent == nil {
			return nil
		}
		return []routing.Backend{{
			Origin: origin.Of(c.route.Object, c.spec.field), Service: c.parent.Name, Port: c.port.Number,
			Weight: origin.Default[uint32](1, "Gateway API: the parent itself, where no backend is named"),
		}}
	}
	list := make([]routing.Backend, 0, len(c.spec.backends))
	for i := range c.spec.backends {
		ref, field := &c.spec.backends[i], sub(c.spec.field+".backendRefs", i)
		b := c.backend(field, &ref.BackendObjectReference)
		b.Weight = origin.Default[uint32](1, "Gateway API: 1")
		if ref.Weight != nil {
			b.Weight = origin.Said(uint32(max(*ref.Weight, 0)), c.route.Object, field+".weight")
		}
		c.backendFilters(out, &b, field+".filters", ref.Filters)
		list = append(list, b)
	}
	if out.Redirect != nil { // of the only backend
		return nil
	}
	return list
}

// backendFilters are those for the requests to one backend. Headers can be
// changed for each; the rest is the rule's, so it can be carried out for an
// only backend.
func (c *compiler) backendFilters(out *routing.Rule, b *routing.Backend, field string, list []gatewayv1.HTTPRouteFilter) {
	for i := range list {
		f, at := &list[i], sub(field, i)
		switch f.Type {
		case gatewayv1.HTTPRouteFilterRequestHeaderModifier:
			b.RequestHeaders = c.carriedOut(c.edits(at+".requestHeaderModifier", f.RequestHeaderModifier), false)
		case gatewayv1.HTTPRouteFilterResponseHeaderModifier:
			b.ResponseHeaders = c.carriedOut(c.edits(at+".responseHeaderModifier", f.ResponseHeaderModifier), true)
		case gatewayv1.HTTPRouteFilterExtensionRef:
			c.extension(at, f.ExtensionRef)
		default:
			if len(c.spec.backends) > 1 {
				c.unsupported(at+".type", string(f.Type), "RequestHeaderModifier, ResponseHeaderModifier",
					"this filter is carried out for all of a rule's requests, not for those to one of several backends")
				continue
			}
			c.filters(out, field, list[i:i+1], false)
		}
	}
}

// backend finds what a reference leads to. Other namespaces need no
// ReferenceGrant in a mesh (GEP-1294, "Namespace boundaries").
func (c *compiler) backend(field string, ref *gatewayv1.BackendObjectReference) routing.Backend {
	name := model.Name{Namespace: c.route.Namespace, Name: string(ref.Name)}
	if ns := value(ref.Namespace); ns != "" {
		name.Namespace = string(ns)
	}
	b := routing.Backend{Origin: origin.Of(c.route.Object, field), Service: name, Port: uint16(value(ref.Port))}
	group, kind := string(value(ref.Group)), string(value(ref.Kind))
	if kind == "" {
		kind = "Service"
	}
	if !model.IsService(group, kind) {
		c.unresolved(&b, gatewayv1.RouteReasonInvalidKind, field+".kind", groupKind(group, kind), "Service",
			"requests cannot be sent to an object of this kind", "")
		return b
	}
	c.services = append(c.services, name)
	s := c.world.Service(name.Namespace, name.Name)
	switch {
	case s == nil:
		c.unresolved(&b, gatewayv1.RouteReasonBackendNotFound, field+".name", name.Name, "",
			"there is no Service "+name.Name+" in namespace "+name.Namespace, c.nearService(name))
	case s.Spec.Spec.Type == corev1.ServiceTypeExternalName:
		c.unresolved(&b, gatewayv1.RouteReasonInvalidKind, field+".name", name.Name, "",
			"a Service of type ExternalName has no endpoints", "")
	case ref.Port == nil:
		c.unresolved(&b, gatewayv1.RouteReasonBackendNotFound, field+".port", "", s.PortList(),
			"a Service as a backend needs the number of a port", portMend(s))
	case s.Port(b.Port) == nil && otherProtocol(s, *ref.Port):
		c.unresolved(&b, gatewayv1.RouteReasonUnsupportedProtocol, field+".port", fmt.Sprint(*ref.Port), s.PortList(),
			"this port of the Service is not one of TCP", "")
	case s.Port(b.Port) == nil:
		c.unresolved(&b, gatewayv1.RouteReasonBackendNotFound, field+".port", fmt.Sprint(*ref.Port), s.PortList(),
			"Service "+name.Name+" has no such port", portMend(s))
	}
	return b
}

// unresolved marks a backend whose share of the requests is answered with an
// error (HTTPRouteRule, backendRefs).
func (c *compiler) unresolved(b *routing.Backend, reason gatewayv1.RouteConditionReason, field, v, allowed, why, mend string) {
	b.Invalid = why
	c.fault(fault{
		Problem: source.Problem{
			Code: "bad-backend", Severity: source.Error, Field: field, Value: v, Allowed: allowed,
			Reason: why + "; its share of the requests is answered with " + c.refusal(), Mend: mend,
		},
		why:      why,
		resolved: reason,
	})
}

// nearService looks for a Service that may be meant.
func (c *compiler) nearService(name model.Name) string {
	if c.parent != nil {
		return "" // nobody reads it
	}
	for _, s := range c.world.Services() {
		if s.Name.Name == name.Name {
			return "there is one in namespace " + s.Namespace + "; is namespace: " + s.Namespace + " missing?"
		}
	}
	return c.world.NearService(name)
}

func portMend(s *model.Service) string {
	if len(s.Ports) == 1 {
		return fmt.Sprintf("write port: %d", s.Ports[0].Number)
	}
	return ""
}

func otherProtocol(s *model.Service, port int32) bool {
	for _, p := range s.Spec.Spec.Ports {
		if p.Port == port && p.Protocol != "" && p.Protocol != corev1.ProtocolTCP {
			return true
		}
	}
	return false
}

func groupKind(group, kind string) string {
	if group == "" {
		return kind
	}
	return group + "/" + kind
}

// mirror adds a copy of the requests. One that leads nowhere is left out
// (HTTPRequestMirrorFilter, backendRef).
func (c *compiler) mirror(out *routing.Rule, field string, f *gatewayv1.HTTPRequestMirrorFilter) {
	if f == nil {
		return
	}
	n := len(c.faults)
	b := c.backend(field+".backendRef", &f.BackendRef)
	for i := n; i < len(c.faults); i++ {
		c.faults[i].Reason = b.Invalid + "; no copies of requests are sent"
	}
	if b.Invalid != "" {
		return
	}
	m := routing.Mirror{Backend: b, Percent: origin.Default(100.0, "Gateway API: all requests")}
	m.Weight = origin.Default[uint32](1, "Gateway API: a mirror is one backend")
	if p := f.Percent; p != nil {
		m.Percent = origin.Said(float64(*p), c.route.Object, field+".percent")
	}
	if r := f.Fraction; r != nil {
		of := int32(100)
		if r.Denominator != nil {
			of = max(*r.Denominator, 1)
		}
		m.Percent = origin.Said(100*float64(r.Numerator)/float64(of), c.route.Object, field+".fraction")
	}
	out.Mirrors = append(out.Mirrors, m)
}
