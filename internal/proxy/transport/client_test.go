package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/transport/tlstest"
)

// TestClientVerifies dials servers with all kinds of certificates.
func TestClientVerifies(t *testing.T) {
	ca, other := tlstest.NewCA(t, "good CA"), tlstest.NewCA(t, "other CA")
	names := []string{"bb.demo.svc", "*.wild.example", "spiffe://mesh/ns/demo/sa/bb", "10.1.2.3"}
	good := ca.Issue(tlstest.Leaf{Subject: "bb", Names: names})
	only := func(m NameMatch) Verify { return Verify{TrustedCA: trusts(ca), Names: []NameMatch{m}} }
	regex, err := CompileName(`spiffe://mesh/ns/[a-z]+/sa/bb`)
	if err != nil {
		t.Fatal(err)
	}
	partial, err := CompileName(`ns/demo`)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		server tlstest.Pair
		verify Verify
		want   string // of the error; "": it passes
	}{
		{"chain alone", good, Verify{TrustedCA: trusts(ca)}, ""},
		{"wrong CA", good, Verify{TrustedCA: trusts(other)}, `the certificate of "bb.demo.svc"`},
		{"system's CAs", good, Verify{SystemRoots: true}, "unknown authority"},
		{"insecure", good, Verify{Insecure: true, TrustedCA: trusts(other)}, ""},
		{"expired", ca.Issue(tlstest.Leaf{NotAfter: time.Now().Add(-time.Hour)}), Verify{TrustedCA: trusts(ca)}, "expired"},
		{"not yet", ca.Issue(tlstest.Leaf{NotBefore: time.Now().Add(time.Hour)}), Verify{TrustedCA: trusts(ca)}, "not yet valid"},
		{"a client's", ca.Issue(tlstest.Leaf{Use: x509.ExtKeyUsageClientAuth}), Verify{TrustedCA: trusts(ca)}, "key usage"},
		{"exact", good, only(NameMatch{Type: DNSName, Exact: "BB.demo.svc"}), ""},
		{"exact, wrong", good, only(NameMatch{Type: DNSName, Exact: "cc.demo.svc"}), `it has no name DNS "cc.demo.svc"`},
		{"exact, by wildcard", good, only(NameMatch{Type: DNSName, Exact: "a.wild.example"}), ""},
		{"exact, wildcard of two labels", good, only(NameMatch{Type: DNSName, Exact: "a.b.wild.example"}), "it has no name"},
		{"exact, bare", good, only(NameMatch{Type: DNSName, Exact: "wild.example"}), "it has no name"},
		{"common name is no name", ca.Issue(tlstest.Leaf{Subject: "bb"}), only(NameMatch{Exact: "bb"}), "no subject alternative name"},
		{"URI", good, only(NameMatch{Type: URIName, Exact: "spiffe://mesh/ns/demo/sa/bb"}), ""},
		{"URI is not DNS", good, only(NameMatch{Type: DNSName, Exact: "spiffe://mesh/ns/demo/sa/bb"}), "it has no name"},
		{"IP", good, only(NameMatch{Type: IPName, Exact: "::ffff:10.1.2.3"}), ""},
		{"IP, wrong", good, only(NameMatch{Type: IPName, Exact: "10.1.2.4"}), "it has no name IP"},
		{"prefix", good, only(NameMatch{Type: URIName, Prefix: "spiffe://mesh/"}), ""},
		{"suffix", good, only(NameMatch{Suffix: "/sa/bb"}), ""},
		{"suffix, wrong", good, only(NameMatch{Suffix: "/sa/b"}), "it has no name ending in"},
		{"contains, any case", good, only(NameMatch{Contains: "NS/DEMO", IgnoreCase: true}), ""},
		{"contains, case", good, only(NameMatch{Contains: "NS/DEMO"}), "it has no name with"},
		{"regex", good, only(NameMatch{Type: URIName, Regex: regex}), ""},
		{"regex of a part", good, only(NameMatch{Type: URIName, Regex: partial}), "it has no name URI matching"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address := echoTLS(t, &tls.Config{Certificates: []tls.Certificate{tt.server.TLS(t)}})
			c := loadClient(t, ClientConfig{Settings: Settings{Verify: tt.verify}})
			conn, err := dial(t, c, address, "")
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want == "":
				say(t, conn, "hello")
			case err == nil:
				t.Fatal("it passed")
			case !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), address):
				t.Fatalf("error %q, want one with %q and %s", err, tt.want, address)
			}
		})
	}
}

