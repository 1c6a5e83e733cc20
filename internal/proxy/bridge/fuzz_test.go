package bridge

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http1/http1test"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
)

// large lets what was translated be longer than what came in.
var large = &http1.Limits{MaxHeadBytes: 1 << 20, MaxHeaders: 1000}

var hop = []string{
	"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings", "host",
}

// asHead checks fields as an engine of HTTP/2 does (RFC 9113 section 8) and
// makes a head of them.
func asHead(t *testing.T, fields []http1.Header) *http2.Head {
	t.Helper()
	h := &http2.Head{ContentLength: -1}
	seen := map[string]int{}
	regular := false
	response := string(fields[0].Name) == ":status"
	for _, f := range fields {
		name := string(f.Name)
		pseudo := strings.HasPrefix(name, ":")
		if pseudo && regular {
			t.Fatalf("pseudo-field behind a regular one: %q", lines(fields))
		}
		regular = regular || !pseudo
		if !http1.ValidToken([]byte(strings.TrimPrefix(name, ":"))) || name != strings.ToLower(name) || !http1.ValidValue(f.Value) {
			t.Fatalf("field %q: %q", name, f.Value)
		}
		if slices.Contains(hop, name) && (!response || name != "host") || name == "te" && (response || string(f.Value) != "trailers") {
			t.Fatalf("%q came through", name)
		}
		if seen[name]++; seen[name] > 1 && (pseudo || name == "content-length" || name == "te") {
			t.Fatalf("%q is there twice", name)
		}
		addField(h, name, string(f.Value))
	}
	return h
}

// endToEnd gives the fields that both versions have to say the same, without
// those that are stated anew.
func endToEnd(r *http1.Request) string {
	var b strings.Builder
	var cookies []string
	for i := range r.Headers {
		h := &r.Headers[i]
		switch name := strings.ToLower(string(h.Name)); {
		case !r.EndToEnd(h), name == "content-length", name == keyField && WebSocket(r):
		case name == "cookie":
			if len(h.Value) > 0 {
				cookies = append(cookies, string(h.Value))
			}
		default:
			b.WriteString(name + ": " + string(h.Value) + "\n")
		}
	}
	return b.String() + strings.Join(cookies, "; ")
}

// same compares what two requests ask for, the first of which was translated
// into the second.
func same(t *testing.T, what string, a, b *http1.Request) {
	t.Helper()
	method := func(r *http1.Request) string {
		if WebSocket(r) {
			return "a WebSocket"
		}
		return string(r.Method)
	}
	for _, c := range []struct{ name, a, b string }{
		{"method", method(a), method(b)},
		{"authority", string(a.Host), string(b.Host)},
		{"path", string(a.Path), string(b.Path)},
		{"fields", endToEnd(a), endToEnd(b)},
		{"request id", string(a.RequestID), string(b.RequestID)},
	} {
		if c.a != c.b {
			t.Fatalf("%s: %s %q became %q", what, c.name, c.a, c.b)
		}
	}
	if a.Body != b.Body || a.Expect100 != b.Expect100 || a.TETrailers != b.TETrailers {
		t.Fatalf("%s: %+v became %+v", what, a, b)
	}
}

// A request of HTTP/1 asks for the same after a way through HTTP/2.
func FuzzRequest121(f *testing.F) {
	for _, s := range []string{
		"GET /p?q HTTP/1.1\r\nHost: a:80\r\nX-Y: Z\r\nCookie: a=b\r\ncookie: c\r\n\r\n",
		"POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE, x\r\nX: y\r\nExpect: 100-continue\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
		"PUT / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	for _, c := range http1test.Requests() {
		if len(c.Bytes) < 1000 {
			f.Add([]byte(c.Bytes))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, view, again http1.Request
		if _, err := r.Parse(b, nil); err != nil || len(r.Host) == 0 {
			return
		}
		var arena []byte
		h := asHead(t, AppendRequest2(nil, &arena, &r, "http", nil))
		if !WebSocket(&r) {
			r.Upgrade = nil // the offer is not taken along
		}
		if err := RequestView(&view, h, r.Body.Kind == http1.BodyNone); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		same(t, "viewed", &r, &view)
		out := AppendRequest1(nil, &view, nil)
		if n, err := again.Parse(out, large); err != nil || n != len(out) {
			t.Fatalf("%q became %q: %d, %v", b, out, n, err)
		}
		same(t, "sent", &view, &again)
	})
}

