package snapshot

import (
	"fmt"
	"math"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/reclosermesh/recloser/internal/proxy/filter"
	"github.com/reclosermesh/recloser/internal/proxy/route"
)

// action reads where a route sends requests, and how they are treated.
func (p *problems) action(at string, rule *route.Rule, host *routev3.VirtualHost, a *routev3.RouteAction) {
	p.unsupported(at, a, "cluster_header", "cluster_specifier_plugin", "inline_cluster_specifier_plugin", "metadata_match",
		"path_rewrite_policy", "path_rewrite", "auto_host_rewrite", "host_rewrite_header", "host_rewrite_path_regex", "host_rewrite",
		"append_x_forwarded_host", "internal_redirect_policy", "retry_policy_typed_config", "rate_limits", "cors",
		"max_grpc_timeout", "grpc_timeout_offset", "hedge_policy")
	p.backends(at, rule, a)
	switch a.GetClusterNotFoundResponseCode() {
	case routev3.RouteAction_NOT_FOUND:
		rule.MissingStatus = 404
	case routev3.RouteAction_INTERNAL_SERVER_ERROR:
		rule.MissingStatus = 500
	default:
		rule.MissingStatus = 503
	}
	rule.Host = a.GetHostRewriteLiteral()
	rule.Path = p.rewrite(at, rule, a.GetPrefixRewrite(), a.GetRegexRewrite())
	// Envoy's default is 15s; like Istio, which always sets 0, we have none.
	rule.Timeout = p.duration(at+"timeout", a.GetTimeout(), 0)
	rule.IdleTimeout = p.orNone(at+"idle_timeout", a.GetIdleTimeout())
	if d := a.GetMaxStreamDuration(); d != nil {
		rule.MaxStream = p.duration(at+"max_stream_duration.max_stream_duration", d.GetMaxStreamDuration(), 0)
		p.unsupported(at+"max_stream_duration.", d, "grpc_timeout_header_offset")
		if d.GetGrpcTimeoutHeaderMax().AsDuration() != 0 {
			p.add("%smax_stream_duration.grpc_timeout_header_max %v: only 0 is supported", at, d.GetGrpcTimeoutHeaderMax().AsDuration())
		}
	}
	retry, where := a.GetRetryPolicy(), at+"retry_policy."
	if retry == nil {
		retry, where = host.GetRetryPolicy(), "retry_policy."
	}
	rule.Retry = p.retry(where, retry)
	mirrors, where := a.GetRequestMirrorPolicies(), at
	if len(mirrors) == 0 {
		mirrors, where = host.GetRequestMirrorPolicies(), ""
	}
	for i, m := range mirrors {
		rule.Mirrors = append(rule.Mirrors, p.mirror(fmt.Sprintf("%srequest_mirror_policies[%d].", where, i), m))
	}
	for i, h := range a.GetHashPolicy() {
		rule.Hash = append(rule.Hash, p.hashPolicy(fmt.Sprintf("%shash_policy[%d].", at, i), h))
	}
}

func (p *problems) backends(at string, rule *route.Rule, a *routev3.RouteAction) {
	switch c := a.GetClusterSpecifier().(type) {
	case *routev3.RouteAction_Cluster:
		rule.Backends = []route.WeightedCluster{{Cluster: c.Cluster, Weight: 1}}
	case *routev3.RouteAction_WeightedClusters:
		p.unsupported(at+"weighted_clusters.", c.WeightedClusters, "header_name", "use_hash_policy")
		for i, w := range c.WeightedClusters.GetClusters() {
			one := fmt.Sprintf("%sweighted_clusters[%d].", at, i)
			p.unsupported(one, w, "cluster_header", "metadata_match", "typed_per_filter_config")
			rule.Backends = append(rule.Backends, route.WeightedCluster{
				Cluster: w.GetName(), Weight: w.GetWeight().GetValue(), Host: w.GetHostRewriteLiteral(),
				RequestHeaders:  p.edits(one+"request_headers_to_add", w.GetRequestHeadersToAdd(), w.GetRequestHeadersToRemove()),
				ResponseHeaders: p.edits(one+"response_headers_to_add", w.GetResponseHeadersToAdd(), w.GetResponseHeadersToRemove()),
			})
		}
	}
}

// rewrite reads what a path becomes, nil: it stays. What prefix_rewrite
// replaces is what the match has matched; where that is whole segments, slashes
// come out as Gateway API has them.
func (p *problems) rewrite(at string, rule *route.Rule, prefix string, regex *matcherv3.RegexMatchAndSubstitute) *filter.PathConfig {
	switch {
	case prefix != "" && regex != nil:
		p.add("%sprefix_rewrite: cannot be beside regex_rewrite", at)
	case regex != nil:
		return &filter.PathConfig{Kind: filter.ReplaceRegex, Pattern: regex.GetPattern().GetRegex(), Value: regex.GetSubstitution()}
	case prefix == "":
		return nil
	}
	out := &filter.PathConfig{Value: prefix, Matched: rule.Match.Path.Value}
	switch rule.Match.Path.Kind {
	case route.PathPrefix:
		out.Kind = filter.ReplaceText
	case route.PathSeparatedPrefix:
		out.Kind = filter.ReplaceSegments
	default:
		out.Kind = filter.ReplaceFull // the match has matched all of it
	}
	return out
}

