package lint_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// read makes a World and its policy of manifests, which must be good.
func read(t testing.TB, manifests string) (*model.World, *policy.Table) {
	t.Helper()
	dec := &source.Decoder{Source: "test", File: "mesh.yaml"}
	var objects []source.Object
	docs, lines := source.Split([]byte(manifests))
	for i, doc := range docs {
		d := dec.Decode(doc, lines[i])
		for _, p := range d.Problems {
			t.Fatalf("%s\n%s", p.String(), doc)
		}
		objects = append(objects, d.Objects...)
	}
	w := model.Build(nil, objects)
	return w, policy.Build(nil, w)
}

const services = `
apiVersion: v1
kind: Service
metadata: {name: a, namespace: demo}
spec: {ports: [{name: http, port: 80}], selector: {app: a}}
---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: demo}
spec: {ports: [{name: http, port: 80}, {name: alt, port: 8080}], selector: {app: b}}
---
apiVersion: v1
kind: Service
metadata: {name: c, namespace: demo}
spec: {ports: [{name: http, port: 80}], selector: {app: c}}
`

// route is an HTTPRoute for a service.
func route(name, service, rules string) string {
	return `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ` + name + `, namespace: demo}
spec:
  parentRefs: [{group: "", kind: Service, name: ` + service + `, port: 80}]
  rules: [` + rules + `]
`
}

// virtualService is one for service a.
func virtualService(http string) string {
	return `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: demo}
spec: {hosts: [a], http: [` + http + `]}
`
}

// deployment is a workload that calls what its environment names.
func deployment(name, env, more string) string {
	return `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ` + name + `, namespace: demo}
spec:
  selector: {matchLabels: {app: ` + name + `}}
  template:
    metadata: {labels: {app: ` + name + `}` + more + `}
    spec:
      containers:
      - name: main
        image: main
        ` + env + `
`
}

// annotated is service a with annotations.
func annotated(service, annotations string) string {
	return strings.Replace(services, "{name: "+service+", namespace: demo}", "{name: "+service+", namespace: demo, annotations: {"+annotations+"}}", 1)
}

const toB = `backendRefs: [{name: b, port: 80}]`

