package translate

import (
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	breakerv1 "github.com/reclosermesh/recloser/api/breaker/v1"
	"github.com/reclosermesh/recloser/internal/control/policy"
)

// Codes that Linkerd takes for "slow down" rather than for a failure.
const (
	tooManyRequests   = 429
	resourceExhausted = 8
)

// Breaker is the whole policy of a cluster's breakers in our own words. It is
// made when breaking is off too, since the waiting of requests is in it; it
// has no detectors then.
func Breaker(e *policy.Effective) *breakerv1.Breaker {
	out := &breakerv1.Breaker{
		FailFast:   durationpb.New(e.FailFast.Value),
		MaxWaiting: wrapperspb.UInt32(e.MaxWaiting.Value),
	}
	switch {
	case e.Outlier != nil:
		timed(out, e.Outlier)
	case e.Breaker != nil:
		probing(out, e.Breaker)
	}
	return out
}

// timed ejects and takes back as Envoy does: untried, in a sweep, after the base
// time as often as the endpoint was ejected.
func timed(out *breakerv1.Breaker, o *policy.Outlier) {
	add := func(d *breakerv1.Detector) { out.Detectors = append(out.Detectors, d) }
	if n := o.Consecutive5xx.Value; n > 0 {
		add(&breakerv1.Detector{Kind: &breakerv1.Detector_Consecutive{Consecutive: &breakerv1.Consecutive{Failures: n}}})
	}
	if n := o.ConsecutiveGateway.Value; n > 0 {
		add(&breakerv1.Detector{Kind: &breakerv1.Detector_ConsecutiveGateway{ConsecutiveGateway: &breakerv1.Consecutive{Failures: n}}})
	}
	if n := o.ConsecutiveLocalOrigin.Value; o.SplitLocalOrigin.Value && n > 0 {
		add(&breakerv1.Detector{Kind: &breakerv1.Detector_ConsecutiveLocalOrigin{ConsecutiveLocalOrigin: &breakerv1.Consecutive{Failures: n}}})
	}
	out.Recovery = &breakerv1.Recovery{
		Mode: breakerv1.Recovery_TIMED, Backoff: breakerv1.Recovery_LINEAR,
		Min: durationpb.New(o.BaseEjectionTime.Value), Max: durationpb.New(o.MaxEjectionTime.Value),
	}
	out.Guards = &breakerv1.Guards{
		MaxEjectionPercent: wrapperspb.UInt32(o.MaxEjectionPercent.Value),
		PanicThreshold:     float64(o.MinHealthPercent.Value),
	}
	out.SweepInterval = durationpb.New(o.Interval.Value)
	if codes := o.HTTPErrorCodes.Value; o.SplitLocalOrigin.Value || len(codes) > 0 {
		out.Classification = &breakerv1.Classification{SplitLocalOrigin: o.SplitLocalOrigin.Value, Failures: runs(codes)}
	}
}

// probing shuts and tries again as Linkerd does.
func probing(out *breakerv1.Breaker, b *policy.Breaker) {
	if b.MaxFailures.Value > 0 {
		out.Detectors = append(out.Detectors, &breakerv1.Detector{Kind: &breakerv1.Detector_Consecutive{
			Consecutive: &breakerv1.Consecutive{Failures: b.MaxFailures.Value},
		}})
	}
	if s := b.SuccessRate; s != nil && s.Threshold.Value > 0 {
		out.Detectors = append(out.Detectors, &breakerv1.Detector{Kind: &breakerv1.Detector_SuccessRateWindow{
			SuccessRateWindow: &breakerv1.SuccessRateWindow{
				Threshold: s.Threshold.Value, Window: durationpb.New(s.Window.Value), MinRequests: s.MinRequests.Value,
			},
		}})
	}
	out.Recovery = &breakerv1.Recovery{
		Mode: breakerv1.Recovery_PROBE, Backoff: breakerv1.Recovery_EXPONENTIAL,
		Min: durationpb.New(b.MinPenalty.Value), Max: durationpb.New(b.MaxPenalty.Value),
		Jitter: b.Jitter.Value, ProbeTimeout: durationpb.New(b.ProbeTimeout.Value),
	}
	if b.RateOnly {
		out.Classification = &breakerv1.Classification{
			RateOnly:     []*breakerv1.StatusRange{{First: tooManyRequests, Last: tooManyRequests}},
			GrpcRateOnly: []uint32{resourceExhausted},
		}
	}
}
