package filter

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

func TestHeaders(t *testing.T) {
	const in = "X-One: 1\nX-Two: a\nx-two: b\nCookie: c\n"
	for _, tt := range []struct {
		name  string
		lists [][]Edit
		want  string
	}{
		{"nothing", nil, in},
		{"remove", [][]Edit{{{Op: Remove, Name: "x-Two"}}}, "X-One: 1\nCookie: c\n"},
		{"remove what is not there", [][]Edit{{{Op: Remove, Name: "x-three"}}}, in},
		{"set at the first place", [][]Edit{{{Op: Set, Name: "X-TWO", Value: "z"}}}, "X-One: 1\nx-two: z\nCookie: c\n"},
		{"set a new one", [][]Edit{{{Op: Set, Name: "x-new", Value: "z"}}}, in + "x-new: z\n"},
		{"add", [][]Edit{{{Op: Add, Name: "X-One", Value: "2"}}}, in + "x-one: 2\n"},
		{"add if absent", [][]Edit{{{Op: AddIfAbsent, Name: "x-one", Value: "2"}, {Op: AddIfAbsent, Name: "x-new", Value: "3"}}}, in + "x-new: 3\n"},
		{"set if present", [][]Edit{{{Op: SetIfPresent, Name: "x-one", Value: "2"}, {Op: SetIfPresent, Name: "x-new", Value: "3"}}}, "x-one: 2\nX-Two: a\nx-two: b\nCookie: c\n"},
		{"removals come first", [][]Edit{{{Op: Add, Name: "x-one", Value: "2"}, {Op: Remove, Name: "x-one"}}}, "X-Two: a\nx-two: b\nCookie: c\nx-one: 2\n"},
		{"lists one after the other", [][]Edit{{{Op: Set, Name: "x-new", Value: "1"}}, {{Op: Remove, Name: "x-new"}}, {{Op: Add, Name: "x-new", Value: "3"}}}, in + "x-new: 3\n"},
		{"what is set in the same list", [][]Edit{{{Op: Add, Name: "x-a", Value: "1"}, {Op: Set, Name: "x-a", Value: "2"}}}, in + "x-a: 2\n"},
		{"empty", [][]Edit{{{Op: Set, Name: "x-one", Value: ""}, {Op: Add, Name: "x-a", Value: "", KeepEmpty: true}}}, in + "x-a: \n"},
		{"empty variable", [][]Edit{{{Op: Set, Name: "x-one", Value: "%REQ(x-none)%"}}}, in},
		{"percent", [][]Edit{{{Op: Add, Name: "x-a", Value: "100%% of %%"}}}, in + "x-a: 100% of %\n"},
	} {
		for _, edits := range tt.lists {
			if err := ValidateEdits("x", edits, OfRequest); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		src := fields(in)
		var arena []byte
		got := NewHeaders(OfRequest, tt.lists...).Apply(nil, &arena, src, &Vars{Request: request(t, "GET / HTTP/1.1\nHost: a")})
		if lines(got) != tt.want {
			t.Errorf("%s:\n%swant\n%s", tt.name, lines(got), tt.want)
		}
		if lines(src) != in {
			t.Errorf("%s: the source was changed:\n%s", tt.name, lines(src))
		}
	}
}

// What was there before in the space that is appended to is nobody's header.
func TestHeadersAppend(t *testing.T) {
	h := NewHeaders(OfRequest, []Edit{{Op: Set, Name: "x-one", Value: "2"}, {Op: Remove, Name: "x-two"}})
	before := fields("x-one: before\nx-two: before\n")
	var arena []byte
	if got := lines(h.Apply(before, &arena, fields("x-one: 1\n"), nil)); got != "x-one: before\nx-two: before\nx-one: 2\n" {
		t.Error(got)
	}
}

func TestVariables(t *testing.T) {
	v := &Vars{
		Request:  request(t, "POST /p?q=1 HTTP/1.1\nHost: a.b:80\nX-User: alice\nX-Sp:  x y"),
		Protocol: "HTTP/1.1", Remote: netip.MustParseAddrPort("[::ffff:10.0.0.1]:1234"), Local: netip.MustParseAddrPort("[fd00::1]:4140"),
		Start: time.Date(2026, 11, 22, 4, 5, 6, 78_900_000, time.FixedZone("x", 3600)), Route: "r1", Cluster: "outbound|80||a",
		Upstream: "10.0.0.2:80", Status: 503, Answer: fields("Server: app\n"),
	}
	for format, want := range map[string]string{
		"%DOWNSTREAM_REMOTE_ADDRESS%":                                "10.0.0.1:1234",
		"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%":                   "10.0.0.1",
		"%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%":            "10.0.0.1",
		"%DOWNSTREAM_REMOTE_PORT%":                                   "1234",
		"%DOWNSTREAM_LOCAL_ADDRESS%":                                 "[fd00::1]:4140",
		"%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%":                    "fd00::1",
		"%DOWNSTREAM_LOCAL_PORT%":                                    "4140",
		"a %PROTOCOL% b":                                             "a HTTP/1.1 b",
		"%START_TIME%":                                               "2026-11-22T03:05:06.078Z",
		"%ROUTE_NAME%|%UPSTREAM_CLUSTER%":                            "r1|outbound|80||a",
		"%REQ(X-USER)%":                                              "alice",
		"%REQ(x-user):3%":                                            "ali",
		"%REQ(x-none?X-User)%":                                       "alice",
		"%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %REQ(:METHOD)%":          "/p?q=1 POST",
		"%REQ(:AUTHORITY)%":                                          "a.b:80",
		"%REQ(x-none)% and":                                          "and",
		"%RESPONSE_CODE% %RESP(server)% %UPSTREAM_HOST%":             "503 app 10.0.0.2:80",
		"%REQ(x-user)%%%%REQ(x-user):2%":                             "alice%al",
		"%UPSTREAM_REMOTE_ADDRESS%%RESP(x-none?SERVER)%%PROTOCOL%%%": "10.0.0.2:80appHTTP/1.1%",
	} {
		edits := []Edit{{Op: Add, Name: "x", Value: format}}
		if err := ValidateEdits("x", edits, OfAnswer); err != nil {
			t.Error(err)
			continue
		}
		var arena []byte
		h := NewHeaders(OfAnswer, edits)
		if got := lines(h.Apply(nil, &arena, nil, v)); got != "x: "+want+"\n" || !h.NeedsVars() {
			t.Errorf("%s: %q, want %q", format, got, want)
		}
		if got := lines(h.Apply(nil, &arena, nil, &Vars{})); strings.Contains(got, "\x00") { // nothing is known
			t.Errorf("%s: %q", format, got)
		}
	}
}

func TestEditsRefused(t *testing.T) {
	for _, tt := range []struct {
		e    Edit
		want string
	}{
		{Edit{Op: Set, Name: ":path", Value: "x"}, "pseudo-fields"},
		{Edit{Op: Remove, Name: "Host"}, "host rewrite"},
		{Edit{Op: Add, Name: "Transfer-Encoding", Value: "x"}, "framing"},
		{Edit{Op: Remove, Name: "content-length"}, "framing"},
		{Edit{Op: Remove, Name: "Connection"}, "one connection"},
		{Edit{Op: Set, Name: "TE", Value: "x"}, "one connection"},
		{Edit{Op: Set, Name: "a b", Value: "x"}, "no header name"},
		{Edit{Op: Set, Name: "", Value: "x"}, "no header name"},
		{Edit{Op: 9, Name: "x", Value: "x"}, "operation 9"},
		{Edit{Op: Set, Name: "x", Value: "a\r\nb"}, "control characters"},
		{Edit{Op: Set, Name: "x", Value: " a"}, "white space"},
		{Edit{Op: Set, Name: "x", Value: "100%"}, `"%%"`},
		{Edit{Op: Set, Name: "x", Value: "%HOSTNAME%"}, "%HOSTNAME% is not supported"},
		{Edit{Op: Set, Name: "x", Value: "%START_TIME(%s)%"}, "not supported"},
		{Edit{Op: Set, Name: "x", Value: "%RESPONSE_CODE%"}, "in answers only"},
		{Edit{Op: Set, Name: "x", Value: "%RESP(x)%"}, "in answers only"},
		{Edit{Op: Set, Name: "x", Value: "%REQ()%"}, "must be REQ(NAME)"},
		{Edit{Op: Set, Name: "x", Value: "%REQ(a b)%"}, "no header name"},
		{Edit{Op: Set, Name: "x", Value: "%REQ(:scheme)%"}, "no header name"},
		{Edit{Op: Set, Name: "x", Value: "%REQ(a):0%"}, "no length"},
		{Edit{Op: Set, Name: "x", Value: "%REQ(a)x%"}, "no length"},
	} {
		err := ValidateEdits("request_headers_to_add", []Edit{tt.e}, OfRequest)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "request_headers_to_add[0]") {
			t.Errorf("%+v: %v, want %q", tt.e, err, tt.want)
		}
	}
}

