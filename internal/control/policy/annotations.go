package policy

import (
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/reclosermesh/recloser/api/v1alpha1"
	"github.com/reclosermesh/recloser/internal/control/dialect/linkerd"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Linkerd's annotations of a Service, and ours.
const (
	accrual     = "balancer.linkerd.io/failure-accrual"
	maxFailures = "balancer.linkerd.io/failure-accrual-consecutive-max-failures"
	minPenalty  = "balancer.linkerd.io/failure-accrual-consecutive-min-penalty"
	maxPenalty  = "balancer.linkerd.io/failure-accrual-consecutive-max-penalty"
	jitterRatio = "balancer.linkerd.io/failure-accrual-consecutive-jitter-ratio"
	rate        = "balancer.alpha.linkerd.io/failure-accrual-success-rate-threshold"
	rateWindow  = "balancer.alpha.linkerd.io/failure-accrual-success-rate-window"
	rateMin     = "balancer.alpha.linkerd.io/failure-accrual-success-rate-min-requests"

	failFast     = "recloser.io/fail-fast-timeout"
	maxWaiting   = "recloser.io/max-waiting-requests"
	loadBalancer = "recloser.io/load-balancer"
)

// Modes of failure accrual.
const (
	ModeConsecutive = "consecutive"
	ModeUnified     = "unified"
)

// ServiceAnnotations are the annotations that are read from a Service.
func ServiceAnnotations() []string {
	return []string{
		accrual, maxFailures, minPenalty, maxPenalty, jitterRatio,
		rate, rateWindow, rateMin, failFast, maxWaiting, loadBalancer,
		StackAnnotation, RouteToAnnotation, FailoverAnnotation, OverflowAnnotation,
	}
}

// knownElsewhere are annotations of these families that mean something to
// Linkerd and that are not acted on here yet, or that another part reads.
var knownElsewhere = map[string]bool{
	"balancer.alpha.linkerd.io/failure-accrual-honor-retry-after": true,
	"balancer.alpha.linkerd.io/penalize-failures":                 true,
	"balancer.alpha.linkerd.io/load-biaser-penalty":               true,
	"balancer.alpha.linkerd.io/load-biaser-max-retry-after":       true,
}

// Bounds from Linkerd: its policy controller's and its proxy's own checks.
const (
	maxJitter       = 100
	minRateWindow   = 10 * time.Millisecond
	maxRateRequests = 1_000_000
)

// Defaults of the values that Linkerd does not have.
const (
	// DefaultFailFast is Linkerd's fail-fast time of a balancer's queue.
	DefaultFailFast = 3 * time.Second
	// DefaultMaxWaiting is the capacity of that queue.
	DefaultMaxWaiting = 10_000
	// DefaultProbeTimeout is ours: Linkerd's probation never ends when the
	// probe hangs.
	DefaultProbeTimeout = 10 * time.Second
)

// reader reads the annotations of one object and collects findings.
type reader struct {
	object   source.Object
	values   map[string]string
	prefix   string // of the metadata's field path: "spec.template." for a template's
	findings []source.Problem
	failed   bool // since it was last set to false
}

// parseService reads what a Service says. old is its last policy, or nil.
func parseService(o source.Object, old *servicePolicy) *servicePolicy {
	r := &reader{object: o, values: o.Meta().GetAnnotations()}
	p := &servicePolicy{object: o}
	p.breaker, p.off = r.breaker(old)
	p.balancer = keep(r, r.balancer(), old, func(p *servicePolicy) Value[Balancer] { return p.balancer })
	p.failFast = keep(r, duration(r, failFast, DefaultFailFast, "Linkerd"), old, func(p *servicePolicy) Value[time.Duration] { return p.failFast })
	p.maxWaiting = keep(r, count(r, maxWaiting, DefaultMaxWaiting, "Linkerd"), old, func(p *servicePolicy) Value[uint32] { return p.maxWaiting })
	p.stacks = keep(r, r.stacks(), old, func(p *servicePolicy) Value[bool] { return p.stacks })
	p.routeTo = keep(r, r.routeTo(), old, func(p *servicePolicy) Value[target] { return p.routeTo })
	p.failover = keep(r, r.failover(), old, func(p *servicePolicy) Value[[]target] { return p.failover })
	p.overflow = keep(r, r.overflow(), old, func(p *servicePolicy) Value[uint32] { return p.overflow })
	r.portLists()
	r.strangers()
	p.findings = append(r.findings, linkerd.CheckAnnotations(o)...)
	return p
}

// CheckAnnotations is what is wrong with the annotations of one object by
// itself. On objects other than Services those of Services are only looked at
// for being in the wrong place.
func CheckAnnotations(o source.Object) []source.Problem {
	if o.Kind == source.Service {
		return parseService(o, nil).findings
	}
	r := &reader{object: o, values: o.Meta().GetAnnotations()}
	for _, name := range linkerd.Annotations() {
		if _, ok := r.values[name]; ok {
			r.find(name, source.Warning, "wrong-object", "this is read from Services and routes only", "", "move it to the Service, or to an HTTPRoute or GRPCRoute")
		}
	}
	for _, name := range ServiceAnnotations() {
		if _, ok := r.values[name]; ok {
			r.find(name, source.Warning, "wrong-object", "this is read from Services only", "", "move it to the Service")
		}
	}
	switch v := o.Value.(type) {
	case *appsv1.Deployment:
		r.onTemplate(v.Spec.Template.Annotations)
	case *v1alpha1.Workload:
		r.onTemplate(v.Spec.Template.Metadata.Annotations)
	default:
		r.portLists()
	}
	return r.findings
}

// keep puts the last good value in place of a bad one.
func keep[T any](r *reader, v Value[T], old *servicePolicy, of func(*servicePolicy) Value[T]) Value[T] {
	failed := r.failed
	r.failed = false
	if !failed || old == nil {
		return v
	}
	v = of(old)
	if v.Origin.Default == "" {
		v.Origin.Stale = true
	}
	return v
}

// StaysOff ends the reason of a bad value where there is no last good breaker.
const StaysOff = "circuit breaking stays off"

// breaker reads failure accrual. When a value is bad the whole last good
// breaker stays: half of a new one and half of an old one is nobody's wish.
func (r *reader) breaker(old *servicePolicy) (*Breaker, Origin) {
	b, off := r.accrual()
	failed := r.failed
	r.failed = false
	if !failed {
		return b, off
	}
	last := StaysOff
	if old != nil && old.breaker != nil {
		stale := *old.breaker
		stale.markStale()
		b, off, last = &stale, Origin{}, "the last good breaker stays"
	} else {
		b, off = nil, r.origin(accrual)
		off.Refused = true
	}
	for i := range r.findings {
		if r.findings[i].Severity == source.Error {
			r.findings[i].Reason += "; " + last
		}
	}
	return b, off
}

func (r *reader) accrual() (*Breaker, Origin) {
	mode, set := r.values[accrual]
	if !set {
		r.noEffect("there is no "+accrual+", so no breaker is on", "add "+accrual+": "+ModeConsecutive,
			maxFailures, minPenalty, maxPenalty, jitterRatio, rate, rateWindow, rateMin)
		return nil, Origin{Default: "Linkerd: no failure accrual"}
	}
	known := mode == ModeConsecutive || mode == ModeUnified
	if !known {
		r.bad(accrual, "unknown-mode", "there is no such mode of failure accrual", ModeConsecutive+" or "+ModeUnified, source.Meant(mode, []string{ModeConsecutive, ModeUnified}))
		// The rest is read all the same: whoever mends this is told of all.
	}
	b := &Breaker{
		Mode:         Value[string]{Value: mode, Origin: r.origin(accrual)},
		MaxFailures:  count(r, maxFailures, 7, "Linkerd"),
		MinPenalty:   duration(r, minPenalty, time.Second, "Linkerd"),
		MaxPenalty:   duration(r, maxPenalty, time.Minute, "Linkerd"),
		Jitter:       number(r, jitterRatio, 0.5, "Linkerd", 0, maxJitter, "a number from 0 to 100"),
		ProbeTimeout: Value[time.Duration]{Value: DefaultProbeTimeout, Origin: Origin{Default: "Recloser"}},
	}
	r.penalties(b)
	switch {
	case !known:
		r.successRate()
		return nil, Origin{}
	case mode == ModeUnified:
		b.RateOnly = true
		b.SuccessRate = r.successRate()
	default:
		r.noEffect("it is read in mode "+ModeUnified+" only", "", rate, rateWindow, rateMin)
	}
	r.neverTrips(b)
	return b, Origin{}
}

// penalties checks the two against each other. A penalty of zero is refused by
// Linkerd's documentation, and would make the breaker do nothing.
func (r *reader) penalties(b *Breaker) {
	lo, hi := b.MinPenalty, b.MaxPenalty
	switch {
	case r.failed:
	case hi.Value <= 0:
		r.bad(maxPenalty, "zero-penalty", "a breaker that stays open for no time does nothing", "more than 0", "")
	case lo.Value <= 0:
		r.bad(minPenalty, "zero-penalty", "a breaker that stays open for no time does nothing", "more than 0", "")
	case lo.Value > hi.Value && lo.Origin.Default != "":
		r.bad(maxPenalty, "min-over-max", "it is less than the shortest penalty, which is "+text(lo.Value)+" by default",
			text(lo.Value)+" or more", "set "+minPenalty+" too")
	case lo.Value > hi.Value:
		r.bad(minPenalty, "min-over-max", "it is more than the longest penalty, which is "+text(hi.Value),
			"at most "+text(hi.Value), "raise "+maxPenalty+" too")
	}
}

// successRate applies Linkerd's bounds only when the detector is on: there the
// proxy's own floor and ceiling hold only then, too.
func (r *reader) successRate() *SuccessRate {
	s := &SuccessRate{
		Threshold:   number(r, rate, 0.8, "Linkerd", 0, 1, "a number from 0 to 1; 0 disables"),
		Window:      duration(r, rateWindow, 10*time.Second, "Linkerd"),
		MinRequests: count(r, rateMin, 5, "Linkerd"),
	}
	switch {
	case r.failed:
	case s.Window.Value <= 0, s.Threshold.Value != 0 && s.Window.Value < minRateWindow:
		r.bad(rateWindow, "window-too-short", "nothing can be counted in so short a time", "10ms or more", "")
	case s.Threshold.Value != 0 && s.MinRequests.Value > maxRateRequests:
		r.bad(rateMin, "too-many-requests", "so many requests would never be in the window", "at most 1000000", "")
	}
	return s
}

func (r *reader) neverTrips(b *Breaker) {
	if r.failed || b.MaxFailures.Value != 0 {
		return
	}
	if b.SuccessRate == nil || b.SuccessRate.Threshold.Value == 0 {
		r.find(maxFailures, source.Warning, "never-trips", "with 0 the breaker never opens", "", "set 1 or more, or remove "+accrual)
	}
}

func (r *reader) balancer() Value[Balancer] {
	v := Value[Balancer]{Value: PeakEWMA, Origin: Origin{Default: "Linkerd"}}
	s, ok := r.values[loadBalancer]
	if !ok {
		return v
	}
	var names []string
	for _, b := range Balancers() {
		if string(b) == s {
			return Value[Balancer]{Value: b, Origin: r.origin(loadBalancer)}
		}
		names = append(names, string(b))
	}
	r.bad(loadBalancer, "unknown-balancer", "there is no such balancer; the last good one stays", strings.Join(names, ", "), source.Meant(s, names))
	return v
}

// strangers tells annotations that look like ours and are not.
func (r *reader) strangers() {
	for name := range r.values {
		prefix, _, _ := strings.Cut(name, "/")
		switch prefix {
		case "balancer.linkerd.io", "balancer.alpha.linkerd.io", "retry.linkerd.io", "timeout.linkerd.io", "recloser.io":
		default:
			continue
		}
		all := slices.Concat(ServiceAnnotations(), linkerd.Annotations())
		switch {
		case slices.Contains(all, name):
		case knownElsewhere[name]:
			r.find(name, source.Warning, "not-supported", "Linkerd knows this annotation; it is not acted on here yet", "", "")
		default:
			r.find(name, source.Warning, "unknown-annotation", "there is no such annotation; it is passed over", "", source.Meant(name, all))
		}
	}
}

func (r *reader) noEffect(reason, mend string, names ...string) {
	for _, n := range names {
		if _, ok := r.values[n]; ok {
			r.find(n, source.Warning, "no-effect", "this has no effect: "+reason, "", mend)
		}
	}
}

func (r *reader) origin(name string) Origin {
	return origin.Of(r.object, source.AnnotationPath(name))
}

func (r *reader) bad(name, code, reason, allowed, mend string) {
	r.failed = true
	r.find(name, source.Error, code, reason, allowed, mend)
}

func (r *reader) find(name string, s source.Severity, code, reason, allowed, mend string) {
	r.findings = append(r.findings, r.object.Problem(source.Problem{
		Code: code, Severity: s, Field: r.prefix + source.AnnotationPath(name),
		Value: r.values[name], Allowed: allowed, Reason: reason, Mend: mend,
	}))
}

// markStale marks what objects said; defaults are what they are.
func (b *Breaker) markStale() {
	mark := func(o *Origin) { o.Stale = o.Default == "" }
	mark(&b.Mode.Origin)
	mark(&b.MaxFailures.Origin)
	mark(&b.MinPenalty.Origin)
	mark(&b.MaxPenalty.Origin)
	mark(&b.Jitter.Origin)
	mark(&b.ProbeTimeout.Origin)
	if b.SuccessRate != nil {
		s := *b.SuccessRate
		mark(&s.Threshold.Origin)
		mark(&s.Window.Origin)
		mark(&s.MinRequests.Origin)
		b.SuccessRate = &s
	}
}
