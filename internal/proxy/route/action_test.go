package route

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reclosermesh/recloser/internal/proxy/filter"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

func TestHash(t *testing.T) {
	head := "GET /p?q=1&q=2 HTTP/1.1\nHost: a\nX-User: alice\nCookie: other=x; s=\"abc\"\nCookie: t=def"
	r := request(t, head)
	source := netip.MustParseAddr("10.0.0.1")
	action := func(policies ...HashConfig) *Action {
		cfg := &Config{Rules: []Rule{{Hash: policies}}}
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		return New(cfg, nil, none).Actions()[0]
	}
	header := HashConfig{Kind: HashHeader, Name: "X-USER"}
	absent := HashConfig{Kind: HashHeader, Name: "x-none"}
	for _, tt := range []struct {
		name     string
		policies []HashConfig
		want     uint64
		set      bool
	}{
		{"header", []HashConfig{header}, hashBytes([]byte("alice")), true},
		{"cookie", []HashConfig{{Kind: HashCookie, Name: "s"}}, hashBytes([]byte("abc")), true},
		{"cookie of another line", []HashConfig{{Kind: HashCookie, Name: "t"}}, hashBytes([]byte("def")), true},
		{"part of a cookie's name", []HashConfig{{Kind: HashCookie, Name: "oth"}}, 0, false},
		{"query", []HashConfig{{Kind: HashQuery, Name: "q"}}, hashBytes([]byte("1")), true},
		{"source", []HashConfig{{Kind: HashSourceIP}}, HashAddress(source), true},
		{"nothing of it", []HashConfig{absent, {Kind: HashQuery, Name: "p"}}, 0, false},
		{"one of two", []HashConfig{absent, header}, hashBytes([]byte("alice")), true},
		{"both", []HashConfig{header, {Kind: HashQuery, Name: "q"}}, hashBytes([]byte("alice"))<<1 | hashBytes([]byte("alice"))>>63 ^ hashBytes([]byte("1")), true},
		{"terminal", []HashConfig{{Kind: HashHeader, Name: "x-user", Terminal: true}, {Kind: HashQuery, Name: "q"}}, hashBytes([]byte("alice")), true},
		{"terminal that is not there", []HashConfig{{Kind: HashHeader, Name: "x-none", Terminal: true}, {Kind: HashQuery, Name: "q"}}, hashBytes([]byte("1")), true},
	} {
		a := action(tt.policies...)
		got := a.Hash(r, source, 7)
		if got.Sum != tt.want || got.Set != tt.set || !a.Hashes() {
			t.Errorf("%s: %x %v, want %x %v", tt.name, got.Sum, got.Set, tt.want, tt.set)
		}
		if _, sets := got.SetCookie(nil); sets {
			t.Errorf("%s: sets a cookie", tt.name)
		}
		if n := testing.AllocsPerRun(50, func() { a.Hash(r, source, 7) }); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
	if hashBytes([]byte("alice")) == hashBytes([]byte("alicf")) || action().Hashes() {
		t.Error("hashes are of nothing")
	}
	if v4, mapped := HashAddress(source), HashAddress(netip.MustParseAddr("::ffff:10.0.0.1")); v4 != mapped {
		t.Error("one address has two hashes")
	}
}

// A caller without the cookie gets one, and with it the same endpoint again.
func TestHashMakesCookies(t *testing.T) {
	for _, tt := range []struct {
		c     HashConfig
		after string
	}{
		{HashConfig{Kind: HashCookie, Name: "s", Generate: true}, "; HttpOnly"},
		{
			HashConfig{Kind: HashCookie, Name: "s", Generate: true, TTL: 90 * time.Second, Path: "/a", Attributes: []CookieAttribute{{"Secure", ""}, {"SameSite", "Lax"}}},
			"; Max-Age=90; Path=/a; Secure; SameSite=Lax; HttpOnly",
		},
	} {
		a := New(&Config{Rules: []Rule{{Hash: []HashConfig{tt.c}}}}, nil, none).Actions()[0]
		h := a.Hash(request(t, "GET / HTTP/1.1\nHost: a"), netip.Addr{}, 0xabc)
		cookie, sets := h.SetCookie(nil)
		if !sets || string(cookie) != "s=0000000000000abc"+tt.after {
			t.Errorf("%q", cookie)
		}
		value, _, _ := strings.Cut(string(cookie), ";")
		again := a.Hash(request(t, "GET / HTTP/1.1\nHost: a\nCookie: "+value), netip.Addr{}, 1)
		if _, sets := again.SetCookie(nil); sets || !h.Set || again.Sum != h.Sum {
			t.Errorf("%+v, then %+v", h, again)
		}
	}
}

func TestHashRefused(t *testing.T) {
	for _, tt := range []struct {
		c    HashConfig
		want string
	}{
		{HashConfig{Kind: HashHeader}, "a name is needed"},
		{HashConfig{Kind: HashCookie, Name: "a b"}, `"a b": is no name`},
		{HashConfig{Kind: HashCookie, Name: "s", TTL: -1}, "ttl -1ns"},
		{HashConfig{Kind: HashCookie, Name: "s", Path: "/;x"}, `Path "/;x"`},
		{HashConfig{Kind: 9, Name: "x"}, "kind 9"},
	} {
		err := (&Config{Rules: []Rule{{Hash: []HashConfig{tt.c}}}}).Validate()
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "routes[0].hash_policy[0]") {
			t.Errorf("%+v: %v, want %q", tt.c, err, tt.want)
		}
	}
}

