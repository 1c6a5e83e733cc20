package xdsclients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/reclosermesh/recloser/test/mesh"
)

// Envoy is a real one beside a program.
type Envoy struct {
	t        *testing.T
	c        *Control
	outbound string
	admin    string
}

// envoyProgram is the Envoy of this machine, which is installed where that can
// be done. Where it cannot the test is skipped, and says so.
func envoyProgram(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(filepath.Join("..", "..", "internal", "lab", "perf", "need-envoy"), filepath.Join("..", "..", "bench-out", "envoy"))
	var why strings.Builder
	cmd.Stderr = &why
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("need-envoy: %v\n%s", err, why.String())
	}
	if path := strings.TrimSpace(string(out)); path != "" {
		return path
	}
	t.Skipf("NO ENVOY HERE, so nothing of what Envoys make of us is tested: %s", why.String())
	return ""
}

// startEnvoy starts an Envoy that knows nothing but a control plane, in one
// variant of the protocol: GRPC or DELTA_GRPC.
func startEnvoy(t *testing.T, c *Control, xds, variant string) *Envoy {
	t.Helper()
	e := &Envoy{t: t, c: c, outbound: mesh.FreeAddress(t), admin: mesh.FreeAddress(t)}
	dir := t.TempDir()
	text, err := json.Marshal(e.bootstrap(xds, variant))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "bootstrap.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	mesh.Run(t, envoyProgram(t), "-c", path, "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning")
	t.Cleanup(e.nothingRefused)
	mesh.Until(t, "Envoy's routes", func() error {
		if n := e.stat("http.outbound.rds.outbound.update_success"); n == 0 {
			return fmt.Errorf("none so far")
		}
		return nil
	})
	return e
}

func (e *Envoy) bootstrap(xds, variant string) map[string]any {
	ads := map[string]any{"ads": map[string]any{}, "resource_api_version": "V3"}
	return map[string]any{
		"node": map[string]any{
			"id": "caller-1." + namespace, "cluster": "caller." + namespace,
			"metadata": map[string]any{"OUTBOUND": e.outbound, "WORKLOAD": "caller", "WORKLOAD_KIND": "Deployment"},
		},
		"admin": map[string]any{"address": socketAddress(e.admin)},
		"dynamic_resources": map[string]any{
			"ads_config": map[string]any{
				"api_type": variant, "transport_api_version": "V3",
				"grpc_services": []any{map[string]any{"envoy_grpc": map[string]any{"cluster_name": "control"}}},
			},
			"cds_config": ads, "lds_config": ads,
		},
		"static_resources": map[string]any{"clusters": []any{map[string]any{
			"name": "control", "type": "STATIC", "connect_timeout": "1s",
			"typed_extension_protocol_options": map[string]any{
				"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": map[string]any{
					"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
					"explicit_http_config": map[string]any{"http2_protocol_options": map[string]any{}},
				},
			},
			"load_assignment": map[string]any{"cluster_name": "control", "endpoints": []any{map[string]any{
				"lb_endpoints": []any{map[string]any{"endpoint": map[string]any{"address": socketAddress(xds)}}},
			}}},
		}}},
	}
}

func socketAddress(address string) map[string]any {
	host, port, _ := strings.Cut(address, ":")
	n, _ := strconv.Atoi(port) // of our own making
	return map[string]any{"socket_address": map[string]any{"address": host, "port_value": n}}
}

// ask gets a path of the admin port.
func (e *Envoy) ask(path string) string {
	resp, err := http.Get("http://" + e.admin + path)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body) // what is missing is seen where it is looked for
	return string(b)
}

// stat is a counter or gauge, 0 where there is none.
func (e *Envoy) stat(name string) int {
	for line := range strings.Lines(e.ask("/stats?filter=" + regexp.QuoteMeta(name))) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+": "); ok {
			n, _ := strconv.Atoi(v)
			return n
		}
	}
	return 0
}

// nothingRefused looks at Envoy's own counters and at what the control plane was
// told.
func (e *Envoy) nothingRefused() {
	e.t.Helper()
	for line := range strings.Lines(e.ask("/stats?filter=update_rejected|init_fetch_timeout")) {
		if !strings.HasSuffix(strings.TrimSpace(line), ": 0") {
			e.t.Errorf("Envoy refused something: %s", line)
		}
	}
	problems, err := e.c.problems()
	if err != nil {
		e.t.Fatal(err)
	}
	for _, p := range problems {
		if p.Code == "refused-by-proxy" {
			e.t.Errorf("the control plane was told of a refusal: %+v", p)
		}
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// get calls an authority and path through the Envoy; kv are headers.
func (e *Envoy) get(url string, kv ...string) (answer, error) {
	ctx, cancel := context.WithTimeout(e.t.Context(), mesh.Patience)
	defer cancel()
	host, path, _ := strings.Cut(url, "/")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.outbound+"/"+path, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	req.Host = host
	for i := 0; i < len(kv); i += 2 {
		req.Header.Set(kv[i], kv[i+1])
	}
	resp, err := once.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b)}, err
}

