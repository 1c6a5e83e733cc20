package convert

import (
	"net"
	"regexp"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/routing"
)

// path carries what is done to paths and hosts. from is the rule as it was,
// whose match says what a prefix is.
func (c *converter) path(out, from *routing.Rule) {
	matched := routing.PathMatch{Kind: routing.PathPrefix, Value: "/"}
	if len(from.Match.Paths) > 0 {
		matched = from.Match.Paths[0]
	}
	if from.Rewrite != nil {
		w := *from.Rewrite
		if c.to == Linkerd {
			c.lose(w.Origin, "rewrite", w.Host, "Linkerd refuses routes that rewrite requests")
			out.Rewrite = nil
			return
		}
		if host, _, err := net.SplitHostPort(w.Host); err == nil && c.to != Istio {
			c.lose(w.Origin, "rewrite.host", w.Host, "a host has no port there; "+host+" is written")
			w.Host = host
		}
		w.Path = c.pathRewrite(w.Path, matched, out, false)
		if out.Rewrite = &w; w.Host == "" && w.Path == nil {
			out.Rewrite = nil
		}
		if w.Path == nil && from.Rewrite.Path != nil {
			c.lose(w.Origin, "rewrite.path", from.Rewrite.Path.Value, "a path that was matched like this cannot be rewritten like that there")
		}
	}
	if from.Redirect != nil && from.Redirect.Path != nil {
		r := *from.Redirect
		r.Path = c.pathRewrite(r.Path, matched, out, true)
		out.Redirect = &r
		if r.Path == nil {
			c.lose(r.Origin, "redirect.path", from.Redirect.Path.Value, "a path that was matched like this cannot be rewritten like that there")
		}
	}
}

// pathRewrite is nil where there is no way to say it. It may change how the
// rule's path is matched, to something that matches the same.
func (c *converter) pathRewrite(p *routing.PathRewrite, matched routing.PathMatch, out *routing.Rule, redirect bool) *routing.PathRewrite {
	if p == nil {
		return nil
	}
	if c.to == Istio {
		return istioRewrite(p, matched, out, redirect)
	}
	switch {
	case p.Kind == routing.ReplaceFull:
		return p
	case p.Kind == routing.ReplaceRegex, len(out.Match.Paths) == 0 || out.Match.Paths[0].Kind != routing.PathPrefix:
		return nil
	case matched.Kind == routing.PathPrefix:
		return p
	case matched.Kind == routing.PathText && strings.HasSuffix(matched.Value, "/") == strings.HasSuffix(p.Value, "/"):
		return p // characters and segments say the same
	case matched.Kind == routing.PathText && matched.Value == "" && strings.HasSuffix(p.Value, "/"):
		return p
	}
	return nil
}

// istioRewrite says segments by characters or by a regular expression.
func istioRewrite(p *routing.PathRewrite, matched routing.PathMatch, out *routing.Rule, redirect bool) *routing.PathRewrite {
	switch {
	case p.Kind == routing.ReplaceFull:
		if redirect || len(out.Match.Paths) > 0 && (out.Match.Paths[0].Kind == routing.PathExact || out.Match.Paths[0].Kind == routing.PathRegex) {
			return p
		}
		return &routing.PathRewrite{Kind: routing.ReplaceRegex, Pattern: "^.*$", Value: escaped(p.Value)}
	case p.Kind == routing.ReplaceRegex && redirect:
		return nil
	case p.Kind == routing.ReplaceRegex, matched.Kind == routing.PathText:
		return p
	case matched.Kind != routing.PathPrefix:
		return nil
	}
	value, from := strings.TrimRight(p.Value, "/"), strings.TrimRight(matched.Value, "/")
	if from == "" {
		out.Match.Paths = []routing.PathMatch{{Kind: routing.PathText, Value: "/"}}
		return &routing.PathRewrite{Kind: routing.ReplacePrefix, Value: value + "/"}
	}
	if redirect {
		return nil
	}
	pattern := "^" + regexp.QuoteMeta(from)
	if matched.IgnoreCase {
		pattern = "(?i)" + pattern
	}
	if value == "" {
		return &routing.PathRewrite{Kind: routing.ReplaceRegex, Pattern: pattern + "/*", Value: "/"}
	}
	return &routing.PathRewrite{Kind: routing.ReplaceRegex, Pattern: pattern, Value: escaped(value)}
}

// escaped is a substitution that stands for itself.
func escaped(s string) string { return strings.ReplaceAll(s, `\`, `\\`) }
