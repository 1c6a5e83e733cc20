package model

import (
	"cmp"
	"maps"
	"slices"
	"strings"

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

// Rules are the DestinationRules for a service's host, of all namespaces, by
// namespace and name. They are not to be changed.
func (w *World) Rules(service Name) []source.Object { return w.rules[service] }

func ruleTarget(o source.Object) (Name, bool) {
	r, ok := o.Value.(*source.IstioDestinationRule)
	if !ok {
		return Name{}, false
	}
	return RuleHost(r.Spec.GetHost(), o.Namespace)
}

// changeRule takes over a DestinationRule: what it says concerns the service
// that it names, and the one that it named before.
func (b *builder) changeRule(k source.Key) {
	if !b.rulesCopied {
		b.world.rules = maps.Clone(b.prev.rules)
		if b.world.rules == nil {
			b.world.rules = map[Name][]source.Object{}
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
	service, ok := ruleTarget(o)
	if !ok {
		return
	}
	rules := slices.DeleteFunc(slices.Clone(b.world.rules[service]), func(r source.Object) bool { return r.Key == o.Key })
	if present {
		rules = append(rules, o)
		slices.SortFunc(rules, func(a, b source.Object) int {
			return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		})
	}
	if len(rules) == 0 {
		delete(b.world.rules, service)
	} else {
		b.world.rules[service] = rules
	}
	b.namespace(service.Namespace).dirty[service.Name] = true
}
