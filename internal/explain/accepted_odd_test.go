package explain_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/yaml"

	"github.com/reclosermesh/recloser/internal/control"
)

var mutants = flag.Int("mutants", 150, "manifests with an odd value in them")

// TestOddValuesAreAccepted writes odd values into the manifests of the goldens:
// what the control plane does not refuse, a proxy has to take. One that does not
// would keep all other rules of the service from it.
func TestOddValuesAreAccepted(t *testing.T) {
	names, err := filepath.Glob("../control/testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d goldens: %v", len(names), err)
	}
	rng := rand.New(rand.NewPCG(4, uint64(*mutants)))
	for range *mutants {
		name := names[rng.IntN(len(names))]
		docs := documents(t, name)
		if len(docs) == 0 {
			continue
		}
		at := rng.IntN(len(docs))
		doc, what := mutated(rng, docs[at])
		docs[at] = doc
		file := filepath.Join(t.TempDir(), "all.yaml")
		if err := os.WriteFile(file, []byte(strings.Join(docs, "\n---\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		if off, err := control.Read([]string{file}); err == nil {
			offer(t, filepath.Base(name)+": "+what, off)
		}
	}
}

// documents are the manifests of a golden.
func documents(t *testing.T, name string) []string {
	t.Helper()
	a, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range a.Files {
		if filepath.Ext(f.Name) == ".yaml" {
			out = append(out, strings.Split("\n"+string(f.Data), "\n---")...)
		}
	}
	return out
}

var oddValues = []any{
	"", " ", "a b", "a\nb", " a ", "é", "\x7f", "%", "%X%", "a:b", ":path", "host", "Connection", "*", "/", "//", "?x", "/a?b", "/a#b", "/a%zz",
	"-1", "99999999999", "(", `\9`, "503,abc", "-1s", "1ns", "999999h", "[::1]:80", "a,b", "a;b", "x{1001}", "example.com:99999", "u@h",
	strings.Repeat("x", 5000), true, false, -1, 0, 1, 99, 204, 599, 600, 65536, 4294967295, int64(1) << 53, 0.5, 1e-9,
}

// mutated is a manifest with another value in one place, and which.
func mutated(rng *rand.Rand, doc string) (out, what string) {
	var tree map[string]any
	if yaml.Unmarshal([]byte(doc), &tree) != nil {
		return doc, "unchanged"
	}
	var places []func(any) string
	leaves(tree, "", func(path string, set func(any)) {
		places = append(places, func(v any) string { set(v); return fmt.Sprintf("%v %s = %.40v", tree["kind"], path, v) })
	})
	if len(places) == 0 {
		return doc, "unchanged"
	}
	what = places[rng.IntN(len(places))](oddValues[rng.IntN(len(oddValues))])
	raw, err := yaml.Marshal(tree)
	if err != nil {
		return doc, "unchanged"
	}
	return string(raw), what
}

// leaves visits all values that are no lists and no objects, but for those that
// say which object it is.
func leaves(tree any, path string, visit func(path string, set func(any))) {
	each := func(at string, v any, set func(any)) {
		switch v.(type) {
		case map[string]any, []any:
			leaves(v, at, visit)
		default:
			visit(at, set)
		}
	}
	switch node := tree.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(node)) {
			if at := path + "." + k; !slices.Contains([]string{".apiVersion", ".kind", ".metadata.name", ".metadata.namespace"}, at) {
				each(at, node[k], func(v any) { node[k] = v })
			}
		}
	case []any:
		for i := range node {
			each(fmt.Sprintf("%s[%d]", path, i), node[i], func(v any) { node[i] = v })
		}
	}
}