// TestClientResumes wants the second connection to one endpoint to resume the
// session of the first, to be verified nevertheless, and other endpoints and
// Clients to have sessions of their own.
func TestClientResumes(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			ca := tlstest.NewCA(t, "CA")
			server := &tls.Config{
				Certificates: []tls.Certificate{ca.Issue(tlstest.Leaf{Names: []string{"bb"}}).TLS(t)},
				NextProtos:   []string{HTTP2, HTTP1}, MaxVersion: version,
			}
			address, elsewhere := echoTLS(t, server), echoTLS(t, server.Clone())
			now := time.Now()
			cfg := ClientConfig{
				Settings:   Settings{Verify: Verify{TrustedCA: trusts(ca)}, Now: func() time.Time { return now }},
				ServerName: "bb",
			}
			c := loadClient(t, cfg)
			again := func(c *Client, address, alpn string) bool {
				t.Helper()
				conn := mustDial(t, c, address, alpn)
				say(t, conn, "hello") // with the answer come the tickets
				resumed := conn.ConnectionState().DidResume
				conn.Close()
				return resumed
			}
			if again(c, address, HTTP1) {
				t.Error("the first connection resumed")
			}
			if !again(c, address, HTTP1) {
				t.Error("the second connection did not resume")
			}
			if again(c, elsewhere, HTTP1) {
				t.Error("another endpoint got the session")
			}
			if again(c, address, HTTP2) {
				t.Error("another protocol got the session")
			}
			cfg.Sessions = -1
			none := loadClient(t, cfg)
			for range 2 {
				if again(none, address, HTTP1) {
					t.Error("resumed without sessions")
				}
			}
			// The session is good, the certificate in it no longer.
			now = now.AddDate(15, 0, 0)
			if _, err := dial(t, c, address, HTTP1); err == nil {
				t.Error("a certificate that has expired since was taken")
			}
		})
	}
}

// TestClientSessionsAreBounded dials one endpoint more than sessions are kept.
func TestClientSessionsAreBounded(t *testing.T) {
	ca := tlstest.NewCA(t, "CA")
	server := &tls.Config{Certificates: []tls.Certificate{ca.Issue(tlstest.Leaf{}).TLS(t)}}
	first, second := echoTLS(t, server), echoTLS(t, server)
	c := loadClient(t, ClientConfig{Settings: Settings{Verify: Verify{TrustedCA: trusts(ca)}}, Sessions: 1})
	for i, address := range []string{first, second, first} {
		conn := mustDial(t, c, address, "")
		say(t, conn, "hello")
		if conn.ConnectionState().DidResume {
			t.Errorf("connection %d resumed a session that has no place", i)
		}
		conn.Close()
	}
}

func TestClientALPN(t *testing.T) {
	ca := tlstest.NewCA(t, "CA")
	cert := []tls.Certificate{ca.Issue(tlstest.Leaf{}).TLS(t)}
	both := echoTLS(t, &tls.Config{Certificates: cert, NextProtos: []string{HTTP2, HTTP1}})
	one := echoTLS(t, &tls.Config{Certificates: cert, NextProtos: []string{HTTP1}})
	none := echoTLS(t, &tls.Config{Certificates: cert})
	c := loadClient(t, ClientConfig{Settings: Settings{Verify: Verify{TrustedCA: trusts(ca)}, ALPN: []string{"mine", HTTP1}}})
	for _, tt := range []struct {
		address, alpn, want, wrong string
	}{
		{both, HTTP2, HTTP2, ""},
		{both, HTTP1, HTTP1, ""},
		{both, "", HTTP1, ""},
		{one, HTTP1, HTTP1, ""},
		{none, HTTP1, "", ""},
		{none, "", "", ""},
		{none, HTTP2, "", "does not speak HTTP/2"},
		{one, HTTP2, "", "no application protocol"},
	} {
		conn, err := dial(t, c, tt.address, tt.alpn)
		switch {
		case err != nil && (tt.wrong == "" || !strings.Contains(err.Error(), tt.wrong)):
			t.Errorf("ALPN %q: %v, want %q", tt.alpn, err, tt.wrong)
		case err == nil && tt.wrong != "":
			t.Errorf("ALPN %q: passed, want %q", tt.alpn, tt.wrong)
		case err == nil && conn.Protocol() != tt.want:
			t.Errorf("ALPN %q: %q, want %q", tt.alpn, conn.Protocol(), tt.want)
		}
	}
	if _, err := dial(t, c, none, HTTP2); !errors.Is(err, ErrNoHTTP2) {
		t.Errorf("%v is not ErrNoHTTP2", err)
	}
}

