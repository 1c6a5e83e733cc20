package snapshot

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/reclosermesh/recloser/internal/proxy/transport"
	"github.com/reclosermesh/recloser/internal/proxy/transport/tlstest"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
)

// tlsCluster is a static cluster with an UpstreamTlsContext.
func tlsCluster(t *testing.T, context string) *clusterv3.Cluster {
	t.Helper()
	c := static("c", "10.0.0.1")
	c.TransportSocket = &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(read(t, new(tlsv3.UpstreamTlsContext), context))},
	}
	return c
}

// tlsListener is an inbound listener with a DownstreamTlsContext.
func tlsListener(t *testing.T, context string) *listenerv3.Listener {
	t.Helper()
	l := inbound(8443, "c")
	l.FilterChains[0].TransportSocket = &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(read(t, new(tlsv3.DownstreamTlsContext), context))},
	}
	return l
}

func TestClusterTLS(t *testing.T) {
	spec := compiled(t, tlsCluster(t, `{
		"sni": "bb.demo", "maxSessionKeys": 7,
		"commonTlsContext": {
			"tlsParams": {
				"tlsMinimumProtocolVersion": "TLSv1_2", "tlsMaximumProtocolVersion": "TLSv1_3",
				"cipherSuites": ["[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-RSA-AES128-GCM-SHA256]"], "ecdhCurves": ["X25519"]},
			"tlsCertificates": [{"certificateChain": {"filename": "/c"}, "privateKey": {"inlineString": "k"}}],
			"alpnProtocols": ["h2"],
			"validationContext": {
				"trustedCa": {"inlineBytes": "Y2E="},
				"matchTypedSubjectAltNames": [
					{"sanType": "DNS", "matcher": {"exact": "a"}}, {"sanType": "URI", "matcher": {"prefix": "b", "ignoreCase": true}},
					{"sanType": "IP_ADDRESS", "matcher": {"suffix": "c"}}, {"sanType": "EMAIL", "matcher": {"contains": "d"}}],
				"matchSubjectAltNames": [{"exact": "e"}]}}}`))
	want := &transport.ClientConfig{
		ServerName: "bb.demo", Sessions: 7,
		Settings: transport.Settings{
			Owner:      `cluster "c"`,
			MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13,
			CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
			Curves:       []tls.CurveID{tls.X25519},
			Certificates: []transport.KeyPair{{Chain: transport.Source{File: "/c"}, Key: transport.Source{Inline: []byte("k")}}},
			ALPN:         []string{"h2"},
			Verify: transport.Verify{
				TrustedCA: transport.Source{Inline: []byte("ca")},
				Names: []transport.NameMatch{
					{Type: transport.DNSName, Exact: "a"},
					{Type: transport.URIName, Prefix: "b", IgnoreCase: true},
					{Type: transport.IPName, Suffix: "c"},
					{Type: transport.EmailName, Contains: "d"},
					{Exact: "e"},
				},
			},
		},
	}
	if diff := cmp.Diff(want, spec.tls, cmpopts.IgnoreFields(transport.Settings{}, "Now", "Logger")); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if spec.cfg.Transport == "" {
		t.Error("the context has no identity")
	}
	if plain := compiled(t, static("c", "10.0.0.1")); plain.tls != nil || plain.cfg.Transport != "" {
		t.Error("a plain cluster has TLS")
	}
	regex := compiled(t, tlsCluster(t, `{"commonTlsContext": {"validationContext": {"systemRootCerts": {},
		"matchTypedSubjectAltNames": [{"sanType": "DNS", "matcher": {"safeRegex": {"regex": "a+"}}}]}}}`))
	if v := regex.tls.Verify; !v.SystemRoots || v.Names[0].Regex == nil || v.Names[0].Regex.MatchString("aab") || !v.Names[0].Regex.MatchString("aa") {
		t.Errorf("regex: %+v", v)
	}
	untrusted := compiled(t, tlsCluster(t, `{"maxSessionKeys": 0, "commonTlsContext": {"validationContext": {"trustChainVerification": "ACCEPT_UNTRUSTED"}}}`))
	if !untrusted.tls.Verify.Insecure || untrusted.tls.Sessions >= 0 {
		t.Errorf("untrusted: %+v", untrusted.tls)
	}
}

