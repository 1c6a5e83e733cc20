package istio_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/dialect/istio"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// TestCheck has for each finding a VirtualService that gets it, beside one that
// is like it and does not.
func TestCheck(t *testing.T) {
	const to = "route: [{destination: {host: archive}}], retries: {attempts: 0}"
	rule := func(r string) string { return "  hosts: [shelf]\n  http: [{" + r + "}]" }
	tests := []struct {
		code, field string
		bad, good   string
	}{
		{"gateways-only", "spec.gateways", "  gateways: [edge]\n" + rule(to), "  gateways: [edge, mesh]\n" + rule(to)},
		{"unknown-host", "spec.hosts[0]", "  hosts: [shelve]\n  http: [{" + to + "}]", rule(to)},
		{"unknown-host", "spec.hosts[0]", "  hosts: [shelf.library]\n  http: [{" + to + "}]", "  hosts: [shelf.library.svc.cluster.local]\n  http: [{" + to + "}]"},
		{"no-service", "spec.hosts[0]", "  hosts: [a.example.com]\n  http: [{" + to + "}]", "  hosts: ['*.example.com']\n  http: [{" + to + "}]"},
		{"duplicate-host", "spec.hosts[1]", "  hosts: [shelf, shelf.library.svc.cluster.local]\n  http: [{" + to + "}]", "  hosts: [shelf, archive]\n  http: [{" + to + "}]"},
		{"wrong-protocol", "spec.tcp", "  hosts: [archive]\n  tcp: [{route: [{destination: {host: backup.vault.svc.cluster.local, port: {number: 80}}}]}]", "  hosts: [shelf]\n  tcp: [{route: [{destination: {host: shelf}}]}]"},
		{"not-supported", "spec.tls[0]", "  hosts: [shelf]\n  tls: [{match: [{sniHosts: [a]}], route: [{destination: {host: shelf}}]}]", rule(to)},
		{"not-supported", "spec.tcp[0].match[0].sourceSubnet", "  hosts: [shelf]\n  tcp: [{match: [{sourceSubnet: 10.0.0.0/8}], route: [{destination: {host: shelf}}]}]", "  hosts: [shelf]\n  tcp: [{match: [{port: 5432}], route: [{destination: {host: shelf}}]}]"},
		{"unknown-destination", "spec.http[0].route[0].destination", rule("route: [{destination: {host: archives}}], retries: {}"), rule(to)},
		{"unknown-destination", "spec.http[0].route[0].destination", rule("route: [{destination: {host: archive, port: {number: 1}}}]"), rule("route: [{destination: {host: archive, port: {number: 9000}}}]")},
		{"unknown-destination", "spec.http[0].route[0].destination", rule("route: [{destination: {host: shelf, subset: v1}}]"), rule("route: [{destination: {host: shelf, subset: v2}}]")},
		{"unknown-destination", "spec.http[0].mirror", rule("mirror: {host: nobody}, " + to), rule("mirror: {host: archive}, " + to)},
		{"unknown-port", "spec.http[0].match[0].port", rule("match: [{port: 81}], " + to), rule("match: [{port: 80}], " + to)},
		{"claims-match", "spec.http[0].match[0].headers", rule("match: [{headers: {'@request.auth.claims.a': {exact: b}}}], " + to), rule("match: [{headers: {a: {exact: b}}}], " + to)},
		{"no-effect", "spec.http[0].match[0].statPrefix", rule("match: [{statPrefix: a, port: 80}], " + to), rule("match: [{name: a, port: 80}], " + to)},
		{"no-effect", "spec.http[0].retries.retryRemoteLocalities", rule("retries: {attempts: 1, retryRemoteLocalities: true}, route: [{destination: {host: archive}}]"), rule("retries: {attempts: 1}, route: [{destination: {host: archive}}]")},
		{"no-effect", "spec.http[0].retries.retryOn", rule("retries: {attempts: 1, retryOn: retriable-headers}, route: [{destination: {host: archive}}]"), rule("retries: {attempts: 1, retryOn: 5xx}, route: [{destination: {host: archive}}]")},
		{"fault-keeps-retries", "spec.http[0].fault", rule("timeout: 1s, fault: {abort: {httpStatus: 500, percentage: {value: 1}}}, " + to), rule("fault: {abort: {httpStatus: 500, percentage: {value: 1}}}, " + to)},
		{"fault-without-share", "spec.http[0].fault.delay", rule("fault: {delay: {fixedDelay: 1s}}, " + to), rule("fault: {delay: {fixedDelay: 1s, percent: 3}}, " + to)},
		{"fault-without-share", "spec.http[0].fault.abort", rule("fault: {abort: {httpStatus: 500}}, " + to), rule("fault: {abort: {httpStatus: 500, percentage: {value: 0}}}, " + to)},
		{"rewrite-slash", "spec.http[0].rewrite.uri", rule("match: [{uri: {prefix: /a}}], rewrite: {uri: /}, " + to), rule("match: [{uri: {prefix: /a/}}], rewrite: {uri: /}, " + to)},
		{"rewrite-slash", "spec.http[0].rewrite.uri", rule("rewrite: {uri: /v1}, " + to), rule("match: [{uri: {exact: /a}}], rewrite: {uri: /v1/}, " + to)},
		{"deprecated-field", "spec.http[0].mirrorPercent", rule("mirror: {host: archive}, mirrorPercent: 3, " + to), rule("mirror: {host: archive}, mirrorPercentage: {value: 3}, " + to)},
		{"deprecated-field", "spec.http[0].corsPolicy.allowOrigin", rule("corsPolicy: {allowOrigin: ['*']}, " + to), rule("corsPolicy: {allowOrigins: [{exact: '*'}]}, " + to)},
		{"header-not-changed", `spec.http[0].headers.request.set["te"]`, rule("headers: {request: {set: {te: a}}}, " + to), rule("headers: {request: {set: {tea: a}}}, " + to)},
		{"not-supported", "spec.http[0].route[0].headers.request", rule("retries: {}, route: [{weight: 1, destination: {host: archive}, headers: {request: {set: {host: a}}}}, {weight: 1, destination: {host: shelf}}]"), rule("retries: {}, route: [{destination: {host: archive}, headers: {request: {set: {host: a}}}}]")},
		{"unused-delegate", "spec.hosts", "  http: [{" + to + "}]", rule(to)},
		{"no-default-retries", "spec.http[0]", rule("route: [{destination: {host: archive}}]"), rule(to)},
		{"same-host", "spec.hosts[0]", rule(to) + vs("a", "library", rule(to)), rule(to) + vs("a", "library", "  hosts: [archive]\n  http: [{"+to+"}]")},
		{"bad-delegate", "spec.http[0].delegate", rule("delegate: {name: nobody}"), rule(to)},
	}
	for _, tt := range tests {
		t.Run(tt.code+" "+tt.field, func(t *testing.T) {
			has := func(manifest string) bool {
				w := mustRead(t, vs("it", "library", manifest))
				var found bool
				for _, o := range w.Objects(source.VirtualService) {
					for _, p := range istio.Check(w, o) {
						if p.Line == 0 || p.File == "" || p.Object == "" || p.Reason == "" || strings.HasSuffix(p.Reason, ".") {
							t.Errorf("not a whole finding: %s", p.String())
						}
						found = found || p.Code == tt.code && p.Field == tt.field
					}
				}
				return found
			}
			if !has(tt.bad) {
				t.Errorf("not told of:\n%s", tt.bad)
			}
			if has(tt.good) {
				t.Errorf("told of:\n%s", tt.good)
			}
		})
	}
}

// TestRefused are kept from the mesh with their reasons; see also the golden
// istio_refused.
func TestRefused(t *testing.T) {
	_, problems := read(t, vs("bad", "library", "  hosts: [shelf]\n  http: [{route: [{destination: {host: a}}, {destination: {host: b}}], retries: {attempts: 0, retryOn: 5xx}}]"))
	var codes []string
	for _, p := range problems {
		codes = append(codes, p.Code)
	}
	slices.Sort(codes)
	if strings.Join(codes, " ") != "retries-off zero-weights" {
		t.Errorf("%q", codes)
	}
}
