package bridge

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
)

// head2 reads "name: value" lines as the head of a message of HTTP/2, as its
// engine gives it. Values may hold anything but LF.
func head2(lines string) *http2.Head {
	h := &http2.Head{ContentLength: -1}
	for line := range strings.SplitSeq(lines, "\n") {
		if line == "" {
			continue
		}
		at := strings.Index(line[1:], ":") + 1
		if at == 0 {
			continue
		}
		addField(h, line[:at], strings.TrimPrefix(line[at+1:], " "))
	}
	return h
}

func addField(h *http2.Head, name, value string) {
	v := []byte(value)
	switch name {
	case ":method":
		h.Method = v
	case ":scheme":
		h.Scheme = v
	case ":authority":
		h.Authority = v
	case ":path":
		h.Path = v
	case ":protocol":
		h.Protocol = v
	case ":status":
		h.Status, _ = strconv.Atoi(value)
	case "content-length":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			h.ContentLength = n
		}
		fallthrough
	default:
		h.Headers = append(h.Headers, http1.Header{Name: []byte(name), Value: v})
	}
}

// lines is the fields of HTTP/2 as head2 reads them.
func lines(fields []http1.Header) string {
	var b strings.Builder
	for _, f := range fields {
		b.WriteString(string(f.Name) + ": " + string(f.Value) + "\n")
	}
	return b.String()
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func parsed(t *testing.T, head string) *http1.Request {
	t.Helper()
	r := new(http1.Request)
	if n, err := r.Parse([]byte(head), nil); err != nil || n != len(head) {
		t.Fatalf("%q: %d, %v", head, n, err)
	}
	return r
}

const get = ":method: GET\n:scheme: http\n:authority: a:80\n:path: /p?q\n"

func TestRequestTo1(t *testing.T) {
	post := strings.Replace(get, "GET", "POST", 1)
	ws := ":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: a\n:path: /chat\n"
	for _, tt := range []struct{ name, in, want string }{
		{"plain", get + "x-y: z\n", "GET /p?q HTTP/1.1\nHost: a:80\nx-y: z\n\n"},
		{"no content, as the method wants it said", post, "POST /p?q HTTP/1.1\nHost: a:80\nContent-Length: 0\n\n"},
		{"no content, said", get + "content-length: 0\n", "GET /p?q HTTP/1.1\nHost: a:80\nContent-Length: 0\n\n"},
		{"length", post + "+content-length: 007\n", "POST /p?q HTTP/1.1\nHost: a:80\nContent-Length: 7\n\n"},
		{"unknown length", "+" + post, "POST /p?q HTTP/1.1\nHost: a:80\nTransfer-Encoding: chunked\n\n"},
		{"length 0, and more of the stream", "+" + post + "content-length: 0\n", "POST /p?q HTTP/1.1\nHost: a:80\nTransfer-Encoding: chunked\n\n"},
		{"empty crumbs", get + "cookie:\ncookie: a=b\ncookie:\n", "GET /p?q HTTP/1.1\nHost: a:80\ncookie: a=b\n\n"},
		{"crumbs", get + "cookie: a=b\nx: y\ncookie: c=d\ncookie: e=f\n", "GET /p?q HTTP/1.1\nHost: a:80\ncookie: a=b; c=d; e=f\nx: y\n\n"},
		{"te", get + "te: trailers\n", "GET /p?q HTTP/1.1\nHost: a:80\nConnection: TE\nTE: trailers\n\n"},
		{
			"of one connection", get + "connection: x\nkeep-alive: 5\nproxy-connection: y\nupgrade: h2c\nhttp2-settings: z\ntransfer-encoding: chunked\nhost: evil\nx: 1\n",
			"GET /p?q HTTP/1.1\nHost: a:80\nx: 1\n\n",
		},
		{"a line within a value", get + "x: a\r\ry: b\n", "GET /p?q HTTP/1.1\nHost: a:80\n\n"},
		{"a colon within a name", get + "transfer-encoding : chunked\nx y: b\n", "GET /p?q HTTP/1.1\nHost: a:80\n\n"},
		{"options", ":method: OPTIONS\n:scheme: http\n:authority: a\n:path: *\n", "OPTIONS * HTTP/1.1\nHost: a\n\n"},
		{"connect", "+:method: CONNECT\n:authority: a:443\n", "CONNECT a:443 HTTP/1.1\nHost: a:443\n\n"},
		{"expect", "+" + post + "expect: 100-continue\n", "POST /p?q HTTP/1.1\nHost: a:80\nexpect: 100-continue\nTransfer-Encoding: chunked\n\n"},
		{
			"websocket", "+" + ws + "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\nsec-websocket-version: 13\norigin: b\n",
			"GET /chat HTTP/1.1\nHost: a\nsec-websocket-version: 13\norigin: b\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: KEY\n\n",
		},
	} {
		in := strings.ReplaceAll(tt.in, "+", "")
		h := head2(in)
		var r http1.Request
		if err := RequestView(&r, h, in == tt.in); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got := string(AppendRequest1(nil, &r, nil))
		if k, ok := http1.Find(parsed(t, got).Headers, keyField); ok {
			got = strings.Replace(got, string(k), "KEY", 1)
		}
		if got != crlf(tt.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.name, got, crlf(tt.want))
		}
	}
}

