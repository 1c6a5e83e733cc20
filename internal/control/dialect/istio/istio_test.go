package istio_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/dialect/istio"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// services are in all Worlds of these tests.
const services = `
apiVersion: v1
kind: Service
metadata: {name: shelf, namespace: library}
spec: {clusterIP: 10.1.0.7, ports: [{name: http, port: 80}, {name: tcp-db, port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: archive, namespace: library}
spec: {ports: [{name: http, port: 9000}]}
---
apiVersion: v1
kind: Service
metadata: {name: backup, namespace: vault}
spec: {ports: [{name: tcp, port: 5432}, {name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shelf, namespace: library}
spec: {host: shelf, subsets: [{name: v2, labels: {version: v2}}]}
---
`

// read is the World of some manifests, which must all be right, unless told.
func read(t testing.TB, manifests string) (*model.World, []source.Problem) {
	t.Helper()
	var objects []source.Object
	var problems []source.Problem
	docs, lines := source.Split([]byte(services + manifests))
	for i, doc := range docs {
		d := (&source.Decoder{Source: "file", File: "m.yaml"}).Decode(doc, lines[i])
		objects, problems = append(objects, d.Objects...), append(problems, d.Problems...)
	}
	return model.Build(nil, objects), problems
}

func mustRead(t testing.TB, manifests string) *model.World {
	t.Helper()
	w, problems := read(t, manifests)
	for i := range problems {
		t.Fatal(problems[i].String())
	}
	return w
}

func input(w *model.World, client, service string, port uint16, labels map[string]string) routing.Input {
	name, ns, _ := strings.Cut(service, ".")
	s := w.Service(ns, name)
	return routing.Input{
		World: w, Client: model.Client{Namespace: client}, Labels: labels,
		Service: s, Port: s.Port(port), Objects: w.Rules(s.Name),
	}
}

// vs is a VirtualService that leads to a subset or a service of a telling name.
func vs(name, namespace, more string) string {
	return fmt.Sprintf("\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: %s, namespace: %s}\nspec:\n%s\n", name, namespace, more)
}

const anywhere = "\n  http: [{route: [{destination: {host: archive.library.svc.cluster.local}}]}]"

// TestWhichHolds: for one host one VirtualService, in Istio's order.
func TestWhichHolds(t *testing.T) {
	tests := []struct {
		name, manifests, client string
		want                    string // the rule that holds; "" is none
		reasons                 []string
	}{
		{
			name:      "a short name is of the object's namespace",
			manifests: vs("a", "vault", "  hosts: [shelf]"+anywhere), client: "library",
		},
		{
			name:      "exact before pattern, whatever their age",
			manifests: vs("a", "library", "  hosts: ['*.library.svc.cluster.local']"+anywhere) + vs("b", "vault", "  hosts: [shelf.library.svc.cluster.local]"+anywhere),
			client:    "library", want: "virtualservice/vault/b/0",
			reasons: []string{"virtualservice/b -n vault has the host shelf.library.svc.cluster.local, which is nearer than *.library.svc.cluster.local"},
		},
		{
			name:      "the longer pattern",
			manifests: vs("a", "library", "  hosts: ['*.svc.cluster.local']"+anywhere) + vs("b", "library", "  hosts: ['*.library.svc.cluster.local']"+anywhere),
			client:    "library", want: "virtualservice/library/b/0",
			reasons: []string{"virtualservice/b -n library has the host *.library.svc.cluster.local, which is nearer than *.svc.cluster.local"},
		},
		{
			name:      "private before public",
			manifests: vs("a", "library", "  hosts: [shelf]"+anywhere) + vs("b", "library", "  exportTo: ['.']\n  hosts: [shelf]"+anywhere),
			client:    "library", want: "virtualservice/library/b/0",
			reasons: []string{"virtualservice/b -n library is for the same host and exported to fewer namespaces, which comes first"},
		},
		{
			name:      "not exported",
			manifests: vs("b", "library", "  exportTo: ['.', vault]\n  hosts: [shelf]"+anywhere),
			client:    "cinema",
			reasons:   []string{"it is not exported to namespace cinema"},
		},
		{
			name:      "exported by name",
			manifests: vs("b", "library", "  exportTo: ['.', vault]\n  hosts: [shelf]"+anywhere),
			client:    "vault", want: "virtualservice/library/b/0",
		},
		{
			name:      "exported to nobody",
			manifests: vs("b", "library", "  exportTo: ['~']\n  hosts: [shelf]"+anywhere), client: "library",
			reasons: []string{"it is not exported to namespace library"},
		},
		{
			name: "the older",
			manifests: strings.Replace(vs("a", "library", "  hosts: [shelf]"+anywhere), "namespace: library", `namespace: library, creationTimestamp: "2026-02-01T00:00:00Z"`, 1) +
				strings.Replace(vs("b", "library", "  hosts: [shelf]"+anywhere), "namespace: library", `namespace: library, creationTimestamp: "2026-01-01T00:00:00Z"`, 1),
			client: "library", want: "virtualservice/library/b/0",
			reasons: []string{"virtualservice/b -n library is for the same host and older; VirtualServices for one host are not merged in the mesh"},
		},
		{
			name:      "gateways alone",
			manifests: vs("a", "library", "  gateways: [edge]\n  hosts: [shelf]"+anywhere), client: "library",
			reasons: []string{"it is bound to gateways (edge), and not to the mesh"},
		},
		{
			name:      "gateways and the mesh",
			manifests: vs("a", "library", "  gateways: [edge, mesh]\n  hosts: [shelf]"+anywhere), client: "library",
			want: "virtualservice/library/a/0",
		},
		{
			name: "one without a rule for this port gives way",
			manifests: vs("a", "library", "  hosts: [shelf]\n  http: [{match: [{port: 8080}], route: [{destination: {host: archive}}]}]") +
				vs("b", "library", "  hosts: [shelf]"+anywhere),
			client: "library", want: "virtualservice/library/b/0",
			reasons: []string{"it is for port 8080, and this is 80"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := istio.Routes(input(mustRead(t, tt.manifests), tt.client, "shelf.library", 80, nil))
			got := ""
			if len(a.Rules) > 0 {
				got = a.Rules[0].Name
			}
			if got != tt.want || a.Speaks != (tt.want != "") {
				t.Errorf("%q holds, speaks %v; want %q", got, a.Speaks, tt.want)
			}
			var reasons []string
			for _, l := range a.Losers {
				reasons = append(reasons, l.Reason)
			}
			if strings.Join(reasons, "\n") != strings.Join(tt.reasons, "\n") {
				t.Errorf("losers:\n%s\nwant:\n%s", strings.Join(reasons, "\n"), strings.Join(tt.reasons, "\n"))
			}
		})
	}
}

