package conformance

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/reclosermesh/recloser/test/mesh"
)

// meshNamespace is where the suite's applications are.
const meshNamespace = "gateway-conformance-mesh"

// asker calls as a program in a pod does.
type asker struct {
	t      *testing.T
	laptop *laptop
}

// ask makes a call from an instance of echo-v1. headers are "Name: value".
func (a *asker) ask(method, to string, headers ...string) (answer, error) {
	a.t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		a.t.Fatal(err)
	}
	c := call{url: u, method: method, headers: http.Header{}, count: 1}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		c.headers.Add(k, v)
	}
	pod := a.laptop.pod(meshNamespace, "echo-v1")
	list, err := c.do(a.t.Context(), &pod)
	if err != nil {
		return answer{}, err
	}
	return list[0], nil
}

// expect waits until a call is answered as it should be, and then wants it
// answered so each time.
func (a *asker) expect(method, to string, headers []string, right func(*answer) error) {
	a.t.Helper()
	try := func() error {
		got, err := a.ask(method, to, headers...)
		if err == nil {
			err = right(&got)
		}
		return err
	}
	what := method + " " + to
	mesh.Until(a.t, what, try)
	for i := range inARow {
		if err := try(); err != nil {
			a.t.Errorf("%s: answer %d after one that was right: %v", what, i+1, err)
			return
		}
	}
}

func wantStatus(status int) func(*answer) error {
	return func(a *answer) error {
		if a.status != status {
			return fmt.Errorf("the status is %d, and should be %d: %s", a.status, status, a.body)
		}
		return nil
	}
}

// TestStricter looks where the suite's tables do not.
func TestStricter(t *testing.T) {
	l := startLaptop(t)
	t.Run("redirects", func(t *testing.T) { redirects(t, l) })
	t.Run("rewrites", func(t *testing.T) { rewrites(t, l) })
	t.Run("weights", func(t *testing.T) { weights(t, l) })
	t.Run("beyond", func(t *testing.T) { beyond(t, l) })
}

// redirects looks at the whole Location.
func redirects(t *testing.T, l *laptop) {
	a := asker{t, l}
	for _, tt := range []struct {
		manifest string
		cases    map[string]string // path and query: status and Location
	}{
		{"redirect-host-and-status", map[string]string{
			"/hostname-redirect?q=1": "302 http://example.org/hostname-redirect?q=1",
			"/host-and-status":       "301 http://example.org/host-and-status",
		}},
		{"redirect-path", map[string]string{
			"/original-prefix/lemon?q=1": "302 http://echo/replacement-prefix/lemon?q=1",
			"/full/path/original":        "302 http://echo/full-path-replacement",
			"/path-and-host":             "302 http://example.org/replacement-prefix",
			"/path-and-status/":          "301 http://echo/replacement-prefix/",
			"/full-path-and-host":        "302 http://example.org/replacement-full",
			"/full-path-and-status":      "301 http://echo/replacement-full",
		}},
		{"redirect-port", map[string]string{
			"/port":                     "302 http://echo:8083/port",
			"/port-and-host":            "302 http://example.org:8083/port-and-host",
			"/port-and-status":          "301 http://echo:8083/port-and-status",
			"/port-and-host-and-status": "302 http://example.org:8083/port-and-host-and-status",
		}},
		{"redirect-scheme", map[string]string{
			"/scheme":                     "302 https://echo/scheme",
			"/scheme-and-host":            "302 https://example.org/scheme-and-host",
			"/scheme-and-status":          "301 https://echo/scheme-and-status",
			"/scheme-and-host-and-status": "302 https://example.org/scheme-and-host-and-status",
		}},
		{"303-redirect", map[string]string{"/redirect": "303 http://echo/redirect"}},
		{"307-redirect", map[string]string{"/temporary": "307 http://echo/temporary"}},
		{"308-redirect", map[string]string{"/permanent": "308 http://echo/permanent"}},
	} {
		t.Run(tt.manifest, func(t *testing.T) {
			a := asker{t, a.laptop}
			l.apply(t, "tests/mesh/httproute-"+tt.manifest+".yaml")
			for path, want := range tt.cases {
				a.expect(http.MethodGet, "http://echo"+path, nil, func(got *answer) error {
					if have := fmt.Sprintf("%d %s", got.status, got.header.Get("Location")); have != want {
						return fmt.Errorf("it is %s, and should be %s", have, want)
					}
					return nil
				})
			}
		})
	}
}

