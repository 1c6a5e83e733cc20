package gateway

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// ControllerName is who writes a route's status.
const ControllerName gatewayv1.GatewayController = "recloser.io/mesh"

// Conflicted is the reason of a route that another type of route has taken the
// port from (GEP-1294, "Route types"). The module has no name for it.
const Conflicted gatewayv1.RouteConditionReason = "Conflicted"

// ParentStatus is what a route's status says of one of its parents, in the
// form in which Kubernetes stores it. Times are left out: whoever writes it
// knows when it changed.
type ParentStatus = gatewayv1.RouteParentStatus

// Status is the status of a route: one entry for each parent that is a
// Service; others are other controllers'. It is nil for an object of any other
// kind.
func Status(w *model.World, o source.Object) []ParentStatus {
	r := read(o)
	if r == nil {
		return nil
	}
	c := compile(w, r, nil, nil)
	var out []ParentStatus
	for i := range r.parents {
		p := &r.parents[i]
		if name, ok := model.ParentService(p, r.Namespace); ok {
			out = append(out, ParentStatus{
				ParentRef: *p, ControllerName: ControllerName,
				Conditions: c.conditions(acceptance(w, r, p, name)),
			})
		}
	}
	return out
}

// verdict is a condition in the making.
type verdict struct {
	ok      bool
	reason  gatewayv1.RouteConditionReason
	message string
}

// conditions are those towards a parent that would take the route, or not.
func (c *compiler) conditions(accepted verdict) []metav1.Condition {
	bad, first := c.badRules()
	partly := accepted.ok && len(bad) > 0 && len(bad) < len(c.route.rules)
	if accepted.ok && len(bad) > 0 && !partly {
		accepted = verdict{false, first.accepted, first.message()}
	}
	out := []metav1.Condition{
		c.condition(gatewayv1.RouteConditionAccepted, accepted),
		c.condition(gatewayv1.RouteConditionResolvedRefs, c.resolved()),
	}
	if partly {
		out = append(out, c.condition(gatewayv1.RouteConditionPartiallyInvalid, verdict{
			true, first.accepted, "Dropped Rule " + strings.Join(bad, ", ") + ", whose requests are answered with " + c.refusal() + ": " + first.message(),
		}))
	}
	return out
}

func (c *compiler) condition(t gatewayv1.RouteConditionType, v verdict) metav1.Condition {
	status := metav1.ConditionFalse
	if v.ok {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{
		Type: string(t), Status: status, Reason: string(v.reason), Message: v.message,
		ObservedGeneration: c.route.Meta().GetGeneration(),
	}
}

// badRules are the rules that cannot be carried out, by name, and the first
// fault of the first.
func (c *compiler) badRules() (names []string, first *fault) {
	last := -1
	for i := range c.faults {
		f := &c.faults[i]
		if f.accepted == "" || f.rule < 0 || f.rule == last {
			continue
		}
		last = f.rule
		names = append(names, c.route.rules[f.rule].label())
		if first == nil {
			first = f
		}
	}
	return names, first
}

// resolved tells whether all references lead somewhere. Of several reasons the
// first is told, with all messages.
func (c *compiler) resolved() verdict {
	v := verdict{true, gatewayv1.RouteReasonResolvedRefs, "all references lead to something"}
	var messages []string
	for i := range c.faults {
		f := &c.faults[i]
		if f.resolved == "" {
			continue
		}
		if v.ok {
			v.ok, v.reason = false, f.resolved
		}
		messages = append(messages, f.message())
	}
	if !v.ok {
		v.message = strings.Join(messages, "; ")
	}
	return v
}

// acceptance tells whether a parent takes a route, whatever its rules are.
func acceptance(w *model.World, r *route, p *gatewayv1.ParentReference, name model.Name) verdict {
	none := func(format string, args ...any) verdict {
		return verdict{false, gatewayv1.RouteReasonNoMatchingParent, fmt.Sprintf(format, args...)}
	}
	s := w.Service(name.Namespace, name.Name)
	if s == nil {
		return none("there is no Service %s in namespace %s", name.Name, name.Namespace)
	}
	if why := noFrontend(s); why != "" {
		return none("%s", why)
	}
	if r.grpc && len(r.rules) == 0 {
		return verdict{false, gatewayv1.RouteReasonUnsupportedValue, "the route has no rules, so it says nothing"}
	}
	var ports, taken []string
	var by *route
	for i := range s.Ports {
		port := &s.Ports[i]
		if !attached(p, r.Namespace, s, port) {
			continue
		}
		if other := rival(w, r, s, port); other != nil {
			taken, by = append(taken, fmt.Sprint(port.Number)), other
			continue
		}
		ports = append(ports, fmt.Sprint(port.Number))
	}
	switch {
	case len(ports)+len(taken) == 0:
		return none("%s; Service %s has %s", section(p), s.Name.Name, s.PortList())
	case len(ports) == 0:
		return verdict{false, Conflicted, fmt.Sprintf("%s is for the same port, and a GRPCRoute comes before every HTTPRoute", by)}
	}
	message := "it holds for port " + strings.Join(ports, ", ")
	if len(taken) > 0 {
		message += fmt.Sprintf("; port %s is governed by %s", strings.Join(taken, ", "), by)
	}
	if r.Namespace != s.Namespace {
		message += ", for callers in namespace " + r.Namespace
	}
	return verdict{true, gatewayv1.RouteReasonAccepted, message}
}

// section says which port a reference wants.
func section(p *gatewayv1.ParentReference) string {
	switch port, name := value(p.Port), value(p.SectionName); {
	case port != 0 && name != "":
		return fmt.Sprintf("there is no port %d with the name %s", port, name)
	case port != 0:
		return fmt.Sprintf("there is no port %d", port)
	case name != "":
		return fmt.Sprintf("there is no port with the name %s", name)
	default:
		return "there is no port of TCP"
	}
}

// rival is a GRPCRoute that takes a port from an HTTPRoute: the oldest of the
// route's own group, which are those of its namespace.
func rival(w *model.World, r *route, s *model.Service, port *model.Port) *route {
	if r.grpc {
		return nil
	}
	var first *route
	for _, o := range w.RulesOf(s.Name, source.GRPCRoute) {
		g := read(o)
		if g == nil || g.Namespace != r.Namespace || !g.isAttached(s, port) || len(compile(w, g, s, port).entries) == 0 {
			continue
		}
		if first == nil || age(g, first) < 0 {
			first = g
		}
	}
	return first
}
