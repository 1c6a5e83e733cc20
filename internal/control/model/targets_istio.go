package model

import (
	"slices"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/source"
)

// virtualServiceTargets are the services among the hosts of a VirtualService,
// and the hosts that are none. One without hosts is a delegate, which another
// one names.
func virtualServiceTargets(o source.Object, v *source.IstioVirtualService) targets {
	hosts := v.Spec.GetHosts()
	t := targets{all: len(hosts) == 0}
	for _, h := range hosts {
		one := hostTargets(h, o.Namespace)
		t.services = append(t.services, one.services...)
		switch {
		case one.all:
			t.all, t.hosts = true, append(t.hosts, AnyHost.Name)
		case len(one.services) == 0:
			t.hosts = append(t.hosts, hostName(h))
		}
	}
	return t
}

// AnyHost stands in Changes for the hosts that rules name by a pattern, and for
// rules that others name: what was made from HostRules depends on it.
//
//nolint:gochecknoglobals // a constant; Go has none of structs
var AnyHost = Name{Name: "*"}

// HostOf stands in Changes for a host that is no service, of which rules may
// speak all the same: "shop.example.com". It has no namespace.
func HostOf(host string) Name { return Name{Name: hostName(host)} }

func hostName(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// HostRules are the objects that may be about a host that is no service: those
// that name it, those that name hosts by patterns, and those that others name.
// They are in the order of kind, namespace and name.
func (w *World) HostRules(host string) []source.Object {
	out := slices.Concat(w.hostRules[hostName(host)], w.hostRules[AnyHost.Name])
	slices.SortFunc(out, compareObjects)
	return slices.CompactFunc(out, func(a, b source.Object) bool { return a.Key == b.Key })
}

// putHosts keeps the objects about hosts that are no services.
func (b *builder) putHosts(o source.Object, t targets, present bool) {
	hosts := t.hosts
	if t.all && !slices.Contains(hosts, AnyHost.Name) {
		hosts = append(slices.Clone(hosts), AnyHost.Name)
	}
	for _, h := range hosts {
		if rules := put(b.world.hostRules[h], o, present); len(rules) > 0 {
			b.world.hostRules[h] = rules
		} else {
			delete(b.world.hostRules, h)
		}
	}
}

// changedHosts are the hosts that are no services of which rules speak
// differently.
func changedHosts(old, new *World) []Name {
	var out []Name
	for h, rules := range new.hostRules {
		if !slices.Equal(rules, old.hostRules[h]) {
			out = append(out, Name{Name: h})
		}
	}
	for h := range old.hostRules {
		if _, still := new.hostRules[h]; !still {
			out = append(out, Name{Name: h})
		}
	}
	return out
}
