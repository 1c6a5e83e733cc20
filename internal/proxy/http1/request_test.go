package http1

import (
	"errors"
	"fmt"
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/http1/http1test"
)

// A request of each target form is read as RFC 9112 section 3.2 has it.
func TestRequestForms(t *testing.T) {
	for _, c := range []struct{ head, method, host, path string }{
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "a", "/"},
		{"\r\nGET /x?y=%zz|{} HTTP/1.1\r\nHost:a:8080\r\n\r\n", "GET", "a:8080", "/x?y=%zz|{}"},
		{"GET /a%2Fb HTTP/1.1\r\nHost:\ta\t \r\n\r\n", "GET", "a", "/a%2Fb"},
		{"get // HTTP/1.1\r\nHost: a\r\n\r\n", "get", "a", "//"},
		{"GET http://A.b/c HTTP/1.1\r\nHost: a.b:80 \r\n\r\n", "GET", "A.b", "/c"},
		{"GET hTTp://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "a", "/"},
		{"GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "a", "/?q"},
		{"GET http://a/ HTTP/1.0\r\n\r\n", "GET", "a", "/"},
		{"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS", "a", "*"},
		{"OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS", "a", "/"},
		{"OPTIONS http://a?q HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS", "a", "/?q"},
		{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS", "a", "*"},
		{"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "CONNECT", "a:443", ""},
		{"CONNECT a:443 HTTP/1.1\r\nHost: A\r\n\r\n", "CONNECT", "a:443", ""},
		{"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET", "[::1]:80", "/"},
		{"GET / HTTP/1.1\r\nHost: bb_1.ns.svc.cluster.local.\r\n\r\n", "GET", "bb_1.ns.svc.cluster.local.", "/"},
		{"GET / HTTP/1.0\r\n\r\n", "GET", "", "/"},
	} {
		var r Request
		n, err := r.Parse([]byte(c.head), nil)
		if err != nil || n != len(c.head) {
			t.Errorf("%q: n=%d err=%v", c.head, n, err)
			continue
		}
		if string(r.Method) != c.method || string(r.Host) != c.host || string(r.Path) != c.path {
			t.Errorf("%q: method %q host %q path %q", c.head, r.Method, r.Host, r.Path)
		}
	}
}

func TestRequestRefused(t *testing.T) {
	for _, c := range http1test.Requests() {
		t.Run(c.Rule, func(t *testing.T) {
			var r Request
			_, err := r.Parse([]byte(c.Bytes), nil)
			var pe *ParseError
			if !errors.As(err, &pe) || pe.Reason != c.Reason {
				t.Fatalf("%.200q: %v, want %s", c.Bytes, err, c.Reason)
			}
		})
	}
}

// Each way to frame a request is read as RFC 9112 section 6.3 has it.
func TestRequestBody(t *testing.T) {
	for _, c := range []struct {
		fields string
		want   Body
	}{
		{"", Body{}},
		{"Content-Length: 0\r\n", Body{}},
		{"Content-Length: 12\r\n", Body{BodyLength, 12}},
		{"content-length:0012 \r\n", Body{BodyLength, 12}},
		{"Content-Length: 9223372036854775807\r\n", Body{BodyLength, 1<<63 - 1}},
		{"Transfer-Encoding: chunked\r\n", Body{BodyChunked, 0}},
		{"TRANSFER-ENCODING:\tCHUNKED\r\n", Body{BodyChunked, 0}},
		{"Connection: content-length\r\nContent-Length: 3\r\n", Body{BodyLength, 3}},
	} {
		var r Request
		if _, err := r.Parse([]byte("POST / HTTP/1.1\r\nHost: a\r\n"+c.fields+"\r\n"), nil); err != nil || r.Body != c.want {
			t.Errorf("%q: %v %v", c.fields, r.Body, err)
		}
	}
}

// What a request says about its connection (RFC 9112 section 9.3, RFC 9110
// sections 7.6.1, 7.8, 10.1.1).
func TestRequestConnection(t *testing.T) {
	for _, c := range []struct {
		minor              int
		fields             string
		keepAlive, expects bool
		upgrade            string
	}{
		{1, "", true, false, ""},
		{1, "Connection: close\r\n", false, false, ""},
		{1, "Connection: foo,, CLOSE ,\r\n", false, false, ""},
		{1, "Connection: keep-alive\r\nConnection: close\r\n", false, false, ""},
		{1, "Connection: closer\r\n", true, false, ""},
		{0, "", false, false, ""},
		{0, "Connection: Keep-Alive\r\n", true, false, ""},
		{0, "Connection: keep-alive, close\r\n", false, false, ""},
		{0, "Proxy-Connection: keep-alive\r\n", false, false, ""},
		{1, "Expect: 100-Continue\r\nContent-Length: 1\r\n", true, true, ""},
		{1, "Expect: 100-continue\r\n", true, false, ""},
		{1, "Expect: 200-ok\r\nContent-Length: 1\r\n", true, false, ""},
		{0, "Expect: 100-continue\r\nContent-Length: 1\r\n", false, false, ""},
		{1, "Connection: Upgrade\r\nUpgrade: websocket\r\n", true, false, "websocket"},
		{1, "Upgrade: websocket\r\n", true, false, ""},
		{1, "Connection: upgrade\r\n", true, false, ""},
		{0, "Connection: upgrade\r\nUpgrade: websocket\r\n", false, false, ""},
		{1, "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n", true, false, ""},
		{1, "Connection: Upgrade\r\nUpgrade: foo/1, H2C\r\n", true, false, ""},
	} {
		var r Request
		head := fmt.Sprintf("POST / HTTP/1.%d\r\nHost: a\r\n%s\r\n", c.minor, c.fields)
		if _, err := r.Parse([]byte(head), nil); err != nil {
			t.Errorf("%q: %v", head, err)
			continue
		}
		if r.KeepAlive != c.keepAlive || r.Expect100 != c.expects || string(r.Upgrade) != c.upgrade || (r.Upgrade == nil) != (c.upgrade == "") {
			t.Errorf("%q: keep-alive %v, expect %v, upgrade %q", head, r.KeepAlive, r.Expect100, r.Upgrade)
		}
	}
}

// A Request that is used again has nothing of the one before.
func TestRequestReused(t *testing.T) {
	var r Request
	for range 2 {
		full := "POST http://a?x HTTP/1.1\r\nHost: a\r\nX-Request-ID: 7\r\nTransfer-Encoding: chunked\r\n" +
			"Expect: 100-continue\r\nTE: trailers\r\nConnection: close, upgrade, x\r\nUpgrade: b\r\n\r\n"
		if _, err := r.Parse([]byte(full), nil); err != nil {
			t.Fatal(err)
		}
		if !r.HasRequestID || string(r.RequestID) != "7" {
			t.Fatalf("request id %q", r.RequestID)
		}
		if _, err := r.Parse([]byte("HEAD / HTTP/1.0\r\n\r\n"), nil); err != nil {
			t.Fatal(err)
		}
		if got := string(r.AppendForward(nil, ForwardOptions{})); got != "HEAD / HTTP/1.1\r\nHost: \r\n\r\n" {
			t.Fatalf("%q", got)
		}
		if r.HasRequestID || r.RequestID != nil || r.Body != (Body{}) || r.Expect100 || r.Upgrade != nil || r.Connect || !r.Head || len(r.Headers) != 0 {
			t.Fatalf("%+v", r)
		}
	}
}

// The bounds are exact, and do not depend on how much was read.
func TestRequestBounds(t *testing.T) {
	head := "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n"
	for _, c := range []struct {
		lim  Limits
		tail string
		want error
	}{
		{Limits{MaxHeadBytes: len(head), MaxHeaders: 2}, "", nil},
		{Limits{MaxHeadBytes: len(head), MaxHeaders: 2}, "body", nil},
		{Limits{MaxHeadBytes: len(head) - 1}, "", errHeadTooLarge},
		{Limits{MaxHeadBytes: len(head) - 1}, "body", errHeadTooLarge},
		{Limits{MaxHeaders: 1}, "", errTooManyHeaders},
	} {
		var r Request
		if _, err := r.Parse([]byte(head+c.tail), &c.lim); err != c.want { //nolint:errorlint // identity
			t.Errorf("%+v: %v, want %v", c.lim, err, c.want)
		}
	}
}

// Reading a head in pieces, each prefix either needs more or already decides as
// the whole does.
func TestRequestPrefixes(t *testing.T) {
	heads := []string{wrkRequest, appRequest, "\r\nOPTIONS http://a:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"}
	for _, c := range http1test.Requests() {
		if len(c.Bytes) < 1000 {
			heads = append(heads, c.Bytes)
		}
	}
	for _, h := range heads {
		checkRequestPrefixes(t, []byte(h))
	}
}

func checkRequestPrefixes(t *testing.T, b []byte) {
	t.Helper()
	var whole, part Request
	n, err := whole.Parse(b, nil)
	for i := range b {
		pn, perr := part.Parse(b[:i], nil)
		if perr == ErrMore { //nolint:errorlint // identity
			continue
		}
		if pn != n || perr != err { //nolint:errorlint // identity
			t.Fatalf("%q: %d %v; its first %d bytes: %d %v", b, n, err, i, pn, perr)
		}
		return
	}
}

// WorthParsing never keeps a complete head from being parsed.
func TestWorthParsing(t *testing.T) {
	var r Request
	b := []byte(appRequest)
	for old := range b {
		for end := old + 1; end <= len(b); end++ {
			_, err := r.Parse(b[:end], nil)
			if err == nil && !WorthParsing(b[:end], old, nil) {
				t.Fatalf("complete at %d, not seen from %d", end, old)
			}
		}
	}
	if !WorthParsing([]byte("aaaa"), 3, &Limits{MaxHeadBytes: 4}) || WorthParsing([]byte("aaaa"), 3, &Limits{MaxHeadBytes: 5}) {
		t.Error("the head limit is not seen")
	}
}