// once keeps no connections, and follows no redirects.
var once = &http.Transport{DisableKeepAlives: true}

// until calls until an answer is as a test wants it.
func (e *Envoy) until(what, url string, ok func(answer) bool, kv ...string) {
	e.t.Helper()
	mesh.Until(e.t, what, func() error {
		got, err := e.get(url, kv...)
		if err == nil && !ok(got) {
			err = fmt.Errorf("status %d, %q", got.status, got.body)
		}
		return err
	})
}

// web is an HTTP server that says who it is and what it was asked.
type web struct {
	address string
	calls   atomic.Int64
}

func newWeb(t *testing.T, name string, status func(*http.Request) int) *web {
	t.Helper()
	w := &web{}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.calls.Add(1)
		code := http.StatusOK
		if status != nil {
			code = status(r)
		}
		rw.WriteHeader(code)
		fmt.Fprintf(rw, "%s %s %s", name, r.Host, r.URL)
	}))
	t.Cleanup(s.Close)
	w.address = strings.TrimPrefix(s.URL, "http://")
	return w
}

// eachVariant runs a test with an Envoy in each variant of the protocol.
func eachVariant(t *testing.T, manifests []string, test func(*testing.T, *Envoy)) {
	t.Helper()
	for _, variant := range []string{"GRPC", "DELTA_GRPC"} {
		t.Run(variant, func(t *testing.T) {
			xds := mesh.FreeAddress(t)
			c := startControl(t, xds, map[string]string{"mesh.yaml": strings.Join(manifests, "---\n")})
			test(t, startEnvoy(t, c, xds, variant))
		})
	}
}

// TestEnvoyRoutes: a service is reached by all of its names, an unknown one is
// not, and a change of endpoints, routes and services reaches Envoy.
func TestEnvoyRoutes(t *testing.T) {
	a, b := newWeb(t, "a", nil), newWeb(t, "b", nil)
	one := service(namespace, "web", 80, "appProtocol: http", a.address)
	two := service("other", "web", 8080, "appProtocol: http", b.address)
	eachVariant(t, []string{one, two}, func(t *testing.T, e *Envoy) {
		for url, want := range map[string]string{
			"web/x": "a web /x", "web.shop:80/": "a web.shop:80 /", "web.shop.svc/?y": "a web.shop.svc /?y",
			"web.shop.svc.cluster.local/": "a web.shop.svc.cluster.local /", "web.other:8080/": "b web.other:8080 /",
			"WEB.Shop./": "a WEB.Shop /",
		} {
			if got, err := e.get(url); err != nil || got.status != 200 || got.body != want {
				t.Errorf("%s: %+v, %v; want %q", url, got, err, want)
			}
		}
		for _, url := range []string{"web:8080/", "nobody/", "web.other/"} {
			if got, err := e.get(url); err != nil || got.status != 404 {
				t.Errorf("%s: %+v, %v; want 404", url, got, err)
			}
		}
		e.c.put("mesh.yaml", one)
		e.until("a service to be gone", "web.other:8080/", func(a answer) bool { return a.status == 404 })
		e.c.put("mesh.yaml", one+"---\n"+two+"---\n"+virtualService("web", `  - match: [{uri: {prefix: /old}}]
    redirect: {uri: /new, redirectCode: 308}
  - match: [{headers: {x-v: {exact: "2"}}}]
    route: [{destination: {host: web.other.svc.cluster.local}}]
  - route: [{destination: {host: web}}]
`))
		e.until("a redirect", "web/old", func(a answer) bool { return a.status == 308 && strings.HasSuffix(a.header.Get("Location"), "/new") })
		e.until("a header's route", "web/", func(a answer) bool { return strings.HasPrefix(a.body, "b ") }, "x-v", "2")
		e.until("the other route", "web/", func(a answer) bool { return strings.HasPrefix(a.body, "a ") })
	})
}

// TestEnvoyMovesWithoutLoss: while a route moves between clusters that come and
// go, no request finds a cluster that is not there.
func TestEnvoyMovesWithoutLoss(t *testing.T) {
	a, b := newWeb(t, "a", nil), newWeb(t, "b", nil)
	base := service(namespace, "web", 80, "appProtocol: http", a.address)
	to := func(n int, w *web) string {
		name := fmt.Sprintf("v%d", n)
		return base + "---\n" + service(namespace, name, 80, "appProtocol: http", w.address) + "---\n" +
			virtualService("web", "  - route: [{destination: {host: "+name+"}}]\n")
	}
	eachVariant(t, []string{to(0, a)}, func(t *testing.T, e *Envoy) {
		for n := range 20 {
			w, who := a, "a "
			if n%2 == 1 {
				w, who = b, "b "
			}
			e.c.put("mesh.yaml", to(n, w))
			mesh.Until(t, "the route to move", func() error {
				got, err := e.get("web/")
				switch {
				case err != nil:
					t.Fatal(err)
				case got.status != 200:
					t.Fatalf("move %d: status %d, %q", n, got.status, got.body)
				case !strings.HasPrefix(got.body, who):
					return fmt.Errorf("answered by %q", got.body)
				}
				return nil
			})
		}
	})
}

