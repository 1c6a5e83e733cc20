package http2

import (
	"bytes"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// What is taken as a request can be said in HTTP/1.1, and is read there as the
// same request: no field grows into another, and nothing ends early.
func FuzzRequestFields(f *testing.F) {
	f.Add("GET", "http", "a.b:80", "/x?y", "x-name", "value", "cookie", "a=b")
	f.Add("CONNECT", "", "a.b:80", "", "te", "trailers", "host", "a.b:80")
	f.Add("OPTIONS", "https", "[::1]", "*", "content-length", "0", "x", "")
	f.Fuzz(func(t *testing.T, method, scheme, authority, path, n1, v1, n2, v2 string) {
		var e encoder
		e.init()
		var fields []http1.Header
		for _, kv := range [][2]string{{":method", method}, {":scheme", scheme}, {":authority", authority}, {":path", path}} {
			if kv[1] != "" {
				fields = append(fields, field(kv[0], kv[1]))
			}
		}
		fields = append(fields, field(n1, v1), field(n2, v2))
		d := newDecoder()
		if err := d.decode(e.block(fields)); err != nil {
			t.Fatal(err)
		}
		s := &Stream{}
		if d.request(s, false, true) != "" {
			return
		}
		h := &s.head
		for i := range h.Headers {
			if n := string(h.Headers[i].Name); n == "expect" || n == "trailer" {
				return // http1 has rules about their values, which bridge sees to
			}
		}
		target := h.Path
		if len(target) == 0 {
			target = h.Authority
		}
		b := []byte(string(h.Method) + " " + string(target) + " HTTP/1.1\r\nhost: " + string(h.Authority) + "\r\n")
		for _, f := range h.Headers {
			b = append(append(append(append(b, f.Name...), ": "...), f.Value...), "\r\n"...)
		}
		b = append(b, "\r\n"...)
		var r http1.Request
		if n, err := r.Parse(b, nil); err != nil || n != len(b) {
			t.Fatalf("%d of %d, %v: %q", n, len(b), err, b)
		}
		if !bytes.Equal(r.Method, h.Method) || !bytes.Equal(r.Path, h.Path) || !strings.EqualFold(string(r.Host), string(h.Authority)) {
			t.Fatalf("read as %s %s %s: %q", r.Method, r.Path, r.Host, b)
		}
		if len(r.Headers) != len(h.Headers)+1 {
			t.Fatalf("%d fields of %d: %q", len(r.Headers), len(h.Headers)+1, b)
		}
		for i, f := range h.Headers {
			if g := r.Headers[i+1]; !bytes.Equal(f.Name, g.Name) || !bytes.Equal(f.Value, g.Value) {
				t.Fatalf("field %q: %q became %q: %q", f.Name, f.Value, g.Name, g.Value)
			}
		}
	})
}

// What we take for a value, http1 does too, and the other way round.
func FuzzValidValue(f *testing.F) {
	for _, v := range []string{"", "a", " a", "a\t", "a b", "\x7f", "\x80", "a\x00b", "long enough for eight\x01"} {
		f.Add([]byte(v))
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		if len(v) > 1000 {
			return
		}
		var r http1.Request
		head := append(append([]byte("GET / HTTP/1.1\r\nhost: a\r\nx: "), v...), "\r\n\r\n"...)
		n, err := r.Parse(head, nil)
		theirs := err == nil && n == len(head) && len(r.Headers) == 2 && bytes.Equal(r.Headers[1].Value, v)
		if ours := validValue(v); ours != theirs {
			t.Fatalf("%q: we %v, http1 %v (%v)", v, ours, theirs, err)
		}
	})
}
