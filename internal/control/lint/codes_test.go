package lint_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/lint"
)

var update = flag.Bool("update", false, "write what the goldens should be")

// TestLintPage keeps docs/lint.md in step with the table: write it again with
// go test ./internal/control/lint -update.
func TestLintPage(t *testing.T) {
	var b strings.Builder
	b.WriteString("# What lint finds\n\n" +
		"`recloser lint -f manifests/` judges files, `recloser lint` the mesh that runs, with the same\n" +
		"words. Each finding has a code, which stays what it is; `recloser lint --explain CODE` says what\n" +
		"stands here. The exit status is 1 for errors, with `--strict` for warnings too; `-o json` is for\n" +
		"programs, `-o sarif` for code hosts.\n\n" +
		"An error is something that is refused or left out although somebody meant it; a warning is\n" +
		"something that is likely not meant; an info is good to know. Nothing of it stops a mesh: what is\n" +
		"bad is left out or stays as it was, and all else goes on.\n\n" +
		"This page is made from `internal/control/lint/codetable.go`: `go test ./internal/control/lint\n" +
		"-update` writes it again.\n")
	for _, s := range lint.Codes() {
		fmt.Fprintf(&b, "\n## %s\n\n| code | most often | what | mend |\n|-|-|-|-|\n", s.Name)
		for _, c := range s.Codes {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.Code, c.Severity, c.What, c.Mend)
		}
	}
	b.WriteString("\n## In CI\n\n" +
		"```\nrecloser lint --strict -f manifests/                      # fails for errors and warnings\n" +
		"recloser lint -f manifests/ -o sarif > recloser.sarif    # for the code host: findings at their lines\n```\n\n" +
		"SARIF names files by the paths that `-f` has, so run it at the top of the repository. A finding\n" +
		"keeps its fingerprint when lines move, so that a code host does not tell it twice.\n")
	b.WriteString("\n## Who calls whom\n\n" +
		"`retry-amplification` needs to know the calls. They are taken from `recloser.io/calls` (on a\n" +
		"Deployment, Workload or Pod, or on the template: `recloser.io/calls: api, db.store`) and from\n" +
		"addresses of services in arguments and values of the environment (`http://api:8080`,\n" +
		"`db.store:5432`). What a program finds out in other ways is not seen.\n\n" +
		"`probe-before-breaker` compares times: a number of failures in a row is taken to need as many\n" +
		"seconds, one request a second from a caller to an endpoint.\n")
	const page = "../../../docs/lint.md"
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil || string(have) != b.String() {
		t.Errorf("%s is not what the table says (%v); -update writes it", page, err)
	}
}

// words look like codes in the sources and are none: names of conditions,
// protocols, balancers and labels.
var words = strings.Fields(`
	grpc-web deadline-exceeded resource-exhausted refused-stream connect-failure retriable-headers gateway-error
	http3-post-connect-failure envoy-ratelimited retriable-status-codes retriable-4xx reset-before-request
	xmpp-server xmpp-client www-http secure-mqtt ms-sql-s microsoft-ds https-alt http-alt ftp-data domain-s
	round-robin ring-hash peak-ewma least-request pod-template-hash istio-system text-prefix x-forwarded-for`)

