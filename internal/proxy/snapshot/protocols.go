package snapshot

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// protocolOptions reads in which version of HTTP a cluster's endpoints are
// spoken to, and how: Envoy's HttpProtocolOptions. A cluster that does not say
// so is spoken to in HTTP/1.1, as Envoy has it.
func (p *problems) protocolOptions(spec *clusterSpec, c *clusterv3.Cluster) {
	const at = "typed_extension_protocol_options: "
	spec.cfg.Protocol = upstream.HTTP1
	body := c.GetTypedExtensionProtocolOptions()[httpOptions]
	if body == nil {
		return
	}
	options := new(upstreamhttpv3.HttpProtocolOptions)
	if err := body.UnmarshalTo(options); err != nil {
		p.add(at+"%w", err)
		return
	}
	p.only(at, options, "common_http_protocol_options", "explicit_http_config", "use_downstream_protocol_config",
		"auto_config", "upstream_http_protocol_options", "outlier_detection")
	common := options.GetCommonHttpProtocolOptions()
	p.only(at+"common_http_protocol_options.", common, "idle_timeout", "max_connection_duration", "max_requests_per_connection")
	spec.cfg.Limits.MaxRequestsPerConnection = common.GetMaxRequestsPerConnection().GetValue()
	spec.cfg.IdleTimeout = p.orNone("common_http_protocol_options.idle_timeout", common.GetIdleTimeout())
	spec.cfg.MaxConnectionDuration = p.duration("common_http_protocol_options.max_connection_duration", common.GetMaxConnectionDuration(), 0)
	p.errorMatcher(spec, at+"outlier_detection.error_matcher", options.GetOutlierDetection().GetErrorMatcher())
	switch o := options.GetUpstreamProtocolOptions().(type) {
	case nil:
	case *upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_:
		switch v := o.ExplicitHttpConfig.GetProtocolConfig().(type) {
		case *upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions:
		case *upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions:
			spec.cfg.Protocol = upstream.HTTP2
			spec.http2(p.http2Options(at+"explicit_http_config.http2_protocol_options.", v.Http2ProtocolOptions))
		case *upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http3ProtocolOptions:
			p.add(at + "explicit_http_config.http3_protocol_options: is not supported: http_protocol_options and http2_protocol_options are")
		default:
			p.add(at + "explicit_http_config: http_protocol_options or http2_protocol_options is needed")
		}
	case *upstreamhttpv3.HttpProtocolOptions_UseDownstreamProtocolConfig:
		spec.cfg.Protocol = upstream.AsCaller
		p.unsupported(at+"use_downstream_protocol_config.", o.UseDownstreamProtocolConfig, "http3_protocol_options")
		spec.http2(p.http2Options(at+"use_downstream_protocol_config.http2_protocol_options.", o.UseDownstreamProtocolConfig.GetHttp2ProtocolOptions()))
	default:
		p.add(at + "auto_config: is not supported: explicit_http_config and use_downstream_protocol_config are")
	}
}

// The ranges that Envoy allows.
const (
	minStreamWindow  = 1<<16 - 1
	maxStreamNumbers = 1<<31 - 1
)

// HTTP2Options is how HTTP/2 is spoken, as far as a resource says so; zero: not set.
type HTTP2Options struct {
	MaxStreams       uint32        // max_concurrent_streams
	StreamWindow     uint32        // initial_stream_window_size
	KeepAlive        time.Duration // connection_keepalive.interval
	KeepAliveTimeout time.Duration // connection_keepalive.timeout
}

// http2 has a cluster's endpoints spoken to as o says.
func (spec *clusterSpec) http2(o HTTP2Options) {
	h := &spec.cfg.HTTP2
	h.MaxStreams, h.StreamWindow = o.MaxStreams, o.StreamWindow
	h.KeepAlive, h.KeepAliveTimeout = o.KeepAlive, o.KeepAliveTimeout
}

// http2Options reads what concerns us. Other fields tell of Envoy's own bounds
// and tables; the proxy's hold.
func (p *problems) http2Options(at string, o *corev3.Http2ProtocolOptions) HTTP2Options {
	k := o.GetConnectionKeepalive()
	// Envoy pings in any case after that time, we do so when nothing was heard
	// for it; the jitter that spreads Envoy's pings is not needed then.
	h := HTTP2Options{
		MaxStreams:       p.within(at+"max_concurrent_streams", o.GetMaxConcurrentStreams(), 1),
		StreamWindow:     p.within(at+"initial_stream_window_size", o.GetInitialStreamWindowSize(), minStreamWindow),
		KeepAlive:        p.duration(at+"connection_keepalive.interval", k.GetInterval(), 0),
		KeepAliveTimeout: p.duration(at+"connection_keepalive.timeout", k.GetTimeout(), 0),
	}
	if h.KeepAlive > 0 && h.KeepAliveTimeout == 0 {
		p.add("%sconnection_keepalive.timeout: is needed with an interval", at)
	}
	return h
}

// within reads an optional number from least to 2^31-1; 0 where it is not set.
func (p *problems) within(field string, w *wrapperspb.UInt32Value, least uint32) uint32 {
	v := w.GetValue()
	if w == nil || v >= least && v <= maxStreamNumbers {
		return v
	}
	p.add("%s %d: must be from %d to %d", field, v, least, maxStreamNumbers)
	return 0
}
