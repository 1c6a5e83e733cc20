package snapshot

import (
	"fmt"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/reclosermesh/recloser/internal/proxy/domains"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
)

// routeSpec is a RouteConfiguration.
type routeSpec struct {
	hosts    []virtualHost
	common   *route.Common // for all hosts, those that are asked for too; nil: nothing
	onDemand bool          // vhds: further hosts are asked for by authority
}

type virtualHost struct {
	domains []string
	cfg     *hostSpec
}

// hostSpec is the routes of one host. The clusters that they name are gathered
// once: they are looked at on every change, of any host.
type hostSpec struct {
	*route.Config
	clusters []string
}

func newHostSpec(cfg *route.Config) *hostSpec { return &hostSpec{cfg, cfg.Clusters()} }

// Clusters are those that the routes name, each once. They are not to be
// changed.
func (h *hostSpec) Clusters() []string { return h.clusters }

func compileRouteConfig(r xds.Resource) (*routeSpec, error) {
	m, err := asMessage[*routev3.RouteConfiguration](r)
	if err != nil {
		return nil, err
	}
	return compileRoutes(m)
}

func compileRoutes(m *routev3.RouteConfiguration) (*routeSpec, error) {
	var p problems
	p.unsupported("", m, "request_mirror_policies", "cluster_specifier_plugins", "ignore_port_in_host_matching",
		"ignore_path_parameters_in_path_matching")
	spec := &routeSpec{onDemand: m.GetVhds() != nil}
	var err error
	if spec.common, err = CompileCommon(m); err != nil {
		p.errs = append(p.errs, err)
	}
	var seen domains.Table[int]
	for i, v := range m.GetVirtualHosts() {
		at := fmt.Sprintf("virtual_hosts[%d] %q: ", i, v.GetName())
		cfg, err := compileHost(v)
		if err != nil {
			p.add("%s%w", at, err)
			continue
		}
		for _, d := range v.GetDomains() {
			if err := seen.Add(d, i); err != nil {
				p.add("%s%w", at, err)
			}
		}
		spec.hosts = append(spec.hosts, virtualHost{v.GetDomains(), newHostSpec(cfg)})
	}
	return spec, p.err()
}

func compileVirtualHost(r xds.Resource) (*hostSpec, error) {
	m, err := asMessage[*routev3.VirtualHost](r)
	if err != nil {
		return nil, err
	}
	cfg, err := compileHost(m)
	if err != nil {
		return nil, err
	}
	return newHostSpec(cfg), nil
}

// CompileHost makes the definition of a host's routes of what a control plane
// sends, as a proxy that gets it does. The error says everything for which the
// proxy would refuse it.
func CompileHost(v *routev3.VirtualHost) (*route.Config, error) { return compileHost(v) }

// CompileCommon makes what a RouteConfiguration says for all hosts, those that
// are asked for one by one too; m may be nil. The error is as CompileHost's.
func CompileCommon(m *routev3.RouteConfiguration) (*route.Common, error) {
	var p problems
	common := p.common("", m, m.GetTypedPerFilterConfig())
	common.InnerLast = m.GetMostSpecificHeaderMutationsWins()
	if err := common.Validate(); err != nil {
		p.errs = append(p.errs, err)
	}
	return &common, p.err()
}

func compileHost(v *routev3.VirtualHost) (*route.Config, error) {
	var p problems
	p.unsupported("", v, "require_tls", "matcher", "cors", "rate_limits", "retry_policy_typed_config", "hedge_policy", "route_specifiers")
	cfg := &route.Config{Name: v.GetName(), Common: p.common("", v, v.GetTypedPerFilterConfig())}
	for i, r := range v.GetRoutes() {
		cfg.Rules = append(cfg.Rules, p.rule(fmt.Sprintf("routes[%d]", i), v, r))
	}
	if err := cfg.Validate(); err != nil {
		p.errs = append(p.errs, err)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return cfg, nil
}

// rule reads one route of a host.
func (p *problems) rule(at string, host *routev3.VirtualHost, r *routev3.Route) route.Rule {
	p.unsupported(at+".", r, "filter_action", "non_forwarding_action", "route_specifiers")
	rule := route.Rule{Name: r.GetName(), Match: p.match(at+".match.", r.GetMatch())}
	common := p.common(at+".", r, r.GetTypedPerFilterConfig())
	rule.RequestHeaders, rule.ResponseHeaders = common.RequestHeaders, common.ResponseHeaders
	rule.CORS, rule.Fault = common.CORS, common.Fault
	switch a := r.GetAction().(type) {
	case *routev3.Route_Route:
		p.action(at+".route.", &rule, host, a.Route)
	case *routev3.Route_Redirect:
		rule.Redirect = p.redirect(at+".redirect.", &rule, a.Redirect)
	case *routev3.Route_DirectResponse:
		rule.Direct = p.direct(at+".direct_response.", a.DirectResponse)
	default:
		p.add("%s: route, redirect or direct_response is needed", at)
	}
	p.routeMetadata(at+".metadata.", &rule, r.GetMetadata())
	return rule
}
