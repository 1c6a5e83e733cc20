package convert

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// maxRules is how many rules an HTTPRoute can have.
const maxRules = 16

type (
	object = map[string]any
	list   = []any
)

// gatewayRoutes writes the routes of a service: producer routes in its own
// namespace, and consumer routes for callers of other namespaces who go
// elsewhere than all.
func (c *converter) gatewayRoutes(s *model.Service, views []portView) {
	for i := range views {
		v := &views[i]
		for _, b := range v.bytes {
			c.lose(b.Origin, "tcp", b.Service.String(), "there is no route for bytes; they go to the service itself")
		}
		if v.plain && v.client == "" {
			continue // which is what holds without a route
		}
		if v.client == s.Namespace {
			for k := range v.rules {
				c.lose(v.rules[k].Origin, "client", v.client, "a route in the service's own namespace is for all callers, so what is for those of this namespace alone cannot be said")
			}
			continue
		}
		rules := c.carry(v.rules)
		if len(rules) == 0 && len(v.rules) > 0 {
			c.lose(v.rules[0].Origin, "unmatched", strconv.Itoa(int(v.port.Number)), "no rule is left for this port, so that all requests go to the service itself; now those that no rule matches are answered with 404")
		}
		// Where a route is for all callers, these need one of their own, be it
		// to say that requests go to the service itself.
		for n, group := range c.groups(rules) {
			c.write(c.httpRoute(v, n, group))
		}
	}
}

// groups are the rules that stand in one HTTPRoute each.
func (c *converter) groups(rules []routing.Rule) [][]routing.Rule {
	size := maxRules
	if c.to == Linkerd || c.to == Recloser {
		size = 1 // annotations hold for a whole route
		if !slices.ContainsFunc(rules, func(r routing.Rule) bool { return len(c.routeAnnotations(&r)) > 0 }) {
			size = maxRules
		}
	}
	return slices.Collect(slices.Chunk(rules, size))
}

func (c *converter) httpRoute(v *portView, n int, rules []routing.Rule) Manifest {
	name := v.service.Name.Name
	namespace := v.service.Namespace
	if v.client != "" {
		name, namespace = v.service.Name.Name+"."+v.service.Namespace, v.client
	}
	if len(v.service.Ports) > 1 {
		name += "-" + strconv.Itoa(int(v.port.Number))
	}
	// Of routes that are equally old the first by name comes first.
	name += fmt.Sprintf("-%03d", n)
	parent := object{"group": "", "kind": "Service", "name": v.service.Name.Name, "port": v.port.Number}
	if v.client != "" {
		parent["namespace"] = v.service.Namespace
	}
	var out list
	names := map[string]bool{}
	for i := range rules {
		if name := ruleName(rules[i].Name, names); c.grpc {
			out = append(out, c.grpcRule(&rules[i], namespace, name))
		} else {
			out = append(out, c.httpRule(&rules[i], namespace, name))
		}
	}
	kind := "HTTPRoute"
	if c.grpc {
		kind = "GRPCRoute"
	}
	m := manifest("gateway.networking.k8s.io/v1", kind, namespace, name, object{"parentRefs": list{parent}, "rules": out})
	if a := c.routeAnnotations(&rules[0]); len(a) > 0 && len(rules) == 1 {
		m["metadata"].(object)["annotations"] = a
	}
	return m
}

// notLabel is what cannot stand in the name of a rule.
//
//nolint:gochecknoglobals // compiled once
var notLabel = regexp.MustCompile(`[^a-z0-9]+`)

// ruleName is the end of a rule's name as a label.
func ruleName(name string, used map[string]bool) string {
	parts := strings.SplitN(name, "/", 4)
	label := strings.Trim(notLabel.ReplaceAllString(strings.ToLower(parts[len(parts)-1]), "-"), "-")
	if len(label) > 50 {
		label = strings.Trim(label[:50], "-")
	}
	if label == "" {
		label = "rule"
	}
	for n, base := 2, label; used[label]; n++ {
		label = base + "-" + strconv.Itoa(n)
	}
	used[label] = true
	return label
}

func (c *converter) httpRule(r *routing.Rule, namespace, name string) object {
	out := object{"name": name, "matches": list{gatewayMatchObject(&r.Match)}}
	if f := c.filters(r, namespace); len(f) > 0 {
		out["filters"] = f
	}
	if len(r.Backends) > 0 {
		var refs list
		for i := range r.Backends {
			b := &r.Backends[i]
			ref := backendRef(b, namespace)
			ref["weight"] = b.Weight.Value
			if f := headerFilters(b.RequestHeaders, b.ResponseHeaders); len(f) > 0 {
				ref["filters"] = f
			}
			refs = append(refs, ref)
		}
		out["backendRefs"] = refs
	}
	t := object{}
	if c.to == GatewayAPI && r.Timeouts.Request.IsSet() {
		t["request"] = duration(r.Timeouts.Request.Value)
	}
	if r.Timeouts.Backend.IsSet() {
		t["backendRequest"] = duration(r.Timeouts.Backend.Value)
	}
	if len(t) > 0 {
		out["timeouts"] = t
	}
	if r.Retry != nil && !c.annotated(r.Retry) {
		out["retry"] = retryObject(r.Retry)
	}
	return out
}