func TestClientServerName(t *testing.T) {
	ca := tlstest.NewCA(t, "CA")
	heard := make(chan string, 1)
	address := echoTLS(t, &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(tlstest.Leaf{}).TLS(t)},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			heard <- hello.ServerName
			return nil, nil
		},
	})
	for name, want := range map[string]string{
		"": "", "bb.demo.svc": "bb.demo.svc", "bb.demo.": "bb.demo", "10.0.0.1": "", "::1": "", "[::1]": "",
	} {
		c := loadClient(t, ClientConfig{Settings: Settings{Verify: Verify{TrustedCA: trusts(ca)}}, ServerName: name})
		mustDial(t, c, address, "")
		if got := <-heard; got != want {
			t.Errorf("server name %q: %q was sent, want %q", name, got, want)
		}
	}
}

// TestMutual has a foreign server that requires a certificate.
func TestMutual(t *testing.T) {
	ca, clients := tlstest.NewCA(t, "CA"), tlstest.NewCA(t, "clients' CA")
	address := echoTLS(t, &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(tlstest.Leaf{}).TLS(t)},
		ClientCAs:    clients.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	})
	settings := Settings{Verify: Verify{TrustedCA: trusts(ca)}}
	bare := loadClient(t, ClientConfig{Settings: settings})
	if conn, err := dial(t, bare, address, ""); err == nil {
		// TLS 1.3: the server's refusal comes after our handshake is complete.
		err = echo(conn, "hello")
		if err == nil || !strings.Contains(err.Error(), "certificate required") {
			t.Errorf("without a certificate: %v", err)
		}
	}
	settings.Certificates = []KeyPair{inline(clients.Issue(tlstest.Leaf{Subject: "us"}))}
	say(t, mustDial(t, loadClient(t, ClientConfig{Settings: settings}), address, ""), "hello")
}

func TestVersionsAndSuites(t *testing.T) {
	ca := tlstest.NewCA(t, "CA")
	cert := []tls.Certificate{ca.Issue(tlstest.Leaf{}).TLS(t)}
	settings := Settings{Verify: Verify{TrustedCA: trusts(ca)}}
	old := echoTLS(t, &tls.Config{Certificates: cert, MaxVersion: tls.VersionTLS12})
	settings.MinVersion = tls.VersionTLS13
	if _, err := dial(t, loadClient(t, ClientConfig{Settings: settings}), old, ""); err == nil {
		t.Error("TLS 1.2 was taken")
	}
	settings.MinVersion = 0
	var err error
	if settings.CipherSuites, err = ParseCipherSuites([]string{"[ECDHE-ECDSA-CHACHA20-POLY1305|ECDHE-RSA-CHACHA20-POLY1305]"}); err != nil {
		t.Fatal(err)
	}
	conn := mustDial(t, loadClient(t, ClientConfig{Settings: settings}), old, "")
	if got := conn.ConnectionState().CipherSuite; got != tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 {
		t.Errorf("cipher suite %s", tls.CipherSuiteName(got))
	}
	if _, err := ParseCipherSuites([]string{"RC4-SHA"}); err == nil || !strings.Contains(err.Error(), `"RC4-SHA"`) {
		t.Errorf("RC4: %v", err)
	}
	if got, err := ParseCurves([]string{"X25519", "P-256"}); err != nil || fmt.Sprint(got) != fmt.Sprint([]tls.CurveID{tls.X25519, tls.CurveP256}) {
		t.Errorf("curves %v, %v", got, err)
	}
	if _, err := ParseCurves([]string{"P-192"}); err == nil {
		t.Error("P-192 was taken")
	}
}

