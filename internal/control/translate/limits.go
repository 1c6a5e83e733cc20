package translate

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	breakerv1 "github.com/reclosermesh/recloser/api/breaker/v1"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// circuitBreakers sets all four: what is not set is not unlimited in Envoy but
// 1024 connections, pending and requests, and 3 retries.
func circuitBreakers(l *policy.Limits, b *routing.Budget) *clusterv3.CircuitBreakers {
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     wrapperspb.UInt32(l.MaxConnections.Value),
		MaxPendingRequests: wrapperspb.UInt32(l.MaxPending.Value),
		MaxRequests:        wrapperspb.UInt32(l.MaxRequests.Value),
		MaxRetries:         wrapperspb.UInt32(l.MaxRetries.Value),
		RetryBudget:        retryBudget(b),
	}}}
}

func noLimits() *policy.Limits {
	u := policy.Value[uint32]{Value: policy.Unlimited}
	return &policy.Limits{MaxConnections: u, MaxPending: u, MaxRequests: u, MaxRetries: u}
}

// retryBudget is Envoy's form of a budget: retries that are allowed in any case
// are counted at a time, so for a rate of them Envoy gets the number of a
// second. Ours are told of the rate by the breaker's metadata.
func retryBudget(b *routing.Budget) *clusterv3.CircuitBreakers_Thresholds_RetryBudget {
	if b == nil {
		return nil
	}
	out := &clusterv3.CircuitBreakers_Thresholds_RetryBudget{BudgetPercent: &typev3.Percent{Value: min(max(b.Percent.Value, 0), 100)}}
	switch {
	case b.MinConcurrent.IsSet():
		out.MinRetryConcurrency = wrapperspb.UInt32(b.MinConcurrent.Value)
	case b.MinPerSecond.IsSet():
		out.MinRetryConcurrency = wrapperspb.UInt32(b.MinPerSecond.Value)
	}
	if b.Interval.Value > 0 {
		out.BudgetInterval = durationpb.New(b.Interval.Value)
	}
	return out
}

// The time over which requests count in a budget of ours.
const (
	minBudgetTTL = time.Second
	maxBudgetTTL = time.Minute
)

// rateBudget is a budget that is counted over a time, as Linkerd and Gateway API
// have it; nil for one that is counted at a time.
func rateBudget(b *routing.Budget) *breakerv1.RetryBudget {
	if b == nil || !b.MinPerSecond.IsSet() {
		return nil
	}
	ttl := min(max(b.Interval.Value, minBudgetTTL), maxBudgetTTL)
	return &breakerv1.RetryBudget{
		Ratio: min(max(b.Percent.Value, 0), 100) / 100, MinPerSecond: b.MinPerSecond.Value, Ttl: durationpb.New(ttl),
	}
}

// connectionOptions are nil where the operating system's own hold.
func connectionOptions(p *policy.Pool) *clusterv3.UpstreamConnectionOptions {
	k := p.TCPKeepalive
	if k == nil {
		return nil
	}
	out := &corev3.TcpKeepalive{}
	if k.Probes.IsSet() {
		out.KeepaliveProbes = wrapperspb.UInt32(k.Probes.Value)
	}
	seconds := func(v policy.Value[time.Duration]) *wrapperspb.UInt32Value {
		if !v.IsSet() {
			return nil
		}
		return wrapperspb.UInt32(uint32(v.Value / time.Second))
	}
	out.KeepaliveTime, out.KeepaliveInterval = seconds(k.Time), seconds(k.Interval)
	return &clusterv3.UpstreamConnectionOptions{TcpKeepalive: out}
}

// tunnel adds what holds for bytes towards a service to a chain of its
// listener, for an Envoy. Ours find the same in the cluster's metadata, since on
// the outbound listener many services share one chain.
func tunnel(p *tcpv3.TcpProxy, e *policy.Effective) {
	if d := e.Pool.TCPIdleTimeout; d.IsSet() {
		p.IdleTimeout = durationpb.New(d.Value)
	}
	if d := e.Pool.MaxConnectionDuration; d.IsSet() {
		p.MaxDownstreamConnectionDuration = durationpb.New(d.Value)
	}
	if e.Hash != nil && e.Hash.By.Value == policy.HashSourceIP {
		p.HashPolicy = []*typev3.HashPolicy{{
			PolicySpecifier: &typev3.HashPolicy_SourceIp_{SourceIp: &typev3.HashPolicy_SourceIp{}},
		}}
	}
}
