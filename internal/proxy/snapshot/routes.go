package snapshot

import (
	"fmt"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/reclosermesh/recloser/internal/proxy/domains"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
)

// routeSpec is a RouteConfiguration.
type routeSpec struct {
	hosts    []virtualHost
	onDemand bool // vhds: further hosts are asked for by authority
}

type virtualHost struct {
	domains []string
	cfg     *route.Config
}

func compileRouteConfig(r xds.Resource) (*routeSpec, error) {
	m, err := asMessage[*routev3.RouteConfiguration](r)
	if err != nil {
		return nil, err
	}
	return compileRoutes(m)
}

func compileRoutes(m *routev3.RouteConfiguration) (*routeSpec, error) {
	var p problems
	p.unsupported("", m, "request_headers_to_add", "request_headers_to_remove", "response_headers_to_add",
		"response_headers_to_remove", "request_mirror_policies", "cluster_specifier_plugins", "ignore_port_in_host_matching")
	spec := &routeSpec{onDemand: m.GetVhds() != nil}
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
		spec.hosts = append(spec.hosts, virtualHost{v.GetDomains(), cfg})
	}
	return spec, p.err()
}

func compileVirtualHost(r xds.Resource) (*route.Config, error) {
	m, err := asMessage[*routev3.VirtualHost](r)
	if err != nil {
		return nil, err
	}
	return compileHost(m)
}

func compileHost(v *routev3.VirtualHost) (*route.Config, error) {
	var p problems
	p.unsupported("", v, "request_headers_to_add", "request_headers_to_remove", "response_headers_to_add",
		"response_headers_to_remove", "request_mirror_policies", "require_tls", "matcher")
	cfg := &route.Config{Name: v.GetName()}
	for i, r := range v.GetRoutes() {
		at := fmt.Sprintf("routes[%d]", i)
		p.unsupported(at+".", r, "redirect", "direct_response", "filter_action", "non_forwarding_action",
			"request_headers_to_add", "request_headers_to_remove", "response_headers_to_add", "response_headers_to_remove")
		rule := route.Rule{Name: r.GetName(), Match: p.match(at+".match.", r.GetMatch())}
		p.action(at+".route.", &rule, r.GetRoute())
		cfg.Rules = append(cfg.Rules, rule)
	}
	if err := cfg.Validate(); err != nil {
		p.errs = append(p.errs, err)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return cfg, nil
}

func (p *problems) action(at string, rule *route.Rule, a *routev3.RouteAction) {
	if a == nil {
		p.add("%s: only the action route is supported", at[:len(at)-1])
		return
	}
	p.unsupported(at, a, "cluster_header", "cluster_specifier_plugin", "inline_cluster_specifier_plugin", "metadata_match",
		"prefix_rewrite", "regex_rewrite", "path_rewrite_policy", "host_rewrite_literal", "auto_host_rewrite",
		"host_rewrite_header", "host_rewrite_path_regex", "request_mirror_policies", "internal_redirect_policy")
	switch c := a.GetClusterSpecifier().(type) {
	case *routev3.RouteAction_Cluster:
		rule.Backends = []route.WeightedCluster{{Cluster: c.Cluster, Weight: 1}}
	case *routev3.RouteAction_WeightedClusters:
		for i, w := range c.WeightedClusters.GetClusters() {
			p.unsupported(fmt.Sprintf("%sweighted_clusters[%d].", at, i), w, "cluster_header", "metadata_match", "host_rewrite_literal",
				"request_headers_to_add", "request_headers_to_remove", "response_headers_to_add", "response_headers_to_remove")
			rule.Backends = append(rule.Backends, route.WeightedCluster{Cluster: w.GetName(), Weight: w.GetWeight().GetValue()})
		}
	}
	// Envoy's default is 15s; like Istio, which always sets 0, we have none.
	rule.Timeout = p.duration(at+"timeout", a.GetTimeout(), 0)
}

func (p *problems) match(at string, m *routev3.RouteMatch) route.Match {
	p.unsupported(at, m, "connect_matcher", "path_match_policy", "runtime_fraction", "tls_context", "dynamic_metadata", "filter_state", "cookies")
	var out route.Match
	out.Path.IgnoreCase = m.GetCaseSensitive() != nil && !m.GetCaseSensitive().GetValue()
	switch s := m.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		out.Path.Kind, out.Path.Value = route.PathPrefix, s.Prefix
	case *routev3.RouteMatch_Path:
		out.Path.Kind, out.Path.Value = route.PathExact, s.Path
	case *routev3.RouteMatch_PathSeparatedPrefix:
		out.Path.Kind, out.Path.Value = route.PathSeparatedPrefix, s.PathSeparatedPrefix
	case *routev3.RouteMatch_SafeRegex:
		out.Path.Kind, out.Path.Value = route.PathRegex, s.SafeRegex.GetRegex()
	case nil:
		p.add("%spath_specifier: is needed", at)
	}
	for i, h := range m.GetHeaders() {
		out.Headers = append(out.Headers, p.header(fmt.Sprintf("%sheaders[%d].", at, i), h))
	}
	for i, q := range m.GetQueryParameters() {
		one := route.QueryMatch{Name: q.GetName()}
		if s, ok := q.GetQueryParameterMatchSpecifier().(*routev3.QueryParameterMatcher_StringMatch); ok {
			one.ValueMatch = p.text(fmt.Sprintf("%squery_parameters[%d].string_match", at, i), s.StringMatch)
		}
		out.Query = append(out.Query, one)
	}
	if m.GetGrpc() != nil {
		out.Headers = append(out.Headers, route.HeaderMatch{
			Name: "content-type", ValueMatch: route.ValueMatch{Kind: route.ValueRegex, Value: `application/grpc([+;].*)?`},
		})
	}
	return out
}