// Whatever an engine lets through as the head of a request of HTTP/2: what is
// accepted of it is one request of HTTP/1, and asks for the same after the way
// back.
func FuzzRequest212(f *testing.F) {
	for _, s := range []string{
		get, get + "cookie: a\ncookie: b\nte: trailers\nexpect: 100-continue\n", get + "x: a\r\rb\ntransfer-encoding: chunked\ncontent-length: 5",
		":method: CONNECT\n:protocol: websocket\n:scheme: http\n:authority: a\n:path: /\nsec-websocket-key: x\n",
		":method: CONNECT\n:authority: a:1\n", ":method: OPTIONS\n:authority: a\n:path: *\n",
		get + "x y: z\n: b\nX: y\n:path: /x\ncontent-length: 1\ncontent-length: 2\n",
		get + "host: b\nconnection: x\n",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, in string, end bool) {
		h := head2(in)
		if end && h.ContentLength > 0 {
			return // malformed: RFC 9113 section 8.1.1
		}
		var view, r, again http1.Request
		if RequestView(&view, h, end) != nil {
			return
		}
		out := AppendRequest1(nil, &view, nil)
		n, err := r.Parse(out, large)
		if err != nil || n != len(out) {
			t.Fatalf("%q became %q: %d, %v", in, out, n, err)
		}
		keepValid(&view)
		same(t, "sent", &view, &r)
		var arena []byte
		h = asHead(t, AppendRequest2(nil, &arena, &r, "http", nil))
		if err := RequestView(&again, h, r.Body.Kind == http1.BodyNone); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		same(t, "back", &r, &again)
	})
}

// keepValid leaves the fields that HTTP/1 can say; no others may be seen in
// what was sent.
func keepValid(r *http1.Request) {
	r.Headers = slices.DeleteFunc(r.Headers, func(h http1.Header) bool { return !valid(&h) })
	if !http1.ValidValue(r.RequestID) {
		r.HasRequestID, r.RequestID = false, nil
	}
	for _, h := range r.Headers {
		if !r.HasRequestID && http1.EqualFold(h.Name, "x-request-id") && len(h.Value) > 0 {
			r.HasRequestID, r.RequestID = true, h.Value
		}
	}
}

var asks = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
	"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
}

// A response of HTTP/1 says the same after a way through HTTP/2.
func FuzzResponse121(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x\r\nX: y\r\n\r\n",
		"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
		"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204 X\r\n\r\n",
	} {
		for i := range asks {
			f.Add([]byte(s), uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, kind uint8) {
		ask := parsed(t, asks[int(kind)%len(asks)])
		var r, view, again http1.Response
		if _, err := r.Parse(b, ask.Head, ask.Connect, nil); err != nil {
			return
		}
		switching := r.Status == 101
		switch {
		case switching && (!WebSocket(ask) || !http1.EqualFold(r.Upgrade, "websocket")), !switching && WebSocket(ask) && r.Status/100 == 2:
			return // no answer to that question
		}
		var arena []byte
		h := asHead(t, AppendResponse2(nil, &arena, &r, ask))
		ResponseView(&view, h, r.Body.Kind == http1.BodyNone && !r.Informational && !r.Tunnel, ask)
		compareResponses(t, &r, &view, switching)
		out := AppendResponse1(nil, &view, ask, http1.ForwardOptions{})
		if n, err := again.Parse(out, ask.Head, ask.Connect, large); err != nil || n != len(out) {
			t.Fatalf("%q became %q: %d, %v", b, out, n, err)
		}
		compareResponses(t, &r, &again, false)
	})
}

// compareResponses holds the translated response against r. switched: of a 101
// the 200 that stands for it.
func compareResponses(t *testing.T, r, got *http1.Response, switched bool) {
	t.Helper()
	status := r.Status
	if switched {
		status = 200
	}
	body := r.Body
	if body.Kind == http1.BodyUntilClose {
		body.Kind = http1.BodyChunked
	}
	if got.Status != status || got.Body != body || got.Tunnel != r.Tunnel || got.Informational != r.Informational {
		t.Fatalf("%+v became %+v", r, got)
	}
	if a, b := responseFields(r), responseFields(got); a != b {
		t.Fatalf("fields %q became %q", a, b)
	}
}

