package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/transport"
	"github.com/reclosermesh/recloser/internal/proxy/transport/tlstest"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// secured holds who trusts whom in a test: callers trust ca for the proxy, the
// proxy trusts it for endpoints, and mesh is who both sides' clients are of.
type secured struct {
	t        testing.TB
	ca, mesh *tlstest.CA
}

func newSecured(t testing.TB) *secured {
	return &secured{t: t, ca: tlstest.NewCA(t, "servers' CA"), mesh: tlstest.NewCA(t, "clients' CA")}
}

func inlinePair(p tlstest.Pair) []transport.KeyPair {
	return []transport.KeyPair{{Chain: transport.Source{Inline: p.Cert}, Key: transport.Source{Inline: p.Key}}}
}

// listener is TLS with callers, who must show a certificate.
func (s *secured) listener(sc *ServerConfig) {
	s.t.Helper()
	server, err := transport.LoadServer(transport.ServerConfig{
		Settings: transport.Settings{
			Certificates: inlinePair(s.ca.Issue(tlstest.Leaf{Names: []string{"proxy"}})),
			Verify:       transport.Verify{TrustedCA: transport.Source{Inline: s.mesh.PEM}},
			ALPN:         []string{transport.HTTP2, transport.HTTP1},
		},
		RequireCertificate: true,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	sc.Wrap = server.Wrap
}

// cluster is mutual TLS to endpoints, which must be called "endpoint".
func (s *secured) cluster(uc *upstream.Config, edit func(*transport.ClientConfig)) {
	s.t.Helper()
	cfg := transport.ClientConfig{
		ServerName: "endpoint",
		Settings: transport.Settings{
			Certificates: inlinePair(s.mesh.Issue(tlstest.Leaf{Names: []string{"spiffe://mesh/proxy"}})),
			Verify: transport.Verify{
				TrustedCA: transport.Source{Inline: s.ca.PEM},
				Names:     []transport.NameMatch{{Type: transport.DNSName, Exact: "endpoint"}},
			},
		},
	}
	if edit != nil {
		edit(&cfg)
	}
	client, err := transport.LoadClient(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	uc.Dial, uc.Transport = client.Dial, "tls"
}

// endpoint is a net/http server that speaks what protocols says, and wants a
// certificate of the mesh. handshakes counts its connections.
func (s *secured) endpoint(h http.HandlerFunc, protocols ...string) (address string, handshakes *atomic.Int64) {
	s.t.Helper()
	handshakes = new(atomic.Int64)
	server := httptest.NewUnstartedServer(h)
	for _, p := range protocols {
		server.EnableHTTP2 = server.EnableHTTP2 || p == transport.HTTP2
	}
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{s.ca.Issue(tlstest.Leaf{Names: []string{"endpoint"}}).TLS(s.t)},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: s.mesh.Pool(), NextProtos: protocols,
		VerifyConnection: func(tls.ConnectionState) error {
			handshakes.Add(1)
			return nil
		},
	}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server.StartTLS()
	s.t.Cleanup(server.Close)
	return server.Listener.Addr().String(), handshakes
}

func (s *secured) caller(protocols ...string) *tls.Config {
	return &tls.Config{
		RootCAs: s.ca.Pool(), ServerName: "proxy", NextProtos: protocols,
		Certificates: []tls.Certificate{s.mesh.Issue(tlstest.Leaf{}).TLS(s.t)},
	}
}

func (s *secured) client(http2 bool) *http.Client {
	tr := &http.Transport{TLSClientConfig: s.caller(), ForceAttemptHTTP2: http2}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// dial is a caller of bytes.
func (s *secured) dial(address string, protocols ...string) *tls.Conn {
	s.t.Helper()
	c, err := tls.Dial("tcp", address, s.caller(protocols...))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(hangs))
	return c
}

func (r *rig) secureURL(path string) string { return "https://" + r.addr + path }

// TestTLSVersions carries bodies with each pair of what is agreed to on both
// sides, over few connections.
func TestTLSVersions(t *testing.T) {
	echo := func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		w.Header().Set("x-seen", fmt.Sprint(q.Proto, " ", q.TLS.ServerName, " ", q.TLS.PeerCertificates[0].URIs, " ", err))
		_, _ = w.Write(body)
	}
	for _, tt := range []struct {
		name string
		up   upstream.Protocol
		want [2]string // what the endpoint is spoken to in, by the caller's version
	}{
		{"HTTP/1.1", upstream.HTTP1, [2]string{"HTTP/1.1", "HTTP/1.1"}},
		{"HTTP/2", upstream.HTTP2, [2]string{"HTTP/2.0", "HTTP/2.0"}},
		{"as the caller", upstream.AsCaller, [2]string{"HTTP/1.1", "HTTP/2.0"}},
	} {
		for i, caller := range []string{"HTTP/1.1", "HTTP/2.0"} {
			t.Run(caller+" to "+tt.name, func(t *testing.T) {
				s := newSecured(t)
				address, handshakes := s.endpoint(echo, transport.HTTP2, transport.HTTP1)
				r := newRig(t, []string{address}, func(sc *ServerConfig, uc *upstream.Config) {
					s.listener(sc)
					s.cluster(uc, nil)
					uc.Protocol = tt.up
				})
				hc := s.client(i == 1)
				for _, size := range []int{0, 10, 20_000, 70_000, 400_000} {
					sent := bytes.Repeat([]byte("0123456789"), size/10)
					resp, err := hc.Post(r.secureURL("/"), "text/plain", bytes.NewReader(sent))
					if err != nil {
						t.Fatalf("%d bytes: %v", size, err)
					}
					got, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || !bytes.Equal(got, sent) || resp.Proto != caller {
						t.Errorf("%d bytes: %s, %d bytes, %v: %.100q", size, resp.Proto, len(got), err, got)
					}
					if got, want := resp.Header.Get("x-seen"), tt.want[i]+" endpoint [spiffe://mesh/proxy] <nil>"; got != want {
						t.Errorf("%d bytes: the endpoint saw %q, want %q", size, got, want)
					}
				}
				// An HTTP/2 caller may ask again before a connection of HTTP/1.1 is
				// back in the pool.
				most := int64(1)
				if caller == "HTTP/2.0" && tt.want[i] == "HTTP/1.1" {
					most = 4
				}
				if n := handshakes.Load(); n > most {
					t.Errorf("%d handshakes with the endpoint, want %d at most", n, most)
				}
				if t.Failed() {
					t.Log(r.logged())
				}
			})
		}
	}
}

// TestTLSRefusedEndpoints are failures to connect, and the access log says
// which.
func TestTLSRefusedEndpoints(t *testing.T) {
	ok := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }
	strangers := tlstest.NewCA(t, "strangers' CA")
	for name, tt := range map[string]struct {
		edit     func(*transport.ClientConfig)
		protocol upstream.Protocol
		plain    bool
		want     string
	}{
		"wrong CA": {func(c *transport.ClientConfig) {
			c.Verify.TrustedCA = transport.Source{Inline: strangers.PEM}
		}, upstream.HTTP1, false, "unknown authority"},
		"wrong name": {func(c *transport.ClientConfig) {
			c.Verify.Names[0].Exact = "another"
		}, upstream.HTTP1, false, `it has no name DNS \"another\"`},
		"no HTTP/2":         {nil, upstream.HTTP2, false, "no application protocol"},
		"plain HTTP":        {nil, upstream.HTTP1, true, "the peer does not speak TLS"},
		"plain HTTP, for 2": {nil, upstream.HTTP2, true, "the peer does not speak TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSecured(t)
			address, _ := s.endpoint(ok, transport.HTTP1)
			if tt.plain {
				address = backend(t, ok)
			}
			r := newRig(t, []string{address}, func(sc *ServerConfig, uc *upstream.Config) {
				s.cluster(uc, tt.edit)
				uc.Protocol = tt.protocol
			})
			resp, err := client(t).Get(r.url("/"))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("status %d", resp.StatusCode)
			}
			line := r.logged()
			if !strings.Contains(line, " UF ") || !strings.Contains(line, tt.want) {
				t.Errorf("access log %q, want UF and %q", line, tt.want)
			}
		})
	}
}

