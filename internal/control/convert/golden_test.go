package convert

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what the goldens should be")

// TestGolden converts the file "mesh.yaml" of each testdata/*.txtar to each
// dialect that has a file, and compares manifests and losses with it.
func TestGolden(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal("no goldens", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if a.Files[0].Name != "mesh.yaml" {
				t.Fatalf("the first file is %s", a.Files[0].Name)
			}
			w, table, problems := read(t, string(a.Files[0].Data))
			for i := range problems {
				t.Error(problems[i].String())
			}
			for i := range a.Files[1:] {
				f := &a.Files[i+1]
				r, err := Convert(w, table, Options{To: Dialect(f.Name)})
				if err != nil {
					t.Fatal(err)
				}
				var got bytes.Buffer
				if err := r.WriteYAML(&got); err != nil {
					t.Fatal(err)
				}
				got.WriteString("# lost\n")
				if err := r.WriteLost(&got); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(f.Data), got.String()); diff != "" && !*update {
					t.Errorf("%s to %s (-want +got; -update to accept):\n%s", name, f.Name, diff)
				}
				f.Data = got.Bytes()
			}
			if *update {
				if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
