package source

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	networkingv1alpha3 "istio.io/api/networking/v1alpha3"
	"k8s.io/apimachinery/pkg/util/validation"
)

// What a direct response may hold: Envoy keeps it in memory for each route.
const maxDirectBody = 1 << 20

// RetryConditions are what Envoy calls the failures after which a request may
// be sent again. Statuses of HTTP may stand beside them.
func RetryConditions() []string {
	return []string{
		"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited",
		"retriable-4xx", "refused-stream", "retriable-status-codes", "retriable-headers", "http3-post-connect-failure",
		"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
	}
}

// grpcNames are the statuses of gRPC by their numbers.
func grpcNames() []string {
	return []string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
		"UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
	}
}

// GRPCCode is the number of a status of gRPC by the name that its specification
// gives it ("UNAVAILABLE").
func GRPCCode(name string) (uint32, bool) {
	i := slices.Index(grpcNames(), name)
	return uint32(max(i, 0)), i >= 0
}

// GRPCName is the name of a status of gRPC by its number: UNKNOWN, as clients
// take it, where there is none.
func GRPCName(code uint32) string {
	names := grpcNames()
	if int(code) >= len(names) {
		return names[2]
	}
	return names[code]
}

func (c *virtualServiceCheck) headers(h *networkingv1alpha3.Headers, at string, rewritten bool) {
	for _, group := range []struct {
		name string
		ops  *networkingv1alpha3.Headers_HeaderOperations
	}{{"request", h.GetRequest()}, {"response", h.GetResponse()}} {
		for _, edits := range []struct {
			name   string
			values map[string]string
		}{{"set", group.ops.GetSet()}, {"add", group.ops.GetAdd()}} {
			for _, k := range slices.Sorted(maps.Keys(edits.values)) {
				field := at + "." + group.name + "." + edits.name + `["` + k + `"]`
				if IsAuthority(k) && group.name == "request" {
					if rewritten {
						c.add("two-authorities", field, edits.values[k], "", "the authority is set in two places")
					}
					rewritten = true
					c.authority(edits.values[k], field)
				} else {
					c.headerName(k, field)
				}
				if !httpguts.ValidHeaderFieldValue(edits.values[k]) {
					c.add("bad-header", field, edits.values[k], "visible characters and spaces", "a header cannot have this value")
				}
			}
		}
		for i, k := range group.ops.GetRemove() {
			c.headerName(k, fmt.Sprintf("%s.%s.remove[%d]", at, group.name, i))
		}
	}
}

// IsAuthority says whether a header is the one that names the host asked for.
func IsAuthority(name string) bool {
	return strings.EqualFold(name, "host") || strings.EqualFold(name, ":authority")
}

func (c *virtualServiceCheck) destinations(list []*networkingv1alpha3.HTTPRouteDestination, at string) {
	var total int64
	for i, d := range list {
		field := fmt.Sprintf("%s.route[%d]", at, i)
		c.destination(d.GetDestination(), field+".destination")
		c.headers(d.GetHeaders(), field+".headers", false)
		total += c.weight(d.GetWeight(), field)
	}
	c.total(total, len(list), at)
}

// l4 looks at where bytes go.
func (c *virtualServiceCheck) l4(list []*networkingv1alpha3.RouteDestination, at string) {
	if len(list) == 0 {
		c.add("no-action", at, "", "route", "the rule says nothing of where its connections go")
	}
	var total int64
	for i, d := range list {
		field := fmt.Sprintf("%s.route[%d]", at, i)
		c.destination(d.GetDestination(), field+".destination")
		total += c.weight(d.GetWeight(), field)
	}
	c.total(total, len(list), at)
}

func (c *virtualServiceCheck) weight(w int32, at string) int64 {
	if w < 0 {
		c.add("bad-weight", at+".weight", strconv.Itoa(int(w)), "0 or more", "this is no share of the requests")
	}
	return int64(max(w, 0))
}

