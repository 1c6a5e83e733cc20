package translate

import (
	"net/netip"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
)

// transportSocket is TLS to endpoints, nil where they are spoken to in plain.
// Without a file of authorities system_root_certs says whose hold; an Envoy
// that does not know that field refuses the names without a trusted_ca, rather
// than verify nothing.
func transportSocket(t *policy.TLS, protocol model.Protocol) *corev3.TransportSocket {
	if !t.On() {
		return nil
	}
	common := &tlsv3.CommonTlsContext{
		AlpnProtocols:         alpn(protocol),
		ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: validation(t)},
	}
	if t.Mode.Value == policy.TLSMutual && t.ClientCertificate.Value != "" && t.PrivateKey.Value != "" {
		common.TlsCertificates = []*tlsv3.TlsCertificate{{
			CertificateChain: file(t.ClientCertificate.Value), PrivateKey: file(t.PrivateKey.Value),
		}}
	}
	return &corev3.TransportSocket{
		Name: "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{
			TypedConfig: toAny(&tlsv3.UpstreamTlsContext{CommonTlsContext: common, Sni: t.SNI.Value}),
		},
	}
}

func validation(t *policy.TLS) *tlsv3.CertificateValidationContext {
	if t.Insecure.Value {
		return &tlsv3.CertificateValidationContext{TrustChainVerification: tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED}
	}
	v := &tlsv3.CertificateValidationContext{}
	if t.CACertificates.Value != "" {
		v.TrustedCa = file(t.CACertificates.Value)
	} else {
		v.SystemRootCerts = &tlsv3.CertificateValidationContext_SystemRootCerts{}
	}
	for _, name := range t.SubjectAltNames.Value {
		v.MatchTypedSubjectAltNames = append(v.MatchTypedSubjectAltNames, &tlsv3.SubjectAltNameMatcher{
			SanType: sanType(name),
			Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: name}},
		})
	}
	return v
}

// sanType goes by the look of a name: Istio's rules do not tell.
func sanType(name string) tlsv3.SubjectAltNameMatcher_SanType {
	_, err := netip.ParseAddr(name)
	switch {
	case err == nil:
		return tlsv3.SubjectAltNameMatcher_IP_ADDRESS
	case strings.Contains(name, "://"):
		return tlsv3.SubjectAltNameMatcher_URI
	case strings.Contains(name, "@"):
		return tlsv3.SubjectAltNameMatcher_EMAIL
	default:
		return tlsv3.SubjectAltNameMatcher_DNS
	}
}

// alpn is for Envoys; our proxies know by themselves what they are about to
// speak.
func alpn(p model.Protocol) []string {
	switch p {
	case model.HTTP2:
		return []string{"h2"}
	case model.HTTP1:
		return []string{"http/1.1"}
	}
	return nil
}

func file(path string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
}