func retryObject(t *routing.Retry) object {
	out := object{"attempts": t.Attempts.Value}
	var codes list
	for _, s := range t.Statuses.Value {
		codes = append(codes, s.First)
	}
	if len(codes) > 0 {
		out["codes"] = codes
	}
	if t.BackoffBase.IsSet() && t.BackoffBase.Value > 0 {
		out["backoff"] = duration(t.BackoffBase.Value)
	}
	return out
}

// duration is one of GEP-2257 and of Linkerd's annotations, whole milliseconds:
// "1500ms", "3s".
func duration(d time.Duration) string {
	switch {
	case d%time.Second != 0:
		if ms := d.Milliseconds(); ms > 99_999 { // five digits
			return fmt.Sprintf("%ds%dms", ms/1000, ms%1000)
		}
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d > 99_999*time.Second && d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	default:
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	}
}

// annotationDuration is one of Linkerd's, which have one unit.
func annotationDuration(d time.Duration) string {
	if d%time.Second != 0 {
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}

func backendRef(b *routing.Backend, namespace string) object {
	out := object{"name": b.Service.Name, "port": b.Port}
	if b.Service.Namespace != namespace {
		out["namespace"] = b.Service.Namespace
	}
	return out
}

func gatewayMatchObject(m *routing.Match) object {
	out := object{}
	if len(m.Paths) > 0 {
		kind := "PathPrefix"
		switch m.Paths[0].Kind {
		case routing.PathExact:
			kind = "Exact"
		case routing.PathRegex:
			kind = "RegularExpression"
		}
		out["path"] = object{"type": kind, "value": m.Paths[0].Value}
	}
	var headers, query list
	for _, h := range m.Headers {
		switch h.Name {
		case ":method":
			out["method"] = h.Value
		case ":authority":
			headers = append(headers, textObject("Host", h.Text))
		default:
			headers = append(headers, textObject(h.Name, h.Text))
		}
	}
	for _, q := range m.Query {
		query = append(query, textObject(q.Name, q.Text))
	}
	if len(headers) > 0 {
		out["headers"] = headers
	}
	if len(query) > 0 {
		out["queryParams"] = query
	}
	return out
}

func textObject(name string, t routing.Text) object {
	kind := "Exact"
	if t.Kind != routing.Exact || t.IgnoreCase || t.Value == "" {
		kind, t.Value = "RegularExpression", textRegex(t)
	}
	return object{"name": name, "type": kind, "value": t.Value}
}

// routeAnnotations are Linkerd's for a route of one rule.
func (c *converter) routeAnnotations(r *routing.Rule) object {
	out := object{}
	if c.to == GatewayAPI {
		return out
	}
	put := func(name string, d origin.Value[time.Duration]) {
		if d.IsSet() && d.Value > 0 {
			out[name] = annotationDuration(d.Value)
		}
	}
	put("timeout.linkerd.io/request", r.Timeouts.Request)
	put("timeout.linkerd.io/response", r.Timeouts.Response)
	put("timeout.linkerd.io/idle", r.Timeouts.Idle)
	if r.Retry == nil || !c.annotated(r.Retry) {
		return out
	}
	var statuses, codes []string
	for _, o := range r.Retry.On.Value {
		if o == "5xx" || o == "gateway-error" {
			statuses = append(statuses, o)
		} else {
			codes = append(codes, o)
		}
	}
	for _, s := range r.Retry.Statuses.Value {
		if s.First == s.Last {
			statuses = append(statuses, strconv.Itoa(int(s.First)))
		} else {
			statuses = append(statuses, fmt.Sprintf("%d-%d", s.First, s.Last))
		}
	}
	if len(statuses) > 0 {
		out["retry.linkerd.io/http"] = strings.Join(statuses, ",")
	}
	if len(codes) > 0 {
		out["retry.linkerd.io/grpc"] = strings.Join(codes, ",")
	}
	out["retry.linkerd.io/limit"] = strconv.Itoa(int(r.Retry.Attempts.Value))
	put("retry.linkerd.io/timeout", r.Retry.PerTry)
	return out
}
