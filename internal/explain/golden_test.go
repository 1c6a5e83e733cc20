package explain

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/translate"
)

var update = flag.Bool("update", false, "write what the goldens should be")

// TestGolden compares answers with what is written in testdata: manifests,
// *.yaml, and for each request a file "answer CALLER | REQUEST | HEADER | …".
// "json" before the caller asks for JSON.
func TestGolden(t *testing.T) {
	here, err := filepath.Abs("testdata") // a test changes its folder
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(here, "*.txtar"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%d goldens: %v", len(names), err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			off := offline(t, a)
			for i := range a.Files {
				f := &a.Files[i]
				question, ok := strings.CutPrefix(f.Name, "answer ")
				if !ok {
					continue
				}
				got := answerTo(t, off, question)
				if diff := cmp.Diff(string(f.Data), got); diff != "" && !*update {
					t.Errorf("%s (-want +got; -update to accept):\n%s", question, diff)
				}
				f.Data = []byte(got)
			}
			if *update {
				if err := os.WriteFile(name, txtar.Format(a), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// offline reads the manifests of an archive, under their own names.
func offline(t *testing.T, a *txtar.Archive) *control.Offline {
	t.Helper()
	t.Chdir(t.TempDir())
	var paths []string
	for _, f := range a.Files {
		if filepath.Ext(f.Name) != ".yaml" {
			continue
		}
		if err := os.WriteFile(f.Name, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, f.Name)
	}
	off, err := control.Read(paths)
	if err != nil {
		t.Fatal(err)
	}
	return off
}

func answerTo(t *testing.T, off *control.Offline, question string) string {
	t.Helper()
	parts := strings.Split(question, "|")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	from, asJSON := strings.CutPrefix(parts[0], "json ")
	namespace, workload, _ := strings.Cut(from, "/")
	client, err := off.ClientOf(workload, namespace)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRequest(parts[1], parts[2:])
	if err != nil {
		t.Fatal(err)
	}
	state := func(_, address string) (string, string, bool) {
		return "open", "7 failures in a row", strings.HasSuffix(address, ".9:8080")
	}
	answer := Explain(translate.View{World: off.World, Policy: off.Policy}, Caller{Client: client, Locality: model.Locality{}}, r, state)
	var out strings.Builder
	if asJSON {
		e := json.NewEncoder(&out)
		e.SetIndent("", "  ")
		err = e.Encode(answer)
	} else {
		err = answer.WriteText(&out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}
