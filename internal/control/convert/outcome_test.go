package convert

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/reclosermesh/recloser/internal/control/routing"
)

// request is what rules are tried on.
type request struct {
	path    string
	headers map[string]string // pseudo-headers too
	query   map[string]string
}

func randomRequest(r *rand.Rand) request {
	m := &maker{Rand: r}
	q := request{
		path:    pick(m, "/", "/a", "/a/", "/ab", "/a/b", "/a/b/c", "/A/x", "/b/c", "/new"),
		headers: map[string]string{":method": pick(m, "GET", "POST", "PUT"), ":authority": pick(m, "a.one", "b"), ":scheme": "http"},
		query:   map[string]string{},
	}
	if m.chance(50) {
		q.headers["x-k"] = pick(m, "v", "vv", "w", "", "vx")
	}
	if m.chance(50) {
		q.query["q"] = pick(m, "1", "12", "")
	}
	return q
}

func (q *request) matches(m *routing.Match) bool {
	for _, p := range m.Paths {
		if comparePath(p, q.path) == p.Invert {
			return false
		}
	}
	for _, h := range m.Headers {
		v, ok := q.headers[h.Name]
		if (ok && compareText(h.Text, v)) == h.Invert {
			return false
		}
	}
	for _, p := range m.Query {
		if v, ok := q.query[p.Name]; !ok || !compareText(p.Text, v) {
			return false
		}
	}
	return true
}

func comparePath(p routing.PathMatch, path string) bool {
	v := p.Value
	if p.IgnoreCase && p.Kind != routing.PathRegex {
		v, path = strings.ToLower(v), strings.ToLower(path)
	}
	switch p.Kind {
	case routing.PathExact:
		return path == v
	case routing.PathText:
		return strings.HasPrefix(path, v)
	case routing.PathRegex:
		return whole(v).MatchString(path)
	default:
		v = strings.TrimRight(v, "/")
		return path == v || strings.HasPrefix(path, v+"/")
	}
}

func compareText(t routing.Text, s string) bool {
	return whole(textRegex(t)).MatchString(s)
}

// compiled keeps regular expressions, which the tests compare thousands of
// times.
var compiled sync.Map

func whole(pattern string) *regexp.Regexp {
	if r, ok := compiled.Load(pattern); ok {
		return r.(*regexp.Regexp)
	}
	r := regexp.MustCompile("^(?:" + pattern + ")$")
	compiled.Store(pattern, r)
	return r
}

// outcome is what becomes of a request: names of settings to what they come to.
type outcome map[string]string

func outcomeOf(rules []routing.Rule, q *request) (outcome, int) {
	for i := range rules {
		if q.matches(&rules[i].Match) {
			return treated(&rules[i], q), i
		}
	}
	return outcome{"rule": "404"}, -1
}

func treated(r *routing.Rule, q *request) outcome {
	o := outcome{"requestHeaders": editText(r.RequestHeaders), "responseHeaders": editText(r.ResponseHeaders)}
	if p := r.CORS; p != nil {
		for _, from := range []string{"https://a.example", "https://x.example.com", "https://abc", "null"} {
			o["cors.allowOrigins"] += fmt.Sprint(slices.ContainsFunc(p.AllowOrigins, func(t routing.Text) bool {
				return t.Value == "*" || compareText(t, from)
			}), " ")
		}
		o["cors"] = fmt.Sprint(p.AllowMethods, p.AllowHeaders, p.ExposeHeaders, p.AllowCredentials.Value)
		if p.MaxAge.IsSet() && p.MaxAge.Origin.Default == "" {
			o["cors.maxAge"] = p.MaxAge.Value.String()
		}
		o["cors.unmatchedPreflights"] = fmt.Sprint(p.ForwardPreflights)
	}
	switch {
	case r.Redirect != nil:
		d := r.Redirect
		o["rule"] = fmt.Sprintf("redirect %d %s %s %d", d.Status.Value, d.Scheme, d.Host, d.Port)
		o["redirect.path"] = rewritten(d.Path, r, q)
		return o
	case r.Direct != nil:
		o["rule"] = fmt.Sprintf("direct %d %q", r.Direct.Status, r.Direct.Body)
		return o
	}
	total := uint64(0)
	for i := range r.Backends {
		total += uint64(r.Backends[i].Weight.Value)
	}
	if total == 0 {
		o["rule"] = fmt.Sprintf(`direct %d ""`, cmp.Or(r.MissingStatus, 500))
		return o
	}
	o["rule"] = "forward"
	shares := map[string]float64{}
	for _, b := range r.Backends {
		to := fmt.Sprintf("%s:%d/%s", b.Service, b.Port, b.Subset)
		if b.Invalid != "" {
			to = "500"
			if r.MissingStatus != 0 {
				o["missingStatus"] = fmt.Sprint(r.MissingStatus)
			}
		}
		to += editText(b.RequestHeaders) + editText(b.ResponseHeaders)
		shares[to] += 100 * float64(b.Weight.Value) / float64(total)
	}
	for to, share := range shares {
		if share == 0 {
			delete(shares, to)
		} else {
			shares[to] = float64(int(share*10+0.5)) / 10
		}
	}
	o["backend"] = fmt.Sprint(shares)
	treatment(o, r, q)
	return o
}

