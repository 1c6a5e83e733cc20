package http1

import (
	"errors"
	"fmt"
	"strings"
	"testing"
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

// badRequest is a request that must be refused.
type badRequest struct {
	rule string // whose it is
	head string
	want *ParseError
}

// badRequests are all ambiguities of the head that we know. Each would be
// accepted by some parser somewhere.
func badRequests() []badRequest {
	line := func(l string) string { return l + "\r\nHost: a\r\n\r\n" }
	field := func(f string) string { return "POST / HTTP/1.1\r\nHost: a\r\n" + f + "\r\n\r\n" }
	first := func(f string) string { return "POST / HTTP/1.1\r\n" + f + "\r\n\r\n" }
	old := func(f string) string { return "POST / HTTP/1.0\r\nHost: a\r\n" + f + "\r\n\r\n" }
	return []badRequest{
		// The request line.
		{"9112/2.2 two empty lines before", "\r\n\r\n" + line("GET / HTTP/1.1"), errMethod},
		{"9112/2.2 bare CR before", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", errBareCR},
		{"9112/2.2 bare LF before", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", errMethod},
		{"9112/3 white space before", " " + line("GET / HTTP/1.1"), errMethod},
		{"9112/3 no method", line(" / HTTP/1.1"), errMethod},
		{"9110/9.1 method is no token", line("G(T / HTTP/1.1"), errMethod},
		{"9110/9.1 NUL in method", line("G\x00T / HTTP/1.1"), errMethod},
		{"9110/9.1 quoted method", line("\"GET\" / HTTP/1.1"), errMethod},
		{"9110/9.1 8-bit method", line("G\xc9T / HTTP/1.1"), errMethod},
		{"9112/3 HTAB behind method", line("GET\t/ HTTP/1.1"), errMethod},
		{"9112/3 two SP behind method", line("GET  / HTTP/1.1"), errTarget},
		{"9112/3 two SP behind target", line("GET /  HTTP/1.1"), errVersion},
		{"9112/3.2 SP in target", line("GET /a b HTTP/1.1"), errVersion},
		{"9112/3.2 HTAB in target", line("GET /a\tb HTTP/1.1"), errTarget},
		{"9112/3.2 NUL in target", line("GET /a\x00b HTTP/1.1"), errTarget},
		{"9112/3.2 DEL in target", line("GET /a\x7fb HTTP/1.1"), errTarget},
		{"9112/3.2 8-bit target", line("GET /\xc3\xa9 HTTP/1.1"), errTarget},
		{"9112/3.2 control in query", line("GET /?\x01 HTTP/1.1"), errTarget},
		{"9112/3.2 8-bit query", line("GET /?\xff HTTP/1.1"), errTarget},
		{"9112/3.2 backslash in path", line("GET /..\\admin HTTP/1.1"), errTarget},
		{"9112/3.2 fragment", line("GET /a#b HTTP/1.1"), errFragment},
		{"9112/3.2 fragment in query", line("GET /a?b#c HTTP/1.1"), errFragment},
		{"3986/2.1 bad percent-encoding", line("GET /%4z HTTP/1.1"), errEncoding},
		{"3986/2.1 cut percent-encoding", line("GET /%4 HTTP/1.1"), errEncoding},
		{"3986/2.1 bare percent", line("GET /% HTTP/1.1"), errEncoding},
		{"9112/3.2 relative target", line("GET a HTTP/1.1"), errScheme},
		{"9112/3.2 query alone", line("GET ?a HTTP/1.1"), errScheme},
		{"9112/3.2 no target", line("GET HTTP/1.1"), errScheme},
		{"9112/3.2.3 authority-form", line("GET a:80 HTTP/1.1"), errScheme},
		{"9112/3.2.3 CONNECT with a path", line("CONNECT /a HTTP/1.1"), errAuthForm},
		{"9112/3.2.3 CONNECT with a URI", line("CONNECT http://a:80/ HTTP/1.1"), errAuthForm},
		{"9110/9.3.6 CONNECT without port", line("CONNECT a HTTP/1.1"), errAuthForm},
		{"9110/9.3.6 CONNECT with empty port", line("CONNECT a: HTTP/1.1"), errAuthForm},
		{"9110/9.3.6 CONNECT to port 0", line("CONNECT a:0 HTTP/1.1"), errAuthForm},
		{"9110/9.3.6 CONNECT to port 65536", line("CONNECT a:65536 HTTP/1.1"), errAuthForm},
		{"9112/3.2.4 asterisk with GET", line("GET * HTTP/1.1"), errAsterisk},
		{"9112/3.2.4 more than the asterisk", line("OPTIONS *a HTTP/1.1"), errTarget},
		{"9112/3.2.2 other scheme", line("GET https://a/ HTTP/1.1"), errScheme},
		{"9112/3.2.2 no authority", line("GET http:/// HTTP/1.1"), errAuthority},
		{"9112/3.2.2 bad port", line("GET http://a:b/ HTTP/1.1"), errAuthority},
		{"9112/3.2.2 port too large", line("GET http://a:70000/ HTTP/1.1"), errAuthority},
		{"9112/3.2.2 bad host", line("GET http://a,b/ HTTP/1.1"), errAuthority},
		{"9112/3.2.2 encoded host", line("GET http://%61/ HTTP/1.1"), errAuthority},
		{"9110/4.2.4 userinfo", line("GET http://u@a/ HTTP/1.1"), errUserinfo},
		{"9110/4.2.4 userinfo with password", line("GET http://u:p@a/ HTTP/1.1"), errUserinfo},
		{"9112/3 HTTP/0.9", "GET /\r\n\r\n", errTarget},
		{"9112/2.3 HTTP/2.0", line("GET / HTTP/2.0"), errVersion},
		{"9113/3.4 HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", errAsterisk},
		{"9112/2.3 HTTP/1.2", line("GET / HTTP/1.2"), errVersion},
		{"9112/2.3 HTTP/1.10", line("GET / HTTP/1.10"), errVersion},
		{"9112/2.3 HTTP/01.1", line("GET / HTTP/01.1"), errVersion},
		{"9112/2.3 lower case", line("GET / http/1.1"), errVersion},
		{"9112/2.3 other name", line("GET / HTCPCP/1.1"), errVersion},
		{"9112/3 SP behind version", line("GET / HTTP/1.1 "), errVersion},
		{"9112/2.2 LF ends the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", errBareLF},
		{"9112/2.2 CR ends the request line", "GET / HTTP/1.1\rHost: a\r\n\r\n", errBareCR},
		{"9112/2.2 LF in target", line("GET /\n HTTP/1.1"), errBareLF},

		// Field lines.
		{"9112/5.2 folded line", field("A: b\r\n c"), errFold},
		{"9112/5.2 folded by HTAB", field("A: b\r\n\tc"), errFold},
		{"9112/2.2 white space before the first field", first(" Host: a"), errFold},
		{"9112/5.1 SP before colon", field("A : b"), errSpaceColon},
		{"9112/5.1 HTAB before colon", field("A\t: b"), errSpaceColon},
		{"9112/5.1 SP before colon of a length", field("Content-Length : 1"), errSpaceColon},
		{"9112/5 no colon", field("A"), errFieldName},
		{"9112/5 no name", field(": b"), errFieldName},
		{"9110/5.1 invalid name", field("A(b): c"), errFieldName},
		{"9110/5.1 NUL in name", field("A\x00: b"), errFieldName},
		{"9110/5.1 8-bit name", field("\xc3\xa9: b"), errFieldName},
		{"9110/5.1 VT before name", field("\x0bTransfer-Encoding: chunked"), errFieldName},
		{"9110/5.5 NUL in value", field("A: b\x00c"), errFieldValue},
		{"9110/5.5 BEL in value", field("A: b\x07c"), errFieldValue},
		{"9110/5.5 DEL in value", field("A: 1234567\x7f"), errFieldValue},
		{"9110/5.5 VT around a value", field("Transfer-Encoding: \x0bchunked"), errFieldValue},
		{"9112/2.2 bare CR in value", field("A: b\rc"), errBareCR},
		{"9112/2.2 bare LF in value", field("A: b\nB: c"), errBareLF},
		{"9112/2.2 bare LF ends a line", field("A: b\n"), errBareLF},
		{"9112/2.2 CR CR LF", field("A: b\r"), errBareCR},
		{"9112/2.2 LF ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\n", errBareLF},
		{"9112/2.2 CR ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\rX", errBareCR},
		{"9112/2.2 LF alone throughout", "GET / HTTP/1.1\nHost: a\n\n", errBareLF},

		// Host.
		{"9112/3.2 no Host", "GET / HTTP/1.1\r\n\r\n", errNoHost},
		{"9112/3.2 no Host with absolute-form", "GET http://a/ HTTP/1.1\r\n\r\n", errNoHost},
		{"9112/3.2 two Hosts", field("Host: b"), errHostTwice},
		{"9112/3.2 two equal Hosts", field("Host: a"), errHostTwice},
		{"9112/3.2 two Hosts in HTTP/1.0", old("Host: a"), errHostTwice},
		{"9112/3.2 empty Host", first("Host:"), errHost},
		{"9110/7.2 Host with a path", first("Host: a/b"), errHost},
		{"9110/7.2 Host with a space", first("Host: a b"), errHost},
		{"9110/7.2 Host is a list", first("Host: a, b"), errHost},
		{"9110/7.2 Host with userinfo", first("Host: u@a"), errHost},
		{"9110/7.2 Host with empty port", first("Host: a:"), errHost},
		{"9110/7.2 Host is a port", first("Host: :80"), errHost},
		{"9110/7.2 Host with two ports", first("Host: a:80:81"), errHost},
		{"9110/7.2 Host with signed port", first("Host: a:+80"), errHost},
		{"9110/7.2 Host with octal port", first("Host: a:080"), errHost},
		{"9110/7.2 Host is encoded", first("Host: %61"), errHost},
		{"9110/7.2 Host is 8-bit", first("Host: \xe9"), errHost},
		{"3986/3.2.2 open bracket", first("Host: [::1"), errHost},
		{"3986/3.2.2 no address", first("Host: []"), errHost},
		{"3986/3.2.2 zone", first("Host: [fe80::1%25eth0]"), errHost},
		{"3986/3.2.2 behind the bracket", first("Host: [::1]a"), errHost},
		{"9112/3.2.2 Host differs", line("GET http://b/ HTTP/1.1"), errHostDiffers},
		{"9112/3.2.2 port differs", line("GET http://a:81/ HTTP/1.1"), errHostDiffers},
		{"9112/3.2.3 CONNECT Host differs", line("CONNECT b:80 HTTP/1.1"), errHostDiffers},
		{"9112/3.2.3 CONNECT port differs", "CONNECT a:80 HTTP/1.1\r\nHost: a:81\r\n\r\n", errHostDiffers},

		// Framing.
		{"9112/6.1 length and coding", field("Content-Length: 1\r\nTransfer-Encoding: chunked"), errLengthAndCoding},
		{"9112/6.1 coding and length", field("Transfer-Encoding: chunked\r\nContent-Length: 0"), errLengthAndCoding},
		{"9112/6.3 two lengths", field("Content-Length: 1\r\nContent-Length: 2"), errLengthTwice},
		{"9112/6.3 two equal lengths", field("Content-Length: 1\r\ncontent-length: 1"), errLengthTwice},
		{"9110/8.6 list of lengths", field("Content-Length: 1,1"), errLength},
		{"9110/8.6 empty length", field("Content-Length:"), errLength},
		{"9110/8.6 plus", field("Content-Length: +1"), errLength},
		{"9110/8.6 minus", field("Content-Length: -1"), errLength},
		{"9110/8.6 hexadecimal", field("Content-Length: 0x1"), errLength},
		{"9110/8.6 space inside", field("Content-Length: 1 1"), errLength},
		{"9110/8.6 fraction", field("Content-Length: 1.0"), errLength},
		{"9110/8.6 exponent", field("Content-Length: 1e1"), errLength},
		{"9110/8.6 underscore", field("Content-Length: 1_0"), errLength},
		{"9110/8.6 quoted", field("Content-Length: \"1\""), errLength},
		{"9110/8.6 parameter", field("Content-Length: 1;a"), errLength},
		{"9110/8.6 2^63", field("Content-Length: 9223372036854775808"), errLength},
		{"9110/8.6 2^64+1", field("Content-Length: 18446744073709551617"), errLength},
		{"9112/6.1 other coding", field("Transfer-Encoding: gzip"), errCoding},
		{"9112/6.1 coding before chunked", field("Transfer-Encoding: gzip, chunked"), errCoding},
		{"9112/6.1 chunked not final", field("Transfer-Encoding: chunked, gzip"), errCoding},
		{"9112/6.1 chunked twice", field("Transfer-Encoding: chunked, chunked"), errCoding},
		{"9112/6.1 chunked twice in two lines", field("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), errCodingTwice},
		{"9112/6.1 chunked and identity", field("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), errCodingTwice},
		{"9112/6.1 identity", field("Transfer-Encoding: identity"), errCoding},
		{"9112/6.1 empty coding", field("Transfer-Encoding:"), errCoding},
		{"9112/6.1 empty element", field("Transfer-Encoding: ,chunked"), errCoding},
		{"9112/6.1 parameter", field("Transfer-Encoding: chunked;q=1"), errCoding},
		{"9112/6.1 quoted", field("Transfer-Encoding: \"chunked\""), errCoding},
		{"9112/6.1 prefix", field("Transfer-Encoding: xchunked"), errCoding},
		{"9112/6.1 coding in HTTP/1.0", old("Transfer-Encoding: chunked"), errCodingVersion},
		{"9110/9.3.6 CONNECT with content", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\n", errNoContent},
		{"9110/9.3.6 CONNECT with coding", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n", errNoContent},
		{"9110/6.5.1 length announced as trailer", field("Transfer-Encoding: chunked\r\nTrailer: A, content-length"), errTrailer},

		// The connection.
		{"9110/7.6.1 option is no token", field("Connection: a b"), errConnection},
		{"9110/7.6.1 too many options", field("Connection: " + strings.Repeat("a,", maxOptions+1)), errOptions},
		{"9110/7.6.1 too many options in lines", field(strings.TrimSuffix(strings.Repeat("Connection: a\r\n", maxOptions+1), "\r\n")), errOptions},
		{"9110/7.8 two Upgrades", field("Upgrade: a\r\nUpgrade: b"), errUpgrade},
		{"9110/7.8 empty Upgrade", field("Upgrade:"), errUpgrade},

		// Bounds.
		{"9112/3 request line too long", line("GET /" + strings.Repeat("a", DefaultMaxHeadBytes) + " HTTP/1.1"), errHeadTooLarge},
		{"9112/5 fields too long", field("A: " + strings.Repeat("a", DefaultMaxHeadBytes)), errHeadTooLarge},
		{"9112/5 too many fields", field(strings.TrimSuffix(strings.Repeat("A: b\r\n", DefaultMaxHeaders), "\r\n")), errTooManyHeaders},
	}
}

func TestRequestRefused(t *testing.T) {
	for _, c := range badRequests() {
		t.Run(c.rule, func(t *testing.T) {
			var r Request
			_, err := r.Parse([]byte(c.head), nil)
			var pe *ParseError
			if !errors.As(err, &pe) || pe != c.want {
				t.Fatalf("%.200q: %v, want %v", c.head, err, c.want)
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
	for _, c := range badRequests() {
		if len(c.head) < 1000 {
			heads = append(heads, c.head)
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