func TestRequestView(t *testing.T) {
	var r http1.Request
	h := head2(get + "expect: 100-continue\nx-request-id:\nx-request-id: one\nx-request-id: two\nte: trailers\n")
	if err := RequestView(&r, h, false); err != nil {
		t.Fatal(err)
	}
	if !r.Expect100 || !r.HasRequestID || string(r.RequestID) != "one" || !r.TETrailers || r.Minor != 1 || !r.KeepAlive ||
		string(r.Target) != "/p?q" || r.Body.Kind != http1.BodyChunked {
		t.Errorf("%+v", r)
	}
	if err := RequestView(&r, head2(get+"expect: 100-continue\n"), true); err != nil || r.Expect100 || r.HasRequestID {
		t.Errorf("of the request before there is left %+v (%v)", r, err)
	}
	if err := RequestView(&r, head2(strings.Replace(get, "GET", "HEAD", 1)), true); err != nil || !r.Head {
		t.Errorf("HEAD: %v, %v", r.Head, err)
	}
	if err := RequestView(&r, head2(":method: CONNECT\n:protocol: WebSocket\n:authority: a\n:path: /\n"), false); err != nil ||
		r.Connect || string(r.Upgrade) != "WebSocket" || !WebSocket(&r) || r.Body.Kind != http1.BodyNone {
		t.Errorf("extended CONNECT: %+v (%v)", r, err)
	}
}

func TestRequestViewRefuses(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want error
	}{
		{strings.Replace(get, "a:80", "", 1), ErrAuthority},
		{strings.Replace(get, "a:80", "u@a", 1), ErrAuthority},
		{strings.Replace(get, "a:80", "a\r", 1), ErrAuthority},
		{strings.Replace(get, "a:80", "a, b", 1), ErrAuthority},
		{strings.Replace(get, "/p", "/p x", 1), ErrTarget},
		{strings.Replace(get, "/p", "/\r", 1), ErrTarget},
		{strings.Replace(get, "/p?q", "http://a/", 1), ErrTarget},
		{strings.Replace(get, "/p?q", "*", 1), ErrTarget},
		{strings.Replace(get, "/p?q", "", 1), ErrTarget},
		{strings.Replace(get, "GET", "GET /x", 1), ErrTarget},
		{strings.Replace(get, "GET", "", 1), ErrTarget},
		{":method: CONNECT\n:authority: a\n", ErrAuthority},
		{":method: CONNECT\n:authority: a\n:protocol: h2c\n:path: /\n", ErrProtocol},
		{":method: CONNECT\n:authority: a\n:protocol: websocket, h2c\n:path: /\n", ErrProtocol},
		{":method: CONNECT\n:authority: a\n:protocol: websocket\n:path: x\n", ErrTarget},
	} {
		var r http1.Request
		if err := RequestView(&r, head2(tt.in), true); !errors.Is(err, tt.want) {
			t.Errorf("%q: %v, want %v", tt.in, err, tt.want)
		}
	}
}

