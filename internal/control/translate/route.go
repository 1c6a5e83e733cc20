package translate

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
)

// routeConfiguration is that of the outbound listener, or of a published
// service: empty, since hosts are asked for when they are used.
func routeConfiguration(k Key) Result {
	if k.Name != OutboundListener && !strings.HasPrefix(k.Name, publishedPrefix) {
		return Result{}
	}
	return Result{Resources: one(k.Name, &routev3.RouteConfiguration{
		Name: k.Name, Vhds: &routev3.Vhds{ConfigSource: ads()},
	})}
}

// virtualHost answers for one authority as a client wrote it.
func virtualHost(v View, k Key) Result {
	authority, service, ok := hostName(k.Name)
	if !ok {
		return Result{}
	}
	routes, name, deps := routesFor(v, service, k.Client)
	r := Result{Deps: deps}
	if routes != nil {
		r.Resources = one(k.Name, &routev3.VirtualHost{Name: name, Domains: []string{authority}, Routes: routes})
	}
	return r
}

// routesFor are the routes for an authority, nil when it is no port of a
// service, with the name of the host that they belong to.
func routesFor(v View, authority string, client model.Client) ([]*routev3.Route, string, []Dep) {
	s, p, deps := resolve(v, authority, client.Namespace)
	if s == nil {
		routes, more := hostRoutes(v, authority, client)
		return routes, authority, append(deps, more...)
	}
	routes, more := RoutesOf(v, client, s.Name, p.Number)
	return routes, hostPort(s.Host(), p.Number), append(deps, more...)
}

// hostRoutes are the routes for a host that is no service, nil where no rule
// speaks of it.
func hostRoutes(v View, authority string, client model.Client) ([]*routev3.Route, []Dep) {
	host, port, ok := model.SplitAuthority(authority)
	if !ok {
		return nil, nil
	}
	deps := []Dep{{Kind: OnService, Name: model.HostOf(host)}, {Kind: OnService, Name: model.AnyHost}}
	r, speaks := v.Policy.HostRoutes(client, host, port)
	if !speaks {
		return nil, deps
	}
	return routesOf(v, client, r, deps)
}

// RoutesOf are the routes for a client's requests to one port of a service, in
// the order of their precedence, and what they depend on. nil: there is no such
// port.
func RoutesOf(v View, client model.Client, service model.Name, port uint16) ([]*routev3.Route, []Dep) {
	r, err := v.Policy.Routes(client, service, port)
	if err != nil {
		return nil, nil
	}
	return routesOf(v, client, r, nil)
}

func routesOf(v View, client model.Client, r *policy.Routes, deps []Dep) ([]*routev3.Route, []Dep) {
	for _, n := range r.Services {
		deps = append(deps, Dep{Kind: OnService, Name: n})
	}
	out := make([]*routev3.Route, 0, len(r.Rules))
	for i := range r.Rules {
		out = append(out, rule(v, client, &r.Rules[i]))
	}
	return out, deps
}

// resolve is the port of a service that an authority means, nil when there is
// none.
func resolve(v View, authority, client string) (*model.Service, *model.Port, []Dep) {
	a, ok := model.ParseAuthority(authority, client)
	if !ok {
		return nil, nil, nil
	}
	deps := []Dep{{Kind: OnService, Name: a.Service}}
	if a.IP != "" {
		deps = []Dep{{Kind: OnIP, IP: a.IP}}
	}
	s, p := v.World.Resolve(a)
	if s != nil && a.IP != "" {
		deps = append(deps, Dep{Kind: OnService, Name: s.Name})
	}
	return s, p, deps
}

// route sends everything to a cluster, without a timeout: Envoy's own default
// of 15s is not what a mesh without a policy should do.
func route(name, cluster string) *routev3.Route {
	return &routev3.Route{
		Name:  name,
		Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster},
			Timeout:          durationpb.New(0),
		}},
	}
}
