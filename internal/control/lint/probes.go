package lint

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/reclosermesh/recloser/internal/control/annotation"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/policy"
)

// Defaults of a probe (Kubernetes, Probe v1 core).
const (
	defaultProbePeriod   = 10
	defaultProbeFailures = 3
)

// probes compares a service's breaker with the readiness probes of what answers
// for it. A probe that fails takes an endpoint away for every caller after its
// period times its threshold; a breaker that needs longer never acts on a
// failure that the probe sees.
//
// How long so many failures in a row take depends on the traffic: it is judged
// at one request a second from a caller to an endpoint.
func (e *effective) probes(s *model.Service) {
	wait, whose := e.readiness(s)
	if wait == 0 {
		return
	}
	for i := range s.Ports {
		eff, err := e.table.Effective(model.Client{Namespace: s.Namespace}, s.Name, s.Ports[i].Number, "")
		if err != nil {
			continue
		}
		e.probedBreaker(eff.Breaker, wait, whose)
		e.probedOutlier(eff.Outlier, wait, whose)
	}
}

func (e *effective) probedBreaker(b *policy.Breaker, wait time.Duration, whose string) {
	if b == nil {
		return
	}
	if r := b.SuccessRate; r != nil && r.Threshold.Value > 0 && r.Window.Value >= wait {
		e.preempted(first(r.Window.Origin, b.Mode.Origin), annotation.Text(r.Window.Value), "looks at a window of "+annotation.Text(r.Window.Value), wait, whose)
	}
	e.failures(first(b.MaxFailures.Origin, b.Mode.Origin), b.MaxFailures.Value, wait, whose)
}

func (e *effective) probedOutlier(o *policy.Outlier, wait time.Duration, whose string) {
	if o == nil {
		return
	}
	e.failures(o.Consecutive5xx.Origin, o.Consecutive5xx.Value, wait, whose)
	e.failures(o.ConsecutiveGateway.Origin, o.ConsecutiveGateway.Value, wait, whose)
}

func (e *effective) failures(from origin.Origin, n uint32, wait time.Duration, whose string) {
	if n > 0 && time.Duration(n)*time.Second >= wait {
		e.preempted(from, fmt.Sprint(n), fmt.Sprintf("waits for %d failures in a row, %s at one request a second", n, annotation.Text(time.Duration(n)*time.Second)), wait, whose)
	}
}

func (e *effective) preempted(from origin.Origin, value, what string, wait time.Duration, whose string) {
	e.find(from, Info, "probe-before-breaker", value, "",
		fmt.Sprintf("the breaker %s; the readiness probe of %s takes a failing endpoint away after %s, if it sees the failure", what, whose, annotation.Text(wait)),
		"make the breaker quicker than the probe, or leave it to the probe")
}

// first is the origin that an object has.
func first(a, b origin.Origin) origin.Origin {
	if a.Object != "" {
		return a
	}
	return b
}

// readiness is how soon the probe of any workload behind a service takes an
// endpoint away, and whose probe it is; 0 without one.
func (e *effective) readiness(s *model.Service) (least time.Duration, whose string) {
	for _, r := range e.runners().behind(s) {
		if r.probe > 0 && (least == 0 || r.probe < least) {
			least, whose = r.probe, r.name
		}
	}
	return least, whose
}

// containersProbe is how soon the first readiness probe of some containers takes
// an instance away; 0 without one.
func containersProbe(containers []corev1.Container) time.Duration {
	var least time.Duration
	for i := range containers {
		p := containers[i].ReadinessProbe
		if p == nil {
			continue
		}
		if d := probeTime(p.PeriodSeconds, p.FailureThreshold, defaultProbePeriod); least == 0 || d < least {
			least = d
		}
	}
	return least
}

func probeTime(period, failures, defaultPeriod int32) time.Duration {
	if period <= 0 {
		period = defaultPeriod
	}
	if failures <= 0 {
		failures = defaultProbeFailures
	}
	return time.Duration(period) * time.Duration(failures) * time.Second
}
