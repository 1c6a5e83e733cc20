package route

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

func request(t testing.TB, head string) *http1.Request {
	t.Helper()
	r := new(http1.Request)
	text := strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n"
	if _, err := r.Parse([]byte(text), nil); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return r
}

// clusters makes live clusters by name.
func clusters(t testing.TB, names ...string) func(string) *upstream.Cluster {
	t.Helper()
	set := upstream.NewSet(upstream.SetOptions{Metrics: telemetry.NewProxy(telemetry.Options{})})
	var cfgs []upstream.Config
	for _, n := range names {
		cfgs = append(cfgs, upstream.Config{Name: n})
	}
	live := set.Apply(cfgs)
	return func(name string) *upstream.Cluster { return live[name] }
}

func none(string) *upstream.Cluster { return nil }

func TestPathMatch(t *testing.T) {
	for _, tt := range []struct {
		match PathMatch
		yes   []string
		no    []string
	}{
		{PathMatch{PathPrefix, "/", false}, []string{"/", "/a", "/a?b=c"}, nil},
		{PathMatch{PathPrefix, "/api", false}, []string{"/api", "/apix", "/api/x?q"}, []string{"/", "/ap", "/API", "/?/api"}},
		{PathMatch{PathPrefix, "/api", true}, []string{"/API/x"}, []string{"/b"}},
		{PathMatch{PathExact, "/a", false}, []string{"/a", "/a?x=y"}, []string{"/a/", "/ab", "/A", "/"}},
		{PathMatch{PathExact, "/a", true}, []string{"/A"}, []string{"/ab"}},
		{PathMatch{PathSeparatedPrefix, "/api", false}, []string{"/api", "/api/", "/api/x", "/api?x"}, []string{"/apix", "/ap"}},
		{PathMatch{PathRegex, `/v\d+/.*`, false}, []string{"/v1/x", "/v22/?q"}, []string{"/v1", "/x/v1/x", "/vx/"}},
		{PathMatch{PathRegex, `/a|/b`, false}, []string{"/a", "/b"}, []string{"/ab", "/a/b"}},
	} {
		cfg := &Config{Rules: []Rule{{Match: Match{Path: tt.match}}}}
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		table := New(cfg, nil, none)
		for _, path := range append(append([]string{}, tt.yes...), tt.no...) {
			want := len(tt.yes) > 0 && strings.Contains("\n"+strings.Join(tt.yes, "\n")+"\n", "\n"+path+"\n")
			if got := table.Match(request(t, "GET "+path+" HTTP/1.1\nHost: a")) != nil; got != want {
				t.Errorf("%+v on %s: %v, want %v", tt.match, path, got, want)
			}
		}
	}
}

