package translate

import (
	"maps"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// allClusters names the clusters of an Envoy: those of all ports that its
// program could call, their subsets, what routes name beside, and the one behind
// each of its inbound listeners.
func allClusters(v View, k Key) Result {
	names := map[string]struct{}{}
	add := func(name string) { names[name] = struct{}{} }
	for _, s := range v.World.Services() {
		subsets := subsetsOf(v, s.Name)
		for i := range s.Ports {
			for _, subset := range subsets {
				add(ClusterName(s.Name, s.Ports[i].Number, subset))
			}
			to, _ := v.Policy.TCP(k.Client, s.Name, s.Ports[i].Number)
			for b := range to {
				add(backendCluster(&to[b]))
			}
		}
	}
	for _, h := range allHosts(v, k.Client) {
		for _, r := range h.Routes {
			clustersOf(r.GetRoute(), add)
		}
	}
	if p := v.World.Pod(k.Node.Pod.Namespace, k.Node.Pod.Name); p != nil {
		for _, port := range inboundPorts(p, portsOf(v, p)) {
			add(InboundCluster(p.Public(port)))
		}
	}
	return Result{
		Names: slices.Sorted(maps.Keys(names)),
		Deps:  []Dep{{Kind: OnMesh}, {Kind: OnPod, Name: k.Node.Pod}},
	}
}

// clustersOf names all clusters of a route.
func clustersOf(a *routev3.RouteAction, add func(string)) {
	if c := a.GetCluster(); c != "" {
		add(c)
	}
	for _, c := range a.GetWeightedClusters().GetClusters() {
		add(c.GetName())
	}
	for _, m := range a.GetRequestMirrorPolicies() {
		add(m.GetCluster())
	}
}

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

// allRoutes is a route configuration with everything in it: every host that a
// client could call, by all of its names, or the one service that a published
// listener is for.
func allRoutes(v View, k Key) Result {
	if authority, ok := strings.CutPrefix(k.Name, publishedPrefix); ok {
		routes, name, deps := routesFor(v, authority, k.Client)
		c := &routev3.RouteConfiguration{Name: k.Name}
		if routes != nil {
			c.VirtualHosts = []*routev3.VirtualHost{{Name: name, Domains: []string{"*"}, Routes: routes}}
		}
		return Result{Resources: one(k.Name, c), Deps: deps}
	}
	if k.Name != OutboundListener {
		return Result{}
	}
	return Result{
		Resources: one(k.Name, &routev3.RouteConfiguration{Name: k.Name, VirtualHosts: allHosts(v, k.Client)}),
		Deps:      []Dep{{Kind: OnMesh}},
	}
}

// allHosts are the virtual hosts of all ports of HTTP that a client could call,
// and of the hosts that are no services and that rules speak of: these without a
// port, or with 80.
func allHosts(v View, client model.Client) []*routev3.VirtualHost {
	var out []*routev3.VirtualHost
	for _, s := range v.World.Services() {
		for i := range s.Ports {
			p := &s.Ports[i]
			if p.Protocol.Protocol.Opaque() {
				continue
			}
			if routes, _ := RoutesOf(v, client, s.Name, p.Number); routes != nil {
				out = append(out, &routev3.VirtualHost{
					Name: hostPort(s.Host(), p.Number), Domains: domains(v, s, p.Number, client.Namespace), Routes: routes,
				})
			}
		}
	}
	for _, host := range v.World.RuleHosts() {
		if s, _, _ := resolve(v, host, client.Namespace); s != nil {
			continue
		}
		if routes, _ := hostRoutes(v, host, client); routes != nil {
			out = append(out, &routev3.VirtualHost{Name: host, Domains: []string{host, host + ":80"}, Routes: routes})
		}
	}
	return append(out, patternHosts(v, client)...)
}

// patternHosts are those of patterns such as *.example.com. What holds for any
// host that nothing else names is asked for by a host that nobody has.
func patternHosts(v View, client model.Client) []*routev3.VirtualHost {
	const nobody = "recloser-any-host"
	var out []*routev3.VirtualHost
	seen := map[string]bool{}
	for _, o := range v.World.Objects(source.VirtualService) {
		rule, ok := o.Value.(*source.IstioVirtualService)
		if !ok {
			continue
		}
		for _, pattern := range rule.Spec.GetHosts() {
			pattern = strings.ToLower(pattern)
			if !strings.HasPrefix(pattern, "*") || seen[pattern] {
				continue
			}
			seen[pattern] = true
			if routes, _ := hostRoutes(v, nobody+pattern[1:], client); routes != nil {
				out = append(out, &routev3.VirtualHost{Name: pattern, Domains: []string{pattern}, Routes: routes})
			}
		}
	}
	return out
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