// TestPolicyCodes: each code has a manifest that raises it, at the field that is
// named, and one beside it that does not.
func TestPolicyCodes(t *testing.T) {
	profile := `---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: b.demo.svc.cluster.local, namespace: demo}
spec: {routes: [{name: r, condition: {method: GET}, isRetryable: true}]}
`
	split := func(version string) string {
		return `---
apiVersion: ` + version + `
kind: TrafficSplit
metadata: {name: s, namespace: demo}
spec: {service: a, backends: [{service: b, weight: 1}]}
`
	}
	retries := `retry.linkerd.io/http: 5xx, retry.linkerd.io/limit: "3"`
	chain := func(env string) string {
		both := strings.Replace(annotated("a", retries), "{name: b, namespace: demo}", "{name: b, namespace: demo, annotations: {"+retries+"}}", 1)
		return both + deployment("web", env, "") + deployment("a", `args: ["--db=b.demo:80"]`, "") + deployment("b", "", "")
	}
	probe := func(seconds string) string {
		return annotated("a", "balancer.linkerd.io/failure-accrual: unified") +
			deployment("a", "readinessProbe: {httpGet: {port: 80}, periodSeconds: "+seconds+", failureThreshold: 2}", "")
	}
	for _, tt := range []struct{ code, field, raises, not string }{
		{
			"shadowed-rule", "spec.rules[1]",
			services + route("r", "a", `{matches: [{path: {type: PathPrefix, value: /x}, method: GET}, {path: {type: PathPrefix, value: /x}}], `+toB+`}, {matches: [{path: {type: PathPrefix, value: /x}}], `+toB+`}`),
			services + route("r", "a", `{matches: [{path: {type: PathPrefix, value: /x}}], `+toB+`}, {matches: [{path: {type: PathPrefix, value: /y}}], `+toB+`}`),
		},
		{
			"two-match-all", "spec.rules[0]",
			services + route("r1", "a", `{`+toB+`}`) + route("r2", "a", `{`+toB+`}`),
			services + route("r1", "a", `{`+toB+`}`) + route("r2", "b", `{`+toB+`}`),
		},
		{
			"two-match-all", "spec.http[1]",
			services + virtualService(`{route: [{destination: {host: b}}]}, {route: [{destination: {host: c}}]}`),
			services + virtualService(`{match: [{uri: {prefix: /x}}], route: [{destination: {host: b}}]}, {route: [{destination: {host: c}}]}`),
		},
		{
			"shadowed-rule", "spec.http[1]",
			services + virtualService(`{route: [{destination: {host: b}}]}, {match: [{uri: {prefix: /x}}], route: [{destination: {host: c}}]}`),
			services + virtualService(`{match: [{uri: {prefix: /x}}], route: [{destination: {host: b}}]}, {match: [{uri: {prefix: /y}}], route: [{destination: {host: c}}]}`),
		},
		{
			"routes-not-stacked", "spec.rules[0].backendRefs[0]",
			services + route("r", "a", `{`+toB+`}`) + route("own", "b", `{backendRefs: [{name: c, port: 80}]}`),
			annotated("b", `recloser.io/stack-routes: "true"`) + route("r", "a", `{`+toB+`}`) + route("own", "b", `{backendRefs: [{name: c, port: 80}]}`),
		},
		{
			"has-no-effect", "spec.backends",
			services + split("split.smi-spec.io/v1alpha2") + route("r", "a", `{`+toB+`}`),
			services + split("split.smi-spec.io/v1alpha2") + route("r", "b", `{`+toB+`}`),
		},
		{
			"has-no-effect", "spec.http[0].match[0]",
			services + virtualService(`{match: [{port: 8080}], route: [{destination: {host: c}}]}`),
			strings.Replace(services, "{name: http, port: 80}", "{name: http, port: 80}, {name: alt, port: 8080}", 1) +
				virtualService(`{match: [{port: 8080}], route: [{destination: {host: c}}]}`),
		},
		{
			"zero-weights", "spec.rules[0]",
			services + route("r", "a", `{backendRefs: [{name: b, port: 80, weight: 0}]}`),
			services + route("r", "a", `{backendRefs: [{name: b, port: 80, weight: 0}, {name: a, port: 80}]}`),
		},
		{
			"port-and-weight-swapped", "spec.rules[0].backendRefs[0]",
			services + route("r", "a", `{backendRefs: [{name: b, port: 50, weight: 8080}]}`),
			services + route("r", "a", `{backendRefs: [{name: b, port: 50, weight: 7}]}`),
		},
		{
			"unsafe-retries", `metadata.annotations["retry.linkerd.io/http"]`,
			annotated("a", "retry.linkerd.io/http: 5xx"),
			annotated("a", "retry.linkerd.io/http: 5xx") + route("r", "a", `{matches: [{method: GET}], `+toB+`}`),
		},
		{
			"unsafe-retries", `metadata.annotations["retry.linkerd.io/http"]`,
			annotated("a", "retry.linkerd.io/http: 5xx"),
			annotated("a", "retry.linkerd.io/grpc: unavailable") + profile,
		},
		{
			"retry-over-timeout", `metadata.annotations["retry.linkerd.io/timeout"]`,
			annotated("a", "retry.linkerd.io/http: 5xx, retry.linkerd.io/timeout: 2s, timeout.linkerd.io/request: 2s"),
			annotated("a", "retry.linkerd.io/http: 5xx, retry.linkerd.io/timeout: 2s, timeout.linkerd.io/request: 5s"),
		},
		{
			"retries-cut-short", `metadata.annotations["retry.linkerd.io/timeout"]`,
			annotated("a", `retry.linkerd.io/http: 5xx, retry.linkerd.io/limit: "3", retry.linkerd.io/timeout: 1s, timeout.linkerd.io/request: 3s`),
			annotated("a", `retry.linkerd.io/http: 5xx, retry.linkerd.io/limit: "3", retry.linkerd.io/timeout: 1s, timeout.linkerd.io/request: 4s`),
		},
		{
			"timeout-order", `metadata.annotations["timeout.linkerd.io/response"]`,
			annotated("a", "timeout.linkerd.io/response: 5s, timeout.linkerd.io/request: 4s"),
			annotated("a", "timeout.linkerd.io/response: 3s, timeout.linkerd.io/request: 4s"),
		},
		{
			"retry-amplification", `metadata.annotations["retry.linkerd.io/http"]`,
			chain(`env: [{name: API, value: "http://a"}]`),
			chain(`env: [{name: API, value: "http://c"}]`),
		},
		{
			"unknown-host", `metadata.annotations["recloser.io/calls"]`,
			services + strings.Replace(deployment("web", "", ""), "name: web, namespace: demo", "name: web, namespace: demo, annotations: {recloser.io/calls: d}", 1),
			services + strings.Replace(deployment("web", "", ""), "name: web, namespace: demo", "name: web, namespace: demo, annotations: {recloser.io/calls: b}", 1),
		},
		{"probe-before-breaker", `metadata.annotations["balancer.linkerd.io/failure-accrual"]`, probe("1"), probe("10")},
		{
			"deprecated-version", "apiVersion",
			services + split("split.smi-spec.io/v1alpha4"),
			services + route("r", "a", `{`+toB+`}`),
		},
	} {
		t.Run(tt.code, func(t *testing.T) {
			found := func(manifests string) []lint.Finding {
				w, table := read(t, manifests)
				out := lint.CheckPolicy(w, table, nil)
				return slices.DeleteFunc(lint.Sort(out), func(f lint.Finding) bool { return f.Code != tt.code })
			}
			if f := found(tt.raises); len(f) == 0 || f[0].Field != tt.field || f[0].File != "mesh.yaml" || f[0].Line == 0 {
				t.Errorf("raised: %+v, want one at %q", f, tt.field)
			}
			if f := found(tt.not); len(f) != 0 {
				t.Errorf("raised where it should not be: %+v", f)
			}
		})
	}
}

// TestAmplification: tries multiply along annotations and addresses, by way of
// routes, and circles end.
func TestAmplification(t *testing.T) {
	retries := `retry.linkerd.io/http: 5xx, retry.linkerd.io/limit: "2"`
	all := services
	for _, s := range []string{"a", "b", "c"} {
		all = strings.Replace(all, "{name: "+s+", namespace: demo}", "{name: "+s+", namespace: demo, annotations: {"+retries+"}}", 1)
	}
	// c leads to what runs behind b.
	all += route("c", "c", `{`+toB+`}`) +
		deployment("web", `command: ["run", "--upstream=http://c.demo.svc.cluster.local:80/x"]`, "") +
		deployment("b", "", ", annotations: {recloser.io/calls: a}") + deployment("a", "", ", annotations: {recloser.io/calls: \"c, b\"}")
	w, table := read(t, all)
	var told []string
	for _, f := range lint.CheckPolicy(w, table, nil) {
		if f.Code == "retry-amplification" {
			told = append(told, f.Value+" "+f.Reason)
		}
	}
	slices.Sort(told)
	if len(told) == 0 || !strings.Contains(strings.Join(told, "\n"), "27 one request may become 27 at the end of deployment/web -n demo → service/c -n demo → service/a -n demo → service/b -n demo (3 × 3 × 3 tries)") {
		t.Errorf("told:\n%s", strings.Join(told, "\n"))
	}
}
