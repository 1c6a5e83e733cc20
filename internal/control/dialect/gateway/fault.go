package gateway

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// fault is something about a rule that people should know.
type fault struct {
	source.Problem
	why  string // the Problem's reason without what follows from it
	rule int    // -1: of the route
	// accepted is the reason of the condition Accepted, or PartiallyInvalid,
	// where the rule cannot be carried out; resolved that of ResolvedRefs where
	// a reference leads nowhere.
	accepted, resolved gatewayv1.RouteConditionReason
	// refuse: the rule's requests are answered with an error.
	refuse bool
}

// compiler makes rules of a route.
type compiler struct {
	world *model.World
	route *route
	// parent and port are whose requests the rules are for. A nil parent: they
	// are for nobody, and only what is wrong is asked for.
	parent *model.Service
	port   *model.Port

	index    int       // of the rule at hand
	spec     *ruleSpec // the rule at hand
	matching bool      // its matches are at hand
	faults   []fault
	entries  []entry
	services []model.Name
}

// entry is a rule with its rank among all rules for a port.
type entry struct {
	rank rank
	rule routing.Rule
}

// compile makes rules of all that a route says.
func compile(w *model.World, r *route, parent *model.Service, port *model.Port) *compiler {
	c := &compiler{world: w, route: r, parent: parent, port: port, index: -1}
	for i := range r.rules {
		c.index, c.spec = i, &r.rules[i]
		c.rule()
	}
	c.index = -1
	return c
}

// fault notes something about the rule at hand.
func (c *compiler) fault(f fault) {
	f.rule = c.index
	c.faults = append(c.faults, f)
}

// note is a fault that changes nothing.
func (c *compiler) note(sev source.Severity, code, field, value, allowed, reason, mend string) {
	c.fault(fault{Problem: source.Problem{
		Code: code, Severity: sev, Field: field, Value: value, Allowed: allowed, Reason: reason, Mend: mend,
	}})
}

// unsupported is a value that is not known; the specification wants it told as
// UnsupportedValue, and the rule is not carried out.
func (c *compiler) unsupported(field, value, allowed, reason string) {
	c.fault(fault{
		Problem: source.Problem{
			Code: "unsupported-value", Severity: source.Error, Field: field, Value: value, Allowed: allowed,
			Reason: reason + "; " + c.consequence(),
		},
		why:      reason,
		accepted: gatewayv1.RouteReasonUnsupportedValue, refuse: true,
	})
}

// incompatible are filters that exclude each other.
func (c *compiler) incompatible(field, value, allowed, reason, mend string) {
	c.fault(fault{
		Problem: source.Problem{
			Code: "incompatible-filters", Severity: source.Error, Field: field, Value: value, Allowed: allowed,
			Reason: reason + "; the rule's requests are answered with " + c.refusal(), Mend: mend,
		},
		why:      reason,
		accepted: gatewayv1.RouteReasonIncompatibleFilters, refuse: true,
	})
}

// consequence of a part that is not known.
func (c *compiler) consequence() string {
	if c.matching {
		return "nothing is matched by this, and what the rule's other matches match is answered with " + c.refusal()
	}
	return "the rule's requests are answered with " + c.refusal()
}

// refusal is the answer to requests of a rule that cannot be carried out: 500,
// or for gRPC UNAVAILABLE (GRPCRouteRule, backendRefs), which is that of 503.
func (c *compiler) refusal() string {
	if c.route.grpc {
		return "UNAVAILABLE"
	}
	return "500"
}

func (c *compiler) refusalStatus() uint32 {
	if c.route.grpc {
		return 503
	}
	return 500
}

// refused is the first fault since n for which the rule's requests are refused.
func (c *compiler) refused(n int) *fault {
	for i := n; i < len(c.faults); i++ {
		if c.faults[i].refuse {
			return &c.faults[i]
		}
	}
	return nil
}

// message is what a condition says of it.
func (f *fault) message() string {
	if f.Value == "" {
		return f.Field + ": " + f.why
	}
	return fmt.Sprintf("%s: %q: %s", f.Field, f.Value, f.why)
}

// problems are the faults as findings about the route.
func (c *compiler) problems() []source.Problem {
	out := make([]source.Problem, 0, len(c.faults))
	for i := range c.faults {
		out = append(out, c.route.Object.Problem(c.faults[i].Problem))
	}
	return out
}

func sub(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }
