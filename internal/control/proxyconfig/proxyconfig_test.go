package proxyconfig_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/proxyconfig"
	"github.com/reclosermesh/recloser/internal/control/translate"
)

const manifests = `
apiVersion: v1
kind: Service
metadata: {name: a, namespace: n}
spec: {ports: [{name: http, port: 80}, {name: tcp, port: 81, appProtocol: tcp}]}
---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: n}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: n}
spec:
  hosts: [a]
  http:
  - match: [{uri: {exact: /x}, headers: {h: {exact: v}}, queryParams: {q: {exact: v}}}]
    route: [{destination: {host: a}, weight: 1}, {destination: {host: b}, weight: 3}]
  - match: [{uri: {prefix: /old}}]
    redirect: {uri: /new}
  - match: [{uri: {regex: "/r.*"}}]
    directResponse: {status: 418}
`

func TestText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mesh.yaml")
	if err := os.WriteFile(path, []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := control.Read([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	v := translate.View{World: o.World, Policy: o.Policy}
	n := proxyconfig.NodeOf(o.World, model.Client{Namespace: "n"})
	for _, tt := range []struct {
		kind proxyconfig.Kind
		name string
		rows int // with the heading; 0: nothing at all
		has  []string
	}{
		{proxyconfig.Routes, "", 5, []string{"/x, h, ?q", "outbound|80||a.n.svc.cluster.local 1, outbound|80||b.n.svc.cluster.local 3", "redirect", "~/r.*", "answer 418", "virtualservice/a -n n"}},
		{proxyconfig.Routes, "b.n", 2, []string{"b.n.svc.cluster.local:80"}},
		{proxyconfig.Clusters, "", 4, []string{"a.n.svc.cluster.local"}},
		{proxyconfig.Clusters, "|81|", 2, []string{"81"}},
		{proxyconfig.Clusters, "nobody", 0, nil},
		{proxyconfig.Listeners, "", 2, []string{"Route: outbound"}},
	} {
		var out bytes.Buffer
		list := proxyconfig.Named(proxyconfig.Of(v, n, tt.kind), tt.name)
		if err := proxyconfig.WriteText(&out, v, n, list, tt.name); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(out.String(), "\n"); got != tt.rows {
			t.Errorf("%s %q: %d rows, want %d\n%s", tt.kind, tt.name, got, tt.rows, out.String())
		}
		for _, want := range tt.has {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s %q has no %q:\n%s", tt.kind, tt.name, want, out.String())
			}
		}
	}
}
