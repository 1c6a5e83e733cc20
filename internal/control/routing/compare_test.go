package routing_test

import (
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/reclosermesh/recloser/internal/control/routing"
)

func path(kind routing.PathKind, value string) routing.Match {
	return routing.Match{Paths: []routing.PathMatch{{Kind: kind, Value: value}}}
}

func notPath(kind routing.PathKind, value string) routing.Match {
	return routing.Match{Paths: []routing.PathMatch{{Kind: kind, Value: value, Invert: true}}}
}

func header(name string, kind routing.TextKind, value string, invert bool) routing.Match {
	return routing.Match{Headers: []routing.HeaderMatch{{Name: name, Text: routing.Text{Kind: kind, Value: value}, Invert: invert}}}
}

func TestEmpty(t *testing.T) {
	for _, tt := range []struct {
		name  string
		a, b  routing.Match
		empty bool
	}{
		{"two methods", header(":method", routing.Exact, "GET", false), header(":method", routing.Exact, "POST", false), true},
		{"one method", header(":method", routing.Exact, "GET", false), header(":method", routing.Exact, "GET", false), false},
		{"a method and not it", header(":method", routing.Exact, "GET", false), header(":method", routing.Exact, "GET", true), true},
		{"two headers", header("a", routing.Exact, "1", false), header("b", routing.Exact, "2", false), false},
		{"two paths", path(routing.PathExact, "/a"), path(routing.PathExact, "/b"), true},
		{"a path and its prefix", path(routing.PathExact, "/a/b"), path(routing.PathPrefix, "/a"), false},
		{"a path beside a prefix", path(routing.PathExact, "/ab"), path(routing.PathPrefix, "/a"), true},
		{"a path and a regex", path(routing.PathExact, "/a1"), path(routing.PathRegex, "/a[0-9]"), false},
		{"a path beside a regex", path(routing.PathExact, "/ax"), path(routing.PathRegex, "/a[0-9]"), true},
		{"a path and not a regex", path(routing.PathExact, "/a1"), notPath(routing.PathRegex, "/a[0-9]"), true},
		{"prefixes apart", path(routing.PathPrefix, "/a"), path(routing.PathPrefix, "/ab"), true},
		{"texts that overlap", path(routing.PathText, "/a"), path(routing.PathPrefix, "/ab"), false},
		{"a prefix without its parent", path(routing.PathPrefix, "/a/b"), notPath(routing.PathPrefix, "/a"), true},
		{"a prefix without its child", path(routing.PathPrefix, "/a"), notPath(routing.PathPrefix, "/a/b"), false},
		{"two regexes", path(routing.PathRegex, "/a"), path(routing.PathRegex, "/b"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c routing.Comparer
			if got := c.Empty(tt.a.And(tt.b)); got != tt.empty {
				t.Errorf("a and b: %v, want %v", got, tt.empty)
			}
			if got := c.Empty(tt.b.And(tt.a)); got != tt.empty {
				t.Errorf("b and a: %v, want %v", got, tt.empty)
			}
		})
	}
}

func TestCovers(t *testing.T) {
	everything := routing.Match{}
	for _, tt := range []struct {
		name   string
		a, b   routing.Match
		covers bool
	}{
		{"all", everything, path(routing.PathExact, "/a"), true},
		{"the root prefix", path(routing.PathPrefix, "/"), everything, true},
		{"less", path(routing.PathExact, "/a"), everything, false},
		{"a prefix of a prefix", path(routing.PathPrefix, "/a"), path(routing.PathPrefix, "/a/b/"), true},
		{"a text of segments", path(routing.PathText, "/a/"), path(routing.PathPrefix, "/a"), false},
		{"segments of a text", path(routing.PathPrefix, "/a"), path(routing.PathText, "/a"), false},
		{"segments of a text that ends one", path(routing.PathPrefix, "/a"), path(routing.PathText, "/a/"), true},
		{"a regex", path(routing.PathRegex, "/[a-z]+"), path(routing.PathExact, "/abc"), true},
		{"not a prefix", notPath(routing.PathPrefix, "/a"), path(routing.PathPrefix, "/b"), true},
		{"any value", header("k", routing.Present, "", false), header("k", routing.Exact, "v", false), true},
		{"any value of none", header("k", routing.Present, "", false), header("k", routing.Exact, "v", true), false},
		{"a header more", header("k", routing.Exact, "v", false), everything, false},
		{"another value", header("k", routing.Exact, "v", true), header("k", routing.Exact, "w", false), true},
		{"contains", header("k", routing.Contains, "b", false), header("k", routing.Prefix, "abc", false), true},
		{"any method", header(":method", routing.Present, "", false), everything, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c routing.Comparer
			if got := c.Covers(tt.a, tt.b); got != tt.covers {
				t.Errorf("%v, want %v", got, tt.covers)
			}
		})
	}
}

