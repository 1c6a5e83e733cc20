package linkerd

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// request is as much of one as conditions look at.
type request struct{ method, path string }

var requests = func() (out []request) {
	for _, m := range []string{"GET", "POST", "PUT"} {
		for _, p := range []string{"/", "/a", "/ab", "/a/b", "/b", "/x/b", "/books/1"} {
			out = append(out, request{m, p})
		}
	}
	return out
}()

// compiled keeps expressions that tests try again and again.
var compiled = map[string]*regexp.Regexp{}

func expression(expr string) *regexp.Regexp {
	if compiled[expr] == nil {
		compiled[expr] = regexp.MustCompile(expr)
	}
	return compiled[expr]
}

// takes is a plain reading of a match.
func takes(m routing.Match, r request) bool {
	for _, p := range m.Paths {
		var ok bool
		switch p.Kind {
		case routing.PathExact:
			ok = p.Value == r.path
		case routing.PathPrefix:
			v := strings.TrimSuffix(p.Value, "/")
			ok = r.path == v || strings.HasPrefix(r.path, v+"/")
		default:
			ok = expression("^(?:" + p.Value + ")$").MatchString(r.path)
		}
		if ok == p.Invert {
			return false
		}
	}
	for _, h := range m.Headers {
		if (h.Value == r.method) == h.Invert {
			return false
		}
	}
	return true
}

// inLinkerd is what Linkerd's proxy makes of a condition.
func inLinkerd(c *source.ProfileCondition, r request) bool {
	for i := range c.All {
		if !inLinkerd(&c.All[i], r) {
			return false
		}
	}
	if len(c.Any) > 0 && !slices.ContainsFunc(c.Any, func(c source.ProfileCondition) bool { return inLinkerd(&c, r) }) {
		return false
	}
	if c.Not != nil && inLinkerd(c.Not, r) || c.Method != "" && c.Method != r.method {
		return false
	}
	if c.PathRegex == "" {
		return true
	}
	expr := c.PathRegex
	if !strings.HasPrefix(expr, "^") {
		expr = "^" + expr
	}
	if !strings.HasSuffix(expr, "$") {
		expr += "$"
	}
	return expression(expr).MatchString(r.path)
}

func randomCondition(rnd *rand.Rand, depth int) source.ProfileCondition {
	var c source.ProfileCondition
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	for c.Method == "" && c.PathRegex == "" && len(c.All)+len(c.Any) == 0 && c.Not == nil {
		if rnd.IntN(3) == 0 {
			c.Method = pick("GET", "POST")
		}
		if rnd.IntN(3) == 0 {
			c.PathRegex = pick("/a", "/a.*", "/a|/b", "^/a|/b$", "(/a|/b)", ".*", "/books/[^/]*", `/a\$`, "/[a|b]")
		}
		if depth == 0 {
			continue
		}
		for range rnd.IntN(3) {
			c.All = append(c.All, randomCondition(rnd, depth-1))
		}
		for range rnd.IntN(3) {
			c.Any = append(c.Any, randomCondition(rnd, depth-1))
		}
		if rnd.IntN(3) == 0 {
			not := randomCondition(rnd, depth-1)
			c.Not = &not
		}
	}
	return c
}

// TestConditions: the alternatives of a condition take what Linkerd takes.
func TestConditions(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	tried := 0
	for range 3000 {
		c := randomCondition(rnd, 2)
		alternatives, err := alternativesOf(&c, "c")
		if err != nil {
			if err.code != "too-many-alternatives" {
				t.Fatalf("%+v: %+v", c, err)
			}
			continue
		}
		tried++
		for _, r := range requests {
			got := slices.ContainsFunc(alternatives, func(m routing.Match) bool { return takes(m, r) })
			if want := inLinkerd(&c, r); got != want {
				t.Fatalf("%+v takes %v: %v, want %v; alternatives %+v", c, r, got, want, alternatives)
			}
		}
	}
	if tried < 2000 {
		t.Errorf("%d conditions were tried", tried)
	}
}