func (c *virtualServiceCheck) total(total int64, n int, at string) {
	if n > 1 && total == 0 {
		c.add("zero-weights", at+".route", "0", "a weight above 0 for one of them", "the weights of the destinations sum to 0, so that no request could go anywhere")
	}
}

func (c *virtualServiceCheck) destination(d *networkingv1alpha3.Destination, at string) {
	switch {
	case d == nil:
		c.add("missing-field", at, "", "a host", "there is nobody to send to")
		return
	case d.Host == "" || strings.Contains(d.Host, "*") || !goodHost(d.Host):
		c.add("bad-host", at+".host", d.Host, "the name of a Service, or its full host name", "no service can have this host")
	}
	if d.Subset != "" && len(validation.IsDNS1123Label(d.Subset)) > 0 {
		c.add("bad-name", at+".subset", d.Subset, allowedLabel, "no DestinationRule can have this subset")
	}
	if d.Port != nil && (d.Port.Number == 0 || d.Port.Number > 65535) {
		c.add("bad-port", at+".port.number", strconv.Itoa(int(d.Port.Number)), "1 to 65535", "there is no such port")
	}
}

func (c *virtualServiceCheck) mirrors(r *networkingv1alpha3.HTTPRoute, at string) {
	if r.Mirror != nil {
		c.destination(r.Mirror, at+".mirror")
		if len(r.Mirrors) > 0 {
			c.add("two-mirrors", at+".mirrors", "", "mirror or mirrors", "both are written, and it is not clear who gets the copies")
		}
	}
	c.percent(r.MirrorPercentage, at+".mirrorPercentage")
	if p := r.GetMirrorPercent(); p.GetValue() > 100 { //nolint:staticcheck // old files have it
		c.add("bad-percentage", at+".mirrorPercent", strconv.Itoa(int(p.GetValue())), "0 to 100", "this is no share of the requests")
	}
	for i, m := range r.Mirrors {
		field := fmt.Sprintf("%s.mirrors[%d]", at, i)
		c.destination(m.GetDestination(), field+".destination")
		c.percent(m.GetPercentage(), field+".percentage")
	}
}

// prefixOnly says whether every match is of a prefix of the path.
func prefixOnly(matches []*networkingv1alpha3.HTTPMatchRequest) bool {
	for _, m := range matches {
		if _, ok := m.GetUri().GetMatchType().(*networkingv1alpha3.StringMatch_Prefix); !ok {
			return false
		}
	}
	return len(matches) > 0
}

func (c *virtualServiceCheck) redirect(r *networkingv1alpha3.HTTPRedirect, at string, prefix bool) {
	if r == nil {
		return
	}
	if r.Uri == "" && r.Authority == "" && r.Scheme == "" && r.PrefixRewrite == "" && r.RedirectPort == nil && r.RedirectCode == 0 {
		c.add("missing-field", at, "", "uri, authority, scheme, port, prefixRewrite or redirectCode", "it leads back to where the request came from")
	}
	if !slices.Contains([]uint32{0, 301, 302, 303, 307, 308}, r.RedirectCode) {
		c.add("bad-status", at+".redirectCode", strconv.Itoa(int(r.RedirectCode)), "301, 302, 303, 307, 308", "this status does not lead elsewhere")
	}
	if r.Scheme != "" && r.Scheme != "http" && r.Scheme != "https" {
		c.add("wrong-value", at+".scheme", r.Scheme, "http, https", "a browser cannot follow it")
	}
	if p, ok := r.RedirectPort.(*networkingv1alpha3.HTTPRedirect_Port); ok && (p.Port == 0 || p.Port > 65535) {
		c.add("bad-port", at+".port", strconv.Itoa(int(p.Port)), "1 to 65535", "there is no such port")
	}
	if r.PrefixRewrite != "" {
		if r.Uri != "" {
			c.add("two-actions", at+".prefixRewrite", r.PrefixRewrite, "uri or prefixRewrite", "the path is replaced in two ways")
		}
		if !prefix {
			c.add("no-prefix", at+".prefixRewrite", r.PrefixRewrite, "a rule whose matches all have uri.prefix", "there is no prefix that could be replaced")
		}
	}
	c.path(r.Uri, at+".uri")
	c.authority(r.Authority, at+".authority")
	c.path(r.PrefixRewrite, at+".prefixRewrite")
}

