// Package istio reads Istio's VirtualServices: where the requests to a service,
// or to a host that is none, go, in the one form of package routing.
//
// Only what concerns callers inside of the mesh is read; a VirtualService that
// is bound to gateways alone has no say here. What Istio itself refuses is
// refused where the object is read (source), so what comes here is whole, and
// Check says what is allowed and most likely not meant.
//
// Everything is a pure function of its input.
package istio

import (
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Routes are the rules of VirtualServices for the requests to a port, in
// Istio's order: the http rules of one object.
func Routes(routing.Input) routing.Answer { return routing.Answer{} }

// TCP is the rule for the bytes that go to a port, of which nothing is known
// but who sends them: of tcp rules the first that is for the port and the
// client. It has one rule at most, with backends alone.
func TCP(routing.Input) routing.Answer { return routing.Answer{} }

// Asked is what a client asks for by a host that is no service.
type Asked struct {
	World  *model.World
	Client model.Client
	// Labels are the client's, nil where nothing is known of it.
	Labels map[string]string
	// Host without a port, and the port: 80 where none was written.
	Host string
	Port uint16
}

// Host are the rules of VirtualServices for a host that is no service, such as
// shop.example.com inside the mesh. An answer that does not speak is of a host
// that nobody knows. It depends on the services in the answer, and on
// model.HostOf(host) and model.AnyHost.
func Host(Asked) routing.Answer { return routing.Answer{} }

// Check tells what is wrong with a VirtualService, whoever asks.
func Check(*model.World, source.Object) []source.Problem { return nil }
