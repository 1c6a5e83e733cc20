package breaker

import (
	"math"
	"time"
)

// Defaults of fields that are left zero.
const (
	DefaultProbeTimeout  = 10 * time.Second
	DefaultSweepInterval = 10 * time.Second
)

// Config is the policy of one Group. The zero Config never opens anything. A
// Config and what it points to must not change once a Group has it.
type Config struct {
	Detectors      Detectors
	Recovery       Recovery
	Guards         Guards
	Classification Classification

	// SlowStart is how long the weight of an endpoint that has recovered
	// grows to its full height. 0: full weight at once.
	SlowStart time.Duration
	// Ramp is how it grows.
	Ramp Ramp

	// SweepInterval is the interval of SuccessRateOutlier and
	// FailurePercentage, and of timed re-admission. 0: 10s.
	SweepInterval time.Duration
}

// Ramp is the shape of a slow start, Envoy's: a weight of
// max(MinWeight, (age / SlowStart) ^ (1 / Aggression)).
type Ramp struct {
	// Aggression: above 1 the weight grows faster at first. 0: 1, a straight
	// line.
	Aggression float64
	// MinWeight is where it begins, 0 to 1. nil: 0.1.
	MinWeight *float64
	// Added: endpoints that are added start slowly too.
	Added bool
}

// Detectors is the set of rules that open an endpoint; nil is off. The first
// that trips opens it.
//
// Each has Enforcing, the share of its detections that are acted on, in
// percent, 0 to 100 (Envoy's enforcing_*). nil is 100. A detection that is not
// acted on is an event all the same, and the detector starts over.
type Detectors struct {
	// Consecutive counts failures in a row, of any kind. A success resets it.
	Consecutive *Consecutive
	// ConsecutiveGateway counts gateway errors in a row: 502, 503, 504, and
	// what the caller would see as one of them (no connection, time out,
	// reset). Any other result resets it.
	ConsecutiveGateway *Consecutive
	// ConsecutiveLocalOrigin counts calls in a row that got no response at
	// all. It needs Classification.SplitLocalOrigin.
	ConsecutiveLocalOrigin *Consecutive
	// SuccessRateEWMA watches the moving average over a number of requests.
	SuccessRateEWMA *SuccessRateEWMA
	// SuccessRateWindow watches the success rate of a sliding window of time.
	SuccessRateWindow *SuccessRateWindow
	// SuccessRateOutlier compares an endpoint with the others, at each sweep.
	SuccessRateOutlier *SuccessRateOutlier
	// FailurePercentage compares an endpoint with a fixed share, at each sweep.
	FailurePercentage *FailurePercentage
	// LocalSuccessRateOutlier and LocalFailurePercentage are these for calls
	// that got no response, with all others for successes. They need
	// Classification.SplitLocalOrigin, and the two above see responses only
	// then.
	LocalSuccessRateOutlier *SuccessRateOutlier
	LocalFailurePercentage  *FailurePercentage
	// SlowCalls watches the share of slow calls in a sliding window of time.
	SlowCalls *SlowCalls
	// HungCalls watches the age of the oldest call in flight.
	HungCalls *HungCalls
}

// Consecutive trips on the n-th counted failure in a row.
type Consecutive struct {
	// Failures is n. 0 never trips.
	Failures  uint32
	Enforcing *uint32
}

// SuccessRateEWMA trips when the success rate, as an exponentially weighted
// moving average, is below Threshold. A request weighs 1 - exp(-1/Requests);
// nothing trips before Requests requests were seen. (Finagle's
// SuccessRateFailureAccrualPolicy; io.l5d.successRate of Linkerd 1.x.)
type SuccessRateEWMA struct {
	Threshold float64 // 0 to 1; 0 never trips
	Requests  uint32  // at least 1
	Enforcing *uint32
}

// SuccessRateWindow trips when at least MinRequests requests ended in the last
// Window and the share of successes is below Threshold. The window slides in
// ten steps. (Linkerd's unified mode.)
type SuccessRateWindow struct {
	Threshold   float64       // 0 to 1; 0 never trips
	Window      time.Duration // at least 10ms
	MinRequests uint32        // at most 1,000,000
	Enforcing   *uint32
}

// SuccessRateOutlier trips at a sweep for each endpoint whose success rate over
// the interval just finished is below mean - Factor x sigma, over the closed
// endpoints that had at least RequestVolume requests, when these are at least
// MinHosts. Sigma is the population's. (Envoy's success_rate.)
type SuccessRateOutlier struct {
	Factor        float64 // standard deviations, more than 0; Envoy's default 1.9
	MinHosts      uint32
	RequestVolume uint32
	Enforcing     *uint32
}

// FailurePercentage trips at a sweep for each endpoint that failed Threshold
// percent or more of its requests in the interval just finished; volume and
// number of endpoints as for SuccessRateOutlier. (Envoy's failure_percentage.)
type FailurePercentage struct {
	Threshold     float64 // percent, more than 0, to 100; Envoy's default 85
	MinHosts      uint32
	RequestVolume uint32
	Enforcing     *uint32
}

