package archtest

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestImports holds the module itself against the rules.
func TestImports(t *testing.T) {
	edges, err := readImports(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(edges, func(e edge) bool { return e.from == "cmd/recloser" && e.to == "internal/cli" }) {
		t.Fatal("the import of internal/cli by cmd/recloser was not found: this test reads the wrong folder")
	}
	for _, line := range check(edges) {
		t.Error(line)
	}
}

// TestEveryRuleCanBreak has for each rule an import that breaks it and one
// beside it that does not.
func TestEveryRuleCanBreak(t *testing.T) {
	tests := []struct {
		rule      string
		bad, good edge
	}{
		{"breaker stands alone", edge{from: "breaker", to: "golang.org/x/sync/errgroup"}, edge{from: "breaker", to: "math/rand/v2"}},
		{"breaker stands alone", edge{from: "breaker", to: "api/breaker/v1"}, edge{from: "breaker/sub", to: "breaker"}},
		{"the wings meet in xDS: control", edge{from: "internal/control/xds", to: "internal/proxy/route", test: true}, edge{from: "internal/control/xds", to: "api/breaker/v1"}},
		{"the wings meet in xDS: proxy", edge{from: "internal/proxy", to: "internal/control"}, edge{from: "internal/proxy", to: "internal/proxy/xds"}},
		{"only explain looks into both wings", edge{from: "internal/local", to: "internal/proxy"}, edge{from: "internal/explain", to: "internal/proxy/route"}},
		{"the data plane stays small", edge{from: "internal/proxy/xds", to: "k8s.io/api/core/v1"}, edge{from: "internal/proxy/xds", to: "sigs.k8s.io/yaml"}},
		{"the data plane stays small", edge{from: "cmd/recloser-proxy", to: "github.com/spf13/cobra"}, edge{from: "cmd/recloser-proxy", to: "flag"}},
		{"the request path has no net/http", edge{from: "internal/proxy/upstream", to: "net/http"}, edge{from: "internal/proxy/admin", to: "net/http"}},
		{"the request path has no net/http", edge{from: "internal/proxy", to: "net/http/httputil"}, edge{from: "internal/proxy/http1", to: "net/http", test: true}},
		{"a leaf does not know its composition: control", edge{from: "internal/control/policy", to: "internal/control"}, edge{from: "internal/control", to: "internal/control/policy"}},
		{"a leaf does not know its composition: proxy", edge{from: "internal/proxy/admin", to: "internal/proxy"}, edge{from: "internal/proxy/admin", to: "internal/proxy/upstream"}},
		{"the parser does no input and output", edge{from: "internal/proxy/http1", to: "net"}, edge{from: "internal/proxy/http1", to: "bytes"}},
		{"commands are cli's", edge{from: "internal/local", to: "github.com/spf13/cobra"}, edge{from: "internal/cli", to: "github.com/spf13/cobra"}},
		{"the embedded Prometheus is observe's", edge{from: "internal/cli", to: "github.com/prometheus/prometheus/promql"}, edge{from: "internal/observe", to: "github.com/prometheus/prometheus/promql"}},
		{"kinds are only data", edge{from: "api/v1alpha1", to: "breaker"}, edge{from: "api/v1alpha1", to: "k8s.io/apimachinery/pkg/apis/meta/v1"}},
		{"fakes are for tests", edge{from: "internal/proxy", to: "internal/meshtest"}, edge{from: "internal/proxy", to: "internal/meshtest", test: true}},
		{"fakes are for tests", edge{from: "internal/proxy/http1", to: "internal/proxy/http1/http1test"}, edge{from: "internal/proxy/http1/http1test", to: "testing"}},
		{"nothing imports a program or this test", edge{from: "internal/cli", to: "internal/archtest"}, edge{from: "internal/cli", to: "internal/local"}},
	}
	seen := map[string]bool{}
	for _, tt := range tests {
		i := slices.IndexFunc(rules, func(r rule) bool { return r.name == tt.rule })
		if i < 0 {
			t.Errorf("no rule %q", tt.rule)
			continue
		}
		seen[tt.rule] = true
		if !rules[i].forbids(tt.bad) {
			t.Errorf("%s: allows %+v", tt.rule, tt.bad)
		}
		if broken := check([]edge{tt.bad}); len(broken) == 0 || !strings.Contains(strings.Join(broken, "\n"), rules[i].why) {
			t.Errorf("%s: check gives %q, which lacks the reason", tt.rule, broken)
		}
		if broken := check([]edge{tt.good}); len(broken) != 0 {
			t.Errorf("%s: %+v should pass, got %q", tt.rule, tt.good, broken)
		}
	}
	for _, r := range rules {
		if r.why == "" || !seen[r.name] {
			t.Errorf("rule %q has no reason or no test", r.name)
		}
	}
}

func TestFloors(t *testing.T) {
	tests := []struct {
		from, to string
		want     string // part of the message; "" is allowed
	}{
		{"cmd/recloser", "internal/cli", ""},
		{"internal/cli", "internal/observe", ""},
		{"internal/local", "internal/lab/apps", ""},
		{"internal/proxy/upstream", "breaker", ""},
		{"internal/proxy/upstream", "internal/telemetry", ""},
		{"internal/proxy/upstream", "internal/proxy/balance", ""},
		{"internal/telemetry", "breaker", ""},
		{"internal/control", "internal/cli", "internal/cli is above internal/control"},
		{"internal/telemetry", "internal/proxy/upstream", "imports run down only"},
		{"internal/observe", "internal/local", "imports run down only"},
		{"internal/observe", "internal/lab/load", "share a floor"},
		{"internal/control", "internal/proxy", "share a floor"},
		{"internal/cli", "internal/newroom", "internal/newroom is in no room"},
		{"internal/proxy", "internal/meshtest", ""}, // for the rule about fakes
	}
	for _, tt := range tests {
		got := wrongFloor(edge{from: tt.from, to: tt.to})
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s imports %s: %q, want %q", tt.from, tt.to, got, tt.want)
		}
	}
	newRoom := []edge{{from: "internal/newroom", to: "fmt"}, {from: "internal/newroom", to: "internal/cli"}}
	if broken := check(newRoom); len(broken) != 1 || !strings.Contains(broken[0], "internal/newroom is in no room") {
		t.Errorf("a package in no room: %q, want one line that says so", broken)
	}
	if got := wrongFloor(edge{from: "breaker", to: "internal/proxy", test: true}); got != "" {
		t.Errorf("a test that reaches up: %q, want it allowed", got)
	}
}

func TestReadImports(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	edges, err := readImports(fstest.MapFS{
		"breaker/a.go":              file("//go:build plan9\n\npackage breaker\n\nimport x \"net/http\"\n"),
		"breaker/a_test.go":         file("package breaker_test\n\nimport _ \"github.com/reclosermesh/recloser/internal/proxy\"\n"),
		"breaker/testdata/b.go":     file("package b\n\nimport \"os\"\n"),
		".cache/c.go":               file("package c\n\nimport \"os\"\n"),
		"tools/go.mod":              file("module tools\n"),
		"tools/tools.go":            file("package tools\n\nimport \"os\"\n"),
		"internal/local/readme.txt": file("import \"os\""),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []edge{
		{from: "breaker", to: "net/http", file: "breaker/a.go"},
		{from: "breaker", to: "internal/proxy", file: "breaker/a_test.go", test: true},
	}
	if !slices.Equal(edges, want) {
		t.Errorf("got %+v, want %+v", edges, want)
	}
	if _, err := readImports(fstest.MapFS{"a.go": file("package")}); err == nil {
		t.Error("a file that is not Go gave no error")
	}
}
