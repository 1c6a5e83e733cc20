package local

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// webRules are two versions of a service, of which one always fails, the rules
// for both, and routes to each by a header.
const webRules = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: good, namespace: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: web, version: good}}
  template:
    metadata: {labels: {app: web, version: good}}
    spec:
      containers:
      - name: web
        image: buoyantio/bb:v0.0.7
        args: [terminus, "--h1-server-port=8080", "--response-text=well"]
        ports: [{containerPort: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: bad, namespace: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: web, version: bad}}
  template:
    metadata: {labels: {app: web, version: bad}}
    spec:
      containers:
      - name: web
        image: buoyantio/bb:v0.0.7
        args: [terminus, "--h1-server-port=8080", "--response-text=ill", "--percent-failure=100"]
        ports: [{containerPort: 8080}]
---
apiVersion: recloser.io/v1alpha1
kind: Workload
metadata: {name: caller, namespace: shop}
spec: {command: [/bin/sleep, "1000"]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  trafficPolicy:
    outlierDetection:
      consecutive5xxErrors: 3
      interval: 100ms
      baseEjectionTime: 500ms
      maxEjectionPercent: 50
  subsets:
  - name: good
    labels: {version: good}
  - name: bad
    labels: {version: bad}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - match: [{headers: {x-version: {exact: good}}}]
    route: [{destination: {host: web, subset: good}}]
  - match: [{headers: {x-version: {exact: bad}}}]
    route: [{destination: {host: web, subset: bad}}]
    retries: {attempts: 0}
  - match: [{headers: {x-version: {exact: none}}}]
    route: [{destination: {host: web, subset: none}}]
  - route: [{destination: {host: web}}]
    retries: {attempts: 0}
`

// askVersion calls web and names a version of it.
func askVersion(t *testing.T, c *http.Client, version string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://web/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if version != "" {
		req.Header.Set("X-Version", version)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, string(body), resp.Header.Get("Recloser-Reason")}
}

// TestDestinationRuleEndToEnd: subsets have the endpoints that they select, one
// that there is not has none, and an endpoint that fails is ejected for a time
// and comes back untried, as far as the share allows.
func TestDestinationRuleEndToEnd(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	m := newWholeMesh(t, webRules, nil)
	c := m.client(m.instance("caller"))
	// Requests do not wait for endpoints here, as they would not in Envoy.
	for _, version := range []string{"good", "bad"} {
		for range 2000 {
			if a := askVersion(t, c, version); a.reason == "" || !sleep(t.Context(), eagerPeriod) {
				break
			}
		}
	}
	for range 20 {
		if a := askVersion(t, c, "good"); a.status != 200 || !strings.Contains(a.body, "well") {
			t.Fatalf("the good ones: %+v", a)
		}
		// One of one endpoint is more than half, so it is not ejected.
		if a := askVersion(t, c, "bad"); a.status != 500 || a.reason != "" {
			t.Fatalf("the bad ones: %+v", a)
		}
		if a := askVersion(t, c, "none"); a.status != 503 || a.reason == "" {
			t.Fatalf("none: %+v", a)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	inARow, rounds := 0, 0
	for rounds < 2 && ctx.Err() == nil {
		a := askVersion(t, c, "")
		switch {
		case a.status == 200:
			inARow++
		case a.status != 500 || a.reason != "":
			t.Fatalf("an answer that is no endpoint's: %+v", a)
		default:
			if inARow >= 50 { // it was ejected, and is back
				rounds++
			}
			inARow = 0
		}
	}
	if rounds < 2 {
		t.Errorf("ejected and taken back %d times; %d answers in a row were right at the end\n%s", rounds, inARow, m.log)
	}
}
