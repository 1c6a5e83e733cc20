package control_test

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzPipeline: whatever is in a manifest, there is a World, a policy for each
// port, and resources that can be sent; and the same once more is the same.
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
	f.Fuzz(func(t *testing.T, data []byte) {
		world, table := model.Build(nil, objectsOf(data)), (*policy.Table)(nil)
		table = policy.Build(table, world)
		lint.Check(world)
		lint.DestinationRules(world, table)
		first := everything(t, translate.View{World: world, Policy: table})
		again := model.Build(world, objectsOf(data))
		second := everything(t, translate.View{World: again, Policy: policy.Build(table, again)})
		for name, m := range first {
			if !proto.Equal(m, second[name]) {
				t.Fatalf("%s differs:\n%v\n%v", name, m, second[name])
			}
		}
		if len(first) != len(second) {
			t.Fatalf("%d resources, then %d", len(first), len(second))
		}
	})
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

func everything(t *testing.T, v translate.View) map[string]proto.Message {
	out := map[string]proto.Message{}
	add := func(k translate.Key) {
		for _, r := range translate.Generate(v, k).Resources {
			if _, err := (proto.MarshalOptions{}).Marshal(r.Message); err != nil {
				t.Fatal(err)
			}
			out[k.Type+" "+k.Name+" "+k.Node.Pod.String()+" "+r.Name] = r.Message
		}
	}
	for _, s := range v.World.Services() {
		for _, p := range s.Ports {
			node := translate.Node{Pod: model.Name{Namespace: s.Namespace, Name: "x"}, Client: model.Client{Namespace: s.Namespace}}
			for _, subset := range subsetsOf(v.World, s.Name) {
				name := translate.ClusterName(s.Name, p.Number, subset)
				add(translate.KeyFor(translate.ClusterType, name, node))
				add(translate.KeyFor(translate.EndpointType, name, node))
				if err := validate(out[translate.ClusterType+" "+name+" / "+name]); err != nil {
					t.Fatalf("Envoy would refuse %s: %v", name, err)
				}
			}
			add(translate.KeyFor(translate.HostType, "outbound/"+s.Name.Name, node))
			add(translate.KeyFor(translate.HostType, "outbound/"+s.Host(), node))
			for _, ip := range s.ClusterIPs() {
				add(translate.KeyFor(translate.HostType, "outbound/"+ip, node))
			}
			e, err := v.Policy.Effective(model.Client{Namespace: "c"}, s.Name, p.Number, "")
			if err != nil {
				t.Fatal(err)
			}
			_ = e.Leaves()
			_ = policy.LinkerdJSON(e)
		}
	}
	for _, p := range v.World.Pods() {
		node := translate.Node{Pod: p.Name, Client: v.World.ClientOf(p.Name)}
		add(translate.KeyFor(translate.ListenerType, "*", node))
		for _, port := range p.ContainerPorts() {
			add(translate.KeyFor(translate.ClusterType, translate.InboundCluster(p.Public(port)), node))
		}
	}
	return out
}
