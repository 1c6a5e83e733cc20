package gateway_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/dialect/gateway"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// of is an HTTPRoute of a namespace for web.
func of(namespace, name, extra, rules string) string {
	return "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: " + name + ", namespace: " + namespace + "}\n" +
		"spec:\n  parentRefs: [{group: \"\", kind: Service, name: web, namespace: shop" + extra + "}]\n  rules:\n" + rules
}

func grpc(doc string) string { return strings.Replace(doc, "HTTPRoute", "GRPCRoute", 1) }

const toOther = "  - {backendRefs: [{name: other, namespace: shop, port: 80}]}\n"

// TestGroups: who governs a port for which client.
func TestGroups(t *testing.T) {
	w := world(
		t,
		of("shop", "producer", "", toOther),
		of("shop", "producer-alt", ", sectionName: alt", toOther),
		grpc(of("shop", "producer-grpc", ", port: 8080", toOther)),
		of("caller", "consumer", ", port: 80", toOther),
		grpc(of("stream", "consumer-grpc", "", toOther)),
		of("stream", "consumer-http", "", toOther),
	)
	for _, tt := range []struct {
		client string
		port   uint16
		want   []string
		losers int
	}{
		{"shop", 80, []string{"httproute/shop/producer/0"}, 3},
		{"elsewhere", 80, []string{"httproute/shop/producer/0"}, 3},
		{"elsewhere", 8080, []string{"grpcroute/shop/producer-grpc/0"}, 4},
		{"caller", 80, []string{"httproute/caller/consumer/0"}, 3},
		{"caller", 8080, []string{"grpcroute/shop/producer-grpc/0"}, 4},
		{"stream", 80, []string{"grpcroute/stream/consumer-grpc/0"}, 3},
		{"stream", 8080, []string{"grpcroute/stream/consumer-grpc/0"}, 4},
	} {
		a := ask(w, tt.client, tt.port)
		if got := names(a.Rules); !a.Speaks || !slices.Equal(got, tt.want) {
			t.Errorf("%s to port %d: %v, want %v", tt.client, tt.port, got, tt.want)
		}
		if len(a.Losers) != tt.losers {
			t.Errorf("%s to port %d: %d losers, want %d: %v", tt.client, tt.port, len(a.Losers), tt.losers, a.Losers)
		}
		if want := (model.Name{Namespace: "shop", Name: "other"}); !slices.Contains(a.Services, want) {
			t.Errorf("%s to port %d: services %v are without %v", tt.client, tt.port, a.Services, want)
		}
	}
}

// TestSilent: routes that hold nowhere let the port be as it was.
func TestSilent(t *testing.T) {
	for name, doc := range map[string]string{
		"another port":     of("shop", "r", ", port: 81", toOther),
		"another name":     of("shop", "r", ", sectionName: https", toOther),
		"number, not name": of("shop", "r", ", port: 80, sectionName: alt", toOther),
		"no readable rule": of("shop", "r", "", "  - {matches: [{path: {type: Glob, value: x}}]}\n"),
		"no rules of gRPC": "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: r, namespace: shop}\nspec: {parentRefs: [{group: \"\", kind: Service, name: web}]}\n",
		"a Gateway":        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: shop}\nspec: {parentRefs: [{name: web}]}\n",
	} {
		if a := ask(world(t, doc), "shop", 80); a.Speaks || len(a.Rules) > 0 {
			t.Errorf("%s: it speaks: %v", name, names(a.Rules))
		}
	}
}

// TestWithoutRules: a route without the field has one rule for all requests.
func TestWithoutRules(t *testing.T) {
	doc := "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: shop}\nspec: {parentRefs: [{group: \"\", kind: Service, name: web}]}\n"
	a := ask(world(t, doc), "shop", 8080)
	if len(a.Rules) != 1 || !a.Rules[0].Match.All() || len(a.Rules[0].Backends) != 1 || a.Rules[0].Backends[0].Port != 8080 {
		t.Errorf("got %+v, want one rule that leads everything to web itself", a.Rules)
	}
}

// TestRedirectPort is the table of HTTPRequestRedirectFilter, port.
func TestRedirectPort(t *testing.T) {
	for _, tt := range []struct {
		filter     string
		port       uint16 // to which the request comes
		wantScheme string
		wantPort   uint16
	}{
		{`hostname: example.com`, 80, "", 0},
		{`hostname: example.com`, 8080, "", 8080},
		{`hostname: example.com, scheme: https`, 8080, "https", 0},
		{`hostname: example.com, scheme: http`, 8080, "http", 0},
		{`scheme: https`, 8080, "https", 0},
		{`scheme: https, port: 443`, 8080, "https", 0},
		{`scheme: http, port: 443`, 8080, "http", 443},
		{`scheme: https, port: 80`, 8080, "https", 80},
		{`scheme: http, port: 80`, 8080, "http", 0},
		{`port: 80`, 8080, "http", 0},
		{`port: 8083`, 80, "", 8083},
		{`statusCode: 301`, 8080, "", 0},
	} {
		doc := of("shop", "r", "", "  - {filters: [{type: RequestRedirect, requestRedirect: {"+tt.filter+"}}]}\n")
		r := ask(world(t, doc), "shop", tt.port).Rules[0].Redirect
		if r.Scheme != tt.wantScheme || r.Port != tt.wantPort {
			t.Errorf("%s of a request to port %d: scheme %q and port %d, want %q and %d", tt.filter, tt.port, r.Scheme, r.Port, tt.wantScheme, tt.wantPort)
		}
	}
}