// TestBadConditions: each names its own field.
func TestBadConditions(t *testing.T) {
	any := func(n int) (out []source.ProfileCondition) {
		for i := range n {
			out = append(out, source.ProfileCondition{PathRegex: fmt.Sprintf("/%d.*", i)})
		}
		return out
	}
	deep := &source.ProfileCondition{Method: "GET"}
	for range maxDepth + 1 {
		deep = &source.ProfileCondition{Not: deep}
	}
	for _, tt := range []struct {
		c           *source.ProfileCondition
		field, code string
	}{
		{nil, "c", "empty-condition"},
		{&source.ProfileCondition{}, "c", "empty-condition"},
		{&source.ProfileCondition{All: []source.ProfileCondition{{Method: "GET"}, {}}}, "c.all[1]", "empty-condition"},
		{&source.ProfileCondition{Not: &source.ProfileCondition{PathRegex: "("}}, "c.not.pathRegex", "bad-regex"},
		{&source.ProfileCondition{Method: "GE T"}, "c.method", "bad-method"},
		{&source.ProfileCondition{All: []source.ProfileCondition{{Any: any(9)}, {Any: any(9)}}}, "c", "too-many-alternatives"},
		{&source.ProfileCondition{Any: any(maxAlternatives)}, "", ""},
		{deep, "c" + strings.Repeat(".not", maxDepth+1), "condition-too-deep"},
	} {
		_, err := alternativesOf(tt.c, "c")
		switch {
		case err == nil && tt.code != "":
			t.Errorf("%+v: no error, want %s", tt.c, tt.code)
		case err != nil && (err.field != tt.field || err.code != tt.code):
			t.Errorf("%+v: %+v, want %s at %s", tt.c, err, tt.code, tt.field)
		}
	}
}

// TestOverlayComposes: whatever rules govern and whatever routes a profile has,
// each request is sent by the first rule that takes it, and treated by the first
// route that takes it.
func TestOverlayComposes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	composed := 0
	for range 400 {
		in, routes := randomProfile(rnd)
		var rules []routing.Rule
		for i := range rnd.IntN(4) {
			r := routing.Rule{Name: fmt.Sprint(i), Origin: origin.Origin{Object: "test/x", Field: fmt.Sprint(i)}, Backends: []routing.Backend{{}}}
			if rnd.IntN(2) == 0 {
				r.Match.Headers = []routing.HeaderMatch{{Name: ":method", Text: routing.Text{Kind: routing.Exact, Value: "GET"}, Invert: rnd.IntN(2) == 0}}
			}
			if rnd.IntN(2) == 0 {
				r.Match.Paths = []routing.PathMatch{{Kind: routing.PathPrefix, Value: []string{"/", "/a", "/b"}[rnd.IntN(3)]}}
			}
			rules = append(rules, r)
		}
		out, _ := Overlay(in, rules)
		composed += len(out) - len(rules)
		names := map[string]bool{}
		for i := range out {
			if names[out[i].Name] {
				t.Fatalf("two rules are called %s", out[i].Name)
			}
			names[out[i].Name] = true
		}
		for _, r := range requests {
			i := slices.IndexFunc(rules, func(rule routing.Rule) bool { return takes(rule.Match, r) })
			j := slices.IndexFunc(out, func(rule routing.Rule) bool { return takes(rule.Match, r) })
			if (i < 0) != (j < 0) {
				t.Fatalf("%v: rule %d of %+v, composed %d of %+v", r, i, rules, j, out)
			}
			if i < 0 {
				continue
			}
			if out[j].Origin != rules[i].Origin {
				t.Fatalf("%v is sent by %s, want %s", r, out[j].Name, rules[i].Name)
			}
			want := slices.IndexFunc(routes, func(p source.ProfileRoute) bool { return inLinkerd(p.Condition, r) })
			got := -1
			if len(out[j].Also) > 0 {
				_, _ = fmt.Sscanf(out[j].Also[0].Field, "spec.routes[%d]", &got)
			}
			if got != want {
				t.Fatalf("%v is treated by route %d, want %d of %+v", r, got, want, routes)
			}
		}
	}
	if composed == 0 {
		t.Error("nothing was composed")
	}
}

func randomProfile(rnd *rand.Rand) (routing.Input, []source.ProfileRoute) {
	var p source.LinkerdServiceProfile
	for range rnd.IntN(4) {
		c := randomCondition(rnd, 1)
		p.Spec.Routes = append(p.Spec.Routes, source.ProfileRoute{Condition: &c, Timeout: "1s"})
	}
	service := source.Object{
		Key: source.Key{Kind: source.Service, Namespace: "demo", Name: "bb"},
		Value: &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "bb"},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
		},
	}
	w := model.Build(nil, []source.Object{service, {
		Key: source.Key{Kind: source.ServiceProfile, Namespace: "demo", Name: "bb.demo.svc.cluster.local"}, Value: &p,
	}})
	s := w.Service("demo", "bb")
	return routing.Input{World: w, Client: model.Client{Namespace: "demo"}, Service: s, Port: &s.Ports[0], Objects: w.Rules(s.Name)}, p.Spec.Routes
}