func (p *problems) redirect(at string, rule *route.Rule, a *routev3.RedirectAction) *filter.RedirectConfig {
	p.unsupported(at, a, "path_rewrite")
	out := &filter.RedirectConfig{
		Scheme: a.GetSchemeRedirect(), Host: a.GetHostRedirect(), StripQuery: a.GetStripQuery(), Status: 301,
	}
	if a.GetHttpsRedirect() {
		out.Scheme = "https"
	}
	if port := a.GetPortRedirect(); port > math.MaxUint16 {
		p.add("%sport_redirect %d: must be at most 65535", at, port)
	} else {
		out.Port = uint16(port)
	}
	switch a.GetResponseCode() {
	case routev3.RedirectAction_FOUND:
		out.Status = 302
	case routev3.RedirectAction_SEE_OTHER:
		out.Status = 303
	case routev3.RedirectAction_TEMPORARY_REDIRECT:
		out.Status = 307
	case routev3.RedirectAction_PERMANENT_REDIRECT:
		out.Status = 308
	}
	if path := a.GetPathRedirect(); path != "" {
		out.Path = &filter.PathConfig{Kind: filter.ReplaceFull, Value: path}
	} else {
		out.Path = p.rewrite(at, rule, a.GetPrefixRewrite(), a.GetRegexRewrite())
	}
	return out
}

func (p *problems) direct(at string, a *routev3.DirectResponseAction) *route.Direct {
	p.unsupported(at, a, "body_format")
	out := &route.Direct{Status: int(a.GetStatus())}
	switch body := a.GetBody().GetSpecifier().(type) {
	case nil:
	case *corev3.DataSource_InlineBytes:
		out.Body = body.InlineBytes
	case *corev3.DataSource_InlineString:
		out.Body = []byte(body.InlineString)
	default:
		p.add("%sbody: only inline_bytes and inline_string are supported", at)
	}
	return out
}

func (p *problems) mirror(at string, m *routev3.RouteAction_RequestMirrorPolicy) route.MirrorConfig {
	p.unsupported(at, m, "cluster_header", "request_headers_mutations", "host_rewrite_literal")
	out := route.MirrorConfig{Cluster: m.GetCluster(), Fraction: route.Million, ShadowHost: !m.GetDisableShadowHostSuffixAppend()}
	if f := m.GetRuntimeFraction(); f != nil { // there is no runtime: the default holds
		out.Fraction = p.millionths(at+"runtime_fraction.default_value", f.GetDefaultValue())
	}
	return out
}

// millionths reads a share.
func (p *problems) millionths(at string, f *typev3.FractionalPercent) uint32 {
	n, of := uint64(f.GetNumerator()), uint64(100)
	switch f.GetDenominator() {
	case typev3.FractionalPercent_HUNDRED:
	case typev3.FractionalPercent_TEN_THOUSAND:
		of = 10_000
	case typev3.FractionalPercent_MILLION:
		of = 1_000_000
	default:
		p.add("%s.denominator %s: is not supported", at, f.GetDenominator())
	}
	return uint32(min(n, of) * (route.Million / of)) // Envoy takes more than all for all
}

func (p *problems) hashPolicy(at string, h *routev3.RouteAction_HashPolicy) route.HashConfig {
	out := route.HashConfig{Terminal: h.GetTerminal()}
	switch s := h.GetPolicySpecifier().(type) {
	case *routev3.RouteAction_HashPolicy_Header_:
		p.unsupported(at+"header.", s.Header, "regex_rewrite")
		out.Kind, out.Name = route.HashHeader, s.Header.GetHeaderName()
	case *routev3.RouteAction_HashPolicy_Cookie_:
		out.Kind, out.Name, out.Path = route.HashCookie, s.Cookie.GetName(), s.Cookie.GetPath()
		out.Generate = s.Cookie.GetTtl() != nil
		out.TTL = p.duration(at+"cookie.ttl", s.Cookie.GetTtl(), 0)
		for _, a := range s.Cookie.GetAttributes() {
			out.Attributes = append(out.Attributes, route.CookieAttribute{Name: a.GetName(), Value: a.GetValue()})
		}
	case *routev3.RouteAction_HashPolicy_ConnectionProperties_:
		if out.Kind = route.HashSourceIP; !s.ConnectionProperties.GetSourceIp() {
			p.add("%sconnection_properties.source_ip false: only true is supported", at)
		}
	case *routev3.RouteAction_HashPolicy_QueryParameter_:
		out.Kind, out.Name = route.HashQuery, s.QueryParameter.GetName()
	default:
		p.add("%spolicy_specifier: header, cookie, connection_properties and query_parameter are supported", at)
	}
	return out
}