// TestEnvoyEjects is the seed's scenario: one failure shuts an endpoint for three
// minutes.
func TestEnvoyEjects(t *testing.T) {
	bad := newWeb(t, "bad", func(*http.Request) int { return http.StatusInternalServerError })
	good := newWeb(t, "good", nil)
	eachVariant(t, []string{
		service(namespace, "httpbin", 8000, "appProtocol: http", bad.address, good.address),
		destinationRule("httpbin", `    connectionPool:
      tcp: {maxConnections: 1}
      http: {http1MaxPendingRequests: 1, maxRequestsPerConnection: 1}
    outlierDetection: {consecutive5xxErrors: 1, interval: 1s, baseEjectionTime: 3m, maxEjectionPercent: 100}
`),
	}, func(t *testing.T, e *Envoy) {
		before, failed := bad.calls.Load(), 0
		for range 30 {
			got, err := e.get("httpbin:8000/get")
			if err != nil {
				t.Fatal(err)
			}
			if got.status != 200 {
				failed++
			}
		}
		if n := bad.calls.Load() - before; n != 1 || failed != 1 {
			t.Errorf("%d calls to the bad endpoint, %d failures; want 1 each", n, failed)
		}
		if n := e.stat("cluster.outbound|8000||httpbin.shop.svc.cluster.local.outlier_detection.ejections_active"); n != 1 {
			t.Errorf("%d ejections are active", n)
		}
	})
}

// TestEnvoyTraffic is what the seeds do with requests, in the dialects that they
// do it in: shares, canaries by header, redirects, mirrors, retries.
func TestEnvoyTraffic(t *testing.T) {
	v1, v2 := newWeb(t, "v1", nil), newWeb(t, "v2", nil)
	var tries atomic.Int64
	flaky := newWeb(t, "flaky", func(*http.Request) int {
		if tries.Add(1)%3 != 0 {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	const plain = "appProtocol: http"
	eachVariant(t, []string{
		service(namespace, "v1", 80, plain, v1.address), service(namespace, "v2", 80, plain, v2.address),
		service(namespace, "gamma", 80, plain, v1.address), service(namespace, "split", 80, plain, v1.address),
		service(namespace, "flaky", 80, plain, flaky.address),
		`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: gamma, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: gamma, port: 80}]
  rules:
  - matches: [{headers: [{name: x-canary, value: "yes"}]}]
    backendRefs: [{name: v2, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]
  - matches: [{path: {type: PathPrefix, value: /copied}}]
    filters: [{type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 80}}}]
    backendRefs: [{name: v1, port: 80}]
  - backendRefs: [{name: v1, port: 80, weight: 9}, {name: v2, port: 80, weight: 1}]
`,
		`apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: split, namespace: shop}
spec: {service: split, backends: [{service: v1, weight: 50}, {service: v2, weight: 50}]}
`,
		virtualService("flaky", `  - route: [{destination: {host: flaky}}]
    retries: {attempts: 2, retryOn: 5xx}
`),
	}, func(t *testing.T, e *Envoy) {
		const n = 300
		for url, share := range map[string]float64{"gamma/": 0.1, "split/": 0.5} {
			second := 0
			for range n {
				got, err := e.get(url)
				if err != nil || got.status != 200 {
					t.Fatalf("%s: %+v, %v", url, got, err)
				}
				if strings.HasPrefix(got.body, "v2 ") {
					second++
				}
			}
			// Seven standard deviations.
			if off := 7 * math.Sqrt(share*(1-share)/n); math.Abs(float64(second)/n-share) > off {
				t.Errorf("%s: v2 has %d of %d requests, want a share of %.2f ± %.2f", url, second, n, share, off)
			}
		}
		if got, err := e.get("gamma/", "x-canary", "yes"); err != nil || !strings.HasPrefix(got.body, "v2 ") {
			t.Errorf("a canary: %+v, %v", got, err)
		}
		if got, err := e.get("gamma/old/x?y=1"); err != nil || got.status != 301 || !strings.HasSuffix(got.header.Get("Location"), "/new/x?y=1") {
			t.Errorf("a redirect: %+v, %v", got, err)
		}
		before := v2.calls.Load()
		if got, err := e.get("gamma/copied"); err != nil || !strings.HasPrefix(got.body, "v1 ") {
			t.Errorf("a mirrored request: %+v, %v", got, err)
		}
		mesh.Until(t, "the copy", func() error {
			if v2.calls.Load() == before {
				return errors.New("none has come")
			}
			return nil
		})
		for range 5 {
			was := tries.Load()
			if got, err := e.get("flaky/"); err != nil || got.status != 200 || tries.Load() != was+3 {
				t.Errorf("retries: %+v, %v after %d tries", got, err, tries.Load()-was)
			}
		}
	})
}
