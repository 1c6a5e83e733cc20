package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/transport/tlstest"
)

// serveOurs accepts with s; what it hears it says again. Errors of Wrap come on
// the channel, nil for a connection that is taken.
func serveOurs(t *testing.T, s *Server) (address string, wrapped <-chan error) {
	t.Helper()
	results := make(chan error, 16)
	address = serve(t, func(nc net.Conn) {
		c, err := s.Wrap(t.Context(), nc)
		results <- err
		if err == nil {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	})
	return address, results
}

// foreign dials with crypto/tls itself and wants an echo.
func foreign(t *testing.T, address string, config *tls.Config) (*tls.ConnectionState, error) {
	t.Helper()
	d := net.Dialer{Timeout: patience}
	c, err := tls.DialWithDialer(&d, "tcp", address, config)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if err := echo(c, "hello"); err != nil {
		return nil, err
	}
	state := c.ConnectionState()
	return &state, nil
}

func TestServerClientCertificates(t *testing.T) {
	ca, clients, other := tlstest.NewCA(t, "CA"), tlstest.NewCA(t, "clients' CA"), tlstest.NewCA(t, "other CA")
	own := []KeyPair{inline(ca.Issue(tlstest.Leaf{Names: []string{"bb"}}))}
	trust := Verify{TrustedCA: trusts(clients)}
	named := Verify{TrustedCA: trusts(clients), Names: []NameMatch{{Type: URIName, Prefix: "spiffe://mesh/ns/demo/"}}}
	good := clients.Issue(tlstest.Leaf{Names: []string{"spiffe://mesh/ns/demo/sa/a"}})
	elsewhere := clients.Issue(tlstest.Leaf{Names: []string{"spiffe://mesh/ns/else/sa/a"}})
	stranger := other.Issue(tlstest.Leaf{Names: []string{"spiffe://mesh/ns/demo/sa/a"}})
	expired := clients.Issue(tlstest.Leaf{NotAfter: time.Now().Add(-time.Hour)})
	for _, tt := range []struct {
		name    string
		verify  Verify
		require bool
		show    *tlstest.Pair
		want    string // of the server's error
	}{
		{"none is asked for", Verify{}, false, &stranger, ""},
		{"none is needed", trust, false, nil, ""},
		{"one is shown", trust, false, &good, ""},
		{"a wrong one is shown", trust, false, &stranger, "unknown authority"},
		{"required", trust, true, &good, ""},
		{"required and missing", trust, true, nil, "didn't provide a certificate"},
		{"required and expired", trust, true, &expired, "expired"},
		{"required and wrong", trust, true, &stranger, "unknown authority"},
		{"name", named, true, &good, ""},
		{"wrong name", named, true, &elsewhere, `it has no name URI beginning with "spiffe://mesh/ns/demo/"`},
		{"required, whichever", Verify{Insecure: true}, true, &stranger, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := loadServer(t, ServerConfig{Settings: Settings{Certificates: own, Verify: tt.verify}, RequireCertificate: tt.require})
			address, wrapped := serveOurs(t, s)
			config := &tls.Config{RootCAs: ca.Pool(), ServerName: "bb"}
			if tt.show != nil {
				cert := tt.show.TLS(t)
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
			}
			_, err := foreign(t, address, config)
			refused := <-wrapped
			switch {
			case tt.want == "" && (err != nil || refused != nil):
				t.Errorf("client: %v, server: %v", err, refused)
			case tt.want != "" && (err == nil || refused == nil || !strings.Contains(refused.Error(), tt.want)):
				t.Errorf("client: %v, server: %v, want %q", err, refused, tt.want)
			}
		})
	}
}

// TestServerResumes wants a second connection to resume, also after the
// certificate was replaced, and a client's certificate to be looked at again.
func TestServerResumes(t *testing.T) {
	ca, clients := tlstest.NewCA(t, "CA"), tlstest.NewCA(t, "clients' CA")
	dir := t.TempDir()
	first := ca.Issue(tlstest.Leaf{Names: []string{"bb"}})
	now := time.Now()
	cfg := ServerConfig{
		Settings: Settings{
			Certificates: []KeyPair{{
				Chain: Source{File: tlstest.Write(t, dir, "cert.pem", first.Cert)},
				Key:   Source{File: tlstest.Write(t, dir, "key.pem", first.Key)},
			}},
			Verify: Verify{TrustedCA: trusts(clients)}, ALPN: []string{HTTP2, HTTP1},
			Now: func() time.Time { return now },
		},
		RequireCertificate: true,
	}
	address, wrapped := serveOurs(t, loadServer(t, cfg))
	client := &tls.Config{
		RootCAs: ca.Pool(), ServerName: "bb", NextProtos: []string{HTTP1}, ClientSessionCache: tls.NewLRUClientSessionCache(1),
		Certificates: []tls.Certificate{clients.Issue(tlstest.Leaf{NotAfter: now.AddDate(0, 0, 3)}).TLS(t)},
	}
	visit := func() (resumed bool, err error) {
		state, err := foreign(t, address, client)
		return err == nil && state.DidResume, errors.Join(err, <-wrapped)
	}
	if resumed, err := visit(); resumed || err != nil {
		t.Fatalf("first: resumed %v, %v", resumed, err)
	}
	if resumed, err := visit(); !resumed || err != nil {
		t.Fatalf("second: resumed %v, %v", resumed, err)
	}
	second := ca.Issue(tlstest.Leaf{Names: []string{"bb"}})
	tlstest.Write(t, dir, "cert.pem", second.Cert)
	tlstest.Write(t, dir, "key.pem", second.Key)
	now = now.Add(DefaultReread)
	if resumed, err := visit(); !resumed || err != nil {
		t.Fatalf("after a reload: resumed %v, %v", resumed, err)
	}
	now = now.AddDate(0, 0, 4)
	if _, err := visit(); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("a client's certificate that expired since: %v", err)
	}

	cfg.NoTickets = true
	now = time.Now()
	address, wrapped = serveOurs(t, loadServer(t, cfg))
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for range 2 {
		if resumed, err := visit(); resumed || err != nil {
			t.Errorf("without tickets: resumed %v, %v", resumed, err)
		}
	}
}

