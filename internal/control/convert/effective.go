package convert

import (
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/control/dialect/linkerd"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/policy"
)

// annotate says by annotations of the Service what they can say, and tells the
// rest.
func (c *converter) annotate(s *model.Service, everybody string, each []string) {
	first := c.effective(s, s.Ports[0].Number, everybody)
	if first == nil {
		return
	}
	a := map[string]string{}
	carried := c.breaker(first, a)
	if c.to == Recloser {
		c.ownAnnotations(first, a, carried)
	}
	if first.RetryBudget != nil && c.to != Linkerd {
		c.budget(s, first, carried)
	}
	c.annotations[s.Name] = a
	c.rest(first, carried)
	if d := first.ConnectTimeout; !isWritten(d) && d.Value != linkerdConnect {
		c.lose(d.Origin, "connectTimeout", d.Value.String(), "with a DestinationRule it is this; without one it is "+linkerdConnect.String())
	}
	for i := range s.Ports {
		for _, ns := range append([]string{everybody}, each...) {
			e := c.effective(s, s.Ports[i].Number, ns)
			c.differences(first, e, func(l policy.Leaf) {
				if ns == everybody {
					c.lose(l.Origin, l.Path, l.Value, "annotations hold for all ports of a Service alike")
				} else {
					c.lose(l.Origin, l.Path, l.Value, "annotations hold for all callers of a Service alike, those of namespace "+ns+" too")
				}
			})
		}
	}
}

func (c *converter) effective(s *model.Service, port uint16, client string) *policy.Effective {
	e, err := c.table.Effective(model.Client{Namespace: client}, s.Name, port, "")
	if err != nil {
		return nil
	}
	return e
}

// differences are the settings of an effective policy that another one has not,
// or has otherwise.
func (c *converter) differences(a, b *policy.Effective, tell func(policy.Leaf)) {
	if b == nil {
		return
	}
	have := map[string]string{}
	for _, l := range a.Leaves() {
		have[l.Path] = l.Value
	}
	for _, l := range b.Leaves() {
		if have[l.Path] != l.Value && l.Origin.Default == "" && l.Path != "protocol" {
			tell(l)
		}
	}
}

// rest tells what somebody wrote and what is not carried over.
func (c *converter) rest(e *policy.Effective, carried map[string]bool) {
	for _, l := range e.Leaves() {
		top, _, _ := strings.Cut(l.Path, ".")
		if l.Origin.Default != "" || l.Path == "protocol" || carried[l.Path] || carried[top] {
			continue
		}
		c.lose(l.Origin, l.Path, l.Value, c.noWords())
	}
}

func (c *converter) noWords() string {
	switch c.to {
	case Istio:
		return "there is no field for it"
	case Linkerd:
		return "Linkerd has no annotation for it"
	default:
		return "there is neither a field nor an annotation for it"
	}
}

// linkerdConnect is the time to connect that holds where nobody says another.
const linkerdConnect = time.Second

const accrual = "balancer.linkerd.io/failure-accrual"

// breaker writes Linkerd's annotations. What Envoy's outlier detection counts
// becomes failures in a row, and its time the first penalty.
func (c *converter) breaker(e *policy.Effective, a map[string]string) map[string]bool {
	carried := map[string]bool{}
	switch {
	case e.Breaker != nil:
		b := e.Breaker
		carried["breaker"] = true
		a[accrual] = b.Mode.Value
		put(a, accrual+"-consecutive-max-failures", b.MaxFailures, func(n uint32) string { return strconv.Itoa(int(n)) })
		put(a, accrual+"-consecutive-min-penalty", b.MinPenalty, annotationDuration)
		put(a, accrual+"-consecutive-max-penalty", b.MaxPenalty, annotationDuration)
		put(a, accrual+"-consecutive-jitter-ratio", b.Jitter, func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) })
		if r := b.SuccessRate; r != nil {
			const rate = "balancer.alpha.linkerd.io/failure-accrual-success-rate-"
			put(a, rate+"threshold", r.Threshold, func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) })
			put(a, rate+"window", r.Window, annotationDuration)
			put(a, rate+"min-requests", r.MinRequests, func(n uint32) string { return strconv.Itoa(int(n)) })
		}
	case e.Outlier != nil:
		c.outlierAsBreaker(e.Outlier, a)
		carried["outlierDetection"] = true
		if c.to == Recloser {
			a["recloser.io/fail-fast-timeout"] = annotationDuration(e.FailFast.Value)
		} else {
			c.lose(e.FailFast.Origin, "failFast", e.FailFast.Value.String(), "there requests wait up to 3s for an endpoint when all are shut")
		}
	}
	return carried
}

// put writes a value that is no default.
func put[T any](a map[string]string, name string, v origin.Value[T], show func(T) string) {
	if isWritten(v) {
		a[name] = show(v.Value)
	}
}

