package linkerd

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// profile is a ServiceProfile.
type profile struct {
	object source.Object
	spec   *source.ServiceProfileSpec
}

func profileOf(o source.Object) *profile {
	return &profile{object: o, spec: &o.Value.(*source.LinkerdServiceProfile).Spec}
}

// says tells whether the profile divides or sends requests. In Linkerd such a
// profile switches off what is newer than it.
func (p *profile) says() bool { return len(p.spec.Routes)+len(p.spec.DstOverrides) > 0 }

// isFor tells whether an object is the profile for a service in a namespace:
// its name is the service's full host name.
func isFor(o source.Object, service model.Name, namespace string) bool {
	return o.Kind == source.ServiceProfile && o.Namespace == namespace && o.Name == service.Host()
}

// governing is the profile that holds for requests of a client: the one in its
// own namespace, and else the one in the service's; the whole of it counts.
func governing(in routing.Input) (*profile, []routing.Loser) {
	var found *profile
	var losers []routing.Loser
	for _, namespace := range []string{in.Client.Namespace, in.Service.Namespace} {
		for _, o := range in.Objects {
			if !isFor(o, in.Service.Name, namespace) {
				continue
			}
			switch {
			case found == nil:
				found = profileOf(o)
			case found.object.Key != o.Key:
				losers = append(losers, routing.Loser{
					Origin: origin.Of(o, ""),
					Reason: found.object.String() + " is in the client's own namespace, and takes the place of the whole of it",
				})
			}
		}
	}
	return found, losers
}

// route is a route of a profile, ready to be composed.
type route struct {
	name  string
	field string // "spec.routes[0]"
	// alternatives of its condition: one of them must match.
	alternatives []routing.Match
	said         *source.ProfileRoute
}

// routes are those of the profile that can be used, in their order.
func (p *profile) routes() (good []route, bad []badRoute) {
	for i := range p.spec.Routes {
		r := &p.spec.Routes[i]
		field := fmt.Sprintf("spec.routes[%d]", i)
		alternatives, err := alternativesOf(r.Condition, field+".condition")
		if err != nil {
			bad = append(bad, badRoute{field, err})
			continue
		}
		good = append(good, route{name: r.Name, field: field, alternatives: alternatives, said: r})
	}
	return good, bad
}

// badRoute is a route that cannot be used.
type badRoute struct {
	field string
	err   *conditionError
}

// timeout is the bound of a route's exchange, unset where there is none or it
// cannot be read. Linkerd has no default and takes 0 for none.
func (p *profile) timeout(r *route) (origin.Value[time.Duration], error) {
	if strings.TrimSpace(r.said.Timeout) == "" {
		return origin.Value[time.Duration]{}, nil
	}
	d, err := time.ParseDuration(r.said.Timeout)
	if err != nil || d < 0 {
		return origin.Value[time.Duration]{}, errNoDuration
	}
	if d == 0 {
		return origin.Value[time.Duration]{}, nil
	}
	return origin.Said(d, p.object, r.field+".timeout"), nil
}

// failures are the statuses that count as failures of a route's requests, unset
// where it has no classes.
func (p *profile) failures(r *route) origin.Value[[]routing.StatusRange] {
	if len(r.said.ResponseClasses) == 0 {
		return origin.Value[[]routing.StatusRange]{}
	}
	return origin.Said(classify(r.said.ResponseClasses).failures(), p.object, r.field+".responseClasses")
}

// maxProfileAttempts is how often a retryable route's request is sent again at
// most. Linkerd leaves it to the budget alone, which a quiet service never
// reaches: one request could go round for as long as its timeout allows.
const maxProfileAttempts = 10

// retry is how requests of a route are sent again, nil where they are not.
func (p *profile) retry(r *route) *routing.Retry {
	if !r.said.IsRetryable {
		return nil
	}
	o := origin.Of(p.object, r.field+".isRetryable")
	classes := classify(r.said.ResponseClasses)
	retry := &routing.Retry{
		Origin:    o,
		Attempts:  origin.Default(uint32(maxProfileAttempts), "Recloser: a ServiceProfile has no bound but its budget"),
		AnyMethod: origin.Default(true, "Linkerd: methods are not checked"),
		OtherEndpoints: origin.Default(true,
			"Recloser: not the endpoint that failed"),
	}
	on := []string{"5xx"}
	if f := p.failures(r); f.IsSet() {
		on, retry.Statuses = nil, f
	}
	if !classes.decides(200) {
		// The classification of gRPC holds where the HTTP status, which is 200
		// with gRPC, is not classified.
		on = append(on, "deadline-exceeded", "internal", "unavailable")
	}
	retry.On = origin.Value[[]string]{Value: on, Origin: o}
	return retry
}

var errNoDuration = errors.New("this is not a duration")
