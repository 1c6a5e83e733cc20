package policy

import (
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	networkingv1 "istio.io/api/networking/v1"

	"github.com/reclosermesh/recloser/internal/control/routing"
)

// The messages of a DestinationRule by shorter names.
type (
	balancerSettings = networkingv1.LoadBalancerSettings
	poolSettings     = networkingv1.ConnectionPoolSettings
	outlierSettings  = networkingv1.OutlierDetection
	budgetSettings   = networkingv1.TrafficPolicy_RetryBudget
)

// istioConnectTimeout is Istio's default of connectTimeout.
const istioConnectTimeout = 10 * time.Second

// keepaliveTimeout is for a ping of HTTP/2 where a rule names only the interval;
// Envoy has no default and refuses.
const keepaliveTimeout = 10 * time.Second

// maxEjectionTime is Envoy's; with a longer base ejection time that counts.
const maxEjectionTime = 300 * time.Second

func fallback[T any](v T, whose string) Value[T] {
	return Value[T]{Value: v, Origin: Origin{Default: whose}}
}

// outlierOf is nil where no rule has a block of outlierDetection.
func outlierOf(ls layers[*outlierSettings]) *Outlier {
	if len(ls) == 0 {
		return nil
	}
	type s = *outlierSettings
	o := &Outlier{
		Consecutive5xx: setting(ls, "consecutive5xxErrors", wrapped(s.GetConsecutive_5XxErrors)).
			Or(fallback(uint32(5), "Envoy")),
		ConsecutiveGateway: setting(ls, "consecutiveGatewayErrors", wrapped(s.GetConsecutiveGatewayErrors)).
			Or(fallback(uint32(0), "Envoy: counted, but nothing follows")),
		SplitLocalOrigin: setting(ls, "splitExternalLocalOriginErrors", switched(s.GetSplitExternalLocalOriginErrors)).
			Or(fallback(false, "Envoy")),
		Interval: setting(ls, "interval", span(s.GetInterval)).
			Or(fallback(10*time.Second, "Envoy")),
		BaseEjectionTime: setting(ls, "baseEjectionTime", span(s.GetBaseEjectionTime)).
			Or(fallback(30*time.Second, "Envoy")),
		MaxEjectionPercent: setting(ls, "maxEjectionPercent", percentage(s.GetMaxEjectionPercent)).
			Or(fallback(uint32(10), "Envoy")),
		MinHealthPercent: setting(ls, "minHealthPercent", percentage(s.GetMinHealthPercent)).
			Or(fallback(uint32(0), "Istio: never")),
		HTTPErrorCodes: setting(ls, "outlierDetectionHttpErrorCodes", errorCodes),
	}
	o.MaxEjectionTime = fallback(max(maxEjectionTime, o.BaseEjectionTime.Value), "Envoy")
	if o.SplitLocalOrigin.Value {
		// Istio takes a 0 that is set as unset here.
		o.ConsecutiveLocalOrigin = setting(ls, "consecutiveLocalOriginFailures", func(m s) (uint32, bool) {
			n := m.GetConsecutiveLocalOriginFailures().GetValue()
			return n, n > 0
		}).Or(fallback(uint32(5), "Envoy"))
	}
	return o
}

// errorCodes are those that are statuses.
func errorCodes(m *outlierSettings) ([]uint32, bool) {
	codes := slices.DeleteFunc(slices.Clone(m.GetOutlierDetectionHttpErrorCodes()), func(c uint32) bool { return c < 100 || c > 599 })
	slices.Sort(codes)
	codes = slices.Compact(codes)
	return codes, len(codes) > 0
}

func limitsOf(ls layers[*poolSettings]) Limits {
	type s = *poolSettings
	unlimited := fallback(Unlimited, "Istio: no limit")
	return Limits{
		MaxConnections: setting(ls, "tcp.maxConnections", positive(func(m s) int32 { return m.GetTcp().GetMaxConnections() })).Or(unlimited),
		MaxPending:     setting(ls, "http.http1MaxPendingRequests", positive(func(m s) int32 { return m.GetHttp().GetHttp1MaxPendingRequests() })).Or(unlimited),
		MaxRequests:    setting(ls, "http.http2MaxRequests", positive(func(m s) int32 { return m.GetHttp().GetHttp2MaxRequests() })).Or(unlimited),
		MaxRetries:     setting(ls, "http.maxRetries", positive(func(m s) int32 { return m.GetHttp().GetMaxRetries() })).Or(unlimited),
	}
}

func connectTimeoutOf(ls layers[*poolSettings]) Value[time.Duration] {
	return setting(ls, "tcp.connectTimeout", span(func(m *poolSettings) *durationpb.Duration { return m.GetTcp().GetConnectTimeout() })).
		Or(fallback(istioConnectTimeout, "Istio"))
}

