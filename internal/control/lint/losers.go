package lint

import (
	"strings"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// lostKey is what was written in vain.
type lostKey struct{ object, field string }

type lostWhy struct {
	loser routing.Loser
	// governs is the dialect that decides in its place.
	governs routing.Dialect
}

// use notes what has an effect in a rule.
func (e *effective) use(r *routing.Rule) {
	note := func(o origin.Origin) {
		if o.Object != "" {
			e.used[o.Object] = append(e.used[o.Object], o.Field)
		}
	}
	note(r.Origin)
	for _, o := range r.Also {
		note(o)
	}
	if r.Dialect == routing.Istio && !strings.Contains(r.Origin.Field, ".match[") {
		// A rule with one match is named by itself, where it loses by the match.
		for _, o := range append([]origin.Origin{r.Origin}, r.Also...) {
			o.Field += ".match[0]"
			note(o)
		}
	}
	for i := range r.Backends {
		note(r.Backends[i].Origin)
	}
	for i := range r.Mirrors {
		note(r.Mirrors[i].Origin)
	}
	note(r.Timeouts.Request.Origin)
	note(r.Timeouts.Response.Origin)
	note(r.Timeouts.Idle.Origin)
	if r.Retry != nil {
		note(r.Retry.Origin)
	}
}

// losers tells of what was written and has an effect for nobody. What is lost
// for some callers or ports only is not told of here; explain tells it.
func (e *effective) losers() {
	for key, why := range e.lost {
		switch {
		case within(e.used[key.object], key.field), key.field == "" && e.broken[key.object],
			key.field != "" && within(e.told[key.object], key.field):
			continue
		}
		if code := why.loser.Code; code != "" {
			e.find(why.loser.Origin, Warning, code, "", "", "this never gets a request: "+why.loser.Reason, "give the other a narrower match, or put it last")
			continue
		}
		severity := Info
		if o := e.objects[key.object]; o != nil && dialectOf(o.Kind) != "" && dialectOf(o.Kind) != why.governs {
			severity = Warning
		}
		e.find(why.loser.Origin, severity, "has-no-effect", "", "", "this has no effect for any request: "+why.loser.Reason, "")
	}
}

// within tells whether one of the fields is the given one, or a part of it.
func within(fields []string, field string) bool {
	for _, f := range fields {
		if rest, ok := strings.CutPrefix(f, field); ok && (field == "" || rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// dialectOf is the dialect that a kind of routes is of.
func dialectOf(k source.Kind) routing.Dialect {
	switch k {
	case source.HTTPRoute, source.GRPCRoute, source.LinkerdHTTPRoute:
		return routing.GatewayAPI
	case source.VirtualService:
		return routing.Istio
	case source.TrafficSplit:
		return routing.SMI
	default:
		return ""
	}
}
