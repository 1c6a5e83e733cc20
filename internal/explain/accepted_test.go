package explain_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"
	"github.com/reclosermesh/recloser/internal/proxy/snapshot"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// TestAccepted gives a proxy what the control plane makes of the manifests of
// every golden, to callers of each namespace: it has to take all of it.
func TestAccepted(t *testing.T) {
	names, err := filepath.Glob("../control/testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d goldens: %v", len(names), err)
	}
	clusters := 0
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for _, f := range a.Files {
			if ext := filepath.Ext(f.Name); ext != ".yaml" && ext != ".yml" {
				continue
			}
			path := filepath.Join(dir, f.Name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		off, err := control.Read([]string{dir})
		if err != nil {
			t.Fatal(err)
		}
		clusters += offer(t, filepath.Base(name), off)
	}
	if clusters < 100 {
		t.Errorf("only %d clusters: this tests little", clusters)
	}
}

// offer gives a proxy all clusters, endpoints and hosts; it says how many
// clusters there were.
func offer(t *testing.T, name string, off *control.Offline) int {
	t.Helper()
	view := translate.View{World: off.World, Policy: off.Policy}
	logger := slog.New(slog.DiscardHandler)
	set := upstream.NewSet(upstream.SetOptions{Logger: logger, Metrics: telemetry.NewProxy(telemetry.Options{})})
	store := snapshot.New(snapshot.Config{Logger: logger, Set: set})
	store.Attach(nobody{})
	give := func(typ xds.Type, resource, namespace string) int {
		node := translate.Node{Client: model.Client{Namespace: namespace}}
		list := translate.Generate(view, translate.KeyFor(string(typ), resource, node)).Resources
		for _, r := range list {
			for _, no := range store.Apply(xds.Update{Type: typ, Set: []xds.Resource{{Name: r.Name, Message: r.Message}}}) {
				t.Errorf("%s: for callers in %s: %s: %v", name, namespace, no.Name, no.Err)
			}
		}
		return len(list)
	}
	n := 0
	for _, s := range off.World.Services() {
		for i := range s.Ports {
			port := s.Ports[i].Number
			for _, namespace := range off.World.NamespaceNames() {
				for _, subset := range subsets(off.World, s.Name) {
					cluster := translate.ClusterName(s.Name, port, subset)
					n += give(xds.Cluster, cluster, namespace)
					give(xds.Endpoints, cluster, namespace)
				}
				give(xds.VirtualHost, translate.OutboundListener+"/"+s.Host()+":"+strconv.Itoa(int(port)), namespace)
			}
		}
	}
	return n
}

// subsets are all that a rule names for a service, none, and one that does not
// exist.
func subsets(w *model.World, service model.Name) []string {
	out := []string{"", "nobody"}
	for _, o := range w.RulesOf(service, source.DestinationRule) {
		for _, s := range o.Value.(*source.IstioDestinationRule).Spec.GetSubsets() {
			out = append(out, s.GetName())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// nobody is a source of resources that nobody asks.
type nobody struct{}

func (nobody) Subscribe(xds.Type, ...string)   {}
func (nobody) Unsubscribe(xds.Type, ...string) {}
