package translate

import (
	"regexp"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/reclosermesh/recloser/internal/control/routing"
)

// rewrite sets what an endpoint is asked for in place of what the caller said.
func rewrite(out *routev3.RouteAction, r *routing.Rewrite, m routing.Match) {
	if r == nil {
		return
	}
	if r.Host != "" {
		out.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: r.Host}
	}
	if r.Path != nil {
		out.PrefixRewrite, out.RegexRewrite = pathRewrite(r.Path, m)
	}
}

// pathRewrite is one of Envoy's two ways to replace a path.
func pathRewrite(p *routing.PathRewrite, m routing.Match) (prefix string, regex *matcherv3.RegexMatchAndSubstitute) {
	switch p.Kind {
	case routing.ReplaceRegex:
		return "", substitute(p.Pattern, p.Value)
	case routing.ReplacePrefix:
		return prefixRewrite(p.Value, m)
	default:
		return "", substitute(`^.*$`, literal(p.Value))
	}
}

// prefixRewrite replaces what the match has matched. Envoy puts the two parts
// together as they are; where segments are meant, slashes must come out right:
// neither "//x" nor "/barx" (Gateway API, ReplacePrefixMatch).
func prefixRewrite(value string, m routing.Match) (string, *matcherv3.RegexMatchAndSubstitute) {
	matched := routing.PathMatch{Kind: routing.PathPrefix, Value: "/"}
	for _, p := range m.Paths {
		if !p.Invert {
			matched = p
			break
		}
	}
	if strings.Contains(value, "?") && (matched.Kind == routing.PathPrefix || matched.Kind == routing.PathText) {
		// A prefix is a path alone; a pattern may be replaced by anything.
		return "", substitute(caseless(matched.IgnoreCase, `^`+regexp.QuoteMeta(matched.Value)), literal(value))
	}
	if matched.Kind != routing.PathPrefix {
		return value, nil
	}
	value = strings.TrimRight(value, "/")
	switch from := strings.TrimRight(matched.Value, "/"); {
	case value == "": // the slash after the prefix stays, or is made
		return "", substitute(caseless(matched.IgnoreCase, `^`+regexp.QuoteMeta(from)+`/*`), "/")
	case from == "":
		return value + "/", nil
	default:
		return value, nil
	}
}

func caseless(ignore bool, pattern string) string {
	if ignore {
		return "(?i)" + pattern
	}
	return pattern
}

func substitute(pattern, with string) *matcherv3.RegexMatchAndSubstitute {
	return &matcherv3.RegexMatchAndSubstitute{Pattern: &matcherv3.RegexMatcher{Regex: pattern}, Substitution: with}
}

// literal is a substitution that stands for itself.
func literal(s string) string { return strings.ReplaceAll(s, `\`, `\\`) }

func redirect(r *routing.Redirect, m routing.Match) *routev3.RedirectAction {
	out := &routev3.RedirectAction{
		HostRedirect: r.Host, PortRedirect: uint32(r.Port), ResponseCode: redirectCode(r.Status.Value),
	}
	if r.Scheme != "" {
		out.SchemeRewriteSpecifier = &routev3.RedirectAction_SchemeRedirect{SchemeRedirect: r.Scheme}
	}
	if r.Path == nil {
		return out
	}
	if r.Path.Kind == routing.ReplaceFull {
		out.PathRewriteSpecifier = &routev3.RedirectAction_PathRedirect{PathRedirect: r.Path.Value}
		return out
	}
	prefix, regex := pathRewrite(r.Path, m)
	if regex != nil {
		out.PathRewriteSpecifier = &routev3.RedirectAction_RegexRewrite{RegexRewrite: regex}
	} else {
		out.PathRewriteSpecifier = &routev3.RedirectAction_PrefixRewrite{PrefixRewrite: prefix}
	}
	return out
}

func redirectCode(status uint32) routev3.RedirectAction_RedirectResponseCode {
	switch status {
	case 301:
		return routev3.RedirectAction_MOVED_PERMANENTLY
	case 303:
		return routev3.RedirectAction_SEE_OTHER
	case 307:
		return routev3.RedirectAction_TEMPORARY_REDIRECT
	case 308:
		return routev3.RedirectAction_PERMANENT_REDIRECT
	default:
		return routev3.RedirectAction_FOUND
	}
}

func directResponse(d *routing.Direct) *routev3.DirectResponseAction {
	out := &routev3.DirectResponseAction{Status: d.Status}
	if len(d.Body) > 0 {
		out.Body = &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: d.Body}}
	}
	return out
}

// formatted is a header's value for Envoy, to which a percent sign begins a
// variable. White space at its ends is no part of a value (RFC 9110 section 5.5).
func formatted(e *routing.HeaderEdit) string {
	value := strings.Trim(e.Value, " \t")
	if e.Format {
		return value
	}
	return strings.ReplaceAll(value, "%", "%%")
}
