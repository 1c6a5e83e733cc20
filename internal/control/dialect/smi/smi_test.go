package smi

import (
	"regexp"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// FuzzMatch: a match that is accepted has expressions that compile as a proxy
// uses them, and takes the paths that the specification says.
func FuzzMatch(f *testing.F) {
	f.Add("/api/", "GET", "user-agent", ".*Firefox.*", "/api/x")
	f.Add("a|/b", "*", "k", "(", "/b/c")
	f.Add("^*", "", "k", "^*", "/x")
	f.Add(`\Qa`, "", "k", `\Q`, "/x")
	f.Add("^/x$", "", ":authority", "", "/x")
	f.Fuzz(func(t *testing.T, path, method, header, value, asked string) {
		m := source.GroupMatch{PathRegex: path, Headers: source.GroupHeaders{header: value}}
		if method != "" {
			m.Methods = []string{method}
		}
		alternatives, err := alternativesOf(&m)
		if err != nil {
			if err.code == "" || err.field == "" {
				t.Fatalf("error %+v", err)
			}
			return
		}
		for _, a := range alternatives {
			for _, p := range a.Paths {
				re, err := regexp.Compile("^(?:" + p.Value + ")$")
				if err != nil {
					t.Fatalf("%q becomes %q: %v", path, p.Value, err)
				}
				// Anchored at its begin: whatever begins with a match is taken.
				begins, err := regexp.Compile("^(?:" + strings.TrimPrefix(path, "^") + ")")
				if err == nil && !strings.ContainsAny(asked, "\r\n") && begins.MatchString(asked) != re.MatchString(asked) && !strings.Contains(path, "$") {
					t.Fatalf("%q takes %q: %v", path, asked, re.MatchString(asked))
				}
			}
			for _, h := range a.Headers {
				if _, err := regexp.Compile("^(?:" + h.Value + ")$"); h.Kind == routing.Regex && err != nil {
					t.Fatalf("header value %q: %v", h.Value, err)
				}
				if h.Name != strings.ToLower(h.Name) {
					t.Fatalf("header %q", h.Name)
				}
			}
		}
	})
}
