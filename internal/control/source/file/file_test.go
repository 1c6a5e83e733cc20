package file_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"

	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/source/file"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func service(name, port string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: Service\nmetadata:\n  name: %s\n  namespace: shop\nspec:\n  ports:\n  - port: %s\n", name, port)
}

// follower runs a source and keeps its newest update. Rescans come once an
// hour, so that only notifications can bring a change.
type follower struct {
	t       *testing.T
	ctx     context.Context
	updates chan source.Update
	last    source.Update
}

func follow(t *testing.T, paths ...string) *follower {
	t.Helper()
	return followFor(t, 0, paths...)
}

// followFor is follow with a grace.
func followFor(t *testing.T, grace time.Duration, paths ...string) *follower {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	f := &follower{t: t, ctx: ctx, updates: make(chan source.Update, 100)}
	s := file.New(file.Config{Paths: paths, Debounce: 5 * time.Millisecond, Rescan: time.Hour, Grace: grace})
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, func(u source.Update) { f.updates <- u }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	f.await("the first update", func() bool { return true })
	return f
}

// await takes updates until a condition holds; it first waits for one.
func (f *follower) await(what string, ok func() bool) {
	f.t.Helper()
	for {
		select {
		case f.last = <-f.updates:
		case <-f.ctx.Done():
			f.t.Fatalf("%s did not come; the last is %v %v", what, f.names(), f.last.Problems)
		}
		if ok() {
			return
		}
	}
}

// names are "name:port" of all services.
func (f *follower) names() []string {
	var out []string
	for _, o := range f.last.Objects {
		out = append(out, fmt.Sprintf("%s:%d", o.Name, o.Value.(*corev1.Service).Spec.Ports[0].Port))
	}
	slices.Sort(out)
	return out
}

func (f *follower) awaitNames(want ...string) {
	f.t.Helper()
	f.await(fmt.Sprint(want), func() bool { return slices.Equal(f.names(), want) })
}

func write(t *testing.T, name string, parts ...string) {
	t.Helper()
	must(t, os.WriteFile(name, []byte(strings.Join(parts, "")), 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestFolder goes through what happens to files in a folder.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("a.yaml"), service("a", "1"))
	write(t, at("ignored.txt"), service("x", "1"))
	write(t, at(".hidden.yaml"), service("x", "1"))
	f := follow(t, dir)
	if got := f.names(); !slices.Equal(got, []string{"a:1"}) {
		t.Fatalf("at the start %v", got)
	}
	write(t, at("a.yaml"), service("a", "2")) // in place
	f.awaitNames("a:2")
	write(t, at("b.yml"), service("b", "1"), service("c", "1")) // new
	f.awaitNames("a:2", "b:1", "c:1")
	write(t, at("tmp"), service("a", "3")) // an editor: write beside, rename
	must(t, os.Rename(at("tmp"), at("a.yaml")))
	f.awaitNames("a:3", "b:1", "c:1")
	must(t, os.Remove(at("b.yml")))
	f.awaitNames("a:3")
	must(t, os.Rename(at("a.yaml"), at("z.json")))
	write(t, at("z.json"), `{"apiVersion":"v1","kind":"Service",
	"metadata":{"name":"j"},"spec":{"ports":[{"port":9}]}}`)
	f.awaitNames("j:9")
}

// TestFile: a file that is named by itself is watched through its folder.
func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mesh.yaml")
	write(t, name, service("a", "1"))
	f := follow(t, name)
	write(t, name+"~", service("a", "2"))
	must(t, os.Rename(name+"~", name))
	f.awaitNames("a:2")
	must(t, os.Remove(name))
	f.await("the loss of the file", func() bool { return len(f.last.Problems) == 1 })
	if !slices.Equal(f.names(), []string{"a:2"}) {
		t.Errorf("objects %v, want the last good ones", f.names())
	}
	if len(f.last.Problems) != 1 || f.last.Problems[0].Code != "unreadable" || f.last.Problems[0].File != name {
		t.Errorf("problems %v", f.last.Problems)
	}
	write(t, name, service("a", "3"))
	f.awaitNames("a:3")
}

// TestDataLink swaps the ..data link of a folder, as the kubelet does when a
// ConfigMap changes.
func TestDataLink(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	version := func(n, port string) {
		must(t, os.Mkdir(at("..v"+n), 0o700))
		write(t, at("..v"+n+"/mesh.yaml"), service("a", port))
		must(t, os.Symlink("..v"+n, at("..data_tmp")))
		must(t, os.Rename(at("..data_tmp"), at("..data")))
	}
	version("1", "1")
	must(t, os.Symlink("..data/mesh.yaml", at("mesh.yaml")))
	byFolder, byFile := follow(t, dir), follow(t, at("mesh.yaml"))
	version("2", "2")
	byFolder.awaitNames("a:2")
	byFile.awaitNames("a:2")
	must(t, os.RemoveAll(at("..v1")))
	version("3", "3")
	byFolder.awaitNames("a:3")
	byFile.awaitNames("a:3")
}

