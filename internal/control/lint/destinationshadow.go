package lint

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	networkingv1 "istio.io/api/networking/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// shadowed tells a rule of which nothing, or not the traffic policy, ever holds.
func (r *rule) shadowed() {
	if r.sameHost() || len(r.services) == 0 || r.table.Inherits(r.object.Namespace) {
		return
	}
	by := map[string]bool{}
	for _, s := range r.services {
		other, ok := r.before(s)
		if !ok {
			return
		}
		by[other.String()] = true
	}
	names := slices.Sorted(maps.Keys(by))
	what := names[0] + " holds"
	if len(names) > 1 {
		what = fmt.Sprintf("%s and %d more hold", names[0], len(names)-1)
	}
	r.add(Warning, "shadowed", "spec.host", r.spec.GetHost(), "", what+" for every service that this rule fits, so it has no effect",
		"remove it, or let the rules inherit by "+model.InheritAnnotation)
}

// sameHost tells that another rule of the namespace for the same host comes
// first; of that one's traffic policy and this one's only one can hold.
func (r *rule) sameHost() bool {
	for _, o := range r.rivals() {
		other := o.Value.(*source.IstioDestinationRule).Spec
		if o.Namespace != r.object.Namespace || !r.older(o) || !sameSelector(r.spec, other) || !r.equalHost(other) {
			continue
		}
		if r.spec.GetTrafficPolicy() != nil && other.GetTrafficPolicy() != nil {
			r.add(Warning, "shadowed", "spec.trafficPolicy", "", "", o.String()+" is for the same host and comes first, so this has no effect", "write both into one rule")
		}
		for i, s := range r.spec.GetSubsets() {
			if slices.ContainsFunc(other.GetSubsets(), func(t *networkingv1.Subset) bool { return t.GetName() == s.GetName() }) {
				r.add(Warning, "shadowed", "spec.subsets["+strconv.Itoa(i)+"]", s.GetName(), "", o.String()+" has a subset of this name for the same host and comes first", "give it another name")
			}
		}
		return true
	}
	return false
}

// rivals are all other rules that may be for the same services.
func (r *rule) rivals() []source.Object {
	var name model.Name
	if len(r.services) > 0 {
		name = r.services[0].Name
	} else {
		name, _ = model.RuleHost(r.spec.GetHost(), r.object.Namespace)
	}
	return slices.DeleteFunc(r.world.RulesOf(name, source.DestinationRule), func(o source.Object) bool { return o.Key == r.object.Key })
}

func (r *rule) older(o source.Object) bool {
	a, b := o.Meta().GetCreationTimestamp().Time, r.object.Meta().GetCreationTimestamp().Time
	return a.Before(b) || a.Equal(b) && o.Name < r.object.Name
}

func (r *rule) equalHost(other *networkingv1.DestinationRule) bool {
	a, exactA := model.RuleHost(r.spec.GetHost(), r.object.Namespace)
	b, exactB := model.RuleHost(other.GetHost(), r.object.Namespace)
	if exactA || exactB {
		return exactA && exactB && a == b
	}
	return r.spec.GetHost() == other.GetHost()
}

func sameSelector(a, b *networkingv1.DestinationRule) bool {
	return (a.GetWorkloadSelector() == nil) == (b.GetWorkloadSelector() == nil) &&
		maps.Equal(a.GetWorkloadSelector().GetMatchLabels(), b.GetWorkloadSelector().GetMatchLabels())
}

// before is a rule that comes before this one for all requests to a service:
// a more specific one of the same namespace, or for a rule of the root namespace
// one of the service's. One for some callers only takes nothing away.
func (r *rule) before(s *model.Service) (source.Object, bool) {
	mine, _ := model.MatchHost(r.spec.GetHost(), r.object.Namespace, s.Name)
	for _, o := range r.world.RulesOf(s.Name, source.DestinationRule) {
		spec := o.Value.(*source.IstioDestinationRule).Spec
		theirs, ok := model.MatchHost(spec.GetHost(), o.Namespace, s.Name)
		everybodys := spec.GetWorkloadSelector() == nil && (len(spec.GetExportTo()) == 0 || slices.Contains(spec.GetExportTo(), "*"))
		switch {
		case !ok || o.Key == r.object.Key || !everybodys:
		case o.Namespace == r.object.Namespace && theirs.Length > mine.Length,
			r.object.Namespace == r.table.RootNamespace() && o.Namespace == s.Namespace && o.Namespace != r.object.Namespace &&
				!r.table.Inherits(o.Namespace):
			return o, true
		}
	}
	return source.Object{}, false
}