func TestClusterTLSRefused(t *testing.T) {
	const ca = `"trustedCa": {"filename": "/ca"}`
	in := func(common string) string { return `{"commonTlsContext": {` + common + `}}` }
	validated := func(more string) string { return in(`"validationContext": {` + ca + `, ` + more + `}`) }
	with := func(more string) string { return in(`"validationContext": {` + ca + `}, ` + more) }
	const at = "transport_socket.common_tls_context."
	for want, context := range map[string]string{
		at + "validation_context: nothing would be verified":                                         `{}`,
		"transport_socket.auto_host_sni: is not supported":                                           `{"autoHostSni": true, "commonTlsContext": {"validationContext": {` + ca + `}}}`,
		"transport_socket.allow_renegotiation: is not supported":                                     `{"allowRenegotiation": true, "commonTlsContext": {"validationContext": {` + ca + `}}}`,
		at + "tls_certificate_sds_secret_configs: SDS is not supported yet":                          with(`"tlsCertificateSdsSecretConfigs": [{"name": "default"}]`),
		at + "validation_context_sds_secret_config: SDS is not supported yet":                        in(`"validationContextSdsSecretConfig": {"name": "ROOTCA"}`),
		at + "combined_validation_context: SDS is not supported yet":                                 in(`"combinedValidationContext": {}`),
		at + "custom_handshaker: is not supported":                                                   with(`"customHandshaker": {"name": "x"}`),
		at + "tls_params.tls_minimum_protocol_version TLSv1_1: TLS_AUTO":                             with(`"tlsParams": {"tlsMinimumProtocolVersion": "TLSv1_1"}`),
		at + `tls_params.cipher_suites "AES128-SHA": is none of ECDHE`:                               with(`"tlsParams": {"cipherSuites": ["AES128-SHA"]}`),
		at + `tls_params.ecdh_curves "P-224": is none of`:                                            with(`"tlsParams": {"ecdhCurves": ["P-224"]}`),
		at + "tls_params.signature_algorithms: is not supported":                                     with(`"tlsParams": {"signatureAlgorithms": ["x"]}`),
		at + "tls_certificates[0].private_key: filename, inline_string or inline_bytes is needed":    with(`"tlsCertificates": [{"certificateChain": {"filename": "/c"}}]`),
		at + "tls_certificates[0].certificate_chain.environment_variable: is not supported":          with(`"tlsCertificates": [{"certificateChain": {"environmentVariable": "C"}, "privateKey": {"filename": "/k"}}]`),
		at + "tls_certificates[0].password: is not supported":                                        with(`"tlsCertificates": [{"certificateChain": {"filename": "/c"}, "privateKey": {"filename": "/k"}, "password": {"inlineString": "p"}}]`),
		at + "validation_context.crl: is not supported":                                              validated(`"crl": {"filename": "/crl"}`),
		at + "validation_context.verify_certificate_hash: is not supported":                          validated(`"verifyCertificateHash": ["ab"]`),
		at + "validation_context.allow_expired_certificate: is not supported":                        validated(`"allowExpiredCertificate": true`),
		at + "validation_context.match_typed_subject_alt_names[0].san_type OTHER_NAME":               validated(`"matchTypedSubjectAltNames": [{"sanType": "OTHER_NAME", "matcher": {"exact": "a"}}]`),
		at + "validation_context.match_typed_subject_alt_names[0].matcher: exact, prefix":            validated(`"matchTypedSubjectAltNames": [{"sanType": "DNS", "matcher": {}}]`),
		at + `validation_context.match_typed_subject_alt_names[0].matcher.safe_regex "(": error`:     validated(`"matchTypedSubjectAltNames": [{"sanType": "DNS", "matcher": {"safeRegex": {"regex": "("}}}]`),
		at + "validation_context.trusted_ca: names are worth nothing without it":                     in(`"validationContext": {"matchTypedSubjectAltNames": [{"sanType": "DNS", "matcher": {"exact": "a"}}]}`),
		`transport_socket: name 0: 0 patterns are set`:                                               validated(`"matchTypedSubjectAltNames": [{"sanType": "DNS", "matcher": {"prefix": ""}}]`),
		`transport_socket "x": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Downs`: "",
	} {
		var c *clusterv3.Cluster
		if context == "" {
			c = static("c", "10.0.0.1")
			c.TransportSocket = &corev3.TransportSocket{Name: "x", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(&tlsv3.DownstreamTlsContext{})}}
		} else {
			c = tlsCluster(t, context)
		}
		_, err := compileCluster(xds.Resource{Name: "c", Message: c})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	auto := tlsCluster(t, with(`"alpnProtocols": ["h2"]`))
	auto.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpOptions: pack(read(t, new(upstreamhttpv3.HttpProtocolOptions), `{
		"upstreamHttpProtocolOptions": {"autoSni": true, "autoSanValidation": true}, "explicitHttpConfig": {"httpProtocolOptions": {}}}`))}
	_, err := compileCluster(xds.Resource{Name: "c", Message: auto})
	for _, field := range []string{"auto_sni", "auto_san_validation"} {
		if want := "upstream_http_protocol_options." + field + ": is not supported"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	auto.TransportSocket = nil
	if _, err := compileCluster(xds.Resource{Name: "c", Message: auto}); err != nil {
		t.Errorf("without TLS there is nothing to name: %v", err)
	}
	// A field that this version of Envoy's API does not have.
	m := read(t, new(tlsv3.UpstreamTlsContext), with(`"alpnProtocols": ["h2"]`))
	m.ProtoReflect().SetUnknown([]byte{0x98, 0x3f, 1}) // field 1011, a number
	c := static("c", "10.0.0.1")
	c.TransportSocket = &corev3.TransportSocket{ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(m)}}
	if _, err := compileCluster(xds.Resource{Name: "c", Message: c}); err == nil || !strings.Contains(err.Error(), "transport_socket has fields that are not known") {
		t.Errorf("unknown field: %v", err)
	}
}