func compare(t *testing.T, text routing.Text, s string) bool {
	t.Helper()
	switch {
	case text.Kind == routing.Exact && text.IgnoreCase:
		return strings.EqualFold(text.Value, s)
	case text.Kind == routing.Exact:
		return text.Value == s
	case text.Kind == routing.Regex && text.IgnoreCase:
		return regexp.MustCompile("^(?i:" + text.Value + ")$").MatchString(s)
	default:
		return regexp.MustCompile("^(?:" + text.Value + ")$").MatchString(s)
	}
}

// TestOrigins are those of HTTPCORSFilter, allowOrigins.
func TestOrigins(t *testing.T) {
	for _, tt := range []struct{ allowed, origin, not string }{
		{"*", "https://example.com:8443", ""},
		{"https://example.com", "https://example.com", "http://example.com"},
		{"https://example.com:443", "https://example.com", "https://example.com:444"},
		{"http://example.com:80", "http://example.com", "http://example.com:8080"},
		{"http://example.com:8080", "http://example.com:8080", "http://example.com"},
		{"https://*.example.com", "https://a.example.com", "https://example.com"},
		{"https://*.example.com", "https://a.b.example.com", "https://a.example.com:8443"},
		{"https://*.example.com", "https://a.example.com", "https://a.example.com.evil.org"},
		{"https://*.example.com", "https://a.example.com", "https://evil.org/.example.com"},
		{"https://*", "https://anything.org", "http://anything.org"},
		{"https://*:8443", "https://anything.org:8443", "https://anything.org"},
		{"http://*", "http://[::1]", "http://[::1]:8080"},
	} {
		doc := of("shop", "r", "", "  - {filters: [{type: CORS, cors: {allowOrigins: [\""+tt.allowed+"\"]}}]}\n")
		text := ask(world(t, doc), "shop", 80).Rules[0].CORS.AllowOrigins[0]
		if !compare(t, text, tt.origin) {
			t.Errorf("%s does not allow %s", tt.allowed, tt.origin)
		}
		if tt.not != "" && compare(t, text, tt.not) {
			t.Errorf("%s allows %s", tt.allowed, tt.not)
		}
	}
}

// TestHosts: a host is compared without its port and in any case.
func TestHosts(t *testing.T) {
	for _, tt := range []struct{ host, authority, not string }{
		{"web.shop", "web.shop", "web.shop.svc"},
		{"web.shop", "WEB.shop:8080", "xweb.shop"},
		{"*.example.com", "a.example.com", "example.com"},
		{"*.example.com", "a.b.example.com:80", ".example.com"},
		{"a.com", "a.com", "aXcom"},
	} {
		doc := strings.Replace(of("shop", "r", "", toOther), "  rules:", "  hostnames: [\""+tt.host+"\"]\n  rules:", 1)
		h := ask(world(t, doc), "shop", 80).Rules[0].Match.Headers[0]
		if h.Name != ":authority" || !compare(t, h.Text, tt.authority) || compare(t, h.Text, tt.not) {
			t.Errorf("host name %s is compared by %+v; want it to match %s and not %s", tt.host, h, tt.authority, tt.not)
		}
	}
}

// TestBackendFilters: what is for one backend of several is refused, what is for
// an only one is the rule's.
func TestBackendFilters(t *testing.T) {
	filter := "filters: [{type: URLRewrite, urlRewrite: {hostname: a.example.com}}]"
	one := of("shop", "r", "", "  - {backendRefs: [{name: web, port: 80, "+filter+"}]}\n")
	if r := ask(world(t, one), "shop", 80).Rules[0]; r.Rewrite == nil || r.Rewrite.Host != "a.example.com" || len(r.Backends) != 1 {
		t.Errorf("the rewrite of an only backend: %+v", r)
	}
	two := of("shop", "r", "", "  - {backendRefs: [{name: other, port: 80}, {name: web, port: 80, "+filter+"}]}\n")
	w := world(t, two)
	if r := ask(w, "shop", 80).Rules[0]; r.Direct == nil || r.Direct.Status != 500 {
		t.Errorf("the rewrite of one backend of two: %+v, want 500", r)
	}
	o, _ := w.Object(source.Key{Kind: source.HTTPRoute, Namespace: "shop", Name: "r"})
	if c := gateway.Status(w, o)[0].Conditions[0]; c.Status != "False" || c.Reason != "UnsupportedValue" {
		t.Errorf("Accepted is %s %s", c.Status, c.Reason)
	}
}

// TestRefusedGRPC: what cannot be carried out is UNAVAILABLE to gRPC, as 503 is.
func TestRefusedGRPC(t *testing.T) {
	doc := grpc(of("shop", "r", "", "  - {filters: [{type: ExtensionRef, extensionRef: {group: x, kind: Y, name: z}}], backendRefs: [{name: web, port: 80}]}\n"))
	w := world(t, doc)
	if r := ask(w, "shop", 80).Rules[0]; r.Direct == nil || r.Direct.Status != 503 {
		t.Errorf("got %+v, want 503", r)
	}
	o, _ := w.Object(source.Key{Kind: source.GRPCRoute, Namespace: "shop", Name: "r"})
	c := gateway.Status(w, o)[0].Conditions
	if c[0].Status != "True" || c[1].Status != "False" || c[1].Reason != "InvalidKind" {
		t.Errorf("conditions %+v, want an accepted route with references that lead nowhere (GEP-1364)", c)
	}
}
