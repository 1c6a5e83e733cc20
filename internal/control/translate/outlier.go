package translate

import (
	"strconv"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/matcher/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	stringv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	rangev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	breakerv1 "github.com/reclosermesh/recloser/api/breaker/v1"
	"github.com/reclosermesh/recloser/internal/control/policy"
)

// outlierDetection is nil where nothing shuts endpoints.
func outlierDetection(e *policy.Effective) *clusterv3.OutlierDetection {
	switch {
	case e.Outlier != nil:
		return ejections(e.Outlier)
	case e.Breaker != nil:
		return nearest(e.Breaker)
	default:
		return nil
	}
}

// panicThreshold is the share of healthy endpoints below which all are used.
// Envoy's default is 50; ours and Istio's is 0: when all are shut requests are
// answered with 503.
func panicThreshold(e *policy.Effective) float64 {
	if e.Outlier == nil {
		return 0
	}
	return float64(e.Outlier.MinHealthPercent.Value)
}

// ejections is a rule's block, field by field as Istio writes it: what is unset
// is left to Envoy, and success rates are never looked at.
func ejections(o *policy.Outlier) *clusterv3.OutlierDetection {
	out := &clusterv3.OutlierDetection{EnforcingSuccessRate: wrapperspb.UInt32(0)}
	if n := o.Consecutive5xx; written(n) {
		out.Consecutive_5Xx, out.EnforcingConsecutive_5Xx = enforced(n.Value)
	}
	if n := o.ConsecutiveGateway; written(n) {
		out.ConsecutiveGatewayFailure, out.EnforcingConsecutiveGatewayFailure = enforced(n.Value)
	}
	if written(o.Interval) {
		out.Interval = durationpb.New(o.Interval.Value)
	}
	if written(o.BaseEjectionTime) {
		out.BaseEjectionTime = durationpb.New(o.BaseEjectionTime.Value)
	}
	if written(o.MaxEjectionPercent) {
		out.MaxEjectionPercent = wrapperspb.UInt32(o.MaxEjectionPercent.Value)
	}
	if o.SplitLocalOrigin.Value {
		out.SplitExternalLocalOriginErrors = true
		out.EnforcingLocalOriginSuccessRate = wrapperspb.UInt32(0)
		if n := o.ConsecutiveLocalOrigin; written(n) {
			out.ConsecutiveLocalOriginFailure, out.EnforcingConsecutiveLocalOriginFailure = enforced(n.Value)
		}
	}
	return out
}

// enforced is a number in a row that is acted on, unless it is 0.
func enforced(n uint32) (count, share *wrapperspb.UInt32Value) {
	if n == 0 {
		return wrapperspb.UInt32(0), wrapperspb.UInt32(0)
	}
	return wrapperspb.UInt32(n), wrapperspb.UInt32(100)
}

// errorMatcher tells Envoy which statuses are errors in place of 500 to 599, nil
// where these are.
func errorMatcher(o *policy.Outlier) *httpv3.HttpProtocolOptions_OutlierDetection {
	if o == nil || !o.HTTPErrorCodes.IsSet() {
		return nil
	}
	var any []*matcherv3.MatchPredicate
	for _, r := range runs(o.HTTPErrorCodes.Value) {
		any = append(any, statusBetween(r.First, r.Last))
	}
	m := any[0]
	if len(any) > 1 { // a set of one is refused
		m = &matcherv3.MatchPredicate{Rule: &matcherv3.MatchPredicate_OrMatch{OrMatch: &matcherv3.MatchPredicate_MatchSet{Rules: any}}}
	}
	return &httpv3.HttpProtocolOptions_OutlierDetection{ErrorMatcher: m}
}

func statusBetween(first, last uint32) *matcherv3.MatchPredicate {
	h := &routev3.HeaderMatcher{Name: ":status"}
	if first == last {
		h.HeaderMatchSpecifier = &routev3.HeaderMatcher_StringMatch{StringMatch: &stringv3.StringMatcher{
			MatchPattern: &stringv3.StringMatcher_Exact{Exact: strconv.FormatUint(uint64(first), 10)},
		}}
	} else {
		h.HeaderMatchSpecifier = &routev3.HeaderMatcher_RangeMatch{RangeMatch: &rangev3.Int64Range{Start: int64(first), End: int64(last) + 1}}
	}
	return &matcherv3.MatchPredicate{Rule: &matcherv3.MatchPredicate_HttpResponseHeadersMatch{
		HttpResponseHeadersMatch: &matcherv3.HttpHeadersMatch{Headers: []*routev3.HeaderMatcher{h}},
	}}
}

// runs puts codes that follow each other into ranges; codes are in order, each
// once.
func runs(codes []uint32) []*breakerv1.StatusRange {
	var out []*breakerv1.StatusRange
	for _, c := range codes {
		if n := len(out); n > 0 && out[n-1].GetLast()+1 == c {
			out[n-1].Last = c
		} else {
			out = append(out, &breakerv1.StatusRange{First: c, Last: c})
		}
	}
	return out
}

// nearest is the nearest that Envoy can do to a breaker of Linkerd's: it has no
// probes, so the penalties become ejection times.
func nearest(b *policy.Breaker) *clusterv3.OutlierDetection {
	on := wrapperspb.UInt32(100)
	off := wrapperspb.UInt32(0)
	o := &clusterv3.OutlierDetection{
		Consecutive_5Xx:                    wrapperspb.UInt32(b.MaxFailures.Value),
		EnforcingConsecutive_5Xx:           on,
		EnforcingConsecutiveGatewayFailure: off,
		EnforcingSuccessRate:               off,
		Interval:                           durationpb.New(min(b.MinPenalty.Value, 10*time.Second)),
		BaseEjectionTime:                   durationpb.New(b.MinPenalty.Value),
		MaxEjectionTime:                    durationpb.New(b.MaxPenalty.Value),
		MaxEjectionTimeJitter:              durationpb.New(jitter(b)),
		// Linkerd has no guard: all endpoints can be shut.
		MaxEjectionPercent: on,
	}
	if b.MaxFailures.Value == 0 {
		o.EnforcingConsecutive_5Xx = off
		o.Consecutive_5Xx = nil // 0 would mean "at once" to some readers
	}
	if s := b.SuccessRate; s != nil && s.Threshold.Value > 0 {
		o.EnforcingFailurePercentage = on
		// Envoy ejects at or above, Linkerd below: one more percent of failure
		// than the threshold leaves.
		o.FailurePercentageThreshold = wrapperspb.UInt32(uint32(min(100, 100-s.Threshold.Value*100+1)))
		o.FailurePercentageMinimumHosts = wrapperspb.UInt32(1)
		o.FailurePercentageRequestVolume = wrapperspb.UInt32(s.MinRequests.Value)
		o.Interval = durationpb.New(s.Window.Value)
	}
	return o
}

// jitter is of the first penalty; Envoy's does not grow with the penalty.
func jitter(b *policy.Breaker) time.Duration {
	return time.Duration(min(float64(b.MinPenalty.Value)*b.Jitter.Value, float64(b.MaxPenalty.Value)))
}
