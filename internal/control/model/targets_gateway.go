package model

import (
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// IsService tells whether a reference of Gateway API is to a Service. An object
// of the core group says so with an empty group; Linkerd's documents write
// "core", which is read as the same.
func IsService(group, kind string) bool {
	return (group == "" || group == "core") && kind == "Service"
}

// ParentService is the Service that a route names as its parent. Group and kind
// are a Gateway's where they are not said.
func ParentService(p *gatewayv1.ParentReference, namespace string) (Name, bool) {
	if p.Group == nil || p.Kind == nil || !IsService(string(*p.Group), string(*p.Kind)) {
		return Name{}, false
	}
	if p.Namespace != nil && *p.Namespace != "" {
		namespace = string(*p.Namespace)
	}
	return Name{Namespace: namespace, Name: string(p.Name)}, true
}

// parentTargets are the Services that a route is about: what it says of its
// parents holds for requests to them, wherever it sends these.
func parentTargets(parents []gatewayv1.ParentReference, namespace string) targets {
	var t targets
	for i := range parents {
		if s, ok := ParentService(&parents[i], namespace); ok && !slices.Contains(t.services, s) {
			t.services = append(t.services, s)
		}
	}
	return t
}

// policyTargets are the Services that a policy is attached to.
func policyTargets(refs []gatewayv1.LocalPolicyTargetReference, namespace string) targets {
	var t targets
	for _, r := range refs {
		s := Name{Namespace: namespace, Name: string(r.Name)}
		if IsService(string(r.Group), string(r.Kind)) && !slices.Contains(t.services, s) {
			t.services = append(t.services, s)
		}
	}
	return t
}
