package gateway

import (
	"regexp"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// match is one match of a rule, its number in the rule, and its rank without a
// host name.
type match struct {
	index int
	routing.Match
	rank rank
}

// matches are those that can be understood. The others are faults.
func (c *compiler) matches() []match {
	c.matching = true
	defer func() { c.matching = false }()
	var out []match
	for i := range c.spec.matches {
		s := &c.spec.matches[i]
		m := match{index: i}
		var ok bool
		if s.grpc != nil {
			m.Match, m.rank, ok = c.grpcMatch(s.field, s.grpc)
		} else {
			m.Match, m.rank, ok = c.httpMatch(s.field, s.http)
		}
		if ok {
			out = append(out, m)
		}
	}
	return out
}

func (c *compiler) httpMatch(field string, s *gatewayv1.HTTPRouteMatch) (m routing.Match, r rank, ok bool) {
	path, ok := c.path(field+".path", s.Path)
	m.Paths = []routing.PathMatch{path}
	r[rankPath], r[rankPathLength] = pathRank(path)
	if s.Method != nil {
		ok = c.method(field+".method", *s.Method) && ok
		m.Headers = append(m.Headers, routing.HeaderMatch{
			Name: ":method", Text: routing.Text{Kind: routing.Exact, Value: string(*s.Method)},
		})
		r[rankMethod] = 1
	}
	for i, h := range s.Headers {
		sub := sub(field+".headers", i)
		text, good := c.text(sub, string(value(h.Type)), h.Value)
		ok = ok && good
		c.header(&m, &r, sub, string(h.Name), text)
	}
	var seen []string
	for i, q := range s.QueryParams {
		sub := sub(field+".queryParams", i)
		text, good := c.text(sub, string(value(q.Type)), q.Value)
		ok = ok && good
		if slices.Contains(seen, string(q.Name)) {
			c.repeated(sub+".name", string(q.Name))
			continue
		}
		seen = append(seen, string(q.Name))
		m.Query = append(m.Query, routing.QueryMatch{Name: string(q.Name), Text: text})
		r[rankQuery]++
	}
	return m, r, ok
}

// header adds a match of a header, the first of its name only (HTTPHeaderMatch,
// name). Host is what HTTP/2 calls the authority.
func (c *compiler) header(m *routing.Match, r *rank, field, name string, text routing.Text) {
	name = strings.ToLower(name)
	if name == "host" {
		name = ":authority"
	}
	if slices.ContainsFunc(m.Headers, func(h routing.HeaderMatch) bool { return h.Name == name }) {
		c.repeated(field+".name", name)
		return
	}
	m.Headers = append(m.Headers, routing.HeaderMatch{Name: name, Text: text})
	r[rankHeaders]++
}

func (c *compiler) repeated(field, name string) {
	c.note(source.Warning, "repeated-name", field, name, "", "only the first of equal names counts; this one is passed over", "")
}

// methods are those that Gateway API knows.
var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

func (c *compiler) method(field string, m gatewayv1.HTTPMethod) bool {
	if slices.Contains(methods, string(m)) {
		return true
	}
	c.unsupported(field, string(m), strings.Join(methods, ", "), "there is no such method")
	return false
}

// path is the path of a match. The default is every path.
func (c *compiler) path(field string, p *gatewayv1.HTTPPathMatch) (routing.PathMatch, bool) {
	out := routing.PathMatch{Kind: routing.PathPrefix, Value: "/"}
	if p == nil {
		return out, true
	}
	if p.Value != nil {
		out.Value = *p.Value
	}
	switch t := value(p.Type); t {
	case "", gatewayv1.PathMatchPathPrefix:
	case gatewayv1.PathMatchExact:
		out.Kind = routing.PathExact
	case gatewayv1.PathMatchRegularExpression:
		out.Kind = routing.PathRegex
		return out, c.regex(field+".value", out.Value)
	default:
		c.unsupported(field+".type", string(t), "Exact, PathPrefix, RegularExpression", "there is no such way to compare paths")
		return out, false
	}
	return out, true
}

// text is the value that a header or a query parameter is compared with.
func (c *compiler) text(field, typ, v string) (routing.Text, bool) {
	switch typ {
	case "", string(gatewayv1.HeaderMatchExact):
		return routing.Text{Kind: routing.Exact, Value: v}, true
	case string(gatewayv1.HeaderMatchRegularExpression):
		return routing.Text{Kind: routing.Regex, Value: v}, c.regex(field+".value", v)
	default:
		c.unsupported(field+".type", typ, "Exact, RegularExpression", "there is no such way to compare values")
		return routing.Text{}, false
	}
}

func (c *compiler) regex(field, pattern string) bool {
	_, err := regexp.Compile(pattern)
	if err == nil {
		return true
	}
	c.unsupported(field, pattern, "a regular expression of RE2's syntax, for all of the value",
		"this is no regular expression: "+strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	return false
}

func (c *compiler) grpcMatch(field string, s *gatewayv1.GRPCRouteMatch) (m routing.Match, r rank, ok bool) {
	ok = true
	if s.Method != nil {
		var path routing.PathMatch
		path, r, ok = c.grpcMethod(field+".method", s.Method)
		m.Paths = []routing.PathMatch{path}
	}
	for i, h := range s.Headers {
		sub := sub(field+".headers", i)
		text, good := c.text(sub, string(value(h.Type)), h.Value)
		ok = ok && good
		c.header(&m, &r, sub, string(h.Name), text)
	}
	return m, r, ok
}

// grpcMethod is a gRPC method as a path: "/SERVICE/METHOD".
func (c *compiler) grpcMethod(field string, s *gatewayv1.GRPCMethodMatch) (routing.PathMatch, rank, bool) {
	const one = "[^/]+"
	service, method := value(s.Service), value(s.Method)
	r := rank{rankPath: classExact, rankPathLength: len(service), rankMethod: len(method)}
	switch t := value(s.Type); t {
	case "", gatewayv1.GRPCMethodMatchExact:
		switch {
		case service == "" && method == "":
			return routing.PathMatch{Kind: routing.PathPrefix, Value: "/"}, rank{}, true
		case method == "":
			return routing.PathMatch{Kind: routing.PathText, Value: "/" + service + "/"}, r, true
		case service == "":
			return routing.PathMatch{Kind: routing.PathRegex, Value: "/" + one + "/" + regexp.QuoteMeta(method)}, r, true
		}
		return routing.PathMatch{Kind: routing.PathExact, Value: "/" + service + "/" + method}, r, true
	case gatewayv1.GRPCMethodMatchRegularExpression:
		ok := c.regex(field+".service", service)
		ok = c.regex(field+".method", method) && ok
		r[rankPath] = classRegex
		return routing.PathMatch{Kind: routing.PathRegex, Value: "/" + group(service, one) + "/" + group(method, one)}, r, ok
	default:
		c.unsupported(field+".type", string(t), "Exact, RegularExpression", "there is no such way to compare methods")
		return routing.PathMatch{}, rank{}, false
	}
}

// group is a regular expression as a part of another.
func group(pattern, otherwise string) string {
	if pattern == "" {
		return otherwise
	}
	return "(?:" + pattern + ")"
}

// hostMatch compares the authority with a host name, whatever its port is
// (HTTPRouteSpec, hostnames). A first label * stands for one label or more.
func hostMatch(host string) routing.HeaderMatch {
	pattern := regexp.QuoteMeta(host)
	if rest, wild := strings.CutPrefix(host, "*."); wild {
		pattern = `[^:]+\.` + regexp.QuoteMeta(rest)
	}
	return routing.HeaderMatch{
		Name: ":authority",
		Text: routing.Text{Kind: routing.Regex, Value: pattern + `(?::[0-9]+)?`, IgnoreCase: true},
	}
}
