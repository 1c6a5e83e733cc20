package gateway

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// route is an HTTPRoute or a GRPCRoute in one form.
type route struct {
	source.Object
	created   time.Time // zero where nobody says
	grpc      bool
	parents   []gatewayv1.ParentReference
	hostnames []gatewayv1.Hostname
	rules     []ruleSpec
	// gateways is set where a route asks for default Gateways.
	gateways bool
}

// ruleSpec is one rule as it is written.
type ruleSpec struct {
	field    string // "spec.rules[0]"
	name     string // its own, or its number
	named    bool
	matches  []matchSpec
	filters  []gatewayv1.HTTPRouteFilter
	backends []gatewayv1.HTTPBackendRef
	timeouts *gatewayv1.HTTPRouteTimeouts
	retry    *gatewayv1.HTTPRouteRetry
	session  *gatewayv1.SessionPersistence
}

// label is the rule as a message names it.
func (r *ruleSpec) label() string {
	if r.named {
		return r.field + " (" + r.name + ")"
	}
	return r.field
}

// matchSpec is a match of HTTP or of gRPC, as it is written.
type matchSpec struct {
	field string
	http  *gatewayv1.HTTPRouteMatch
	grpc  *gatewayv1.GRPCRouteMatch
}

// linkerd tells whether the route is of policy.linkerd.io.
func (r *route) linkerd() bool { return r.Kind == source.LinkerdHTTPRoute }

// name is the beginning of its rules' names.
func (r *route) name() string {
	return strings.ToLower(string(r.Kind)) + "/" + r.Namespace + "/" + r.Name
}

// age orders routes: the oldest first, then by namespace and name (HTTPRouteRule,
// matches). A route of which nobody says when it was made is younger than those
// of which somebody does. Of two groups with one name that of Gateway API is
// first.
func age(a, b *route) int {
	if a.created.IsZero() != b.created.IsZero() {
		if a.created.IsZero() {
			return 1
		}
		return -1
	}
	return cmp.Or(
		a.created.Compare(b.created),
		cmp.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name),
		cmp.Compare(a.Kind, b.Kind),
	)
}

// read gives the route that an object is, nil for other kinds.
func read(o source.Object) *route {
	switch v := o.Value.(type) {
	case *source.GatewayHTTPRoute:
		r := newRoute(o, &v.Spec.CommonRouteSpec, v.Spec.Hostnames)
		rules := v.Spec.Rules
		if rules == nil { // the default of the field: one rule, one match
			rules = []gatewayv1.HTTPRouteRule{{}}
		}
		for i := range rules {
			r.rules = append(r.rules, httpRule(i, &rules[i]))
		}
		return r
	case *source.GatewayGRPCRoute:
		r := newRoute(o, &v.Spec.CommonRouteSpec, v.Spec.Hostnames)
		r.grpc = true
		for i := range v.Spec.Rules {
			r.rules = append(r.rules, grpcRule(i, &v.Spec.Rules[i]))
		}
		return r
	default:
		return nil
	}
}

func newRoute(o source.Object, spec *gatewayv1.CommonRouteSpec, hosts []gatewayv1.Hostname) *route {
	return &route{
		Object: o, created: o.Meta().GetCreationTimestamp().Time,
		parents: spec.ParentRefs, hostnames: hosts,
		gateways: spec.UseDefaultGateways == gatewayv1.GatewayDefaultScopeAll,
	}
}

func httpRule(i int, v *gatewayv1.HTTPRouteRule) ruleSpec {
	r := ruleSpec{
		field: fmt.Sprintf("spec.rules[%d]", i), name: ruleName(i, v.Name), named: value(v.Name) != "",
		filters: v.Filters, backends: v.BackendRefs,
		timeouts: v.Timeouts, retry: v.Retry, session: v.SessionPersistence,
	}
	for j := range v.Matches {
		r.matches = append(r.matches, matchSpec{field: fmt.Sprintf("%s.matches[%d]", r.field, j), http: &v.Matches[j]})
	}
	if len(v.Matches) == 0 {
		r.matches = []matchSpec{{field: r.field, http: &gatewayv1.HTTPRouteMatch{}}}
	}
	return r
}

func grpcRule(i int, v *gatewayv1.GRPCRouteRule) ruleSpec {
	r := ruleSpec{
		field: fmt.Sprintf("spec.rules[%d]", i), name: ruleName(i, v.Name), named: value(v.Name) != "",
		filters: httpFilters(v.Filters), session: v.SessionPersistence,
	}
	for j := range v.BackendRefs {
		b := &v.BackendRefs[j]
		r.backends = append(r.backends, gatewayv1.HTTPBackendRef{BackendRef: b.BackendRef, Filters: httpFilters(b.Filters)})
	}
	for j := range v.Matches {
		r.matches = append(r.matches, matchSpec{field: fmt.Sprintf("%s.matches[%d]", r.field, j), grpc: &v.Matches[j]})
	}
	if len(v.Matches) == 0 {
		r.matches = []matchSpec{{field: r.field, grpc: &gatewayv1.GRPCRouteMatch{}}}
	}
	return r
}

// httpFilters are filters of gRPC, whose types are some of those of HTTP.
func httpFilters(list []gatewayv1.GRPCRouteFilter) []gatewayv1.HTTPRouteFilter {
	var out []gatewayv1.HTTPRouteFilter
	for _, f := range list {
		out = append(out, gatewayv1.HTTPRouteFilter{
			Type:                  gatewayv1.HTTPRouteFilterType(f.Type),
			RequestHeaderModifier: f.RequestHeaderModifier, ResponseHeaderModifier: f.ResponseHeaderModifier,
			RequestMirror: f.RequestMirror, ExtensionRef: f.ExtensionRef,
		})
	}
	return out
}

// ruleName is the rule's own, or its number from 0. A name that is a number is
// marked, so that it is not mistaken for one.
func ruleName(i int, name *gatewayv1.SectionName) string {
	if name == nil || *name == "" {
		return strconv.Itoa(i)
	}
	if _, err := strconv.Atoi(string(*name)); err == nil {
		return "name:" + string(*name)
	}
	return string(*name)
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// attached tells whether a reference attaches a route of a namespace to a port.
// The port's number and its name (sectionName) must both be right where they
// are given.
func attached(p *gatewayv1.ParentReference, namespace string, s *model.Service, port *model.Port) bool {
	name, ok := model.ParentService(p, namespace)
	return ok && name == s.Name && (value(p.Port) == 0 || value(p.Port) == int32(port.Number)) &&
		(value(p.SectionName) == "" || string(*p.SectionName) == port.Name)
}

// isAttached tells whether any of a route's references does.
func (r *route) isAttached(s *model.Service, port *model.Port) bool {
	for i := range r.parents {
		if attached(&r.parents[i], r.Namespace, s, port) {
			return true
		}
	}
	return false
}

// ParentName is a parent as people read it: "service/web:80", "service/web:http"
// by the port's name, "service/web.shop" in another namespace than the route's.
func ParentName(p *gatewayv1.ParentReference, namespace string) string {
	kind := string(value(p.Kind))
	if kind == "" {
		kind = "Gateway"
	}
	s := strings.ToLower(kind) + "/" + string(p.Name)
	if ns := value(p.Namespace); ns != "" && string(ns) != namespace {
		s += "." + string(ns)
	}
	if port := value(p.Port); port != 0 {
		s += ":" + strconv.Itoa(int(port))
	}
	if name := value(p.SectionName); name != "" {
		s += ":" + string(name)
	}
	return s
}
