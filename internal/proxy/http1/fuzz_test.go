package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/http1/http1test"
)

// What the package accepts, net/http must read the same way: method, target,
// authority, fields, body, and where the next message begins. The package may
// refuse more; it may never read differently.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(wrkRequest))
	f.Add([]byte(appRequest))
	f.Add([]byte("POST http://a?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3;a=\"b\"\r\nabc\r\n0\r\nX: y\r\n\r\nGET"))
	f.Add([]byte("PUT / HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive, x\r\nX: y\r\n\r\nabcdef"))
	f.Add([]byte("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("OPTIONS * HTTP/1.1\r\nHost: [::1]:8080\r\nTE: trailers\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"))
	for _, c := range http1test.Requests() {
		if len(c.Bytes) < 1000 {
			f.Add([]byte(c.Bytes))
		}
	}
	for _, c := range http1test.ChunkedBodies() {
		if len(c.Bytes) < 1000 {
			f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + c.Bytes))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) <= 512 {
			checkRequestPrefixes(t, b)
		}
		var r Request
		n, err := r.Parse(b, nil)
		if err != nil {
			return
		}
		compareRequest(t, &r, b, n)
		checkRequestRoundTrip(t, &r)
	})
}

func compareRequest(t *testing.T, r *Request, b []byte, n int) {
	t.Helper()
	// net/http does not skip the empty line that RFC 9112 section 2.2 wants
	// skipped.
	in := bytes.NewReader(bytes.TrimPrefix(b, []byte("\r\n")))
	br := bufio.NewReader(in)
	req, err := http.ReadRequest(br)
	if err != nil {
		t.Fatalf("net/http refuses what we accept: %v", err)
	}
	same(t, "method", string(r.Method), req.Method)
	same(t, "target", string(r.Target), req.RequestURI)
	same(t, "host", string(r.Host), req.Host)
	same(t, "minor", r.Minor, req.ProtoMinor)
	same(t, "keep-alive", r.KeepAlive, !req.Close)
	path, query, _ := strings.Cut(string(r.Path), "?")
	same(t, "query", query, req.URL.RawQuery)
	if !r.Connect && req.URL.Path != "" {
		unescaped, err := url.PathUnescape(path)
		if err != nil {
			t.Fatalf("path %q: %v", path, err)
		}
		same(t, "path", unescaped, req.URL.Path)
	}
	compareHeaders(t, r.Headers, req.Header, "Host")

	body, end, complete, err := readBody(r.Body, b, n)
	if err != nil {
		return // we refuse more
	}
	theirs, err := io.ReadAll(req.Body)
	compareBody(t, body, theirs, complete, err)
	if complete {
		same(t, "bytes behind the body", len(b)-end, br.Buffered()+in.Len())
	}
}

func FuzzResponse(f *testing.F) {
	f.Add([]byte(okResponse), uint8(0))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nA: b\r\n\r\nHTTP"), uint8(0))
	f.Add([]byte("HTTP/1.0 200\r\n\r\nuntil the end"), uint8(0))
	f.Add([]byte("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nHTTP"), uint8(0))
	f.Add([]byte("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\nbytes"), uint8(0))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP"), uint8(1))
	for _, c := range http1test.Responses() {
		if len(c.Bytes) < 1000 {
			f.Add([]byte(c.Bytes), uint8(0))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, kind uint8) {
		if len(b) <= 512 {
			checkResponsePrefixes(t, b)
		}
		method := [...]string{"GET", "HEAD"}[kind%2]
		var r Response
		n, err := r.Parse(b, method == "HEAD", false, nil)
		if err != nil {
			return
		}
		compareResponse(t, &r, b, n, method)
		checkResponseRoundTrip(t, &r, method == "HEAD")
	})
}

func compareResponse(t *testing.T, r *Response, b []byte, n int, method string) {
	t.Helper()
	in := bytes.NewReader(b)
	br := bufio.NewReader(in)
	res, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("net/http refuses what we accept: %v", err)
	}
	same(t, "status", r.Status, res.StatusCode)
	same(t, "minor", r.Minor, res.ProtoMinor)
	_, reason, _ := strings.Cut(res.Status, " ")
	same(t, "reason", strings.TrimSpace(string(r.Reason)), strings.TrimSpace(reason))
	// net/http takes a 1xx or 204 without a length for closing; what it tells
	// about those is not about framing.
	if r.Body.Kind != BodyNone && r.Body.Kind != BodyUntilClose {
		same(t, "keep-alive", r.KeepAlive, !res.Close)
	}
	compareHeaders(t, r.Headers, res.Header, "Connection")

	body, end, complete, err := readBody(r.Body, b, n)
	if err != nil {
		return
	}
	theirs, err := io.ReadAll(res.Body)
	if r.Tunnel {
		return // net/http gives the tunnel as a body
	}
	compareBody(t, body, theirs, complete, err)
	if complete {
		same(t, "bytes behind the body", len(b)-end, br.Buffered()+in.Len())
	}
}