// Edits of all levels are done, and CORS and faults come from the nearest.
func TestActionOfLevels(t *testing.T) {
	edit := func(name string) []filter.Edit { return []filter.Edit{{Op: filter.Add, Name: "x", Value: name}} }
	cfg := &Config{
		Common: Common{RequestHeaders: edit("host"), ResponseHeaders: edit("host"), Fault: &filter.Fault{AbortStatus: 500, AbortShare: filter.Every}, CORS: &CORS{}},
		Rules: []Rule{
			{
				RequestHeaders: edit("rule"), ResponseHeaders: edit("rule"), Host: "rule", Fault: &filter.Fault{},
				Backends: []WeightedCluster{{Cluster: "a", Weight: 1, RequestHeaders: edit("backend"), ResponseHeaders: edit("backend"), Host: "backend"}, {Cluster: "b", Weight: 1}},
			},
			{Direct: &Direct{Status: 200}},
		},
	}
	outer := &Common{RequestHeaders: edit("config"), ResponseHeaders: edit("config"), CORS: &CORS{Origins: []ValueMatch{{Kind: ValueExact, Value: "*"}}}}
	a := New(cfg, outer, none).Actions()
	values := func(h *filter.Headers) string {
		var arena []byte
		var out []string
		for _, f := range h.Apply(nil, &arena, nil, nil) {
			out = append(out, string(f.Value))
		}
		return strings.Join(out, " ")
	}
	for i, want := range []string{"backend rule host config", "rule host config"} {
		b := &a[0].Backends[i]
		if got := values(b.RequestHeaders) + ", " + values(b.ResponseHeaders); got != want+", "+want {
			t.Errorf("backend %d: %s", i, got)
		}
	}
	if got := values(a[1].ResponseHeaders); got != "host config" {
		t.Errorf("direct answer: %s", got)
	}
	if got := string(a[0].Backends[0].Host) + " " + string(a[0].Backends[1].Host); got != "backend rule" {
		t.Errorf("hosts %s", got)
	}
	page := request(t, "GET / HTTP/1.1\nHost: a\nOrigin: http://p")
	_, _, first := a[0].Fault.Abort(0)
	_, _, second := a[1].Fault.Abort(0)
	if first || !second || a[0].CORS.Concerns(page) {
		t.Error("what is further in does not hold")
	}
	cfg.Common.CORS = nil
	if a := New(cfg, outer, none).Actions(); !a[0].CORS.Concerns(page) {
		t.Error("what is around does not hold")
	}
	last := *outer
	last.InnerLast = true
	if got := values(New(cfg, &last, none).Actions()[0].Backends[0].RequestHeaders); got != "config host rule backend" {
		t.Errorf("inner last: %s", got)
	}
}

