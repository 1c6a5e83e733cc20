package istio_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/reclosermesh/recloser/internal/control/dialect/istio"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// FuzzRules: whatever is in a manifest, the rules are such that proxies can be
// told of them: one action each, names that differ, regular expressions that
// are ones, edits that can be made; and the same once more is the same.
func FuzzRules(f *testing.F) {
	names, err := filepath.Glob("../../testdata/istio_*.txtar")
	if err != nil || len(names) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range txtar.Parse(raw).Files {
			if filepath.Ext(file.Name) == ".yaml" {
				f.Add(file.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w, _ := read(t, string(data))
		for _, s := range w.Services() {
			for i := range s.Ports {
				in := routing.Input{World: w, Client: model.Client{Namespace: "library"}, Service: s, Port: &s.Ports[i], Objects: w.Rules(s.Name)}
				a := istio.Routes(in)
				checkRules(t, a)
				if again := istio.Routes(in); !reflect.DeepEqual(a, again) {
					t.Fatalf("%+v, then %+v", a, again)
				}
				checkRules(t, istio.TCP(in))
			}
		}
		for _, o := range w.Objects(source.VirtualService) {
			istio.Check(w, o)
			for _, h := range o.Value.(*source.IstioVirtualService).Spec.GetHosts() {
				checkRules(t, istio.Host(istio.Asked{World: w, Client: model.Client{Namespace: "library"}, Host: h, Port: 80}))
			}
		}
	})
}

func checkRules(t *testing.T, a routing.Answer) {
	t.Helper()
	if a.Speaks != (len(a.Rules) > 0) {
		t.Fatalf("speaks %v with %d rules", a.Speaks, len(a.Rules))
	}
	names := map[string]bool{}
	for i := range a.Rules {
		r := &a.Rules[i]
		if names[r.Name] {
			t.Errorf("two rules are named %s", r.Name)
		}
		names[r.Name] = true
		actions := 0
		for _, set := range []bool{len(r.Backends) > 0, r.Redirect != nil, r.Direct != nil} {
			if set {
				actions++
			}
		}
		if actions != 1 {
			t.Errorf("%s has %d actions", r.Name, actions)
		}
		for _, p := range r.Match.Paths {
			if p.Kind == routing.PathRegex {
				mustCompile(t, p.Value)
			}
		}
		for _, h := range r.Match.Headers {
			if h.Kind == routing.Regex {
				mustCompile(t, h.Value)
			}
		}
		for _, e := range r.RequestHeaders {
			if why := e.Refused(false); why != "" {
				t.Errorf("%s: edit %+v: %s", r.Name, e, why)
			}
		}
		for _, e := range r.ResponseHeaders {
			if why := e.Refused(true); why != "" {
				t.Errorf("%s: edit %+v: %s", r.Name, e, why)
			}
		}
		total := uint64(0)
		for _, b := range r.Backends {
			total += uint64(b.Weight.Value)
		}
		if len(r.Backends) > 0 && total == 0 {
			t.Errorf("%s: no backend has a weight", r.Name)
		}
	}
}

func mustCompile(t *testing.T, r string) {
	t.Helper()
	if _, err := regexp.Compile(r); err != nil {
		t.Error(err)
	}
}
