package policy

import (
	"fmt"

	"github.com/reclosermesh/recloser/internal/control/dialect/gateway"
	"github.com/reclosermesh/recloser/internal/control/dialect/linkerd"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// destination adds what DestinationRules say. Where the Service's own
// annotations speak about the same thing they come first: whoever runs the
// service wrote them, for this one service.
func (t *Table) destination(e *Effective, p *servicePolicy, client model.Client, s *model.Service, port *model.Port, subset string) {
	l := &lookup{world: t.world, root: t.root, client: client, labels: t.world.LabelsOf(client), service: s.Name}
	chain := l.chain()
	e.Losers = l.losers
	e.subset(chain, subset)
	b := blocksOf(chain, port.Number, subset)
	if len(chain) > 0 {
		for _, m := range chain {
			for _, o := range m.rules {
				e.Rules = append(e.Rules, origin.Of(o, ""))
			}
		}
		e.ConnectTimeout = connectTimeoutOf(b.pool)
		e.Limits = limitsOf(b.pool)
		e.Pool = poolOf(b.pool)
		e.TLS = tlsOf(b.tls, s.Name)
		e.Warmup = warmupOf(b.balancer)
		e.Locality = localityOf(b.balancer)
		e.balancer(b)
		e.outlier(b, p)
	}
	e.RetryBudget = t.budget(e, b, routing.Input{
		World: t.world, Client: client, Labels: l.labels, Service: s, Port: port, Objects: t.world.Rules(s.Name),
	})
}

// subset names the endpoints that requests go to.
func (e *Effective) subset(chain []*merged, name string) {
	if name == "" {
		return
	}
	e.Subset = &Subset{Name: name, Unknown: true}
	for _, m := range chain {
		if s, ok := m.subset(name); ok {
			at := fmt.Sprintf("spec.subsets[%d].labels", s.index)
			e.Subset.Unknown = false
			e.Subset.Labels = Value[map[string]string]{Value: s.GetLabels(), Origin: origin.Of(s.object, at)}
			return
		}
	}
	// Nothing to wait for.
	e.FailFast = fallback(0*e.FailFast.Value, "Recloser: there is no such subset")
}

func (e *Effective) balancer(b blocks) {
	said, hash := balancerOf(b.balancer)
	switch {
	case !said.IsSet():
	case e.Balancer.Origin.Default != "":
		e.Balancer, e.Hash = said, hash
	default:
		e.lose(said.Origin, e.Balancer.Origin, "balancer")
	}
}

// outlier takes the breaker of a rule, unless the Service has one of its own. A
// breaker that the Service asked for by something that is refused stays off.
func (e *Effective) outlier(b blocks, p *servicePolicy) {
	o := outlierOf(b.outlier)
	switch {
	case o == nil:
	case e.Breaker != nil:
		e.lose(origin.Of(b.outlier[0].object, b.outlier[0].field), e.Breaker.Mode.Origin, "breaker")
	case e.BreakerOff.Refused:
		e.lose(origin.Of(b.outlier[0].object, b.outlier[0].field), e.BreakerOff, "breaker")
	default:
		e.Outlier, e.BreakerOff = o, Origin{}
		if p.failFast.Origin.Default != "" {
			e.FailFast = fallback(0*e.FailFast.Value, "Envoy: refused at once")
		}
	}
}

func (e *Effective) lose(loser, winner Origin, what string) {
	e.Losers = append(e.Losers, routing.Loser{
		Origin: loser,
		Reason: fmt.Sprintf("%s %s decides the %s, and a Service's own annotations come before DestinationRules", winner.Object, winner.Field, what),
	})
}

// budget is the first that there is, in the order of the dialects.
func (t *Table) budget(e *Effective, b blocks, in routing.Input) *routing.Budget {
	var out *routing.Budget
	take := func(who string, found *routing.Budget, losers []routing.Loser) {
		e.Losers = append(e.Losers, losers...)
		switch {
		case found == nil:
		case out == nil:
			out = found
		default:
			at, written := saidOf(found)
			if !written {
				return // nobody wrote anything in vain
			}
			by, _ := saidOf(out)
			e.Losers = append(e.Losers, routing.Loser{
				Origin: at, Reason: fmt.Sprintf("%s bounds the retries, and comes before a %s", by, who),
			})
		}
	}
	if found, _, ok := gateway.Budget(in.World, in.Service.Name); ok {
		take("XBackendTrafficPolicy", &found, nil)
	}
	take("DestinationRule", budgetOf(b.budget), nil)
	found, losers := linkerd.Budget(in)
	take("ServiceProfile", found, losers)
	return out
}

// saidOf is where a budget was written, if it was: its first field that is no
// default.
func saidOf(b *routing.Budget) (at Origin, written bool) {
	for _, o := range []Origin{b.Percent.Origin, b.MinPerSecond.Origin, b.MinConcurrent.Origin, b.Interval.Origin} {
		if o.Object != "" {
			return o, true
		}
	}
	return b.Percent.Origin, false
}
