package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	networkingv1 "istio.io/api/networking/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// RootNamespace holds the DestinationRules that are for the whole mesh, unless
// a Table is told of another one. It is Istio's default.
const RootNamespace = "istio-system"

// merged is what the DestinationRules of one namespace for one host, and for the
// same workloads, say together.
type merged struct {
	rules []source.Object // oldest first
	// policy is the rule whose traffic policy holds, if has.
	policy  source.Object
	has     bool
	subsets []subsetOf
}

// subsetOf is a subset and where it stands.
type subsetOf struct {
	object source.Object
	index  int
	*networkingv1.Subset
}

func (m *merged) subset(name string) (subsetOf, bool) {
	i := slices.IndexFunc(m.subsets, func(s subsetOf) bool { return s.GetName() == name })
	if i < 0 {
		return subsetOf{}, false
	}
	return m.subsets[i], true
}

func (m *merged) name() string { return m.rules[0].String() }

// lookup finds the DestinationRules for the requests of a client to a service.
type lookup struct {
	world   *model.World
	root    string
	client  model.Client
	labels  map[string]string
	service model.Name

	losers []routing.Loser
}

// candidate is a rule whose host fits.
type candidate struct {
	source.Object
	spec *networkingv1.DestinationRule
	host model.HostMatch
}

// chain gives the rules that hold, the one with the last word first. Istio looks
// in three namespaces, and the first with a rule decides alone: the client's
// (unless it is the root namespace), the service's, and the root namespace, and
// in each of them the most specific host. Where a namespace inherits, its rules
// only come before those of the next one, and so do the more specific ones
// before the less specific.
func (l *lookup) chain() []*merged {
	var out []*merged
	inherits := true
	for _, candidates := range l.levels() {
		if len(candidates) == 0 {
			continue
		}
		if !inherits {
			l.lose(candidates, fmt.Sprintf("%s holds for these requests, and rules of namespace %s come before those of namespace %s",
				out[len(out)-1].name(), out[len(out)-1].rules[0].Namespace, candidates[0].Namespace))
			continue
		}
		inherits = inheritsIn(l.world, l.root, candidates[0].Namespace)
		out = append(out, l.hosts(candidates, inherits)...)
	}
	return out
}

// levels are the candidates by namespace, in the order in which they decide.
func (l *lookup) levels() [][]candidate {
	order := []string{l.client.Namespace, l.service.Namespace, l.root}
	out := make([][]candidate, len(order))
	for _, o := range l.world.RulesOf(l.service, source.DestinationRule) {
		spec := o.Value.(*source.IstioDestinationRule).Spec
		host, ok := model.MatchHost(spec.GetHost(), o.Namespace, l.service)
		if !ok && spec.GetHost() != "" {
			continue
		}
		c := candidate{Object: o, spec: spec, host: host}
		if reason := l.unfit(c); reason != "" {
			l.lose([]candidate{c}, reason)
			continue
		}
		i := slices.Index(order, o.Namespace)
		if o.Namespace == l.root && l.client.Namespace == l.root && !private(spec.GetExportTo(), l.root) {
			i = slices.Index(order[1:], l.root) + 1 // its rules for all do not come before those of services
		}
		out[i] = append(out[i], c)
	}
	return out
}

// unfit says why a rule for the service is not for these requests.
func (l *lookup) unfit(c candidate) string {
	client, to := l.client.Namespace, c.spec.GetExportTo()
	switch selector := c.spec.GetWorkloadSelector(); {
	case c.Namespace != client && c.Namespace != l.service.Namespace && c.Namespace != l.root:
		return fmt.Sprintf("namespace %s is neither the client's (%s) nor the service's (%s) nor the root namespace (%s)",
			c.Namespace, client, l.service.Namespace, l.root)
	case !visible(to, c.Namespace, client):
		return "it is not exported to namespace " + client
	case selector != nil && c.Namespace != client:
		return "a rule with a workloadSelector is for callers of its own namespace only"
	case selector != nil && !within(selector.GetMatchLabels(), l.labels):
		return "its workloadSelector does not match " + l.client.String()
	case c.spec.GetHost() == "" && !inheritsIn(l.world, l.root, c.Namespace):
		return "a rule without a host is for others to inherit from, and in namespace " + c.Namespace + " nothing is inherited"
	}
	return ""
}