func TestRetryHeaders(t *testing.T) {
	c := &Retry{
		Headers:        []HeaderMatch{{Name: "x-again", ValueMatch: ValueMatch{Kind: ValueExact, Value: "yes"}}},
		RequestHeaders: []HeaderMatch{{Name: ":method", ValueMatch: ValueMatch{Kind: ValueExact, Value: "GET"}}},
	}
	r := New(&Config{Rules: []Rule{{Retry: c}}}, nil, none).Actions()[0].Retry
	if !r.Repeats(request(t, "GET / HTTP/1.1\nHost: a")) || r.Repeats(request(t, "POST / HTTP/1.1\nHost: a\nContent-Length: 0")) {
		t.Error("the request's headers are not looked at")
	}
	field := func(v string) []http1.Header { return []http1.Header{{Name: []byte("X-Again"), Value: []byte(v)}} }
	if !r.HasHeader(field("yes")) || r.HasHeader(field("no")) || r.HasHeader(nil) {
		t.Error("the answer's headers are not looked at")
	}
	if !(&Retry{}).Repeats(request(t, "GET / HTTP/1.1\nHost: a")) {
		t.Error("without such headers any request is tried again")
	}
	bad := &Config{Rules: []Rule{{Retry: &Retry{Headers: []HeaderMatch{{}}, RequestHeaders: []HeaderMatch{{}}}}}}
	for _, want := range []string{"retry_policy.retriable_headers[0].name", "retriable_request_headers[0].name"} {
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	on, _, err := ParseRetryOn("retriable-headers, envoy-ratelimited,http3-post-connect-failure")
	if err != nil || on != OnHeaders|OnRateLimited {
		t.Error(on, err)
	}
}

func TestValidateActions(t *testing.T) {
	bad := []filter.Edit{{Op: filter.Set, Name: "host", Value: "x"}}
	cfg := &Config{
		Common: Common{RequestHeaders: bad, Fault: &filter.Fault{AbortStatus: 1}, CORS: &CORS{Origins: []ValueMatch{{Kind: ValueRegex, Value: "("}}}},
		Rules: []Rule{
			{
				Redirect: &filter.RedirectConfig{Status: 200}, Direct: &Direct{Status: 99}, Backends: []WeightedCluster{{Cluster: "a", Host: "a b", RequestHeaders: bad}},
				ResponseHeaders: bad, Path: &filter.PathConfig{Kind: 9}, Host: " ", Mirrors: []MirrorConfig{{Fraction: Million + 1}},
				IdleTimeout: -5, ResponseTimeout: -1, MaxStream: -1,
			},
			{IdleTimeout: NoTimeout},
		},
	}
	err := cfg.Validate()
	for _, want := range []string{
		`request_headers[0] "host"`, "fault.abort.http_status 1", "cors.allow_origin_string_match[0]", "routes[0]: has two of",
		"routes[0].redirect.response_code 200", "routes[0].direct_response.status 99", `routes[0].backends[0].host_rewrite_literal "a b"`,
		`routes[0].backends[0].request_headers[0] "host"`, `routes[0].response_headers[0] "host"`, "routes[0].path_rewrite: kind 9", `routes[0].host_rewrite " "`,
		"routes[0].request_mirror_policies[0]", "routes[0].idle_timeout -5ns", "routes[0].response_timeout -1ns", "routes[0].max_stream_duration -1ns",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not say %q", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "routes[1]") {
		t.Errorf("a timeout that is switched off is wrong: %v", err)
	}
}

func TestClustersOnce(t *testing.T) {
	cfg := &Config{Rules: []Rule{
		{Backends: []WeightedCluster{{Cluster: "b"}, {Cluster: "a"}}, Mirrors: []MirrorConfig{{Cluster: "m"}}}, {Backends: []WeightedCluster{{Cluster: "a"}}},
	}}
	if diff := cmp.Diff([]string{"b", "a", "m"}, cfg.Clusters()); diff != "" {
		t.Error(diff)
	}
}
