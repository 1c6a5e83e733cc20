package filter

import (
	"strings"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

func letIn(origin []byte) bool { return string(origin) == "https://good.example" }

func TestPreflight(t *testing.T) {
	all := CORSConfig{Methods: "GET,PUT", Headers: "x-a,x-b", Expose: "x-c", MaxAge: "60", PrivateNetwork: true}
	wild := CORSConfig{Methods: "*", Headers: "*", Credentials: true}
	const ask = "OPTIONS / HTTP/1.1\nHost: a\nOrigin: https://good.example\nAccess-Control-Request-Method: PUT"
	const allowed = "vary: origin\naccess-control-allow-origin: https://good.example\n"
	for _, tt := range []struct {
		name     string
		c        CORSConfig
		head     string
		answered bool
		want     string
	}{
		{"all", all, ask, true, allowed + "access-control-allow-methods: GET,PUT\naccess-control-allow-headers: x-a,x-b\naccess-control-max-age: 60\n"},
		{
			"private network", all, ask + "\nAccess-Control-Request-Private-Network: true", true,
			allowed + "access-control-allow-methods: GET,PUT\naccess-control-allow-headers: x-a,x-b\naccess-control-max-age: 60\naccess-control-allow-private-network: true\n",
		},
		{"nothing said", CORSConfig{}, ask, true, allowed},
		{
			"any, with credentials", wild, ask + "\nAccess-Control-Request-Headers: x-z, x-y", true,
			allowed + "access-control-allow-credentials: true\naccess-control-allow-methods: PUT\naccess-control-allow-headers: x-z, x-y\n",
		},
		{"any, with credentials, no headers", wild, ask, true, allowed + "access-control-allow-credentials: true\naccess-control-allow-methods: PUT\n"},
		{"any, without", CORSConfig{Methods: "*", Headers: "*"}, ask, true, allowed + "access-control-allow-methods: *\naccess-control-allow-headers: *\n"},
		{"other origin", all, strings.Replace(ask, "good", "bad", 1), true, ""},
		{"other origin, forwarded", CORSConfig{ForwardPreflights: true}, strings.Replace(ask, "good", "bad", 1), false, ""},
		{"no origin", all, strings.Replace(ask, "Origin", "X", 1), false, ""},
		{"no preflight", all, strings.Replace(ask, "Access-Control", "X", 1), false, ""},
		{"other method", all, strings.Replace(ask, "OPTIONS", "PUT", 1), false, ""},
	} {
		if err := tt.c.Validate("cors"); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		got, answered := NewCORS(tt.c, letIn).Preflight(nil, request(t, tt.head))
		if answered != tt.answered || lines(got) != tt.want {
			t.Errorf("%s: %v\n%swant %v\n%s", tt.name, answered, lines(got), tt.answered, tt.want)
		}
	}
}

func TestCORSAnswer(t *testing.T) {
	c := NewCORS(CORSConfig{Expose: "x-c", Credentials: true}, letIn)
	const page = "GET / HTTP/1.1\nHost: a\nOrigin: https://good.example"
	for _, tt := range []struct{ name, head, in, want string }{
		{
			"replaced", page, "Access-Control-Allow-Origin: *\nx: y\naccess-control-expose-headers: z\naccess-control-allow-credentials: false\n",
			"x: y\nvary: origin\naccess-control-allow-origin: https://good.example\naccess-control-allow-credentials: true\naccess-control-expose-headers: x-c\n",
		},
		{
			"varies already", page, "Vary: accept, Origin\n",
			"Vary: accept, Origin\naccess-control-allow-origin: https://good.example\naccess-control-allow-credentials: true\naccess-control-expose-headers: x-c\n",
		},
		{"other origin", strings.Replace(page, "good", "bad", 1), "x: y\n", "x: y\n"},
		{"no page", strings.Replace(page, "Origin", "X", 1), "access-control-allow-origin: *\n", "access-control-allow-origin: *\n"},
	} {
		r := request(t, tt.head)
		if got := lines(c.Answer(nil, fields(tt.in), r)); got != tt.want {
			t.Errorf("%s:\n%swant\n%s", tt.name, got, tt.want)
		}
		if c.Concerns(r) != (tt.in != tt.want) {
			t.Errorf("%s: Concerns says %v", tt.name, c.Concerns(r))
		}
	}
	var none *CORS
	if _, answered := none.Preflight(nil, request(t, page)); answered || none.Concerns(request(t, page)) {
		t.Error("a policy that is not there does something")
	}
	if c := NewCORS(CORSConfig{Expose: "*", Credentials: true}, letIn); strings.Contains(lines(c.Answer(nil, nil, request(t, page))), "expose") {
		t.Error("a browser would take * for a name")
	}
	if err := (&CORSConfig{MaxAge: "1h", Methods: "a\nb"}).Validate("cors"); err == nil ||
		!strings.Contains(err.Error(), `max_age "1h"`) || !strings.Contains(err.Error(), "allow_methods") {
		t.Error(err)
	}
}

func TestCORSDoesNotAllocate(t *testing.T) {
	c := NewCORS(CORSConfig{Methods: "GET", Credentials: true}, letIn)
	r := request(t, "GET / HTTP/1.1\nHost: a\nOrigin: https://good.example")
	src, dst := fields("x: y\n"), make([]http1.Header, 0, 10)
	if n := testing.AllocsPerRun(100, func() {
		dst, _ = c.Preflight(dst[:0], r)
		dst = c.Answer(dst[:0], src, r)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestFault(t *testing.T) {
	f := &Fault{Delay: time.Second, DelayShare: Every / 4, AbortStatus: 503, AbortShare: Every}
	if err := f.Validate("fault"); err != nil {
		t.Error(err)
	}
	if f.DelayOf(1<<30-1) != time.Second || f.DelayOf(1<<30) != 0 {
		t.Error("a quarter is not a quarter")
	}
	if status, _, ok := f.Abort(1<<32 - 1); !ok || status != 503 {
		t.Error("not all are answered")
	}
	if _, _, ok := (&Fault{AbortStatus: 500}).Abort(0); ok {
		t.Error("none is some")
	}
	var none *Fault
	if _, _, ok := none.Abort(0); ok || none.DelayOf(0) != 0 {
		t.Error("a fault that is not there does something")
	}
	bad := &Fault{DelayShare: 1, AbortStatus: 600, AbortGRPC: 17, AbortShare: Every + 1}
	for _, want := range []string{"fixed_delay 0s", "http_status 600", "grpc_status 17", "at most 100%"} {
		if err := bad.Validate("fault"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}
