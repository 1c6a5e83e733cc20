package istio

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	networkingv1alpha3 "istio.io/api/networking/v1alpha3"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// editsOf are changes of headers: removals, then values that replace, then
// those that are added, each by name. The authority is no header here; see
// authorityOf.
func editsOf(o source.Object, at string, ops *networkingv1alpha3.Headers_HeaderOperations) []routing.HeaderEdit {
	var out []routing.HeaderEdit
	for _, name := range ops.GetRemove() {
		out = append(out, routing.HeaderEdit{Op: routing.Remove, Name: strings.ToLower(name), Origin: origin.Of(o, at+".remove")})
	}
	add := func(op routing.EditOp, values map[string]string) {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if source.IsAuthority(name) {
				continue
			}
			out = append(out, routing.HeaderEdit{
				Op: op, Name: strings.ToLower(name), Value: values[name],
				Format: strings.Contains(values[name], "%"),
				Origin: origin.Of(o, at+"."+string(op)+`["`+name+`"]`),
			})
		}
	}
	add(routing.Set, ops.GetSet())
	add(routing.Add, ops.GetAdd())
	return out
}

// edits are the changes of headers that proxies can make; the others lose.
func (q *question) edits(o source.Object, at string, h *networkingv1alpha3.Headers) (request, answer []routing.HeaderEdit) {
	return q.possible(editsOf(o, at+".request", h.GetRequest()), false), q.possible(editsOf(o, at+".response", h.GetResponse()), true)
}

func (q *question) possible(edits []routing.HeaderEdit, answer bool) []routing.HeaderEdit {
	return slices.DeleteFunc(edits, func(e routing.HeaderEdit) bool {
		why := e.Refused(answer)
		if why != "" {
			q.lose(e.Origin, "%s", why)
		}
		return why != ""
	})
}

// authorityOf is the host that edits of headers set, which Istio takes for a
// rewrite. A value that replaces comes before one that is added.
func authorityOf(h *networkingv1alpha3.Headers) string {
	for _, values := range []map[string]string{h.GetRequest().GetSet(), h.GetRequest().GetAdd()} {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if source.IsAuthority(name) {
				return values[name]
			}
		}
	}
	return ""
}

// withPath sets what depends on how the path was matched: a prefix that was
// matched is replaced, and all of a path that was matched otherwise.
func withPath(r *routing.Rule, j *joined, m *httpMatch) {
	if r.Direct != nil {
		return
	}
	if r.Redirect != nil {
		if p := j.own.Redirect.GetPrefixRewrite(); p != "" {
			d := *r.Redirect
			d.Path = &routing.PathRewrite{Kind: routing.ReplacePrefix, Value: p}
			r.Redirect = &d
		}
		return
	}
	out := routing.Rewrite{}
	if w, ok := j.from(func(h *httpRoute) bool { return h.Rewrite != nil }); ok {
		out.Origin, out.Host = w.origin(".rewrite"), w.Rewrite.GetAuthority()
		out.Path = pathRewriteOf(w.Rewrite, r, m)
	}
	if w, ok := j.from(func(h *httpRoute) bool { return authorityOf(h.Headers) != "" }); ok && out.Host == "" {
		out.Host, out.Origin = authorityOf(w.Headers), w.origin(".headers.request")
	}
	if len(j.own.Route) == 1 && out.Host == "" {
		if host := authorityOf(j.own.Route[0].GetHeaders()); host != "" {
			out.Host, out.Origin = host, j.own.origin(".route[0].headers.request")
		}
	}
	if out.Host != "" || out.Path != nil {
		r.Rewrite = &out
	}
}

// pathRewriteOf replaces characters, not segments: where no path is compared
// the prefix is "/", as it is in Envoy.
func pathRewriteOf(w *networkingv1alpha3.HTTPRewrite, r *routing.Rule, m *httpMatch) *routing.PathRewrite {
	switch x := w.GetUriRegexRewrite(); {
	case x != nil:
		return &routing.PathRewrite{Kind: routing.ReplaceRegex, Value: x.GetRewrite(), Pattern: x.GetMatch()}
	case w.GetUri() == "":
		return nil
	}
	p, ok := pathOf(m)
	switch {
	case !ok:
		r.Match.Paths = []routing.PathMatch{{Kind: routing.PathText, Value: "/"}}
	case p.Kind != routing.PathText:
		return &routing.PathRewrite{Kind: routing.ReplaceFull, Value: w.GetUri()}
	}
	return &routing.PathRewrite{Kind: routing.ReplacePrefix, Value: w.GetUri()}
}

