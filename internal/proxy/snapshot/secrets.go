package snapshot

import (
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
)

// secret stands where something is that nobody may see.
var secret = []byte("[redacted]")

// withoutSecrets gives a resource as it may be shown: a copy without the
// private keys, if there are any inline.
func withoutSecrets(m proto.Message) proto.Message {
	switch m := m.(type) {
	case *clusterv3.Cluster:
		if redacted := redactedSocket(m.GetTransportSocket()); redacted != nil {
			c := proto.CloneOf(m)
			c.TransportSocket = redacted
			return c
		}
	case *listenerv3.Listener:
		return redactedListener(m)
	}
	return m
}

func redactedListener(l *listenerv3.Listener) *listenerv3.Listener {
	shown := l
	each := func(l *listenerv3.Listener) []*listenerv3.FilterChain {
		return append(slices.Clip(l.GetFilterChains()), l.GetDefaultFilterChain())
	}
	for i, chain := range each(l) {
		if redacted := redactedSocket(chain.GetTransportSocket()); redacted != nil {
			if shown == l {
				shown = proto.CloneOf(l)
			}
			each(shown)[i].TransportSocket = redacted
		}
	}
	return shown
}

// redactedSocket is nil where there is nothing to hide.
func redactedSocket(t *corev3.TransportSocket) *corev3.TransportSocket {
	m, err := t.GetTypedConfig().UnmarshalNew()
	if err != nil {
		return nil
	}
	holder, ok := m.(interface {
		GetCommonTlsContext() *tlsv3.CommonTlsContext
	})
	if !ok {
		return nil
	}
	found := false
	for _, c := range holder.GetCommonTlsContext().GetTlsCertificates() {
		switch c.GetPrivateKey().GetSpecifier().(type) {
		case *corev3.DataSource_InlineBytes, *corev3.DataSource_InlineString:
			c.PrivateKey = &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: secret}}
			found = true
		}
	}
	if !found {
		return nil
	}
	shown := proto.CloneOf(t)
	if shown.GetTypedConfig().MarshalFrom(m) != nil {
		return nil
	}
	return shown
}
