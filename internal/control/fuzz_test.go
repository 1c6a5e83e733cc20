package control_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/convert"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzPipeline: whatever is in a manifest, there is a World, a policy for each
// port, findings that say what is wrong, and resources that Envoy takes; the
// same once more is the same; and it can be said in every dialect.
func FuzzPipeline(f *testing.F) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			if filepath.Ext(file.Name) == ".yaml" {
				f.Add(file.Data)
			}
		}
	}
	seed, err := os.ReadFile("testdata/seed/circuit-breaking.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	for _, bad := range malformed() {
		f.Add([]byte(bad.yaml))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o := fromBytes(t, data)
		for i := range o.Findings {
			if p := &o.Findings[i]; p.Code == "" || p.Severity == "" || p.Reason == "" {
				t.Fatalf("a finding that does not say what is wrong: %+v", p)
			}
		}
		first := everything(t, translate.View{World: o.World, Policy: o.Policy})
		again := model.Build(o.World, objectsOf(data))
		second := everything(t, translate.View{World: again, Policy: policy.Build(o.Policy, again)})
		for name, m := range first {
			if !proto.Equal(m, second[name]) {
				t.Fatalf("%s differs:\n%v\n%v", name, m, second[name])
			}
		}
		if len(first) != len(second) {
			t.Fatalf("%d resources, then %d", len(first), len(second))
		}
		for _, to := range convert.Dialects() {
			if _, err := convert.Convert(o.World, o.Policy, convert.Options{To: to, All: true}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// fromBytes is what a file with these bytes says.
func fromBytes(t *testing.T, data []byte) *control.Offline {
	t.Helper()
	name := filepath.Join(t.TempDir(), "mesh.yaml")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := control.Read([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func objectsOf(data []byte) []source.Object {
	seen := map[source.Key]bool{}
	var out []source.Object
	docs, lines := source.Split(data)
	for i, doc := range docs {
		for _, o := range (&source.Decoder{Source: "file", File: "f"}).Decode(doc, lines[i]).Objects {
			if !seen[o.Key] {
				seen[o.Key] = true
				out = append(out, o)
			}
		}
	}
	return out
}

// subsetsOf are the subsets that a service has, and that of all endpoints.
func subsetsOf(w *model.World, service model.Name) []string {
	out := []string{""}
	for _, o := range w.RulesOf(service, source.DestinationRule) {
		for _, s := range o.Value.(*source.IstioDestinationRule).Spec.GetSubsets() {
			out = append(out, s.GetName())
		}
	}
	return out
}

// everything is what proxies of all shapes are sent, each resource by its key.
// What Envoy would refuse, and regular expressions that are none, fail.
func everything(t *testing.T, v translate.View) map[string]proto.Message {
	t.Helper()
	out := map[string]proto.Message{}
	add := func(k translate.Key) {
		for _, r := range translate.Generate(v, k).Resources {
			if _, err := (proto.MarshalOptions{}).Marshal(r.Message); err != nil {
				t.Fatal(err)
			}
			if err := validate(r.Message); err != nil {
				t.Fatalf("Envoy would refuse %s: %v", r.Name, err)
			}
			compiles(t, r.Message.ProtoReflect())
			out[fmt.Sprint(k, r.Name)] = r.Message
		}
	}
	clients := []model.Client{{Namespace: "c"}}
	for _, o := range v.World.Objects(source.Deployment) {
		clients = append(clients, model.Client{Namespace: o.Namespace, Workload: o.Name, Kind: string(o.Kind)})
	}
	for _, s := range v.World.Services() {
		for _, client := range append(clients[:min(len(clients), 3):min(len(clients), 3)], model.Client{Namespace: s.Namespace}) {
			for _, shape := range []translate.Shape{translate.Recloser, translate.Envoy, translate.GRPC} {
				serviceResources(v, s, translate.Node{Pod: model.Name{Namespace: s.Namespace, Name: "x"}, Client: client, Shape: shape}, add)
			}
			for i := range s.Ports {
				e, err := v.Policy.Effective(client, s.Name, s.Ports[i].Number, "")
				if err != nil {
					t.Fatal(err)
				}
				_ = e.Leaves()
				_ = policy.LinkerdJSON(e)
			}
		}
	}
	for _, o := range v.World.Objects(source.VirtualService) {
		for _, h := range o.Value.(*source.IstioVirtualService).Spec.GetHosts() {
			add(translate.KeyFor(translate.HostType, "outbound/"+h, translate.Node{Client: clients[0]}))
		}
	}
	add(translate.KeyFor(translate.RouteType, translate.OutboundListener, translate.Node{Client: clients[0], Shape: translate.Envoy}))
	for _, p := range v.World.Pods() {
		node := translate.Node{Pod: p.Name, Client: v.World.ClientOf(p.Name)}
		add(translate.KeyFor(translate.ListenerType, "*", node))
		for _, port := range p.ContainerPorts() {
			add(translate.KeyFor(translate.ClusterType, translate.InboundCluster(p.Public(port)), node))
		}
	}
	return out
}

func serviceResources(v translate.View, s *model.Service, node translate.Node, add func(translate.Key)) {
	for _, p := range s.Ports {
		for _, subset := range subsetsOf(v.World, s.Name) {
			name := translate.ClusterName(s.Name, p.Number, subset)
			add(translate.KeyFor(translate.ClusterType, name, node))
			add(translate.KeyFor(translate.EndpointType, name, node))
		}
		for _, host := range append([]string{s.Name.Name, s.Host()}, s.ClusterIPs()...) {
			add(translate.KeyFor(translate.HostType, fmt.Sprintf("outbound/%s:%d", host, p.Number), node))
		}
		if target := fmt.Sprintf("%s:%d", s.Host(), p.Number); node.Shape.Proxyless() {
			add(translate.KeyFor(translate.ListenerType, target, node))
			add(translate.KeyFor(translate.RouteType, target, node))
		}
	}
}

// compiles looks for regular expressions, wherever they are.
func compiles(t *testing.T, m protoreflect.Message) {
	t.Helper()
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Name() == "regex" && f.Kind() == protoreflect.StringKind:
			if _, err := regexp.Compile(v.String()); err != nil {
				t.Fatalf("%s: %v", f.FullName(), err)
			}
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				compiles(t, v.List().Get(i).Message())
			}
		default:
			compiles(t, v.Message())
		}
		return true
	})
}
