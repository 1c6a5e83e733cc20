package translate

import (
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	httpinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// Names that Envoy gives to its filters.
const (
	hcmName           = "envoy.filters.network.http_connection_manager"
	tcpName           = "envoy.filters.network.tcp_proxy"
	routerName        = "envoy.filters.http.router"
	tlsInspectorName  = "envoy.filters.listener.tls_inspector"
	httpInspectorName = "envoy.filters.listener.http_inspector"
)

// detectTimeout is how long a caller may say nothing before its connection
// counts as one in which the server speaks first.
const detectTimeout = 3 * time.Second

// detectedHTTP is what Envoy's http_inspector finds.
func detectedHTTP() []string { return []string{"http/1.0", "http/1.1", "h2c"} }

// chains makes a listener.
type chains struct{ l *listenerv3.Listener }

func newListener(name, address string, d corev3.TrafficDirection) chains {
	return chains{&listenerv3.Listener{Name: name, Address: socketAddress(address), TrafficDirection: d}}
}

func (c chains) resource() Resource { return Resource{Name: c.l.GetName(), Message: c.l} }

// serve adds what a protocol needs: HTTP goes by the routes of m, all else as
// bytes says, and where it is not known which it is the connection is looked at.
func (c chains) serve(p model.Protocol, bytes *tcpv3.TcpProxy, m *hcmv3.HttpConnectionManager) {
	switch {
	case p.HTTP():
		c.http(m)
	case p.Opaque():
		c.l.FilterChains = append(c.l.FilterChains, tcpChain(c.l.GetName(), bytes))
	default:
		c.inspect()
		c.http(m)
		c.l.FilterChains[0].FilterChainMatch = &listenerv3.FilterChainMatch{ApplicationProtocols: detectedHTTP()}
		c.l.DefaultFilterChain = tcpChain(c.l.GetName(), bytes)
	}
}

// inspect looks at the first bytes of connections, for a while.
func (c chains) inspect() {
	c.l.ListenerFilters = []*listenerv3.ListenerFilter{
		listenerFilter(tlsInspectorName, &tlsinspectorv3.TlsInspector{}),
		listenerFilter(httpInspectorName, &httpinspectorv3.HttpInspector{}),
	}
	c.l.ListenerFiltersTimeout = durationpb.New(detectTimeout)
	c.l.ContinueOnListenerFiltersTimeout = true
}

func listenerFilter(name string, m proto.Message) *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{
		Name: name, ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: toAny(m)},
	}
}

// http adds a chain with a connection manager, which gets the router filter
// that Envoy needs, and what lets WebSockets through an Envoy.
func (c chains) http(m *hcmv3.HttpConnectionManager) {
	m.HttpFilters = []*hcmv3.HttpFilter{
		httpFilter(corsFilter, &corsv3.Cors{}), // what they do is said by routes
		httpFilter(faultFilter, &faultv3.HTTPFault{}),
		httpFilter(routerName, &routerv3.Router{}),
	}
	m.UpgradeConfigs = []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}}
	m.Http2ProtocolOptions = http2Options()
	c.l.FilterChains = append(c.l.FilterChains, &listenerv3.FilterChain{
		Filters: []*listenerv3.Filter{filter(hcmName, m)},
	})
}

func httpFilter(name string, m proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: toAny(m)}}
}

func tcpChain(listener string, m *tcpv3.TcpProxy) *listenerv3.FilterChain {
	m.StatPrefix = statPrefix(listener)
	return &listenerv3.FilterChain{Filters: []*listenerv3.Filter{filter(tcpName, m)}}
}

func bytesToCluster(name string) *tcpv3.TcpProxy {
	return &tcpv3.TcpProxy{ClusterSpecifier: &tcpv3.TcpProxy_Cluster{Cluster: name}}
}

// bytesTo shares connections among backends by their weights.
func bytesTo(list []routing.Backend) *tcpv3.TcpProxy {
	if len(list) == 1 {
		return bytesToCluster(backendCluster(&list[0]))
	}
	weighted := &tcpv3.TcpProxy_WeightedCluster{}
	for i := range list {
		if w := list[i].Weight.Value; w > 0 { // Envoy refuses 0 here
			weighted.Clusters = append(weighted.Clusters, &tcpv3.TcpProxy_WeightedCluster_ClusterWeight{
				Name: backendCluster(&list[i]), Weight: w,
			})
		}
	}
	if len(weighted.GetClusters()) == 0 {
		return bytesToCluster(invalidCluster(nil))
	}
	return &tcpv3.TcpProxy{ClusterSpecifier: &tcpv3.TcpProxy_WeightedClusters{WeightedClusters: weighted}}
}

func filter(name string, m proto.Message) *listenerv3.Filter {
	return &listenerv3.Filter{Name: name, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: toAny(m)}}
}

// statPrefix is a listener's name as statistics may have it.
func statPrefix(listener string) string { return strings.ReplaceAll(listener, "|", "_") }
