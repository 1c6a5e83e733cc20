package translate

import (
	"regexp"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/reclosermesh/recloser/internal/control/routing"
)

// match makes Envoy's match. It has one place for a path: further ones, and
// those that must not match, are compared with the pseudo-header ":path".
func match(m routing.Match) *routev3.RouteMatch {
	out := &routev3.RouteMatch{}
	rest := m.Paths
	for i, p := range m.Paths {
		if !p.Invert {
			setPath(out, p)
			rest = append(append([]routing.PathMatch(nil), m.Paths[:i]...), m.Paths[i+1:]...)
			break
		}
	}
	if out.PathSpecifier == nil {
		out.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: "/"}
	}
	for _, p := range rest {
		out.Headers = append(out.Headers, &routev3.HeaderMatcher{
			Name: ":path", InvertMatch: p.Invert,
			HeaderMatchSpecifier: textHeader(routing.Text{Kind: routing.Regex, Value: pathRegex(p) + `(\?.*)?`}),
		})
	}
	for i := range m.Headers {
		h := &m.Headers[i]
		hm := &routev3.HeaderMatcher{Name: h.Name, InvertMatch: h.Invert, HeaderMatchSpecifier: textHeader(h.Text)}
		out.Headers = append(out.Headers, hm)
	}
	for i := range m.Query {
		out.QueryParameters = append(out.QueryParameters, queryMatch(&m.Query[i]))
	}
	return out
}

func setPath(out *routev3.RouteMatch, p routing.PathMatch) {
	if p.IgnoreCase && p.Kind != routing.PathRegex {
		out.CaseSensitive = wrapperspb.Bool(false)
	}
	switch p.Kind {
	case routing.PathExact:
		out.PathSpecifier = &routev3.RouteMatch_Path{Path: p.Value}
	case routing.PathRegex:
		out.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: p.Value}}
	case routing.PathPrefix:
		// Whole segments: "/a/" is the same as "/a" (Gateway API, HTTPPathMatch).
		if v := strings.TrimRight(p.Value, "/"); v != "" {
			out.PathSpecifier = &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: v}
			return
		}
		out.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: "/"}
	default:
		out.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: p.Value}
	}
}

// pathRegex says the same as a path match in a regular expression for all of
// the path.
func pathRegex(p routing.PathMatch) string {
	quoted := regexp.QuoteMeta(p.Value)
	switch p.Kind {
	case routing.PathRegex:
		return "(?:" + p.Value + ")"
	case routing.PathPrefix:
		quoted = regexp.QuoteMeta(strings.TrimRight(p.Value, "/")) + `(?:/[^?]*)?`
	case routing.PathText:
		quoted += `[^?]*`
	}
	if p.IgnoreCase {
		return "(?i:" + quoted + ")"
	}
	return quoted
}

func textHeader(t routing.Text) *routev3.HeaderMatcher_StringMatch {
	if t.Kind == routing.Present {
		// Envoy's present_match is refused by some clients together with
		// invert_match; any value says the same.
		return &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: ".*"}},
		}}
	}
	return &routev3.HeaderMatcher_StringMatch{StringMatch: stringMatch(t)}
}

func stringMatch(t routing.Text) *matcherv3.StringMatcher {
	m := &matcherv3.StringMatcher{IgnoreCase: t.IgnoreCase}
	switch t.Kind {
	case routing.Prefix:
		m.MatchPattern = &matcherv3.StringMatcher_Prefix{Prefix: t.Value}
	case routing.Suffix:
		m.MatchPattern = &matcherv3.StringMatcher_Suffix{Suffix: t.Value}
	case routing.Contains:
		m.MatchPattern = &matcherv3.StringMatcher_Contains{Contains: t.Value}
	case routing.Regex:
		m.IgnoreCase = false
		value := t.Value
		if t.IgnoreCase {
			value = "(?i:" + value + ")"
		}
		m.MatchPattern = &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: value}}
	default:
		m.MatchPattern = &matcherv3.StringMatcher_Exact{Exact: t.Value}
	}
	return m
}

func queryMatch(q *routing.QueryMatch) *routev3.QueryParameterMatcher {
	m := &routev3.QueryParameterMatcher{Name: q.Name}
	if q.Kind == routing.Present {
		m.QueryParameterMatchSpecifier = &routev3.QueryParameterMatcher_PresentMatch{PresentMatch: true}
		return m
	}
	m.QueryParameterMatchSpecifier = &routev3.QueryParameterMatcher_StringMatch{StringMatch: stringMatch(q.Text)}
	return m
}
