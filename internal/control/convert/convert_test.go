package convert

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
)

var meshes = flag.Int("meshes", 50, "how many generated meshes are converted to every dialect")

// read makes a World of manifests, with what is wrong with them.
func read(t testing.TB, manifests string) (*model.World, *policy.Table, []source.Problem) {
	t.Helper()
	var objects []source.Object
	var problems []source.Problem
	docs, lines := source.Split([]byte(manifests))
	for i, doc := range docs {
		d := (&source.Decoder{Source: "file", File: "m.yaml"}).Decode(doc, lines[i])
		objects, problems = append(objects, d.Objects...), append(problems, d.Problems...)
	}
	w := model.Build(nil, objects)
	return w, policy.Build(nil, w), problems
}

// TestSamePolicy converts generated meshes, reads what was written, and has
// requests go by both: what differs must have been told.
func TestSamePolicy(t *testing.T) {
	told, same := map[string]int{}, 0
	for seed := range uint64(*meshes) {
		m := &maker{Rand: rand.New(rand.NewPCG(seed, 4))}
		manifests := m.mesh()
		for _, to := range Dialects() {
			lost := checkMesh(t, manifests, to, seed)
			if len(lost) == 0 {
				same++
			}
			for i := range lost {
				told[lost[i].Setting]++
			}
			if t.Failed() {
				t.Fatalf("seed %d to %s:\n%s", seed, to, manifests)
			}
		}
	}
	// The meshes must be such that this test means something.
	if same == 0 {
		t.Error("every conversion loses something")
	}
	for _, want := range []string{"rule", "order", "match.path", "rewrite.path", "retry.on", "backend.subset", "fault.abort", "breaker.recovery", "outlierDetection.recovery", "client"} {
		if told[want] == 0 {
			t.Errorf("%s is never told: %v", want, slices.Sorted(maps.Keys(told)))
		}
	}
}

func checkMesh(t *testing.T, manifests string, to Dialect, seed uint64) []Loss {
	t.Helper()
	w, table, problems := read(t, manifests)
	for i := range problems {
		if problems[i].Severity == source.Error {
			t.Fatalf("the test's own manifest: %s", problems[i].String())
		}
	}
	out, err := Convert(w, table, Options{To: to, All: true})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := out.WriteYAML(&b); err != nil {
		t.Fatal(err)
	}
	w2, table2, problems := read(t, b.String())
	for i := range problems {
		if problems[i].Severity != source.Info {
			t.Errorf("what was written: %s\n%s", problems[i].String(), b.String())
		}
	}
	requests := rand.New(rand.NewPCG(seed, 5))
	lost := settings(out.Lost)
	for _, ns := range []string{"one", "two", "three"} {
		for _, s := range w.Services() {
			for i := range s.Ports {
				p := &s.Ports[i]
				if !p.Protocol.Protocol.Opaque() {
					compareRoutes(t, w, table, table2, to, ns, s, p.Number, lost, requests)
				}
				compareEffective(t, table, table2, ns, s, p.Number, lost)
			}
		}
	}
	_ = w2
	if t.Failed() {
		t.Logf("written:\n%s\nlost:\n%v", b.String(), out.Lost)
	}
	return out.Lost
}

// settings are what was told to be lost.
func settings(lost []Loss) map[string]bool {
	out := map[string]bool{}
	for i := range lost {
		out[lost[i].Setting] = true
	}
	return out
}

func compareRoutes(t *testing.T, w *model.World, before, after *policy.Table, to Dialect, ns string, s *model.Service, port uint16, lost map[string]bool, requests *rand.Rand) {
	t.Helper()
	client := model.Client{Namespace: ns}
	old, err := before.Routes(client, s.Name, port)
	if err != nil {
		t.Fatal(err)
	}
	now, err := after.Routes(client, s.Name, port)
	if err != nil {
		t.Fatal(err)
	}
	if lost["client"] && ns == s.Namespace {
		return // it was told that these callers cannot be told apart
	}
	c := &converter{world: w, table: before, to: to, out: &Result{}}
	kept := c.carry(old.Rules)
	for range 40 {
		q := randomRequest(requests)
		was, _ := outcomeOf(old.Rules, &q)
		should, _ := outcomeOf(kept, &q)
		is, _ := outcomeOf(now.Rules, &q)
		if len(kept) == 0 && len(old.Rules) > 0 && to != Istio {
			if !lost["unmatched"] {
				t.Errorf("%s to %s:%d: no rule is left, without a word", ns, s.Name, port)
			}
			return
		}
		if d := differing(should, is); len(d) > 0 && (should["rule"] != "404" || is["rule"] != `direct 404 ""`) {
			t.Errorf("%s to %s:%d, %+v: %s: carried %v, read again %v", ns, s.Name, port, q, strings.Join(d, ", "), should, is)
			return
		}
		for _, setting := range differing(was, should) {
			if !isTold(lost, setting) {
				t.Errorf("%s to %s:%d, %+v: %s is lost without a word: %v, then %v", ns, s.Name, port, q, setting, was[setting], should[setting])
				return
			}
		}
	}
}