// TestBad: a bad object keeps its last good version, others go on, and a
// document that cannot be read keeps what the file gave.
func TestBad(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mesh.yaml")
	write(t, name, service("a", "1"), service("b", "1"))
	f := follow(t, name)
	write(t, name, service("a", "eighty"), service("b", "2"))
	f.awaitNames("a:1", "b:2")
	if p := f.last.Problems; len(p) != 1 || !strings.HasSuffix(p[0].Reason, "; its last good version stays") {
		t.Errorf("problems %v", p)
	}
	if p := f.last.Problems; len(p) != 1 || p[0].Code != "wrong-type" || p[0].Field != "spec.ports[0].port" || p[0].Value != "eighty" || p[0].Line != 9 {
		t.Errorf("problems %v", p)
	}
	write(t, name, "---\n{{ broken\n", service("b", "3"))
	f.awaitNames("a:1", "b:3")
	if p := f.last.Problems; len(p) != 1 || p[0].Code != "syntax" {
		t.Errorf("problems %v", p)
	}
	write(t, name, service("b", "4"))
	f.awaitNames("b:4")
	if len(f.last.Problems) != 0 {
		t.Errorf("problems %v", f.last.Problems)
	}
}

// TestPointers: what did not change is the same value, so that nobody looks at
// it again.
func TestPointers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mesh.yaml")
	write(t, name, service("a", "1"), service("b", "1"))
	f := follow(t, name)
	before := f.last.Objects
	write(t, name, service("a", "1"), service("b", "2"))
	f.awaitNames("a:1", "b:2")
	if f.last.Objects[0] != before[0] {
		t.Error("an object that did not change was made again")
	}
	if f.last.Objects[1].Value == before[1].Value {
		t.Error("an object that changed is the same value")
	}
}

// TestGone: a file that is away for a moment keeps its objects, and one that
// was given another name has none twice.
func TestGone(t *testing.T) {
	for _, byFolder := range []bool{true, false} {
		dir := t.TempDir()
		at := func(name string) string { return filepath.Join(dir, name) }
		write(t, at("a.yaml"), service("a", "1"))
		write(t, at("c.yaml"), service("c", "1"))
		paths := []string{at("a.yaml"), at("c.yaml")}
		if byFolder {
			paths = []string{dir}
		}
		f := followFor(t, time.Hour, paths...)
		kept := func(want ...string) {
			t.Helper()
			f.await(fmt.Sprint(want), func() bool {
				if len(f.last.Objects) != 2 || len(f.last.Problems) != 0 {
					t.Errorf("while the file was away: %v %v", f.names(), f.last.Problems)
				}
				return slices.Equal(f.names(), want)
			})
		}
		must(t, os.Rename(at("a.yaml"), at("a.yaml~")))
		write(t, at("c.yaml"), service("c", "2"))
		kept("a:1", "c:2")
		write(t, at("a.yaml"), service("a", "2"))
		kept("a:2", "c:2")
		if byFolder {
			must(t, os.Rename(at("a.yaml"), at("b.yaml")))
			kept("a:2", "c:2")
			write(t, at("b.yaml"), service("a", "3"))
			kept("a:3", "c:2")
		}
	}
}

// TestEmptied: a writer that truncates and then writes does not make the
// objects go away in between.
func TestEmptied(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mesh.yaml")
	write(t, name, service("a", "1"))
	f := follow(t, name)
	h, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0)
	must(t, err)
	_, err = h.WriteString(service("a", "2"))
	must(t, err)
	must(t, h.Close())
	f.await("the new version", func() bool {
		if len(f.last.Objects) == 0 {
			t.Error("the objects went away while the file was written")
		}
		return slices.Equal(f.names(), []string{"a:2"})
	})
	write(t, name) // one that stays empty is an error, and keeps them
	f.await("the error", func() bool { return len(f.last.Problems) == 1 })
	if !slices.Equal(f.names(), []string{"a:2"}) {
		t.Errorf("objects %v, want the last good ones", f.names())
	}
	write(t, name, "# none\n") // a comment is a word
	f.await("no objects", func() bool { return len(f.last.Objects) == 0 && len(f.last.Problems) == 0 })
}

func TestCheck(t *testing.T) {
	err := file.Check([]string{t.TempDir(), "/no/such/manifest.yaml"})
	if err == nil || !strings.Contains(err.Error(), `"/no/such/manifest.yaml"`) {
		t.Errorf("error %v", err)
	}
	if err := file.Check([]string{t.TempDir()}); err != nil {
		t.Error(err)
	}
}
