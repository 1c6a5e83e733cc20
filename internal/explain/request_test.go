package explain

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

func TestParseRequest(t *testing.T) {
	grpc := []Header{{"content-type", "application/grpc"}, {"te", "trailers"}}
	for _, tt := range []struct {
		line    string
		headers []string
		want    Request
	}{
		{"GET http://bb:8080/x?y=1", nil, Request{Method: "GET", Scheme: "http", Authority: "bb:8080", Path: "/x?y=1"}},
		{"post https://bb/x%20y?", []string{"X-User:  alice ", "a:b:c"}, Request{
			Method: "post", Scheme: "https", Authority: "bb", Path: "/x%20y?", Headers: []Header{{"X-User", "alice"}, {"a", "b:c"}},
		}},
		{"bb.demo", nil, Request{Method: "GET", Scheme: "http", Authority: "bb.demo", Path: "/"}},
		{"bb:8080/a", nil, Request{Method: "GET", Scheme: "http", Authority: "bb:8080", Path: "/a"}},
		{"[::1]:80/a", nil, Request{Method: "GET", Scheme: "http", Authority: "[::1]:80", Path: "/a"}},
		{"/a", []string{"Host: bb"}, Request{Method: "GET", Scheme: "http", Authority: "bb", Path: "/a"}},
		{"PUT http://other/a", []string{":authority: bb:80"}, Request{Method: "PUT", Scheme: "http", Authority: "bb:80", Path: "/a"}},
		{"grpc://bb:9000/shop.v1.Cart/Get", nil, Request{Method: "POST", Scheme: "http", Authority: "bb:9000", Path: "/shop.v1.Cart/Get", GRPC: true, Headers: grpc}},
		{"shop.v1.Cart/Get", []string{"host: bb:9000", "TE: trailers"}, Request{
			Method: "POST", Scheme: "http", Authority: "bb:9000", Path: "/shop.v1.Cart/Get", GRPC: true, Headers: []Header{{"TE", "trailers"}, grpc[0]},
		}},
	} {
		got, err := ParseRequest(tt.line, tt.headers)
		if err != nil {
			t.Errorf("%s: %v", tt.line, err)
			continue
		}
		if diff := cmp.Diff(&tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.line, diff)
		}
	}
}

func TestParseRequestRefuses(t *testing.T) {
	for _, tt := range []struct {
		line   string
		header string
		want   string
	}{
		{"", "", "write a method and a URL"},
		{"GET http://bb HTTP/1.1", "", "write a method and a URL"},
		{"G@T http://bb", "", `"G@T" is no method`},
		{"ftp://bb", "", `scheme "ftp"`},
		{"/a", "", "names no host"},
		{"http://user@bb%/", "", "is no URL"},
		{"http://bb/%zz", "", "is no URL"},
		{"http://b_b:x/", "", "is no URL"},
		{"bb", "x", `header "x": write it as 'name: value'`},
		{"bb", "a b: c", `header "a b: c"`},
		{"bb", "Host: a b", `host "a b"`},
		{"shop.v1.Cart/Get", "", "say of which host"},
	} {
		var headers []string
		if tt.header != "" {
			headers = []string{tt.header}
		}
		if r, err := ParseRequest(tt.line, headers); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q, %q: %+v, %v; want %q", tt.line, tt.header, r, err, tt.want)
		}
	}
}

// What is taken can be written and read again, and is a request that a proxy
// reads.
func FuzzParseRequest(f *testing.F) {
	f.Add("GET http://bb:8080/x?y=1", "a: b")
	f.Add("shop.v1.Cart/Get", "Host: bb")
	f.Add("grpc://bb/x", ":authority: c")
	f.Fuzz(func(t *testing.T, line, header string) {
		r, err := ParseRequest(line, []string{header})
		if err != nil {
			return
		}
		head := r.Method + " " + r.Path + " HTTP/1.1\r\nHost: " + r.Authority + "\r\n\r\n"
		if _, err := new(http1.Request).Parse([]byte(head), nil); err != nil && r.Method != "CONNECT" {
			t.Errorf("%q, %q becomes %q, which a proxy refuses: %v", line, header, head, err)
		}
		again, err := ParseRequest(r.Method+" "+r.Scheme+"://"+r.Authority+r.Path, nil)
		if err != nil || again.Path != r.Path || again.Authority != r.Authority || again.Method != r.Method {
			t.Errorf("%q becomes %+v, and that %+v (%v)", line, r, again, err)
		}
	})
}