func TestHeaderMatch(t *testing.T) {
	const head = "POST /p?q=1 HTTP/1.1\nHost: a.b\nX-User: Alice\nX-Many: a\nX-Many: b\nX-Empty:\nX-Num: 42"
	for _, tt := range []struct {
		match HeaderMatch
		want  bool
	}{
		{HeaderMatch{Name: "x-user", ValueMatch: ValueMatch{Kind: ValueExact, Value: "Alice"}}, true},
		{HeaderMatch{Name: "X-USER", ValueMatch: ValueMatch{Kind: ValueExact, Value: "alice"}}, false},
		{HeaderMatch{Name: "x-user", ValueMatch: ValueMatch{Kind: ValueExact, Value: "alice", IgnoreCase: true}}, true},
		{HeaderMatch{Name: "x-user", ValueMatch: ValueMatch{Kind: ValuePrefix, Value: "Al"}}, true},
		{HeaderMatch{Name: "x-user", ValueMatch: ValueMatch{Kind: ValueSuffix, Value: "ice"}}, true},
		{HeaderMatch{Name: "x-user", ValueMatch: ValueMatch{Kind: ValueSuffix, Value: "longer than Alice"}}, false},
		{HeaderMatch{Name: "x-user", ValueMatch: ValueMatch{Kind: ValueContains, Value: "LIC", IgnoreCase: true}}, true},
		{HeaderMatch{Name: "x-user", ValueMatch: ValueMatch{Kind: ValueContains, Value: "LIC"}}, false},
		{HeaderMatch{Name: "x-user", ValueMatch: ValueMatch{Kind: ValueRegex, Value: "A.*e"}}, true},
		{HeaderMatch{Name: "x-user", ValueMatch: ValueMatch{Kind: ValueRegex, Value: "lic"}}, false},
		{HeaderMatch{Name: "x-user", ValueMatch: ValueMatch{Kind: ValueExact, Value: "Bob"}, Invert: true}, true},
		{HeaderMatch{Name: "x-empty"}, true},
		{HeaderMatch{Name: "x-absent"}, false},
		{HeaderMatch{Name: "x-absent", Invert: true}, true},
		{HeaderMatch{Name: "x-absent", ValueMatch: ValueMatch{Kind: ValueExact}, MissingAsEmpty: true}, true},
		{HeaderMatch{Name: "x-absent", ValueMatch: ValueMatch{Kind: ValueExact}}, false},
		{HeaderMatch{Name: "x-many", ValueMatch: ValueMatch{Kind: ValueExact, Value: "a,b"}}, true},
		{HeaderMatch{Name: "x-many", ValueMatch: ValueMatch{Kind: ValueExact, Value: "a"}}, false},
		{HeaderMatch{Name: "x-num", ValueMatch: ValueMatch{Kind: ValueRange, Low: 42, High: 43}}, true},
		{HeaderMatch{Name: "x-num", ValueMatch: ValueMatch{Kind: ValueRange, Low: 0, High: 42}}, false},
		{HeaderMatch{Name: "x-user", ValueMatch: ValueMatch{Kind: ValueRange, Low: 0, High: 42}}, false},
		{HeaderMatch{Name: ":method", ValueMatch: ValueMatch{Kind: ValueExact, Value: "POST"}}, true},
		{HeaderMatch{Name: ":method", ValueMatch: ValueMatch{Kind: ValueExact, Value: "GET"}}, false},
		{HeaderMatch{Name: ":path", ValueMatch: ValueMatch{Kind: ValueExact, Value: "/p?q=1"}}, true},
		{HeaderMatch{Name: ":scheme", ValueMatch: ValueMatch{Kind: ValueExact, Value: "http"}}, true},
		{HeaderMatch{Name: ":scheme", ValueMatch: ValueMatch{Kind: ValueExact, Value: "https"}}, false},
		{HeaderMatch{Name: ":authority", ValueMatch: ValueMatch{Kind: ValueExact, Value: "a.b"}}, true},
	} {
		cfg := &Config{Rules: []Rule{{Match: Match{Headers: []HeaderMatch{tt.match}}}}}
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		if got := New(cfg, nil, none).Match(request(t, head)) != nil; got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.match, got, tt.want)
		}
	}
}

func TestQueryMatch(t *testing.T) {
	for _, tt := range []struct {
		query string
		match QueryMatch
		want  bool
	}{
		{"a=1&b=2", QueryMatch{"b", ValueMatch{Kind: ValueExact, Value: "2"}}, true},
		{"a=1&b=2", QueryMatch{"b", ValueMatch{Kind: ValueExact, Value: "1"}}, false},
		{"b=1&b=2", QueryMatch{"b", ValueMatch{Kind: ValueExact, Value: "2"}}, false}, // the first counts
		{"ab=1", QueryMatch{"b", ValueMatch{}}, false},
		{"b", QueryMatch{"b", ValueMatch{}}, true},
		{"b=", QueryMatch{"b", ValueMatch{Kind: ValueExact}}, true},
		{"b=x=y", QueryMatch{"b", ValueMatch{Kind: ValueExact, Value: "x=y"}}, true},
		{"", QueryMatch{"b", ValueMatch{}}, false},
		{"b=12", QueryMatch{"b", ValueMatch{Kind: ValueRegex, Value: `\d+`}}, true},
	} {
		table := New(&Config{Rules: []Rule{{Match: Match{Query: []QueryMatch{tt.match}}}}}, nil, none)
		if got := table.Match(request(t, "GET /?"+tt.query+" HTTP/1.1\nHost: a")) != nil; got != tt.want {
			t.Errorf("%q %+v: %v, want %v", tt.query, tt.match, got, tt.want)
		}
	}
}

