package model

import (
	"strings"
	"testing"
)

func TestMatchHost(t *testing.T) {
	api := Name{Namespace: "shop", Name: "api"}
	order := []string{"*", "*.local", "*.cluster.local", "*.shop.svc.cluster.local", "api.shop.svc.cluster.local"}
	last := 0
	for _, host := range order {
		m, ok := MatchHost(host, "shop", api)
		if !ok || m.Length <= last || m.Pattern != strings.HasPrefix(host, "*") {
			t.Errorf("%s: %+v %v: it is more specific than those before", host, m, ok)
		}
		last = m.Length
	}
	for host, want := range map[string]bool{
		"api": true, "API": true, "api.shop.svc.cluster.local.": true, "*.SHOP.svc.cluster.local": true, "*api.shop.svc.cluster.local": true,
		"": false, "other": false, "api.shop": false, "*.other.svc.cluster.local": false, "api.*": false, "*.*.local": false, "api:80": false,
	} {
		if _, ok := MatchHost(host, "shop", api); ok != want {
			t.Errorf("%q: %v", host, ok)
		}
	}
	if _, ok := MatchHost("api", "web", api); ok {
		t.Error("a short name is one of the rule's own namespace")
	}
}

// FuzzMatchHost: whatever an exact host means, it fits that service and no other.
func FuzzMatchHost(f *testing.F) {
	for _, host := range []string{"api", "*", "*.local", "api.shop.svc.cluster.local", "a.b.c", ""} {
		f.Add(host, "shop")
	}
	f.Fuzz(func(t *testing.T, host, namespace string) {
		name, exact := RuleHost(host, namespace)
		m, ok := MatchHost(host, namespace, name)
		if exact && (!ok || m.Pattern) {
			t.Errorf("%q in %q is %v, and does not fit it", host, namespace, name)
		}
		if _, ok := MatchHost(host, namespace, Name{Namespace: name.Namespace, Name: name.Name + "x"}); exact && ok {
			t.Errorf("%q fits two services", host)
		}
	})
}
