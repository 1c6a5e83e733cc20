package translate

import (
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// allClusters names the clusters of an Envoy: those of all ports that its
// program could call, their subsets, and the one behind each of its inbound
// listeners.
func allClusters(v View, k Key) Result {
	r := Result{Deps: []Dep{{Kind: OnMesh}, {Kind: OnPod, Name: k.Node.Pod}}}
	for _, s := range v.World.Services() {
		subsets := subsetsOf(v, s.Name)
		for i := range s.Ports {
			for _, subset := range subsets {
				r.Names = append(r.Names, ClusterName(s.Name, s.Ports[i].Number, subset))
			}
		}
	}
	if p := v.World.Pod(k.Node.Pod.Namespace, k.Node.Pod.Name); p != nil {
		for _, port := range inboundPorts(p, portsOf(v, p)) {
			r.Names = append(r.Names, InboundCluster(p.Public(port)))
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
	c := &routev3.RouteConfiguration{Name: k.Name}
	for _, s := range v.World.Services() {
		for i := range s.Ports {
			p := &s.Ports[i]
			if p.Protocol.Protocol.Opaque() {
				continue
			}
			if routes, _ := RoutesOf(v, k.Client, s.Name, p.Number); routes != nil {
				c.VirtualHosts = append(c.VirtualHosts, &routev3.VirtualHost{
					Name: hostPort(s.Host(), p.Number), Domains: domains(v, s, p.Number, k.Client.Namespace), Routes: routes,
				})
			}
		}
	}
	return Result{Resources: one(k.Name, c), Deps: []Dep{{Kind: OnMesh}}}
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