// compareHeaders compares the values of each field in their order, without
// those that net/http takes out of the header or adds to it.
func compareHeaders(t *testing.T, ours []Header, theirs http.Header, without string) {
	t.Helper()
	skip := []string{"Transfer-Encoding", "Trailer", "Cache-Control", without}
	got := http.Header{}
	for _, h := range ours {
		name := textproto.CanonicalMIMEHeaderKey(string(h.Name))
		if !slices.Contains(skip, name) {
			got[name] = append(got[name], string(h.Value))
		}
	}
	for _, s := range skip {
		delete(theirs, s)
	}
	same(t, "number of names", len(got), len(theirs))
	for name, values := range got {
		if !slices.Equal(values, theirs[name]) {
			t.Fatalf("%s: we read %q, net/http %q", name, values, theirs[name])
		}
	}
}

// readBody follows a body as a proxy would; end is behind it.
func readBody(body Body, b []byte, n int) (payload []byte, end int, complete bool, err error) {
	rest := b[n:]
	switch body.Kind {
	case BodyLength:
		if int64(len(rest)) < body.Length {
			return rest, len(b), false, nil
		}
		return rest[:body.Length], n + int(body.Length), true, nil
	case BodyChunked:
		var c ChunkReader
		c.Reset(nil)
		payload, k, done, err := c.Decode(nil, rest)
		return payload, n + k, done, err
	case BodyUntilClose:
		return rest, len(b), true, nil
	}
	return nil, n, true, nil
}

func compareBody(t *testing.T, ours, theirs []byte, complete bool, err error) {
	t.Helper()
	if complete != (err == nil) {
		t.Fatalf("complete for us: %v; net/http: %v", complete, err)
	}
	if complete && !bytes.Equal(ours, theirs) {
		t.Fatalf("we read %q, net/http %q", ours, theirs)
	}
}

func same[T comparable](t *testing.T, what string, ours, theirs T) {
	t.Helper()
	if ours != theirs {
		t.Fatalf("%s: we read %v, net/http %v", what, ours, theirs)
	}
}

// A forwarded head says what was received, and forwarding it once more changes
// nothing.
func checkRequestRoundTrip(t *testing.T, r *Request) {
	t.Helper()
	if r.Minor == 0 && len(r.Host) == 0 {
		return // there is nothing that HTTP/1.1 could say
	}
	out := r.AppendForward(nil, ForwardOptions{})
	var again Request
	lim := &Limits{MaxHeadBytes: 2 * DefaultMaxHeadBytes, MaxHeaders: 2 * DefaultMaxHeaders}
	n, err := again.Parse(out, lim)
	if err != nil || n != len(out) {
		t.Fatalf("%q: %d %v", out, n, err)
	}
	same(t, "method forwarded", string(again.Method), string(r.Method))
	same(t, "host forwarded", string(again.Host), string(r.Host))
	same(t, "path forwarded", string(again.Path), string(r.Path))
	same(t, "body forwarded", again.Body, r.Body)
	same(t, "upgrade forwarded", string(again.Upgrade), string(r.Upgrade))
	same(t, "expect forwarded", again.Expect100, r.Expect100)
	same(t, "request id forwarded", string(again.RequestID), string(r.RequestID))
	if twice := again.AppendForward(nil, ForwardOptions{}); !bytes.Equal(out, twice) {
		t.Fatalf("forwarded once %q\ntwice %q", out, twice)
	}
	if _, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(out))); err != nil {
		t.Fatalf("net/http refuses what we send: %v", err)
	}
}

func checkResponseRoundTrip(t *testing.T, r *Response, head bool) {
	t.Helper()
	out := r.AppendForward(nil, ForwardOptions{})
	var again Response
	lim := &Limits{MaxHeadBytes: 2 * DefaultMaxHeadBytes, MaxHeaders: 2 * DefaultMaxHeaders}
	n, err := again.Parse(out, head, false, lim)
	if err != nil || n != len(out) {
		t.Fatalf("%q: %d %v", out, n, err)
	}
	same(t, "status forwarded", again.Status, r.Status)
	same(t, "reason forwarded", string(again.Reason), string(r.Reason))
	same(t, "body forwarded", again.Body, r.Body)
	same(t, "upgrade forwarded", string(again.Upgrade), string(r.Upgrade))
	if twice := again.AppendForward(nil, ForwardOptions{}); !bytes.Equal(out, twice) {
		t.Fatalf("forwarded once %q\ntwice %q", out, twice)
	}
}

// However a chunked body is cut, it is read the same; and what is sent on byte
// for byte, net/http reads the same.
func FuzzChunked(f *testing.F) {
	for _, c := range http1test.ChunkedBodies() {
		if len(c.Bytes) < 1000 {
			f.Add([]byte(c.Bytes), uint16(3))
		}
	}
	f.Add([]byte("5;a=\"b\\\"\"\r\nhello\r\n0\r\nA: b\r\n\r\nmore"), uint16(7))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		whole := readChunks(t, b)
		i := min(int(cut), len(b))
		if parts := readChunks(t, b[:i], b[i:]); parts != whole && whole.err == nil ||
			(parts.err == nil) != (whole.err == nil) || parts.payload != whole.payload {
			t.Fatalf("whole %+v, cut at %d %+v", whole, i, parts)
		}
		if !whole.done {
			return
		}
		br := bufio.NewReader(bytes.NewReader(append([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), b...)))
		req, err := http.ReadRequest(br)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := io.ReadAll(req.Body)
		if err != nil || string(theirs) != whole.payload {
			t.Fatalf("we read %q, net/http %q, %v", whole.payload, theirs, err)
		}
	})
}
