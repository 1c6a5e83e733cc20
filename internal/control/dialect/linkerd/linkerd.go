// Package linkerd reads what Linkerd's users write about requests: the
// ServiceProfile, and the annotations that bound and retry requests.
//
// In Linkerd a ServiceProfile with routes switches HTTPRoutes, breakers and
// those annotations off. Here all of it composes: Routes says where requests go
// (dstOverrides), one dialect among others; Overlay puts how they are treated on
// the rules of whichever dialect governs; Budget is the bound of retries; Check
// says what is wrong with an object, and where Linkerd would do otherwise.
//
// All of it is a pure function of the World.
package linkerd

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Routes are the rules of a ServiceProfile's dstOverrides for a port: where
// requests go. Its routes are no part of them; see Overlay.
func Routes(in routing.Input) routing.Answer {
	p, losers := governing(in)
	a := routing.Answer{Losers: losers}
	if p == nil || len(p.spec.DstOverrides) == 0 {
		return a
	}
	rule := routing.Rule{
		Name: fmt.Sprintf("serviceprofile/%s/%s/dstOverrides", p.object.Namespace, p.object.Name), Dialect: routing.Linkerd,
		Origin: origin.Of(p.object, "spec.dstOverrides"),
	}
	sum := uint64(0)
	for i, w := range weights(p.spec.DstOverrides) {
		b := destination(in, p.object, i, &p.spec.DstOverrides[i])
		b.Weight = origin.Said(w, p.object, fmt.Sprintf("spec.dstOverrides[%d].weight", i))
		sum += uint64(w)
		if b.Service != (model.Name{}) {
			a.Services = append(a.Services, b.Service)
		}
		rule.Backends = append(rule.Backends, b)
	}
	if sum == 0 {
		// Linkerd leaves out what has no weight, and without any the service
		// answers itself.
		a.Losers = append(a.Losers, routing.Loser{Origin: rule.Origin, Reason: "all of its weights are 0, so the service answers itself"})
		return a
	}
	a.Speaks, a.Rules = true, []routing.Rule{rule}
	return a
}

func weights(list []source.ProfileDestination) []uint32 {
	quantities := make([]*resource.Quantity, len(list))
	for i := range list {
		quantities[i] = list[i].Weight
	}
	return routing.Weights(quantities)
}

// destination is the backend of a dstOverride. One that does not exist keeps
// its share, which is answered with 500.
func destination(in routing.Input, o source.Object, i int, d *source.ProfileDestination) routing.Backend {
	b := routing.Backend{Origin: origin.Of(o, fmt.Sprintf("spec.dstOverrides[%d]", i)), Port: in.Port.Number}
	service, port, err := parseAuthority(d.Authority, in.Service.Namespace)
	if err != nil {
		b.Invalid = err.Error()
		return b
	}
	b.Service, b.Port = service, cmp.Or(port, in.Port.Number)
	switch s := in.World.Service(service.Namespace, service.Name); {
	case s == nil:
		b.Invalid = fmt.Sprintf("there is no service %s in namespace %s", service.Name, service.Namespace)
	case s.Port(b.Port) == nil:
		b.Invalid = fmt.Sprintf("service %s in namespace %s has no port %d; it has %s", service.Name, service.Namespace, b.Port, s.PortList())
	}
	return b
}

// parseAuthority reads HOST or HOST:PORT, where HOST is a service's full name,
// with or without a final dot, or NAME.NAMESPACE, or NAME. Port 0 is none.
func parseAuthority(authority, namespace string) (model.Name, uint16, error) {
	host, number, withPort := strings.Cut(authority, ":")
	port := uint64(0)
	if withPort {
		var err error
		if port, err = strconv.ParseUint(number, 10, 16); err != nil || port == 0 {
			return model.Name{}, 0, fmt.Errorf("authority %q: its port is not a number from 1 to 65535", authority)
		}
	}
	if a, ok := model.ParseAuthority(strings.TrimSuffix(host, "."), namespace); ok && a.Service != (model.Name{}) {
		return a.Service, uint16(port), nil
	}
	return model.Name{}, 0, fmt.Errorf("authority %q is not the name of a service", authority)
}
