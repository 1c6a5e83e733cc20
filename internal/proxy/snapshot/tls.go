package snapshot

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"github.com/reclosermesh/recloser/internal/proxy/transport"
)

// Types of transport sockets.
const (
	plainTransport      = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
	upstreamTransport   = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
	downstreamTransport = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
	hcmFilter           = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)

const allowedSource = "filename, inline_string or inline_bytes is needed"

// clusterTransport reads how a cluster's endpoints are spoken to. Nothing is
// read from files yet: that is openTransport's.
//
// It differs from Envoy in one thing: a context that has nothing to verify the
// endpoint with is refused, unless it says ACCEPT_UNTRUSTED. Envoy takes the
// absence of a validation context for that.
func (p *problems) clusterTransport(spec *clusterSpec, c *clusterv3.Cluster) {
	m := new(tlsv3.UpstreamTlsContext)
	if !p.transportSocket("transport_socket", c.GetTransportSocket(), upstreamTransport, m) {
		return
	}
	p.only("transport_socket.", m, "common_tls_context", "sni", "max_session_keys")
	p.namesByRequest(c)
	cfg := &transport.ClientConfig{
		Settings:   p.commonTLS("transport_socket.common_tls_context.", m.GetCommonTlsContext()),
		ServerName: m.GetSni(),
	}
	if keys := m.GetMaxSessionKeys(); keys != nil {
		cfg.Sessions = int(min(keys.GetValue(), 1<<16))
		if cfg.Sessions == 0 {
			cfg.Sessions = -1
		}
	}
	if v := &cfg.Verify; !v.Insecure && v.TrustedCA.File == "" && len(v.TrustedCA.Inline) == 0 && !v.SystemRoots {
		p.add("transport_socket.common_tls_context.validation_context: nothing would be verified: trusted_ca or system_root_certs is needed, or trust_chain_verification ACCEPT_UNTRUSTED to say that it shall be so")
	} else if err := cfg.Validate(); err != nil {
		p.add("transport_socket: %w", err)
	}
	cfg.Owner = fmt.Sprintf("cluster %q", spec.cfg.Name)
	spec.tls = cfg
	spec.cfg.Transport = identity(c.GetTransportSocket())
}

// namesByRequest refuses what would send, and verify, the name that each request
// asks for: a connection here has one name for all requests, and with nothing
// said of it any certificate of the trusted authorities would do.
func (p *problems) namesByRequest(c *clusterv3.Cluster) {
	options := new(upstreamhttpv3.HttpProtocolOptions)
	body := c.GetTypedExtensionProtocolOptions()[httpOptions]
	if body == nil || body.UnmarshalTo(options) != nil { // the latter is told by protocolOptions
		return
	}
	if o := options.GetUpstreamHttpProtocolOptions(); o != nil {
		p.unsupported("typed_extension_protocol_options: upstream_http_protocol_options.", o,
			"auto_sni", "auto_san_validation", "override_auto_sni_header")
	}
}

// listenerTransport reads how a listener's callers are spoken to. All filter
// chains must agree in it: which of them a connection belongs to is only known
// from what it says within TLS.
func (p *problems) listenerTransport(spec *listenerSpec, l *listenerv3.Listener) {
	chains := l.GetFilterChains()
	if d := l.GetDefaultFilterChain(); d != nil {
		chains = append(slices.Clip(chains), d)
	}
	if len(chains) == 0 {
		return
	}
	first, http := chains[0], false
	for i, chain := range chains {
		if !proto.Equal(chain.GetTransportSocket(), first.GetTransportSocket()) {
			p.add("filter_chains[%d].transport_socket: must be the same in all filter chains", i)
			return
		}
		for _, f := range chain.GetFilters() {
			http = http || f.GetTypedConfig().GetTypeUrl() == hcmFilter
		}
	}
	const at = "filter_chains[0].transport_socket"
	m := new(tlsv3.DownstreamTlsContext)
	if !p.transportSocket(at, first.GetTransportSocket(), downstreamTransport, m) {
		return
	}
	p.only(at+".", m, "common_tls_context", "require_client_certificate", "require_sni",
		"disable_stateless_session_resumption", "disable_stateful_session_resumption", "ocsp_staple_policy")
	if m.GetOcspStaplePolicy() != tlsv3.DownstreamTlsContext_LENIENT_STAPLING {
		p.add("%s.ocsp_staple_policy %s: only LENIENT_STAPLING is supported", at, m.GetOcspStaplePolicy())
	}
	cfg := &transport.ServerConfig{
		Settings:           p.commonTLS(at+".common_tls_context.", m.GetCommonTlsContext()),
		RequireCertificate: m.GetRequireClientCertificate().GetValue(),
		RequireServerName:  m.GetRequireSni().GetValue(),
		NoTickets:          m.GetDisableStatelessSessionResumption(),
		HandshakeTimeout:   p.duration("filter_chains[0].transport_socket_connect_timeout", first.GetTransportSocketConnectTimeout(), 0),
	}
	if len(cfg.ALPN) == 0 && http {
		cfg.ALPN = []string{transport.HTTP2, transport.HTTP1}
	}
	if err := cfg.Validate(); err != nil {
		p.add("%s: %w", at, err)
	}
	cfg.Owner = fmt.Sprintf("listener %q", spec.name)
	spec.tls = cfg
	spec.transport = fmt.Sprint(http, cfg.HandshakeTimeout, identity(first.GetTransportSocket()))
}

