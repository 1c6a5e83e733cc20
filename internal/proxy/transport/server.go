package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// DefaultHandshakeTimeout is how long a caller may take for its handshake.
const DefaultHandshakeTimeout = 10 * time.Second

// ServerConfig is TLS with the callers of one listener. Verify is about their
// certificates: with neither TrustedCA nor SystemRoots none is asked for.
type ServerConfig struct {
	Settings
	// RequireCertificate refuses callers that show no certificate; else it is
	// verified only if there is one.
	RequireCertificate bool
	// RequireServerName refuses callers that send no SNI.
	RequireServerName bool
	// NoTickets ends the resumption of sessions. Its keys are made and rotated
	// by crypto/tls, daily.
	NoTickets bool
	// HandshakeTimeout bounds a handshake. 0: DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
}

// Server accepts TLS connections.
type Server struct {
	cfg   ServerConfig // with defaults
	outer *tls.Config  // holds the keys of tickets, which outlive the files
	state *reloading[tls.Config]
}

// LoadServer reads the files that cfg names, and makes a Server. The error says
// everything that is wrong with cfg, or with a file.
func LoadServer(cfg ServerConfig) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Settings = cfg.withDefaults()
	if cfg.HandshakeTimeout == 0 {
		cfg.HandshakeTimeout = DefaultHandshakeTimeout
	}
	s := &Server{cfg: cfg}
	s.state = &reloading[tls.Config]{
		owner: cfg.Owner, sources: cfg.sources(), build: s.build,
		every: cfg.Reread, now: cfg.Now, logger: cfg.Logger,
	}
	if err := s.state.start(); err != nil {
		return nil, err
	}
	s.outer = &tls.Config{
		Time:                   cfg.Now,
		MinVersion:             cfg.MinVersion,
		MaxVersion:             cfg.MaxVersion,
		SessionTicketsDisabled: cfg.NoTickets,
		GetConfigForClient:     s.configFor,
	}
	return s, nil
}

// Validate says everything that is wrong with cfg but for its files.
func (cfg *ServerConfig) Validate() error {
	errs := []error{cfg.Settings.validate()}
	if len(cfg.Certificates) == 0 {
		errs = append(errs, errors.New("certificates: at least one is needed"))
	}
	if cfg.RequireCertificate && !cfg.Verify.Insecure && !cfg.asks() {
		errs = append(errs, errors.New("a client certificate is required, and there is nothing to verify it with: a trusted CA is needed"))
	}
	if len(cfg.Verify.Names) > 0 && !cfg.Verify.Insecure && !cfg.asks() {
		errs = append(errs, errors.New("names of clients are given, and there is nothing to verify their certificates with: a trusted CA is needed"))
	}
	if cfg.HandshakeTimeout < 0 {
		errs = append(errs, fmt.Errorf("handshake timeout %v: must not be negative", cfg.HandshakeTimeout))
	}
	return errors.Join(errs...)
}

// asks tells whether there are authorities for callers' certificates.
func (cfg *ServerConfig) asks() bool { return !cfg.Verify.TrustedCA.empty() || cfg.Verify.SystemRoots }

func (s *Server) build(texts [][]byte) (*tls.Config, error) {
	m, err := s.cfg.parse(texts)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		Time:                   s.cfg.Now,
		Certificates:           m.certificates,
		NextProtos:             s.cfg.ALPN,
		MinVersion:             s.cfg.MinVersion,
		MaxVersion:             s.cfg.MaxVersion,
		CipherSuites:           s.cfg.CipherSuites,
		CurvePreferences:       s.cfg.Curves,
		SessionTicketsDisabled: s.cfg.NoTickets,
	}
	switch verify := &s.cfg.Verify; {
	case s.cfg.RequireCertificate:
		config.ClientAuth = tls.RequireAnyClientCert
	case s.cfg.asks():
		config.ClientAuth = tls.RequestClientCert
	case verify.Insecure:
		config.ClientAuth = tls.NoClientCert
	}
	if config.ClientAuth != tls.NoClientCert {
		config.ClientCAs = m.roots // told to callers, who may choose by it
		config.VerifyConnection = func(cs tls.ConnectionState) error { return s.verify(&cs, m.roots) }
	}
	return config, nil
}

// verify is called for new sessions and for resumed ones: their callers'
// certificates may have expired, or their authority may have been replaced.
func (s *Server) verify(cs *tls.ConnectionState, roots *x509.CertPool) error {
	if len(cs.PeerCertificates) == 0 && !s.cfg.RequireCertificate || s.cfg.Verify.Insecure {
		return nil
	}
	return s.cfg.Verify.check(cs, roots, x509.ExtKeyUsageClientAuth, s.cfg.Now())
}

var errNoServerName = errors.New("the caller has sent no server name (SNI), which is required")

func (s *Server) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if s.cfg.RequireServerName && hello.ServerName == "" {
		return nil, errNoServerName
	}
	return s.state.get(), nil
}

// Wrap shakes hands on an accepted connection, until ctx ends or the handshake
// has taken too long. Where there is an error the connection is closed; a
// caller of plain HTTP is told so before.
func (s *Server) Wrap(ctx context.Context, nc net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.HandshakeTimeout)
	defer cancel()
	w := newWire(nc)
	conn := &Conn{Conn: tls.Server(w, s.outer), wire: w}
	if err := conn.shake(ctx); err != nil {
		if record, ok := errors.AsType[tls.RecordHeaderError](err); ok && looksLikeHTTP(record.RecordHeader) {
			w.part()
			_, _ = w.Write([]byte(plainHTTP))
		}
		_ = nc.Close()
		return nil, fmt.Errorf("TLS with caller %s: %w", nc.RemoteAddr(), explain(err))
	}
	return conn, nil
}

// plainHTTP is what a caller of HTTP without TLS is told.
const plainHTTP = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: 28\r\n\r\nthis port speaks HTTPS only\n"

func looksLikeHTTP(first [5]byte) bool {
	switch string(first[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE", "TRACE", "PRI *":
		return true
	}
	return false
}
