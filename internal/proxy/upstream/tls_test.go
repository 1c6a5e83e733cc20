package upstream

import (
	"bufio"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/transport"
	"github.com/reclosermesh/recloser/internal/proxy/transport/tlstest"
)

// tlsServer serves both versions over TLS on an endpoint's address.
type tlsServer struct {
	http.Server
	ln       net.Listener
	accepted atomic.Int64
}

func newTLSServer(t *testing.T, ca *tlstest.CA, version uint16) *tlsServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &tlsServer{ln: ln}
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	s.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLSConfig = &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(tlstest.Leaf{Names: []string{"127.0.0.1"}}).TLS(t)},
		MinVersion:   version, MaxVersion: version,
	}
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.accepted.Add(1)
		}
	}
	var served sync.WaitGroup
	served.Go(func() { _ = s.ServeTLS(ln, "", "") })
	t.Cleanup(func() {
		s.Close()
		served.Wait()
	})
	return s
}

// get1 is one exchange of HTTP/1.1 on a pooled connection.
func get1(t *testing.T, e *Endpoint) *Conn {
	t.Helper()
	c, err := e.Get(never-1, never, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello" {
		t.Fatalf("%q, %v", body, err)
	}
	e.Put(c, 0)
	return c
}

// Connections over TLS are pooled as others are: what TLS says by itself, as
// tickets do, is not taken for a dead connection, and a closed one is found.
func TestPoolsOverTLS(t *testing.T) {
	ca := tlstest.NewCA(t, "CA")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server := newTLSServer(t, ca, version)
		client, err := transport.LoadClient(transport.ClientConfig{
			Settings: transport.Settings{Verify: transport.Verify{TrustedCA: transport.Source{Inline: ca.PEM}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		cfg := config(server.ln.Addr().String())
		cfg.Dial, cfg.Transport = client.Dial, "tls"
		s, e := endpoint2(t, cfg)
		first := get1(t, e)
		for range 3 {
			if again := get1(t, e); again != first {
				t.Errorf("%s: a connection that lives was not used again", tls.VersionName(version))
			}
		}
		var users sync.WaitGroup
		for range 20 {
			users.Go(func() {
				if err := do(e, "/now"); err != nil {
					t.Error(err)
				}
			})
		}
		users.Wait()
		if n := server.accepted.Load(); n != 2 {
			t.Errorf("%s: %d connections, want one for each version of HTTP", tls.VersionName(version), n)
		}
		server.Close()
		eventually(t, "the closed connections are found", func() bool { return !first.checkAlive() && e.usable() == 0 })
		s.Apply(nil)
	}
}