// path can be that of a request.
func (c *virtualServiceCheck) path(s, at string) {
	if !writable(s) {
		c.add("wrong-value", at, s, targetAllowed, "it becomes part of a request line, where this cannot stand")
	}
}

// authority can be that of a request.
func (c *virtualServiceCheck) authority(s, at string) {
	if s != "" && !authority(s) {
		c.add("wrong-value", at, s, authorityAllowed, "this is no host")
	}
}

// value can be part of a header or of a request line.
func (c *virtualServiceCheck) value(s, at string) {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		c.add("bad-header", at, s, "visible characters", "it becomes part of a head, where this cannot stand")
	}
}

func (c *virtualServiceCheck) direct(d *networkingv1alpha3.HTTPDirectResponse, at string) {
	if d == nil {
		return
	}
	if d.Status < 200 || d.Status > 599 {
		c.add("bad-status", at+".status", strconv.Itoa(int(d.Status)), "200 to 599", "this is no final status")
	}
	if n := max(len(d.Body.GetString_()), len(d.Body.GetBytes())); n > maxDirectBody {
		c.add("too-large", at+".body", strconv.Itoa(n)+" bytes", strconv.Itoa(maxDirectBody)+" bytes", "each proxy keeps it in memory")
	}
}

func (c *virtualServiceCheck) rewrite(r *networkingv1alpha3.HTTPRewrite, at string) {
	if r == nil {
		return
	}
	x := r.UriRegexRewrite
	if r.Uri == "" && r.Authority == "" && x == nil {
		c.add("missing-field", at, "", "uri, authority or uriRegexRewrite", "it changes nothing")
	}
	c.path(r.Uri, at+".uri")
	c.authority(r.Authority, at+".authority")
	if x == nil {
		return
	}
	if r.Uri != "" {
		c.add("two-actions", at+".uriRegexRewrite", x.Match, "uri or uriRegexRewrite", "the path is replaced in two ways")
	}
	c.regex(x.Match, at+".uriRegexRewrite.match")
	c.value(x.Rewrite, at+".uriRegexRewrite.rewrite")
	if re, err := regexp.Compile(x.Match); err == nil {
		c.groups(x.Rewrite, re.NumSubexp(), at+".uriRegexRewrite.rewrite")
	}
}

// groups looks at the backslashes of a substitution: \0 to \9 stand for groups
// of the pattern, \\ for itself (RE2's Rewrite).
func (c *virtualServiceCheck) groups(s string, has int, at string) {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		i++
		if i < len(s) && s[i] == '\\' || i < len(s) && s[i] >= '0' && int(s[i]-'0') <= has && s[i] <= '9' {
			continue
		}
		c.add("bad-regex", at, s, fmt.Sprintf(`\0 to \%d, and \\`, min(has, 9)), "a backslash must name a group of the pattern")
		return
	}
}

