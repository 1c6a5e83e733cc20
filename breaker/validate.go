package breaker

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Validate reports everything that is wrong with c, each error naming the
// field, its value and what is allowed.
func (c Config) Validate() error {
	v := &validation{}
	c.Detectors.validate(v)
	for _, d := range []struct {
		name string
		set  bool
	}{
		{"ConsecutiveLocalOrigin", c.Detectors.ConsecutiveLocalOrigin != nil},
		{"LocalSuccessRateOutlier", c.Detectors.LocalSuccessRateOutlier != nil},
		{"LocalFailurePercentage", c.Detectors.LocalFailurePercentage != nil},
	} {
		if d.set && !c.Classification.SplitLocalOrigin {
			v.reject("Detectors."+d.name, "set", "only with Classification.SplitLocalOrigin")
		}
	}
	if c.Detectors.active() || c.Recovery != (Recovery{}) {
		c.Recovery.validate(v)
	}
	if m := c.Guards.MaxEjectionPercent; m != nil {
		v.within("Guards.MaxEjectionPercent", float64(*m), 0, 100)
	}
	v.check(c.Guards.MinReady >= 0, "Guards.MinReady", c.Guards.MinReady, "0 or more")
	v.within("Guards.PanicThreshold", c.Guards.PanicThreshold, 0, 100)
	v.check(c.SlowStart >= 0, "SlowStart", c.SlowStart, "0 or more")
	v.check(c.Ramp.Aggression >= 0 && !math.IsInf(c.Ramp.Aggression, 1), "Ramp.Aggression", c.Ramp.Aggression, "more than 0, or 0 for 1")
	if m := c.Ramp.MinWeight; m != nil {
		v.within("Ramp.MinWeight", *m, 0, 1)
	}
	v.check(c.SweepInterval == 0 || c.SweepInterval >= time.Millisecond, "SweepInterval", c.SweepInterval, "0 (10s), or 1ms or more")
	v.statuses("Classification.Failures", c.Classification.Failures)
	v.statuses("Classification.RateOnly", c.Classification.RateOnly)
	v.codes("Classification.GRPCFailures", c.Classification.GRPCFailures)
	v.codes("Classification.GRPCRateOnly", c.Classification.GRPCRateOnly)
	return errors.Join(v.errs...)
}

const (
	minWindow   = 10 * time.Millisecond
	maxRequests = 1_000_000
)

func (d *Detectors) validate(v *validation) {
	for name, c := range d.consecutive {
		v.enforcing(name, c.Enforcing)
	}
	if s := d.SuccessRateEWMA; s != nil {
		const name = "Detectors.SuccessRateEWMA"
		v.within(name+".Threshold", s.Threshold, 0, 1)
		v.check(s.Requests >= 1 && s.Requests <= maxRequests, name+".Requests", s.Requests, "1 to 1000000")
		v.enforcing(name, s.Enforcing)
	}
	if s := d.SuccessRateWindow; s != nil {
		const name = "Detectors.SuccessRateWindow"
		v.within(name+".Threshold", s.Threshold, 0, 1)
		v.window(name, s.Window, s.MinRequests)
		v.enforcing(name, s.Enforcing)
	}
	v.outlier("Detectors.SuccessRateOutlier", d.SuccessRateOutlier)
	v.outlier("Detectors.LocalSuccessRateOutlier", d.LocalSuccessRateOutlier)
	v.percentage("Detectors.FailurePercentage", d.FailurePercentage)
	v.percentage("Detectors.LocalFailurePercentage", d.LocalFailurePercentage)
	if s := d.SlowCalls; s != nil {
		const name = "Detectors.SlowCalls"
		v.check(s.Duration > 0, name+".Duration", s.Duration, "more than 0")
		v.check(s.Share > 0 && s.Share <= 1, name+".Share", s.Share, "more than 0, to 1")
		v.window(name, s.Window, s.MinRequests)
		v.enforcing(name, s.Enforcing)
	}
	if h := d.HungCalls; h != nil {
		v.check(h.Age > 0, "Detectors.HungCalls.Age", h.Age, "more than 0")
		v.enforcing("Detectors.HungCalls", h.Enforcing)
	}
}