func TestEditsDoNotAllocate(t *testing.T) {
	h := NewHeaders(OfRequest, []Edit{{Op: Remove, Name: "x-one"}, {Op: Set, Name: "x-two", Value: "%REQ(x-user)% %PROTOCOL%"}, {Op: Add, Name: "x-c", Value: "c"}})
	v := &Vars{Request: request(t, "GET / HTTP/1.1\nHost: a\nX-User: alice"), Protocol: "HTTP/2"}
	src := fields("x-one: 1\nx-two: 2\n")
	dst, arena := make([]http1.Header, 0, 10), make([]byte, 0, 100)
	if n := testing.AllocsPerRun(100, func() {
		arena = arena[:0]
		dst = h.Apply(dst[:0], &arena, src, v)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got := lines(dst); got != "x-two: alice HTTP/2\nx-c: c\n" {
		t.Error(got)
	}
}

func FuzzFormat(f *testing.F) {
	f.Add("%REQ(a?b):3% %% x%PROTOCOL%")
	f.Add("%%REQ(a)%")
	f.Add("%RESP(:path)")
	r := request(f, "GET /p HTTP/1.1\nHost: a\nA: b")
	f.Fuzz(func(t *testing.T, text string) {
		edits := []Edit{{Op: Set, Name: "x", Value: text, KeepEmpty: true}}
		if ValidateEdits("x", edits, OfAnswer) != nil {
			return
		}
		var arena []byte
		got := NewHeaders(OfAnswer, edits).Apply(nil, &arena, nil, &Vars{Request: r, Protocol: "HTTP/1.1"})
		if len(got) != 1 || !http1.ValidValue(got[0].Value) {
			t.Errorf("%q becomes %q", text, lines(got))
		}
		if !strings.Contains(text, "%") && string(got[0].Value) != text {
			t.Errorf("%q becomes %q", text, got[0].Value)
		}
	})
}
