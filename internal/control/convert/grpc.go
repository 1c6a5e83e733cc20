package convert

import (
	"regexp"
	"slices"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/routing"
)

// ofGRPC says whether rules are those of GRPCRoutes, and can be one again: then
// they are written as one, since methods can be said there that paths of
// HTTPRoutes cannot say.
func ofGRPC(rules []routing.Rule) bool {
	return len(rules) > 0 && !slices.ContainsFunc(rules, func(r routing.Rule) bool {
		return !strings.HasPrefix(r.Origin.Object, "grpcroute/") || r.Redirect != nil || r.Rewrite != nil && r.Rewrite.Path != nil
	})
}

// Forms of a path that package gateway makes of methods.
//
//nolint:gochecknoglobals // compiled once
var (
	exactMethod = regexp.MustCompile(`^/([^/]+)/([^/]+)$`)
	anyService  = regexp.MustCompile(`^/\[\^/\]\+/([A-Za-z0-9_\\.]+)$`)
	patterns    = regexp.MustCompile(`^/(?:\(\?:(.*)\)|\[\^/\]\+)/(?:\(\?:(.*)\)|\[\^/\]\+)$`)
)

// grpcMatch is a match as a GRPCRoute says it, or why it cannot.
func grpcMatch(m routing.Match) (out routing.Match, why string) {
	out, why = gatewayMatch(m)
	if why != "" {
		return out, why
	}
	if out.Paths = m.Paths; len(m.Paths) > 0 {
		if _, ok := methodObject(m.Paths[0]); !ok || m.Paths[0].IgnoreCase {
			return out, "its path " + m.Paths[0].Value + " is of no service and method"
		}
	}
	if slices.ContainsFunc(out.Headers, func(h routing.HeaderMatch) bool { return h.Name == ":method" }) || len(out.Query) > 0 {
		return out, "it compares what calls of gRPC have not"
	}
	return out, ""
}

// methodObject is a path as a service and a method. An empty one is all.
func methodObject(p routing.PathMatch) (object, bool) {
	switch p.Kind {
	case routing.PathExact:
		if g := exactMethod.FindStringSubmatch(p.Value); g != nil {
			return object{"service": g[1], "method": g[2]}, true
		}
	case routing.PathText:
		if s := strings.Trim(p.Value, "/"); p.Value == "/"+s+"/" && s != "" && !strings.Contains(s, "/") {
			return object{"service": s}, true
		}
	case routing.PathPrefix:
		return object{}, p.Value == "/"
	case routing.PathRegex:
		if g := anyService.FindStringSubmatch(p.Value); g != nil {
			return object{"method": strings.ReplaceAll(g[1], `\`, "")}, true
		}
		if g := patterns.FindStringSubmatch(p.Value); g != nil {
			out := object{"type": "RegularExpression"}
			if g[1] != "" {
				out["service"] = g[1]
			}
			if g[2] != "" {
				out["method"] = g[2]
			}
			return out, len(out) > 1
		}
	}
	return nil, false
}

// grpcRule is a rule of a GRPCRoute.
func (c *converter) grpcRule(r *routing.Rule, namespace, name string) object {
	out := c.httpRule(r, namespace, name)
	m := gatewayMatchObject(&r.Match)
	delete(m, "path")
	if len(r.Match.Paths) > 0 {
		if method, _ := methodObject(r.Match.Paths[0]); len(method) > 0 {
			m["method"] = method
		}
	}
	delete(out, "matches")
	if len(m) > 0 {
		out["matches"] = list{m}
	}
	return out
}

// noGRPC leaves out what GRPCRoutes have no fields for.
func (c *converter) noGRPC(r *routing.Rule) {
	if r.Rewrite != nil {
		c.lose(r.Rewrite.Origin, "rewrite", r.Rewrite.Host, "a GRPCRoute rewrites nothing")
		r.Rewrite = nil
	}
	if r.CORS != nil {
		c.lose(r.CORS.Origin, "cors", "", "a GRPCRoute has no such filter")
		r.CORS = nil
	}
	if r.Retry != nil && !c.annotated(r.Retry) {
		c.lose(r.Retry.Origin, "retry", "", "a GRPCRoute has no field for retries")
		r.Retry = nil
	}
	t := &r.Timeouts
	if t.Backend.IsSet() {
		c.lose(t.Backend.Origin, "timeout.backend", t.Backend.Value.String(), "a GRPCRoute has no field for it")
		t.Backend = routing.Timeouts{}.Backend
	}
	if c.to == GatewayAPI && t.Request.IsSet() {
		c.lose(t.Request.Origin, "timeout.request", t.Request.Value.String(), "a GRPCRoute has no field for it")
		t.Request = routing.Timeouts{}.Request
	}
}