// identity tells transport sockets apart. It shows nothing of what is in them.
func identity(t *corev3.TransportSocket) string {
	return fmt.Sprintf("%x", sha256.Sum256(t.GetTypedConfig().GetValue()))
}

// transportSocket unpacks a TLS context into m. False: the transport is plain,
// or wrong.
func (p *problems) transportSocket(at string, t *corev3.TransportSocket, url string, m proto.Message) bool {
	switch got := t.GetTypedConfig().GetTypeUrl(); {
	case t == nil, got == plainTransport:
		return false
	case got != url:
		p.add("%s %q: %q is not supported, only %q and %q are", at, t.GetName(), got, url, plainTransport)
		return false
	}
	if err := t.GetTypedConfig().UnmarshalTo(m); err != nil {
		p.add("%s: %w", at, err)
		return false
	}
	return true
}

const noSDS = "is not supported yet: certificates come from files (filename) or are given inline"

func (p *problems) commonTLS(at string, m *tlsv3.CommonTlsContext) transport.Settings {
	if len(m.GetTlsCertificateSdsSecretConfigs()) > 0 {
		p.add("%stls_certificate_sds_secret_configs: SDS %s", at, noSDS)
	}
	switch m.GetValidationContextType().(type) {
	case *tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig:
		p.add("%svalidation_context_sds_secret_config: SDS %s", at, noSDS)
	case *tlsv3.CommonTlsContext_CombinedValidationContext:
		p.add("%scombined_validation_context: SDS %s", at, noSDS)
	}
	p.only(at, m, "tls_params", "tls_certificates", "validation_context", "alpn_protocols",
		"tls_certificate_sds_secret_configs", "validation_context_sds_secret_config", "combined_validation_context")
	s := transport.Settings{ALPN: m.GetAlpnProtocols()}
	p.tlsParams(at+"tls_params.", m.GetTlsParams(), &s)
	for i, c := range m.GetTlsCertificates() {
		at := fmt.Sprintf("%stls_certificates[%d].", at, i)
		p.only(at, c, "certificate_chain", "private_key", "watched_directory") // files are looked at anyway
		s.Certificates = append(s.Certificates, transport.KeyPair{
			Chain: p.source(at+"certificate_chain", c.GetCertificateChain()),
			Key:   p.source(at+"private_key", c.GetPrivateKey()),
		})
	}
	if v := m.GetValidationContext(); v != nil {
		s.Verify = p.validation(at+"validation_context.", v)
	}
	return s
}

func (p *problems) tlsParams(at string, m *tlsv3.TlsParameters, s *transport.Settings) {
	if m == nil {
		return
	}
	p.only(at, m, "tls_minimum_protocol_version", "tls_maximum_protocol_version", "cipher_suites", "ecdh_curves")
	s.MinVersion = p.tlsVersion(at+"tls_minimum_protocol_version", m.GetTlsMinimumProtocolVersion())
	s.MaxVersion = p.tlsVersion(at+"tls_maximum_protocol_version", m.GetTlsMaximumProtocolVersion())
	var err error
	if s.CipherSuites, err = transport.ParseCipherSuites(m.GetCipherSuites()); err != nil {
		p.add("%scipher_suites %w", at, err)
	}
	if s.Curves, err = transport.ParseCurves(m.GetEcdhCurves()); err != nil {
		p.add("%secdh_curves %w", at, err)
	}
}

func (p *problems) tlsVersion(field string, v tlsv3.TlsParameters_TlsProtocol) uint16 {
	switch v {
	case tlsv3.TlsParameters_TLS_AUTO:
	case tlsv3.TlsParameters_TLSv1_2:
		return tls.VersionTLS12
	case tlsv3.TlsParameters_TLSv1_3:
		return tls.VersionTLS13
	default:
		p.add("%s %s: TLS_AUTO, TLSv1_2 and TLSv1_3 are supported", field, v)
	}
	return 0
}

