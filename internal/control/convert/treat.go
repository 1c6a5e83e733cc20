package convert

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// treatment carries what is done with requests on their way.
func (c *converter) treatment(r *routing.Rule) {
	if f := r.Fault; f != nil && c.to == Istio && (r.Timeouts.Request.Value > 0 || r.Retry != nil && r.Retry.Attempts.Value > 0) {
		from := r.Origin
		if f.Delay != nil {
			from = f.Delay.Origin
		} else if f.Abort != nil {
			from = f.Abort.Origin
		}
		c.lose(from, "fault.treatment", "", "Istio switches timeouts and retries off where there is a fault")
	}
	if r.Fault != nil && c.to != Istio {
		if d := r.Fault.Delay; d != nil {
			c.lose(d.Origin, "fault.delay", d.Duration.String(), "faults cannot be said there")
		}
		if a := r.Fault.Abort; a != nil {
			c.lose(a.Origin, "fault.abort", fmt.Sprint(a.HTTPStatus), "faults cannot be said there")
		}
		r.Fault = nil
	}
	if f := r.Failures; f.IsSet() {
		c.lose(f.Origin, "failures", statusText(f.Value), "which statuses count as failures of an endpoint cannot be said there")
		r.Failures = origin.Value[[]routing.StatusRange]{}
	}
	c.cors(r)
	c.mirrors(r)
	if r.Redirect != nil || r.Direct != nil {
		r.Timeouts, r.Retry = routing.Timeouts{}, nil
		return
	}
	c.retry(r)
	c.timeouts(r)
}

func (c *converter) cors(r *routing.Rule) {
	if r.CORS == nil {
		return
	}
	p := *r.CORS
	r.CORS = &p
	switch c.to {
	case Istio:
		p.AllowOrigins = slices.Clone(p.AllowOrigins)
		for i, t := range p.AllowOrigins {
			switch {
			case t.Kind == routing.Exact:
				p.AllowOrigins[i].IgnoreCase = false // browsers write them in lower case
			case t.Kind == routing.Suffix || t.Kind == routing.Contains || t.IgnoreCase:
				p.AllowOrigins[i] = routing.Text{Kind: routing.Regex, Value: textRegex(t)}
			}
		}
		return
	case Linkerd:
		c.lose(p.Origin, "cors", "", "Linkerd refuses routes with this filter")
		r.CORS = nil
		return
	}
	p.AllowOrigins = slices.DeleteFunc(slices.Clone(p.AllowOrigins), func(t routing.Text) bool {
		if _, ok := corsOrigin(t); ok {
			return false
		}
		c.lose(p.Origin, "cors.allowOrigins", t.Value, "origins are written in full there, or with * for the first labels of a host")
		return true
	})
	if p.ForwardPreflights {
		c.lose(p.Origin, "cors.unmatchedPreflights", "FORWARD", "preflight requests of other origins are answered there, and not sent on")
		p.ForwardPreflights = false
	}
}

// corsOrigin is an origin as Gateway API writes it. Browsers write origins in
// lower case, so case says nothing.
func corsOrigin(t routing.Text) (string, bool) {
	switch {
	case t.Value == "*" && t.Kind == routing.Exact, t.Value == ".*" && t.Kind == routing.Regex:
		return "*", true
	case t.Kind == routing.Exact:
		_, host, ok := strings.Cut(t.Value, "://")
		return t.Value, ok && host != ""
	case t.Kind != routing.Regex:
		return "", false
	}
	// As package gateway reads "https://*.example.com".
	scheme, rest, ok := strings.Cut(t.Value, `://[^:/]+`)
	host := strings.ReplaceAll(rest, `\.`, ".")
	if !ok || scheme != "http" && scheme != "https" || regexp.QuoteMeta(host) != rest || !strings.HasPrefix(host, ".") {
		return "", false
	}
	return scheme + "://*" + host, true
}

func (c *converter) mirrors(r *routing.Rule) {
	var out []routing.Mirror
	for _, m := range r.Mirrors {
		if c.to != Istio && c.to != Linkerd && m.Subset != "" {
			c.lose(m.Origin, "mirror.subset", m.Subset, "Services have no subsets there; the whole of "+m.Service.String()+" gets copies")
			m.Subset, m.Invalid = "", c.invalid(&m.Backend)
		}
		switch {
		case c.to == Linkerd:
			c.lose(m.Origin, "mirror", m.Service.String(), "Linkerd refuses routes that mirror")
			continue
		case c.to != Istio && m.Invalid != "":
			c.lose(m.Origin, "mirror", m.Service.String(), "it leads nowhere, so it is left out: "+m.Invalid)
			continue
		}
		out = append(out, m)
	}
	r.Mirrors = out
}

func (c *converter) timeouts(r *routing.Rule) {
	t := &r.Timeouts
	c.durationOf(&t.Request, "timeout.request")
	c.durationOf(&t.Backend, "timeout.backend")
	if c.to == Linkerd || c.to == Recloser {
		c.durationOf(&t.Response, "timeout.response")
		c.durationOf(&t.Idle, "timeout.idle")
		return
	}
	for _, v := range []struct {
		setting string
		d       *origin.Value[time.Duration]
	}{{"timeout.response", &t.Response}, {"timeout.idle", &t.Idle}} {
		if v.d.IsSet() && v.d.Value > 0 {
			c.lose(v.d.Origin, v.setting, v.d.Value.String(), "there is no such bound there")
		}
		*v.d = origin.Value[time.Duration]{}
	}
}

// durationOf rounds a duration to what can be written: milliseconds.
func (c *converter) durationOf(d *origin.Value[time.Duration], setting string) {
	if c.to == Istio || !d.IsSet() || d.Value%time.Millisecond == 0 {
		return
	}
	rounded := max(d.Value.Round(time.Millisecond), time.Millisecond)
	c.lose(d.Origin, setting, d.Value.String(), "durations are whole milliseconds there; "+rounded.String()+" is written")
	d.Value = rounded
}

// isWritten says whether somebody wrote a value: it is no default.
func isWritten[T any](v origin.Value[T]) bool { return v.IsSet() && v.Origin.Default == "" }
