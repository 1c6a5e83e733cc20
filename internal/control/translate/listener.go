package translate

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/reclosermesh/recloser/internal/control/model"
)

// DefaultOutbound is where a sidecar listens for the calls of its program.
const DefaultOutbound = "127.0.0.1:4140"

// listeners are all listeners of a node, or the one that is named.
func listeners(v View, k Key) Result {
	r := Result{Deps: []Dep{{Kind: OnPod, Name: k.Node.Pod}}}
	out := []Resource{outboundListener(k.Node)}
	if p := v.World.Pod(k.Node.Pod.Namespace, k.Node.Pod.Name); p != nil {
		out = append(out, inboundListeners(v, p, portsOf(v, p))...)
	}
	for _, p := range parsePublish(k.Node.Publish) {
		res, deps := p.listener(v, k.Node)
		out = append(out, res)
		r.Deps = append(r.Deps, deps...)
	}
	for _, res := range out {
		if k.Name == AllListeners || k.Name == res.Name {
			r.Resources = append(r.Resources, res)
		}
	}
	return r
}

// outboundListener is where a program's calls come in, whatever they speak:
// HTTP is routed by its authority, and what is not HTTP by name or address
// through the same virtual hosts, which is why it has no chain of its own.
func outboundListener(n Node) Resource {
	address := n.Outbound
	if address == "" {
		address = DefaultOutbound
	}
	l := newListener(OutboundListener, address, corev3.TrafficDirection_OUTBOUND)
	l.inspect()
	m := onDemandRoutes(OutboundListener, OutboundListener)
	if n.Shape == Envoy {
		// Ours reads "svc.ns." as it reads "svc.ns" without being told.
		m.StripTrailingHostDot = true
	}
	l.http(m)
	return l.resource()
}

// portsOf are the container ports of an instance: those that it declares, or
// else those that services lead to.
func portsOf(v View, p *model.Pod) []uint16 {
	if ports := p.ContainerPorts(); len(ports) > 0 {
		return ports
	}
	return v.World.TargetPorts(p)
}

// inboundPorts are those of the ports that a sidecar listens on. Where none
// stands between (no address of the program is known) there is none.
func inboundPorts(p *model.Pod, ports []uint16) []uint16 {
	var out []uint16
	for _, port := range ports {
		if p.Spec.Status.PodIP != "" && p.AppAddress(port) != "" {
			out = append(out, port)
		}
	}
	return out
}

// inboundListeners stand before the program of an instance.
func inboundListeners(v View, p *model.Pod, ports []uint16) []Resource {
	ip := p.Spec.Status.PodIP
	var out []Resource
	for _, port := range inboundPorts(p, ports) {
		public := p.Public(port)
		name, cluster := InboundListener(public), InboundCluster(public)
		l := newListener(name, net.JoinHostPort(ip, strconv.Itoa(int(public))), corev3.TrafficDirection_INBOUND)
		l.serve(v.World.InstancePort(p, port).Protocol, bytesToCluster(cluster), inlineRoutes(name, &routev3.VirtualHost{
			Name: name, Domains: []string{"*"}, Routes: []*routev3.Route{route("default", cluster)},
		}))
		out = append(out, l.resource())
	}
	return out
}

// published is one service that is opened to the host.
type published struct {
	address   string // IP:PORT
	authority string // svc.ns:PORT
}

// parsePublish passes over what it cannot read; `recloser up` checks its flag.
func parsePublish(s string) []published {
	var out []published
	for item := range strings.SplitSeq(s, ",") {
		address, authority, ok := strings.Cut(strings.TrimSpace(item), "=")
		if _, err := netip.ParseAddrPort(address); ok && err == nil && authority != "" {
			out = append(out, published{address, authority})
		}
	}
	return out
}

// listener serves one service by the protocol of its port. While there is no
// such service it answers HTTP with 404.
func (p published) listener(v View, n Node) (Resource, []Dep) {
	client := n.Client
	service, port, deps := resolve(v, p.authority, client.Namespace)
	name := publishedPrefix + p.address
	l := newListener(name, p.address, corev3.TrafficDirection_OUTBOUND)
	if service == nil {
		l.http(inlineRoutes(name))
		return l.resource(), deps
	}
	if port.Protocol.Protocol.HTTP() {
		// Hosts, and so the service's cluster, are asked for with the first
		// request: a program is told of services that it may never call.
		l.http(onDemandRoutes(name, publishedPrefix+p.authority))
		return l.resource(), deps
	}
	to, services := v.Policy.TCP(client, service.Name, port.Number)
	for _, n := range services {
		deps = append(deps, Dep{Kind: OnService, Name: n})
	}
	routes, more := RoutesOf(v, client, service.Name, port.Number)
	m := bytesTo(to)
	if e, err := v.Policy.Effective(client, service.Name, port.Number, ""); err == nil && n.Shape == Envoy {
		tunnel(m, e)
	}
	l.serve(port.Protocol.Protocol, m, inlineRoutes(name, &routev3.VirtualHost{
		Name: p.authority, Domains: []string{"*"}, Routes: routes,
	}))
	return l.resource(), append(deps, more...)
}

// onDemandRoutes are a route configuration of its own, with VHDS.
func onDemandRoutes(listener, config string) *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{
		StatPrefix: statPrefix(listener),
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
			RouteConfigName: config, ConfigSource: ads(),
		}},
	}
}

// inlineRoutes are a listener's own. The clusters that they name come after the
// listener: an Envoy would refuse it for that, unless it is told not to look.
func inlineRoutes(name string, hosts ...*routev3.VirtualHost) *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{
		StatPrefix: statPrefix(name),
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{
			RouteConfig: &routev3.RouteConfiguration{
				Name: name, VirtualHosts: hosts, ValidateClusters: wrapperspb.Bool(false),
			},
		},
	}
}

func socketAddress(hostPort string) *corev3.Address {
	host, port, _ := net.SplitHostPort(hostPort)
	n, _ := strconv.ParseUint(port, 10, 16) // 0 is refused by whoever listens
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(n)},
	}}}
}

// ads says that a resource comes on the stream that named it.
func ads() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
	}
}

// toAny packs a message deterministically, so that equal resources are equal
// bytes. Marshalling fails on invalid UTF-8 alone, which World does not hold.
func toAny(m proto.Message) *anypb.Any {
	a := &anypb.Any{}
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		panic("translate: " + err.Error())
	}
	return a
}
