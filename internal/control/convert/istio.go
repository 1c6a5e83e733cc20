package convert

import (
	"net/http"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// istioRoutes writes the VirtualServices of a service: one for all callers, and
// one for those of each namespace who go elsewhere, which only they see.
func (c *converter) istioRoutes(s *model.Service, views []portView) {
	plain := true
	for i := range views {
		plain = plain && (views[i].client != "" || views[i].plain && views[i].bytes == nil)
	}
	clients := []string{""}
	byClient := map[string][]*portView{}
	for i := range views {
		v := &views[i]
		if byClient[v.client] == nil && v.client != "" {
			clients = append(clients, v.client)
		}
		byClient[v.client] = append(byClient[v.client], v)
	}
	for _, client := range clients {
		if client == "" && plain {
			continue
		}
		// Only one VirtualService holds for a caller, so one of a namespace has
		// the rules of all ports.
		list := byClient[client]
		if client != "" {
			list = complete(list, byClient[""])
		}
		c.virtualService(s, client, list)
	}
}

// complete adds the ports that are as for everybody.
func complete(own, base []*portView) []*portView {
	out := own
	for _, b := range base {
		has := false
		for _, o := range own {
			has = has || o.port == b.port
		}
		if !has {
			out = append(out, b)
		}
	}
	return out
}

func (c *converter) virtualService(s *model.Service, client string, views []*portView) {
	var rules, bytes list
	for _, v := range views {
		var port any
		if len(s.Ports) > 1 {
			port = v.port.Number
		}
		if !v.port.Protocol.Protocol.Opaque() {
			kept := c.carry(v.rules)
			if len(kept) == 0 && len(v.rules) > 0 {
				// Requests that no rule matches stay without an answer of the service.
				kept = []routing.Rule{{Name: "unmatched", Direct: &routing.Direct{Status: http.StatusNotFound}}}
			}
			rules = append(rules, c.virtualHTTP(kept, port)...)
		}
		if v.bytes != nil {
			r := object{"route": destinations(v.bytes, false)}
			if port != nil {
				r["match"] = list{object{"port": port}}
			}
			bytes = append(bytes, r)
		}
	}
	spec := object{"hosts": list{s.Host()}}
	namespace, name := s.Namespace, s.Name.Name
	if client != "" {
		spec["exportTo"] = list{"."}
		if namespace = client; client == s.Namespace {
			name += "-own"
		} else {
			name += "." + s.Namespace
		}
	}
	if len(rules) > 0 {
		spec["http"] = rules
	}
	if len(bytes) > 0 {
		spec["tcp"] = bytes
	}
	if len(rules)+len(bytes) > 0 {
		c.write(manifest("networking.istio.io/v1", "VirtualService", namespace, name, spec))
	}
}

// virtualHTTP are rules as a VirtualService has them. A port is written where
// there are several.
func (c *converter) virtualHTTP(rules []routing.Rule, port any) list {
	var out list
	names := map[string]bool{}
	for i := range rules {
		out = append(out, virtualRule(&rules[i], port, ruleName(rules[i].Name, names)))
	}
	return out
}

func virtualRule(r *routing.Rule, port any, name string) object {
	out := object{"name": name}
	m := istioMatchObject(&r.Match)
	if port != nil {
		m["port"] = port
	}
	if len(m) > 0 {
		out["match"] = list{m}
	}
	if h := headersObject(r.RequestHeaders, r.ResponseHeaders); h != nil {
		out["headers"] = h
	}
	if r.CORS != nil {
		out["corsPolicy"] = istioCORS(r.CORS)
	}
	switch {
	case r.Redirect != nil:
		out["redirect"] = istioRedirect(r.Redirect)
		return out
	case r.Direct != nil:
		out["directResponse"] = istioDirect(r.Direct)
		return out
	}
	out["route"] = destinations(r.Backends, true)
	if w := r.Rewrite; w != nil {
		x := object{}
		if w.Host != "" {
			x["authority"] = w.Host
		}
		if p := w.Path; p != nil && p.Kind == routing.ReplaceRegex {
			x["uriRegexRewrite"] = object{"match": p.Pattern, "rewrite": p.Value}
		} else if p != nil {
			x["uri"] = p.Value
		}
		out["rewrite"] = x
	}
	if r.Timeouts.Request.IsSet() {
		out["timeout"] = r.Timeouts.Request.Value.String()
	}
	out["retries"] = istioRetries(r.Retry)
	if f := istioFault(r.Fault); len(f) > 0 {
		out["fault"] = f
	}
	var mirrors list
	for i := range r.Mirrors {
		mirrors = append(mirrors, object{"destination": destination(&r.Mirrors[i].Backend), "percentage": object{"value": r.Mirrors[i].Percent.Value}})
	}
	if len(mirrors) > 0 {
		out["mirrors"] = mirrors
	}
	return out
}

func destination(b *routing.Backend) object {
	host := b.Service.Name
	if b.Service.Namespace != "" {
		host = b.Service.Host()
	}
	out := object{"host": host}
	if b.Subset != "" {
		out["subset"] = b.Subset
	}
	if b.Port != 0 {
		out["port"] = object{"number": b.Port}
	}
	return out
}

func destinations(backends []routing.Backend, headers bool) list {
	var out list
	for i := range backends {
		b := &backends[i]
		d := object{"destination": destination(b)}
		if len(backends) > 1 {
			d["weight"] = b.Weight.Value
		}
		if h := headersObject(b.RequestHeaders, b.ResponseHeaders); h != nil && headers {
			d["headers"] = h
		}
		out = append(out, d)
	}
	return out
}

func istioMatchObject(m *routing.Match) object {
	out := object{}
	if len(m.Paths) > 0 {
		p := m.Paths[0]
		kind := map[routing.PathKind]string{routing.PathExact: "exact", routing.PathText: "prefix", routing.PathRegex: "regex"}[p.Kind]
		out["uri"] = object{kind: p.Value}
		if p.IgnoreCase {
			out["ignoreUriCase"] = true
		}
	}
	headers, without, query := object{}, object{}, object{}
	for _, h := range m.Headers {
		switch {
		case strings.HasPrefix(h.Name, ":"):
			out[h.Name[1:]] = istioTextObject(h.Text)
		case h.Invert:
			without[h.Name] = istioTextObject(h.Text)
		default:
			headers[h.Name] = istioTextObject(h.Text)
		}
	}
	for _, q := range m.Query {
		query[q.Name] = istioTextObject(q.Text)
	}
	for k, v := range map[string]object{"headers": headers, "withoutHeaders": without, "queryParams": query} {
		if len(v) > 0 {
			out[k] = v
		}
	}
	return out
}

func istioTextObject(t routing.Text) object {
	switch t.Kind {
	case routing.Present:
		return object{}
	case routing.Exact:
		return object{"exact": t.Value}
	case routing.Prefix:
		return object{"prefix": t.Value}
	default:
		return object{"regex": t.Value}
	}
}

func headersObject(request, answer []routing.HeaderEdit) object {
	out := object{}
	for name, edits := range map[string][]routing.HeaderEdit{"request": request, "response": answer} {
		ops := object{}
		var remove list
		for _, e := range edits {
			if e.Op == routing.Remove {
				remove = append(remove, e.Name)
				continue
			}
			values, _ := ops[string(e.Op)].(object)
			if values == nil {
				values = object{}
				ops[string(e.Op)] = values
			}
			v := e.Value
			if !e.Format {
				v = strings.ReplaceAll(v, "%", "%%")
			}
			values[e.Name] = v
		}
		if len(remove) > 0 {
			ops["remove"] = remove
		}
		if len(ops) > 0 {
			out[name] = ops
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func istioCORS(p *routing.CORS) object {
	out := object{}
	var origins list
	for _, t := range p.AllowOrigins {
		origins = append(origins, istioTextObject(t))
	}
	if len(origins) > 0 {
		out["allowOrigins"] = origins
	}
	for k, v := range map[string][]string{"allowMethods": p.AllowMethods, "allowHeaders": p.AllowHeaders, "exposeHeaders": p.ExposeHeaders} {
		if len(v) > 0 {
			out[k] = v
		}
	}
	if p.MaxAge.IsSet() {
		out["maxAge"] = p.MaxAge.Value.String()
	}
	if p.AllowCredentials.IsSet() {
		out["allowCredentials"] = p.AllowCredentials.Value
	}
	if !p.ForwardPreflights {
		out["unmatchedPreflights"] = "IGNORE"
	}
	return out
}