// TestTLSRefusedCallers do not get through, and others do.
func TestTLSRefusedCallers(t *testing.T) {
	s := newSecured(t)
	up := backend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	r := newRig(t, []string{up}, func(sc *ServerConfig, uc *upstream.Config) {
		s.listener(sc)
		uc.Protocol = upstream.HTTP1
	})
	for name, edit := range map[string]func(*tls.Config){
		"no certificate": func(c *tls.Config) { c.Certificates = nil },
		"a stranger's": func(c *tls.Config) {
			c.Certificates = []tls.Certificate{tlstest.NewCA(t, "clients' CA").Issue(tlstest.Leaf{}).TLS(t)}
		},
	} {
		config := s.caller()
		edit(config)
		tr := &http.Transport{TLSClientConfig: config}
		if resp, err := (&http.Client{Transport: tr}).Get(r.secureURL("/")); err == nil {
			resp.Body.Close()
			t.Errorf("%s: %s", name, resp.Status)
		}
		tr.CloseIdleConnections()
	}
	plain, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	_, _ = io.WriteString(plain, "GET /")
	if resp, err := http.ReadResponse(bufio.NewReader(plain), nil); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP: %v", err)
	}
	for _, http2 := range []bool{false, true} {
		resp, err := s.client(http2).Get(r.secureURL("/"))
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if log := r.logged(); strings.Count(log, " proxy ") != 2 {
		t.Errorf("access log %q, want the server's name that was asked for, twice", log)
	}
}

