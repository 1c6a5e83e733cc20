package explain

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// unset is whose default it is where nobody says anything of a rule's setting.
const unset = "Recloser"

// settings are what a rule says of how its requests are treated.
func settings(r *routing.Rule) []Setting {
	var l settingList
	if r.Redirect == nil && r.Direct == nil {
		l = append(l,
			setting("timeout.request", r.Timeouts.Request, none(time.Duration.String)),
			setting("timeout.backend", r.Timeouts.Backend, none(time.Duration.String)),
			setting("timeout.response", r.Timeouts.Response, none(time.Duration.String)))
		l.ifSet("timeout.idle", r.Timeouts.Idle)
		l.retry(r)
		if r.Failures.IsSet() {
			l = append(l, setting("failures", r.Failures, statuses))
		}
	}
	if r.Rewrite != nil {
		l.rewrite(r.Rewrite)
	}
	if r.Redirect != nil {
		l = append(l, Setting{"redirect", redirectText(r.Redirect), r.Redirect.Origin})
	}
	if r.Direct != nil {
		l = append(l, Setting{"directResponse", strconv.Itoa(int(r.Direct.Status)), r.Direct.Origin})
	}
	if c := r.CORS; c != nil {
		l = append(l, Setting{"cors", corsText(c), c.Origin})
	}
	if f := r.Fault; f != nil && f.Delay != nil {
		l = append(l, Setting{"fault.delay", fmt.Sprintf("%v for %s of the requests", f.Delay.Duration, percent(f.Delay.Percent)), f.Delay.Origin})
	}
	if f := r.Fault; f != nil && f.Abort != nil {
		what := "status " + strconv.Itoa(int(f.Abort.HTTPStatus))
		if f.Abort.HTTPStatus == 0 {
			what = "grpc-status " + strconv.Itoa(int(f.Abort.GRPCStatus))
		}
		l = append(l, Setting{"fault.abort", what + " for " + percent(f.Abort.Percent) + " of the requests", f.Abort.Origin})
	}
	return l
}

type settingList []Setting

func (l *settingList) ifSet(name string, v origin.Value[time.Duration]) {
	if v.IsSet() {
		*l = append(*l, setting(name, v, none(time.Duration.String)))
	}
}

func (l *settingList) retry(r *routing.Rule) {
	t := r.Retry
	if t == nil || len(t.On.Value)+len(t.Statuses.Value) == 0 && t.Attempts.Value == 0 {
		from := origin.Origin{Default: unset}
		if t != nil && t.Attempts.IsSet() {
			from = t.Attempts.Origin
		}
		*l = append(*l, Setting{"retry.attempts", "none", from})
		return
	}
	*l = append(*l,
		setting("retry.attempts", t.Attempts, func(n uint32) string { return strconv.Itoa(int(n)) }),
		setting("retry.on", t.On, func(on []string) string { return strings.Join(on, ", ") }))
	if t.Statuses.IsSet() {
		*l = append(*l, setting("retry.statuses", t.Statuses, statuses))
	}
	l.ifSet("retry.perTry", t.PerTry)
	l.ifSet("retry.backoffMin", t.BackoffMin)
	l.ifSet("retry.backoffBase", t.BackoffBase)
	l.ifSet("retry.backoffMax", t.BackoffMax)
	if t.AnyMethod.IsSet() {
		*l = append(*l, setting("retry.anyMethod", t.AnyMethod, strconv.FormatBool))
	}
}

func (l *settingList) rewrite(w *routing.Rewrite) {
	if w.Host != "" {
		*l = append(*l, Setting{"rewrite.host", w.Host, w.Origin})
	}
	if w.Path != nil {
		*l = append(*l, Setting{"rewrite.path", pathText(w.Path), w.Origin})
	}
}

func statuses(list []routing.StatusRange) string {
	var words []string
	for _, s := range list {
		if s.First == s.Last {
			words = append(words, strconv.Itoa(int(s.First)))
		} else {
			words = append(words, fmt.Sprintf("%d-%d", s.First, s.Last))
		}
	}
	return strings.Join(words, ", ")
}

func pathText(p *routing.PathRewrite) string {
	switch p.Kind {
	case routing.ReplacePrefix:
		return "the matched prefix becomes " + strconv.Quote(p.Value)
	case routing.ReplaceRegex:
		return "what matches " + strconv.Quote(p.Pattern) + " becomes " + strconv.Quote(p.Value)
	default:
		return "becomes " + strconv.Quote(p.Value)
	}
}

func redirectText(r *routing.Redirect) string {
	words := []string{strconv.Itoa(int(r.Status.Value))}
	for _, part := range [...]struct{ name, value string }{{"scheme", r.Scheme}, {"host", r.Host}} {
		if part.value != "" {
			words = append(words, part.name+" "+part.value)
		}
	}
	if r.Port != 0 {
		words = append(words, "port "+strconv.Itoa(int(r.Port)))
	}
	if r.Path != nil {
		words = append(words, "path: "+pathText(r.Path))
	}
	return strings.Join(words, ", ")
}

func corsText(c *routing.CORS) string {
	var origins []string
	for _, o := range c.AllowOrigins {
		origins = append(origins, string(o.Kind)+" "+strconv.Quote(o.Value))
	}
	return "origins " + strings.Join(origins, ", ")
}

// setting is a value with its origin, or the default of nobody saying it.
func setting[T any](name string, v origin.Value[T], show func(T) string) Setting {
	if !v.IsSet() {
		v.Origin = origin.Origin{Default: unset}
	}
	return Setting{name, show(v.Value), v.Origin}
}

// none shows a zero as what it means.
func none[T comparable](show func(T) string) func(T) string {
	return func(v T) string {
		var zero T
		if v == zero {
			return "none"
		}
		return show(v)
	}
}

// percent is a percentage to four decimals, as far as it has them.
func percent(p float64) string {
	return strconv.FormatFloat(math.Round(p*10_000)/10_000, 'f', -1, 64) + "%"
}

func joinHostPort(host string, port uint32) string {
	return net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10))
}