// TestOpaquePorts have no http rules, and tcp rules choose by what is known of
// the caller.
func TestOpaquePorts(t *testing.T) {
	w := mustRead(t, vs("db", "library", `  hosts: [shelf]
  http: [{route: [{destination: {host: archive}}]}]
  tcp:
  - match:
    - {port: 5432, sourceLabels: {app: reader}}
    - {port: 5432, destinationSubnets: [10.2.0.0/16]}
    - {port: 5432, sourceSubnet: 10.0.0.0/8}
    route:
    - {destination: {host: shelf}, weight: 1}
    - {destination: {host: backup.vault.svc.cluster.local, port: {number: 5432}}, weight: 3}
  - match: [{destinationSubnets: [10.1.0.0/16]}]
    route: [{destination: {host: backup.vault.svc.cluster.local}}]
  - route: [{destination: {host: shelf}}]`))
	if a := istio.Routes(input(w, "library", "shelf.library", 5432, nil)); a.Speaks {
		t.Errorf("http rules for an opaque port: %+v", a)
	}
	a := istio.TCP(input(w, "library", "shelf.library", 5432, map[string]string{"app": "reader"}))
	if !a.Speaks || len(a.Rules) != 1 || len(a.Rules[0].Backends) != 2 || a.Rules[0].Backends[1].Weight.Value != 3 || a.Rules[0].Backends[1].Service.Name != "backup" {
		t.Errorf("for a reader: %+v", a)
	}
	a = istio.TCP(input(w, "library", "shelf.library", 5432, map[string]string{"app": "other"}))
	if !a.Speaks || a.Rules[0].Origin.Field != "spec.tcp[1]" || a.Rules[0].Backends[0].Port != 5432 {
		t.Errorf("for others: %+v", a)
	}
	var losers []string
	for _, l := range a.Losers {
		losers = append(losers, l.Origin.Field+": "+l.Reason)
	}
	want := `spec.tcp[0].match[0]: it is for callers with the label app=reader, which namespace library has not
spec.tcp[0].match[1]: no address of the service is within 10.2.0.0/16
spec.tcp[0].match[2]: addresses of callers are not compared
spec.tcp[2]: spec.tcp[1] comes before it, and connections are not looked into`
	if got := strings.Join(losers, "\n"); got != want {
		t.Errorf("losers:\n%s\nwant:\n%s", got, want)
	}
}

// TestHosts that are no services.
func TestHosts(t *testing.T) {
	w := mustRead(t, vs("shop", "library", "  hosts: [shop.example.com, legacy]"+anywhere)+
		vs("any", "library", "  hosts: ['*.example.org']"+anywhere))
	for _, tt := range []struct {
		host, client string
		want         string
	}{
		{"shop.example.com", "vault", "virtualservice/library/shop/0"},
		{"Shop.Example.COM.", "vault", "virtualservice/library/shop/0"},
		{"other.example.com", "vault", ""},
		{"a.b.example.org", "vault", "virtualservice/library/any/0"},
		{"example.org", "vault", ""},
		{"legacy", "library", "virtualservice/library/shop/0"},
		{"legacy", "vault", ""},
		{"legacy.library", "vault", "virtualservice/library/shop/0"},
	} {
		a := istio.Host(istio.Asked{World: w, Client: model.Client{Namespace: tt.client}, Host: tt.host, Port: 80})
		got := ""
		if a.Speaks {
			got = a.Rules[0].Name
		}
		if got != tt.want {
			t.Errorf("%s for %s: %q, want %q", tt.host, tt.client, got, tt.want)
		}
	}
}

// TestChangesOfHosts reach whoever asked for a host that is no service.
func TestChangesOfHosts(t *testing.T) {
	none := mustRead(t, "")
	exact := mustRead(t, vs("shop", "library", "  hosts: [shop.example.com]"+anywhere))
	pattern := mustRead(t, vs("shop", "library", "  hosts: ['*.example.com']"+anywhere))
	for _, tt := range []struct {
		old, new *model.World
		want     string
	}{{none, exact, "/shop.example.com"}, {exact, none, "/shop.example.com"}, {none, pattern, "/*"}, {exact, pattern, "/*, /shop.example.com"}} {
		var got []string
		for _, n := range model.Diff(tt.old, tt.new).Services {
			if n.Namespace == "" {
				got = append(got, n.String())
			}
		}
		if strings.Join(got, ", ") != tt.want {
			t.Errorf("changed %q, want %q", strings.Join(got, ", "), tt.want)
		}
	}
}
