package routing

import (
	"testing"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
)

func TestMatchAsText(t *testing.T) {
	for _, tt := range []struct {
		match Match
		want  string
	}{
		{Match{}, "any"},
		{path("/a/"), "path /a/*"},
		{Match{Paths: []PathMatch{{Kind: PathExact, Value: "/a", Invert: true}}}, "path not /a"},
		{Match{Paths: []PathMatch{{Kind: PathRegex, Value: "/a.*", IgnoreCase: true}}}, "path ~ /a.* (any case)"},
		{Match{Headers: []HeaderMatch{
			{Name: ":method", Text: Text{Kind: Exact, Value: "GET"}},
			{Name: "x", Text: Text{Kind: Prefix, Value: "y", IgnoreCase: true}, Invert: true},
			{Name: "z", Text: Text{Kind: Present}, Invert: true},
		}}, "method = GET and not header x begins with y (any case) and header z absent"},
		{Match{Query: []QueryMatch{{Name: "q", Text: Text{Kind: Present}}}}, "query q present"},
	} {
		if got := tt.match.String(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestWhatARuleDoes(t *testing.T) {
	bad := to("b", 1)
	bad.Invalid = "there is none"
	subset := to("a", 3)
	subset.Subset = "v2"
	moved := origin.Value[uint32]{Value: 301}
	for _, tt := range []struct {
		rule Rule
		want string
	}{
		{Rule{Backends: []Backend{to("a", 1)}}, "a.ns:80"},
		{Rule{Backends: []Backend{subset, bad}}, "a.ns:80 subset v2 75%, b.ns:80 (500: there is none) 25%"},
		{Rule{}, "answers 500: it has no backend"},
		{Rule{Direct: &Direct{Status: 418}}, "answers 418"},
		{Rule{Redirect: &Redirect{Status: moved, Path: &PathRewrite{Value: "/x"}}}, "301 to the same host, path /x"},
		{Rule{Redirect: &Redirect{Status: moved, Scheme: "https", Host: "h", Port: 8}}, "301 to https://h:8"},
	} {
		if got := tt.rule.Does(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	if got := (model.Name{Namespace: "a", Name: "b"}).String(); got != "a/b" {
		t.Error(got)
	}
}
