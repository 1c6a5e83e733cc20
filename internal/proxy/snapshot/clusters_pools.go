package snapshot

import (
	"net"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/reclosermesh/recloser/breaker"
)

// limits reads Envoy's circuit_breakers. Without thresholds nothing is limited,
// as Istio has it; a threshold of DEFAULT priority that leaves a field open
// gets Envoy's default there. Requests of HIGH priority are not told apart.
func (p *problems) limits(spec *clusterSpec, c *clusterv3.Cluster) {
	l := breaker.UnlimitedLimits()
	b := c.GetCircuitBreakers()
	p.only("circuit_breakers.", b, "thresholds")
	for _, t := range b.GetThresholds() {
		if t.GetPriority() != corev3.RoutingPriority_DEFAULT {
			continue
		}
		p.only("circuit_breakers.thresholds.", t, "max_connections", "max_pending_requests", "max_requests",
			"max_retries", "retry_budget", "track_remaining")
		envoy := breaker.EnvoyLimits()
		l.MaxConnections = wrapped(t.GetMaxConnections(), t.GetMaxConnections() == nil, envoy.MaxConnections)
		l.MaxPending = wrapped(t.GetMaxPendingRequests(), t.GetMaxPendingRequests() == nil, envoy.MaxPending)
		l.MaxRequests = wrapped(t.GetMaxRequests(), t.GetMaxRequests() == nil, envoy.MaxRequests)
		l.MaxRetries = wrapped(t.GetMaxRetries(), t.GetMaxRetries() == nil, envoy.MaxRetries)
		if l.RetryBudget = p.retryBudget(t.GetRetryBudget()); spec.cfg.RetryBudget != nil {
			l.RetryBudget = nil // it is the nearest that other clients can do
		}
		break
	}
	if err := l.Validate(); err != nil {
		p.add("circuit_breakers: %w", err)
	}
	spec.cfg.Limits = l
}

func (p *problems) retryBudget(b *clusterv3.CircuitBreakers_Thresholds_RetryBudget) *breaker.RetryConcurrency {
	if b == nil {
		return nil
	}
	const at = "circuit_breakers.thresholds.retry_budget."
	p.only(at, b, "budget_percent", "min_retry_concurrency", "budget_interval")
	return &breaker.RetryConcurrency{
		Percent:        wrapped(b.GetBudgetPercent(), b.GetBudgetPercent() == nil, 20),
		MinConcurrency: wrapped(b.GetMinRetryConcurrency(), b.GetMinRetryConcurrency() == nil, uint32(3)),
		Interval:       p.duration(at+"budget_interval", b.GetBudgetInterval(), 0),
	}
}

// connections are the options of the sockets to endpoints, and what Envoy's
// tcp_proxy says of a connection of opaque bytes, which here its cluster does.
func (p *problems) connections(spec *clusterSpec, c *clusterv3.Cluster) {
	o := c.GetUpstreamConnectionOptions()
	p.only("upstream_connection_options.", o, "tcp_keepalive", "set_local_interface_name_on_upstream_connections", "happy_eyeballs_config")
	if k := o.GetTcpKeepalive(); k != nil {
		spec.cfg.KeepAlive = p.tcpKeepalive("upstream_connection_options.tcp_keepalive.", k)
	}
	if n := c.GetMaxRequestsPerConnection(); n != nil { //nolint:staticcheck // deprecated, and still written
		spec.cfg.Limits.MaxRequestsPerConnection = n.GetValue()
	}
	own := c.GetMetadata().GetFilterMetadata()[serviceMetadata]
	spec.cfg.TCPIdleTimeout = p.written(serviceMetadata+".tcp_idle_timeout", text(own, "tcp_idle_timeout"))
	spec.cfg.TCPMaxDuration = p.written(serviceMetadata+".tcp_max_connection_duration", text(own, "tcp_max_connection_duration"))
}

// tcpKeepalive leaves to the operating system what is not set; Envoy takes 0 for
// not set too.
func (p *problems) tcpKeepalive(at string, k *corev3.TcpKeepalive) net.KeepAliveConfig {
	const most = 32767 // what Linux takes, in seconds and probes
	number := func(name string, set bool, v uint32) int {
		if !set || v == 0 {
			return -1
		}
		if v > most {
			p.add("%s%s %d: must be at most %d", at, name, v, most)
			return -1
		}
		return int(v)
	}
	seconds := func(name string, set bool, v uint32) time.Duration {
		if n := number(name, set, v); n > 0 {
			return time.Duration(n) * time.Second
		}
		return -1
	}
	return net.KeepAliveConfig{
		Enable:   true,
		Idle:     seconds("keepalive_time", k.GetKeepaliveTime() != nil, k.GetKeepaliveTime().GetValue()),
		Interval: seconds("keepalive_interval", k.GetKeepaliveInterval() != nil, k.GetKeepaliveInterval().GetValue()),
		Count:    number("keepalive_probes", k.GetKeepaliveProbes() != nil, k.GetKeepaliveProbes().GetValue()),
	}
}

// written reads a duration as Go writes it. Empty: not set, 0; zero says that
// there is no such bound: NoTimeout.
func (p *problems) written(field, s string) time.Duration {
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil || d < 0:
		p.add("metadata %s %q: a duration such as 90s is needed", field, s)
		return 0
	case d == 0:
		return NoTimeout
	}
	return d
}
