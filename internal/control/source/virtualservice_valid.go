package source

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"google.golang.org/protobuf/types/known/durationpb"
	networkingv1 "istio.io/api/networking/v1"
	networkingv1alpha3 "istio.io/api/networking/v1alpha3"
	"k8s.io/apimachinery/pkg/util/validation"
)

// MeshGateway is the gateway that stands for all callers inside of the mesh.
const MeshGateway = "mesh"

// Validate refuses what Istio refuses, except where a value has a plain
// meaning all the same: a timeout of 0s is none, and durations need not be
// whole milliseconds. All errors are told, each with its field.
func (v *IstioVirtualService) Validate() error {
	c := &virtualServiceCheck{}
	s := v.Spec
	if s == nil {
		c.add("no-spec", "spec", "", "hosts and rules", "a VirtualService without a spec says nothing")
		return c.err()
	}
	c.delegate = len(s.Hosts) == 0
	c.hosts(s)
	if len(s.Http)+len(s.Tcp)+len(s.Tls) == 0 {
		c.add("no-rules", "spec", "", "http, tcp or tls", "a VirtualService needs a rule")
	}
	for i, r := range s.Http {
		c.http(r, fmt.Sprintf("spec.http[%d]", i))
	}
	for i, r := range s.Tcp {
		at := fmt.Sprintf("spec.tcp[%d]", i)
		for j, m := range r.GetMatch() {
			c.port(m.GetPort(), fmt.Sprintf("%s.match[%d].port", at, j))
		}
		c.l4(r.GetRoute(), at)
	}
	for i, r := range s.Tls {
		at := fmt.Sprintf("spec.tls[%d]", i)
		if len(r.GetMatch()) == 0 {
			c.add("missing-field", at+".match", "", "a list with sniHosts", "a rule for TLS needs names that it is for")
		}
		for j, m := range r.GetMatch() {
			if len(m.GetSniHosts()) == 0 {
				c.add("missing-field", fmt.Sprintf("%s.match[%d].sniHosts", at, j), "", "a list of names", "a match for TLS needs names")
			}
			c.port(m.GetPort(), fmt.Sprintf("%s.match[%d].port", at, j))
		}
		c.l4(r.GetRoute(), at)
	}
	return c.err()
}

// virtualServiceCheck looks at one VirtualService.
type virtualServiceCheck struct {
	refusals
	delegate bool
}

func (c *virtualServiceCheck) hosts(s *networkingv1.VirtualService) {
	if c.delegate {
		if len(s.Gateways) > 0 {
			c.add("delegate-with-gateways", "spec.gateways", strings.Join(s.Gateways, ","), "",
				"without hosts this is a delegate, which is used wherever the one is that names it, and has no gateways")
		}
		if len(s.Tcp)+len(s.Tls) > 0 {
			c.add("delegate-with-tcp", "spec", "", "http", "without hosts this is a delegate, which has http rules only")
		}
		return
	}
	mesh := len(s.Gateways) == 0 || slices.Contains(s.Gateways, MeshGateway)
	for i, h := range s.Hosts {
		at := fmt.Sprintf("spec.hosts[%d]", i)
		switch {
		case h == "*" && mesh:
			c.add("bad-host", at, h, "names of Services, or patterns such as *.shop.svc.cluster.local", "a VirtualService for callers inside of the mesh cannot be for every host")
		case !goodHost(h):
			c.add("bad-host", at, h, "a name, a full host name, a pattern that begins with *, or an address", "no request has this host")
		}
	}
}

// hostPattern is a host name, whose first label may begin with a star.
//
//nolint:gochecknoglobals // compiled once
var hostPattern = regexp.MustCompile(`^(\*|\*?[A-Za-z0-9-]+)(\.[A-Za-z0-9_-]+)*\.?$`)

func goodHost(h string) bool {
	return len(h) <= 255 && (hostPattern.MatchString(h) || validation.IsValidIP(nil, h) == nil)
}

// http looks at one rule.
func (c *virtualServiceCheck) http(r *networkingv1alpha3.HTTPRoute, at string) {
	if r == nil {
		c.add("no-action", at, "", "", "an empty rule")
		return
	}
	c.action(r, at)
	for i, m := range r.Match {
		c.match(m, fmt.Sprintf("%s.match[%d]", at, i))
	}
	c.headers(r.Headers, at+".headers", r.Rewrite.GetAuthority() != "")
	c.destinations(r.Route, at)
	c.mirrors(r, at)
	c.redirect(r.Redirect, at+".redirect", prefixOnly(r.Match))
	c.direct(r.DirectResponse, at+".directResponse")
	c.rewrite(r.Rewrite, at+".rewrite")
	c.retries(r.Retries, at+".retries")
	c.fault(r.Fault, at+".fault")
	c.cors(r.CorsPolicy, at+".corsPolicy")
	c.duration(r.Timeout, 0, at+".timeout")
	if d := r.Delegate; d != nil && d.Name == "" {
		c.add("missing-field", at+".delegate.name", "", "the name of a VirtualService without hosts", "a delegate is found by its name")
	}
}