// redirectOf is a redirect without its prefix. A port that is the scheme's own
// is not written, as in Istio.
func (q *question) redirectOf(w written) *routing.Redirect {
	d := w.Redirect
	out := &routing.Redirect{
		Origin: w.origin(".redirect"), Scheme: d.GetScheme(), Host: d.GetAuthority(),
		Status: origin.Value[uint32]{Value: http.StatusMovedPermanently, Origin: istioDefault("301")},
	}
	if d.GetUri() != "" {
		out.Path = &routing.PathRewrite{Kind: routing.ReplaceFull, Value: d.GetUri()}
	}
	if d.GetRedirectCode() != 0 {
		out.Status = origin.Said(d.GetRedirectCode(), w.object, w.at+".redirect.redirectCode")
	}
	switch p := d.GetRedirectPort().(type) {
	case *networkingv1alpha3.HTTPRedirect_Port:
		out.Port = uint16(p.Port)
	case *networkingv1alpha3.HTTPRedirect_DerivePort:
		if p.DerivePort == networkingv1alpha3.HTTPRedirect_FROM_REQUEST_PORT {
			out.Port = q.port
		}
	}
	if out.Port == 80 && out.Scheme != "https" || out.Port == 443 && out.Scheme == "https" {
		out.Port = 0
	}
	return out
}

// defaultRetryOn is after which failures Istio sends a request again where a
// rule does not say.
func defaultRetryOn() []string {
	return []string{"connect-failure", "refused-stream", "unavailable", "cancelled"}
}

// retryOf is a rule's own policy; Istio's default of two retries is not taken
// over. Whoever writes one means requests of every method, as in Istio.
func retryOf(w written) *routing.Retry {
	r, at := w.Retries, w.at+".retries"
	out := &routing.Retry{
		Origin:         w.origin(".retries"),
		Attempts:       origin.Said(uint32(max(r.GetAttempts(), 0)), w.object, at+".attempts"),
		OtherEndpoints: origin.Value[bool]{Value: true, Origin: istioDefault("another endpoint")},
	}
	if out.Attempts.Value == 0 {
		return out
	}
	out.AnyMethod = origin.Said(true, w.object, at)
	out.On = origin.Value[[]string]{Value: defaultRetryOn(), Origin: istioDefault("retryOn")}
	if r.GetRetryOn() != "" {
		on, statuses := parseRetryOn(r.GetRetryOn())
		out.On = origin.Said(on, w.object, at+".retryOn")
		if len(statuses) > 0 {
			out.Statuses = origin.Said(statuses, w.object, at+".retryOn")
		}
	}
	if d := r.GetPerTryTimeout(); d != nil {
		out.PerTry = origin.Said(d.AsDuration(), w.object, at+".perTryTimeout")
	}
	if d := r.GetBackoff(); d != nil {
		out.BackoffBase = origin.Said(d.AsDuration(), w.object, at+".backoff")
	}
	if b := r.GetRetryIgnorePreviousHosts(); b != nil {
		out.OtherEndpoints = origin.Said(b.GetValue(), w.object, at+".retryIgnorePreviousHosts")
	}
	return out
}

// parseRetryOn parts the names of failures from statuses of HTTP.
func parseRetryOn(s string) (on []string, statuses []routing.StatusRange) {
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		code, err := strconv.ParseUint(part, 10, 16)
		switch {
		case part == "":
		case err == nil:
			statuses = append(statuses, routing.StatusRange{First: uint32(code), Last: uint32(code)})
		default:
			on = append(on, part)
		}
	}
	return on, statuses
}

// faultOf is a fault with its share, which is none where nobody says one.
func faultOf(w written) *routing.Fault {
	out := &routing.Fault{}
	if d := w.Fault.GetDelay(); d.GetFixedDelay() != nil {
		out.Delay = &routing.FaultDelay{
			Origin: w.origin(".fault.delay"), Duration: d.GetFixedDelay().AsDuration(),
			Percent: float64(d.GetPercent()), //nolint:staticcheck // old files have it
		}
		if d.Percentage != nil {
			out.Delay.Percent = d.Percentage.GetValue()
		}
	}
	if a := w.Fault.GetAbort(); a.GetErrorType() != nil {
		out.Abort = &routing.FaultAbort{
			Origin: w.origin(".fault.abort"), HTTPStatus: uint32(a.GetHttpStatus()), Percent: a.GetPercentage().GetValue(),
		}
		out.Abort.GRPCStatus, _ = source.GRPCCode(a.GetGrpcStatus())
	}
	return out
}

func corsOf(w written) *routing.CORS {
	p, at := w.CorsPolicy, w.at+".corsPolicy"
	out := &routing.CORS{
		Origin: w.origin(".corsPolicy"), AllowMethods: p.GetAllowMethods(), AllowHeaders: p.GetAllowHeaders(),
		ExposeHeaders:     p.GetExposeHeaders(),
		ForwardPreflights: p.GetUnmatchedPreflights() != networkingv1alpha3.CorsPolicy_IGNORE,
	}
	for _, t := range p.GetAllowOrigins() {
		out.AllowOrigins = append(out.AllowOrigins, textOf(t))
	}
	if len(p.GetAllowOrigins()) == 0 {
		for _, o := range p.GetAllowOrigin() { //nolint:staticcheck // old files have it
			out.AllowOrigins = append(out.AllowOrigins, routing.Text{Kind: routing.Exact, Value: o})
		}
	}
	if p.GetMaxAge() != nil {
		out.MaxAge = origin.Said(p.MaxAge.AsDuration().Truncate(time.Second), w.object, at+".maxAge")
	}
	if p.GetAllowCredentials() != nil {
		out.AllowCredentials = origin.Said(p.AllowCredentials.GetValue(), w.object, at+".allowCredentials")
	}
	return out
}
