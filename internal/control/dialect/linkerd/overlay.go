package linkerd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// maxComposed bounds the rules that come of a port's rules and the routes of a
// ServiceProfile together: they multiply.
const maxComposed = 4096

// Overlay composes what Linkerd's objects say about how requests are treated,
// wherever they go, with the rules that say where: the routes of a
// ServiceProfile (a rule whose requests they divide becomes several), and the
// retry and timeout annotations of routes and of the Service.
//
// Of each rule R and each route P of the profile comes the rule "R and P" with
// P's timeout and retries, in the order of R and then of P, and last R alone.
// What no request can match is left out. For each setting the first counts that
// says something: the annotations of the route that R is of; R's own fields; P;
// the Service's annotations, unless the route has any of that set itself.
//
// It may add losers, and never changes rules in place.
func Overlay(in routing.Input, rules []routing.Rule) ([]routing.Rule, []routing.Loser) {
	o := &overlay{in: in}
	o.service, _ = read(in.Service.Object)
	var routes []route
	o.profile, _ = governing(in)
	if o.profile != nil {
		routes, _ = o.profile.routes()
		alternatives := 1
		for i := range routes {
			alternatives += len(routes[i].alternatives)
		}
		if len(rules)*alternatives > maxComposed {
			o.lose(origin.Of(o.profile.object, "spec.routes"), fmt.Sprintf(
				"its routes and the %d rules of this port would make more than %d rules together", len(rules), maxComposed))
			routes = nil
		}
	}
	out := make([]routing.Rule, 0, len(rules))
	for i := range rules {
		out = o.rule(out, &rules[i], routes)
	}
	o.unused(out, routes)
	return out, o.losers
}

// overlay is one composition.
type overlay struct {
	in      routing.Input
	service *settings
	// routes are the settings of route objects with annotations, by name; nil
	// until they are asked for.
	routes  map[string]*settings
	profile *profile
	cmp     routing.Comparer
	losers  []routing.Loser
}

func (o *overlay) lose(from origin.Origin, reason string) {
	o.losers = append(o.losers, routing.Loser{Origin: from, Reason: reason})
}

// rule appends what becomes of one rule.
func (o *overlay) rule(out []routing.Rule, r *routing.Rule, routes []route) []routing.Rule {
	if len(r.Backends) == 0 {
		return append(out, *r) // it answers by itself: there is nothing to treat
	}
	for i := range routes {
		p := &routes[i]
		for n := range p.alternatives {
			m := and(r.Match, p.alternatives[n])
			if o.cmp.Empty(m) {
				continue
			}
			if r.ReplacesPrefix() {
				m = m.Led(r.Match)
			}
			c := *r
			c.Match = m
			c.Name = fmt.Sprintf("%s+profile/%s", r.Name, nameOf(p))
			if n > 0 {
				c.Name += fmt.Sprintf("/%d", n)
			}
			c.Also = append(slices.Clone(r.Also), origin.Of(o.profile.object, p.field))
			o.treat(&c, p)
			out = append(out, c)
			if o.cmp.Covers(p.alternatives[n], r.Match) {
				return out // nothing is left for what comes after
			}
		}
	}
	c := *r
	o.treat(&c, nil)
	return append(out, c)
}

// nameOf is the route's name, with its place where it has none or may not be
// the only one of its name.
func nameOf(p *route) string {
	index := strings.TrimSuffix(strings.TrimPrefix(p.field, "spec.routes["), "]")
	if p.name == "" {
		return index
	}
	return index + ":" + p.name
}

// treat fills the timeouts and the retry of a rule, of which it has a copy.
func (o *overlay) treat(r *routing.Rule, p *route) {
	own := o.routeSettings(r)
	service := *o.service
	if own.hasTimeout {
		service.timeouts = routing.Timeouts{}
	}
	if own.hasRetry {
		service.retry = nil
	}
	var profileTimeout origin.Value[time.Duration]
	var profileRetry *routing.Retry
	if p != nil {
		profileTimeout, _ = o.profile.timeout(p)
		profileRetry = o.profile.retry(p)
		if f := o.profile.failures(p); f.IsSet() {
			r.Failures = f
		}
	}
	t := &r.Timeouts
	t.Request = own.timeouts.Request.Or(t.Request).Or(profileTimeout).Or(service.timeouts.Request)
	t.Response = own.timeouts.Response.Or(t.Response).Or(service.timeouts.Response)
	t.Idle = own.timeouts.Idle.Or(t.Idle).Or(service.timeouts.Idle)
	for _, retry := range []*routing.Retry{own.retry, r.Retry, profileRetry, service.retry} {
		if retry != nil {
			r.Retry = retry
			return
		}
	}
}

// routeSettings are the annotations of the HTTPRoute or GRPCRoute that a rule is
// of.
func (o *overlay) routeSettings(r *routing.Rule) *settings {
	if o.routes == nil {
		o.routes = map[string]*settings{}
		for _, object := range o.in.Objects {
			if isRoute(object.Kind) && len(object.Meta().GetAnnotations()) > 0 {
				o.routes[object.String()], _ = read(object)
			}
		}
	}
	if s := o.routes[r.Origin.Object]; s != nil {
		return s
	}
	return &settings{}
}

// isRoute tells whether the annotations of a kind are read.
func isRoute(k source.Kind) bool {
	return k == source.HTTPRoute || k == source.GRPCRoute || k == source.LinkerdHTTPRoute
}

// unused names the settings that no rule has taken.
func (o *overlay) unused(rules []routing.Rule, routes []route) {
	used := map[origin.Origin]bool{}
	for i := range rules {
		t := &rules[i].Timeouts
		used[t.Request.Origin], used[t.Response.Origin], used[t.Idle.Origin] = true, true, true
		if rules[i].Retry != nil {
			used[rules[i].Retry.Origin] = true
		}
		for _, also := range rules[i].Also {
			used[also] = true
		}
	}
	const taken = "every rule that this could hold for has such a setting from an object that comes before"
	check := func(from origin.Origin, reason string) {
		if from != (origin.Origin{}) && !used[from] {
			used[from] = true
			o.lose(from, reason)
		}
	}
	for i := range routes {
		p := &routes[i]
		if whole := origin.Of(o.profile.object, p.field); !used[whole] {
			o.lose(whole, "no rule of this port has requests that match it, or routes before it take them all")
			continue
		}
		timeout, _ := o.profile.timeout(p)
		check(timeout.Origin, taken)
		if retry := o.profile.retry(p); retry != nil {
			check(retry.Origin, taken)
		}
	}
	check(o.service.timeouts.Request.Origin, taken)
	check(o.service.timeouts.Response.Origin, taken)
	check(o.service.timeouts.Idle.Origin, taken)
	if o.service.retry != nil {
		check(o.service.retry.Origin, taken)
	}
}
