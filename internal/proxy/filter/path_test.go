package filter

import (
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

func TestPath(t *testing.T) {
	segments := func(matched, value string) PathConfig {
		return PathConfig{Kind: ReplaceSegments, Matched: matched, Value: value}
	}
	text := func(matched, value string) PathConfig {
		return PathConfig{Kind: ReplaceText, Matched: matched, Value: value}
	}
	full := func(value string) PathConfig { return PathConfig{Kind: ReplaceFull, Value: value} }
	regex := func(pattern, value string) PathConfig {
		return PathConfig{Kind: ReplaceRegex, Pattern: pattern, Value: value}
	}
	for _, tt := range []struct {
		c        PathConfig
		in, want string
	}{
		// The table of Gateway API's ReplacePrefixMatch.
		{segments("/foo", "/xyz"), "/foo/bar", "/xyz/bar"},
		{segments("/foo", "/xyz/"), "/foo/bar", "/xyz/bar"},
		{segments("/foo/", "/xyz"), "/foo/bar", "/xyz/bar"},
		{segments("/foo/", "/xyz/"), "/foo/bar", "/xyz/bar"},
		{segments("/foo", "/xyz"), "/foo", "/xyz"},
		{segments("/foo/", "/xyz"), "/foo/", "/xyz/"},
		{segments("/foo", ""), "/foo/bar", "/bar"},
		{segments("/foo/", ""), "/foo/bar", "/bar"},
		{segments("/foo", ""), "/foo", "/"},
		{segments("/foo", ""), "/foo/", "/"},
		{segments("/foo", "/"), "/foo", "/"},
		{segments("/foo", "/"), "/foo/", "/"},
		{segments("/foo", "/"), "/foo/bar?a=b", "/bar?a=b"},
		{segments("/", "/xyz"), "/foo", "/xyz/foo"},
		{text("/foo", "/bar"), "/foobar", "/barbar"},
		{text("/foo/", "/"), "/foo/x", "/x"},
		{text("/foo", "/"), "/foo/x", "//x"}, // as Envoy has it
		{text("/foo", "x"), "/foo", "/x"},
		{text("/", "/xyz/"), "/foo?q", "/xyz/foo?q"},
		{full("/new"), "/a/b?c=d", "/new?c=d"},
		{full("/new?x=y"), "/a/b?c=d", "/new?x=y"},
		{full("new"), "/a", "/new"},
		{regex(`^/service/([^/]+)(/.*)$`, `\2/instance/\1`), "/service/foo/v1/api?q=1", "/v1/api/instance/foo?q=1"},
		{regex("one", "two"), "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz"},
		{regex(`(?i)/xxx/`, "/yyy/"), "/aaa/XxX/bbb", "/aaa/yyy/bbb"},
		{regex(`^/foo/*`, "/"), "/foo", "/"},
		{regex(`^/foo/*`, "/"), "/foo/bar", "/bar"},
		{regex(`^.*$`, "/all"), "/foo/bar?q", "/all?q"},
		{regex(`^.*$`, `\0/x`), "/foo", "/foo/x"},
		{regex(`.*`, `/y`), "/foo", "/y"},
		{regex(`nothing`, `/y`), "/foo", "/foo"},
		{regex(`(/a)|(/b)`, `\1x\2`), "/b", "/x/b"},
		{regex(`^/a`, `\\`), "/a", ""},
		{regex(`(%)2F`, `\1`), "/a%2F", ""},
	} {
		if err := tt.c.Validate("path"); err != nil {
			t.Errorf("%+v: %v", tt.c, err)
			continue
		}
		got, ok := NewPath(&tt.c).Append([]byte("before "), []byte(tt.in))
		if ok != (tt.want != "") || ok && string(got) != "before "+tt.want {
			t.Errorf("%+v on %s: %q %v, want %q", tt.c, tt.in, got, ok, tt.want)
		}
	}
	if NewPath(nil) != nil {
		t.Error("a rewrite of nothing")
	}
}

func TestPathRefused(t *testing.T) {
	for _, tt := range []struct {
		c    PathConfig
		want string
	}{
		{PathConfig{Kind: ReplaceRegex, Pattern: "("}, "missing closing"},
		{PathConfig{Kind: ReplaceRegex, Pattern: "a", Value: `\1`}, "0 groups"},
		{PathConfig{Kind: ReplaceRegex, Pattern: "a", Value: `\x`}, `\x`},
		{PathConfig{Kind: ReplaceRegex, Pattern: "a", Value: `\`}, "backslash"},
		{PathConfig{Kind: ReplaceFull, Value: "/a b"}, "is no path"},
		{PathConfig{Kind: ReplaceText, Value: "/a?b"}, "is no path"},
		{PathConfig{Kind: 7}, "kind 7"},
	} {
		if err := tt.c.Validate("path_rewrite"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.c, err, tt.want)
		}
	}
	for _, host := range []string{"", "a b", "u@a", "a:x"} {
		if ValidHost("host", host) == nil {
			t.Errorf("host %q is taken", host)
		}
	}
}

func TestRedirect(t *testing.T) {
	for _, tt := range []struct {
		c            RedirectConfig
		scheme, host string
		want         string
	}{
		{RedirectConfig{Host: "example.org"}, "http", "a", "http://example.org/p/x?q=1"},
		{RedirectConfig{Host: "example.org"}, "http", "a:8080", "http://example.org/p/x?q=1"},
		{RedirectConfig{Scheme: "https"}, "http", "a", "https://a/p/x?q=1"},
		{RedirectConfig{Scheme: "https"}, "http", "a:80", "https://a/p/x?q=1"},
		{RedirectConfig{Scheme: "https"}, "http", "a:8080", "https://a:8080/p/x?q=1"},
		{RedirectConfig{Scheme: "https", Port: 443}, "http", "a:8080", "https://a/p/x?q=1"},
		{RedirectConfig{Scheme: "https", Port: 8443}, "http", "a", "https://a:8443/p/x?q=1"},
		{RedirectConfig{Port: 80}, "http", "a:8080", "http://a/p/x?q=1"},
		{RedirectConfig{Port: 8080}, "https", "[::1]", "https://[::1]:8080/p/x?q=1"},
		{RedirectConfig{Path: &PathConfig{Kind: ReplaceFull, Value: "/n"}}, "http", "a:80", "http://a:80/n?q=1"},
		{RedirectConfig{Path: &PathConfig{Kind: ReplaceSegments, Matched: "/p", Value: "/"}, StripQuery: true}, "http", "a", "http://a/x"},
		{RedirectConfig{StripQuery: true}, "http", "a", "http://a/p/x"},
	} {
		tt.c.Status = 302
		if err := tt.c.Validate("redirect"); err != nil {
			t.Errorf("%+v: %v", tt.c, err)
		}
		r := NewRedirect(&tt.c)
		got, ok := r.AppendLocation(nil, tt.scheme, request(t, "GET /p/x?q=1 HTTP/1.1\nHost: "+tt.host))
		if !ok || string(got) != tt.want || r.Status() != 302 {
			t.Errorf("%+v from %s://%s: %q, want %q", tt.c, tt.scheme, tt.host, got, tt.want)
		}
	}
	bad := RedirectConfig{Status: 200, Scheme: "a b", Host: "a b", Path: &PathConfig{Value: "/ "}}
	for _, want := range []string{"response_code 200", `scheme_redirect "a b"`, `host_redirect "a b"`, "is no path"} {
		if err := bad.Validate("redirect"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if NewRedirect(nil) != nil {
		t.Error("a redirect of nothing")
	}
}

func FuzzPath(f *testing.F) {
	f.Add(byte(3), "^/a(.*)", `/b\1`, "/a", "/a/b?c")
	f.Add(byte(2), "", "/b/", "/a", "/a/b")
	f.Fuzz(func(t *testing.T, kind byte, pattern, value, matched, path string) {
		c := &PathConfig{Kind: PathKind(kind % 4), Pattern: pattern, Value: value, Matched: matched}
		if c.Validate("p") != nil || !http1.ValidPath([]byte(path)) {
			return
		}
		got, ok := NewPath(c).Append(nil, []byte(path))
		if ok != http1.ValidPath(got) {
			t.Errorf("%+v makes %q of %q, and says %v", c, got, path, ok)
		}
		_, before, _ := strings.Cut(path, "?")
		if _, after, _ := strings.Cut(string(got), "?"); ok && before != after && c.Kind != ReplaceFull && !strings.Contains(value, "?") {
			t.Errorf("%+v changes the query of %q: %q", c, path, got)
		}
	})
}
