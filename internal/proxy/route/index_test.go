package route

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// linear is what an index must agree with: the first entry that matches.
func linear(t *Table, r *http1.Request) *Action {
	path, query := splitPath(r.Path)
	for i := range t.entries {
		if t.entries[i].match(r, path, query) {
			return t.entries[i].action
		}
	}
	return nil
}

// dice makes rules and requests that often meet.
type dice struct{ *rand.Rand }

func roll[T any](d dice, of ...T) T { return of[d.IntN(len(of))] }

func (d dice) path() string {
	p := ""
	for range d.IntN(4) {
		p += "/" + roll(d, "a", "ab", "abc", "A", "b", "x%2F", "")
	}
	return p
}

func (d dice) match() Match {
	var m Match
	m.Path = PathMatch{Kind: PathKind(d.IntN(3)), Value: d.path(), IgnoreCase: d.IntN(4) == 0}
	switch {
	case m.Path.Kind == PathSeparatedPrefix && (m.Path.Value == "" || m.Path.Value[len(m.Path.Value)-1] == '/'):
		m.Path.Value = "/a"
	case d.IntN(6) == 0:
		m.Path = PathMatch{Kind: PathRegex, Value: roll(d, "/a.*", "^/a/b.*", "(?i)/A.*", "(/ab|/b).*", ".*", "/x(.*)", "(?:/a)(/b)?", "/a*b?.*", "^(/abc/.*)$")}
	}
	for range d.IntN(3) {
		kind := roll(d, ValueExact, ValueExact, ValueExact, ValuePresent, ValuePrefix, ValueRegex)
		m.Headers = append(m.Headers, HeaderMatch{
			Name:       roll(d, ":method", "x-user", "X-Group", ":authority"),
			ValueMatch: ValueMatch{Kind: kind, Value: roll(d, "GET", "POST", "1", "2", "3", ""), IgnoreCase: d.IntN(5) == 0 && kind != ValueRegex},
			Invert:     d.IntN(6) == 0, MissingAsEmpty: d.IntN(8) == 0,
		})
	}
	if d.IntN(4) == 0 {
		m.Query = append(m.Query, QueryMatch{roll(d, "q", "p"), ValueMatch{Kind: roll(d, ValueExact, ValuePresent), Value: roll(d, "1", "2")}})
	}
	return m
}

func (d dice) request() *http1.Request {
	r := &http1.Request{
		Method: []byte(roll(d, "GET", "POST", "get")), Host: []byte(roll(d, "1", "2", "a")),
		Path: []byte(d.path() + roll(d, "", "?q=1", "?q=2&p=1", "?p", "?")),
	}
	if len(r.Path) == 0 || r.Path[0] == '?' {
		r.Path = append([]byte{'/'}, r.Path...)
	}
	for range d.IntN(4) {
		r.Headers = append(r.Headers, http1.Header{Name: []byte(roll(d, "x-user", "X-USER", "x-group", "y")), Value: []byte(roll(d, "1", "2", "3", ""))})
	}
	return r
}

