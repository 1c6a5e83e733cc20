package snapshot

import (
	"fmt"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/reclosermesh/recloser/internal/proxy/route"
)

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