func TestServerALPNAndNames(t *testing.T) {
	ca := tlstest.NewCA(t, "CA")
	settings := Settings{
		Certificates: []KeyPair{
			inline(ca.Issue(tlstest.Leaf{Names: []string{"first"}})),
			inline(ca.Issue(tlstest.Leaf{Names: []string{"second"}})),
		},
		ALPN: []string{HTTP2, HTTP1},
	}
	address, wrapped := serveOurs(t, loadServer(t, ServerConfig{Settings: settings, RequireServerName: true}))
	for _, tt := range []struct {
		offer []string
		want  string
		ok    bool
	}{
		{[]string{HTTP1, HTTP2}, HTTP2, true}, // the server's order
		{[]string{HTTP1}, HTTP1, true},
		{nil, "", true},
		{[]string{"other"}, "", false},
	} {
		state, err := foreign(t, address, &tls.Config{RootCAs: ca.Pool(), ServerName: "second", NextProtos: tt.offer})
		refused := <-wrapped
		if ok := err == nil && refused == nil; ok != tt.ok || ok && state.NegotiatedProtocol != tt.want {
			t.Errorf("offer %q: %+v, client: %v, server: %v", tt.offer, state, err, refused)
		}
	}
	if _, err := foreign(t, address, &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Error("a caller without a server name passed")
	}
	if err := <-wrapped; !errors.Is(err, errNoServerName) {
		t.Errorf("no server name: %v", err)
	}
}

// TestServerBadCallers are callers that do not shake hands.
func TestServerBadCallers(t *testing.T) {
	ca := tlstest.NewCA(t, "CA")
	cfg := ServerConfig{Settings: Settings{Certificates: []KeyPair{inline(ca.Issue(tlstest.Leaf{}))}}}
	call := func(t *testing.T, address string) net.Conn {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		_ = nc.SetDeadline(time.Now().Add(patience))
		return nc
	}
	t.Run("plain HTTP", func(t *testing.T) {
		address, wrapped := serveOurs(t, loadServer(t, cfg))
		nc := call(t, address)
		// As much as the server reads before it gives up: more would let the
		// kernel reset the connection over the answer.
		_, _ = io.WriteString(nc, "GET /")
		answer, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "HTTPS only") {
			t.Errorf("%s, %q, %v", answer.Status, body, err)
		}
		if err := <-wrapped; err == nil || !strings.Contains(err.Error(), `first bytes are "GET /"`) || !strings.Contains(err.Error(), nc.LocalAddr().String()) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("something", func(t *testing.T) {
		address, wrapped := serveOurs(t, loadServer(t, cfg))
		nc := call(t, address)
		_, _ = io.WriteString(nc, "\x00\x01\x02\x03\x04\x05")
		if err := <-wrapped; err == nil || !strings.Contains(err.Error(), "does not speak TLS") {
			t.Errorf("error %v", err)
		}
		answer, _ := io.ReadAll(nc)
		if strings.Contains(string(answer), "HTTP") {
			t.Errorf("was told %q", answer)
		}
	})
	t.Run("slow", func(t *testing.T) {
		cfg := cfg
		cfg.HandshakeTimeout = 50 * time.Millisecond
		address, wrapped := serveOurs(t, loadServer(t, cfg))
		nc := call(t, address)
		_, _ = nc.Write([]byte{22, 3, 1}) // the begin of a record
		if err := <-wrapped; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if _, err := nc.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the connection is still open: %v", err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := loadServer(t, cfg)
		wrapped := make(chan error, 1)
		address := serve(t, func(nc net.Conn) {
			_, err := s.Wrap(ctx, nc)
			wrapped <- err
		})
		_, _ = call(t, address).Write([]byte{22, 3, 1})
		cancel()
		if err := <-wrapped; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

func TestLoadServerRefuses(t *testing.T) {
	ca := tlstest.NewCA(t, "CA")
	own := []KeyPair{inline(ca.Issue(tlstest.Leaf{}))}
	for want, cfg := range map[string]ServerConfig{
		"at least one is needed":                 {},
		"nothing to verify it with":              {Settings: Settings{Certificates: own}, RequireCertificate: true},
		"nothing to verify their certificates":   {Settings: Settings{Certificates: own, Verify: Verify{Names: []NameMatch{{Exact: "a"}}}}},
		"handshake timeout -1s":                  {Settings: Settings{Certificates: own}, HandshakeTimeout: -time.Second},
		"certificate /nowhere: no such file":     {Settings: Settings{Certificates: []KeyPair{{Chain: Source{File: "/nowhere"}, Key: own[0].Key}}}},
		"with key inline text: failed to find":   {Settings: Settings{Certificates: []KeyPair{{Chain: own[0].Chain, Key: Source{Inline: []byte("x")}}}}},
		"reread -1s":                             {Settings: Settings{Certificates: own, Reread: -time.Second}},
		"maximum version TLS 1.0: TLS 1.2 and 1": {Settings: Settings{Certificates: own, MaxVersion: tls.VersionTLS10}},
	} {
		_, err := LoadServer(cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