// TestTLSCallerGone wants an endpoint to hear that its caller went away, though
// what a TLS caller sends at its end looks like data beneath.
func TestTLSCallerGone(t *testing.T) {
	for name, leave := range map[string]func(*tls.Conn){
		"close":     func(c *tls.Conn) { c.Close() },
		"FIN alone": func(c *tls.Conn) { c.NetConn().Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSecured(t)
			asked, cancelled := make(chan struct{}), make(chan struct{})
			address, _ := s.endpoint(func(_ http.ResponseWriter, q *http.Request) {
				close(asked)
				<-q.Context().Done()
				close(cancelled)
			}, transport.HTTP1)
			r := newRig(t, []string{address}, func(sc *ServerConfig, uc *upstream.Config) {
				s.listener(sc)
				s.cluster(uc, nil)
			})
			c := s.dial(r.addr, transport.HTTP1)
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			<-asked
			leave(c)
			select {
			case <-cancelled:
			case <-time.After(hangs):
				t.Fatal("the endpoint was not told")
			}
		})
	}
}

// TestTLSWatchedCallerGoesOn has a caller that is watched for going away, and
// sends its next request meanwhile.
func TestTLSWatchedCallerGoesOn(t *testing.T) {
	s := newSecured(t)
	slow := make(chan struct{})
	address, _ := s.endpoint(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/slow" {
			<-slow
		}
		fmt.Fprint(w, q.URL.Path)
	}, transport.HTTP1)
	r := newRig(t, []string{address}, func(sc *ServerConfig, uc *upstream.Config) {
		s.listener(sc)
		s.cluster(uc, nil)
	})
	c := s.dial(r.addr, transport.HTTP1)
	_, _ = io.WriteString(c, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	tick := r.server.tick.Load()
	eventually(t, "watched", func() bool { return r.server.tick.Load() > tick+watchAfter+1 })
	_, _ = io.WriteString(c, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
	close(slow)
	br := bufio.NewReader(c)
	for _, want := range []string{"/slow", "/next"} {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != want {
			t.Errorf("%q, %v, want %q", body, err, want)
		}
	}
}

// TestTLSTruncatedAnswer tells an answer that ends with its connection from one
// that somebody has cut off, and passes that on.
func TestTLSTruncatedAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		end   func(*tls.Conn)
		whole bool
	}{
		"close_notify": {func(c *tls.Conn) { _ = c.CloseWrite() }, true},
		"FIN alone":    {func(*tls.Conn) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSecured(t)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				nc, err := ln.Accept()
				if err != nil {
					return
				}
				defer nc.Close()
				c := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{s.ca.Issue(tlstest.Leaf{Names: []string{"endpoint"}}).TLS(t)}})
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody")
				tt.end(c)
			}()
			r := newRig(t, []string{ln.Addr().String()}, func(sc *ServerConfig, uc *upstream.Config) {
				s.listener(sc)
				s.cluster(uc, nil)
			})
			c := s.dial(r.addr, transport.HTTP1)
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			all, err := io.ReadAll(c)
			if whole := err == nil && strings.HasSuffix(string(all), "\r\n\r\nbody"); whole != tt.whole {
				t.Errorf("%q, %v, want whole: %v", all, err, tt.whole)
			}
		})
	}
}

// TestTLSDrain ends idle connections, those that shake hands, and no exchange.
func TestTLSDrain(t *testing.T) {
	s := newSecured(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	up := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-answer
		fmt.Fprint(w, "late")
	})
	r := newRig(t, []string{up}, func(sc *ServerConfig, _ *upstream.Config) {
		s.listener(sc)
		sc.Timeouts.DrainIdle = 10 * time.Millisecond
		sc.Timeouts.Linger = 200 * time.Millisecond
	})
	idle, busy := s.dial(r.addr, transport.HTTP1), s.dial(r.addr, transport.HTTP1)
	_, _ = io.WriteString(busy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-asked
	shy, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer shy.Close()
	_, _ = shy.Write([]byte{22, 3, 1})
	drained := make(chan error, 1)
	go func() { drained <- r.server.Drain(t.Context()) }()
	for name, c := range map[string]net.Conn{"idle": idle, "shy": shy} {
		_ = c.SetDeadline(time.Now().Add(hangs))
		if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("the %s connection is still open: %v", name, err)
		}
	}
	select {
	case err := <-drained:
		t.Fatalf("drained before the exchange had ended: %v", err)
	default:
	}
	close(answer)
	if resp, err := http.ReadResponse(bufio.NewReader(busy), nil); err != nil || !resp.Close {
		t.Errorf("the answer: %v", err)
	}
	busy.Close()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// TestTLSOpaque carries bytes, with each side ending its half.
