package control_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"
)

// TestChangesReach takes each object of each golden away, puts it back, and
// takes its annotations and its labels away: whatever comes out differently for
// any proxy must depend on something that is said to have changed, and must be
// what a control plane that starts with the new objects says.
func TestChangesReach(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	must(t, err)
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			must(t, err)
			dir := t.TempDir()
			for _, f := range a.Files {
				if f.Name != "ask" && f.Name != "want" {
					must(t, os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600))
				}
			}
			off, err := control.Read([]string{dir})
			must(t, err)
			changesReach(t, off.World.AllObjects())
		})
	}
}

func changesReach(t *testing.T, objects []source.Object) {
	t.Helper()
	all := viewOf(translate.View{}, objects)
	before := allMade(all)
	for i := range objects {
		less := slices.Delete(slices.Clone(objects), i, i+1)
		compareChange(t, "without "+objects[i].String(), all, before, less)
		without := viewOf(translate.View{}, less)
		compareChange(t, "with "+objects[i].String(), without, allMade(without), objects)
		for _, field := range []string{"annotations", "labels"} {
			if o, ok := stripped(t, &objects[i], field); ok {
				other := slices.Clone(objects)
				other[i] = o
				compareChange(t, "no "+field+" of "+objects[i].String(), all, before, other)
			}
		}
	}
}

func viewOf(old translate.View, objects []source.Object) translate.View {
	w := model.Build(old.World, objects)
	return translate.View{World: w, Policy: policy.Build(old.Policy, w)}
}

// stripped is an object without its annotations or labels, those of its pods
// too.
func stripped(t *testing.T, o *source.Object, field string) (source.Object, bool) {
	t.Helper()
	raw, err := source.Encode(o)
	must(t, err)
	if !bytes.Contains(raw, []byte(`"`+field+`":{`)) {
		return source.Object{}, false
	}
	var tree map[string]any
	must(t, json.Unmarshal(raw, &tree))
	strip(tree, field)
	raw, err = json.Marshal(tree)
	must(t, err)
	out, err := source.Restore(raw, o.Origin)
	must(t, err)
	out.Key = o.Key
	return out, true
}

func strip(tree map[string]any, field string) {
	for k, v := range tree {
		if m, ok := v.(map[string]any); ok {
			if k == "metadata" {
				delete(m, field)
			}
			strip(m, field)
		}
	}
}

type made struct {
	text string
	deps []translate.Dep
}

var clusterNames = regexp.MustCompile(`"((?:out|in)bound\|[^"]*)"`)

// allMade is what all proxies of a view would ask for.
func allMade(v translate.View) map[translate.Key]made {
	out := map[translate.Key]made{}
	var add func(k translate.Key, n translate.Node)
	add = func(k translate.Key, n translate.Node) {
		if _, ok := out[k]; ok {
			return
		}
		r := translate.Generate(v, k)
		out[k] = generated(v, k)
		for _, res := range r.Resources {
			raw, _ := protojson.Marshal(res.Message)
			for _, m := range clusterNames.FindAllSubmatch(raw, -1) {
				var name string
				_ = json.Unmarshal(m[0], &name)
				add(translate.KeyFor(translate.ClusterType, name, n), n)
				add(translate.KeyFor(translate.EndpointType, name, n), n)
			}
		}
		for _, name := range r.Names {
			add(translate.KeyFor(translate.ClusterType, name, n), n)
		}
	}
	for _, n := range nodesOf(v.World) {
		add(translate.KeyFor(translate.ListenerType, translate.All, n), n)
		add(translate.KeyFor(translate.RouteType, "outbound", n), n)
		if n.Shape == translate.Envoy {
			add(translate.KeyFor(translate.ClusterType, translate.All, n), n)
		}
		for _, s := range v.World.Services() {
			for _, p := range s.Ports {
				authority := fmt.Sprintf("%s.%s.svc.cluster.local:%d", s.Name.Name, s.Namespace, p.Number)
				if n.Shape == translate.GRPC {
					add(translate.KeyFor(translate.ListenerType, authority, n), n)
					add(translate.KeyFor(translate.RouteType, authority, n), n)
				} else {
					add(translate.KeyFor(translate.HostType, "outbound/"+authority, n), n)
				}
			}
		}
	}
	return out
}

func generated(v translate.View, k translate.Key) made {
	r := translate.Generate(v, k)
	var text strings.Builder
	fmt.Fprintln(&text, r.Names)
	for _, res := range r.Resources {
		raw, _ := proto.MarshalOptions{Deterministic: true}.Marshal(res.Message)
		fmt.Fprintf(&text, "%s %x\n", res.Name, raw)
	}
	return made{text.String(), r.Deps}
}

func nodesOf(w *model.World) []translate.Node {
	clients := map[model.Client]model.Name{}
	for _, p := range w.Pods() {
		clients[w.ClientOf(p.Name)] = p.Name
	}
	for _, d := range w.Deployments() {
		clients[model.Client{Namespace: d.Namespace, Workload: d.Name, Kind: "Deployment"}] = model.Name{}
	}
	for _, ns := range w.NamespaceNames() {
		clients[model.Client{Namespace: ns}] = model.Name{}
	}
	var out []translate.Node
	for c, pod := range clients {
		for _, shape := range []translate.Shape{translate.Recloser, translate.Envoy, translate.GRPC} {
			n := translate.Node{Pod: pod, Client: c, Shape: shape, Outbound: "127.0.0.1:4140"}
			out = append(out, n)
			if n.Locality = (model.Locality{Region: "us", Zone: "us-1"}); shape == translate.Recloser {
				out = append(out, n)
			}
		}
	}
	return out
}

func compareChange(t *testing.T, what string, old translate.View, before map[translate.Key]made, objects []source.Object) {
	t.Helper()
	next := viewOf(old, objects)
	fresh := viewOf(translate.View{}, objects)
	after, afresh := allMade(next), allMade(fresh)
	changed := map[translate.Dep]bool{}
	for _, d := range translate.Deps(old, next) {
		changed[d] = true
	}
	told := 0
	for k := range maps.Keys(before) {
		b := before[k]
		a, ok := after[k]
		if !ok { // nobody asks for it any more, but whoever has it must hear
			a = generated(next, k)
		}
		reached := slices.ContainsFunc(b.deps, func(d translate.Dep) bool { return changed[d] })
		if a.text != b.text && !reached && told < 3 {
			told++
			t.Errorf("%s: %+v differs, and nothing that it depends on has changed: %v; changed: %v", what, k, b.deps, changed)
		}
	}
	for k, a := range after {
		if f, ok := afresh[k]; (!ok || f.text != a.text) && told < 3 {
			told++
			t.Errorf("%s: %+v is not what it is after a restart (there: %v)", what, k, ok)
		}
	}
}
