package source_test

import (
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/source"
)

// TestTypoDoesNotWiden: a match, a parent, or a destination that lost what it
// says would be for every request, so its object is refused. A typo in what
// narrows nothing is a warning.
func TestTypoDoesNotWiden(t *testing.T) {
	heads := map[string]string{
		"vs":    "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}, spec: {hosts: [sc], ",
		"dr":    "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: a}, spec: {host: sc, ",
		"http":  "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: a}, spec: {",
		"grpc":  "{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: a}, spec: {",
		"sp":    "{apiVersion: linkerd.io/v1alpha2, kind: ServiceProfile, metadata: {name: sc.shop.svc.cluster.local}, spec: {",
		"split": "{apiVersion: split.smi-spec.io/v1alpha4, kind: TrafficSplit, metadata: {name: a}, spec: {service: sc, backends: [{service: sb, weight: 1}], ",
		"group": "{apiVersion: specs.smi-spec.io/v1alpha4, kind: HTTPRouteGroup, metadata: {name: a}, spec: {",
	}
	const vsTo, httpTo = ", route: [{destination: {host: sa}}]}]", ", backendRefs: [{name: sa, port: 80}]}]"
	for _, c := range []struct{ head, spec, field, code string }{
		{"vs", "http: [{match: [{uri: {prefx: /x}}]" + vsTo, "spec.http[0].match[0].uri.prefx", "unknown-field"},
		{"vs", "http: [{match: [{headers: {x-a: {exat: b}}}]" + vsTo, `spec.http[0].match[0].headers["x-a"].exat`, "unknown-field"},
		{"vs", "http: [{match: [{gurl: {prefix: /x}}]" + vsTo, "spec.http[0].match[0].gurl", "unknown-field"},
		{"vs", "http: [{matches: [{uri: {prefix: /x}}]" + vsTo, "spec.http[0].matches", "unknown-field"},
		{"vs", "http: [{match: [{uri: {prefix: }}]" + vsTo, "spec.http[0].match[0].uri", "empty-match"},
		{"vs", "http: [{route: [{destination: {host: sa, subest: v2}}]}]", "spec.http[0].route[0].destination.subest", "unknown-field"},
		{"vs", "http: [{fault: {abort: {httpStatus: 500, percentge: {value: 1}}}" + vsTo, "spec.http[0].fault.abort.percentge", "unknown-field"},
		{"vs", "gateway: [edge], http: [{name: a" + vsTo, "spec.gateway", "unknown-field"},
		{"vs", "http: [{timout: 3s" + vsTo, "", ""},
		{"dr", "subsets: [{name: v1, lables: {version: v1}}]", "spec.subsets[0].lables", "unknown-field"},
		{"dr", "workloadSelector: {matchLabel: {app: web}}", "spec.workloadSelector.matchLabel", "unknown-field"},
		{"dr", "trafficPolcy: {}", "", ""},
		{"http", "parentRefs: [{kind: Service, group: '', name: sc, prot: 80}]", "spec.parentRefs[0].prot", "unknown-field"},
		{"http", "hostname: [a.example], rules: [{name: a" + httpTo, "spec.hostname", "unknown-field"},
		{"http", "rules: [{match: [{path: {value: /x}}]" + httpTo, "spec.rules[0].match", "unknown-field"},
		{"http", "rules: [{matches: [{paths: {value: /x}}]" + httpTo, "spec.rules[0].matches[0].paths", "unknown-field"},
		{"http", "rules: [{matches: [{path: {typ: Exact, value: /x}}]" + httpTo, "spec.rules[0].matches[0].path.typ", "unknown-field"},
		{"http", "rules: [{timeout: {request: 1s}" + httpTo, "", ""},
		{"grpc", "rules: [{matches: [{method: {servce: a.B}}]" + httpTo, "spec.rules[0].matches[0].method.servce", "unknown-field"},
		{"sp", "routes: [{name: a, condition: {method: GET, pathRegx: /x}}]", "spec.routes[0].condition.pathRegx", "unknown-field"},
		{"split", "match: [{kind: HTTPRouteGroup, name: g}]", "spec.match", "unknown-field"},
		{"group", "matches: [{name: a, method: [GET]}]", "spec.matches[0].method", "unknown-field"},
	} {
		d := decode(heads[c.head] + c.spec + "}}\n")
		var errs []source.Problem
		for _, p := range d.Problems {
			if p.Severity == source.Error {
				errs = append(errs, p)
			}
		}
		switch {
		case c.code == "" && len(errs) == 0 && len(d.Objects) == 1 && len(d.Problems) == 1:
		case c.code != "" && len(errs) == 1 && errs[0].Code == c.code && errs[0].Field == c.field && len(d.Objects) == 0:
			if !strings.Contains(errs[0].Mend+errs[0].Allowed, "e") {
				t.Errorf("%s: nothing about what would be right: %+v", c.spec, errs[0])
			}
		default:
			t.Errorf("%s %s: %d objects, %+v", c.head, c.spec, len(d.Objects), d.Problems)
		}
	}
}

// TestWordsOfRefusals: what is allowed is said without the words of programs,
// and a count is not told as if it had been written.
func TestWordsOfRefusals(t *testing.T) {
	d := decode("{apiVersion: linkerd.io/v1alpha2, kind: ServiceProfile, metadata: {name: a.b.svc.cluster.local}, spec: {retryBudget: {minRetriesPerSecond: -1}}}\n")
	if len(d.Problems) != 1 || d.Problems[0].Allowed != "a whole number from 0 to 4294967295" {
		t.Errorf("%+v", d.Problems)
	}
	d = decode("{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: a}, spec: {rules: [" + strings.Repeat("{},", 18) + "]}}\n")
	if len(d.Problems) != 1 || d.Problems[0].Value != "" || d.Problems[0].Reason != "at most 16 entries; it has 18" {
		t.Errorf("%+v", d.Problems)
	}
}