func (p *problems) header(at string, h *routev3.HeaderMatcher) route.HeaderMatch {
	out := route.HeaderMatch{Name: h.GetName(), Invert: h.GetInvertMatch(), MissingAsEmpty: h.GetTreatMissingHeaderAsEmpty()}
	v := &out.ValueMatch
	switch s := h.GetHeaderMatchSpecifier().(type) {
	case *routev3.HeaderMatcher_StringMatch:
		*v = p.text(at+"string_match", s.StringMatch)
	case *routev3.HeaderMatcher_PresentMatch:
		out.MissingAsEmpty = false
		out.Invert = out.Invert == s.PresentMatch // present_match: false asks for absence
	case *routev3.HeaderMatcher_RangeMatch:
		v.Kind, v.Low, v.High = route.ValueRange, s.RangeMatch.GetStart(), s.RangeMatch.GetEnd()
	// Istio still sends the forms below, which Envoy deprecated for string_match.
	case *routev3.HeaderMatcher_ExactMatch:
		v.Kind, v.Value = route.ValueExact, s.ExactMatch //nolint:staticcheck // see above
	case *routev3.HeaderMatcher_PrefixMatch:
		v.Kind, v.Value = route.ValuePrefix, s.PrefixMatch //nolint:staticcheck // see above
	case *routev3.HeaderMatcher_SuffixMatch:
		v.Kind, v.Value = route.ValueSuffix, s.SuffixMatch //nolint:staticcheck // see above
	case *routev3.HeaderMatcher_ContainsMatch:
		v.Kind, v.Value = route.ValueContains, s.ContainsMatch //nolint:staticcheck // see above
	case *routev3.HeaderMatcher_SafeRegexMatch:
		v.Kind, v.Value = route.ValueRegex, s.SafeRegexMatch.GetRegex() //nolint:staticcheck // see above
	}
	return out
}

func (p *problems) text(at string, m *matcherv3.StringMatcher) route.ValueMatch {
	v := route.ValueMatch{IgnoreCase: m.GetIgnoreCase()}
	switch s := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		v.Kind, v.Value = route.ValueExact, s.Exact
	case *matcherv3.StringMatcher_Prefix:
		v.Kind, v.Value = route.ValuePrefix, s.Prefix
	case *matcherv3.StringMatcher_Suffix:
		v.Kind, v.Value = route.ValueSuffix, s.Suffix
	case *matcherv3.StringMatcher_Contains:
		v.Kind, v.Value = route.ValueContains, s.Contains
	case *matcherv3.StringMatcher_SafeRegex:
		v.Kind, v.Value = route.ValueRegex, s.SafeRegex.GetRegex()
	default:
		p.add("%s: exact, prefix, suffix, contains or safe_regex is needed", at)
	}
	return v
}