func compiledListener(l *listenerv3.Listener) (*listenerSpec, error) {
	return compileListener(xds.Resource{Name: l.GetName(), Message: l})
}

func TestListenerTLS(t *testing.T) {
	const own = `"tlsCertificates": [{"certificateChain": {"filename": "/c"}, "privateKey": {"filename": "/k"}}]`
	spec, err := compiledListener(tlsListener(t, `{"commonTlsContext": {`+own+`, "validationContext": {"trustedCa": {"filename": "/ca"}}},
		"requireClientCertificate": true, "requireSni": true, "disableStatelessSessionResumption": true}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &transport.ServerConfig{
		RequireCertificate: true, RequireServerName: true, NoTickets: true,
		Settings: transport.Settings{
			Owner:        `listener "` + spec.name + `"`,
			Certificates: []transport.KeyPair{{Chain: transport.Source{File: "/c"}, Key: transport.Source{File: "/k"}}},
			ALPN:         []string{"h2", "http/1.1"},
			Verify:       transport.Verify{TrustedCA: transport.Source{File: "/ca"}},
		},
	}
	if diff := cmp.Diff(want, spec.tls); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if l, err := compiledListener(tlsListener(t, `{"commonTlsContext": {`+own+`, "alpnProtocols": ["http/1.1"]}}`)); err != nil || cmp.Diff(l.tls.ALPN, []string{"http/1.1"}) != "" {
		t.Errorf("ALPN: %v", err)
	}
	const at = "filter_chains[0].transport_socket"
	for want, context := range map[string]string{
		at + ": certificates: at least one is needed":           `{}`,
		at + ": a client certificate is required, and there is": `{"commonTlsContext": {` + own + `}, "requireClientCertificate": true}`,
		at + ".session_ticket_keys: is not supported":           `{"commonTlsContext": {` + own + `}, "sessionTicketKeys": {}}`,
		at + ".ocsp_staple_policy MUST_STAPLE":                  `{"commonTlsContext": {` + own + `}, "ocspStaplePolicy": "MUST_STAPLE"}`,
		at + ".common_tls_context.key_log: is not supported":    `{"commonTlsContext": {` + own + `, "keyLog": {"path": "/x"}}}`,
	} {
		if _, err := compiledListener(tlsListener(t, context)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// TestTransportOpens gives a Store files that come, change and go.
func TestTransportOpens(t *testing.T) {
	ca := tlstest.NewCA(t, "CA")
	leaf := ca.Issue(tlstest.Leaf{Names: []string{"bb"}})
	dir := t.TempDir()
	caFile := filepath.Join(dir, "ca.pem")
	certFile, keyFile := tlstest.Write(t, dir, "cert.pem", leaf.Cert), tlstest.Write(t, dir, "key.pem", leaf.Key)
	r := newRig(t, Config{})
	cluster := func(context string) []xds.Rejection { return r.try(xds.Cluster, "c", tlsCluster(t, context)) }
	client := `{"commonTlsContext": {"validationContext": {"trustedCa": {"filename": "` + caFile + `"}}}}`

	l := tlsListener(t, `{"commonTlsContext": {"tlsCertificates": [{"certificateChain": {"filename": "`+certFile+`"}, "privateKey": {"filename": "`+keyFile+`"}}]}}`)
	r.apply(xds.Listener, "in", l)
	if rejected := cluster(client); len(rejected) != 1 || !strings.Contains(rejected[0].Err.Error(), "transport_socket: trusted CA "+caFile+": no such file") {
		t.Fatalf("a file that is not there: %v", rejected)
	}
	tlstest.Write(t, dir, "ca.pem", ca.PEM)
	if rejected := cluster(client); len(rejected) != 0 {
		t.Fatal(rejected)
	}
	snap, _ := r.Current()
	if len(snap.Listeners) != 1 || snap.Listeners[0].TLS == nil {
		t.Fatalf("listeners %+v", snap.Listeners)
	}
	first := snap.Listeners[0].TLS
	if dial := r.clusters["c"].live.cfg.Dial; dial == nil {
		t.Fatal("the cluster is plain")
	}

	// The same again, with something else changed: what is open stays, even if
	// the files are gone.
	for _, f := range []string{caFile, certFile} {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	if rejected := cluster(client); len(rejected) != 0 {
		t.Error(rejected)
	}
	again := proto.CloneOf(l)
	again.PerConnectionBufferLimitBytes = nil
	r.apply(xds.Listener, "in", again)
	if snap, _ = r.Current(); snap.Listeners[0].TLS != first {
		t.Error("a listener whose TLS has not changed got another")
	}
	// Another context is opened anew.
	if rejected := cluster(strings.Replace(client, "{", `{"sni": "bb",`, 1)); len(rejected) != 1 {
		t.Error("a file that is gone was read")
	}
}

// TestSecretsAreNotShown looks at what a dump would give.
func TestSecretsAreNotShown(t *testing.T) {
	ca := tlstest.NewCA(t, "CA")
	leaf := ca.Issue(tlstest.Leaf{})
	common := read(t, new(tlsv3.CommonTlsContext), `{"tlsCertificates": [{}], "validationContext": {"trustedCa": {}}}`)
	inlineText := func(text []byte) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: string(text)}}
	}
	common.TlsCertificates[0] = &tlsv3.TlsCertificate{CertificateChain: inlineText(leaf.Cert), PrivateKey: inlineText(leaf.Key)}
	common.GetValidationContext().TrustedCa = inlineText(ca.PEM)
	socket := func(m proto.Message) *corev3.TransportSocket {
		return &corev3.TransportSocket{ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(m)}}
	}
	c := static("c", "10.0.0.1")
	c.TransportSocket = socket(&tlsv3.UpstreamTlsContext{CommonTlsContext: common})
	l := inbound(8443, "c")
	l.FilterChains[0].TransportSocket = socket(&tlsv3.DownstreamTlsContext{CommonTlsContext: common})
	r := newRig(t, Config{})
	r.apply(xds.Listener, "in", l)
	r.apply(xds.Cluster, "c", c)
	shown := 0
	for _, resources := range r.Resources() {
		for name, m := range resources {
			text, err := protojson.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			shown++
			if strings.Contains(string(text), "PRIVATE KEY") || !strings.Contains(string(text), "BEGIN CERTIFICATE") {
				t.Errorf("%s: %s", name, text)
			}
		}
	}
	if shown != 2 {
		t.Errorf("%d resources", shown)
	}
	if text, _ := protojson.Marshal(c.GetTransportSocket()); !strings.Contains(string(text), "PRIVATE KEY") {
		t.Error("the resource itself was changed")
	}
}