func TestRequestTo2(t *testing.T) {
	const wsHead = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n"
	const wsKey = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n"
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "GET /p?q HTTP/1.1\nHost: a:80\nX-Y: Z\n\n", get + "x-y: Z\n"},
		{"absolute form", "GET http://a:80/p?q HTTP/1.1\nHost: a\n\n", get},
		{"options", "OPTIONS http://a HTTP/1.1\nHost: a\n\n", ":method: OPTIONS\n:scheme: http\n:authority: a\n:path: *\n"},
		{
			"of one connection", "GET /p?q HTTP/1.1\nHost: a:80\nConnection: keep-alive, X-Mine, X-Forwarded-For\nX-Mine: 1\nX-Forwarded-For: b\nKeep-Alive: 5\n" +
				"Proxy-Connection: keep-alive\nHTTP2-Settings: x\nX: y\n\n", get + "x-forwarded-for: b\nx: y\n",
		},
		{"te", "GET /p?q HTTP/1.1\nHost: a:80\nTE: gzip, trailers\n\n", get + "te: trailers\n"},
		{"te without trailers", "GET /p?q HTTP/1.1\nHost: a:80\nTE: gzip\n\n", get},
		{"chunked", "POST /p?q HTTP/1.1\nHost: a:80\nTransfer-Encoding: chunked\nExpect: 100-continue\n\n", strings.Replace(get, "GET", "POST", 1) + "expect: 100-continue\n"},
		{"length", "POST /p?q HTTP/1.1\nHost: a:80\nContent-Length: 5\n\n", strings.Replace(get, "GET", "POST", 1) + "content-length: 5\n"},
		{"old", "POST /p?q HTTP/1.0\nContent-Length: 5\nHost: a:80\nExpect: 100-continue\nTE: trailers\n\n", strings.Replace(get, "GET", "POST", 1) + "content-length: 5\n"},
		{"old without a host", "GET /p?q HTTP/1.0\n\n", strings.Replace(get, ":authority: a:80\n", "", 1)},
		{"connect", "CONNECT a:443 HTTP/1.1\nHost: a\nContent-Length: 0\nX: y\n\n", ":method: CONNECT\n:authority: a:443\nx: y\n"},
		{
			"websocket", "GET /p?q HTTP/1.1\nHost: a:80\n" + wsHead + wsKey + "Origin: b\n\n",
			":method: CONNECT\n:scheme: http\n:authority: a:80\n:path: /p?q\n:protocol: websocket\nsec-websocket-version: 13\norigin: b\n",
		},
		{"websocket without a key", "GET /p?q HTTP/1.1\nHost: a:80\n" + wsHead + "\n", get + "sec-websocket-version: 13\n"},
		{"websocket with two keys", "GET /p?q HTTP/1.1\nHost: a:80\nConnection: Upgrade\nUpgrade: websocket\n" + wsKey + wsKey + "\n", get + strings.ToLower("Sec-WebSocket-Key") + wsKey[17:] + strings.ToLower("Sec-WebSocket-Key") + wsKey[17:]},
		{"other upgrade", "GET /p?q HTTP/1.1\nHost: a:80\nConnection: Upgrade\nUpgrade: spdy/3.1\n\n", get},
	} {
		var arena []byte
		if got := lines(AppendRequest2(nil, &arena, parsed(t, crlf(tt.in)), "http", nil)); got != tt.want {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.name, got, tt.want)
		}
	}
}

