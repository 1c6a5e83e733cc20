package local

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/model"
)

const servicesManifest = `---
apiVersion: v1
kind: Service
metadata: {name: my-db, namespace: shop}
spec: {ports: [{name: sql, port: 5432}, {name: http-admin, port: 9090}]}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {ports: [{port: 50051, appProtocol: grpc}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: http, port: 80}, {name: other, port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere, namespace: other}
spec: {ports: [{name: tcp, port: 1}]}
`

func TestDoors(t *testing.T) {
	for _, one := range []bool{false, true} {
		places := must(newPlaces(t.Context(), one))
		defer places.close()
		w := newRig(t, servicesManifest, nil).World()
		doors := must(places.openDoors(t.Context(), w, "shop"))
		var names []string
		for _, d := range doors {
			names = append(names, d.service.Name)
			for _, p := range d.ports {
				ln, err := net.Listen("tcp", netip.AddrPortFrom(d.address, p.listen).String())
				if err != nil {
					t.Errorf("%s cannot be listened on: %v", d.service, err)
					continue
				}
				defer ln.Close()
			}
		}
		if !slices.Equal(names, []string{"api", "my-db"}) {
			t.Errorf("doors to %v", names)
		}
		if own := places.lock != nil; own && (doors[0].address == doors[1].address || doors[1].ports[0].listen != 5432) {
			t.Errorf("with many addresses: %+v", doors)
		}
		if n := len(places.used); places.lock != nil && n != 2 {
			t.Errorf("%d slots are taken", n)
		}
		places.closeDoors(doors)
		if len(places.used) != 0 {
			t.Errorf("slots are not given back: %v", places.used)
		}
	}
}

func TestServiceVariables(t *testing.T) {
	s := testSetting(t)
	s.doors = []door{
		{service: model.Name{Namespace: "shop", Name: "my-db"}, address: netip.MustParseAddr("127.9.0.3"), ports: []doorPort{{"sql", 5432, 5432}, {"http-admin", 9090, 41003}}},
		{service: model.Name{Namespace: "shop", Name: "api"}, address: netip.MustParseAddr("127.9.0.5"), ports: []doorPort{{"", 50051, 50051}}},
	}
	e := newEnvironment(s)
	for name, want := range map[string]string{
		"MY_DB_SERVICE_HOST": "127.9.0.3", "MY_DB_SERVICE_PORT": "5432",
		"MY_DB_SERVICE_PORT_SQL": "5432", "MY_DB_SERVICE_PORT_HTTP_ADMIN": "41003",
		"API_SERVICE_HOST": "127.9.0.5", "API_SERVICE_PORT": "50051",
		"NO_PROXY": "127.9.0.3,127.9.0.5",
	} {
		if got := e.get(name); got != want {
			t.Errorf("%s=%q, want %q", name, got, want)
		}
	}
	want := "127.9.0.3:5432=my-db.shop:5432,127.9.0.3:41003=my-db.shop:9090,127.9.0.5:50051=api.shop:50051"
	if got := published(s.doors); got != want {
		t.Errorf("PUBLISH=%s, want %s", got, want)
	}
}

// TestProgramsAreTold: the sidecar is told what to listen for, and programs
// where, also by $(NAME) in their command lines; a Pod that does not want to be
// told is not.
func TestProgramsAreTold(t *testing.T) {
	workload := `---
apiVersion: recloser.io/v1alpha1
kind: Workload
metadata: {name: w, namespace: shop}
spec:
  command: [/bin/sh, -c, 'echo "told $DB $(MY_DB_SERVICE_PORT_SQL) $API_SERVICE_PORT"; exec sleep 1000']
  env: [{name: DB, value: "$(MY_DB_SERVICE_HOST)"}]
`
	r := newRig(t, servicesManifest+workload, nil)
	var in *instance
	r.await("it runs", func() bool {
		list := r.mesh.list()
		if len(list) == 1 {
			in = list[0]
		}
		return in != nil && len(in.doors) == 2
	})
	d := in.doors[1]
	want := fmt.Sprintf("told %s %d %d", d.address, d.ports[0].listen, in.doors[0].ports[0].listen)
	r.await("it was told", func() bool { return strings.Contains(r.lines(), want) })
	r.await("so was its sidecar", func() bool { return strings.Contains(r.lines(), "PUBLISH="+published(in.doors)) })
}
