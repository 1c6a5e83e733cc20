package gateway

import (
	"fmt"
	"math"
	"slices"
	"time"

	gatewayxv1alpha1 "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Defaults of a retryConstraint (GEP-3388).
const (
	defaultPercent      = 20
	defaultInterval     = 10 * time.Second
	defaultRetries      = 10
	defaultRateInterval = time.Second
)

// backendPolicy is an XBackendTrafficPolicy.
type backendPolicy struct {
	source.Object
	spec *gatewayxv1alpha1.BackendTrafficPolicySpec
}

// policiesFor are the policies for a service that constrain retries, the one
// that holds first: the oldest, as everywhere in Gateway API (GEP-713).
func policiesFor(w *model.World, service model.Name) []backendPolicy {
	var out []backendPolicy
	for _, o := range w.RulesOf(service, source.BackendTrafficPolicy) {
		p, ok := o.Value.(*source.GatewayBackendPolicy)
		if ok && o.Namespace == service.Namespace && p.Spec.RetryConstraint != nil {
			out = append(out, backendPolicy{o, &p.Spec})
		}
	}
	slices.SortFunc(out, func(a, b backendPolicy) int {
		return age(
			&route{Object: a.Object, created: a.Meta().GetCreationTimestamp().Time},
			&route{Object: b.Object, created: b.Meta().GetCreationTimestamp().Time},
		)
	})
	return out
}

// Budget is the retry budget that an XBackendTrafficPolicy sets for a service,
// false where none does. It holds for the retries of each caller; beyond it they
// get 503. The problems are those of the policies for the service.
func Budget(w *model.World, service model.Name) (routing.Budget, []source.Problem, bool) {
	list := policiesFor(w, service)
	if len(list) == 0 {
		return routing.Budget{}, nil, false
	}
	var problems []source.Problem
	for i := range list {
		problems = append(problems, checkPolicy(w, list[i].Object, list[i].Value.(*source.GatewayBackendPolicy))...)
	}
	return list[0].budget(), problems, true
}

func (p *backendPolicy) budget() routing.Budget {
	const field = "spec.retryConstraint"
	b := routing.Budget{
		Percent:      origin.Default[float64](defaultPercent, "Gateway API: 20% of the requests"),
		Interval:     origin.Default(defaultInterval, "Gateway API: 10 seconds"),
		MinPerSecond: origin.Default[uint32](defaultRetries, "Gateway API: 10 retries in a second"),
	}
	c := p.spec.RetryConstraint
	if d := c.Budget; d != nil {
		if d.Percent != nil {
			b.Percent = origin.Said(float64(*d.Percent), p.Object, field+".budget.percent")
		}
		if v, ok := interval(d.Interval); ok {
			b.Interval = origin.Said(v, p.Object, field+".budget.interval")
		}
	}
	if r := c.MinRetryRate; r != nil && (r.Count != nil || r.Interval != nil) {
		count, over := defaultRetries, defaultRateInterval
		if r.Count != nil {
			count = *r.Count
		}
		if v, ok := interval(r.Interval); ok {
			over = v
		}
		b.MinPerSecond = origin.Said(perSecond(count, over), p.Object, field+".minRetryRate")
	}
	return b
}

// perSecond is a rate in whole retries per second, rounded up: some are always
// allowed where somebody said so.
func perSecond(count int, over time.Duration) uint32 {
	return uint32(min(math.Ceil(float64(count)/over.Seconds()), math.MaxUint32))
}

func interval(d *gatewayxv1alpha1.Duration) (time.Duration, bool) {
	if d == nil {
		return 0, false
	}
	v, err := time.ParseDuration(string(*d))
	return v, err == nil && v > 0
}

// checkPolicy is what is wrong with a policy.
func checkPolicy(w *model.World, o source.Object, p *source.GatewayBackendPolicy) []source.Problem {
	var out []source.Problem
	note := func(sev source.Severity, code, field, value, allowed, reason, mend string) {
		out = append(out, o.Problem(source.Problem{
			Code: code, Severity: sev, Field: field, Value: value, Allowed: allowed, Reason: reason, Mend: mend,
		}))
	}
	if p.Spec.SessionPersistence != nil {
		note(source.Warning, "not-supported", "spec.sessionPersistence", "", "", "sessions are not kept by this policy here",
			"a DestinationRule with loadBalancer.consistentHash keeps a caller at an endpoint")
	}
	for i, ref := range p.Spec.TargetRefs {
		field := sub("spec.targetRefs", i)
		if !model.IsService(string(ref.Group), string(ref.Kind)) {
			note(source.Error, "bad-target", field+".kind", groupKind(string(ref.Group), string(ref.Kind)), "Service", "a policy for objects of this kind has no effect", "")
			continue
		}
		name := model.Name{Namespace: o.Namespace, Name: string(ref.Name)}
		if w.Service(name.Namespace, name.Name) == nil {
			note(source.Error, "bad-target", field+".name", name.Name, "",
				fmt.Sprintf("there is no Service %s in namespace %s, so the policy has no effect", name.Name, name.Namespace), "")
			continue
		}
		if p.Spec.RetryConstraint == nil {
			continue
		}
		if list := policiesFor(w, name); len(list) > 0 && list[0].Key != o.Key {
			note(source.Warning, "conflicted", field, name.Name, "", fmt.Sprintf("%s is for the same Service and comes first, so this policy has no effect on it", list[0].Key), "")
		}
	}
	return out
}
