package detect

import (
	"bytes"
	"strings"
	"testing"
)

func TestLook(t *testing.T) {
	long := strings.Repeat("x", MaxBytes)
	for _, tt := range []struct {
		name, bytes string
		want        Kind
	}{
		{"nothing", "", More},
		{"GET", "GET / HTTP/1.1\r\n", HTTP1},
		{"GET with more", "GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n", HTTP1},
		{"proxy form", "GET http://a/ HTTP/1.1\r\n", HTTP1},
		{"CONNECT", "CONNECT a:443 HTTP/1.1\r\n", HTTP1},
		{"asterisk", "OPTIONS * HTTP/1.1\r\n", HTTP1},
		{"HTTP/1.0", "GET / HTTP/1.0\r\n", HTTP1},
		{"a bare LF", "GET / HTTP/1.1\n", HTTP1},
		{"unknown method", "M-SEARCH * HTTP/1.1\r\n", HTTP1},
		{"one empty line before", "\r\nGET / HTTP/1.1\r\n", HTTP1},
		{"another version", "GET / HTTP/3.7\r\n", HTTP1},
		{"spaces in the target", "GET /a b HTTP/1.1\r\n", HTTP1},
		{"bytes above ASCII in the target", "GET /\xc3\xa9 HTTP/1.1\r\n", HTTP1},
		{"preface", Preface, HTTP2},
		{"preface with SETTINGS", Preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00", HTTP2},
		{"part of the preface", Preface[:20], More},
		{"PRI of another version", "PRI * HTTP/2.1\r\n\r\n", HTTP1},
		{"begin of a method", "GE", More},
		{"part of a line", "GET /a", More},
		{"one CR", "\r", More},
		{"an empty line", "\r\n", More},
		{"two empty lines", "\r\n\r\nGET / HTTP/1.1\r\n", Opaque},
		{"HTTP/0.9", "GET /\r\n", Opaque},
		{"SMTP", "EHLO mail.example.com\r\n", Opaque},
		{"Redis", "SET key value\r\n", Opaque},
		{"Redis, array", "*1\r\n$4\r\nPING\r\n", Opaque},
		{"memcached", "get key\r\n", Opaque},
		{"FTP", "USER anonymous\r\n", Opaque},
		{"a word", "PING\r\n", Opaque},
		{"no method", " / HTTP/1.1\r\n", Opaque},
		{"no target", "GET HTTP/1.1\r\n", Opaque},
		{"lower case version", "GET / http/1.1\r\n", Opaque},
		{"long method", strings.Repeat("A", maxMethod+1), Opaque},
		{"longest method", strings.Repeat("A", maxMethod), More},
		{"NUL in the line", "GET /\x00", Opaque},
		{"CR within the line", "GET /\ra", Opaque},
		{"DEL in the line", "GET /\x7f", Opaque},
		{"PostgreSQL", "\x00\x00\x00\x08\x04\xd2\x16\x2f", Opaque},
		{"MySQL", "J\x00\x00\x00\x0a", Opaque},
		{"too long a line", "GET /" + long, HTTP1},
		{"too long a line of words", "SET " + long, Opaque},
		{"SSH", "SSH-2.0-OpenSSH_9.6\r\n", Opaque},
		{"TLS alert", "\x15\x03\x01\x00\x02\x02\x28", Opaque},
		{"SSL 2 hello", "\x80\x2e\x01\x03\x01", Opaque},
		{"handshake record", "\x16", More},
		{"handshake record of TLS 1", "\x16\x03\x01", More},
		{"handshake record of another version", "\x16\x04", Opaque},
		{"empty record", "\x16\x03\x01\x00\x00", Opaque},
		{"record too long", "\x16\x03\x01\x40\x01", Opaque},
		{"a server's hello", "\x16\x03\x01\x00\x10\x02", Opaque},
		{"hello too short", "\x16\x03\x01\x00\x04\x01\x00\x00\x05", Opaque},
		{"hello too long", "\x16\x03\x01\x00\x04\x01\x00\x40\x00", Opaque},
	} {
		var h Hello
		if got := Look([]byte(tt.bytes), &h); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// What is said of a beginning holds for all that continues it.
func TestEveryBeginIsMoreOrTheSame(t *testing.T) {
	hello := string(clientHelloOf(t, "shop.example", "h2", "http/1.1"))
	for _, whole := range []string{
		"GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n", "\r\nPOST / HTTP/1.0\n", Preface,
		"EHLO mail.example.com\r\n", "PRI * HTTP/2.0\r\nHost: a\r\n\r\n", "PRIME me\r\n",
		hello, string(fragmented([]byte(hello), 1)), string(fragmented([]byte(hello), 7)),
		"\x16\x03\x01\x00\x04\x01\x00\x40\x00",
	} {
		var h Hello
		end := Look([]byte(whole), &h)
		if end == More {
			t.Errorf("%q: never known", whole)
		}
		known := false
		for n := range len(whole) {
			kind := Look([]byte(whole[:n]), &h)
			known = known || kind != More
			if known && kind != end {
				t.Fatalf("%q: %v after %d bytes, %v at the end", whole, kind, n, end)
			}
		}
	}
}

func TestGuess(t *testing.T) {
	for _, tt := range []struct {
		bytes string
		want  Kind
	}{
		{"", Opaque},
		{"G", Opaque},
		{"GET", Opaque},
		{"GET ", Opaque},
		{"GET /", HTTP1},
		{"GET /a HT", HTTP1},
		{"OPTIONS *", HTTP1},
		{"GET http://a", HTTP1},
		{"CONNECT a", Opaque},
		{"EHLO mail", Opaque},
		{"\r\nGET /", HTTP1},
		{"\r", Opaque},
		{" /", Opaque},
		{"GET /\x00", Opaque},
		{Preface[:5], Opaque},
		{"PRI *", Opaque},
		{"\x16\x03\x01", Opaque},
	} {
		if got := Guess([]byte(tt.bytes)); got != tt.want {
			t.Errorf("%q: %v, want %v", tt.bytes, got, tt.want)
		}
	}
}

func TestLookDoesNotAllocate(t *testing.T) {
	for _, b := range [][]byte{
		[]byte("GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n"), []byte(Preface), []byte("EHLO a\r\n"),
		clientHelloOf(t, "shop.example", "h2"), fragmented(clientHelloOf(t, "shop.example", "h2"), 3),
	} {
		if n := testing.AllocsPerRun(100, func() {
			var h Hello
			Look(b, &h)
			Guess(b)
		}); n != 0 {
			t.Errorf("%.20q: %v allocations", b, n)
		}
	}
}

func TestKindNames(t *testing.T) {
	for k, want := range map[Kind]string{More: "more", HTTP1: "http1", HTTP2: "http2", TLS: "tls", Opaque: "opaque", 99: "opaque"} {
		if k.String() != want {
			t.Errorf("%d: %q, want %q", k, k.String(), want)
		}
	}
}

// FuzzLook holds Look to what it promises: it ends by MaxBytes, and what it says
// of a beginning holds for what continues it.
func FuzzLook(f *testing.F) {
	for _, s := range []string{"GET / HTTP/1.1\r\n", Preface, "EHLO a\r\n", "\x16\x03\x01\x00\x10\x01\x00\x00\x0c", "\r\nG"} {
		f.Add([]byte(s), uint16(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		var h Hello
		end := Look(b, &h)
		if end == More && len(b) >= MaxBytes {
			t.Fatalf("more than %d bytes are wanted", len(b))
		}
		part := b[:min(int(cut), len(b))]
		if kind := Look(part, &h); kind != More && kind != end && len(b) < MaxBytes {
			t.Errorf("%v after %d bytes, %v after %d", kind, len(part), end, len(b))
		}
		if Guess(b) == HTTP1 && (end == TLS || end == HTTP2) {
			t.Errorf("%v is guessed to be HTTP/1", end)
		}
		if end == HTTP2 != bytes.HasPrefix(b, []byte(Preface)) {
			t.Errorf("%v", end)
		}
	})
}

func BenchmarkLook(b *testing.B) {
	head := []byte("GET /some/path/to/somewhere?with=a&query=too HTTP/1.1\r\nHost: a\r\n\r\n")
	hello := clientHelloOf(b, "shop.example", "h2", "http/1.1")
	for name, in := range map[string][]byte{"http1": head, "tls": hello} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var h Hello
				Look(in, &h)
			}
		})
	}
}
