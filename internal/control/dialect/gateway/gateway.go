// Package gateway reads Gateway API's routes for services (GAMMA): HTTPRoute
// and GRPCRoute of gateway.networking.k8s.io, and the same of
// policy.linkerd.io.
package gateway

import (
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Routes are the rules of HTTPRoutes and GRPCRoutes for a port, in the
// specification's order of precedence.
func Routes(routing.Input) routing.Answer { return routing.Answer{} }

// ParentStatus is what a route's status says of one of its parents, in the
// form in which Kubernetes stores it. Times are left out: whoever writes it
// knows when it changed.
type ParentStatus = gatewayv1.RouteParentStatus

// Status is the status of a route: one entry for each parent that is a
// Service. It is nil for an object of any other kind.
func Status(*model.World, source.Object) []ParentStatus { return nil }

// Check is what is wrong with a route or a policy, whoever asks.
func Check(*model.World, source.Object) []source.Problem { return nil }

// Budget is the retry budget that an XBackendTrafficPolicy sets for a service,
// false where none does. The problems are those of the policies for it.
func Budget(*model.World, model.Name) (routing.Budget, []source.Problem, bool) {
	return routing.Budget{}, nil, false
}
