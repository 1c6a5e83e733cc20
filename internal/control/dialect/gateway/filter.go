package gateway

import (
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// knownFilters are the types that are carried out, as a message lists them.
const knownFilters = "RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, RequestRedirect, URLRewrite, CORS"

// filters sets what the filters of a rule do.
func (c *compiler) filters(out *routing.Rule, field string, list []gatewayv1.HTTPRouteFilter, ofRule bool) {
	for i := range list {
		f, at := &list[i], sub(field, i)
		switch f.Type {
		case gatewayv1.HTTPRouteFilterRequestHeaderModifier:
			if ofRule {
				out.RequestHeaders = c.requestEdits(out, at, f.RequestHeaderModifier)
			}
		case gatewayv1.HTTPRouteFilterResponseHeaderModifier:
			if ofRule {
				out.ResponseHeaders = c.carriedOut(c.edits(at+".responseHeaderModifier", f.ResponseHeaderModifier), true)
			}
		case gatewayv1.HTTPRouteFilterRequestRedirect:
			c.exclusive(at, f.Type, out.Rewrite != nil || out.Redirect != nil)
			out.Redirect = c.redirect(at+".requestRedirect", f.RequestRedirect)
		case gatewayv1.HTTPRouteFilterURLRewrite:
			c.notInLinkerd(at, f.Type)
			c.exclusive(at, f.Type, out.Redirect != nil || out.Rewrite != nil && out.Rewrite.Path != nil)
			c.rewrite(out, at+".urlRewrite", f.URLRewrite)
		case gatewayv1.HTTPRouteFilterRequestMirror:
			c.notInLinkerd(at, f.Type)
			c.mirror(out, at+".requestMirror", f.RequestMirror)
		case gatewayv1.HTTPRouteFilterCORS:
			c.notInLinkerd(at, f.Type)
			out.CORS = c.cors(at+".cors", f.CORS)
		case gatewayv1.HTTPRouteFilterExtensionRef:
			c.extension(at, f.ExtensionRef)
		case gatewayv1.HTTPRouteFilterExternalAuth:
			c.unsupported(at+".type", string(f.Type), knownFilters, "requests are not shown to a server for authorization here, and may not pass without")
		default:
			c.unsupported(at+".type", string(f.Type), knownFilters, "there is no such filter")
		}
	}
}

// extension is a filter of somebody's own. It must not be passed over
// (HTTPRouteFilter, type), and counts as a reference that leads nowhere
// (GEP-1364).
func (c *compiler) extension(field string, ref *gatewayv1.LocalObjectReference) {
	name := ""
	if ref != nil {
		name = fmt.Sprintf("%s/%s %s", ref.Group, ref.Kind, ref.Name)
	}
	const why = "filters of this kind are not known here, and must not be passed over"
	c.fault(fault{
		Problem: source.Problem{
			Code: "unsupported-filter", Severity: source.Error, Field: field + ".extensionRef", Value: name, Allowed: knownFilters,
			Reason: why + "; the rule's requests are answered with " + c.refusal(),
		},
		why:      why,
		resolved: gatewayv1.RouteReasonInvalidKind, refuse: true,
	})
}

// exclusive tells that a redirect and a rewrite are in one rule, or one of them
// twice: on the rule and on its backend.
func (c *compiler) exclusive(field string, t gatewayv1.HTTPRouteFilterType, also bool) {
	if also {
		c.incompatible(field+".type", string(t), "", "a rule has one RequestRedirect or one URLRewrite, not both", "make two rules of it")
	}
}

func (c *compiler) notInLinkerd(field string, t gatewayv1.HTTPRouteFilterType) {
	if c.route.linkerd() {
		c.note(source.Warning, "not-in-linkerd", field+".type", string(t), "",
			"Linkerd refuses a route of policy.linkerd.io with this filter; here it is carried out",
			"write apiVersion: gateway.networking.k8s.io/v1")
	}
}

// requestEdits are the edits of a request. Setting Host is a rewrite.
func (c *compiler) requestEdits(out *routing.Rule, field string, f *gatewayv1.HTTPHeaderFilter) []routing.HeaderEdit {
	field += ".requestHeaderModifier"
	edits := c.edits(field, f)
	for i := range edits {
		e := &edits[i]
		if e.Name != "host" || e.Op != routing.Set || out.Rewrite != nil && out.Rewrite.Host != "" {
			continue
		}
		if out.Rewrite == nil {
			out.Rewrite = &routing.Rewrite{Origin: e.Origin}
		}
		out.Rewrite.Host = e.Value
		return c.carriedOut(slices.Delete(edits, i, i+1), false)
	}
	return c.carriedOut(edits, false)
}

// carriedOut are the edits that a proxy can make.
func (c *compiler) carriedOut(edits []routing.HeaderEdit, answer bool) []routing.HeaderEdit {
	return slices.DeleteFunc(edits, func(e routing.HeaderEdit) bool {
		why := e.Refused(answer)
		if why != "" {
			c.note(source.Error, "header-not-changed", e.Origin.Field, e.Name, "", why+"; it is left as it is", "")
		}
		return why != ""
	})
}

// edits are those of a filter: at most one for a name (HTTPHeaderFilter). Of
// entries with equal names in one list the first counts (HTTPHeader, name).
func (c *compiler) edits(field string, f *gatewayv1.HTTPHeaderFilter) []routing.HeaderEdit {
	if f == nil {
		return nil
	}
	var out []routing.HeaderEdit
	add := func(op routing.EditOp, list, name, v string, i int) {
		at := fmt.Sprintf("%s.%s[%d]", field, list, i)
		e := routing.HeaderEdit{Op: op, Name: strings.ToLower(name), Value: v, Origin: origin.Of(c.route.Object, at)}
		for j := range out {
			if out[j].Name != e.Name {
				continue
			}
			if out[j].Op == op {
				c.repeated(at, name)
			} else {
				c.incompatible(at, name, "", "a filter does one thing to a header; "+out[j].Origin.Field+" changes this one", "")
			}
			return
		}
		out = append(out, e)
	}
	for i, h := range f.Set {
		add(routing.Set, "set", string(h.Name), h.Value, i)
	}
	for i, h := range f.Add {
		add(routing.Add, "add", string(h.Name), h.Value, i)
	}
	for i, name := range f.Remove {
		add(routing.Remove, "remove", name, "", i)
	}
	return out
}

// rewrite is what the endpoint is asked for.
func (c *compiler) rewrite(out *routing.Rule, field string, f *gatewayv1.HTTPURLRewriteFilter) {
	if f == nil {
		return
	}
	r := &routing.Rewrite{Origin: origin.Of(c.route.Object, field), Host: string(value(f.Hostname))}
	if r.Host == "" && out.Rewrite != nil {
		r.Host = out.Rewrite.Host // set as a header
	}
	r.Path = c.modifier(field+".path", f.Path)
	out.Rewrite = r
}

// modifier is what of a path is replaced.
func (c *compiler) modifier(field string, m *gatewayv1.HTTPPathModifier) *routing.PathRewrite {
	if m == nil {
		return nil
	}
	switch m.Type {
	case gatewayv1.FullPathHTTPPathModifier:
		path := value(m.ReplaceFullPath)
		if !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		return &routing.PathRewrite{Kind: routing.ReplaceFull, Value: path}
	case gatewayv1.PrefixMatchHTTPPathModifier:
		c.onePrefix(field)
		path := value(m.ReplacePrefixMatch)
		if path != "" && !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		return &routing.PathRewrite{Kind: routing.ReplacePrefix, Value: path}
	default:
		c.unsupported(field+".type", string(m.Type), "ReplaceFullPath, ReplacePrefixMatch", "there is no such way to replace a path")
		return nil
	}
}

// onePrefix wants one match, of a prefix: only that can be replaced
// (HTTPPathModifier, replacePrefixMatch).
func (c *compiler) onePrefix(field string) {
	if len(c.spec.matches) == 1 {
		p := c.spec.matches[0].http
		if p != nil && (p.Path == nil || value(p.Path.Type) == "" || *p.Path.Type == gatewayv1.PathMatchPathPrefix) {
			return
		}
	}
	c.incompatible(field+".type", string(gatewayv1.PrefixMatchHTTPPathModifier), "",
		"a prefix is replaced only in a rule with one match, and that of a PathPrefix", "make a rule of each match")
}

// redirectStatuses are those that a redirect may have.
var redirectStatuses = []int{301, 302, 303, 307, 308}

func (c *compiler) redirect(field string, f *gatewayv1.HTTPRequestRedirectFilter) *routing.Redirect {
	if f == nil {
		return nil
	}
	o := c.route.Object
	out := &routing.Redirect{
		Origin: origin.Of(o, field), Scheme: value(f.Scheme), Host: string(value(f.Hostname)),
		Status: origin.Default[uint32](302, "Gateway API: Found"), Path: c.modifier(field+".path", f.Path),
	}
	if s := out.Scheme; s != "" && s != "http" && s != "https" {
		c.unsupported(field+".scheme", s, "http, https", "a redirect cannot lead to this scheme")
	}
	if f.StatusCode != nil {
		out.Status = origin.Said(uint32(*f.StatusCode), o, field+".statusCode")
		if !slices.Contains(redirectStatuses, *f.StatusCode) {
			c.unsupported(field+".statusCode", fmt.Sprint(*f.StatusCode), "301, 302, 303, 307, 308", "this is no status of a redirect")
		}
	}
	c.redirectPort(out, f.Port)
	return out
}

// redirectPort sets the port that is written, if any (HTTPRequestRedirectFilter,
// port): the one that is said; else, with a scheme, that of the scheme; else
// that to which the request came. Where it goes without saying it is not
// written. Requests of a mesh are plain HTTP to their callers.
func (c *compiler) redirectPort(out *routing.Redirect, said *gatewayv1.PortNumber) {
	var port uint16
	switch {
	case said != nil:
		port = uint16(*said)
	case out.Scheme != "" || c.port == nil || out.Host == "":
		return // of the scheme, or as the request has it
	default:
		port = c.port.Number
	}
	if port == 443 && out.Scheme == "https" || port == 80 && out.Scheme != "https" {
		if out.Host == "" && out.Scheme == "" {
			out.Scheme = "http" // so that the request's port is not kept
		}
		return
	}
	out.Port = port
}