// isTold says whether a setting, or that another rule holds, was told.
func isTold(lost map[string]bool, setting string) bool {
	if lost["rule"] || lost["order"] || lost["match.path"] || lost[setting] {
		return true
	}
	for l := range lost {
		if strings.HasPrefix(l, setting+".") || strings.HasPrefix(setting, l+".") {
			return true
		}
	}
	return strings.HasPrefix(setting, "retry") && (lost["retry"] || lost["retry.on"] || lost["retry.statuses"] || lost["retry.backoff"] || lost["retry.anyMethod"]) ||
		setting == "timeout.backend" && lost["retry"] || setting == "backend" && lost["backend.requestHeaders"]
}

func differing(a, b outcome) []string {
	var out []string
	for k := range a {
		if a[k] != b[k] {
			out = append(out, k)
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok && b[k] != "" {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

func compareEffective(t *testing.T, before, after *policy.Table, ns string, s *model.Service, port uint16, lost map[string]bool) {
	t.Helper()
	client := model.Client{Namespace: ns}
	old, err := before.Effective(client, s.Name, port, "")
	if err != nil {
		t.Fatal(err)
	}
	now, err := after.Effective(client, s.Name, port, "")
	if err != nil {
		t.Fatal(err)
	}
	a, b := map[string]string{}, map[string]string{}
	for _, l := range old.Leaves() {
		a[l.Path] = l.Value
	}
	for _, l := range now.Leaves() {
		b[l.Path] = l.Value
	}
	for _, path := range differing(a, b) {
		top, _, _ := strings.Cut(path, ".")
		told := lost[path] || lost[top]
		for l := range lost {
			told = told || strings.HasPrefix(l, top+".")
			if top == "breaker" || top == "outlierDetection" {
				told = told || strings.HasPrefix(l, "breaker.") || strings.HasPrefix(l, "outlierDetection.")
			}
		}
		if !told {
			t.Errorf("%s to %s:%d: %s is %q and was %q, without a word", ns, s.Name, port, path, b[path], a[path])
		}
	}
}

// FuzzConvert is TestSamePolicy over more meshes.
func FuzzConvert(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		m := &maker{Rand: rand.New(rand.NewPCG(seed, 4))}
		manifests := m.mesh()
		for _, to := range Dialects() {
			checkMesh(t, manifests, to, seed)
			if t.Failed() {
				t.Fatalf("to %s:\n%s", to, manifests)
			}
		}
	})
}

func TestUnknownDialect(t *testing.T) {
	w, table, _ := read(t, "")
	if _, err := Convert(w, table, Options{To: "nginx"}); err == nil || !strings.Contains(err.Error(), fmt.Sprint(GatewayAPI)) {
		t.Errorf("error %v", err)
	}
}

// TestAddedConditionsAreTold: a retry of Gateway API is for failures of
// connections too. Where the annotation is for statuses alone, that is told with
// the place of the annotation.
func TestAddedConditionsAreTold(t *testing.T) {
	w, table, _ := read(t, `
apiVersion: v1
kind: Service
metadata: {name: an, namespace: shop, annotations: {retry.linkerd.io/http: "502,503"}}
spec: {selector: {app: an}, ports: [{port: 80, name: http}]}
`)
	got, err := Convert(w, table, Options{To: GatewayAPI})
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, l := range got.Lost {
		if l.Setting == "retry.on" && l.Object == "service/an -n shop" && strings.Contains(l.Field, "retry.linkerd.io/http") {
			told++
		}
	}
	if told != len(connectionFailures()) {
		t.Errorf("%d told, want %d: %+v", told, len(connectionFailures()), got.Lost)
	}
}
