package mesh

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// ProxyEnv and RecloserEnv name a recloser-proxy and a recloser to test in place
// of those that are built from the tree.
const (
	ProxyEnv    = "RECLOSER_PROXY"
	RecloserEnv = "RECLOSER"
)

// Main is the TestMain of a suite: it runs the tests, takes away what was
// built, and fails if a goroutine is left.
func Main(m *testing.M) int {
	code := m.Run()
	if dir, err := scratch(); err == nil {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	if code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Binary returns the path of recloser-proxy: what ProxyEnv says, or else one
// that is built from the tree, once in a process.
func Binary(t testing.TB) string {
	t.Helper()
	return pathOf(t, proxy)
}

// Recloser is Binary for recloser and RecloserEnv.
func Recloser(t testing.TB) string {
	t.Helper()
	return pathOf(t, recloser)
}

func pathOf(t testing.TB, program func() (string, error)) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// program is one of the product, which a variable of the environment may name.
func program(env, name string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		if path := os.Getenv(env); path != "" {
			return filepath.Abs(path)
		}
		dir, err := scratch()
		if err != nil {
			return "", err
		}
		suites, err := command("", "go", "list", "-m", "-f", "{{.Dir}}")
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, name)
		_, err = command(filepath.Dir(suites), "go", "build", "-trimpath", "-o", path, "./cmd/"+name)
		return path, err
	})
}

var (
	proxy    = program(ProxyEnv, "recloser-proxy")
	recloser = program(RecloserEnv, "recloser")
	scratch  = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "recloser-suites-") })
)

// Tool returns the path of a program that test/go.mod names as a tool, built.
func Tool(t testing.TB, pkg string) string {
	t.Helper()
	// With -n it is built into Go's cache, named and not run.
	path, err := command("", "go", "tool", "-n", pkg)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// command runs a program without cgo and returns what it prints.
func command(dir string, argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(argv, " "), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}
