package proxy

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/detect"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// newDetectRig is a Server that looks at first bytes; what is no HTTP goes to
// the same endpoints.
func newDetectRig(t testing.TB, addresses []string, edit func(*ServerConfig, *upstream.Config)) *rig {
	t.Helper()
	var action atomic.Pointer[route.Action]
	r := newRig(t, addresses, func(s *ServerConfig, c *upstream.Config) {
		s.Protocol = ProtocolDetect
		s.TCP = action.Load
		s.Timeouts.Detect = time.Minute
		if edit != nil {
			edit(s, c)
		}
	})
	action.Store(route.NewAction("bytes", 0, route.Backend{Cluster: r.cluster, Weight: 1}))
	return r
}

// certificate makes a self-signed one.
func certificate(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestTLSIsPassedThroughByName(t *testing.T) {
	const name = "shop.example"
	cert := certificate(t, name)
	up := startUpstream(t, func(p *peer, _ int) {
		s := tls.Server(p.Conn, &tls.Config{Certificates: []tls.Certificate{cert}})
		_, _ = io.Copy(s, s)
		_ = s.CloseWrite()
	})
	roots := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(leaf)
	for _, tt := range []struct{ original, authority string }{
		{"", name + ":443"},
		{"10.0.0.1:8443", name + ":8443"},
	} {
		hosts := &namedHosts{tables: map[string]*route.Table{}}
		var network redirection
		if tt.original != "" {
			network.set(tt.original)
		}
		r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) {
			s.Protocol, s.Hosts, s.original = ProtocolDetect, hosts, network.original
		})
		hosts.know(tt.authority, anyPath(0, r.cluster))
		c := tls.Client(dial(t, r.addr).Conn, &tls.Config{ServerName: name, RootCAs: roots})
		if _, err := io.WriteString(c, "secret"); err != nil {
			t.Fatalf("%s: %v", tt.authority, err)
		}
		_ = c.CloseWrite()
		got, err := io.ReadAll(c)
		if string(got) != "secret" || err != nil {
			t.Errorf("%s: %q, %v", tt.authority, got, err)
		}
		c.Close()
		if line := r.logged(); !strings.Contains(line, " "+name+" test\n") || !strings.Contains(line, `"`+tt.authority+`"`) {
			t.Errorf("logged %q", line)
		}
	}
}

func TestTLSOfAnUnknownName(t *testing.T) {
	hosts := &namedHosts{}
	r := newRig(t, nil, func(s *ServerConfig, _ *upstream.Config) { s.Protocol, s.Hosts = ProtocolDetect, hosts })
	c := tls.Client(dial(t, r.addr).Conn, &tls.Config{ServerName: "nobody.example", MinVersion: tls.VersionTLS12})
	if err := c.Handshake(); err == nil {
		t.Error("somebody answered")
	}
	if line := r.logged(); !strings.Contains(line, " 0 NR route_not_found ") || !strings.Contains(line, " nobody.example -\n") {
		t.Errorf("logged %q", line)
	}
}

// A name that nobody knows may be asked for at an address that is known.
func TestTLSByAddressWhereTheNameIsUnknown(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) { p.send("raw") })
	hosts := &namedHosts{tables: map[string]*route.Table{}}
	var network redirection
	network.set("10.0.0.1:443")
	r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) {
		s.Protocol, s.Hosts, s.original = ProtocolDetect, hosts, network.original
	})
	hosts.know("10.0.0.1:443", anyPath(0, r.cluster))
	var said bytes.Buffer
	c := dial(t, r.addr)
	_ = tls.Client(&record{c.Conn, &said}, &tls.Config{ServerName: "x.example", MinVersion: tls.VersionTLS12}).Handshake()
	if said.String() != "raw" {
		t.Errorf("%q", said.String())
	}
	if want := []string{"x.example:443", "10.0.0.1:443"}; strings.Join(hosts.asked, " ") != strings.Join(want, " ") {
		t.Errorf("asked %q, want %q", hosts.asked, want)
	}
}

// record keeps what was read.
type record struct {
	net.Conn
	said *bytes.Buffer
}

func (r *record) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.said.Write(b[:n])
	return n, err
}

// agreeing is a transport on which a protocol was agreed.
type agreeing struct {
	net.Conn
	protocol string
}

func (a agreeing) Protocol() string { return a.protocol }

func TestAgreedProtocolDecides(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) { p.send("raw:" + p.rest()) })
	wrap := func(protocol string) func(context.Context, net.Conn) (net.Conn, error) {
		return func(_ context.Context, c net.Conn) (net.Conn, error) { return agreeing{c, protocol}, nil }
	}
	for _, tt := range []struct {
		protocol string
		send     string
		want     string // begin of the answer
	}{
		{"http/1.1", "\x00\x01\r\n\r\n", "HTTP/1.1 400"},
		{"http/1.1", detect.Preface, "HTTP/1.1 400"},
		{"other", "GET / HTTP/1.1\r\n", "raw:GET"},
		{"", "\x00", "raw:\x00"},
	} {
		r := newDetectRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) {
			s.Wrap = wrap(tt.protocol)
			quickly(s)
		})
		c := dial(t, r.addr)
		c.send(tt.send)
		closeWrite(t, c.Conn)
		if got := c.rest(); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%q agreed, %q sent: %q, want %q", tt.protocol, tt.send, got, tt.want)
		}
		r.drain()
	}
}

func TestListenersOfOneVersion(t *testing.T) {
	up := startUpstream(t, answering(okAnswer("hello")))
	for _, tt := range []struct {
		protocol Protocol
		send     string
		want     string // begin of the answer
	}{
		{ProtocolHTTP1, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 200"},
		{ProtocolHTTP1, detect.Preface, "HTTP/1.1 400"},
		{ProtocolHTTP2, detect.Preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00", "\x00\x00"},
		{ProtocolHTTP, detect.Preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00", "\x00\x00"},
	} {
		r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) {
			s.Protocol = tt.protocol
			quickly(s)
		})
		c := dial(t, r.addr)
		c.send(tt.send)
		if got, err := c.br.Peek(len(tt.want)); string(got) != tt.want {
			t.Errorf("protocol %d, %q sent: %q, %v; want %q", tt.protocol, tt.send, got, err, tt.want)
		}
		r.drain()
	}
	r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) { s.Protocol = ProtocolHTTP2 })
	c := dial(t, r.addr)
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if got := c.rest(); strings.Contains(got, "HTTP/1.1") || up.heads.Load() != 1 {
		t.Errorf("HTTP/1.1 on a listener of HTTP/2: %q", got)
	}
}

func TestOverloadIsNotToldAsHTTPWhereThatIsNotSpoken(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) { p.send("x"); p.rest() })
	for _, tt := range []struct {
		protocol Protocol
		want     string
	}{{ProtocolHTTP, "HTTP/1.1 503"}, {ProtocolTCP, ""}} {
		r := newTCPRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) {
			s.Protocol, s.MaxConnections = tt.protocol, 1
			if tt.protocol == ProtocolHTTP {
				s.TCP = nil
			}
		})
		dial(t, r.addr)
		eventually(t, "one is open", func() bool { return r.server.Open() == 1 })
		if got := dial(t, r.addr).rest(); !strings.HasPrefix(got, tt.want) || (tt.want == "") != (got == "") {
			t.Errorf("protocol %d: %q, want %q", tt.protocol, got, tt.want)
		}
	}
}