// agree compares an index with the linear search, and what Explain says.
func agree(t *testing.T, seed uint64, rules int) {
	t.Helper()
	d := dice{rand.New(rand.NewPCG(seed, 1))}
	cfg := &Config{}
	for i := range rules {
		cfg.Rules = append(cfg.Rules, Rule{Name: fmt.Sprint(i), Match: d.match()})
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	table := New(cfg, nil, none)
	if table.index == nil {
		table.index = newIndex(table.entries) // of few entries too
	}
	for range 20 {
		r := d.request()
		want, got := linear(table, r), table.Match(r)
		if want != got {
			t.Fatalf("seed %d, %d rules, %s %s %v: the index gives %v, in their order it is %v",
				seed, rules, r.Method, r.Path, r.Headers, got, want)
		}
		first := -1
		for i, s := range table.Explain(r) {
			if s.Matches && first < 0 {
				first = i
			}
			if s.Matches != (s.Part == "") || s.Matches == (s.Want != "") {
				t.Errorf("seed %d: step %+v", seed, s)
			}
		}
		if want == nil && first >= 0 || want != nil && (first < 0 || table.entries[first].action != want) {
			t.Fatalf("seed %d: the first that Explain has is %d", seed, first)
		}
	}
}

func TestIndexAgreesWithOrder(t *testing.T) {
	for seed := range uint64(150) {
		for _, rules := range []int{1, 3, 10, 60, 200} {
			agree(t, seed, rules)
		}
	}
}

func FuzzIndex(f *testing.F) {
	f.Add(uint64(1), uint16(10))
	f.Add(uint64(2), uint16(300))
	f.Fuzz(func(t *testing.T, seed uint64, rules uint16) { agree(t, seed, int(rules%500)) })
}

func TestLiteralPrefix(t *testing.T) {
	for text, want := range map[string]string{
		"/a": "/a", "^/a/.*": "/a/", "(/a)b": "/a", "(?i)/a": "", "/a|/b": "/", "a|/b": "", ".*": "", "/a?": "/", "(?m)^/a": "",
		"": "", "(": "", "/é": "/", "(?:/x/)?y": "", `\A/a`: "/a",
	} {
		if got := literalPrefix(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestExplain(t *testing.T) {
	cfg := &Config{Rules: []Rule{
		{Name: "path", Match: Match{Path: PathMatch{Kind: PathSeparatedPrefix, Value: "/b"}}},
		{Name: "case", Match: Match{Path: PathMatch{Kind: PathExact, Value: "/B", IgnoreCase: true}}},
		{Name: "header", Match: Match{Headers: []HeaderMatch{{Name: "X-User", ValueMatch: ValueMatch{Kind: ValuePrefix, Value: "b"}}}}},
		{Name: "absent", Match: Match{Headers: []HeaderMatch{{Name: "x-none"}}}},
		{Name: "not", Match: Match{Headers: []HeaderMatch{{Name: "x-user", ValueMatch: ValueMatch{Kind: ValueExact, Value: "alice"}, Invert: true}}}},
		{Name: "range", Match: Match{Headers: []HeaderMatch{{Name: "x-user", ValueMatch: ValueMatch{Kind: ValueRange, Low: 1, High: 5}}}}},
		{Name: "query", Match: Match{Query: []QueryMatch{{"q", ValueMatch{Kind: ValueRegex, Value: "x+"}}}}},
		{Name: "all"},
		{Name: "later"},
	}}
	got := New(cfg, nil, none).Explain(request(t, "GET /a?q=1 HTTP/1.1\nHost: a\nX-User: alice"))
	want := []Step{
		{Name: "path", Part: "path", Want: `is or is below "/b"`, Got: "/a", Present: true},
		{Name: "case", Part: "path", Want: `is "/B", whatever its case`, Got: "/a", Present: true},
		{Name: "header", Part: "header x-user", Want: `begins with "b"`, Got: "alice", Present: true},
		{Name: "absent", Part: "header x-none", Want: "is there"},
		{Name: "not", Part: "header x-user", Want: `not: is "alice"`, Got: "alice", Present: true},
		{Name: "range", Part: "header x-user", Want: "is a number from 1 to below 5", Got: "alice", Present: true},
		{Name: "query", Part: "query parameter q", Want: `matches "x+"`, Got: "1", Present: true},
		{Name: "all", Matches: true},
		{Name: "later", Matches: true},
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
}

// shapes are tables as people have them, with a request for the last rule that
// is not the last of all.
var shapes = []struct {
	name string
	rule func(i int) Match
	head func(last int) string
}{
	{
		"prefix",
		func(i int) Match {
			return Match{Path: PathMatch{Value: fmt.Sprintf("/svc%d/", i)}, Headers: []HeaderMatch{{Name: "x-user", ValueMatch: ValueMatch{Kind: ValueRegex, Value: "a.*"}}}}
		},
		func(last int) string { return fmt.Sprintf("GET /svc%d/x?a=b HTTP/1.1\nHost: a\nX-User: alice", last) },
	},
	{
		"grpc-method",
		func(i int) Match {
			return Match{Path: PathMatch{Kind: PathExact, Value: fmt.Sprintf("/shop.v1.Cart%d/Get", i)}}
		},
		func(last int) string { return fmt.Sprintf("POST /shop.v1.Cart%d/Get HTTP/1.1\nHost: a", last) },
	},
	{
		"header",
		func(i int) Match {
			return Match{Path: PathMatch{Value: "/"}, Headers: []HeaderMatch{{Name: "x-tenant", ValueMatch: ValueMatch{Kind: ValueExact, Value: fmt.Sprint("t", i)}}}}
		},
		func(last int) string {
			return fmt.Sprintf("GET /x HTTP/1.1\nHost: a\nAccept: x\nUser-Agent: y\nX-Tenant: t%d", last)
		},
	},
	{
		"regex",
		func(i int) Match {
			return Match{Path: PathMatch{Kind: PathRegex, Value: fmt.Sprintf("/svc%d/[^/]+", i)}}
		},
		func(last int) string { return fmt.Sprintf("GET /svc%d/x HTTP/1.1\nHost: a", last) },
	},
}

func shaped(shape, rules int) *Config {
	cfg := &Config{}
	for i := range rules {
		cfg.Rules = append(cfg.Rules, Rule{Match: shapes[shape].rule(i), Backends: []WeightedCluster{{Cluster: "a", Weight: 1}}})
	}
	cfg.Rules = append(cfg.Rules, Rule{Match: Match{Path: PathMatch{Value: "/"}}})
	return cfg
}

func TestIndexedMatchDoesNotAllocate(t *testing.T) {
	for i, s := range shapes {
		table := New(shaped(i, 1000), nil, none)
		r := request(t, s.head(999))
		if n := testing.AllocsPerRun(100, func() {
			if table.Match(r) != table.entries[999].action {
				t.Error("another rule")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", s.name, n)
		}
	}
}

// BenchmarkMatch compares the index with the search in order, for the last of
// many rules.
func BenchmarkMatch(b *testing.B) {
	for i, s := range shapes {
		for _, rules := range []int{1, 20, 200, 5000} {
			table := New(shaped(i, rules), nil, none)
			r := request(b, s.head(rules-1))
			b.Run(fmt.Sprintf("%s/%d/indexed", s.name, rules), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					table.Match(r)
				}
			})
			b.Run(fmt.Sprintf("%s/%d/in-order", s.name, rules), func(b *testing.B) {
				for b.Loop() {
					linear(table, r)
				}
			})
		}
	}
}

func BenchmarkNew(b *testing.B) {
	cfg := shaped(0, 5000)
	for b.Loop() {
		New(cfg, nil, none)
	}
}
