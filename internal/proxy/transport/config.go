package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"
)

// Application protocols (ALPN, RFC 7301).
const (
	HTTP1 = "http/1.1"
	HTTP2 = "h2"
)

// Settings are what both sides of TLS have.
type Settings struct {
	// Owner is for whom it is, as logs and errors name it: `cluster "x"`.
	Owner string
	// Certificates are our own. A server needs one; it shows the first that
	// suits the caller and the name that it asks for.
	Certificates []KeyPair
	// Verify says how the peer's certificate is looked at.
	Verify Verify
	// ALPN is what is offered (client: by dials that name none) or accepted
	// (server), in order of preference. Empty: none.
	ALPN []string
	// MinVersion and MaxVersion are tls.VersionTLS12 or tls.VersionTLS13. 0:
	// 1.2 and 1.3.
	MinVersion, MaxVersion uint16
	// CipherSuites of TLS 1.2; those of 1.3 are fixed. nil: Go's.
	CipherSuites []uint16
	// Curves for the key exchange. nil: Go's.
	Curves []tls.CurveID
	// Reread is how often files are looked at, at most. 0: DefaultReread.
	Reread time.Duration
	// Now is the time for certificates. nil: time.Now.
	Now    func() time.Time
	Logger *slog.Logger // nil: nothing is logged
}

// KeyPair is a certificate with the chain behind it, and its private key.
type KeyPair struct{ Chain, Key Source }

// Verify says how a peer's certificate is looked at.
type Verify struct {
	// Insecure: not at all, whatever the rest says.
	Insecure bool
	// TrustedCA are the authorities.
	TrustedCA Source
	// SystemRoots are the authorities where TrustedCA is empty. They are read
	// once.
	SystemRoots bool
	// Names, where there are any: one of them must be in the certificate.
	Names []NameMatch
}

func (s Settings) withDefaults() Settings {
	if s.MinVersion == 0 {
		s.MinVersion = tls.VersionTLS12
	}
	if s.MaxVersion == 0 {
		s.MaxVersion = tls.VersionTLS13
	}
	if s.Reread == 0 {
		s.Reread = DefaultReread
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	return s
}

func (s *Settings) validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for i, c := range s.Certificates {
		if c.Chain.empty() {
			add("certificate %d: the chain is missing", i)
		}
		if c.Key.empty() {
			add("certificate %d: the private key is missing", i)
		}
	}
	for _, v := range []struct {
		field string
		value uint16
	}{{"minimum", s.MinVersion}, {"maximum", s.MaxVersion}} {
		if v.value != 0 && v.value != tls.VersionTLS12 && v.value != tls.VersionTLS13 {
			add("%s version %s: TLS 1.2 and 1.3 are allowed", v.field, tls.VersionName(v.value))
		}
	}
	if s.MaxVersion != 0 && s.MinVersion > s.MaxVersion {
		add("minimum version %s: must be at most the maximum, %s", tls.VersionName(s.MinVersion), tls.VersionName(s.MaxVersion))
	}
	for _, p := range s.ALPN {
		if p == "" || len(p) > 255 {
			add("ALPN protocol %q: must have 1 to 255 bytes", p)
		}
	}
	if s.Reread < 0 {
		add("reread %v: must not be negative", s.Reread)
	}
	for i := range s.Verify.Names {
		if err := s.Verify.Names[i].validate(); err != nil {
			add("name %d: %w", i, err)
		}
	}
	return errors.Join(errs...)
}

// sources are those of the key pairs, chain and key in turn, and last that of
// the authorities.
func (s *Settings) sources() []input {
	var all []input
	for _, c := range s.Certificates {
		all = append(all, input{"certificate", c.Chain}, input{"private key", c.Key})
	}
	return append(all, input{"trusted CA", s.Verify.TrustedCA})
}

// material is what the sources say.
type material struct {
	certificates []tls.Certificate
	roots        *x509.CertPool // nil: none
}

// parse reads the texts of sources.
func (s *Settings) parse(texts [][]byte) (*material, error) {
	m := &material{}
	for i, c := range s.Certificates {
		pair, err := tls.X509KeyPair(texts[2*i], texts[2*i+1])
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %s", c.Chain, c.Key, plain(err))
		}
		m.certificates = append(m.certificates, pair)
	}
	switch ca := texts[len(texts)-1]; {
	case !s.Verify.TrustedCA.empty():
		m.roots = x509.NewCertPool()
		if !m.roots.AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("trusted CA %s: has no certificate in PEM form", s.Verify.TrustedCA)
		}
	case s.Verify.SystemRoots:
		var err error
		if m.roots, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("the system's trusted CAs: %w", err)
		}
	}
	return m, nil
}

// plain is an error of crypto/tls without its package's name.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "tls: ") }

// serverName is what may be sent as SNI: never an IP address (RFC 6066 section
// 3), no port, no dot at the end.
func serverName(name string) string {
	name = strings.TrimSuffix(name, ".")
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return ""
	}
	return name
}