// rewrites looks at what the backend has been asked for.
func rewrites(t *testing.T, l *laptop) {
	a := asker{t, l}
	l.apply(t, "tests/mesh/httproute-rewrite-path.yaml")
	for path, want := range map[string]string{
		"/prefix/one/two?q=1": "/one/two?q=1",
		"/prefix/one":         "/one",
		"/strip-prefix":       "/",
		"/strip-prefix/":      "/",
		"/strip-prefix/three": "/three",
		"/full/one/two?q=1":   "/one?q=1",
		"/full/rewrite-path-and-modify-headers/test":   "/test",
		"/prefix/rewrite-path-and-modify-headers/one/": "/prefix/one/",
	} {
		a.expect(http.MethodGet, "http://echo"+path, nil, func(got *answer) error {
			if have := got.line("URL"); have != want {
				return fmt.Errorf("the backend is asked for %q, and should be for %q", have, want)
			}
			if host := got.line("Host"); host != "echo" {
				return fmt.Errorf("the backend sees host %q", host)
			}
			return nil
		})
	}
}

// draws are how many calls a split is judged by. Of those the first of two has
// a share of 70%, 1400, give or take six standard deviations.
const (
	draws    = 2000
	draws70  = draws * 7 / 10
	draws6sd = 123
)

// weights counts.
func weights(t *testing.T, l *laptop) {
	for _, tt := range []struct{ manifest, url string }{
		{"tests/mesh/httproute-weight.yaml", "http://echo/"},
		{"tests/mesh/grpcroute-weight.yaml", "grpc://echo:7070"},
	} {
		t.Run(tt.url, func(t *testing.T) {
			l.apply(t, tt.manifest)
			a := asker{t, l}
			// Without the route, half of the calls go to each.
			u, err := url.Parse(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			pod := l.pod(meshNamespace, "echo-v1")
			var first int
			mesh.Until(t, "the weights to be in force", func() error {
				c := call{url: u, method: http.MethodGet, count: draws}
				list, err := c.do(a.t.Context(), &pod)
				if err != nil {
					return err
				}
				first = 0
				for i := range list {
					if list[i].status != http.StatusOK {
						return fmt.Errorf("status %d", list[i].status)
					}
					if strings.HasPrefix(list[i].line("Hostname"), "echo-v1-") {
						first++
					}
				}
				if first < draws70-draws6sd || first > draws70+draws6sd {
					return fmt.Errorf("%d of %d calls go to echo-v1, of which 70%% should", first, draws)
				}
				return nil
			})
		})
	}
}

// beyond is what routes can do and the suite has no test for in a mesh, with
// manifests of our own.
func beyond(t *testing.T, l *laptop) {
	a := asker{t, l}
	l.applyText(t, `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: beyond, namespace: gateway-conformance-mesh}
spec:
  parentRefs: [{group: "", kind: Service, name: echo, port: 80}]
  rules:
  - matches: [{path: {value: /half}}]
    backendRefs: [{name: echo-v1, port: 80}, {name: gone, port: 80}]
  - matches: [{path: {value: /gone}}]
    backendRefs: [{name: gone, port: 80}]
  - matches: [{path: {value: /own-filter}}]
    filters: [{type: ExtensionRef, extensionRef: {group: example.com, kind: Limit, name: x}}]
    backendRefs: [{name: echo-v1, port: 80}]
  - matches: [{path: {value: /host}}]
    filters: [{type: URLRewrite, urlRewrite: {hostname: inner.example.org}}]
    backendRefs: [{name: echo-v2, port: 80}]
  - matches: [{path: {value: /cors}}]
    filters: [{type: CORS, cors: {allowOrigins: ["https://*.example.org"], allowMethods: [PUT], allowCredentials: true}}]
    backendRefs: [{name: echo-v2, port: 80}]
  - matches: [{path: {type: RegularExpression, value: "/item/[0-9]+"}, method: PUT}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-Rule, value: regex}]}}]
    backendRefs: [{name: echo-v2, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: beyond, namespace: gateway-conformance-mesh}
spec:
  parentRefs: [{group: "", kind: Service, name: echo-v2, port: 80}]
  rules: [{matches: [{method: {service: proto.EchoTestService}}], backendRefs: [{name: echo-v1, port: 7070}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: nowhere, namespace: gateway-conformance-mesh}
spec:
  parentRefs: [{group: "", kind: Service, name: echo-v1, port: 7070}]
  rules: [{backendRefs: [{name: gone, port: 7070}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: loses, namespace: gateway-conformance-mesh}
spec:
  parentRefs: [{group: "", kind: Service, name: echo-v2, port: 80}]
  rules: [{backendRefs: [{name: echo-v1, port: 80}]}]
`)
	a.expect(http.MethodGet, "http://echo/gone", nil, wantStatus(http.StatusInternalServerError))
	a.expect(http.MethodGet, "http://echo/own-filter", nil, wantStatus(http.StatusInternalServerError))
	a.expect(http.MethodGet, "http://echo/nothing", nil, wantStatus(http.StatusNotFound))
	a.expect(http.MethodGet, "http://echo/item/7", nil, wantStatus(http.StatusNotFound))
	a.expect(http.MethodPut, "http://echo/item/7?q", nil, func(got *answer) error {
		if got.header.Get("X-Rule") != "regex" || !strings.HasPrefix(got.line("Hostname"), "echo-v2-") {
			return fmt.Errorf("the rule is another: %+v", got)
		}
		return nil
	})
	a.expect(http.MethodGet, "http://echo/host", nil, func(got *answer) error {
		if host := got.line("Host"); host != "inner.example.org" {
			return fmt.Errorf("the backend sees host %q", host)
		}
		return nil
	})
	a.expect(http.MethodOptions, "http://echo/cors", []string{"Origin: https://a.example.org", "Access-Control-Request-Method: PUT"}, func(got *answer) error {
		h := got.header
		if got.status/100 != 2 || h.Get("Access-Control-Allow-Origin") != "https://a.example.org" || h.Get("Access-Control-Allow-Methods") != "PUT" ||
			h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Access-Control-Max-Age") != "5" {
			return fmt.Errorf("the preflight is answered with %d and %v", got.status, h)
		}
		return nil
	})
	a.expect(http.MethodGet, "http://echo/cors", []string{"Origin: https://example.net"}, func(got *answer) error {
		if v := got.header.Values("Access-Control-Allow-Origin"); got.status != http.StatusOK || len(v) > 0 {
			return fmt.Errorf("status %d, and %v is allowed", got.status, v)
		}
		return nil
	})
	// A GRPCRoute has the port, so the HTTPRoute beside it says nothing there.
	a.expect(http.MethodGet, "http://echo-v2/", nil, wantStatus(http.StatusNotFound))
	mesh.Until(t, "UNAVAILABLE for a call to a backend that is not there", func() error {
		if _, err := a.ask("", "grpc://echo-v1:7070"); status.Code(err) != codes.Unavailable {
			return fmt.Errorf("the call ends with %v", status.Code(err))
		}
		return nil
	})
	half(t, l)
}

// half counts the answers of a rule one of whose two backends is not there.
func half(t *testing.T, l *laptop) {
	u, err := url.Parse("http://echo/half")
	if err != nil {
		t.Fatal(err)
	}
	pod := l.pod(meshNamespace, "echo-v1")
	c := call{url: u, method: http.MethodGet, count: draws}
	list, err := c.do(t.Context(), &pod)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[int]int{}
	for i := range list {
		counts[list[i].status]++
	}
	const few, many = draws/2 - 135, draws/2 + 135 // six standard deviations
	if ok, failed := counts[200], counts[500]; ok+failed != draws || failed < few || failed > many {
		t.Errorf("the statuses are %v, and half should be 500", counts)
	}
}
