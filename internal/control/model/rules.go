package model

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/reclosermesh/recloser/internal/control/source"
)

// RuleHost is the service that the host of an Istio object stands for, by its
// form alone: a name without a dot is one of the object's namespace, as Istio
// has it, and all else must be a full host name.
func RuleHost(host, namespace string) (Name, bool) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || strings.ContainsAny(host, "*:") {
		return Name{}, false
	}
	if !strings.Contains(host, ".") {
		return Name{Namespace: namespace, Name: host}, true
	}
	short, cut := strings.CutSuffix(host, ".svc."+Domain)
	name, ns, dot := strings.Cut(short, ".")
	if !cut || !dot || name == "" || ns == "" || strings.Contains(ns, ".") {
		return Name{}, false
	}
	return Name{Namespace: ns, Name: name}, true
}

// Rules are the objects that say what should be done with calls to a service,
// of all kinds and namespaces: those that name it, and those that may be about
// any service. They are in the order of kind, namespace and name, and are not
// to be changed.
func (w *World) Rules(service Name) []source.Object {
	switch own := w.rules[service]; {
	case len(w.anyRules) == 0:
		return own
	case len(own) == 0:
		return w.anyRules
	default:
		out := slices.Concat(own, w.anyRules)
		slices.SortFunc(out, compareObjects)
		return slices.CompactFunc(out, func(a, b source.Object) bool { return a.Key == b.Key })
	}
}

// RulesOf are the Rules of some kinds.
func (w *World) RulesOf(service Name, kinds ...source.Kind) []source.Object {
	var out []source.Object
	for _, o := range w.Rules(service) {
		if slices.Contains(kinds, o.Kind) {
			out = append(out, o)
		}
	}
	return out
}

func compareObjects(a, b source.Object) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// targets are the services that an object is about. all: it may be about any,
// because it names them by a pattern, or is named by another object itself.
// An object whose change must be noticed for a service and that does not name
// it must say all.
type targets struct {
	services []Name
	all      bool
	// hosts are those that are no services.
	hosts []string
}

// targetsOf gives the targets of an object. rule: it is of a kind that says
// what should be done with calls.
func targetsOf(o source.Object) (t targets, rule bool) {
	switch v := o.Value.(type) {
	case *corev1.Namespace:
		// How its DestinationRules inherit, and the root's for all namespaces.
		_, says := v.Annotations[InheritAnnotation]
		return targets{all: says}, says
	case *source.IstioDestinationRule:
		return hostTargets(v.Spec.GetHost(), o.Namespace), true
	case *source.GatewayHTTPRoute:
		return parentTargets(v.Spec.ParentRefs, o.Namespace), true
	case *source.GatewayGRPCRoute:
		return parentTargets(v.Spec.ParentRefs, o.Namespace), true
	case *source.GatewayBackendPolicy:
		return policyTargets(v.Spec.TargetRefs, o.Namespace), true
	case *source.IstioVirtualService:
		return virtualServiceTargets(o, v), true
	case *source.LinkerdServiceProfile:
		return profileTargets(o.Name, o.Namespace), true
	case *source.SMITrafficSplit:
		return splitTargets(v.Spec.Service, o.Namespace), true
	case *source.SMIRouteGroup:
		return targets{all: true}, true // TrafficSplits name it
	default:
		return targets{}, false
	}
}

func isRule(o source.Object) bool {
	_, rule := targetsOf(o)
	return rule
}

// hostTargets are the targets of one host of an Istio object.
func hostTargets(host, namespace string) targets {
	if name, ok := RuleHost(host, namespace); ok {
		return targets{services: []Name{name}}
	}
	return targets{all: strings.Contains(host, "*") || host == ""}
}

// changeRule takes over an object that says what should be done with calls:
// it concerns the services that it names, and those that it named before.
func (b *builder) changeRule(k source.Key) {
	if !b.rulesCopied {
		b.world.rules = maps.Clone(b.prev.rules)
		if b.world.rules == nil {
			b.world.rules = map[Name][]source.Object{}
		}
		b.world.hostRules = maps.Clone(b.prev.hostRules)
		if b.world.hostRules == nil {
			b.world.hostRules = map[string][]source.Object{}
		}
		b.rulesCopied = true
	}
	if old, ok := b.prev.objects[k]; ok {
		b.putRule(old, false)
	}
	if o, ok := b.world.objects[k]; ok {
		b.putRule(o, true)
	}
}

func (b *builder) putRule(o source.Object, present bool) {
	t, _ := targetsOf(o)
	b.putHosts(o, t, present)
	for _, service := range t.services {
		rules := put(b.world.rules[service], o, present)
		if len(rules) == 0 {
			delete(b.world.rules, service)
		} else {
			b.world.rules[service] = rules
		}
		b.namespace(service.Namespace).dirty[service.Name] = true
	}
	if t.all {
		b.world.anyRules = put(b.world.anyRules, o, present)
		b.allDirty = true
	}
}

// put is a list of rules with an object or without it.
func put(rules []source.Object, o source.Object, present bool) []source.Object {
	rules = slices.DeleteFunc(slices.Clone(rules), func(r source.Object) bool { return r.Key == o.Key })
	if present {
		rules = append(rules, o)
		slices.SortFunc(rules, compareObjects)
	}
	return rules
}