// consecutive yields the consecutive detectors that are on, by field name.
func (d *Detectors) consecutive(yield func(string, *Consecutive) bool) {
	_ = (d.Consecutive == nil || yield("Detectors.Consecutive", d.Consecutive)) &&
		(d.ConsecutiveGateway == nil || yield("Detectors.ConsecutiveGateway", d.ConsecutiveGateway)) &&
		(d.ConsecutiveLocalOrigin == nil || yield("Detectors.ConsecutiveLocalOrigin", d.ConsecutiveLocalOrigin))
}

func (r *Recovery) validate(v *validation) {
	v.check(r.Mode <= Timed, "Recovery.Mode", int(r.Mode), "Probe or Timed")
	v.check(r.Backoff <= Decorrelated, "Recovery.Backoff", int(r.Backoff), "Exponential, Linear, Constant or Decorrelated")
	v.check(r.Max > 0, "Recovery.Max", r.Max, "more than 0")
	v.check(r.Min >= 0 && r.Min <= r.Max, "Recovery.Min", r.Min, fmt.Sprintf("0 to Recovery.Max (%v)", r.Max))
	v.within("Recovery.Jitter", r.Jitter, 0, 100)
	v.check(r.MaxJitter >= 0, "Recovery.MaxJitter", r.MaxJitter, "0 or more")
	v.check(r.ProbeTimeout >= 0, "Recovery.ProbeTimeout", r.ProbeTimeout, "0 (10s) or more")
}

// validation collects errors.
type validation struct{ errs []error }

func (v *validation) reject(field string, value any, allowed string) {
	v.errs = append(v.errs, fmt.Errorf("%s: %v is not allowed: %s", field, value, allowed))
}

func (v *validation) check(ok bool, field string, value any, allowed string) {
	if !ok {
		v.reject(field, value, allowed)
	}
}

// within also refuses NaN.
func (v *validation) within(field string, value, low, high float64) {
	v.check(value >= low && value <= high, field, value, fmt.Sprintf("%g to %g", low, high))
}

func (v *validation) enforcing(detector string, e *uint32) {
	if e != nil {
		v.check(*e <= 100, detector+".Enforcing", *e, "0 to 100")
	}
}

func (v *validation) outlier(name string, s *SuccessRateOutlier) {
	if s != nil {
		v.check(s.Factor > 0 && s.Factor <= 1000, name+".Factor", s.Factor, "more than 0, to 1000")
		v.enforcing(name, s.Enforcing)
	}
}

func (v *validation) percentage(name string, s *FailurePercentage) {
	if s != nil {
		v.check(s.Threshold > 0 && s.Threshold <= 100, name+".Threshold", s.Threshold, "more than 0, to 100")
		v.enforcing(name, s.Enforcing)
	}
}

func (v *validation) window(detector string, window time.Duration, requests uint32) {
	v.check(window >= minWindow, detector+".Window", window, "10ms or more")
	v.check(requests <= maxRequests, detector+".MinRequests", requests, "0 to 1000000")
}

func (v *validation) statuses(field string, ranges []StatusRange) {
	for i, s := range ranges {
		v.check(s.First >= 100 && s.First <= s.Last && s.Last <= 599, fmt.Sprintf("%s[%d]", field, i),
			fmt.Sprintf("%d-%d", s.First, s.Last), "a range within 100-599")
	}
}

func (v *validation) codes(field string, codes []uint32) {
	for i, c := range codes {
		v.check(c >= 1 && c <= 16, fmt.Sprintf("%s[%d]", field, i), c, "a gRPC code, 1 to 16")
	}
}