// outlierAsBreaker says what it can of an outlier detection, and tells how
// recovery differs.
func (c *converter) outlierAsBreaker(o *policy.Outlier, a map[string]string) {
	failures := o.Consecutive5xx
	if g := o.ConsecutiveGateway; failures.Value == 0 && g.Value > 0 {
		c.lose(g.Origin, "outlierDetection.consecutiveGatewayErrors", strconv.Itoa(int(g.Value)), "there every status from 500 to 599 is a failure, and none is told apart")
		failures = g
	} else if isWritten(g) && g.Value > 0 {
		c.lose(g.Origin, "outlierDetection.consecutiveGatewayErrors", strconv.Itoa(int(g.Value)), "there is one count of failures there; consecutive5xxErrors is written")
	}
	low := wholeMilliseconds(o.BaseEjectionTime.Value)
	high := max(wholeMilliseconds(o.MaxEjectionTime.Value), low)
	a[accrual] = "consecutive"
	a[accrual+"-consecutive-max-failures"] = strconv.Itoa(int(failures.Value))
	a[accrual+"-consecutive-min-penalty"] = annotationDuration(low)
	a[accrual+"-consecutive-max-penalty"] = annotationDuration(high)
	a[accrual+"-consecutive-jitter-ratio"] = "0"
	c.lose(o.BaseEjectionTime.Origin, "outlierDetection.recovery", low.String(), "an endpoint comes back by one request that succeeds, and waits twice as long after each that fails; here it comes back by time alone, and waits in equal steps")
	for _, l := range []struct {
		name, value string
		from        origin.Origin
		told        bool
	}{
		{"interval", o.Interval.Value.String(), o.Interval.Origin, isWritten(o.Interval)},
		{"splitExternalLocalOriginErrors", "true", o.SplitLocalOrigin.Origin, o.SplitLocalOrigin.Value},
		{"consecutiveLocalOriginFailures", strconv.Itoa(int(o.ConsecutiveLocalOrigin.Value)), o.ConsecutiveLocalOrigin.Origin, isWritten(o.ConsecutiveLocalOrigin)},
		{"outlierDetectionHttpErrorCodes", "", o.HTTPErrorCodes.Origin, isWritten(o.HTTPErrorCodes)},
	} {
		if l.told {
			c.lose(l.from, "outlierDetection."+l.name, l.value, "there is nothing like it there")
		}
	}
	if o.MaxEjectionPercent.Value < 100 {
		c.lose(o.MaxEjectionPercent.Origin, "outlierDetection.maxEjectionPercent", strconv.Itoa(int(o.MaxEjectionPercent.Value)), "there all endpoints may be shut at a time")
	}
	if o.MinHealthPercent.Value > 0 {
		c.lose(o.MinHealthPercent.Origin, "outlierDetection.minHealthPercent", strconv.Itoa(int(o.MinHealthPercent.Value)), "there endpoints that are shut stay so, however few are left")
	}
}

func wholeMilliseconds(d time.Duration) time.Duration {
	return max(d.Round(time.Millisecond), time.Millisecond)
}

// ownAnnotations are Recloser's.
func (c *converter) ownAnnotations(e *policy.Effective, a map[string]string, carried map[string]bool) {
	if slices.Contains(policy.Balancers(), e.Balancer.Value) {
		put(a, "recloser.io/load-balancer", e.Balancer, func(b policy.Balancer) string { return string(b) })
		carried["balancer"] = true
	}
	if d := e.FailFast; isWritten(d) && d.Value%time.Millisecond == 0 {
		a["recloser.io/fail-fast-timeout"] = annotationDuration(d.Value)
		carried["failFast"] = true
	}
	put(a, "recloser.io/max-waiting-requests", e.MaxWaiting, func(n uint32) string { return strconv.Itoa(int(n)) })
	carried["maxWaiting"] = true
	carried["failover"] = true // the annotation stays as it is
}

// budget writes an XBackendTrafficPolicy.
func (c *converter) budget(s *model.Service, e *policy.Effective, carried map[string]bool) {
	b := e.RetryBudget
	carried["retryBudget"] = true
	percent := math.Round(b.Percent.Value)
	if percent != b.Percent.Value {
		c.lose(b.Percent.Origin, "retryBudget.percent", strconv.FormatFloat(b.Percent.Value, 'g', -1, 64), "percentages are whole numbers there")
	}
	share := object{"percent": int(percent)}
	if b.Interval.IsSet() && b.Interval.Value >= time.Second {
		share["interval"] = duration(b.Interval.Value)
	}
	constraint := object{"budget": share}
	if b.MinPerSecond.IsSet() {
		constraint["minRetryRate"] = object{"count": b.MinPerSecond.Value, "interval": "1s"}
	}
	if b.MinConcurrent.IsSet() {
		c.lose(b.MinConcurrent.Origin, "retryBudget.minConcurrent", strconv.Itoa(int(b.MinConcurrent.Value)), "the least is a rate of retries there, not a number at a time")
	}
	c.write(manifest("gateway.networking.x-k8s.io/v1alpha1", "XBackendTrafficPolicy", s.Namespace, s.Name.Name, object{
		"targetRefs":      list{object{"group": "", "kind": "Service", "name": s.Name.Name}},
		"retryConstraint": constraint,
	}))
}

// services writes the Services whose annotations change, or all.
func (c *converter) services(all bool) {
	own := append(policy.ServiceAnnotations(), linkerd.Annotations()...)
	for _, s := range c.world.Services() {
		before := s.Object.Meta().GetAnnotations()
		after := map[string]string{}
		for k, v := range before {
			if !slices.Contains(own, k) || c.to == Recloser && (k == policy.FailoverAnnotation || k == policy.OverflowAnnotation) {
				after[k] = v
			}
		}
		maps.Copy(after, c.annotations[s.Name])
		if !all && reflect.DeepEqual(nonNil(before), after) {
			continue
		}
		m, err := manifestOf(s.Object)
		if err != nil {
			continue // it was read from such a text
		}
		meta, _ := m["metadata"].(object)
		delete(meta, "annotations")
		if len(after) > 0 {
			meta["annotations"] = after
		}
		c.write(m)
	}
}

func nonNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