// TestClientBadPeers are peers that do not shake hands.
func TestClientBadPeers(t *testing.T) {
	c := loadClient(t, ClientConfig{Settings: Settings{Verify: Verify{Insecure: true}}})
	t.Run("plain HTTP", func(t *testing.T) {
		address := serve(t, func(nc net.Conn) {
			_, _ = io.ReadFull(nc, make([]byte, 5))
			_, _ = io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\n\r\n")
			_, _ = io.Copy(io.Discard, nc)
		})
		if _, err := dial(t, c, address, ""); err == nil || !strings.Contains(err.Error(), `does not speak TLS, its first bytes are "HTTP/"`) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("closes", func(t *testing.T) {
		address := serve(t, func(nc net.Conn) { _, _ = io.ReadFull(nc, make([]byte, 5)) })
		if _, err := dial(t, c, address, ""); err == nil {
			t.Error("it passed")
		}
	})
	t.Run("nobody", func(t *testing.T) {
		ln := listen(t)
		ln.Close()
		if _, err := dial(t, c, ln.Addr().String(), ""); err == nil {
			t.Error("it passed")
		}
	})
	t.Run("silent", func(t *testing.T) {
		address := serve(t, func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) })
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := c.Dial(ctx, address, "")
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "took too long") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		address := serve(t, func(nc net.Conn) {
			_, _ = io.ReadFull(nc, make([]byte, 5))
			cancel()
			_, _ = io.Copy(io.Discard, nc)
		})
		if _, err := c.Dial(ctx, address, ""); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestLoadClientRefuses(t *testing.T) {
	ca := tlstest.NewCA(t, "CA")
	leaf, leaf2 := ca.Issue(tlstest.Leaf{}), ca.Issue(tlstest.Leaf{})
	dir := t.TempDir()
	missing := dir + "/missing.pem"
	empty := tlstest.Write(t, dir, "empty.pem", nil)
	key := tlstest.Write(t, dir, "key.pem", leaf2.Key)
	for want, s := range map[string]Settings{
		"nothing to verify the peer with": {},
		missing + ": no such file":        {Verify: Verify{TrustedCA: Source{File: missing}}},
		empty + ": is empty":              {Verify: Verify{TrustedCA: Source{File: empty}}},
		key + ": has no certificate":      {Verify: Verify{TrustedCA: Source{File: key}}},
		dir + ": is no regular file":      {Verify: Verify{TrustedCA: Source{File: dir}}},
		"with key " + key + ": private key does not match": {
			Verify: Verify{Insecure: true}, Certificates: []KeyPair{{Chain: Source{Inline: leaf.Cert}, Key: Source{File: key}}},
		},
		"certificate 0: the private key is missing": {Verify: Verify{Insecure: true}, Certificates: []KeyPair{{Chain: Source{Inline: leaf.Cert}}}},
		"minimum version TLS 1.1":                   {Verify: Verify{Insecure: true}, MinVersion: tls.VersionTLS11},
		"must be at most the maximum":               {Verify: Verify{Insecure: true}, MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS12},
		"name 0: 0 patterns":                        {Verify: Verify{Insecure: true, Names: []NameMatch{{}}}},
		"name 0: 2 patterns":                        {Verify: Verify{Insecure: true, Names: []NameMatch{{Exact: "a", Prefix: "b"}}}},
		"is no IP address":                          {Verify: Verify{Insecure: true, Names: []NameMatch{{Type: IPName, Exact: "a"}}}},
		"ALPN protocol \"\"":                        {Verify: Verify{Insecure: true}, ALPN: []string{""}},
	} {
		_, err := LoadClient(ClientConfig{Settings: s})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	if _, err := CompileName("a)|(b"); err == nil {
		t.Error("an expression that ends its group was taken")
	}
}