// action looks for rules that do two things, or none.
func (c *virtualServiceCheck) action(r *networkingv1alpha3.HTTPRoute, at string) {
	parts := []struct {
		name string
		set  bool
	}{
		{"route", len(r.Route) > 0},
		{"redirect", r.Redirect != nil},
		{"directResponse", r.DirectResponse != nil},
		{"delegate", r.Delegate != nil},
	}
	first := ""
	for _, p := range parts {
		switch {
		case !p.set:
		case first == "":
			first = p.name
		default:
			c.add("two-actions", at+"."+p.name, "", "one of route, redirect, directResponse, delegate",
				"the rule has "+first+" too, and a request gets one answer")
		}
	}
	switch {
	case first == "":
		c.add("no-action", at, "", "route, redirect, directResponse or delegate", "the rule says nothing of where its requests go")
	case r.Delegate != nil && c.delegate:
		c.add("nested-delegate", at+".delegate", r.Delegate.Name, "route, redirect or directResponse", "a delegate cannot delegate further")
	}
	if r.Redirect == nil && r.DirectResponse == nil {
		return
	}
	for _, p := range []struct {
		name string
		set  bool
	}{{"fault", r.Fault != nil}, {"rewrite", r.Rewrite != nil}} {
		if p.set {
			c.add("two-actions", at+"."+p.name, "", "", "this is for requests that go on, and those of this rule are answered by its "+first)
		}
	}
}

func (c *virtualServiceCheck) match(m *networkingv1alpha3.HTTPMatchRequest, at string) {
	if m == nil {
		return
	}
	for _, t := range []struct {
		name string
		text *networkingv1alpha3.StringMatch
	}{{"uri", m.Uri}, {"scheme", m.Scheme}, {"method", m.Method}, {"authority", m.Authority}} {
		if t.text != nil && t.text.MatchType == nil {
			c.add("empty-match", at+"."+t.name, "", "exact, prefix or regex", "this says nothing, and every request would match")
		}
	}
	c.text(m.Uri, at+".uri", true)
	c.text(m.Scheme, at+".scheme", false)
	c.text(m.Method, at+".method", false)
	c.text(m.Authority, at+".authority", false)
	for _, group := range []struct {
		name   string
		values map[string]*networkingv1alpha3.StringMatch
	}{{"headers", m.Headers}, {"withoutHeaders", m.WithoutHeaders}, {"queryParams", m.QueryParams}} {
		for _, k := range slices.Sorted(maps.Keys(group.values)) {
			field := at + "." + group.name + `["` + k + `"]`
			if group.name != "queryParams" && !strings.HasPrefix(k, "@request.auth.claims") {
				c.headerName(k, field)
			}
			if t := group.values[k]; t.GetRegex() != "*" { // which stands for any value
				c.text(t, field, false)
			}
		}
	}
	c.port(m.Port, at+".port")
	if ns := m.SourceNamespace; ns != "" && len(validation.IsDNS1123Label(ns)) > 0 {
		c.add("bad-name", at+".sourceNamespace", ns, allowedLabel, "there can be no such namespace")
	}
}

// text looks at a comparison. An empty prefix is all there is to a path, and an
// error elsewhere, as in Envoy.
func (c *virtualServiceCheck) text(t *networkingv1alpha3.StringMatch, at string, path bool) {
	switch m := t.GetMatchType().(type) {
	case *networkingv1alpha3.StringMatch_Prefix:
		if m.Prefix == "" && !path {
			c.add("empty-match", at+".prefix", "", "some characters", "every value begins with nothing; {} asks whether there is one")
		}
	case *networkingv1alpha3.StringMatch_Regex:
		c.regex(m.Regex, at+".regex")
	}
}

func (c *virtualServiceCheck) regex(r, at string) {
	if r == "" {
		c.add("bad-regex", at, "", "a regular expression (RE2)", "an empty one matches nothing but an empty value")
		return
	}
	if _, err := regexp.Compile(r); err != nil {
		c.add("bad-regex", at, r, "a regular expression (RE2)", err.Error())
	}
}

func (c *virtualServiceCheck) port(n uint32, at string) {
	if n > math.MaxUint16 {
		c.add("bad-port", at, strconv.Itoa(int(n)), "1 to 65535", "there is no such port")
	}
}

func (c *virtualServiceCheck) headerName(name, at string) {
	if !httpguts.ValidHeaderFieldName(name) {
		c.add("bad-header", at, name, "letters, digits and -_", "no header has this name")
	}
}

// duration has a least value; zero is allowed where least is.
func (c *virtualServiceCheck) duration(d *durationpb.Duration, least time.Duration, at string) {
	if d == nil {
		return
	}
	if v := d.AsDuration(); v < least || d.CheckValid() != nil {
		allowed := "at least " + least.String()
		if least == 0 {
			allowed = "0s, which is none, or more"
		}
		c.add("bad-duration", at, v.String(), allowed, "this is no time to wait")
	}
}

func (c *virtualServiceCheck) percent(p *networkingv1alpha3.Percent, at string) {
	if v := p.GetValue(); !(v >= 0 && v <= 100) {
		c.add("bad-percentage", at+".value", strconv.FormatFloat(v, 'g', -1, 64), "0 to 100", "this is no share of the requests")
	}
}
