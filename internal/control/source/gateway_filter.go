package source

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

var (
	corsOrigin  = regexp.MustCompile(`(^\*$)|(^(http(s)?):\/\/(((\*\.)?([a-zA-Z0-9\-]+\.)*[a-zA-Z0-9-]+|\*)(:([0-9]{1,5}))?)$)`)
	corsMethods = []gatewayv1.HTTPMethodWithWildcard{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"}
)

// filterPart is the part of a filter that goes with a type.
type filterPart struct {
	name  string
	typ   string
	there bool
}

// commonFilter is what filters of HTTPRoutes and of GRPCRoutes have; the types
// have the same names.
type commonFilter struct {
	typ               string
	request, response *gatewayv1.HTTPHeaderFilter
	mirror            *gatewayv1.HTTPRequestMirrorFilter
	extension         *gatewayv1.LocalObjectReference
}

// filter checks the common part of a filter; more are the parts that it may have
// beside. once is for the list that it is in.
func (c *gatewayCheck) filter(field string, f commonFilter, once map[string]string, more ...filterPart) {
	c.union(field, f.typ, once, append([]filterPart{
		{"requestHeaderModifier", string(gatewayv1.HTTPRouteFilterRequestHeaderModifier), f.request != nil},
		{"responseHeaderModifier", string(gatewayv1.HTTPRouteFilterResponseHeaderModifier), f.response != nil},
		{"requestMirror", string(gatewayv1.HTTPRouteFilterRequestMirror), f.mirror != nil},
		{"extensionRef", string(gatewayv1.HTTPRouteFilterExtensionRef), f.extension != nil},
	}, more...))
	c.headerFilter(field+".requestHeaderModifier", f.request)
	c.headerFilter(field+".responseHeaderModifier", f.response)
	c.mirror(field+".requestMirror", f.mirror)
}

// httpFilters checks a list of filters, of a rule or of a backend.
func (c *gatewayCheck) httpFilters(field string, list []gatewayv1.HTTPRouteFilter) {
	c.most(field, len(list), 16)
	once := map[string]string{}
	for i := range list {
		f := &list[i]
		sub := fmt.Sprintf("%s[%d]", field, i)
		common := commonFilter{string(f.Type), f.RequestHeaderModifier, f.ResponseHeaderModifier, f.RequestMirror, f.ExtensionRef}
		c.filter(
			sub, common, once,
			filterPart{"requestRedirect", string(gatewayv1.HTTPRouteFilterRequestRedirect), f.RequestRedirect != nil},
			filterPart{"urlRewrite", string(gatewayv1.HTTPRouteFilterURLRewrite), f.URLRewrite != nil},
			filterPart{"cors", string(gatewayv1.HTTPRouteFilterCORS), f.CORS != nil},
			filterPart{"externalAuth", string(gatewayv1.HTTPRouteFilterExternalAuth), f.ExternalAuth != nil},
		)
		c.cors(sub+".cors", f.CORS)
		if r := f.RequestRedirect; r != nil {
			c.hostname(sub+".requestRedirect.hostname", r.Hostname)
			c.port(sub+".requestRedirect.port", r.Port)
			c.pathModifier(sub+".requestRedirect.path", r.Path)
		}
		if r := f.URLRewrite; r != nil {
			c.hostname(sub+".urlRewrite.hostname", r.Hostname)
			c.pathModifier(sub+".urlRewrite.path", r.Path)
		}
	}
}

func (c *gatewayCheck) grpcFilters(field string, list []gatewayv1.GRPCRouteFilter) {
	c.most(field, len(list), 16)
	once := map[string]string{}
	for i := range list {
		f := &list[i]
		common := commonFilter{string(f.Type), f.RequestHeaderModifier, f.ResponseHeaderModifier, f.RequestMirror, f.ExtensionRef}
		c.filter(fmt.Sprintf("%s[%d]", field, i), common, once)
	}
}

// union checks that a filter has the part that its type names and no other, and
// that the list has it once where more make no sense.
func (c *gatewayCheck) union(field, typ string, once map[string]string, parts []filterPart) {
	known := false
	for _, p := range parts {
		known = known || p.typ == typ
		switch {
		case p.there && p.typ != typ:
			c.add(field+"."+p.name, nil, fmt.Sprintf("only in a filter of type %s; this one is of type %s", p.typ, typ))
		case !p.there && p.typ == typ:
			c.add(field+"."+p.name, nil, "a filter of type "+typ+" needs it")
		}
	}
	if typ == "" {
		c.add(field+".type", nil, "the type of the filter")
	}
	repeatable := typ == string(gatewayv1.HTTPRouteFilterRequestMirror) || typ == string(gatewayv1.HTTPRouteFilterExtensionRef)
	if !known || repeatable {
		return
	}
	if first, ok := once[typ]; ok {
		c.add(field+".type", typ, "one filter of this type; "+first+" is one")
		return
	}
	once[typ] = field
}

func (c *gatewayCheck) headerFilter(field string, f *gatewayv1.HTTPHeaderFilter) {
	if f == nil {
		return
	}
	for _, list := range []struct {
		name    string
		headers []gatewayv1.HTTPHeader
	}{{"set", f.Set}, {"add", f.Add}} {
		c.most(field+"."+list.name, len(list.headers), 16)
		seen := names{}
		for i, h := range list.headers {
			sub := fmt.Sprintf("%s.%s[%d]", field, list.name, i)
			seen.check(c, sub+".name", string(h.Name))
			c.value(sub+".value", h.Value, 4096)
			// To set the host is to rewrite it.
			if strings.EqualFold(string(h.Name), "host") && strings.HasSuffix(field, ".requestHeaderModifier") && !authority(h.Value) {
				c.add(sub+".value", h.Value, authorityAllowed)
			}
		}
	}
	c.most(field+".remove", len(f.Remove), 16)
	seen := names{}
	for i, name := range f.Remove {
		seen.check(c, fmt.Sprintf("%s.remove[%d]", field, i), name)
	}
}

func (c *gatewayCheck) hostname(field string, h *gatewayv1.PreciseHostname) {
	if h != nil {
		c.text(field, string(*h), 253, gatewayPrecise, preciseAllowed)
	}
}

func (c *gatewayCheck) pathModifier(field string, m *gatewayv1.HTTPPathModifier) {
	if m == nil {
		return
	}
	for _, p := range []struct {
		name  string
		typ   gatewayv1.HTTPPathModifierType
		value *string
	}{
		{"replaceFullPath", gatewayv1.FullPathHTTPPathModifier, m.ReplaceFullPath},
		{"replacePrefixMatch", gatewayv1.PrefixMatchHTTPPathModifier, m.ReplacePrefixMatch},
	} {
		switch {
		case p.value == nil && p.typ == m.Type:
			c.add(field+"."+p.name, nil, "the type "+string(m.Type)+" needs it")
		case p.value != nil && p.typ != m.Type:
			c.add(field+"."+p.name, *p.value, fmt.Sprintf("only with type %s; this one is %s", p.typ, m.Type))
		case p.value != nil && len(*p.value) > 1024:
			c.add(field+"."+p.name, brieflyText(*p.value), "at most 1024 characters")
		case p.value != nil:
			c.modifierPath(field+"."+p.name, *p.value)
		}
	}
}

// modifierPath refuses what could end the request line that it is written on, or
// is no path there. Kubernetes would let it pass.
func (c *gatewayCheck) modifierPath(field, v string) {
	if !writable(v) {
		c.add(field, v, targetAllowed)
	}
}

func (c *gatewayCheck) mirror(field string, m *gatewayv1.HTTPRequestMirrorFilter) {
	if m == nil {
		return
	}
	c.object(field+".backendRef", &m.BackendRef)
	if m.Percent != nil && (*m.Percent < 0 || *m.Percent > 100) {
		c.add(field+".percent", *m.Percent, "0 to 100")
	}
	f := m.Fraction
	if f == nil {
		return
	}
	if m.Percent != nil {
		c.add(field+".fraction", nil, "either percent or fraction")
	}
	denominator := int32(100)
	if f.Denominator != nil {
		denominator = *f.Denominator
	}
	switch {
	case f.Numerator < 0:
		c.add(field+".fraction.numerator", f.Numerator, "0 or more")
	case denominator < 1:
		c.add(field+".fraction.denominator", denominator, "1 or more")
	case f.Numerator > denominator:
		c.add(field+".fraction.numerator", f.Numerator, fmt.Sprintf("at most the denominator, which is %d", denominator))
	}
}

func (c *gatewayCheck) cors(field string, f *gatewayv1.HTTPCORSFilter) {
	if f == nil {
		return
	}
	corsList(c, field+".allowOrigins", f.AllowOrigins, 64, func(o gatewayv1.CORSOrigin) bool {
		return len(o) <= 253 && corsOrigin.MatchString(string(o))
	}, `"*", or a scheme and a host such as https://*.example.com:8443`)
	corsList(c, field+".allowMethods", f.AllowMethods, 9, func(m gatewayv1.HTTPMethodWithWildcard) bool {
		return slices.Contains(corsMethods, m)
	}, "GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH or *")
	header := func(h gatewayv1.HTTPHeaderName) bool { return len(h) <= 256 && headerToken.MatchString(string(h)) }
	corsList(c, field+".allowHeaders", f.AllowHeaders, 64, header, "the name of a header, or *")
	corsList(c, field+".exposeHeaders", f.ExposeHeaders, 64, header, "the name of a header, or *")
	corsAlone(c, field+".allowOrigins", f.AllowOrigins)
	corsAlone(c, field+".allowMethods", f.AllowMethods)
	corsAlone(c, field+".allowHeaders", f.AllowHeaders)
	if f.MaxAge < 0 {
		c.add(field+".maxAge", f.MaxAge, "1 or more seconds")
	}
}

// corsAlone checks that * stands alone, where it does not go with others.
func corsAlone[T ~string](c *gatewayCheck, field string, list []T) {
	if i := slices.Index(list, "*"); i >= 0 && len(list) > 1 {
		c.add(fmt.Sprintf("%s[%d]", field, i), "*", "* alone, since it allows all")
	}
}

// corsList checks the values of a list.
func corsList[T ~string](c *gatewayCheck, field string, list []T, most int, ok func(T) bool, allowed string) {
	c.most(field, len(list), most)
	for i, v := range list {
		sub := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case !ok(v):
			c.add(sub, v, allowed)
		case slices.Contains(list[:i], v):
			c.add(sub, v, "each value once")
		}
	}
}
