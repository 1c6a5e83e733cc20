package snapshot

import (
	"strconv"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	matchv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/matcher/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/reclosermesh/recloser/breaker"
)

// outlierFields are the fields of outlier_detection that are honoured. As there
// are no active health checks, successful_active_health_check_uneject_host says
// nothing.
var outlierFields = []fieldName{
	"consecutive_5xx", "enforcing_consecutive_5xx",
	"consecutive_gateway_failure", "enforcing_consecutive_gateway_failure",
	"split_external_local_origin_errors", "consecutive_local_origin_failure", "enforcing_consecutive_local_origin_failure",
	"success_rate_minimum_hosts", "success_rate_request_volume", "success_rate_stdev_factor",
	"enforcing_success_rate", "enforcing_local_origin_success_rate",
	"failure_percentage_threshold", "failure_percentage_minimum_hosts", "failure_percentage_request_volume",
	"enforcing_failure_percentage", "enforcing_failure_percentage_local_origin",
	"interval", "base_ejection_time", "max_ejection_time", "max_ejection_time_jitter",
	"max_ejection_percent", "always_eject_one_host", "successful_active_health_check_uneject_host",
}

// outlier is Envoy's outlier_detection with Envoy's defaults for what is left
// open (config.cluster.v3.OutlierDetection).
func (p *problems) outlier(o *clusterv3.OutlierDetection, panicThreshold *typev3.Percent) breaker.Config {
	const at = "outlier_detection."
	p.only(at, o, outlierFields...)
	number := func(w *wrapperspb.UInt32Value, def uint32) uint32 { return wrapped(w, w == nil, def) }
	enforcing := func(w *wrapperspb.UInt32Value, def uint32) *uint32 { return new(number(w, def)) }
	base := p.duration(at+"base_ejection_time", o.GetBaseEjectionTime(), 30*time.Second)
	cfg := breaker.Config{
		Detectors: breaker.Detectors{
			Consecutive:        &breaker.Consecutive{Failures: number(o.GetConsecutive_5Xx(), 5), Enforcing: enforcing(o.GetEnforcingConsecutive_5Xx(), 100)},
			ConsecutiveGateway: &breaker.Consecutive{Failures: number(o.GetConsecutiveGatewayFailure(), 5), Enforcing: enforcing(o.GetEnforcingConsecutiveGatewayFailure(), 0)},
			SuccessRateOutlier: p.successRate(o, o.GetEnforcingSuccessRate(), 100),
			FailurePercentage:  p.failurePercentage(o, o.GetEnforcingFailurePercentage()),
		},
		Recovery: breaker.Recovery{
			Mode: breaker.Timed, Backoff: breaker.Linear,
			Min: base, Max: p.duration(at+"max_ejection_time", o.GetMaxEjectionTime(), max(base, 300*time.Second)),
			MaxJitter: p.duration(at+"max_ejection_time_jitter", o.GetMaxEjectionTimeJitter(), 0),
		},
		Guards: breaker.Guards{
			MaxEjectionPercent: new(number(o.GetMaxEjectionPercent(), 10)),
			AlwaysEjectOne:     o.GetAlwaysEjectOneHost().GetValue(),
			PanicThreshold:     wrapped(panicThreshold, panicThreshold == nil, 50.0),
		},
		Classification: breaker.Classification{
			SplitLocalOrigin: o.GetSplitExternalLocalOriginErrors(),
			GRPCFailures:     grpcServerErrors,
		},
		SweepInterval: p.duration(at+"interval", o.GetInterval(), 10*time.Second),
	}
	if o.GetSplitExternalLocalOriginErrors() {
		d := &cfg.Detectors
		d.ConsecutiveLocalOrigin = &breaker.Consecutive{
			Failures: number(o.GetConsecutiveLocalOriginFailure(), 5), Enforcing: enforcing(o.GetEnforcingConsecutiveLocalOriginFailure(), 100),
		}
		d.LocalSuccessRateOutlier = p.successRate(o, o.GetEnforcingLocalOriginSuccessRate(), 100)
		d.LocalFailurePercentage = p.failurePercentage(o, o.GetEnforcingFailurePercentageLocalOrigin())
	}
	return cfg
}

