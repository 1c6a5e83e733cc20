// Package istio reads Istio's VirtualServices: where the requests to a service,
// or to a host that is none, go, in the one form of package routing.
//
// Only what concerns callers inside of the mesh is read; a VirtualService that
// is bound to gateways alone has no say here. What Istio itself refuses is
// refused where the object is read (source), so what comes here is whole, and
// Check says what is allowed and most likely not meant.
//
// For one host one VirtualService holds, as in Istio's sidecars (which merge
// those of gateways only): an exact host before a pattern, a longer pattern
// before a shorter one, one that is exported to the client's namespace alone
// before one for all, and then the older.
//
// Everything is a pure function of its input.
package istio

import (
	"fmt"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Routes are the rules of VirtualServices for the requests to a port: the http
// rules of the one that holds. Opaque ports have none.
func Routes(in routing.Input) routing.Answer {
	if in.Port.Protocol.Protocol.Opaque() {
		return routing.Answer{}
	}
	return forService(in).answer((*question).http)
}

// TCP is the rule for the bytes that go to a port, of which nothing is known
// but who sends them: of the tcp rules of the VirtualService that holds the
// first that is for the port and the client. It has one rule at most, with
// backends alone.
func TCP(in routing.Input) routing.Answer {
	return forService(in).answer((*question).tcp)
}

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
// shop.example.com inside the mesh, or one that would be the name of a Service
// that is not there. An answer that does not speak is of a host that nobody
// knows. It depends on the services in the answer, and on model.HostOf(host)
// and model.AnyHost.
func Host(a Asked) routing.Answer {
	q := &question{world: a.World, client: a.Client, labels: a.Labels, port: a.Port}
	q.hosts = []string{model.HostOf(a.Host).Name}
	q.objects = a.World.HostRules(a.Host)
	if p, ok := model.ParseAuthority(a.Host, a.Client.Namespace); ok && p.Service != (model.Name{}) {
		q.hosts = append(q.hosts, p.Service.Host())
		q.objects = append(q.objects, a.World.Rules(p.Service)...)
	}
	return q.answer((*question).http)
}

// question is what rules are looked for.
type question struct {
	world  *model.World
	client model.Client
	labels map[string]string
	// hosts are the names of what is asked for, full and in lower case.
	hosts   []string
	port    uint16
	objects []source.Object

	losers   []routing.Loser
	services []model.Name
}

func forService(in routing.Input) *question {
	return &question{
		world: in.World, client: in.Client, labels: in.Labels,
		hosts: []string{in.Service.Host()}, port: in.Port.Number, objects: in.Objects,
	}
}

// answer takes the rules of the first VirtualService that has any, and says of
// all others why they lost.
func (q *question) answer(rulesOf func(*question, source.Object) []routing.Rule) routing.Answer {
	var out routing.Answer
	var winner *candidate
	for _, c := range q.candidates() {
		if winner != nil {
			q.lose(origin.Of(c.object, c.field), "%s", whyLater(winner, &c))
			continue
		}
		if rules := rulesOf(q, c.object); len(rules) > 0 {
			winner, out.Speaks, out.Rules = &c, true, rules
		}
	}
	out.Losers, out.Services = q.losers, q.services
	return out
}

func (q *question) lose(o origin.Origin, format string, args ...any) {
	q.losers = append(q.losers, routing.Loser{Origin: o, Reason: fmt.Sprintf(format, args...)})
}

// shadowed adds a rule that comes after one for every request.
func (q *question) shadowed(o, by origin.Origin, all bool) {
	l := routing.Loser{Origin: o, Reason: by.Field + " comes before it and matches every request", Code: "shadowed-rule"}
	if all {
		l.Code = "two-match-all"
	}
	q.losers = append(q.losers, l)
}
