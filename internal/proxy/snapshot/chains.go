package snapshot

import (
	"fmt"
	"slices"
	"sync/atomic"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	httpinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// Protocol is what the connections of a listener speak.
type Protocol uint8

const (
	// HTTP: one filter chain, with an HttpConnectionManager.
	HTTP Protocol = iota
	// Detect: the http_inspector looks at first bytes. What is HTTP goes to the
	// chain with the HttpConnectionManager, all else to the chain with the
	// TcpProxy; where there is none, by the hosts of the first.
	Detect
	// TCP: one filter chain, with a TcpProxy.
	TCP
	// HTTP1 and HTTP2 are HTTP whose manager has that codec_type.
	HTTP1
	HTTP2
)

// NoTimeout stands for a timeout of zero, which Envoy takes for none.
const NoTimeout = upstream.NoTimeout

// Bytes is where the bytes go that are no HTTP.
type Bytes struct{ action atomic.Pointer[route.Action] }

// Action is what is to be done with a connection; nil: nothing can be.
func (b *Bytes) Action() *route.Action { return b.action.Load() }

// inspected are the application protocols by which Envoy's http_inspector calls
// HTTP.
var inspected = []string{"http/1.0", "http/1.1", "h2c"}

// chains reads a listener's filter chains and what chooses between them.
func (p *problems) chains(spec *listenerSpec, l *listenerv3.Listener) {
	looks := p.listenerFilters(l)
	if looks {
		spec.protocol = Detect
		spec.timeouts.Detect = p.orNone("listener_filters_timeout", l.GetListenerFiltersTimeout())
		if !l.GetContinueOnListenerFiltersTimeout() {
			p.add("continue_on_listener_filters_timeout false: only true is supported, beside an http_inspector")
		}
	}
	all := l.GetFilterChains()
	if len(all) == 0 && l.GetDefaultFilterChain() == nil {
		p.add("filter_chains: 0 of them, at least one is needed")
	}
	c := chainReader{problems: p, spec: spec, looks: looks}
	for i, chain := range all {
		c.chain(fmt.Sprintf("filter_chains[%d]", i), chain)
	}
	if chain := l.GetDefaultFilterChain(); chain != nil {
		if chain.GetFilterChainMatch() != nil {
			p.add("default_filter_chain.filter_chain_match: must not be set")
		}
		c.chain("default_filter_chain", chain)
	}
	switch {
	case c.http == "" && c.tcp != "":
		spec.protocol = TCP // there is nothing to tell apart
	case c.tcp != "" && !c.matched && looks:
		p.add("%s.filter_chain_match.application_protocols: must be %q beside a TcpProxy", c.http, inspected)
	case c.tcp == "":
		spec.onlyHTTP = c.matched
	}
}

// listenerFilters tells whether first bytes are looked at.
func (p *problems) listenerFilters(l *listenerv3.Listener) (looks bool) {
	for i, f := range l.GetListenerFilters() {
		at := fmt.Sprintf("listener_filters[%d]", i)
		p.unsupported(at+".", f, "filter_disabled", "config_discovery")
		url := f.GetTypedConfig()
		switch {
		case url.MessageIs((*httpinspectorv3.HttpInspector)(nil)):
			looks = true
		case url.MessageIs((*tlsinspectorv3.TlsInspector)(nil)), // beside the other, which we need for anything to choose
			url.MessageIs((*originaldstv3.OriginalDst)(nil)): // always looked at where it counts
		default:
			p.add("%s %q: %s is not supported, but http_inspector, tls_inspector and original_dst", at, f.GetName(), url.GetTypeUrl())
		}
	}
	return looks
}

// chainReader puts the chains of one listener together.
type chainReader struct {
	*problems
	spec      *listenerSpec
	looks     bool
	http, tcp string // the chain that has it
	matched   bool   // the former takes HTTP alone
}

func (c *chainReader) chain(at string, chain *listenerv3.FilterChain) {
	if n := len(chain.GetFilters()); n != 1 {
		c.add("%s.filters: %d of them, exactly one is supported: HttpConnectionManager or TcpProxy", at, n)
		return
	}
	config := chain.GetFilters()[0].GetTypedConfig()
	hcm, tcp := new(hcmv3.HttpConnectionManager), new(tcpv3.TcpProxy)
	isHTTP := config.MessageIs(hcm)
	c.match(at+".filter_chain_match", chain.GetFilterChainMatch(), isHTTP)
	switch {
	case isHTTP:
		if c.one(at, &c.http, "HttpConnectionManager") && c.decode(at, config.UnmarshalTo(hcm)) {
			c.connectionManager(c.spec, hcm)
			c.codec(hcm.GetCodecType())
		}
	case config.MessageIs(tcp):
		if c.one(at, &c.tcp, "TcpProxy") && c.decode(at, config.UnmarshalTo(tcp)) {
			c.tcpProxy(at+".filters[0].", tcp)
		}
	default:
		c.add("%s.filters[0]: %s is not supported, but HttpConnectionManager and TcpProxy", at, config.GetTypeUrl())
	}
}

// one makes sure that a kind of chain is there once.
func (c *chainReader) one(at string, before *string, kind string) bool {
	if *before != "" {
		c.add("%s: has a %s, as %s has; one is supported", at, kind, *before)
		return false
	}
	other := c.http + c.tcp
	if *before = at; other != "" && !c.looks {
		c.add("%s: is a second chain beside %s, which needs an http_inspector in listener_filters", at, other)
	}
	return true
}

// codec reads which versions of HTTP are taken.
func (c *chainReader) codec(kind hcmv3.HttpConnectionManager_CodecType) {
	switch {
	case kind == hcmv3.HttpConnectionManager_AUTO:
	case c.looks:
		c.add("http_connection_manager.codec_type %s: only AUTO is supported beside an http_inspector", kind)
	case kind == hcmv3.HttpConnectionManager_HTTP1:
		c.spec.protocol = HTTP1
	case kind == hcmv3.HttpConnectionManager_HTTP2:
		c.spec.protocol = HTTP2
	default:
		c.add("http_connection_manager.codec_type %s: AUTO, HTTP1 and HTTP2 are supported", kind)
	}
}

func (c *chainReader) decode(at string, err error) bool {
	if err != nil {
		c.add("%s.filters[0]: %w", at, err)
	}
	return err == nil
}

// match takes what is true of HTTP anyway.
func (c *chainReader) match(at string, m *listenerv3.FilterChainMatch, isHTTP bool) {
	if m == nil {
		return
	}
	c.only(at+".", m, "application_protocols")
	protocols := m.GetApplicationProtocols()
	switch {
	case len(protocols) == 0:
	case !isHTTP:
		c.add("%s.application_protocols %q: must be empty for a TcpProxy", at, protocols)
	case !c.looks:
		c.add("%s.application_protocols: needs an http_inspector in listener_filters", at)
	default:
		c.matched = true
		for _, want := range inspected {
			if !slices.Contains(protocols, want) {
				c.add("%s.application_protocols %q: must have all of %q", at, protocols, inspected)
				break
			}
		}
		for _, got := range protocols {
			if !slices.Contains(inspected, got) {
				c.add("%s.application_protocols: %q is not supported, but %q", at, got, inspected)
			}
		}
	}
}

func (c *chainReader) tcpProxy(at string, m *tcpv3.TcpProxy) {
	c.unsupported(at, m, "on_demand", "metadata_match", "tunneling_config", "hash_policy",
		"downstream_idle_timeout", "upstream_idle_timeout", "max_downstream_connection_duration", "proxy_protocol_tlvs")
	rule := route.Rule{}
	switch to := m.GetClusterSpecifier().(type) {
	case *tcpv3.TcpProxy_Cluster:
		rule.Backends = []route.WeightedCluster{{Cluster: to.Cluster, Weight: 1}}
	case *tcpv3.TcpProxy_WeightedClusters:
		for i, one := range to.WeightedClusters.GetClusters() {
			c.unsupported(fmt.Sprintf("%sweighted_clusters.clusters[%d].", at, i), one, "metadata_match")
			rule.Backends = append(rule.Backends, route.WeightedCluster{Cluster: one.GetName(), Weight: one.GetWeight()})
		}
	default:
		c.add("%scluster_specifier: cluster or weighted_clusters is needed", at)
	}
	c.spec.bytes = newHostSpec(&route.Config{Name: m.GetStatPrefix(), Rules: []route.Rule{rule}})
	if err := c.spec.bytes.Validate(); err != nil {
		c.add("%s%w", at, err)
	}
	c.spec.timeouts.TCP = c.orNone(at+"idle_timeout", m.GetIdleTimeout())
}
