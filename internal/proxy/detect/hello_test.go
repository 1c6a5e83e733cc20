package detect

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// scripted is a connection that gives what is in r and keeps what is written.
type scripted struct {
	io.Reader
	bytes.Buffer
}

func (s *scripted) Read(b []byte) (int, error) {
	if s.Reader == nil {
		return 0, io.EOF
	}
	return s.Reader.Read(b)
}
func (*scripted) Close() error                     { return nil }
func (*scripted) LocalAddr() net.Addr              { return nil }
func (*scripted) RemoteAddr() net.Addr             { return nil }
func (*scripted) SetDeadline(time.Time) error      { return nil }
func (*scripted) SetReadDeadline(time.Time) error  { return nil }
func (*scripted) SetWriteDeadline(time.Time) error { return nil }

// clientHelloOf is what a client of crypto/tls sends first.
func clientHelloOf(t testing.TB, name string, protocols ...string) []byte {
	t.Helper()
	c := new(scripted)
	_ = tls.Client(c, &tls.Config{
		ServerName: name, NextProtos: protocols, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12,
	}).Handshake() // it fails: nobody answers
	if c.Len() == 0 {
		t.Fatal("the client said nothing")
	}
	return c.Bytes()
}

// message is the handshake message in records.
func message(records []byte) []byte {
	var m []byte
	for len(records) > 0 {
		n := int(records[3])<<8 | int(records[4])
		m = append(m, records[recordHeader:recordHeader+n]...)
		records = records[recordHeader+n:]
	}
	return m
}

// inRecords puts a handshake message into records of size bytes.
func inRecords(m []byte, size int) []byte {
	var out []byte
	for part := range slices.Chunk(m, size) {
		out = append(out, recordHandshake, 3, 1, byte(len(part)>>8), byte(len(part)))
		out = append(out, part...)
	}
	return out
}

func fragmented(records []byte, size int) []byte { return inRecords(message(records), size) }

func protocolsOf(h *Hello) []string {
	var list []string
	for p := range h.Protocols() {
		list = append(list, string(p))
	}
	return list
}

func TestHelloOfARealClient(t *testing.T) {
	for _, tt := range []struct {
		name      string
		protocols []string
	}{
		{"shop.example", []string{"h2", "http/1.1"}},
		{"a", nil},
		{"x_y.svc-1.ns.svc.cluster.local", []string{"istio"}},
		{strings.Repeat("a.", 126) + "b", []string{strings.Repeat("p", 200)}},
		{"", []string{"h2"}},
		{"10.0.0.1", nil}, // an address is not sent
	} {
		hello := clientHelloOf(t, tt.name, tt.protocols...)
		for _, size := range []int{1, 2, 3, 4, 5, 43, 100, maxRecord} {
			var h Hello
			b := append(fragmented(hello, size), "what comes next"...)
			if kind := Look(b, &h); kind != TLS {
				t.Fatalf("%q in records of %d: %v", tt.name, size, kind)
			}
			want := tt.name
			if net.ParseIP(want) != nil {
				want = ""
			}
			if got := string(h.ServerName()); got != want {
				t.Errorf("server name %q, want %q", got, want)
			}
			if got := protocolsOf(&h); !slices.Equal(got, tt.protocols) {
				t.Errorf("protocols %q, want %q", got, tt.protocols)
			}
		}
	}
}

// extension makes an extension of a ClientHello.
func extension(kind int, data string) string {
	return string([]byte{byte(kind >> 8), byte(kind), byte(len(data) >> 8), byte(len(data))}) + data
}

func vector16(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }

func named(kind byte, name string) string { return string(kind) + vector16(name) }

// helloWith makes a ClientHello with these extensions.
func helloWith(extensions ...string) []byte {
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00" + vector16("\x13\x01") + "\x01\x00"
	if len(extensions) > 0 {
		body += vector16(strings.Join(extensions, ""))
	}
	return handshake(body)
}

func handshake(body string) []byte {
	return inRecords([]byte("\x01"+string([]byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))})+body), maxRecord)
}

