package model

import "strings"

// InheritAnnotation of a Namespace lets its DestinationRules inherit: a rule has
// only to say what is different from the rules that are less specific. "true" on
// the root namespace is for all namespaces, "false" takes one out.
const InheritAnnotation = "recloser.io/inherit-destination-rules"

// HostMatch is how well the host of an Istio object fits a service.
type HostMatch struct {
	// Length is that of the pattern: of two, the longer is the more specific.
	// That of an exact host is longer than any pattern's.
	Length int
	// Pattern tells a host with a wildcard.
	Pattern bool
}

// exactLength is longer than a host name may be.
const exactLength = 1 << 10

// MatchHost tells whether the host of an object of a namespace is that of a
// service, or a pattern that it fits ("*", "*.demo.svc.cluster.local"). An
// empty host is none.
func MatchHost(host, namespace string, service Name) (HostMatch, bool) {
	if name, ok := RuleHost(host, namespace); ok {
		return HostMatch{Length: exactLength}, name == service
	}
	suffix, ok := strings.CutPrefix(strings.ToLower(strings.TrimSuffix(host, ".")), "*")
	if !ok || strings.Contains(suffix, "*") || !strings.HasSuffix(service.Host(), suffix) {
		return HostMatch{}, false
	}
	return HostMatch{Length: len(host), Pattern: true}, true
}
