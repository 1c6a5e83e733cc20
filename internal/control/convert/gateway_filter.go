package convert

import (
	"math"
	"net"
	"time"

	"github.com/reclosermesh/recloser/internal/control/routing"
)

func (c *converter) filters(r *routing.Rule, namespace string) list {
	out := headerFilters(r.RequestHeaders, r.ResponseHeaders)
	if d := r.Redirect; d != nil {
		f := object{"statusCode": d.Status.Value}
		if d.Scheme != "" {
			f["scheme"] = d.Scheme
		}
		if d.Host != "" {
			f["hostname"] = hostOnly(d.Host)
		}
		switch {
		case d.Port != 0:
			f["port"] = d.Port
		case d.Host != "" && d.Scheme == "":
			f["port"] = 80 // so that the port that was asked for is not taken
		}
		if d.Path != nil {
			f["path"] = pathModifier(d.Path)
		}
		out = append(out, object{"type": "RequestRedirect", "requestRedirect": f})
	}
	if w := r.Rewrite; w != nil {
		f := object{}
		if w.Host != "" {
			f["hostname"] = w.Host
		}
		if w.Path != nil {
			f["path"] = pathModifier(w.Path)
		}
		out = append(out, object{"type": "URLRewrite", "urlRewrite": f})
	}
	for i := range r.Mirrors {
		m := &r.Mirrors[i]
		f := object{"backendRef": backendRef(&m.Backend, namespace)}
		switch p := m.Percent.Value; {
		case p == math.Trunc(p):
			f["percent"] = int(p)
		default:
			f["fraction"] = object{"numerator": int(math.Round(p * 10_000)), "denominator": 1_000_000}
		}
		out = append(out, object{"type": "RequestMirror", "requestMirror": f})
	}
	if r.CORS != nil {
		out = append(out, object{"type": "CORS", "cors": corsObject(r.CORS)})
	}
	return out
}

func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return host
}

func corsObject(p *routing.CORS) object {
	f := object{}
	var origins list
	for _, t := range p.AllowOrigins {
		if v, ok := corsOrigin(t); ok {
			origins = append(origins, v)
		}
	}
	if len(origins) > 0 {
		f["allowOrigins"] = origins
	}
	for k, v := range map[string][]string{"allowMethods": p.AllowMethods, "allowHeaders": p.AllowHeaders, "exposeHeaders": p.ExposeHeaders} {
		if len(v) > 0 {
			f[k] = v
		}
	}
	if p.MaxAge.IsSet() && p.MaxAge.Value >= time.Second {
		f["maxAge"] = int(p.MaxAge.Value / time.Second)
	}
	if p.AllowCredentials.IsSet() {
		f["allowCredentials"] = p.AllowCredentials.Value
	}
	return f
}

func pathModifier(p *routing.PathRewrite) object {
	if p.Kind == routing.ReplaceFull {
		return object{"type": "ReplaceFullPath", "replaceFullPath": p.Value}
	}
	return object{"type": "ReplacePrefixMatch", "replacePrefixMatch": p.Value}
}

func headerFilters(request, answer []routing.HeaderEdit) list {
	var out list
	if f := headerModifier(request); f != nil {
		out = append(out, object{"type": "RequestHeaderModifier", "requestHeaderModifier": f})
	}
	if f := headerModifier(answer); f != nil {
		out = append(out, object{"type": "ResponseHeaderModifier", "responseHeaderModifier": f})
	}
	return out
}

func headerModifier(edits []routing.HeaderEdit) object {
	if len(edits) == 0 {
		return nil
	}
	out := object{}
	for _, op := range []routing.EditOp{routing.Set, routing.Add, routing.Remove} {
		var items list
		for _, e := range edits {
			switch {
			case e.Op != op:
			case op == routing.Remove:
				items = append(items, e.Name)
			default:
				items = append(items, object{"name": e.Name, "value": e.Value})
			}
		}
		if len(items) > 0 {
			out[string(op)] = items
		}
	}
	return out
}