func TestFirstRuleWins(t *testing.T) {
	cfg := &Config{Rules: []Rule{
		{Name: "long", Match: Match{Path: PathMatch{Value: "/a/b"}}, Timeout: time.Second},
		{Name: "short", Match: Match{Path: PathMatch{Value: "/a"}}},
		{Name: "never", Match: Match{Path: PathMatch{Value: "/a/b/c"}}},
	}}
	table := New(cfg, nil, none)
	for path, want := range map[string]string{"/a/b/c": "long", "/a/c": "short", "/": ""} {
		got := ""
		if a := table.Match(request(t, "GET "+path+" HTTP/1.1\nHost: a")); a != nil {
			got = a.RouteName
		}
		if got != want {
			t.Errorf("%s goes to %q, want %q", path, got, want)
		}
	}
}

func TestActionForBytes(t *testing.T) {
	api := Rule{Name: "api", Match: Match{Path: PathMatch{Value: "/api"}}}
	header := Rule{Name: "header", Match: Match{Path: PathMatch{Value: "/"}, Headers: []HeaderMatch{{Name: "a"}}}}
	query := Rule{Name: "query", Match: Match{Path: PathMatch{Value: "/"}, Query: []QueryMatch{{Name: "a"}}}}
	exact := Rule{Name: "exact", Match: Match{Path: PathMatch{Kind: PathExact, Value: "/"}}}
	all := Rule{Name: "all", Match: Match{Path: PathMatch{Value: "/"}}}
	empty := Rule{Name: "empty"}
	for _, tt := range []struct {
		rules []Rule
		want  string
	}{
		{[]Rule{api, header, query, exact, all, empty}, "all"},
		{[]Rule{empty, all}, "empty"},
		{[]Rule{api, header, query, exact}, ""},
		{nil, ""},
	} {
		got := ""
		if a := New(&Config{Rules: tt.rules}, nil, none).TCP(); a != nil {
			got = a.RouteName
		}
		if got != tt.want {
			t.Errorf("%d rules: %q, want %q", len(tt.rules), got, tt.want)
		}
	}
	one := NewAction("one", 0)
	if SingleTable(one).TCP() != one {
		t.Error("a single table does not take bytes")
	}
}

func TestPickFollowsWeights(t *testing.T) {
	live := clusters(t, "a", "b", "c")
	cfg := &Config{Rules: []Rule{{Backends: []WeightedCluster{{Cluster: "a", Weight: 1}, {Cluster: "never", Weight: 0}, {Cluster: "b", Weight: 2}, {Cluster: "missing", Weight: 1}}}}}
	action := New(cfg, nil, live).Match(request(t, "GET / HTTP/1.1\nHost: a"))
	got := map[string]int{}
	const steps = 4096
	for i := range steps {
		name := "nil"
		if c := action.Pick(uint32(i * (1 << 32 / steps))).Cluster; c != nil {
			name = c.Name()
		}
		got[name]++
	}
	if diff := cmp.Diff(map[string]int{"a": steps / 4, "b": steps / 2, "nil": steps / 4}, got); diff != "" {
		t.Error(diff)
	}
	cfg = &Config{Rules: []Rule{{Backends: []WeightedCluster{{Cluster: "a", Weight: 0}}}}}
	if c := New(cfg, nil, live).Match(request(t, "GET / HTTP/1.1\nHost: a")).Pick(1<<32 - 1); c != nil {
		t.Errorf("a backend of weight 0 was picked: %s", c.Name)
	}
}