func treatment(o outcome, r *routing.Rule, q *request) {
	if w := r.Rewrite; w != nil {
		o["rewrite.host"] = w.Host
		o["rewrite.path"] = rewritten(w.Path, r, q)
	} else {
		o["rewrite.host"], o["rewrite.path"] = "", q.path
	}
	if f := r.Fault; f != nil {
		if f.Delay != nil && f.Delay.Percent > 0 {
			o["fault.delay"] = fmt.Sprint(f.Delay.Duration, f.Delay.Percent)
		}
		if f.Abort != nil && f.Abort.Percent > 0 {
			o["fault.abort"] = fmt.Sprint(f.Abort.HTTPStatus, f.Abort.GRPCStatus, f.Abort.Percent)
		}
	}
	for _, m := range r.Mirrors {
		o["mirror"] += fmt.Sprintf("%s:%d/%s %.2f ", m.Service, m.Port, m.Subset, m.Percent.Value)
	}
	if r.Failures.IsSet() {
		o["failures"] = statusText(r.Failures.Value)
	}
	o["timeout.request"] = fmt.Sprint(max(r.Timeouts.Request.Value, 0))
	o["timeout.response"] = fmt.Sprint(max(r.Timeouts.Response.Value, 0))
	o["timeout.idle"] = fmt.Sprint(max(r.Timeouts.Idle.Value, 0))
	perTry := r.Timeouts.Backend.Value
	if t := r.Retry; t != nil && t.Attempts.Value > 0 {
		if t.PerTry.IsSet() {
			perTry = t.PerTry.Value
		}
		on := map[string]bool{}
		var codes []string
		for _, c := range t.On.Value {
			// Envoy's words for several.
			first, last := 0, -1
			switch c {
			case "5xx":
				first, last = 500, 599
			case "gateway-error":
				first, last = 502, 504
			case "retriable-4xx":
				first, last = 409, 409
			default:
				on[c] = true
			}
			for code := first; code <= last; code++ {
				codes = append(codes, fmt.Sprint(code))
			}
			if c == "5xx" || c == "gateway-error" {
				on["connect-failure"], on["refused-stream"], on["reset"] = true, true, true
			}
		}
		for _, s := range t.Statuses.Value {
			for code := s.First; code <= s.Last; code++ {
				codes = append(codes, fmt.Sprint(code))
			}
		}
		sort.Strings(codes)
		backoff := "25ms"
		if t.BackoffBase.Value > 0 {
			backoff = t.BackoffBase.Value.String()
		}
		delete(on, "retriable-status-codes")
		o["retry"] = fmt.Sprint(t.Attempts.Value, t.AnyMethod.Value)
		o["retry.on"] = fmt.Sprint(on, slices.Compact(codes))
		o["retry.backoff"] = backoff
		if t.BackoffMin.Value > 0 {
			o["retry.backoffMin"] = t.BackoffMin.Value.String()
		}
	}
	o["timeout.backend"] = fmt.Sprint(max(perTry, 0))
}

func editText(edits []routing.HeaderEdit) string {
	var out []string
	for _, e := range edits {
		if v, ok := unformatted(e); ok {
			e.Value, e.Format = v, false
		}
		out = append(out, fmt.Sprintf("%s %s=%s %v", e.Op, e.Name, e.Value, e.Format))
	}
	sort.Strings(out)
	return fmt.Sprint(out)
}

// rewritten is the path that comes of it, as Envoy and Gateway API have it.
func rewritten(p *routing.PathRewrite, r *routing.Rule, q *request) string {
	if p == nil {
		return q.path
	}
	matched := routing.PathMatch{Kind: routing.PathPrefix, Value: "/"}
	if len(r.Match.Paths) > 0 {
		matched = r.Match.Paths[0]
	}
	switch {
	case p.Kind == routing.ReplaceFull:
		return p.Value
	case p.Kind == routing.ReplaceRegex:
		with := regexp.MustCompile(`\\(\d|\\)`).ReplaceAllStringFunc(strings.ReplaceAll(p.Value, "$", "$$"), func(s string) string {
			if s == `\\` {
				return `\`
			}
			return "${" + s[1:] + "}"
		})
		return regexp.MustCompile(p.Pattern).ReplaceAllString(q.path, with)
	case matched.Kind == routing.PathText:
		return p.Value + q.path[len(matched.Value):]
	case matched.Kind != routing.PathPrefix:
		return p.Value
	}
	from, value := strings.TrimRight(matched.Value, "/"), strings.TrimRight(p.Value, "/")
	rest := q.path[len(from):]
	if value == "" {
		return "/" + strings.TrimLeft(rest, "/")
	}
	if from == "" {
		return value + "/" + strings.TrimPrefix(rest, "/")
	}
	return value + rest
}