func poolOf(ls layers[*poolSettings]) Pool {
	type s = *poolSettings
	p := Pool{
		MaxConnectionDuration:    setting(ls, "tcp.maxConnectionDuration", span(func(m s) *durationpb.Duration { return m.GetTcp().GetMaxConnectionDuration() })),
		TCPIdleTimeout:           setting(ls, "tcp.idleTimeout", spanOrOff(func(m s) *durationpb.Duration { return m.GetTcp().GetIdleTimeout() })),
		IdleTimeout:              setting(ls, "http.idleTimeout", spanOrOff(func(m s) *durationpb.Duration { return m.GetHttp().GetIdleTimeout() })),
		MaxRequestsPerConnection: setting(ls, "http.maxRequestsPerConnection", positive(func(m s) int32 { return m.GetHttp().GetMaxRequestsPerConnection() })),
		MaxConcurrentStreams:     setting(ls, "http.maxConcurrentStreams", positive(func(m s) int32 { return m.GetHttp().GetMaxConcurrentStreams() })),
		UseClientProtocol:        setting(ls, "http.useClientProtocol", switched(func(m s) bool { return m.GetHttp().GetUseClientProtocol() })),
		H2Upgrade:                setting(ls, "http.h2UpgradePolicy", upgrade),
		TCPKeepalive:             tcpKeepaliveOf(ls),
		HTTP2Keepalive:           http2KeepaliveOf(ls),
	}
	p.IdleTimeout = p.IdleTimeout.Or(p.TCPIdleTimeout)
	return p
}

// upgrade is unset for DEFAULT, which is Istio's mesh-wide setting: off.
func upgrade(m *poolSettings) (on, set bool) {
	policy := m.GetHttp().GetH2UpgradePolicy()
	return policy == networkingv1.ConnectionPoolSettings_HTTPSettings_UPGRADE, policy != networkingv1.ConnectionPoolSettings_HTTPSettings_DEFAULT
}

func tcpKeepaliveOf(ls layers[*poolSettings]) *TCPKeepalive {
	type s = *poolSettings
	if !slices.ContainsFunc(ls, func(l layer[s]) bool { return l.said.GetTcp().GetTcpKeepalive() != nil }) {
		return nil
	}
	const at = "tcp.tcpKeepalive."
	return &TCPKeepalive{
		Probes: setting(ls, at+"probes", func(m s) (uint32, bool) {
			n := m.GetTcp().GetTcpKeepalive().GetProbes()
			return n, n > 0 && n <= math.MaxInt8 // what Linux takes
		}),
		Time:     setting(ls, at+"time", wholeSeconds(func(m s) *durationpb.Duration { return m.GetTcp().GetTcpKeepalive().GetTime() })),
		Interval: setting(ls, at+"interval", wholeSeconds(func(m s) *durationpb.Duration { return m.GetTcp().GetTcpKeepalive().GetInterval() })),
	}
}

// http2KeepaliveOf is nil without an interval: a timeout alone pings nobody.
func http2KeepaliveOf(ls layers[*poolSettings]) *HTTP2Keepalive {
	type s = *poolSettings
	const at = "http.http2KeepAlive."
	k := &HTTP2Keepalive{
		Interval: setting(ls, at+"interval", span(func(m s) *durationpb.Duration { return m.GetHttp().GetHttp2KeepAlive().GetInterval() })),
		Timeout: setting(ls, at+"timeout", span(func(m s) *durationpb.Duration { return m.GetHttp().GetHttp2KeepAlive().GetTimeout() })).
			Or(fallback(keepaliveTimeout, "Recloser")),
	}
	if !k.Interval.IsSet() {
		return nil
	}
	return k
}

// warmupOf is nil where no rule asks for it.
func warmupOf(ls layers[*balancerSettings]) *Warmup {
	type s = *balancerSettings
	duration := setting(ls, "warmup.duration", span(func(m s) *durationpb.Duration { return m.GetWarmup().GetDuration() })).
		Or(setting(ls, "warmupDurationSecs", span(s.GetWarmupDurationSecs)))
	if !duration.IsSet() {
		return nil
	}
	return &Warmup{
		Duration: duration,
		MinimumPercent: setting(ls, "warmup.minimumPercent", between(func(m s) *wrapperspb.DoubleValue { return m.GetWarmup().GetMinimumPercent() }, 0, 100)).
			Or(fallback(10.0, "Istio")),
		Aggression: setting(ls, "warmup.aggression", between(func(m s) *wrapperspb.DoubleValue { return m.GetWarmup().GetAggression() }, 1, math.MaxFloat64)).
			Or(fallback(1.0, "Istio: linear")),
	}
}

// budgetOf is nil where no rule bounds retries by a share.
func budgetOf(ls layers[*budgetSettings]) *routing.Budget {
	if len(ls) == 0 {
		return nil
	}
	type s = *budgetSettings
	return &routing.Budget{
		Percent: setting(ls, "percent", between(s.GetPercent, 0, 100)).
			Or(fallback(20.0, "Envoy")),
		MinConcurrent: setting(ls, "minRetryConcurrency", func(m s) (uint32, bool) { n := m.GetMinRetryConcurrency(); return n, n > 0 }).
			Or(fallback(uint32(3), "Envoy")),
		Interval: setting(ls, "budgetInterval", span(s.GetBudgetInterval)),
	}
}
