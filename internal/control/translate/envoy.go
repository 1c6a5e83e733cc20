package translate

import (
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// systemRoots is where an Envoy's system has the certificates of the authorities
// that it trusts: that of Debian, Alpine and Envoy's own images. Envoy has no
// way to say "those of the system" (it passes over system_root_certs, and then
// verifies nothing). Where there is no such file it refuses the cluster, which
// is told as a finding.
const systemRoots = "/etc/ssl/certs/ca-certificates.crt"

// envoyCluster is a cluster as an Envoy verifies its endpoints.
func envoyCluster(v View, k Key) Result {
	r := cluster(v, k)
	for i := range r.Resources {
		c := r.Resources[i].Message.(*clusterv3.Cluster)
		var tls tlsv3.UpstreamTlsContext
		if t := c.GetTransportSocket().GetTypedConfig(); t == nil || t.UnmarshalTo(&tls) != nil {
			continue
		}
		if check := tls.GetCommonTlsContext().GetValidationContext(); check.GetSystemRootCerts() != nil {
			check.SystemRootCerts, check.TrustedCa = nil, file(systemRoots)
			c.TransportSocket.ConfigType = &corev3.TransportSocket_TypedConfig{TypedConfig: toAny(&tls)}
		}
	}
	return r
}

// subsetsOf are the subsets that any DestinationRule names for a service, and
// the empty one, which is all of it.
func subsetsOf(v View, service model.Name) []string {
	out := []string{""}
	for _, o := range v.World.RulesOf(service, source.DestinationRule) {
		rule, ok := o.Value.(*source.IstioDestinationRule)
		if !ok {
			continue
		}
		for _, s := range rule.Spec.GetSubsets() {
			if s.GetName() != "" && !slices.Contains(out, s.GetName()) {
				out = append(out, s.GetName())
			}
		}
	}
	return out
}

// publishedRoutes are all routes of the one service that a published listener is
// for.
func publishedRoutes(v View, k Key) Result {
	authority, ok := strings.CutPrefix(k.Name, publishedPrefix)
	if !ok {
		return Result{}
	}
	routes, name, deps := routesFor(v, authority, k.Client)
	c := &routev3.RouteConfiguration{Name: k.Name}
	if routes != nil {
		c.VirtualHosts = []*routev3.VirtualHost{{Name: name, Domains: []string{"*"}, Routes: routes}}
	}
	return Result{Resources: one(k.Name, c), Deps: deps}
}

// domains are all ways to write a service's port; without a port it is 80.
func domains(v View, s *model.Service, port uint16, namespace string) []string {
	short := s.Name.Name + "." + s.Namespace
	hosts := []string{s.Host(), short, short + ".svc"}
	if s.Namespace == namespace {
		hosts = append(hosts, s.Name.Name)
	}
	for _, ip := range s.ClusterIPs() {
		if owner, _ := v.World.Resolve(model.Authority{IP: ip, Port: port}); owner == s {
			hosts = append(hosts, ip)
		}
	}
	out := make([]string, 0, 2*len(hosts))
	for _, h := range hosts {
		out = append(out, hostPort(h, port))
		if port != 80 {
			continue
		}
		if strings.Contains(h, ":") {
			h = "[" + h + "]"
		}
		out = append(out, h)
	}
	return out
}
