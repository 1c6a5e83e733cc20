package gateway

import (
	"fmt"
	"net/netip"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Check is what is wrong with a route or a policy, whoever asks.
func Check(w *model.World, o source.Object) []source.Problem {
	if p, ok := o.Value.(*source.GatewayBackendPolicy); ok {
		return checkPolicy(w, o, p)
	}
	r := read(o)
	if r == nil {
		return nil
	}
	c := compile(w, r, nil, nil)
	c.checkParents()
	c.checkHostnames()
	if r.gateways {
		c.note(source.Info, "no-effect", "spec.useDefaultGateways", string(gatewayv1.GatewayDefaultScopeAll), "", "there are no Gateways in a mesh", "")
	}
	if r.grpc && len(r.rules) == 0 {
		c.note(source.Warning, "no-rules", "spec.rules", "", "", "a GRPCRoute without rules matches nothing and is passed over", "")
	}
	if r.linkerd() {
		c.checkLinkerd()
	}
	return c.problems()
}

func (c *compiler) checkParents() {
	r := c.route
	if len(r.parents) == 0 {
		c.note(source.Warning, "no-parent", "spec.parentRefs", "", "", "a route without a parent has no effect", "name the Service whose requests it is for")
	}
	for i := range r.parents {
		p, field := &r.parents[i], sub("spec.parentRefs", i)
		name, ok := model.ParentService(p, r.Namespace)
		if !ok {
			c.otherParent(field, p)
			continue
		}
		if value(p.Group) == "core" && !r.linkerd() {
			c.note(source.Info, "core-group", field+".group", "core", `""`,
				"this is read as the core group, as Linkerd does; others know no group of this name", `write group: ""`)
		}
		c.checkParent(field, p, name)
	}
}

func (c *compiler) checkParent(field string, p *gatewayv1.ParentReference, name model.Name) {
	v := acceptance(c.world, c.route, p, name)
	s := c.world.Service(name.Namespace, name.Name)
	switch {
	case s == nil:
		c.note(source.Error, "no-matching-parent", field+".name", string(p.Name), "", v.message+", so the route has no effect", c.nearService(name))
	case v.reason == Conflicted:
		c.note(source.Warning, "conflicted", field, string(p.Name), "", v.message+"; this route has no effect there", "give the two different ports")
	case !v.ok && v.reason == gatewayv1.RouteReasonNoMatchingParent:
		field, value := sectionField(field, p)
		c.note(source.Error, "no-matching-parent", field, value, s.PortList(), v.message+", so the route has no effect", "")
	case v.ok:
		c.checkOpaque(field, p, s)
	}
}

// sectionField is the field of a reference that finds no port, with its value.
func sectionField(field string, p *gatewayv1.ParentReference) (at, v string) {
	switch {
	case value(p.Port) != 0:
		return field + ".port", fmt.Sprint(*p.Port)
	case value(p.SectionName) != "":
		return field + ".sectionName", string(*p.SectionName)
	default:
		return field + ".name", string(p.Name)
	}
}

// checkOpaque tells of a route for a port whose bytes nobody looks at.
func (c *compiler) checkOpaque(field string, p *gatewayv1.ParentReference, s *model.Service) {
	for i := range s.Ports {
		port := &s.Ports[i]
		if attached(p, c.route.Namespace, s, port) && port.Protocol.Protocol.Opaque() && (value(p.Port) != 0 || value(p.SectionName) != "" || len(s.Ports) == 1) {
			c.note(source.Warning, "opaque-port", field, fmt.Sprint(port.Number), "",
				fmt.Sprintf("what is spoken on this port is %s, which passes unread, so the route has no effect", port.Protocol.Protocol),
				"say appProtocol: http on the Service's port, if it is")
		}
	}
}

// otherParent tells of a parent that is no Service.
func (c *compiler) otherParent(field string, p *gatewayv1.ParentReference) {
	kind, group := string(value(p.Kind)), string(value(p.Group))
	if kind == "" {
		kind = "Gateway"
	}
	if kind == "Service" {
		c.note(source.Error, "no-matching-parent", field+".group", group, `""`,
			"a Service is of the core group, and a parent without a group is of Gateway API's; the route has no effect on it", `write group: ""`)
		return
	}
	c.note(source.Info, "other-parent", field+".kind", kind, "Service",
		"the mesh routes the requests to Services; to this parent another controller attaches the route", "")
}

func (c *compiler) checkHostnames() {
	for i, h := range c.route.hostnames {
		field := sub("spec.hostnames", i)
		if _, err := netip.ParseAddr(string(h)); err == nil {
			c.note(source.Warning, "hostname-address", field, string(h), "a host name", "host names are no addresses (HTTPRouteSpec, hostnames); this one is compared all the same", "")
		}
		if i == 0 {
			c.note(source.Info, "mesh-hostnames", field, string(h), "",
				"in a mesh the specification leaves open what host names do: here, as with Linkerd, the route holds for requests with these hosts only; others pass over the field",
				"leave them out, or match the header Host, which means the same everywhere")
		}
	}
}

// checkLinkerd tells of fields that Linkerd's own definition does not have.
func (c *compiler) checkLinkerd() {
	for i := range c.route.rules {
		r := &c.route.rules[i]
		if r.retry != nil {
			c.note(source.Info, "not-in-linkerd", r.field+".retry", "", "",
				"Linkerd's own HTTPRoute has no such field; here it is carried out", "with Linkerd, say it by retry.linkerd.io/http")
		}
		if r.timeouts != nil && r.timeouts.BackendRequest != nil {
			c.note(source.Info, "not-in-linkerd", r.field+".timeouts.backendRequest", string(*r.timeouts.BackendRequest), "",
				"Linkerd has this field and does not act on it; here it bounds each try", "")
		}
	}
}
