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
	b := e.Breaker
	if b == nil {
		return out
	}
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
	return out
}
