package source

import (
	"fmt"
	"regexp"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

var (
	gatewayPath   = regexp.MustCompile(`^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$`)
	grpcService   = regexp.MustCompile(`^(?i)\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*$`)
	grpcMethod    = regexp.MustCompile(`^[A-Za-z_][A-Za-z_0-9]*$`)
	forbiddenPath = []string{"//", "/./", "/../", "%2f", "%2F", "#"}
)

func (c *gatewayCheck) httpRule(field string, r *gatewayv1.HTTPRouteRule) {
	c.most(field+".matches", len(r.Matches), 64)
	for i := range r.Matches {
		c.httpMatch(fmt.Sprintf("%s.matches[%d]", field, i), &r.Matches[i])
	}
	c.httpFilters(field+".filters", r.Filters)
	c.most(field+".backendRefs", len(r.BackendRefs), 16)
	for i := range r.BackendRefs {
		sub := fmt.Sprintf("%s.backendRefs[%d]", field, i)
		c.backend(sub, &r.BackendRefs[i].BackendRef)
		c.httpFilters(sub+".filters", r.BackendRefs[i].Filters)
	}
	for i := range r.Filters {
		if r.Filters[i].RequestRedirect != nil && len(r.BackendRefs) > 0 {
			c.add(fmt.Sprintf("%s.filters[%d].requestRedirect", field, i), nil, "no redirect in a rule with backendRefs: it answers the requests itself")
		}
	}
	if t := r.Timeouts; t != nil {
		request, ok := c.duration(field+".timeouts.request", t.Request)
		backend, both := c.duration(field+".timeouts.backendRequest", t.BackendRequest)
		if ok && both && request != 0 && backend > request {
			c.add(field+".timeouts.backendRequest", *t.BackendRequest, "at most timeouts.request, which is "+string(*t.Request))
		}
	}
	c.retry(field+".retry", r.Retry)
}

func (c *gatewayCheck) retry(field string, r *gatewayv1.HTTPRouteRetry) {
	if r == nil {
		return
	}
	seen := map[gatewayv1.HTTPRouteRetryStatusCode]bool{}
	for i, code := range r.Codes {
		sub := fmt.Sprintf("%s.codes[%d]", field, i)
		if code < 400 || code > 599 {
			c.add(sub, code, "a status from 400 to 599")
		}
		if seen[code] {
			c.add(sub, code, "each status once")
		}
		seen[code] = true
	}
	if r.Attempts != nil && *r.Attempts < 1 {
		c.add(field+".attempts", *r.Attempts, "at least 1; without retries, leave retry out")
	}
	c.duration(field+".backoff", r.Backoff)
}

func (c *gatewayCheck) httpMatch(field string, m *gatewayv1.HTTPRouteMatch) {
	if m.Path != nil {
		c.path(field+".path.value", m.Path)
	}
	headers := names{}
	c.most(field+".headers", len(m.Headers), 16)
	for i, h := range m.Headers {
		sub := fmt.Sprintf("%s.headers[%d]", field, i)
		headers.check(c, sub+".name", string(h.Name))
		c.value(sub+".value", h.Value, 4096)
	}
	query := names{}
	c.most(field+".queryParams", len(m.QueryParams), 16)
	for i, q := range m.QueryParams {
		sub := fmt.Sprintf("%s.queryParams[%d]", field, i)
		query.check(c, sub+".name", string(q.Name))
		if q.Value == "" || len(q.Value) > 1024 {
			c.add(sub+".value", q.Value, "1 to 1024 characters")
		}
	}
}

func (c *gatewayCheck) path(field string, p *gatewayv1.HTTPPathMatch) {
	if p.Value == nil {
		return
	}
	v := *p.Value
	if len(v) > 1024 {
		c.add(field, v[:60]+"…", "at most 1024 characters")
		return
	}
	if t := value(p.Type); t != "" && t != gatewayv1.PathMatchExact && t != gatewayv1.PathMatchPathPrefix {
		return
	}
	if !strings.HasPrefix(v, "/") {
		c.add(field, v, "a path that begins with /")
		return
	}
	for _, bad := range forbiddenPath {
		if strings.Contains(v, bad) {
			c.add(field, v, "a path without "+bad)
			return
		}
	}
	switch {
	case strings.HasSuffix(v, "/..") || strings.HasSuffix(v, "/."):
		c.add(field, v, "a path that ends in neither /. nor /..")
	case !gatewayPath.MatchString(v):
		c.add(field, v, "a path as it is written in a request: other characters are percent-encoded")
	}
}

func (c *gatewayCheck) grpcMatch(field string, m *gatewayv1.GRPCRouteMatch) {
	headers := names{}
	c.most(field+".headers", len(m.Headers), 16)
	for i, h := range m.Headers {
		sub := fmt.Sprintf("%s.headers[%d]", field, i)
		headers.check(c, sub+".name", string(h.Name))
		c.value(sub+".value", h.Value, 4096)
	}
	if m.Method == nil {
		return
	}
	service, method := value(m.Method.Service), value(m.Method.Method)
	if service == "" && method == "" {
		c.add(field+".method", nil, "a service, a method, or both")
	}
	const longest = 1024
	if t := value(m.Method.Type); t != "" && t != gatewayv1.GRPCMethodMatchExact {
		c.text(field+".method.service", service, longest, nil, "at most 1024 characters")
		c.text(field+".method.method", method, longest, nil, "at most 1024 characters")
		return
	}
	if service != "" {
		c.text(field+".method.service", service, longest, grpcService, "the full name of a gRPC service, such as shop.v1.Cart")
	}
	if method != "" {
		c.text(field+".method.method", method, longest, grpcMethod, "the name of a gRPC method: letters, digits and underscores")
	}
}

// names are those of a list whose entries Kubernetes keeps by their names.
type names map[string]string

func (n names) check(c *gatewayCheck, field, name string) {
	c.text(field, name, 256, headerToken, "1 to 256 letters, digits and any of !#$%&'*+-.^_`|~")
	if first, ok := n[name]; ok {
		c.add(field, name, "each name once; "+first+" has it")
		return
	}
	n[name] = field
}

// value is that of a header. What RFC 9110 section 5.5 forbids in one could end
// the line that it is written on.
func (c *gatewayCheck) value(field, v string, most int) {
	switch {
	case v == "" || len(v) > most:
		c.add(field, brieflyText(v), fmt.Sprintf("1 to %d characters", most))
	case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		c.add(field, v, "no control characters")
	}
}

func brieflyText(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
