package istio

import (
	"fmt"
	"net/http"
	"slices"

	networkingv1alpha3 "istio.io/api/networking/v1alpha3"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// istioDefault is whose a value is that nobody has written.
func istioDefault(what string) origin.Origin { return origin.Origin{Default: "Istio: " + what} }

// http are the http rules of a VirtualService for the client and the port. What
// comes after a rule for every request loses.
func (q *question) http(o source.Object) []routing.Rule {
	var out []routing.Rule
	rules := q.join(o)
	for i := range rules {
		j := &rules[i]
		if n := len(out); n > 0 && out[n-1].Match.All() {
			q.shadowed(j.own.origin(""), out[n-1].Origin, len(j.matches) == 0)
			continue
		}
		out = append(out, q.rules(o, j)...)
	}
	return out
}

// rules are one for each match.
func (q *question) rules(o source.Object, j *joined) []routing.Rule {
	base := q.base(j)
	base.Name = "virtualservice/" + o.Namespace + "/" + o.Name + "/" + j.name
	if len(j.matches) == 0 {
		withPath(&base, j, nil)
		return []routing.Rule{base}
	}
	var out []routing.Rule
	for _, m := range j.matches {
		at := m.from.origin(m.field)
		if why := q.applies(m.httpMatch); why != "" {
			q.lose(at, "%s", why)
			continue
		}
		if n := len(out); n > 0 && out[n-1].Match.All() {
			q.shadowed(at, out[n-1].Origin, matchOf(m.httpMatch).All())
			continue
		}
		r := base
		r.Match = matchOf(m.httpMatch)
		if len(j.matches) > 1 {
			r.Name += "/" + m.name
			r.Origin = at
		}
		withPath(&r, j, m.httpMatch)
		out = append(out, r)
	}
	return out
}

// base is a rule without its match, and without what depends on it.
func (q *question) base(j *joined) routing.Rule {
	r := routing.Rule{Dialect: routing.Istio, Origin: j.own.origin("")}
	if j.root.httpRoute != nil {
		r.Also = []origin.Origin{j.root.origin("")}
	}
	if w, ok := j.from(func(h *httpRoute) bool { return h.Headers != nil }); ok {
		r.RequestHeaders, r.ResponseHeaders = q.edits(w.object, w.at+".headers", w.Headers)
	}
	if w, ok := j.from(func(h *httpRoute) bool { return h.CorsPolicy != nil }); ok {
		r.CORS = corsOf(w)
	}
	switch {
	case j.own.Redirect != nil:
		r.Redirect = q.redirectOf(j.own)
	case j.own.DirectResponse != nil:
		d := j.own.DirectResponse
		r.Direct = &routing.Direct{Origin: j.own.origin(".directResponse"), Status: d.GetStatus(), Body: d.GetBody().GetBytes()}
		if s := d.GetBody().GetString_(); s != "" {
			r.Direct.Body = []byte(s)
		}
	default:
		q.forward(&r, j)
	}
	return r
}

// forward sets what holds for requests that go on.
func (q *question) forward(r *routing.Rule, j *joined) {
	r.Backends = q.backends(j.own)
	if slices.ContainsFunc(r.Backends, func(b routing.Backend) bool { return b.Invalid != "" && b.Subset != "" }) {
		r.MissingStatus = http.StatusServiceUnavailable // as Istio, which makes no cluster of it
	}
	if w, ok := j.from(func(h *httpRoute) bool { return h.Timeout != nil }); ok {
		r.Timeouts.Request = origin.Said(w.Timeout.AsDuration(), w.object, w.at+".timeout")
	}
	if w, ok := j.from(func(h *httpRoute) bool { return h.Retries != nil }); ok {
		r.Retry = retryOf(w)
	}
	if w, ok := j.from(func(h *httpRoute) bool { return h.Fault != nil }); ok {
		r.Fault = faultOf(w)
	}
	if w, ok := j.from(func(h *httpRoute) bool { return h.Mirror != nil || len(h.Mirrors) > 0 }); ok {
		r.Mirrors = q.mirrors(j, w)
	}
}

// backends are a rule's destinations. The only one of a rule gets everything,
// whatever its weight says.
func (q *question) backends(w written) []routing.Backend {
	list := w.GetRoute()
	out := make([]routing.Backend, 0, len(list))
	for i, d := range list {
		field := fmt.Sprintf("%s.route[%d]", w.at, i)
		b := q.backend(w.object, field+".destination", d.GetDestination())
		b.Weight = weightOf(w.object, field, d.GetWeight(), len(list))
		b.RequestHeaders, b.ResponseHeaders = q.edits(w.object, field+".headers", d.GetHeaders())
		out = append(out, b)
	}
	return out
}

func weightOf(o source.Object, field string, weight int32, among int) origin.Value[uint32] {
	switch {
	case among == 1 && weight <= 0:
		return origin.Value[uint32]{Value: 1, Origin: istioDefault("the only destination gets everything")}
	case weight <= 0:
		return origin.Said(uint32(0), o, field)
	default:
		return origin.Said(uint32(weight), o, field+".weight")
	}
}

// backend is where a destination leads. Its port is the service's only one, or
// the one that was asked for, where none is written.
func (q *question) backend(o source.Object, field string, d *networkingv1alpha3.Destination) routing.Backend {
	b := routing.Backend{Origin: origin.Of(o, field), Subset: d.GetSubset(), Port: uint16(d.GetPort().GetNumber())}
	name, ok := model.RuleHost(d.GetHost(), o.Namespace)
	if !ok {
		b.Service = model.HostOf(d.GetHost())
		b.Invalid = fmt.Sprintf("host %s is no Service of this mesh", d.GetHost())
		return b
	}
	b.Service = name
	if !slices.Contains(q.services, name) {
		q.services = append(q.services, name)
	}
	s := q.world.Service(name.Namespace, name.Name)
	if s == nil {
		b.Invalid = fmt.Sprintf("there is no Service %s in namespace %s", name.Name, name.Namespace)
		return b
	}
	if d.GetPort() == nil {
		b.Port = q.port
		if len(s.Ports) == 1 {
			b.Port = s.Ports[0].Number
		}
	}
	switch {
	case s.Port(b.Port) == nil:
		b.Invalid = fmt.Sprintf("Service %s in namespace %s has no port %d; it has %s", name.Name, name.Namespace, b.Port, s.PortList())
	case b.Subset != "" && !hasSubset(q.world, name, b.Subset):
		b.Invalid = fmt.Sprintf("no DestinationRule for %s has a subset %s", name.Host(), b.Subset)
	}
	return b
}

// hasSubset says whether any DestinationRule that may be for a service has a
// subset. Which of them a client sees is not decided here.
func hasSubset(w *model.World, service model.Name, subset string) bool {
	for _, o := range w.RulesOf(service, source.DestinationRule) {
		rule, ok := o.Value.(*source.IstioDestinationRule)
		if !ok {
			continue
		}
		if _, about := fits(fullHost(rule.Spec.GetHost(), o.Namespace), service.Host()); !about {
			continue
		}
		for _, s := range rule.Spec.GetSubsets() {
			if s.GetName() == subset {
				return true
			}
		}
	}
	return false
}

// mirrors are who else gets the requests. The share of the one is said beside
// it, and may be said by the root where the delegate has a mirror.
func (q *question) mirrors(j *joined, w written) []routing.Mirror {
	var out []routing.Mirror
	all := origin.Value[float64]{Value: 100, Origin: istioDefault("all requests are mirrored")}
	if w.Mirror != nil {
		m := routing.Mirror{Backend: q.backend(w.object, w.at+".mirror", w.Mirror), Percent: all}
		if p, ok := j.from(func(h *httpRoute) bool { return h.MirrorPercentage != nil }); ok {
			m.Percent = origin.Said(p.MirrorPercentage.GetValue(), p.object, p.at+".mirrorPercentage")
		} else if p, ok := j.from(func(h *httpRoute) bool { return h.GetMirrorPercent() != nil }); ok { //nolint:staticcheck // old files have it
			m.Percent = origin.Said(float64(p.GetMirrorPercent().GetValue()), p.object, p.at+".mirrorPercent") //nolint:staticcheck // as above
		}
		out = append(out, m)
	}
	for i, x := range w.Mirrors {
		field := fmt.Sprintf("%s.mirrors[%d]", w.at, i)
		m := routing.Mirror{Backend: q.backend(w.object, field+".destination", x.GetDestination()), Percent: all}
		if x.GetPercentage() != nil {
			m.Percent = origin.Said(x.Percentage.GetValue(), w.object, field+".percentage")
		}
		out = append(out, m)
	}
	for i := range out {
		out[i].Weight = origin.Value[uint32]{Value: 1, Origin: out[i].Origin}
	}
	return slices.DeleteFunc(out, func(m routing.Mirror) bool { return m.Percent.Value <= 0 })
}
