package routing

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
)

func at(s string) origin.Origin { return origin.Origin{Object: s} }

func to(name string, weight uint32) Backend {
	return Backend{Origin: at(name), Service: model.Name{Namespace: "ns", Name: name}, Port: 80, Weight: origin.Value[uint32]{Value: weight, Origin: at(name)}}
}

func path(p string) Match { return Match{Paths: []PathMatch{{Kind: PathPrefix, Value: p}}} }

func split(name string, m Match, backends ...Backend) Rule {
	return Rule{Name: name, Origin: at(name), Match: m, Backends: backends}
}

// also gives a rule a further object that has a say in it.
func also(r Rule) Rule {
	r.Also = []origin.Origin{at("profile")}
	return r
}

// show is the rules as text: match, backends with weights, or the answer.
func show(rules []Rule) string {
	var b strings.Builder
	for i := range rules {
		r := &rules[i]
		b.WriteString(r.Name + ":")
		for _, p := range r.Match.Paths {
			b.WriteString(" " + p.Value)
		}
		b.WriteString(" →")
		for _, x := range r.Backends {
			fmt.Fprintf(&b, " %s=%d", x.Service.Name, x.Weight.Value)
			if x.Invalid != "" {
				b.WriteString("!")
			}
		}
		if r.Direct != nil {
			fmt.Fprintf(&b, " %d", r.Direct.Status)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestStack(t *testing.T) {
	big := to("big", 4_000_000_000)
	for _, tt := range []struct {
		name  string
		rules []Rule
		inner map[string][]Rule
		want  string
	}{
		{
			"nobody stacks, and weights stay",
			[]Rule{also(split("r", path("/"), to("foo", 50), to("bar", 50)))},
			nil,
			"r: / → foo=50 bar=50\n",
		},
		{ // the example of the talk: foo 50/50 foo and bar, bar 50/50 bar and baz
			"weights multiply",
			[]Rule{split("r", path("/"), to("foo", 50), to("bar", 50))},
			map[string][]Rule{"bar": {split("s", path("/"), to("bar", 50), to("baz", 50))}},
			"r: / → foo=2 bar=1 baz=1\n",
		},
		{
			"an inner match divides the requests",
			[]Rule{split("r", path("/a"), to("bar", 1))},
			map[string][]Rule{"bar": {split("s", path("/a/x"), to("baz", 1)), split("s2", path("/"), to("bar", 1))}},
			"r+0: /a /a/x → baz=1\nr+1: /a → bar=1\n",
		},
		{
			"what no inner rule matches is answered, and does not fall through",
			[]Rule{split("r", path("/a"), to("bar", 1)), split("last", path("/"), to("foo", 1))},
			map[string][]Rule{"bar": {split("s", path("/a/x"), to("baz", 1))}},
			"r+0: /a /a/x → baz=1\nr+1: /a → 404\nlast: / → foo=1\n",
		},
		{
			"beside others it is refused",
			[]Rule{split("r", path("/a"), to("foo", 1), to("bar", 1))},
			map[string][]Rule{"bar": {split("s", path("/a/x"), to("baz", 1))}},
			"r+0: /a /a/x → foo=1 baz=1\nr+1: /a → foo=1 bar=1!\n",
		},
		{
			"two of them",
			[]Rule{split("r", path("/"), to("a", 1), to("b", 1))},
			map[string][]Rule{
				"a": {split("s", path("/"), to("a1", 1), to("a2", 1))},
				"b": {split("s", path("/x"), to("b1", 1)), split("s2", path("/"), to("b2", 1))},
			},
			"r+0: /x → a1=1 a2=1 b1=2\nr+1: / → a1=1 a2=1 b2=2\n",
		},
		{
			"a backend of weight 0 is not looked into",
			[]Rule{split("r", path("/"), to("foo", 1), to("bar", 0))},
			map[string][]Rule{"bar": {split("s", path("/x"), to("baz", 1))}},
			"r: / → foo=1 bar=0\n",
		},
		{
			"all inner weights 0",
			[]Rule{split("r", path("/"), to("foo", 1), to("bar", 3))},
			map[string][]Rule{"bar": {split("s", path("/"), to("x", 0), to("y", 0))}},
			"r: / → foo=1 x=3! y=0\n",
		},
		{
			"weights stay within 32 bits, and their proportions too",
			[]Rule{split("r", path("/"), big, to("bar", 2_000_000_000))},
			map[string][]Rule{"bar": {split("s", path("/"), to("bar", 4_000_000_000), to("baz", 4_000_000_000))}},
			"r: / → big=4 bar=1 baz=1\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := show(tt.rules)
			got, losers := Stack(tt.rules, func(b *Backend) ([]Rule, bool) {
				r, ok := tt.inner[b.Service.Name]
				return r, ok
			})
			if diff := cmp.Diff(tt.want, show(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if len(losers) > 0 {
				t.Errorf("losers: %v", losers)
			}
			if show(tt.rules) != before {
				t.Error("the rules that were given have changed")
			}
		})
	}
}

func TestStackKeepsWhatTheOuterRuleSays(t *testing.T) {
	second := origin.Value[time.Duration]{Value: time.Second, Origin: at("outer")}
	minute := origin.Value[time.Duration]{Value: time.Minute, Origin: at("inner")}
	outer := split("r", path("/"), to("bar", 1))
	outer.Timeouts.Request = second
	inner := split("s", path("/"), to("baz", 1))
	inner.Timeouts = Timeouts{Request: minute, Idle: minute}
	inner.RequestHeaders = []HeaderEdit{{Op: Set, Name: "x", Value: "inner"}}
	inner.Mirrors = []Mirror{{Backend: to("copy", 1), Percent: origin.Value[float64]{Value: 100}}}

	got, losers := Stack([]Rule{outer}, func(*Backend) ([]Rule, bool) { return []Rule{inner}, true })
	r := got[0]
	if r.Timeouts.Request != second || r.Timeouts.Idle != minute {
		t.Errorf("timeouts %+v", r.Timeouts)
	}
	if len(losers) != 1 || !strings.Contains(losers[0].Reason, "request timeout") {
		t.Errorf("losers %v", losers)
	}
	if len(r.Backends[0].RequestHeaders) != 1 || len(r.RequestHeaders) != 0 {
		t.Error("the inner rule's edits are not those of its backends")
	}

	outer.Backends = append(outer.Backends, to("foo", 3))
	got, losers = Stack([]Rule{outer}, func(b *Backend) ([]Rule, bool) { return []Rule{inner}, b.Service.Name == "bar" })
	r = got[0]
	if r.Timeouts.Idle.IsSet() || len(losers) != 2 {
		t.Errorf("idle timeout %v of one backend holds for all; losers %v", r.Timeouts.Idle, losers)
	}
	if p := r.Mirrors[0].Percent.Value; p != 25 {
		t.Errorf("%v%% are mirrored, want the backend's share", p)
	}
}

func TestStackIsBounded(t *testing.T) {
	var backends []Backend
	for i := range 10 {
		backends = append(backends, to(fmt.Sprint("b", i), 1))
	}
	inner := []Rule{split("s", path("/x"), to("x", 1)), split("s2", path("/y"), to("y", 1))}
	rules := []Rule{split("r", path("/"), backends...)}
	got, losers := Stack(rules, func(*Backend) ([]Rule, bool) { return inner, true })
	if len(got) != 1 || len(losers) != 1 || !strings.Contains(losers[0].Reason, "more than 256") {
		t.Errorf("%d rules, losers %v", len(got), losers)
	}
}

// A prefix is replaced that the rule with the rewrite has matched, not one of
// the rule that is stacked with it.
func TestStackKeepsThePrefixThatIsReplaced(t *testing.T) {
	replace := &Rewrite{Path: &PathRewrite{Kind: ReplacePrefix, Value: "/new"}}
	plain, deep := split("r", path("/"), to("bar", 1)), split("s", path("/a/b"), to("baz", 1))
	first := func(outer, inner Rule) string {
		got, _ := Stack([]Rule{outer}, func(*Backend) ([]Rule, bool) { return []Rule{inner}, true })
		return got[0].Match.Paths[0].Value
	}
	outer := plain
	outer.Rewrite = replace
	if got := first(outer, deep); got != "/" {
		t.Errorf("the outer rule replaces %q", got)
	}
	inner := deep
	inner.Rewrite = replace
	if got := first(split("r", path("/a"), to("bar", 1)), inner); got != "/a/b" {
		t.Errorf("the inner rule replaces %q", got)
	}
}