func TestExtraAndScheme(t *testing.T) {
	extra := []http1.Header{{Name: []byte("X-Request-Id"), Value: []byte("1")}}
	var arena []byte
	got := lines(AppendRequest2(nil, &arena, parsed(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "https", extra))
	if want := ":method: GET\n:scheme: https\n:authority: a\n:path: /\nx-request-id: 1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var r http1.Request
	if err := RequestView(&r, head2(get), true); err != nil {
		t.Fatal(err)
	}
	if got, want := string(AppendRequest1(nil, &r, extra)), "GET /p?q HTTP/1.1\r\nHost: a:80\r\nX-Request-Id: 1\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// What was there goes.
	if err := RequestView(&r, head2(get+"x: y\nx-request-id: 0\nx-request-id: 2\n"), true); err != nil {
		t.Fatal(err)
	}
	if got, want := string(AppendRequest1(nil, &r, extra)), "GET /p?q HTTP/1.1\r\nHost: a:80\r\nx: y\r\nX-Request-Id: 1\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := lines(AppendRequest2(nil, &arena, &r, "http", extra)), get+"x: y\nx-request-id: 1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestResponseTo1(t *testing.T) {
	ask := parsed(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	headAsk := parsed(t, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
	connectAsk := parsed(t, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n")
	// The key and its answer are those of RFC 6455 section 1.3.
	wsAsk := parsed(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	for _, tt := range []struct {
		name, in string
		req      *http1.Request
		end      bool
		o        http1.ForwardOptions
		want     string
	}{
		{"no body", ":status: 200\nx: y", ask, true, http1.ForwardOptions{}, "HTTP/1.1 200 OK\nx: y\nContent-Length: 0\n\n"},
		{"length", ":status: 200\ncontent-length: 5", ask, false, http1.ForwardOptions{Close: true}, "HTTP/1.1 200 OK\nContent-Length: 5\nConnection: close\n\n"},
		{"unknown length", ":status: 200\ntrailer: x", ask, false, http1.ForwardOptions{}, "HTTP/1.1 200 OK\ntrailer: x\nTransfer-Encoding: chunked\n\n"},
		{"unknown length, old client", ":status: 200\ntrailer: x", ask, false, http1.ForwardOptions{Close: true, HTTP10: true}, "HTTP/1.1 200 OK\nConnection: close\n\n"},
		{"length, old client", ":status: 200\ncontent-length: 5", ask, false, http1.ForwardOptions{HTTP10: true}, "HTTP/1.1 200 OK\nContent-Length: 5\nConnection: keep-alive\n\n"},
		{"to HEAD", ":status: 200\ncontent-length: 5", headAsk, true, http1.ForwardOptions{}, "HTTP/1.1 200 OK\nContent-Length: 5\n\n"},
		{"to HEAD, unknown length", ":status: 200", headAsk, false, http1.ForwardOptions{}, "HTTP/1.1 200 OK\n\n"},
		{"204", ":status: 204\ncontent-length: 0", ask, true, http1.ForwardOptions{}, "HTTP/1.1 204 No Content\n\n"},
		{"304", ":status: 304\ncontent-length: 9", ask, true, http1.ForwardOptions{}, "HTTP/1.1 304 Not Modified\nContent-Length: 9\n\n"},
		{"interim", ":status: 103\nlink: x", ask, false, http1.ForwardOptions{Close: true}, "HTTP/1.1 103 Early Hints\nlink: x\n\n"},
		{
			"of one connection", ":status: 200\nconnection: x\nkeep-alive: 5\nupgrade: y\ntransfer-encoding: z\nproxy-connection: z\nset-cookie: a\nset-cookie: b", ask, true,
			http1.ForwardOptions{},
			"HTTP/1.1 200 OK\nset-cookie: a\nset-cookie: b\nContent-Length: 0\n\n",
		},
		{"split", ":status: 200\nx: a\r\rHTTP/1.1 200 OK", ask, true, http1.ForwardOptions{}, "HTTP/1.1 200 OK\nContent-Length: 0\n\n"},
		{"tunnel", ":status: 200", connectAsk, false, http1.ForwardOptions{}, "HTTP/1.1 200 OK\n\n"},
		{"tunnel refused", ":status: 403", connectAsk, true, http1.ForwardOptions{}, "HTTP/1.1 403 Forbidden\nContent-Length: 0\n\n"},
		{
			"websocket", ":status: 200\nsec-websocket-protocol: chat\nsec-websocket-accept: forged", wsAsk, false,
			http1.ForwardOptions{},
			"HTTP/1.1 101 Switching Protocols\nsec-websocket-protocol: chat\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n\n",
		},
		{"websocket refused", ":status: 404", wsAsk, true, http1.ForwardOptions{}, "HTTP/1.1 404 Not Found\nContent-Length: 0\n\n"},
	} {
		var r http1.Response
		ResponseView(&r, head2(tt.in), tt.end, tt.req)
		if got := string(AppendResponse1(nil, &r, tt.req, tt.o)); got != crlf(tt.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.name, got, crlf(tt.want))
		}
	}
}

func TestResponseTo2(t *testing.T) {
	var extendedConnect http1.Request
	if err := RequestView(&extendedConnect, head2(":method: CONNECT\n:protocol: websocket\n:authority: a\n:path: /\n"), false); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, in, want string }{
		{"length", "HTTP/1.1 200 OK\nContent-Length: 5\nX-Y: Z\n\n", ":status: 200\ncontent-length: 5\nx-y: Z\n"},
		{"chunked", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTrailer: X\n\n", ":status: 200\ntrailer: X\n"},
		{"old", "HTTP/1.0 200 OK\n\n", ":status: 200\n"},
		{"204", "HTTP/1.1 204 No\nContent-Length: 0\n\n", ":status: 204\n"},
		{"304", "HTTP/1.1 304 Not\nContent-Length: 7\n\n", ":status: 304\ncontent-length: 7\n"},
		{"of one connection", "HTTP/1.1 426 Up\nConnection: close, x-mine\nX-Mine: 1\nKeep-Alive: 5\nUpgrade: x\nContent-Length: 0\n\n", ":status: 426\ncontent-length: 0\n"},
		{
			"websocket", "HTTP/1.1 101 Go\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Accept: x\nSec-WebSocket-Protocol: chat\n\n",
			":status: 200\nsec-websocket-protocol: chat\n",
		},
		{"websocket refused", "HTTP/1.1 403 No\nContent-Length: 5\n\n", ":status: 403\ncontent-length: 5\n"},
		{"websocket not understood", "HTTP/1.1 200 OK\nContent-Length: 5\n\n", ":status: 502\ncontent-length: 5\n"},
	} {
		ask := &http1.Request{Method: []byte("GET")}
		if strings.HasPrefix(tt.name, "websocket") {
			ask = &extendedConnect
		}
		var r http1.Response
		if _, err := r.Parse([]byte(crlf(tt.in)), false, false, nil); err != nil {
			t.Fatal(tt.name, err)
		}
		var arena []byte
		if got := lines(AppendResponse2(nil, &arena, &r, ask)); got != tt.want {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.name, got, tt.want)
		}
	}
}

func TestTrailers(t *testing.T) {
	fields := head2("grpc-status: 0\nX-Sum: 1\ncontent-length: 5\ntransfer-encoding: chunked\nHost: x\nset-cookie: a\nauthorization: b\ncontent-type: c\n" +
		"te: trailers\ntrailer: x\nx: a\rb\nx y: z\n:path: /\ngrpc-message:").Headers
	fields = append(fields, http1.Header{Name: []byte(":status"), Value: []byte("200")})
	if got, want := string(AppendTrailers1(nil, fields)), "0\r\ngrpc-status: 0\r\nX-Sum: 1\r\ngrpc-message: \r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var arena []byte
	if got, want := lines(AppendTrailers2(nil, &arena, fields[:8])), "grpc-status: 0\nx-sum: 1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := string(AppendTrailers1(nil, nil)); got != "0\r\n\r\n" {
		t.Errorf("without fields %q", got)
	}
}

func TestWebSocketHandshake(t *testing.T) {
	var r http1.Request
	if err := RequestView(&r, head2(":method: CONNECT\n:protocol: websocket\n:scheme: http\n:authority: a\n:path: /\n"), false); err != nil {
		t.Fatal(err)
	}
	sent := AppendRequest1(nil, &r, nil)
	asked := parsed(t, string(sent))
	if again := AppendRequest1(nil, &r, nil); bytes.Equal(sent, again) {
		t.Error("two WebSockets have one key")
	}
	k := key(asked.Headers)
	if k == nil || !WebSocket(asked) {
		t.Fatalf("no key in %q", sent)
	}
	answer := func(accept string) *http1.Response {
		var resp http1.Response
		if _, err := resp.Parse([]byte("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+accept+"\r\n\r\n"), false, false, nil); err != nil {
			t.Fatal(err)
		}
		return &resp
	}
	if !WebSocketAccepted(sent, answer(string(WebSocketAccept(nil, k)))) {
		t.Error("the right answer is not accepted")
	}
	for _, accept := range []string{"", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="} {
		if WebSocketAccepted(sent, answer(accept)) {
			t.Errorf("%q is accepted", accept)
		}
	}
	if WebSocketAccepted([]byte("GET / HTTP/1.1\r\n\r\n"), answer("x")) {
		t.Error("an answer to no question is accepted")
	}
}

func TestNothingIsAllocated(t *testing.T) {
	in := head2(get + strings.Repeat("x-some-field: value\n", 10) + "cookie: a=b\ncookie: c=d\nte: trailers\n")
	ws := head2(":method: CONNECT\n:protocol: websocket\n:scheme: http\n:authority: a\n:path: /\n")
	answer := head2(":status: 200\ncontent-type: x\ncontent-length: 5\n")
	old := parsed(t, "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nAccept: y\r\n\r\n")
	wsAsk := parsed(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	var r http1.Request
	var resp http1.Response
	dst := make([]byte, 0, 4096)
	arena := make([]byte, 0, 4096)
	fields := make([]http1.Header, 0, 100)
	n := testing.AllocsPerRun(100, func() {
		for _, h := range []*http2.Head{in, ws} {
			if err := RequestView(&r, h, true); err != nil {
				t.Fatal(err)
			}
			dst = AppendRequest1(dst[:0], &r, nil)
		}
		arena = arena[:0]
		fields = AppendRequest2(fields[:0], &arena, old, "http", nil)
		ResponseView(&resp, answer, false, old)
		dst = AppendResponse1(dst[:0], &resp, old, http1.ForwardOptions{})
		ResponseView(&resp, answer, false, wsAsk)
		dst = AppendResponse1(dst[:0], &resp, wsAsk, http1.ForwardOptions{})
		fields = AppendResponse2(fields[:0], &arena, &resp, wsAsk)
		fields = AppendTrailers2(fields[:0], &arena, in.Headers)
		dst = AppendTrailers1(dst[:0], in.Headers)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A name in an arena that then moves stays what it is.
func TestArenaGrows(t *testing.T) {
	var hs []http1.Header
	for i := range 200 {
		hs = append(hs, http1.Header{Name: []byte("X-" + strconv.Itoa(i))})
	}
	var arena []byte
	for i, f := range AppendTrailers2(nil, &arena, hs) {
		if want := "x-" + strconv.Itoa(i); string(f.Name) != want {
			t.Fatalf("%q, want %q", f.Name, want)
		}
	}
	if !slices.ContainsFunc(arena, func(b byte) bool { return b == 'x' }) {
		t.Error("the arena was not used")
	}
}