// hosts are the rules of one namespace by host, the most specific first; where
// nothing is inherited only those.
func (l *lookup) hosts(candidates []candidate, inherits bool) []*merged {
	slices.SortStableFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.host.Length, a.host.Length), older(a.Object, b.Object))
	})
	var out []*merged
	for len(candidates) > 0 {
		n := slices.IndexFunc(candidates, func(c candidate) bool { return c.host.Length != candidates[0].host.Length })
		if n < 0 {
			n = len(candidates)
		}
		if len(out) > 0 && !inherits {
			l.lose(candidates, out[0].name()+" has a more specific host")
			break
		}
		out = append(out, l.merge(candidates[:n]))
		candidates = candidates[n:]
	}
	return out
}

// older has the rule that was made first before, and of files the names decide.
func older(a, b source.Object) int {
	return cmp.Or(a.Meta().GetCreationTimestamp().Time.Compare(b.Meta().GetCreationTimestamp().Time), cmp.Compare(a.Name, b.Name))
}

// merge puts rules for one host together: those for these workloads before the
// ones for all; subsets add up, and of traffic policies the oldest counts.
func (l *lookup) merge(candidates []candidate) *merged {
	first := candidates[0]
	for _, c := range candidates {
		if c.spec.GetWorkloadSelector() != nil {
			first = c
			break
		}
	}
	selector := first.spec.GetWorkloadSelector()
	m := &merged{}
	for _, c := range candidates {
		own := c.spec.GetWorkloadSelector()
		switch {
		case own == nil && selector != nil:
			l.lose([]candidate{c}, first.String()+" is for the workload that calls, and comes before rules for all")
		case !maps.Equal(own.GetMatchLabels(), selector.GetMatchLabels()):
			l.lose([]candidate{c}, first.String()+" is for the workload that calls too, and comes first, by age and then by name")
		default:
			l.add(m, c)
		}
	}
	return m
}

func (l *lookup) add(m *merged, c candidate) {
	m.rules = append(m.rules, c.Object)
	switch {
	case c.spec.GetTrafficPolicy() == nil:
	case m.has:
		l.losers = append(l.losers, routing.Loser{
			Origin: origin.Of(c.Object, "spec.trafficPolicy"),
			Reason: m.policy.String() + " is for the same host and comes first, by age and then by name",
		})
	default:
		m.policy, m.has = c.Object, true
	}
	for i, s := range c.spec.GetSubsets() {
		if have, ok := m.subset(s.GetName()); ok {
			l.losers = append(l.losers, routing.Loser{
				Origin: origin.Of(c.Object, "spec.subsets["+strconv.Itoa(i)+"]"),
				Reason: have.object.String() + " has a subset of this name before",
			})
			continue
		}
		m.subsets = append(m.subsets, subsetOf{object: c.Object, index: i, Subset: s})
	}
}

func (l *lookup) lose(list []candidate, reason string) {
	for _, c := range list {
		l.losers = append(l.losers, routing.Loser{Origin: origin.Of(c.Object, ""), Reason: reason})
	}
}

// visible tells whether a rule of a namespace may be for a client of another.
func visible(to []string, from, client string) bool {
	return len(to) == 0 || slices.Contains(to, "*") || slices.Contains(to, client) || from == client && slices.Contains(to, ".")
}

// private tells a rule that is for callers of its own namespace only.
func private(to []string, from string) bool { return len(to) == 1 && (to[0] == "." || to[0] == from) }

// within tells whether labels have all of a selector.
func within(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// Inherits tells whether the DestinationRules of a namespace inherit from those
// that are less specific.
func (t *Table) Inherits(namespace string) bool { return inheritsIn(t.world, t.root, namespace) }

// inheritsIn tells whether the rules of a namespace inherit.
func inheritsIn(w *model.World, root, namespace string) bool {
	for _, name := range []string{namespace, root} {
		if o, ok := w.Object(source.Key{Kind: source.Namespace, Name: name}); ok {
			switch o.Meta().GetAnnotations()[model.InheritAnnotation] {
			case "true":
				return true
			case "false":
				return false
			}
		}
	}
	return false
}