// TestEveryCodeIsInTheTable reads the sources for what looks like a code: all of
// it is in the table or among the words above, and the table has no others.
func TestEveryCodeIsInTheTable(t *testing.T) {
	known := map[string]bool{}
	for _, s := range lint.Codes() {
		for _, c := range s.Codes {
			if known[c.Code] {
				t.Errorf("%s is in the table twice", c.Code)
			}
			known[c.Code] = true
			if c.What == "" || c.Mend == "" || strings.HasSuffix(c.What+c.Mend, ".") {
				t.Errorf("%s: what and mend are clauses without a final dot, and both are needed", c.Code)
			}
		}
	}
	none := map[string]bool{}
	for _, w := range words {
		none[w] = true
	}
	single := regexp.MustCompile(`^[a-z]+$`)
	several := regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)+$`)
	seen := map[string]bool{}
	for _, dir := range []string{"../source", "../policy", "../dialect", ".", "../xds"} {
		for _, literal := range literals(t, dir) {
			switch {
			case known[literal.text]:
				seen[literal.text] = true
			case single.MatchString(literal.text), !several.MatchString(literal.text), none[literal.text]:
			default:
				t.Errorf("%s: %q looks like the code of a finding and is not in codetable.go (or give it to the words of this test)", literal.at, literal.text)
			}
		}
	}
	for code := range known {
		if !seen[code] {
			t.Errorf("%s is in the table, and nothing finds it", code)
		}
	}
}

type literal struct{ text, at string }

// literals are the strings in the Go files of a folder, but for tests, struct
// tags, imports and the table itself.
func literals(t *testing.T, dir string) (out []literal) {
	t.Helper()
	files := token.NewFileSet()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || d.Name() == "codetable.go" {
			return err
		}
		f, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch v := n.(type) {
			case *ast.ImportSpec:
				return false
			case *ast.Field:
				v.Tag = nil
			case *ast.BasicLit:
				if text, err := strconv.Unquote(v.Value); err == nil && v.Kind == token.STRING {
					out = append(out, literal{text, files.Position(v.Pos()).String()})
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatalf("%s has no Go files", dir)
	}
	return out
}

func TestSARIF(t *testing.T) {
	f := []lint.Finding{
		{Code: "bad-port", Severity: lint.Error, Object: "service/a -n n", Field: "spec.ports[0].port", Value: "0", Reason: "no", File: "./my dir/x.yaml", Line: 3},
		{Code: "refused-by-proxy", Severity: lint.Warning, Object: "proxy/x", Reason: "why"},
		{Code: "bad-port", Severity: lint.Info, Reason: "nowhere", File: "/abs/y.yaml"},
		{Code: "from-the-future", Severity: lint.Info, Reason: "new"},
	}
	var b strings.Builder
	if err := lint.WriteSARIF(&b, f, "v1"); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name, Version string
					Rules         []struct {
						ID   string
						Help struct{ Text string }
					}
				}
			}
			Results []struct {
				RuleID    string
				RuleIndex int
				Level     string
				Message   struct{ Text string }
				Locations []struct {
					PhysicalLocation *struct {
						ArtifactLocation struct{ URI string }
						Region           *struct{ StartLine int }
					}
					LogicalLocations []struct{ FullyQualifiedName string }
				}
				PartialFingerprints map[string]string
			}
		}
	}
	if err := json.Unmarshal([]byte(b.String()), &doc); err != nil {
		t.Fatal(err)
	}
	run := doc.Runs[0]
	if doc.Version != "2.1.0" || len(run.Tool.Driver.Rules) != 3 || run.Tool.Driver.Version != "v1" || len(run.Results) != len(f) {
		t.Fatalf("document %s", b.String())
	}
	prints := map[string]bool{}
	for i, r := range run.Results {
		rule := run.Tool.Driver.Rules[r.RuleIndex]
		if rule.ID != f[i].Code || r.RuleID != f[i].Code || f[i].Mend == "" && rule.ID == "bad-port" && rule.Help.Text == "" {
			t.Errorf("result %d has rule %+v", i, rule)
		}
		prints[r.PartialFingerprints["recloser/v1"]] = true
	}
	if len(prints) != len(f) {
		t.Errorf("%d fingerprints of %d findings", len(prints), len(f))
	}
	first := run.Results[0]
	if first.Level != "error" || first.Message.Text != `service/a -n n: spec.ports[0].port: "0": no` ||
		first.Locations[0].PhysicalLocation.ArtifactLocation.URI != "my%20dir/x.yaml" || first.Locations[0].PhysicalLocation.Region.StartLine != 3 ||
		first.Locations[0].LogicalLocations[0].FullyQualifiedName != "service/a -n n spec.ports[0].port" {
		t.Errorf("first result %+v", first)
	}
	if l := run.Results[1].Locations[0]; l.PhysicalLocation != nil {
		t.Errorf("a finding without a file is at %+v", l.PhysicalLocation)
	}
	if p := run.Results[2].Locations[0].PhysicalLocation; p.ArtifactLocation.URI != "file:///abs/y.yaml" || p.Region != nil || run.Results[2].Level != "note" {
		t.Errorf("an absolute path is %+v", p)
	}
	if len(run.Results[3].Locations) != 0 {
		t.Error("a finding of nothing has a place")
	}
}

// told finds findings as lint prints them.
var told = regexp.MustCompile(`(?m)(?:^|: )(error|warning|info): .*\[([a-z0-9-]+)\]\$?'?$`)

// TestEveryCodeIsRaised: each code is in a golden, with the severity of the
// table among others, or at least in a test.
func TestEveryCodeIsRaised(t *testing.T) {
	severities := map[string]map[string]bool{}
	var tests strings.Builder
	for _, dir := range []string{"..", "../../cli"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			golden := strings.HasSuffix(path, ".txtar")
			if !golden && (!strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "codes_test.go")) {
				return nil
			}
			raw, err := os.ReadFile(path)
			tests.Write(raw)
			for _, m := range told.FindAllStringSubmatch(string(raw), -1) {
				if severities[m[2]] == nil {
					severities[m[2]] = map[string]bool{}
				}
				severities[m[2]][m[1]] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range lint.Codes() {
		for _, c := range s.Codes {
			if have := severities[c.Code]; len(have) > 0 && !have[string(c.Severity)] {
				t.Errorf("%s is never of severity %s, but %v", c.Code, c.Severity, have)
			}
			if !strings.Contains(tests.String(), "["+c.Code+"]") && !strings.Contains(tests.String(), `"`+c.Code+`"`) {
				t.Errorf("%s: nothing raises it in a golden or a test", c.Code)
			}
		}
	}
}
