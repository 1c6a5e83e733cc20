package control_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/translate"
)

// bad is an object that is wrong in one field, of the kind and name that its
// finding must have.
type bad struct{ object, field, value, yaml string }

// wellFormed has one good object of each kind beside which the bad ones stand.
const wellFormed = `apiVersion: v1
kind: Service
metadata: {name: fern, namespace: moss, annotations: {balancer.linkerd.io/failure-accrual: consecutive}}
spec: {selector: {app: fern}, clusterIP: 10.9.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: reed, namespace: moss}
spec: {selector: {app: fern}, ports: [{name: http, port: 80}, {name: grpc, port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: sedge, namespace: moss}
spec: {selector: {app: fern}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: fern, namespace: moss}
spec:
  selector: {matchLabels: {app: fern}}
  template:
    metadata: {labels: {app: fern}}
    spec: {containers: [{name: c, image: buoyantio/bb:v0.0.6, ports: [{containerPort: 80, name: http}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: fern-1, namespace: moss, labels: {app: fern}}
spec: {containers: [{name: c, image: i, ports: [{containerPort: 80}]}]}
status: {podIP: 10.8.0.1, phase: Running, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: fern, namespace: moss}
spec: {hosts: [fern], http: [{timeout: 1s, route: [{destination: {host: reed, port: {number: 80}}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reed, namespace: moss}
spec: {host: reed, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 2}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reed, namespace: moss}
spec: {parentRefs: [{group: "", kind: Service, name: reed, port: 80}], rules: [{backendRefs: [{name: reed, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: reed, namespace: moss}
spec: {parentRefs: [{group: "", kind: Service, name: reed, port: 81}], rules: [{backendRefs: [{name: reed, port: 81}]}]}
---
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: sedge, namespace: moss}
spec: {service: sedge, backends: [{service: sedge, weight: 1}, {service: reed, weight: 1}]}
---
apiVersion: linkerd.io/v1alpha2
kind: ServiceProfile
metadata: {name: sedge.moss.svc.cluster.local, namespace: moss}
spec: {routes: [{name: all, condition: {pathRegex: /.*}, timeout: 2s}]}
`

func malformed() []bad {
	doc := func(apiVersion, kind, name, spec string) string {
		return "apiVersion: " + apiVersion + "\nkind: " + kind + "\nmetadata: {name: " + name + ", namespace: moss}\n" + spec + "\n"
	}
	const istio, gateway = "networking.istio.io/v1", "gateway.networking.k8s.io/v1"
	parent := "parentRefs: [{group: '', kind: Service, name: fern}]"
	return []bad{
		{"service/bad -n moss", "spec.ports[0].port", "many", doc("v1", "Service", "bad", "spec: {ports: [{port: many}]}")},
		{"service/BAD -n moss", "metadata.name", "BAD", doc("v1", "Service", "BAD", "spec: {ports: [{port: 1}]}")},
		{"pod/bad -n moss", "spec.containers", "none", doc("v1", "Pod", "bad", "spec: {containers: none}")},
		{"deployment/bad -n moss", "spec.replicas", "two", doc("apps/v1", "Deployment", "bad", "spec: {replicas: two}")},
		{"endpointslice/bad -n moss", "endpoints[0].addresses", "x", doc("discovery.k8s.io/v1", "EndpointSlice", "bad", "addressType: IPv4\nendpoints: [{addresses: x}]")},
		{"workload/bad -n moss", "spec.command", "", doc("recloser.io/v1alpha1", "Workload", "bad", "spec: {}")},
		{"virtualservice/bad -n moss", "spec.http[0].route", "0", doc(istio, "VirtualService", "bad", "spec: {hosts: [fern], http: [{route: [{destination: {host: a}}, {destination: {host: b}}]}]}")},
		{"virtualservice/bad -n moss", "spec.http[0].timeout", "soon", doc(istio, "VirtualService", "bad", "spec: {hosts: [fern], http: [{timeout: soon, route: [{destination: {host: a}}]}]}")},
		{"destinationrule/bad -n moss", "spec.trafficPolicy.outlierDetection.interval", "soon", doc(istio, "DestinationRule", "bad", "spec: {host: fern, trafficPolicy: {outlierDetection: {interval: soon}}}")},
		{"httproute/bad -n moss", "spec.rules[0].matches", "all", doc(gateway, "HTTPRoute", "bad", "spec: {"+parent+", rules: [{matches: all}]}")},
		{"grpcroute/bad -n moss", "spec.rules", "x", doc(gateway, "GRPCRoute", "bad", "spec: {"+parent+", rules: x}")},
		{"httproute.policy.linkerd.io/bad -n moss", "spec.rules[0].backendRefs[0].port", "web", doc("policy.linkerd.io/v1beta3", "HTTPRoute", "bad", "spec: {"+parent+", rules: [{backendRefs: [{name: fern, port: web}]}]}")},
		{"trafficsplit/bad -n moss", "spec.backends", "x", doc("split.smi-spec.io/v1alpha2", "TrafficSplit", "bad", "spec: {service: fern, backends: x}")},
		{"httproutegroup/bad -n moss", "spec.matches", "x", doc("specs.smi-spec.io/v1alpha3", "HTTPRouteGroup", "bad", "spec: {matches: x}")},
		{"serviceprofile/bad -n moss", "spec.routes", "x", doc("linkerd.io/v1alpha2", "ServiceProfile", "bad", "spec: {routes: x}")},
		{"xbackendtrafficpolicy/bad -n moss", "spec.retryConstraint.budget.percent", "half", doc("gateway.networking.x-k8s.io/v1alpha1", "XBackendTrafficPolicy", "bad", "spec: {targetRefs: [{group: '', kind: Service, name: fern}], retryConstraint: {budget: {percent: half}}}")},
	}
}

// TestMalformedObjects: each gets an error of its own, with object, field, value
// and line, and everything else is as it was.
func TestMalformedObjects(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "mesh.yaml")
	load := func(text string) *control.Offline {
		must(t, os.WriteFile(name, []byte(text), 0o600))
		o, err := control.Read([]string{name})
		must(t, err)
		return o
	}
	good := load(wellFormed)
	if n := lint.Count(good.Findings, lint.Error); n > 0 {
		t.Fatalf("%d errors in what is good: %v", n, good.Findings)
	}
	want := everything(t, translate.View{World: good.World, Policy: good.Policy})
	for _, b := range malformed() {
		t.Run(b.object+" "+b.field, func(t *testing.T) {
			o := load(wellFormed + "---\n" + b.yaml)
			found := false
			for i := range o.Findings {
				p := &o.Findings[i]
				found = found || p.Severity == lint.Error && p.Object == b.object && p.Field == b.field &&
					strings.Contains(p.Value, b.value) && p.Line > strings.Count(wellFormed, "\n") && p.File == name
			}
			if !found {
				t.Errorf("no such error; there are:")
				must(t, lint.WriteText(testWriter{t}, o.Findings))
			}
			got := everything(t, translate.View{World: o.World, Policy: o.Policy})
			if len(got) != len(want) {
				t.Errorf("%d resources, %d without the bad object", len(got), len(want))
			}
			for k := range want {
				if !proto.Equal(want[k], got[k]) {
					t.Errorf("%s is different", k)
				}
			}
		})
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(p))
	return len(p), nil
}
