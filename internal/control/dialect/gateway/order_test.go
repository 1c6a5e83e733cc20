package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/dialect/gateway"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// services are two of namespace shop: web with two ports, and other.
const services = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}, {name: alt, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: shop}
spec: {clusterIP: 10.0.0.2, ports: [{port: 80}]}
`

// world reads documents that have nothing wrong in them.
func world(t *testing.T, docs ...string) *model.World {
	t.Helper()
	var objects []source.Object
	for _, text := range append([]string{services}, docs...) {
		parts, lines := source.Split([]byte(text))
		for i := range parts {
			d := (&source.Decoder{Source: "test"}).Decode(parts[i], lines[i])
			for _, p := range d.Problems {
				t.Fatalf("%s\n%s", p.String(), parts[i])
			}
			objects = append(objects, d.Objects...)
		}
	}
	return model.Build(nil, objects)
}

// ask is what the dialect says of requests to web.
func ask(w *model.World, client string, port uint16) routing.Answer {
	s := w.Service("shop", "web")
	return gateway.Routes(routing.Input{
		World: w, Client: model.Client{Namespace: client}, Service: s, Port: s.Port(port), Objects: w.Rules(s.Name),
	})
}

func names(rules []routing.Rule) []string {
	var out []string
	for i := range rules {
		out = append(out, rules[i].Name)
	}
	return out
}

// httpRoute is a route for web of one rule for each text, which is the rule's
// match, named by its place.
func httpRoute(name, meta, spec string, matches ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: %s, namespace: shop%s}\nspec:\n", name, meta)
	fmt.Fprintf(&b, "  parentRefs: [{group: \"\", kind: Service, name: web}]\n%s  rules:\n", spec)
	for _, m := range matches {
		fmt.Fprintf(&b, "  - {matches: [%s], backendRefs: [{name: web, port: 80}]}\n", m)
	}
	return b.String()
}

// precedence is a table of matches, each before all that follow (HTTPRouteRule,
// matches; for regular expressions, what rank says).
var precedence = []string{
	`{path: {type: Exact, value: /a/b}, method: GET}`,
	`{path: {type: Exact, value: /a/b}, headers: [{name: x, value: "1"}]}`,
	`{path: {type: Exact, value: /a/b}, queryParams: [{name: x, value: "1"}]}`,
	`{path: {type: Exact, value: /}}`,
	`{path: {type: RegularExpression, value: "/a/[a-z]+"}}`,
	`{path: {type: RegularExpression, value: "/.*"}, method: GET}`,
	`{path: {type: RegularExpression, value: "/.*"}}`,
	`{path: {value: /a/b/c}}`,
	`{path: {value: /a/b}, method: PUT, headers: [{name: x, value: "1"}, {name: y, value: "1"}]}`,
	`{path: {value: /a/b}, method: PUT, headers: [{name: x, value: "1"}], queryParams: [{name: x, value: "1"}]}`,
	`{path: {value: /a/b}, method: PUT, headers: [{name: x, value: "1"}]}`,
	`{path: {value: /a/b}, method: PUT}`,
	`{path: {value: /a/b}, headers: [{name: x, value: "1"}, {name: y, value: "1"}, {name: z, value: "1"}]}`,
	`{path: {value: /a/b}, headers: [{name: x, value: "1"}, {name: y, value: "1"}], queryParams: [{name: x, value: "1"}]}`,
	`{path: {value: /a/b}, headers: [{name: x, value: "1"}, {name: y, value: "1"}]}`,
	`{path: {value: /a/b}, headers: [{name: x, value: "1"}], queryParams: [{name: a, value: "1"}, {name: b, value: "1"}]}`,
	`{path: {value: /a/b}, queryParams: [{name: x, value: "1"}, {name: y, value: "1"}]}`,
	`{path: {value: /a/b}, queryParams: [{name: x, value: "1"}]}`,
	`{path: {value: /a/b}}`,
	`{path: {value: /a}, method: GET, headers: [{name: x, value: "1"}]}`,
	`{path: {value: /}, method: GET}`,
	`{headers: [{name: x, value: "1"}]}`,
	`{queryParams: [{name: x, value: "1"}]}`,
}

// TestPrecedence puts the table into routes in every way that chance finds, and
// wants its order.
func TestPrecedence(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		order := random.Perm(len(precedence))
		var docs []string
		place := map[string]int{}
		for start := 0; start < len(order); start += 16 { // the most of a route
			name := fmt.Sprintf("r%d", start)
			var list []string
			for i, at := range order[start:min(start+16, len(order))] {
				list = append(list, precedence[at])
				place[fmt.Sprintf("httproute/shop/%s/%d", name, i)] = at
			}
			docs = append(docs, httpRoute(name, "", "", list...))
		}
		var got []int
		for _, n := range names(ask(world(t, docs...), "shop", 80).Rules) {
			got = append(got, place[n])
		}
		if !slices.IsSorted(got) || len(got) != len(precedence) {
			t.Fatalf("written in the order %v, the rules are in the order %v", order, got)
		}
	}
}

func TestTies(t *testing.T) {
	same := `{path: {value: /same}}`
	at := func(when string) string { return `, creationTimestamp: "` + when + `"` }
	for _, tt := range []struct {
		name string
		docs []string
		want []string
	}{
		{
			"the oldest route first, whatever its name",
			[]string{
				httpRoute("a", at("2026-03-01T00:00:00Z"), "", same),
				httpRoute("b", at("2026-02-01T00:00:00Z"), "", same),
				httpRoute("c", at("2026-01-01T00:00:00Z"), "", same),
			},
			[]string{"httproute/shop/c/0", "httproute/shop/b/0", "httproute/shop/a/0"},
		},
		{
			"then by name, and those without an age last",
			[]string{
				httpRoute("b", "", "", same), httpRoute("a", "", "", same),
				httpRoute("z", at("2026-03-01T00:00:00Z"), "", same), httpRoute("y", at("2026-03-01T00:00:00Z"), "", same),
			},
			[]string{"httproute/shop/y/0", "httproute/shop/z/0", "httproute/shop/a/0", "httproute/shop/b/0"},
		},
		{
			"within a route the first rule and the first match",
			[]string{httpRoute("a", "", "", same+", "+same, same)},
			[]string{"httproute/shop/a/0#0", "httproute/shop/a/0#1", "httproute/shop/a/1"},
		},
		{
			"the longest host without a star, then the longest, before every path",
			[]string{
				httpRoute("a", "", "", `{path: {type: Exact, value: /exact}}`),
				httpRoute("b", "", "  hostnames: [\"*.long.example.com\", a.com]\n", same),
				httpRoute("c", "", "  hostnames: [\"*.com\", \"a.example.com\"]\n", same),
			},
			[]string{
				"httproute/shop/c/0@a.example.com", "httproute/shop/b/0@a.com",
				"httproute/shop/b/0@*.long.example.com", "httproute/shop/c/0@*.com",
				"httproute/shop/a/0",
			},
		},
		{
			"the two groups are one kind",
			[]string{
				strings.Replace(httpRoute("a", "", "", `{path: {value: /}}`, `{path: {value: /longer}}`), "gateway.networking.k8s.io/v1", "policy.linkerd.io/v1beta2", 1),
				httpRoute("a", "", "", `{path: {value: /}}`, `{path: {value: /long}}`),
			},
			[]string{
				"httproute.policy.linkerd.io/shop/a/1", "httproute/shop/a/1",
				"httproute/shop/a/0", "httproute.policy.linkerd.io/shop/a/0",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := names(ask(world(t, tt.docs...), "shop", 80).Rules); !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// grpcPrecedence is a table of matches of gRPC, each before all that follow.
var grpcPrecedence = []string{
	`{method: {service: shop.v1.Cart, method: Add}, headers: [{name: x, value: "1"}]}`,
	`{method: {service: shop.v1.Cart, method: Add}}`,
	`{method: {service: shop.v1.Cart, method: Ad}}`,
	`{method: {service: shop.v1.Cart}, headers: [{name: x, value: "1"}, {name: y, value: "1"}]}`,
	`{method: {service: shop.v1.Cart}}`,
	`{method: {service: shop.Cart, method: AddMany}}`,
	`{method: {method: Add}}`,
	`{method: {type: RegularExpression, service: "shop.*", method: "A.*"}}`,
	`{method: {type: RegularExpression, service: "shop.*"}}`,
	`{method: {type: RegularExpression, method: "A.*"}}`,
	`{headers: [{name: x, value: "1"}, {name: y, value: "1"}]}`,
	`{headers: [{name: x, value: "1"}]}`,
	`{}`,
}

func TestPrecedenceOfGRPC(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		order := random.Perm(len(grpcPrecedence))
		doc := "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: r, namespace: shop}\n" +
			"spec:\n  parentRefs: [{group: \"\", kind: Service, name: web}]\n  rules:\n"
		for _, at := range order {
			doc += "  - {matches: [" + grpcPrecedence[at] + "], backendRefs: [{name: web, port: 80}]}\n"
		}
		var got []int
		for _, n := range names(ask(world(t, doc), "shop", 80).Rules) {
			var i int
			if _, err := fmt.Sscanf(n, "grpcroute/shop/r/%d", &i); err != nil {
				t.Fatal(n, err)
			}
			got = append(got, order[i])
		}
		if !slices.IsSorted(got) || len(got) != len(grpcPrecedence) {
			t.Fatalf("written in the order %v, the rules are in the order %v", order, got)
		}
	}
}
