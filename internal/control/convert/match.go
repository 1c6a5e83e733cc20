package convert

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/routing"
)

// gatewayMatch is a match as an HTTPRoute says it, or why it cannot.
func gatewayMatch(m routing.Match) (out routing.Match, why string) {
	if len(m.Paths) > 1 {
		return out, "it compares the path in two ways"
	}
	for _, p := range m.Paths {
		if p.Invert {
			return out, "it is for all paths but some"
		}
		switch {
		case p.Kind == routing.PathText && (p.Value == "/" || p.Value == ""):
			p = routing.PathMatch{Kind: routing.PathPrefix, Value: "/"}
		case p.IgnoreCase && p.Kind != routing.PathRegex || !strings.HasPrefix(p.Value, "/") && p.Kind != routing.PathRegex:
			p = routing.PathMatch{Kind: routing.PathRegex, Value: pathRegex(p)}
		case p.Kind == routing.PathText:
			p.Kind = routing.PathPrefix
		}
		p.IgnoreCase = false
		out.Paths = append(out.Paths, p)
	}
	if len(out.Paths) == 0 {
		out.Paths = []routing.PathMatch{{Kind: routing.PathPrefix, Value: "/"}}
	}
	for _, h := range m.Headers {
		if h.Name == ":scheme" && !h.Invert && h.Kind == routing.Exact && h.Value == "http" {
			continue // which is what is spoken here
		}
		if why = gatewayHeader(&h, out.Headers); why != "" {
			return out, why
		}
		out.Headers = append(out.Headers, h)
	}
	for _, q := range m.Query {
		q.Text = exactOrRegex(q.Text)
		if slices.ContainsFunc(out.Query, func(x routing.QueryMatch) bool { return x.Name == q.Name }) {
			return out, "it compares the query parameter " + q.Name + " in two ways"
		}
		out.Query = append(out.Query, q)
	}
	return out, ""
}

// methods are those of Gateway API.
func methods() []string {
	return []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
}

func gatewayHeader(h *routing.HeaderMatch, have []routing.HeaderMatch) (why string) {
	switch {
	case h.Invert:
		return "it is for requests without a value of " + h.Name
	case slices.ContainsFunc(have, func(x routing.HeaderMatch) bool { return x.Name == h.Name }):
		return "it compares " + h.Name + " in two ways"
	case h.Name == ":method":
		if h.Kind != routing.Exact || h.IgnoreCase || !slices.Contains(methods(), h.Value) {
			return fmt.Sprintf("it compares the method with %q, and methods are exact there and one of %s", h.Value, strings.Join(methods(), ", "))
		}
		return ""
	case h.Name == ":authority": // the header Host
	case strings.HasPrefix(h.Name, ":"):
		return "it compares " + h.Name
	}
	h.Text = exactOrRegex(h.Text)
	return ""
}

// exactOrRegex says a comparison by the two kinds that Gateway API has. An
// empty value is no exact one there.
func exactOrRegex(t routing.Text) routing.Text {
	if t.Kind == routing.Exact && !t.IgnoreCase && t.Value != "" {
		return t
	}
	return routing.Text{Kind: routing.Regex, Value: textRegex(t)}
}

// textRegex says a comparison in a regular expression for all of a value.
func textRegex(t routing.Text) string {
	v := regexp.QuoteMeta(t.Value)
	switch t.Kind {
	case routing.Present:
		return ".*"
	case routing.Regex:
		v = t.Value
	case routing.Prefix:
		v += ".*"
	case routing.Suffix:
		v = ".*" + v
	case routing.Contains:
		v = ".*" + v + ".*"
	}
	switch {
	case t.IgnoreCase:
		return "(?i:" + v + ")"
	case v == "":
		return "()" // an empty expression may be refused
	}
	return v
}

// pathRegex is that for a path.
func pathRegex(p routing.PathMatch) string {
	v := regexp.QuoteMeta(p.Value)
	switch p.Kind {
	case routing.PathRegex:
		v = p.Value
	case routing.PathPrefix:
		v = regexp.QuoteMeta(strings.TrimRight(p.Value, "/")) + "(?:/.*)?"
	case routing.PathText:
		v += ".*"
	}
	if p.IgnoreCase && p.Kind != routing.PathRegex {
		return "(?i:" + v + ")"
	}
	return v
}

// istioMatch is a match as a VirtualService says it, or why it cannot.
func istioMatch(m routing.Match) (out routing.Match, why string) {
	if len(m.Paths) > 1 {
		return out, "it compares the path in two ways"
	}
	for _, p := range m.Paths {
		switch {
		case p.Invert:
			return out, "it is for all paths but some"
		case p.Kind == routing.PathPrefix && strings.Trim(p.Value, "/") == "":
			p = routing.PathMatch{Kind: routing.PathText, Value: "/"}
		case p.Kind == routing.PathPrefix:
			p = routing.PathMatch{Kind: routing.PathRegex, Value: pathRegex(p)}
		case p.Kind == routing.PathRegex:
			p.IgnoreCase = false
		}
		out.Paths = append(out.Paths, p)
	}
	for _, h := range m.Headers {
		if strings.HasPrefix(h.Name, ":") && h.Invert {
			return out, "it is for requests whose " + h.Name + " differs from a value"
		}
		if slices.ContainsFunc(out.Headers, func(x routing.HeaderMatch) bool { return x.Name == h.Name && x.Invert == h.Invert }) {
			return out, "it compares " + h.Name + " in two ways"
		}
		h.Text = istioText(h.Text)
		if h.Invert && h.Kind == routing.Regex && h.Value == "*" || strings.HasPrefix(h.Name, ":") && h.Kind == routing.Present {
			return out, "it asks whether there is " + h.Name
		}
		out.Headers = append(out.Headers, h)
	}
	for _, q := range m.Query {
		if slices.ContainsFunc(out.Query, func(x routing.QueryMatch) bool { return x.Name == q.Name }) {
			return out, "it compares the query parameter " + q.Name + " in two ways"
		}
		q.Text = istioText(q.Text)
		out.Query = append(out.Query, q)
	}
	return out, ""
}

// istioText has no case to ignore, and knows no ends and middles.
func istioText(t routing.Text) routing.Text {
	switch {
	case t.Kind == routing.Present, t.Kind == routing.Exact && !t.IgnoreCase, t.Kind == routing.Prefix && !t.IgnoreCase && t.Value != "":
		return routing.Text{Kind: t.Kind, Value: t.Value}
	}
	return routing.Text{Kind: routing.Regex, Value: textRegex(t)}
}