func TestTLSOpaque(t *testing.T) {
	s := newSecured(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{s.ca.Issue(tlstest.Leaf{Names: []string{"endpoint"}}).TLS(t)},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		all, _ := io.ReadAll(nc) // until the caller ends its half
		fmt.Fprintf(nc, "got %d", len(all))
	}()
	r := newTCPRig(t, []string{ln.Addr().String()}, func(sc *ServerConfig, uc *upstream.Config) {
		s.listener(sc)
		s.cluster(uc, nil)
	})
	c := s.dial(r.addr)
	if _, err := c.Write(bytes.Repeat([]byte("x"), 300_000)); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(c); err != nil || string(all) != "got 300000" {
		t.Errorf("%q, %v", all, err)
	}
}

// TestTLSByResources has one proxy call itself: the outbound side by a cluster
// with an UpstreamTlsContext, the inbound side with a DownstreamTlsContext.
func TestTLSByResources(t *testing.T) {
	s := newSecured(t)
	dir := t.TempDir()
	inboundPair, clientPair := s.ca.Issue(tlstest.Leaf{Names: []string{"bb.demo.svc.cluster.local"}}), s.mesh.Issue(tlstest.Leaf{})
	for name, text := range map[string][]byte{
		"ca.pem": s.ca.PEM, "mesh.pem": s.mesh.PEM, "in.pem": inboundPair.Cert, "in.key": inboundPair.Key,
		"out.pem": clientPair.Cert, "out.key": clientPair.Key,
	} {
		tlstest.Write(t, dir, name, text)
	}
	app := backend(t, func(w http.ResponseWriter, q *http.Request) { fmt.Fprint(w, q.Proto) })
	outbound, inbound := freePort(t), freePort(t)
	resources := func(san string) string {
		return strings.NewReplacer("@DIR", dir, "@OUT", outbound, "@IN", inbound, "@APP", portOf(app), "@SAN", san).Replace(`
resources:
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: outbound
  address: {socket_address: {address: 127.0.0.1, port_value: @OUT}}
  filter_chains:
  - filters:
    - name: hcm
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: bb}}]}]}
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: bb
  type: STATIC
  load_assignment: {endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: @IN}}}}]}]}
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      explicit_http_config: {http2_protocol_options: {}}
  transport_socket:
    name: envoy.transport_sockets.tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
      sni: bb.demo.svc.cluster.local
      common_tls_context:
        tls_certificates: [{certificate_chain: {filename: @DIR/out.pem}, private_key: {filename: @DIR/out.key}}]
        validation_context:
          trusted_ca: {filename: @DIR/ca.pem}
          match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: @SAN}}]
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: inbound|8080
  traffic_direction: INBOUND
  address: {socket_address: {address: 127.0.0.1, port_value: @IN}}
  filter_chains:
  - filters:
    - name: hcm
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: "inbound|8080||"}}]}]}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
        require_client_certificate: true
        common_tls_context:
          tls_certificates: [{certificate_chain: {filename: @DIR/in.pem}, private_key: {filename: @DIR/in.key}}]
          validation_context: {trusted_ca: {filename: @DIR/mesh.pem}}
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: "inbound|8080||"
  type: STATIC
  load_assignment: {endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: @APP}}}}]}]}
`)
	}
	path := filepath.Join(dir, "resources.yaml")
	write := func(san string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(resources(san)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("bb.demo.svc.cluster.local")
	cfg := DefaultConfig()
	cfg.Resources, cfg.Admin = path, "127.0.0.1:"+freePort(t)
	cfg.Timeouts.DrainIdle = 10 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg) }()
	defer func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()
	hc := client(t)
	get := func() (int, string) {
		resp, err := hc.Get("http://127.0.0.1:" + outbound + "/")
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	eventually(t, "serving", func() bool { status, _ := get(); return status == http.StatusOK })
	if status, body := get(); status != http.StatusOK || !strings.HasPrefix(body, "HTTP/") {
		t.Errorf("%d %q", status, body)
	}
	// What was pooled under the context before must not be used under the next.
	write("another.demo.svc.cluster.local")
	eventually(t, "refused", func() bool { status, _ := get(); return status == http.StatusServiceUnavailable })
	if status, body := get(); status != http.StatusServiceUnavailable {
		t.Errorf("%d %q", status, body)
	}
	write("bb.demo.svc.cluster.local")
	eventually(t, "serving again", func() bool { status, _ := get(); return status == http.StatusOK })
	hc.CloseIdleConnections()
}