func (c *virtualServiceCheck) retries(r *networkingv1alpha3.HTTPRetry, at string) {
	if r == nil {
		return
	}
	switch {
	case r.Attempts < 0:
		c.add("bad-number", at+".attempts", strconv.Itoa(int(r.Attempts)), "0 or more", "this is no number of retries")
	case r.Attempts == 0 && (r.PerTryTimeout != nil || r.RetryOn != "" || r.RetryRemoteLocalities != nil || r.Backoff != nil):
		c.add("retries-off", at+".attempts", "0", "1 or more, or no other field beside it", "0 attempts switch retries off, so what else is said of them has no effect")
	}
	c.duration(r.PerTryTimeout, time.Millisecond, at+".perTryTimeout")
	c.duration(r.Backoff, time.Millisecond, at+".backoff")
	for on := range strings.SplitSeq(r.RetryOn, ",") {
		on = strings.TrimSpace(on)
		if code, err := strconv.Atoi(on); on == "" || err == nil && http.StatusText(code) != "" || slices.Contains(RetryConditions(), on) {
			continue
		}
		c.add("bad-retry-on", at+".retryOn", on, strings.Join(RetryConditions(), ", ")+", and statuses of HTTP", "there is no such failure")
	}
}

func (c *virtualServiceCheck) fault(f *networkingv1alpha3.HTTPFaultInjection, at string) {
	if f == nil {
		return
	}
	if f.Delay == nil && f.Abort == nil {
		c.add("missing-field", at, "", "delay or abort", "a fault without either does nothing")
	}
	if d := f.Delay; d != nil {
		c.percent(d.Percentage, at+".delay.percentage")
		if p := d.GetPercent(); p < 0 || p > 100 { //nolint:staticcheck // old files have it
			c.add("bad-percentage", at+".delay.percent", strconv.Itoa(int(p)), "0 to 100", "this is no share of the requests")
		}
		if _, ok := d.HttpDelayType.(*networkingv1alpha3.HTTPFaultInjection_Delay_FixedDelay); !ok {
			c.add("missing-field", at+".delay.fixedDelay", "", "a duration", "only delays of a fixed length are known, here as in Istio")
		}
		c.duration(d.GetFixedDelay(), time.Millisecond, at+".delay.fixedDelay")
	}
	c.abort(f.Abort, at+".abort")
}

func (c *virtualServiceCheck) abort(a *networkingv1alpha3.HTTPFaultInjection_Abort, at string) {
	if a == nil {
		return
	}
	c.percent(a.Percentage, at+".percentage")
	switch e := a.ErrorType.(type) {
	case *networkingv1alpha3.HTTPFaultInjection_Abort_HttpStatus:
		if e.HttpStatus < 200 || e.HttpStatus > 599 {
			c.add("bad-status", at+".httpStatus", strconv.Itoa(int(e.HttpStatus)), "200 to 599", "this is no final status")
		}
	case *networkingv1alpha3.HTTPFaultInjection_Abort_GrpcStatus:
		if _, ok := GRPCCode(e.GrpcStatus); !ok {
			c.add("bad-status", at+".grpcStatus", e.GrpcStatus, "a name such as UNAVAILABLE", "there is no such status of gRPC")
		}
	default:
		c.add("missing-field", at, "", "httpStatus or grpcStatus", "an answer needs a status")
	}
}

func (c *virtualServiceCheck) cors(p *networkingv1alpha3.CorsPolicy, at string) {
	if p == nil {
		return
	}
	for i, o := range p.AllowOrigins {
		c.text(o, fmt.Sprintf("%s.allowOrigins[%d]", at, i), false)
	}
	for _, list := range []struct {
		name   string
		values []string
	}{{"allowMethods", p.AllowMethods}, {"allowHeaders", p.AllowHeaders}, {"exposeHeaders", p.ExposeHeaders}} {
		for i, v := range list.values {
			if !httpguts.ValidHeaderFieldName(v) {
				c.add("bad-header", fmt.Sprintf("%s.%s[%d]", at, list.name, i), v, "a name", "it becomes part of a list of names")
			}
		}
	}
	c.duration(p.MaxAge, 0, at+".maxAge")
	if p.MaxAge != nil && p.MaxAge.Nanos != 0 {
		c.add("bad-duration", at+".maxAge", p.MaxAge.AsDuration().String(), "whole seconds", "browsers count this in seconds")
	}
}