func (p *problems) source(field string, d *corev3.DataSource) transport.Source {
	p.only(field+".", d, "filename", "inline_string", "inline_bytes", "watched_directory")
	var s transport.Source
	switch v := d.GetSpecifier().(type) {
	case *corev3.DataSource_Filename:
		s.File = v.Filename
	case *corev3.DataSource_InlineBytes:
		s.Inline = v.InlineBytes
	case *corev3.DataSource_InlineString:
		s.Inline = []byte(v.InlineString)
	}
	if s.File == "" && len(s.Inline) == 0 {
		p.add("%s: %s", field, allowedSource)
	}
	return s
}

func (p *problems) validation(at string, m *tlsv3.CertificateValidationContext) transport.Verify {
	p.only(at, m, "trusted_ca", "system_root_certs", "watched_directory", "match_typed_subject_alt_names",
		"match_subject_alt_names", "trust_chain_verification")
	v := transport.Verify{SystemRoots: m.GetSystemRootCerts() != nil}
	switch m.GetTrustChainVerification() {
	case tlsv3.CertificateValidationContext_VERIFY_TRUST_CHAIN:
	case tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED:
		v.Insecure = true
	default:
		p.add("%strust_chain_verification %s: VERIFY_TRUST_CHAIN and ACCEPT_UNTRUSTED are supported", at, m.GetTrustChainVerification())
	}
	if m.GetTrustedCa() != nil {
		v.TrustedCA = p.source(at+"trusted_ca", m.GetTrustedCa())
	}
	for i, n := range m.GetMatchTypedSubjectAltNames() {
		at := fmt.Sprintf("%smatch_typed_subject_alt_names[%d].", at, i)
		p.only(at, n, "san_type", "matcher")
		name := p.nameMatch(at+"matcher", n.GetMatcher())
		switch n.GetSanType() {
		case tlsv3.SubjectAltNameMatcher_DNS:
			name.Type = transport.DNSName
		case tlsv3.SubjectAltNameMatcher_URI:
			name.Type = transport.URIName
		case tlsv3.SubjectAltNameMatcher_IP_ADDRESS:
			name.Type = transport.IPName
		case tlsv3.SubjectAltNameMatcher_EMAIL:
			name.Type = transport.EmailName
		default:
			p.add("%ssan_type %s: DNS, URI, IP_ADDRESS and EMAIL are supported", at, n.GetSanType())
		}
		v.Names = append(v.Names, name)
	}
	old := m.GetMatchSubjectAltNames() //nolint:staticcheck // deprecated by Envoy, and still sent by others: names of any type
	for i, n := range old {
		v.Names = append(v.Names, p.nameMatch(fmt.Sprintf("%smatch_subject_alt_names[%d]", at, i), n))
	}
	if len(v.Names) > 0 && m.GetTrustedCa() == nil && !v.SystemRoots && !v.Insecure {
		p.add("%strusted_ca: names are worth nothing without it", at)
	}
	return v
}

func (p *problems) nameMatch(at string, m *matcherv3.StringMatcher) transport.NameMatch {
	n := transport.NameMatch{IgnoreCase: m.GetIgnoreCase()}
	switch s := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		n.Exact = s.Exact
	case *matcherv3.StringMatcher_Prefix:
		n.Prefix = s.Prefix
	case *matcherv3.StringMatcher_Suffix:
		n.Suffix = s.Suffix
	case *matcherv3.StringMatcher_Contains:
		n.Contains = s.Contains
	case *matcherv3.StringMatcher_SafeRegex:
		var err error
		if n.Regex, err = transport.CompileName(s.SafeRegex.GetRegex()); err != nil {
			p.add("%s.safe_regex %q: %w", at, s.SafeRegex.GetRegex(), err)
		}
	default:
		p.add("%s: exact, prefix, suffix, contains or safe_regex is needed", at)
	}
	return n
}

// openTransport makes the cluster's dialler, reading the files. The one of old,
// which may be nil, is kept where nothing changed, and its sessions with it.
func (c *clusterSpec) openTransport(old *clusterSpec, logger *slog.Logger) error {
	if c.tls == nil {
		return nil
	}
	if old != nil && old.tls != nil && old.cfg.Transport == c.cfg.Transport {
		c.cfg.Dial = old.cfg.Dial
		return nil
	}
	c.tls.Logger = logger
	client, err := transport.LoadClient(*c.tls)
	if err != nil {
		return fmt.Errorf("transport_socket: %w", err)
	}
	c.cfg.Dial = client.Dial
	return nil
}

// openTransport makes what takes the listener's callers in, as the cluster's
// does.
func (l *listenerSpec) openTransport(old *listenerSpec, logger *slog.Logger) error {
	if l.tls == nil {
		return nil
	}
	if old != nil && old.server != nil && old.transport == l.transport {
		l.server = old.server
		return nil
	}
	l.tls.Logger = logger
	var err error
	if l.server, err = transport.LoadServer(*l.tls); err != nil {
		return fmt.Errorf("transport_socket: %w", err)
	}
	return nil
}