// grpcServerErrors are the codes that Envoy takes for a status of 500 and above:
// UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
var grpcServerErrors = []uint32{2, 4, 12, 13, 14, 15}

func (p *problems) successRate(o *clusterv3.OutlierDetection, share *wrapperspb.UInt32Value, def uint32) *breaker.SuccessRateOutlier {
	return &breaker.SuccessRateOutlier{
		Factor:        float64(wrapped(o.GetSuccessRateStdevFactor(), o.GetSuccessRateStdevFactor() == nil, 1900)) / 1000,
		MinHosts:      wrapped(o.GetSuccessRateMinimumHosts(), o.GetSuccessRateMinimumHosts() == nil, 5),
		RequestVolume: wrapped(o.GetSuccessRateRequestVolume(), o.GetSuccessRateRequestVolume() == nil, 100),
		Enforcing:     new(wrapped(share, share == nil, def)),
	}
}

func (p *problems) failurePercentage(o *clusterv3.OutlierDetection, share *wrapperspb.UInt32Value) *breaker.FailurePercentage {
	return &breaker.FailurePercentage{
		Threshold:     float64(wrapped(o.GetFailurePercentageThreshold(), o.GetFailurePercentageThreshold() == nil, 85)),
		MinHosts:      wrapped(o.GetFailurePercentageMinimumHosts(), o.GetFailurePercentageMinimumHosts() == nil, 5),
		RequestVolume: wrapped(o.GetFailurePercentageRequestVolume(), o.GetFailurePercentageRequestVolume() == nil, 50),
		Enforcing:     new(share.GetValue()),
	}
}

// errorMatcher says which statuses are failures in place of 500 to 599. Our own
// words say it too where they are there.
func (p *problems) errorMatcher(spec *clusterSpec, at string, m *matchv3.MatchPredicate) {
	if m == nil {
		return
	}
	failures := p.statuses(at, m)
	if !spec.own {
		spec.cfg.Breaker.Classification.Failures = failures
	}
}

// statuses are what a predicate of statuses, or several of which one must hold,
// matches.
func (p *problems) statuses(at string, m *matchv3.MatchPredicate) []breaker.StatusRange {
	switch r := m.GetRule().(type) {
	case *matchv3.MatchPredicate_OrMatch:
		var out []breaker.StatusRange
		for _, one := range r.OrMatch.GetRules() {
			out = append(out, p.statuses(at, one)...)
		}
		return out
	case *matchv3.MatchPredicate_AnyMatch:
		return []breaker.StatusRange{{First: 100, Last: 599}}
	case *matchv3.MatchPredicate_HttpResponseHeadersMatch:
		if h := r.HttpResponseHeadersMatch.GetHeaders(); len(h) == 1 && h[0].GetName() == ":status" && !h[0].GetInvertMatch() {
			if s, ok := statusRange(h[0]); ok {
				return []breaker.StatusRange{s}
			}
		}
	}
	p.add("%s: only :status can be matched, by an exact value or a range, and or_match of such", at)
	return nil
}

func statusRange(h *routev3.HeaderMatcher) (breaker.StatusRange, bool) {
	switch v := h.GetHeaderMatchSpecifier().(type) {
	case *routev3.HeaderMatcher_StringMatch:
		n, err := strconv.Atoi(v.StringMatch.GetExact())
		return breaker.StatusRange{First: n, Last: n}, err == nil && within3(n, n)
	case *routev3.HeaderMatcher_RangeMatch:
		first, last := int(v.RangeMatch.GetStart()), int(v.RangeMatch.GetEnd())-1
		return breaker.StatusRange{First: first, Last: last}, within3(first, last)
	}
	return breaker.StatusRange{}, false
}

// within3 tells whether these are statuses, of three digits.
func within3(first, last int) bool { return first >= 100 && first <= last && last <= 599 }
