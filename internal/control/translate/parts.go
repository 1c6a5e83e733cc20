package translate

import (
	"maps"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// PartType is the type of the keys that Parts gives; it is none of xDS. A part
// is a virtual host, or none where a port is not of HTTP, with the names of the
// clusters that requests and bytes for it go to.
const PartType = "part"

// What the names of parts begin with that are no ports of services.
const (
	hostPart    = "host|"
	patternPart = "pattern|"
)

// Parts are the keys of what the result for a key is put together from: all
// hosts that an Envoy could call, for its routes and for its clusters. A change
// of a rule makes one of them anew instead of all. own is what the result has
// beside. ok is false for a key whose result is made at once.
func Parts(v View, k Key) (parts []Key, own Result, ok bool) {
	if k.Shape != Envoy || (k.Type != RouteType || k.Name != OutboundListener) && (k.Type != ClusterType || k.Name != All) {
		return nil, Result{}, false
	}
	own.Deps = []Dep{{Kind: OnMesh}}
	if k.Type == ClusterType {
		own.Deps = append(own.Deps, Dep{Kind: OnPod, Name: k.Node.Pod})
		if p := v.World.Pod(k.Node.Pod.Namespace, k.Node.Pod.Name); p != nil {
			for _, port := range inboundPorts(p, portsOf(v, p)) {
				own.Names = append(own.Names, InboundCluster(p.Public(port)))
			}
		}
	}
	add := func(name string) { parts = append(parts, Key{Type: PartType, Name: name, Client: k.Client}) }
	for _, s := range v.World.Services() {
		for i := range s.Ports {
			add(ClusterName(s.Name, s.Ports[i].Number, ""))
		}
	}
	for _, host := range v.World.RuleHosts() {
		add(hostPart + host)
	}
	for _, pattern := range patterns(v.World) {
		add(patternPart + pattern)
	}
	return parts, own, true
}

// patterns are the hosts such as *.example.com of which VirtualServices speak.
func patterns(w *model.World) []string {
	var out []string
	for _, o := range w.Objects(source.VirtualService) {
		rule, ok := o.Value.(*source.IstioVirtualService)
		if !ok {
			continue
		}
		for _, h := range rule.Spec.GetHosts() {
			if h = strings.ToLower(h); strings.HasPrefix(h, "*") && !slices.Contains(out, h) {
				out = append(out, h)
			}
		}
	}
	return out
}

// PutTogether is the result for a key whose parts these are.
func PutTogether(k Key, own Result, parts []Result) Result {
	names := map[string]struct{}{}
	for _, n := range own.Names {
		names[n] = struct{}{}
	}
	c := &routev3.RouteConfiguration{Name: k.Name}
	for i := range parts {
		own.Deps = append(own.Deps, parts[i].Deps...)
		for _, n := range parts[i].Names {
			names[n] = struct{}{}
		}
		for _, r := range parts[i].Resources {
			c.VirtualHosts = append(c.VirtualHosts, r.Message.(*routev3.VirtualHost))
		}
	}
	if k.Type == ClusterType {
		own.Names = slices.Sorted(maps.Keys(names))
	} else {
		own.Resources = one(k.Name, c)
	}
	return own
}

// allParts makes all parts of a key.
func allParts(v View, k Key, keys []Key, own Result) Result {
	parts := make([]Result, len(keys))
	for i := range keys {
		parts[i] = generate(v, keys[i])
	}
	return PutTogether(k, own, parts)
}

// part makes one part.
func part(v View, k Key) Result {
	if host, ok := strings.CutPrefix(k.Name, hostPart); ok {
		return hostOf(v, k, host, host, []string{host, host + ":80"})
	}
	if pattern, ok := strings.CutPrefix(k.Name, patternPart); ok {
		// What holds for any host that nothing else names is asked for by a host
		// that nobody has.
		return hostOf(v, k, "recloser-any-host"+pattern[1:], pattern, []string{pattern})
	}
	return portPart(v, k)
}

// hostOf is a host that is no service, of which a rule may speak.
func hostOf(v View, k Key, host, name string, domains []string) Result {
	s, _, deps := resolve(v, host, k.Client.Namespace)
	if s != nil {
		return Result{Deps: deps}
	}
	routes, more := hostRoutes(v, host, k.Client)
	r := Result{Deps: append(deps, more...)}
	if routes != nil {
		h := &routev3.VirtualHost{Name: name, Domains: domains, Routes: routes}
		r.Resources, r.Names = one(name, h), clustersOf(routes)
	}
	return r
}

// portPart is a port of a service, by all of its names.
func portPart(v View, k Key) Result {
	service, number, _, ok := ParseCluster(k.Name)
	if !ok {
		return Result{}
	}
	r := Result{Deps: []Dep{{Kind: OnService, Name: service}}}
	s := v.World.Service(service.Namespace, service.Name)
	if s == nil || s.Port(number) == nil {
		return r
	}
	for _, subset := range subsetsOf(v, service) {
		r.Names = append(r.Names, ClusterName(service, number, subset))
	}
	to, services := v.Policy.TCP(k.Client, service, number)
	for i := range to {
		r.Names = append(r.Names, backendCluster(&to[i]))
	}
	for _, n := range services {
		r.Deps = append(r.Deps, Dep{Kind: OnService, Name: n})
	}
	if s.Port(number).Protocol.Protocol.Opaque() {
		return r
	}
	for _, ip := range s.ClusterIPs() {
		r.Deps = append(r.Deps, Dep{Kind: OnIP, IP: ip})
	}
	routes, deps := RoutesOf(v, k.Client, service, number)
	name := hostPort(s.Host(), number)
	r.Deps = append(r.Deps, deps...)
	r.Names = append(r.Names, clustersOf(routes)...)
	r.Resources = one(name, &routev3.VirtualHost{Name: name, Domains: domains(v, s, number, k.Client.Namespace), Routes: routes})
	return r
}

// clustersOf names all clusters of routes.
func clustersOf(routes []*routev3.Route) []string {
	var out []string
	for _, r := range routes {
		a := r.GetRoute()
		if c := a.GetCluster(); c != "" {
			out = append(out, c)
		}
		for _, c := range a.GetWeightedClusters().GetClusters() {
			out = append(out, c.GetName())
		}
		for _, m := range a.GetRequestMirrorPolicies() {
			out = append(out, m.GetCluster())
		}
	}
	return out
}
