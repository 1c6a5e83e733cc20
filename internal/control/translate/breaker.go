package translate

import (
	"maps"
	"slices"

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
		// Envoy has no such bound; see retryBudget.
		RetryBudget: rateBudget(e.RetryBudget),
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
	out.Classification = &breakerv1.Classification{
		SplitLocalOrigin: o.SplitLocalOrigin.Value,
		Failures:         runs(o.HTTPErrorCodes.Value),
		GrpcFailures:     grpcFailures(o.HTTPErrorCodes.Value),
	}
}

// grpcStatus is the status of HTTP that Envoy takes a code of gRPC for; what is
// left out is none of an error.
var grpcStatus = map[uint32]uint32{ //nolint:gochecknoglobals // a table
	1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400,
	10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401,
}

// cancelled is the nearest to no code at all, since an empty list means
// Linkerd's: what a caller has cancelled is never counted.
const cancelled = 1

// grpcFailures are the codes of gRPC that count where these statuses do, and
// 500 to 599 where none is given. Envoy sees them in answers without a body
// only, ours also in trailers.
func grpcFailures(statuses []uint32) []uint32 {
	var out []uint32
	for _, code := range slices.Sorted(maps.Keys(grpcStatus)) {
		s := grpcStatus[code]
		if len(statuses) == 0 && s >= 500 || slices.Contains(statuses, s) {
			out = append(out, code)
		}
	}
	if len(out) == 0 {
		return []uint32{cancelled}
	}
	return out
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