func TestValidateSaysAll(t *testing.T) {
	cfg := &Config{Rules: []Rule{{
		Timeout:  -1,
		Match:    Match{Path: PathMatch{Kind: PathRegex, Value: "a)|(b"}, Headers: []HeaderMatch{{}}, Query: []QueryMatch{{"q", ValueMatch{Kind: ValueRegex, Value: "("}}}},
		Backends: []WeightedCluster{{Cluster: "", Weight: 1}, {Cluster: "a", Weight: 1<<32 - 1}},
	}, {Match: Match{Path: PathMatch{Kind: PathSeparatedPrefix, Value: "/a/"}}}}}
	err := cfg.Validate()
	for _, want := range []string{
		"routes[0].timeout -1ns", `routes[0].match.safe_regex "a)|(b"`, "routes[0].match.headers[0].name",
		`routes[0].match.query_parameters[0] "("`, "routes[0].backends[0].cluster", "routes[0].backends: weights sum to 4294967296", `routes[1].match.path_separated_prefix "/a/"`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not say %q", err, want)
		}
	}
}

func big(rules int) *Config {
	cfg := &Config{}
	for i := range rules {
		cfg.Rules = append(cfg.Rules, Rule{
			Match:    Match{Path: PathMatch{PathPrefix, fmt.Sprintf("/svc%d/", i), false}, Headers: []HeaderMatch{{Name: "x-user", ValueMatch: ValueMatch{Kind: ValueRegex, Value: "a.*"}}}},
			Backends: []WeightedCluster{{Cluster: "a", Weight: 1}, {Cluster: "b", Weight: 1}},
		})
	}
	return cfg
}

func TestMatchDoesNotAllocate(t *testing.T) {
	table := New(big(20), nil, none)
	r := request(t, "GET /svc19/x?a=b HTTP/1.1\nHost: a\nX-User: alice")
	if n := testing.AllocsPerRun(100, func() { table.Match(r).Pick(7) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("/a?b=c", "x")
	f.Fuzz(func(t *testing.T, target, header string) {
		r := &http1.Request{Path: []byte(target), Headers: []http1.Header{{Name: []byte(header), Value: []byte(target)}}}
		path, _, _ := strings.Cut(target, "?")
		for kind, want := range map[PathKind]bool{
			PathPrefix: strings.HasPrefix(path, header),
			PathExact:  path == header,
		} {
			table := New(&Config{Rules: []Rule{{Match: Match{Path: PathMatch{Kind: kind, Value: header}}}}}, nil, none)
			if got := table.Match(r) != nil; got != want {
				t.Errorf("kind %d of %q on %q: %v", kind, header, target, got)
			}
		}
		New(&Config{Rules: []Rule{{Match: Match{Query: []QueryMatch{{Name: header}}}}}}, nil, none).Match(r)
	})
}

func TestRetryBackoff(t *testing.T) {
	for _, tt := range []struct {
		retry  Retry
		n      uint32
		random float64
		want   time.Duration
	}{
		{Retry{}, 1, 0, 0},
		{Retry{}, 1, 1, DefaultRetryBase},
		{Retry{BackoffBase: time.Second}, 2, 0.5, 1500 * time.Millisecond},
		{Retry{BackoffBase: time.Second, BackoffMax: 2 * time.Second}, 9, 1, 2 * time.Second},
		{Retry{BackoffMin: time.Second, BackoffBase: time.Second}, 1, 0, time.Second},
		{Retry{BackoffMin: time.Second, BackoffBase: time.Second}, 1, 0.5, 1500 * time.Millisecond},
	} {
		if got := tt.retry.Backoff(tt.n, tt.random); got != tt.want {
			t.Errorf("%+v: try %d after %v, want %v", tt.retry, tt.n, got, tt.want)
		}
	}
}

func TestSchemeIsTheConnections(t *testing.T) {
	cfg := &Config{Rules: []Rule{{Match: Match{Headers: []HeaderMatch{{Name: ":scheme", ValueMatch: ValueMatch{Kind: ValueExact, Value: "https"}}}}}}}
	r := request(t, "GET / HTTP/1.1\nHost: a")
	for _, secure := range []bool{false, true} {
		r.Secure = secure
		if got := New(cfg, nil, none).Match(r) != nil; got != secure {
			t.Errorf("over TLS %v: %v", secure, got)
		}
	}
}