// TestProven: whatever Empty and Covers say yes to holds for requests that are
// tried one by one.
func TestProven(t *testing.T) {
	values := []string{"", "/", "/a", "/a/", "/ab", "/a/b", "/a/bc", "/B", "/b"}
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(s []string) string { return s[rnd.IntN(len(s))] }
	random := func() routing.Match {
		var m routing.Match
		kinds := []routing.PathKind{routing.PathExact, routing.PathPrefix, routing.PathText, routing.PathRegex}
		for range rnd.IntN(3) {
			v := pick(values[1:])
			p := routing.PathMatch{Kind: kinds[rnd.IntN(4)], Value: v, Invert: rnd.IntN(4) == 0, IgnoreCase: rnd.IntN(4) == 0}
			if p.Kind == routing.PathRegex {
				p.Value = v + pick([]string{"", ".*", "[a-c]?"})
			}
			m.Paths = append(m.Paths, p)
		}
		texts := []routing.TextKind{routing.Exact, routing.Prefix, routing.Suffix, routing.Contains, routing.Regex, routing.Present}
		for range rnd.IntN(3) {
			m.Headers = append(m.Headers, routing.HeaderMatch{
				Name: "k", Invert: rnd.IntN(4) == 0,
				Text: routing.Text{Kind: texts[rnd.IntN(6)], Value: pick(values), IgnoreCase: rnd.IntN(4) == 0},
			})
		}
		return m
	}
	var c routing.Comparer
	empty, covered := 0, 0
	for range 20_000 {
		a, b := random(), random()
		isEmpty, covers := c.Empty(a), c.Covers(a, b)
		if isEmpty {
			empty++
		}
		if covers {
			covered++
		}
		for _, p := range values[1:] {
			for _, h := range append([]string{"-"}, values...) {
				if isEmpty && matches(a, p, h) {
					t.Fatalf("%+v is empty and takes path %q, header %q", a, p, h)
				}
				if covers && matches(b, p, h) && !matches(a, p, h) {
					t.Fatalf("%+v covers %+v, and not path %q, header %q", a, b, p, h)
				}
			}
		}
	}
	if empty == 0 || covered == 0 {
		t.Errorf("%d empty, %d covered: nothing was tried", empty, covered)
	}
}

// compiled keeps expressions that are tried again and again.
var compiled = map[string]*regexp.Regexp{}

// matches is a second, plain reading of a match. Header "-" is none.
func matches(m routing.Match, path, value string) bool {
	full := func(expr string, ic bool, s string) bool {
		if ic {
			expr = "(?i)" + expr
		}
		if compiled[expr] == nil {
			compiled[expr] = regexp.MustCompile("^(?:" + expr + ")$")
		}
		return compiled[expr].MatchString(s)
	}
	for _, p := range m.Paths {
		v, s := p.Value, path
		if p.IgnoreCase {
			v, s = strings.ToLower(v), strings.ToLower(s)
		}
		var ok bool
		switch p.Kind {
		case routing.PathExact:
			ok = v == s
		case routing.PathText:
			ok = strings.HasPrefix(s, v)
		case routing.PathPrefix:
			v = strings.TrimSuffix(v, "/")
			ok = s == v || strings.HasPrefix(s, v+"/")
		default:
			ok = full(p.Value, p.IgnoreCase, path)
		}
		if ok == p.Invert {
			return false
		}
	}
	for _, h := range m.Headers {
		v, s := h.Value, value
		if h.IgnoreCase {
			v, s = strings.ToLower(v), strings.ToLower(s)
		}
		ok := value != "-"
		switch h.Kind {
		case routing.Exact:
			ok = ok && v == s
		case routing.Prefix:
			ok = ok && strings.HasPrefix(s, v)
		case routing.Suffix:
			ok = ok && strings.HasSuffix(s, v)
		case routing.Contains:
			ok = ok && strings.Contains(s, v)
		case routing.Regex:
			ok = ok && full(h.Value, h.IgnoreCase, value)
		}
		if ok == h.Invert {
			return false
		}
	}
	return true
}

func TestWeights(t *testing.T) {
	q := func(list ...string) []*resource.Quantity {
		var out []*resource.Quantity
		for _, s := range list {
			if s == "" {
				out = append(out, nil)
				continue
			}
			v := resource.MustParse(s)
			out = append(out, &v)
		}
		return out
	}
	for _, tt := range []struct {
		in   []*resource.Quantity
		want []uint32
	}{
		{q("90", "10"), []uint32{90, 10}},
		{q("500m", "1"), []uint32{500, 1000}},
		{q("0", "-3", ""), []uint32{0, 0, 0}},
		{q("1u", "1"), []uint32{1, 1000}},
		{q("8G", "8G"), []uint32{math.MaxUint32 / 2, math.MaxUint32 / 2}},
		{q("9E", "1"), []uint32{math.MaxUint32 - 2, 1}},
		{nil, []uint32{}},
	} {
		got := routing.Weights(tt.in)
		var sum uint64
		near := len(got) == len(tt.want)
		for i, w := range got {
			sum += uint64(w)
			d := int64(w) - int64(tt.want[i])
			near = near && (w == tt.want[i] || tt.want[i] > 1<<30 && max(d, -d) < 8)
		}
		if !near || sum > math.MaxUint32 {
			t.Errorf("%v gives %v, want about %v", tt.in, got, tt.want)
		}
	}
	if !slices.Equal(routing.Weights(q("1")), []uint32{1}) {
		t.Error("one is not one")
	}
}
