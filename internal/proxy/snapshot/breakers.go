package snapshot

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	breakerv1 "github.com/reclosermesh/recloser/api/breaker/v1"
	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// breaker reads our own policy from the metadata, or else Envoy's
// outlier_detection: where both are there, the second is only the nearest that
// other clients can do.
func (p *problems) breaker(spec *clusterSpec, c *clusterv3.Cluster) {
	spec.cfg.FailFast, spec.cfg.MaxWaiting = upstream.DefaultFailFast, upstream.DefaultMaxWaiting
	if body := c.GetMetadata().GetTypedFilterMetadata()[breakerMetadata]; body != nil {
		own := new(breakerv1.Breaker)
		if err := body.UnmarshalTo(own); err != nil {
			p.add("metadata %s: %w", breakerMetadata, err)
			return
		}
		spec.cfg.Breaker = p.policy(own)
		spec.own = true
		spec.cfg.FailFast = p.duration(breakerMetadata+".fail_fast", own.GetFailFast(), upstream.DefaultFailFast)
		if w := own.GetMaxWaiting(); w != nil {
			spec.cfg.MaxWaiting = w.GetValue()
		}
		if b := own.GetRetryBudget(); b != nil {
			spec.cfg.RetryBudget = &breaker.RetryBudgetConfig{
				Ratio: b.GetRatio(), MinPerSecond: b.GetMinPerSecond(),
				TTL: p.duration(breakerMetadata+".retry_budget.ttl", b.GetTtl(), breaker.DefaultRetryBudget().TTL),
			}
		}
		return
	}
	if o := c.GetOutlierDetection(); o != nil {
		spec.cfg.Breaker = p.outlier(o, c.GetCommonLbConfig().GetHealthyPanicThreshold())
		spec.cfg.FailFast, spec.cfg.MaxWaiting = 0, 0 // Envoy refuses at once
	}
}

// policy is the Breaker message as breaker.Config. What is left open in its
// recovery is as Linkerd has it: probes after 1s to 60s.
func (p *problems) policy(b *breakerv1.Breaker) breaker.Config {
	const at = breakerMetadata + "."
	cfg := breaker.Config{
		Recovery:      breaker.LinkerdConsecutive().Recovery,
		SlowStart:     p.duration(at+"slow_start", b.GetSlowStart(), 0),
		SweepInterval: p.duration(at+"sweep_interval", b.GetSweepInterval(), 0),
	}
	for _, d := range b.GetDetectors() {
		p.detector(&cfg.Detectors, d)
	}
	if r := b.GetRecovery(); r != nil {
		cfg.Recovery = breaker.Recovery{
			Mode:         breaker.Mode(r.GetMode()),
			Backoff:      breaker.BackoffKind(r.GetBackoff()),
			Min:          p.duration(at+"recovery.min", r.GetMin(), cfg.Recovery.Min),
			Max:          p.duration(at+"recovery.max", r.GetMax(), cfg.Recovery.Max),
			Jitter:       r.GetJitter(),
			ProbeTimeout: p.duration(at+"recovery.probe_timeout", r.GetProbeTimeout(), 0),
		}
	}
	g := b.GetGuards()
	cfg.Guards = breaker.Guards{
		MaxEjectionPercent: optional(g.GetMaxEjectionPercent()),
		MinReady:           int(g.GetMinReady()),
		PanicThreshold:     g.GetPanicThreshold(),
	}
	k := b.GetClassification()
	cfg.Classification = breaker.Classification{
		Failures: ranges(k.GetFailures()), GRPCFailures: k.GetGrpcFailures(),
		RateOnly: ranges(k.GetRateOnly()), GRPCRateOnly: k.GetGrpcRateOnly(),
		SplitLocalOrigin: k.GetSplitLocalOrigin(),
	}
	return cfg
}

func (p *problems) detector(out *breaker.Detectors, d *breakerv1.Detector) {
	const at = breakerMetadata + ".detectors."
	enforcing := optional(d.GetEnforcing())
	switch k := d.GetKind().(type) {
	case *breakerv1.Detector_Consecutive:
		out.Consecutive = &breaker.Consecutive{Failures: k.Consecutive.GetFailures(), Enforcing: enforcing}
	case *breakerv1.Detector_ConsecutiveGateway:
		out.ConsecutiveGateway = &breaker.Consecutive{Failures: k.ConsecutiveGateway.GetFailures(), Enforcing: enforcing}
	case *breakerv1.Detector_ConsecutiveLocalOrigin:
		out.ConsecutiveLocalOrigin = &breaker.Consecutive{Failures: k.ConsecutiveLocalOrigin.GetFailures(), Enforcing: enforcing}
	case *breakerv1.Detector_SuccessRateEwma:
		m := k.SuccessRateEwma
		out.SuccessRateEWMA = &breaker.SuccessRateEWMA{Threshold: m.GetThreshold(), Requests: m.GetRequests(), Enforcing: enforcing}
	case *breakerv1.Detector_SuccessRateWindow:
		m := k.SuccessRateWindow
		out.SuccessRateWindow = &breaker.SuccessRateWindow{
			Threshold: m.GetThreshold(), Window: p.duration(at+"success_rate_window.window", m.GetWindow(), 0),
			MinRequests: m.GetMinRequests(), Enforcing: enforcing,
		}
	case *breakerv1.Detector_SuccessRateOutlier:
		m := k.SuccessRateOutlier
		out.SuccessRateOutlier = &breaker.SuccessRateOutlier{
			Factor: m.GetFactor(), MinHosts: m.GetMinHosts(), RequestVolume: m.GetRequestVolume(), Enforcing: enforcing,
		}
	case *breakerv1.Detector_FailurePercentage:
		m := k.FailurePercentage
		out.FailurePercentage = &breaker.FailurePercentage{
			Threshold: m.GetThreshold(), MinHosts: m.GetMinHosts(), RequestVolume: m.GetRequestVolume(), Enforcing: enforcing,
		}
	case *breakerv1.Detector_SlowCalls:
		m := k.SlowCalls
		out.SlowCalls = &breaker.SlowCalls{
			Duration: p.duration(at+"slow_calls.duration", m.GetDuration(), 0), Share: m.GetShare(),
			Window: p.duration(at+"slow_calls.window", m.GetWindow(), 0), MinRequests: m.GetMinRequests(), Enforcing: enforcing,
		}
	case *breakerv1.Detector_HungCalls:
		out.HungCalls = &breaker.HungCalls{Age: p.duration(at+"hung_calls.age", k.HungCalls.GetAge(), 0), Enforcing: enforcing}
	default:
		p.add("%skind: this proxy knows no such detector", at)
	}
}

func optional(w *wrapperspb.UInt32Value) *uint32 {
	if w == nil {
		return nil
	}
	return new(w.GetValue())
}

func ranges(list []*breakerv1.StatusRange) []breaker.StatusRange {
	var out []breaker.StatusRange
	for _, r := range list {
		out = append(out, breaker.StatusRange{First: int(r.GetFirst()), Last: int(r.GetLast())})
	}
	return out
}