// SlowCalls trips when at least MinRequests calls ended in the last Window and
// the share of those that took longer than Duration is Share or more. A call
// that its caller gave up after Duration counts as slow. While this detector
// is on, a probe that takes longer than Duration fails.
type SlowCalls struct {
	Duration    time.Duration // more than 0
	Share       float64       // more than 0, to 1
	Window      time.Duration // at least 10ms
	MinRequests uint32        // at most 1,000,000
	Enforcing   *uint32
}

// HungCalls trips at a sweep when the oldest call in flight is Age old.
type HungCalls struct {
	Age       time.Duration // more than 0
	Enforcing *uint32
}

// Mode is how an open endpoint comes back.
type Mode uint8

const (
	// Probe admits one real call when the back-off is over; its result
	// decides. The count of back-offs starts again at each trip.
	Probe Mode = iota
	// Timed re-admits at the first sweep after the back-off, untried. The
	// count of back-offs grows with each ejection and falls by one with each
	// SweepInterval in service, as Envoy's does.
	Timed
)

// BackoffKind is how the time out of use grows.
type BackoffKind uint8

const (
	// Exponential is min(Max, Min x 2^i).
	Exponential BackoffKind = iota
	// Linear is min(Max, Min x (i+1)), Envoy's base x count.
	Linear
	// Constant is Min.
	Constant
	// Decorrelated is min(Max, random from Min to 3 x the one before), the
	// first being Min. (Finagle's jittered back-off.)
	Decorrelated
)

// Recovery is how and when an open endpoint comes back.
type Recovery struct {
	Mode    Mode
	Backoff BackoffKind
	// Min is the first back-off, Max bounds all. Min <= Max, Max > 0.
	Min, Max time.Duration
	// Jitter is the share of the back-off that may be added at random, 0 to
	// 100. The sum is capped at Max, except for Linear, where Envoy adds it to
	// the capped time. Decorrelated has its own randomness and ignores it.
	Jitter float64
	// MaxJitter is how much may be added at random whatever the back-off is,
	// beyond Max too (Envoy's max_ejection_time_jitter).
	MaxJitter time.Duration
	// ProbeTimeout is when a probe without a result is given up and counts as
	// failed. 0: 10s.
	ProbeTimeout time.Duration
}

// Guards bound what detectors may do. An ejection that a guard refuses is an
// event, and the detector starts over.
//
// Guards hold at every moment: when endpoints are removed or a guard is
// tightened, those that have been open longest are taken back until it holds.
type Guards struct {
	// MaxEjectionPercent refuses an ejection unless
	// 100 x (ejected + 1) / endpoints <= this. 0 to 100; nil is 100, no bound.
	MaxEjectionPercent *uint32
	// MinReady is how many endpoints stay closed whatever happens.
	MinReady int
	// AlwaysEjectOne allows one ejection whatever MaxEjectionPercent says
	// (Envoy's always_eject_one_host).
	AlwaysEjectOne bool
	// PanicThreshold: when less than this share of a tier's endpoints is
	// closed, in percent, all of the tier are used; see Spread. 0 to 100; 0
	// never.
	PanicThreshold float64
	// Overprovision is the factor, in percent, by which tiers may have too few
	// closed endpoints before the next takes over; see Spread. 0: 140.
	Overprovision uint32
}

// active tells whether any detector can ever trip.
func (d *Detectors) active() bool {
	counts := func(c *Consecutive) bool { return c != nil && c.Failures > 0 }
	return counts(d.Consecutive) || counts(d.ConsecutiveGateway) || counts(d.ConsecutiveLocalOrigin) ||
		d.SuccessRateEWMA != nil && d.SuccessRateEWMA.Threshold > 0 ||
		d.SuccessRateWindow != nil && d.SuccessRateWindow.Threshold > 0 ||
		d.statistical() || d.SlowCalls != nil || d.HungCalls != nil
}

// statistical tells whether a detector works on whole intervals.
func (d *Detectors) statistical() bool {
	return d.SuccessRateOutlier != nil || d.FailurePercentage != nil ||
		d.LocalSuccessRateOutlier != nil || d.LocalFailurePercentage != nil
}

// policy is a Config in use, with what follows from it. Immutable.
type policy struct {
	Config
	active bool    // a detector may trip
	decay  float64 // of the SuccessRateEWMA, for each request
}

func newPolicy(c Config) *policy {
	p := &policy{Config: c.withDefaults(), active: c.Detectors.active()}
	if s := c.Detectors.SuccessRateEWMA; s != nil {
		p.decay = math.Exp(-1 / float64(max(s.Requests, 1)))
	}
	return p
}

// withDefaults fills in what was left zero.
func (c Config) withDefaults() Config {
	if c.Recovery.ProbeTimeout == 0 {
		c.Recovery.ProbeTimeout = DefaultProbeTimeout
	}
	if c.Guards.Overprovision == 0 {
		c.Guards.Overprovision = DefaultOverprovision
	}
	if c.SweepInterval == 0 {
		c.SweepInterval = DefaultSweepInterval
	}
	return c
}