func responseFields(r *http1.Response) string {
	var b strings.Builder
	for i := range r.Headers {
		h := &r.Headers[i]
		name := strings.ToLower(string(h.Name))
		if !r.EndToEnd(h) || name == "content-length" || name == "te" || name == "http2-settings" || name == acceptField && r.Tunnel || !valid(h) {
			continue
		}
		b.WriteString(name + ": " + string(h.Value) + "\n")
	}
	return b.String()
}

// Whatever an engine lets through as the head of a response of HTTP/2 is one
// response of HTTP/1 to the question that was asked.
func FuzzResponse212(f *testing.F) {
	for _, s := range []string{
		":status: 200\n", ":status: 200\ncontent-length: 5\n", ":status: 304\ncontent-length: 5\n", ":status: 204\ncontent-length: 0\n",
		":status: 200\nx: a\r\rb\ntransfer-encoding: chunked\ncontent-length: 5\ncontent-length: 6\n", ":status: 103\n", ":status: 599\nx y: z\n",
		":status: 200\ncontent-length: 0005\nsec-websocket-accept: x\n",
	} {
		for i := range asks {
			f.Add(s, true, uint8(i))
			f.Add(s, false, uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, in string, end bool, kind uint8) {
		h := head2(in)
		if h.Status < 100 || h.Status > 599 || h.Status == 101 {
			return
		}
		ask := parsed(t, asks[int(kind)%len(asks)])
		if end && h.ContentLength > 0 && !ask.Head && h.Status != 304 {
			return // malformed: RFC 9113 section 8.1.1
		}
		var view, r, back http1.Response
		ResponseView(&view, h, end, ask)
		out := AppendResponse1(nil, &view, ask, http1.ForwardOptions{})
		if n, err := r.Parse(out, ask.Head, ask.Connect, large); err != nil || n != len(out) {
			t.Fatalf("%q became %q: %d, %v", in, out, n, err)
		}
		status := view.Status
		if view.Tunnel && !ask.Connect {
			status = 101
		}
		if r.Status != status || r.Body != view.Body || r.Tunnel != view.Tunnel || responseFields(&r) != responseFields(&view) {
			t.Fatalf("%+v became %q", view, out)
		}
		var arena []byte
		fields := AppendResponse2(nil, &arena, &r, ask)
		ResponseView(&back, asHead(t, fields), end, ask)
		if back.Status != view.Status && status != 101 || back.Body != view.Body && view.Body.Kind != http1.BodyNone || responseFields(&back) != responseFields(&view) {
			t.Fatalf("%q became %q", out, lines(fields))
		}
		checkOldClient(t, &view, ask)
	})
}

// checkOldClient: a client of HTTP/1.0 is told nothing that it does not know.
func checkOldClient(t *testing.T, view *http1.Response, ask *http1.Request) {
	t.Helper()
	if view.Informational || view.Tunnel {
		return
	}
	out := AppendResponse1(nil, view, ask, http1.ForwardOptions{HTTP10: true, Close: true})
	var r http1.Response
	if n, err := r.Parse(out, ask.Head, false, large); err != nil || n != len(out) {
		t.Fatalf("%q: %d, %v", out, n, err)
	}
	if r.Body.Kind == http1.BodyChunked || r.KeepAlive {
		t.Fatalf("%q", out)
	}
}

// Trailers hold nothing but whole fields that may be there.
func FuzzTrailers(f *testing.F) {
	f.Add("grpc-status: 0\nX: y\ncontent-length: 5\nx: a\r\rb\nx y: z\n")
	f.Fuzz(func(t *testing.T, in string) {
		fields := head2(in).Headers
		out := AppendTrailers1(nil, fields)
		var c http1.ChunkReader
		c.Reset(&http1.Limits{MaxHeaders: 10_000, MaxTrailerBytes: 1 << 20})
		if n, done, err := c.Scan(out); err != nil || !done || n != len(out) {
			t.Fatalf("%q: %d, %v, %v", out, n, done, err)
		}
		var arena []byte
		again := AppendTrailers2(nil, &arena, c.Trailers())
		if len(again) != len(c.Trailers()) {
			t.Fatalf("%q: %q became %q", out, lines(c.Trailers()), lines(again))
		}
		for i, h := range c.Trailers() {
			if !bytes.EqualFold(h.Name, again[i].Name) || !bytes.Equal(h.Value, again[i].Value) {
				t.Fatalf("%q became %q", lines(c.Trailers()), lines(again))
			}
		}
	})
}
