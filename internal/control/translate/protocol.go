package translate

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
)

// httpOptions is the key under which Envoy finds a cluster's HTTP options.
const httpOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// clusterProtocol is how a cluster's endpoints are spoken to in HTTP, nil for an
// opaque port.
func clusterProtocol(e *policy.Effective) map[string]*anypb.Any {
	o := httpProtocol(endpointProtocol(e))
	if o == nil {
		return nil
	}
	p := &e.Pool
	common := &corev3.HttpProtocolOptions{}
	if p.IdleTimeout.IsSet() {
		common.IdleTimeout = durationpb.New(p.IdleTimeout.Value)
	}
	if p.MaxConnectionDuration.IsSet() {
		common.MaxConnectionDuration = durationpb.New(p.MaxConnectionDuration.Value)
	}
	if p.MaxRequestsPerConnection.IsSet() {
		common.MaxRequestsPerConnection = wrapperspb.UInt32(p.MaxRequestsPerConnection.Value)
	}
	if !proto.Equal(common, &corev3.HttpProtocolOptions{}) {
		o.CommonHttpProtocolOptions = common
	}
	tuneHTTP2(o.GetExplicitHttpConfig().GetHttp2ProtocolOptions(), p)
	tuneHTTP2(o.GetUseDownstreamProtocolConfig().GetHttp2ProtocolOptions(), p)
	o.OutlierDetection = errorMatcher(e.Outlier)
	return packOptions(o)
}

// endpointProtocol is what endpoints are spoken to in: what the port says, unless
// a rule has the caller's version kept, or HTTP/1.1 lifted to HTTP/2.
func endpointProtocol(e *policy.Effective) model.Protocol {
	p := e.Protocol.Value
	switch {
	case p.Opaque():
		return p
	case e.Pool.UseClientProtocol.Value:
		return model.Detect
	case e.Pool.H2Upgrade.Value:
		return model.HTTP2
	default:
		return p
	}
}

func tuneHTTP2(o *corev3.Http2ProtocolOptions, p *policy.Pool) {
	if o == nil {
		return
	}
	if p.MaxConcurrentStreams.IsSet() {
		o.MaxConcurrentStreams = wrapperspb.UInt32(p.MaxConcurrentStreams.Value)
	}
	if k := p.HTTP2Keepalive; k != nil {
		o.ConnectionKeepalive = &corev3.KeepaliveSettings{
			Interval: durationpb.New(k.Interval.Value), Timeout: durationpb.New(k.Timeout.Value),
		}
	}
}

// httpProtocol says in which version of HTTP endpoints are spoken to: the one
// that is declared, or else that of the caller, which was detected; nil for an
// opaque port.
func httpProtocol(p model.Protocol) *httpv3.HttpProtocolOptions {
	o := &httpv3.HttpProtocolOptions{}
	switch p {
	case model.HTTP1:
		o.UpstreamProtocolOptions = explicit(&httpv3.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
				HttpProtocolOptions: &corev3.Http1ProtocolOptions{},
			},
		})
	case model.HTTP2:
		o.UpstreamProtocolOptions = explicit(&httpv3.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
				Http2ProtocolOptions: http2Options(),
			},
		})
	case model.Detect:
		o.UpstreamProtocolOptions = &httpv3.HttpProtocolOptions_UseDownstreamProtocolConfig{
			UseDownstreamProtocolConfig: &httpv3.HttpProtocolOptions_UseDownstreamHttpConfig{
				HttpProtocolOptions:  &corev3.Http1ProtocolOptions{},
				Http2ProtocolOptions: http2Options(),
			},
		}
	default:
		return nil
	}
	return o
}

// packOptions puts HTTP options where Envoy looks for a cluster's.
func packOptions(o *httpv3.HttpProtocolOptions) map[string]*anypb.Any {
	if o == nil {
		return nil
	}
	return map[string]*anypb.Any{httpOptions: toAny(o)}
}

func explicit(c *httpv3.HttpProtocolOptions_ExplicitHttpConfig) *httpv3.HttpProtocolOptions_ExplicitHttpConfig_ {
	return &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: c}
}

// http2Options let WebSockets through by extended CONNECT (RFC 8441), which
// Envoy does not do unless it is told; the rest is the proxy's own defaults.
func http2Options() *corev3.Http2ProtocolOptions {
	return &corev3.Http2ProtocolOptions{AllowConnect: true}
}
