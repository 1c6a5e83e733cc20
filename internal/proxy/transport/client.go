package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// DefaultSessions is how many sessions a Client keeps for resumption.
const DefaultSessions = 128

// ErrNoHTTP2 says that a connection was to speak HTTP/2 and its peer did not
// agree.
var ErrNoHTTP2 = errors.New("the peer does not speak HTTP/2")

// ClientConfig is TLS to the endpoints of one cluster.
type ClientConfig struct {
	Settings
	// ServerName is sent as SNI. Empty, or an IP address: none is.
	ServerName string
	// Sessions bounds the sessions that are kept for resumption, the least
	// recently used going first. 0: DefaultSessions; negative: none.
	Sessions int
}

// Client opens TLS connections.
type Client struct {
	cfg   ClientConfig // with defaults
	state *reloading[clientState]
}

// clientState is what a handshake is made with. Sessions go with it: one that
// was made with another certificate, or under other authorities, is over.
type clientState struct {
	config   *tls.Config
	sessions tls.ClientSessionCache // nil: none
}

// LoadClient reads the files that cfg names, and makes a Client. The error says
// everything that is wrong with cfg, or with a file.
func LoadClient(cfg ClientConfig) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Settings = cfg.withDefaults()
	if cfg.Sessions == 0 {
		cfg.Sessions = DefaultSessions
	}
	c := &Client{cfg: cfg}
	c.state = &reloading[clientState]{
		owner: cfg.Owner, sources: cfg.sources(), build: c.build,
		every: cfg.Reread, now: cfg.Now, logger: cfg.Logger,
	}
	if err := c.state.start(); err != nil {
		return nil, err
	}
	return c, nil
}

// Validate says everything that is wrong with cfg but for its files.
func (cfg *ClientConfig) Validate() error {
	err := cfg.Settings.validate()
	v := &cfg.Verify
	if !v.Insecure && v.TrustedCA.empty() && !v.SystemRoots {
		err = errors.Join(err, errors.New("nothing to verify the peer with: a trusted CA or the system's are needed, or to say that it is insecure"))
	}
	return err
}

func (c *Client) build(texts [][]byte) (*clientState, error) {
	m, err := c.cfg.parse(texts)
	if err != nil {
		return nil, err
	}
	s := &clientState{config: &tls.Config{
		Time:             c.cfg.Now,
		Certificates:     m.certificates,
		ServerName:       serverName(c.cfg.ServerName),
		MinVersion:       c.cfg.MinVersion,
		MaxVersion:       c.cfg.MaxVersion,
		CipherSuites:     c.cfg.CipherSuites,
		CurvePreferences: c.cfg.Curves,
		// crypto/tls would compare the certificate with ServerName, which is
		// another rule than Envoy's, and would not look at it again when a
		// session is resumed. VerifyConnection does both as we need it.
		InsecureSkipVerify: true,
	}}
	if verify := &c.cfg.Verify; !verify.Insecure {
		s.config.VerifyConnection = func(cs tls.ConnectionState) error {
			return verify.check(&cs, m.roots, x509.ExtKeyUsageServerAuth, c.cfg.Now())
		}
	}
	if c.cfg.Sessions > 0 {
		s.sessions = tls.NewLRUClientSessionCache(c.cfg.Sessions)
	}
	return s, nil
}

// Dial opens a connection to HOST:PORT and shakes hands on it, until ctx ends.
// alpn is the one protocol to offer; "": those of the configuration. A peer
// that does not agree to "h2" is an error (ErrNoHTTP2); one that knows no ALPN
// is taken to speak "http/1.1" (RFC 7301 section 3.2 leaves it to the client).
func (c *Client) Dial(ctx context.Context, address, alpn string) (net.Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn, err := c.Wrap(ctx, nc, address, alpn)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// Wrap is Dial on a connection that is open already, to the endpoint of that
// address. The connection is closed where there is an error.
func (c *Client) Wrap(ctx context.Context, nc net.Conn, address, alpn string) (*Conn, error) {
	state := c.state.get()
	config := state.config.Clone()
	config.NextProtos = c.cfg.ALPN
	if alpn != "" {
		config.NextProtos = []string{alpn}
	}
	if state.sessions != nil {
		config.ClientSessionCache = endpointSessions{state.sessions, address + "/" + alpn}
	}
	w := newWire(nc)
	conn := &Conn{Conn: tls.Client(w, config), wire: w}
	if err := conn.shake(ctx); err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("TLS with %s: %w", address, explain(err))
	}
	if got := conn.Protocol(); alpn == HTTP2 && got != HTTP2 {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS with %s: %w: it agreed to %q when asked for %q", address, ErrNoHTTP2, got, HTTP2)
	}
	return conn, nil
}

// endpointSessions are the sessions with one endpoint for one protocol.
// crypto/tls would keep them by server name, which all endpoints of a cluster
// share while their keys for tickets are their own.
type endpointSessions struct {
	all tls.ClientSessionCache
	key string
}

func (s endpointSessions) Get(string) (*tls.ClientSessionState, bool) { return s.all.Get(s.key) }

func (s endpointSessions) Put(_ string, session *tls.ClientSessionState) { s.all.Put(s.key, session) }