// TestOverlayIsBounded: rules times routes have an end, and who loses is named.
func TestOverlayIsBounded(t *testing.T) {
	in, _ := randomProfile(rand.New(rand.NewPCG(0, 0)))
	for _, o := range in.Objects {
		spec := &o.Value.(*source.LinkerdServiceProfile).Spec
		spec.Routes = nil
		for i := range 50 {
			spec.Routes = append(spec.Routes, source.ProfileRoute{Condition: &source.ProfileCondition{PathRegex: fmt.Sprintf("/%d/.*", i)}})
		}
	}
	rules := make([]routing.Rule, 100)
	for i := range rules {
		rules[i] = routing.Rule{Name: fmt.Sprint(i), Backends: []routing.Backend{{}}}
	}
	out, losers := Overlay(in, rules)
	if len(out) != len(rules) || len(losers) == 0 || losers[0].Origin.Field != "spec.routes" {
		t.Errorf("%d rules, losers %+v", len(out), losers)
	}
}

func FuzzPathRegex(f *testing.F) {
	for _, s := range []string{"/a|/b", "^/a$", `/\$`, "(?i)/A", "[]|]", `\Q|\E`, "/books/[^/]*", "^$"} {
		f.Add(s, "/a")
	}
	f.Fuzz(func(t *testing.T, expr, path string) {
		p, err := pathMatch(expr)
		if err != nil || strings.ContainsAny(path, "\n\r") || strings.TrimSpace(expr) == "" {
			return
		}
		clear(compiled)
		c := source.ProfileCondition{PathRegex: strings.TrimSpace(expr)}
		if got, want := takes(routing.Match{Paths: []routing.PathMatch{p}}, request{path: path}), inLinkerd(&c, request{path: path}); got != want {
			t.Fatalf("%q takes %q: %v, Linkerd's takes it: %v (%+v)", expr, path, got, want, p)
		}
	})
}

// TestOverlayKeepsTheReplacedPrefix: what a rule replaces is what it has matched
// by itself, not what a route of a profile matches.
func TestOverlayKeepsTheReplacedPrefix(t *testing.T) {
	in, _ := randomProfile(rand.New(rand.NewPCG(0, 0)))
	spec := &in.Objects[0].Value.(*source.LinkerdServiceProfile).Spec
	spec.Routes = []source.ProfileRoute{{Condition: &source.ProfileCondition{PathRegex: "/foo/x"}}}
	prefix := func(s string) routing.PathMatch { return routing.PathMatch{Kind: routing.PathPrefix, Value: s} }
	exact := routing.PathMatch{Kind: routing.PathExact, Value: "/foo/x"}
	rewrite := &routing.Rewrite{Path: &routing.PathRewrite{Kind: routing.ReplacePrefix, Value: "/bar"}}
	for _, tt := range []struct {
		own     []routing.PathMatch
		rewrite *routing.Rewrite
		want    []routing.PathMatch
	}{
		{[]routing.PathMatch{prefix("/")}, rewrite, []routing.PathMatch{prefix("/"), exact}},
		{nil, rewrite, []routing.PathMatch{prefix("/"), exact}},
		{[]routing.PathMatch{prefix("/foo")}, rewrite, []routing.PathMatch{prefix("/foo"), exact}},
		{[]routing.PathMatch{exact}, rewrite, []routing.PathMatch{exact}},
		{[]routing.PathMatch{prefix("/")}, nil, []routing.PathMatch{exact}},
	} {
		out, _ := Overlay(in, []routing.Rule{{Match: routing.Match{Paths: tt.own}, Rewrite: tt.rewrite, Backends: []routing.Backend{{}}}})
		if !slices.Equal(out[0].Match.Paths, tt.want) {
			t.Errorf("%v with %+v: %v, want %v", tt.own, tt.rewrite, out[0].Match.Paths, tt.want)
		}
	}
}

// BenchmarkOverlay: what a ServiceProfile and annotations add to very many rules
// grows with them, and not faster.
func BenchmarkOverlay(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			in, _ := randomProfile(rand.New(rand.NewPCG(0, 0)))
			for _, o := range in.Objects {
				o.Value.(*source.LinkerdServiceProfile).Spec.Routes = nil
			}
			rules := make([]routing.Rule, n)
			for i := range rules {
				o := source.Object{
					Key: source.Key{Kind: source.HTTPRoute, Namespace: "demo", Name: fmt.Sprint(i)},
					Value: &source.GatewayHTTPRoute{ObjectMeta: metav1.ObjectMeta{
						Namespace: "demo", Name: fmt.Sprint(i), Annotations: map[string]string{timeoutRequest: "1s"},
					}},
				}
				in.Objects = append(in.Objects, o)
				rules[i] = routing.Rule{Name: fmt.Sprint(i), Origin: origin.Of(o, "spec.rules[0]"), Backends: []routing.Backend{{}}}
			}
			for b.Loop() {
				Overlay(in, rules)
			}
		})
	}
}
