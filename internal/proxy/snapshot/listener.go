package snapshot

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"

	"github.com/reclosermesh/recloser/internal/proxy/transport"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// Listener is a place where the proxy listens.
type Listener struct {
	// Name is unique among listeners.
	Name string
	// Address is IP:PORT.
	Address   string
	Direction telemetry.Direction
	// Port of the address.
	Port     string
	Protocol Protocol
	// Hosts stays the same while a listener of this name exists.
	Hosts *Hosts
	// Bytes does so too. nil: what is no HTTP goes nowhere but by Hosts.
	Bytes *Bytes
	// Timeouts and bounds that the resource sets; 0: the proxy's own.
	Timeouts     Timeouts
	MaxHeaders   int
	MaxHeadBytes int
	HTTP2        HTTP2Options
	// TLS takes the callers in; nil: they speak in plain. It stays the same
	// while its definition is.
	TLS *transport.Server

	spec *listenerSpec
}

// Timeouts of a listener; 0: not set.
type Timeouts struct {
	Head   time.Duration // request_headers_timeout
	Idle   time.Duration // common_http_protocol_options.idle_timeout
	Stream time.Duration // stream_idle_timeout
	Detect time.Duration // listener_filters_timeout; NoTimeout: none
	TCP    time.Duration // tcp_proxy.idle_timeout; NoTimeout: none
}

type listenerSpec struct {
	name, address, port string
	direction           telemetry.Direction
	routes              string     // name for RDS, if inline is nil
	inline              *routeSpec // of the listener itself
	protocol            Protocol
	bytes               *hostSpec // one rule; nil: no chain takes what is no HTTP
	onlyHTTP            bool      // bytes are looked at, and no chain takes what is no HTTP
	timeouts            Timeouts
	maxHeaders          int
	maxHeadBytes        int
	http2               HTTP2Options
	tls                 *transport.ServerConfig // nil: plain; server is made of it when it is opened
	server              *transport.Server
	transport           string // tells contexts apart
}

const (
	routerFilter   = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
	onDemandFilter = "type.googleapis.com/envoy.extensions.filters.http.on_demand.v3.OnDemand"
	corsFilter     = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"
)

func compileListener(r xds.Resource) (*listenerSpec, error) {
	l, err := asMessage[*listenerv3.Listener](r)
	if err != nil {
		return nil, err
	}
	var p problems
	p.unsupported("", l, "use_original_dst", "filter_chain_matcher", "additional_addresses", "udp_listener_config", "api_listener")
	spec := &listenerSpec{name: r.Name}
	p.listenerTransport(spec, l)
	spec.address = p.address("address", l.GetAddress())
	_, spec.port, _ = net.SplitHostPort(spec.address)
	if l.GetTrafficDirection() == corev3.TrafficDirection_INBOUND {
		spec.direction = telemetry.Inbound
	}
	p.chains(spec, l)
	if err := p.err(); err != nil {
		return nil, err
	}
	return spec, nil
}

func (p *problems) connectionManager(spec *listenerSpec, hcm *hcmv3.HttpConnectionManager) {
	const at = "http_connection_manager."
	switch routes := hcm.GetRouteSpecifier().(type) {
	case *hcmv3.HttpConnectionManager_Rds:
		if spec.routes = routes.Rds.GetRouteConfigName(); spec.routes == "" || strings.Contains(spec.routes, "/") {
			p.add("%srds.route_config_name %q: must not be empty and not contain a slash", at, spec.routes)
		}
	case *hcmv3.HttpConnectionManager_RouteConfig:
		var err error
		if spec.inline, err = compileRoutes(routes.RouteConfig); err != nil {
			p.add("%sroute_config: %w", at, err)
		} else if spec.inline.onDemand {
			p.add("%sroute_config.vhds: is supported in a RouteConfiguration of its own only", at)
		}
	default:
		p.add("%sroute_specifier: rds or route_config is needed", at)
	}
	p.httpFilters(at, hcm)
	common := hcm.GetCommonHttpProtocolOptions()
	spec.timeouts.Head = p.duration(at+"request_headers_timeout", hcm.GetRequestHeadersTimeout(), 0)
	spec.timeouts.Idle = p.duration(at+"common_http_protocol_options.idle_timeout", common.GetIdleTimeout(), 0)
	spec.timeouts.Stream = p.duration(at+"stream_idle_timeout", hcm.GetStreamIdleTimeout(), 0)
	spec.maxHeaders = int(common.GetMaxHeadersCount().GetValue())
	spec.maxHeadBytes = int(hcm.GetMaxRequestHeadersKb().GetValue()) << 10
	spec.http2 = p.http2Options(at+"http2_protocol_options.", hcm.GetHttp2ProtocolOptions())
}

// httpFilters takes the filters that the request path has built in, and asks of
// the routes what they are to do.
func (p *problems) httpFilters(at string, hcm *hcmv3.HttpConnectionManager) {
	for i, f := range hcm.GetHttpFilters() {
		here := fmt.Sprintf("%shttp_filters[%d]", at, i)
		config, fault := f.GetTypedConfig(), new(faultv3.HTTPFault)
		switch url := config.GetTypeUrl(); {
		case f.GetDisabled(), url == routerFilter, url == onDemandFilter, url == corsFilter:
		case config.MessageIs(fault):
			if err := config.UnmarshalTo(fault); err != nil {
				p.add("%s: %w", here, err)
			}
			p.only(here+".", fault) // routes say it
		case f.GetIsOptional():
		default:
			p.add("%s %q: %s is not supported", here, f.GetName(), url)
		}
	}
}

// address reads an IP and a port as IP:PORT.
func (p *problems) address(field string, a *corev3.Address) string {
	s := a.GetSocketAddress()
	switch {
	case s == nil:
		p.add("%s: a socket_address is needed", field)
		return ""
	case s.GetProtocol() != corev3.SocketAddress_TCP:
		p.add("%s.protocol %s: only TCP is supported", field, s.GetProtocol())
	case net.ParseIP(s.GetAddress()) == nil:
		p.add("%s.address %q: must be an IP address", field, s.GetAddress())
	case s.GetNamedPort() != "" || s.GetPortValue() > 65535:
		p.add("%s.port: %d %q: must be a number from 0 to 65535", field, s.GetPortValue(), s.GetNamedPort())
	}
	return net.JoinHostPort(s.GetAddress(), strconv.FormatUint(uint64(s.GetPortValue()), 10))
}

func asMessage[M proto.Message](r xds.Resource) (M, error) {
	m, ok := r.Message.(M)
	if !ok {
		return m, fmt.Errorf("is a %T, not a %T", r.Message, m)
	}
	return m, nil
}