func TestHelloIsStrict(t *testing.T) {
	sni := func(names ...string) string { return extension(extensionServerName, vector16(strings.Join(names, ""))) }
	many := make([]string, maxExtensions+1)
	for i := range many {
		many[i] = extension(0x1000+i, "")
	}
	const random = "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr"
	for _, tt := range []struct {
		what string
		b    []byte
		want Kind
		name string
	}{
		{"no extensions", helloWith(), TLS, ""},
		{"a name", helloWith(sni(named(0, "a.b"))), TLS, "a.b"},
		{"a name behind others", helloWith(extension(5, "x"), sni(named(7, "?"), named(0, "a.b"))), TLS, "a.b"},
		{"most extensions", helloWith(many[:maxExtensions]...), TLS, ""},
		{"too many extensions", helloWith(many...), Opaque, ""},
		{"an extension twice", helloWith(extension(5, ""), extension(5, "")), Opaque, ""},
		{"two names", helloWith(sni(named(0, "a"), named(0, "b"))), Opaque, ""},
		{"an empty name", helloWith(sni(named(0, ""))), Opaque, ""},
		{"no names", helloWith(sni()), Opaque, ""},
		{"a dot at the end", helloWith(sni(named(0, "a."))), Opaque, ""},
		{"a dot at the begin", helloWith(sni(named(0, ".a"))), Opaque, ""},
		{"two dots", helloWith(sni(named(0, "a..b"))), Opaque, ""},
		{"a colon", helloWith(sni(named(0, "a:b"))), Opaque, ""},
		{"a slash", helloWith(sni(named(0, "a/b"))), Opaque, ""},
		{"a line end", helloWith(sni(named(0, "a\nb"))), Opaque, ""},
		{"beyond ASCII", helloWith(sni(named(0, "\xc3\xa9"))), Opaque, ""},
		{"too long a name", helloWith(sni(named(0, strings.Repeat("a", maxName+1)))), Opaque, ""},
		{"bytes behind the names", helloWith(extension(extensionServerName, vector16(named(0, "a"))+"x")), Opaque, ""},
		{"a name beyond the list", helloWith(extension(extensionServerName, vector16("\x00\x00\x09a"))), Opaque, ""},
		{"an empty protocol", helloWith(extension(extensionALPN, vector16("\x00"))), Opaque, ""},
		{"no protocols", helloWith(extension(extensionALPN, vector16(""))), Opaque, ""},
		{"a protocol beyond the list", helloWith(extension(extensionALPN, vector16("\x05h2"))), Opaque, ""},
		{"bytes behind the extensions", handshake("\x03\x03" + random + "\x00\x00\x02\x13\x01\x01\x00\x00\x00x"), Opaque, ""},
		{"extensions beyond the end", handshake("\x03\x03" + random + "\x00\x00\x02\x13\x01\x01\x00\x00\x09x"), Opaque, ""},
		{"an extension beyond the end", handshake("\x03\x03" + random + "\x00\x00\x02\x13\x01\x01\x00\x00\x04\x00\x05\x00\x09"), Opaque, ""},
		{"no cipher suite", handshake("\x03\x03" + random + "\x00\x00\x00\x01\x00\x00\x00"), Opaque, ""},
		{"half a cipher suite", handshake("\x03\x03" + random + "\x00\x00\x01\x13\x01\x00\x00\x00"), Opaque, ""},
		{"no compression method", handshake("\x03\x03" + random + "\x00\x00\x02\x13\x01\x00\x00\x00"), Opaque, ""},
		{"a long session", handshake("\x03\x03" + random + "\x21" + strings.Repeat("s", 33) + "\x00\x02\x13\x01\x01\x00"), Opaque, ""},
		{"a version before SSL 3", handshake("\x02\x00" + random + "\x00\x00\x02\x13\x01\x01\x00"), Opaque, ""},
		{"suites beyond the end", handshake("\x03\x03" + random + "\x00\x00\xf0\x13\x01\x01\x00"), Opaque, ""},
		{"another record within", append(inRecords(message(helloWith()), 20)[:25], "\x15\x03\x01\x00\x02\x01\x00"...), Opaque, ""},
	} {
		var h Hello
		if got := Look(tt.b, &h); got != tt.want || got == TLS && string(h.ServerName()) != tt.name {
			t.Errorf("%s: %v %q, want %v %q", tt.what, got, h.ServerName(), tt.want, tt.name)
		}
	}
}

func TestProtocolsBeyondTheBoundAreLeftOut(t *testing.T) {
	list := strings.Repeat("\x02h2", 84) + "\x05short" + "\x02h3"
	var h Hello
	if kind := Look(helloWith(extension(extensionALPN, vector16(list))), &h); kind != TLS {
		t.Fatal(kind)
	}
	if got := protocolsOf(&h); len(got) != 85 || got[84] != "h3" {
		t.Errorf("%d protocols, the last %q", len(got), got[len(got)-1])
	}
}

// asRead is what crypto/tls makes of the same bytes; nil: it refuses them.
func asRead(b []byte) *tls.ClientHelloInfo {
	var info *tls.ClientHelloInfo
	stop := errors.New("seen")
	_ = tls.Server(&scripted{Reader: bytes.NewReader(b)}, &tls.Config{
		GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
			info = i
			return nil, stop
		},
	}).Handshake() // it fails: there is no more to read, or by stop
	return info
}

// FuzzHello compares with crypto/tls: what that reads is read here too, alike,
// but for what is stricter here by intent.
func FuzzHello(f *testing.F) {
	for _, name := range []string{"shop.example", "", "a"} {
		f.Add(message(clientHelloOf(f, name, "h2", "http/1.1")), uint16(100))
	}
	f.Add(message(helloWith(extension(extensionServerName, vector16(named(0, "a.b"))))), uint16(1))
	f.Add(message(helloWith()), uint16(7))
	f.Fuzz(func(t *testing.T, m []byte, size uint16) {
		b := inRecords(m, max(1, min(int(size), maxRecord)))
		var h Hello
		kind := Look(b, &h)
		info := asRead(b)
		if info == nil {
			return // it looks into more extensions
		}
		if kind != TLS {
			if !stricter(b, m, info) {
				t.Errorf("%v, but crypto/tls reads a hello for %q", kind, info.ServerName)
			}
			return
		}
		if got := string(h.ServerName()); got != info.ServerName {
			t.Errorf("server name %q, crypto/tls reads %q", got, info.ServerName)
		}
		if got := protocolsOf(&h); len(strings.Join(info.SupportedProtos, ".")) < maxProtocols && !slices.Equal(got, info.SupportedProtos) {
			t.Errorf("protocols %q, crypto/tls reads %q", got, info.SupportedProtos)
		}
	})
}

// stricter tells whether a hello breaks a rule that crypto/tls does not keep.
func stricter(b, m []byte, info *tls.ClientHelloInfo) bool {
	suites := 39 + int(m[38])
	return len(b) > MaxBytes || m[4] != majorVersion || m[38] > 32 ||
		m[suites] == 0 && m[suites+1] == 0 || m[suites+2+int(m[suites])<<8+int(m[suites+1])] == 0 ||
		len(info.Extensions) > maxExtensions ||
		len(info.ServerName) > maxName || info.ServerName != "" && !validName([]byte(info.ServerName))
}
