package local

import (
	"fmt"
	"strings"
	"testing"
)

// placed is a Deployment of one instance that answers with its name, in a zone.
func placed(name, app, zone string, more ...string) string {
	args := append([]string{"terminus", "--h1-server-port=8080", "--response-text=" + name}, more...)
	return fmt.Sprintf(`
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s, namespace: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: %s, name: %s}}
  template:
    metadata: {labels: {app: %s, name: %s, topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: %s}}
    spec:
      containers:
      - {name: web, image: "buoyantio/bb:v0.0.7", args: ["%s"], ports: [{containerPort: 8080}]}
`, name, app, name, app, name, zone, strings.Join(args, `", "`))
}

func namedService(name, annotations string) string {
	return fmt.Sprintf(`
---
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: shop, annotations: {%s}}
spec:
  selector: {app: %s}
  ports: [{name: http, port: 80, targetPort: 8080}]
`, name, annotations, name)
}

const breaking = "balancer.linkerd.io/failure-accrual: consecutive, balancer.linkerd.io/failure-accrual-consecutive-max-failures: \"3\", balancer.linkerd.io/failure-accrual-consecutive-min-penalty: 500ms, balancer.linkerd.io/failure-accrual-consecutive-max-penalty: 500ms"

// TestFailoverEndToEnd: the service that stands in gets requests when the first
// has failed, and none any more when it is well again.
func TestFailoverEndToEnd(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	const caller = "\n---\napiVersion: recloser.io/v1alpha1\nkind: Workload\nmetadata: {name: caller, namespace: shop}\nspec: {command: [/bin/sleep, \"1000\"]}\n"
	rest := namedService("foo", breaking+", recloser.io/failover: foo-east") + namedService("foo-east", "") +
		placed("east", "foo-east", "eu-2") + caller
	m := newWholeMesh(t, placed("west", "foo", "eu-1")+rest, nil)
	c := m.client(m.instance("caller"))
	askUntil(t, c, "http://foo/", "foo is there", func(a answer) bool { return a.status == 200 && strings.Contains(a.body, "west") })
	for range 50 {
		if a := ask(t, c, "http://foo/"); a.status != 200 || !strings.Contains(a.body, "west") {
			t.Fatalf("while foo is well: %+v", a)
		}
	}
	inARow := func(name string) func(answer) bool {
		n := 0
		return func(a answer) bool {
			if n++; a.status != 200 || !strings.Contains(a.body, name) {
				n = 0
			}
			return n == 50
		}
	}
	m.write(placed("west", "foo", "eu-1", "--percent-failure=100") + rest)
	askUntil(t, c, "http://foo/", "foo-east stands in", inARow("east"))
	m.write(placed("west", "foo", "eu-1") + rest)
	askUntil(t, c, "http://foo/", "foo is back", inARow("west"))
}

// TestLocalityEndToEnd: requests stay in the caller's zone until its endpoints
// fail.
func TestLocalityEndToEnd(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	rest := namedService("foo", breaking) + placed("far", "foo", "eu-2") + `
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: foo, namespace: shop}
spec:
  host: foo
  trafficPolicy:
    loadBalancer: {localityLbSetting: {enabled: true}}
`
	rest += strings.Replace(placed("caller", "caller", "eu-1"), "--response-text=caller", "--response-text=none", 1)
	m := newWholeMesh(t, placed("near", "foo", "eu-1")+rest, nil)
	c := m.client(m.instance("caller"))
	near := func(a answer) bool { return a.status == 200 && strings.Contains(a.body, "near") }
	askUntil(t, c, "http://foo/", "the own zone is there", near)
	for range 50 {
		if a := ask(t, c, "http://foo/"); !near(a) {
			t.Fatalf("while the own zone is well: %+v", a)
		}
	}
	m.write(placed("near", "foo", "eu-1", "--percent-failure=100") + rest)
	n := 0
	askUntil(t, c, "http://foo/", "the other zone takes over", func(a answer) bool {
		if n++; a.status != 200 || !strings.Contains(a.body, "far") {
			n = 0
		}
		return n == 50
	})
}
