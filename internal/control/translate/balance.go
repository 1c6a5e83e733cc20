package translate

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/reclosermesh/recloser/internal/control/policy"
)

// balance says how an endpoint is chosen.
func balance(c *clusterv3.Cluster, e *policy.Effective) {
	slow := slowStart(e.Warmup)
	switch e.Balancer.Value {
	case policy.RoundRobin:
		c.LbPolicy = clusterv3.Cluster_ROUND_ROBIN
		if slow != nil {
			c.LbConfig = &clusterv3.Cluster_RoundRobinLbConfig_{RoundRobinLbConfig: &clusterv3.Cluster_RoundRobinLbConfig{SlowStartConfig: slow}}
		}
	case policy.Random:
		c.LbPolicy = clusterv3.Cluster_RANDOM
	case policy.RingHash:
		c.LbPolicy = clusterv3.Cluster_RING_HASH
		c.LbConfig = &clusterv3.Cluster_RingHashLbConfig_{RingHashLbConfig: &clusterv3.Cluster_RingHashLbConfig{
			MinimumRingSize: wrapperspb.UInt64(e.Hash.MinimumRingSize.Value),
		}}
	case policy.Maglev:
		c.LbPolicy = clusterv3.Cluster_MAGLEV
		if n := e.Hash.TableSize; n.IsSet() {
			c.LbConfig = &clusterv3.Cluster_MaglevLbConfig_{MaglevLbConfig: &clusterv3.Cluster_MaglevLbConfig{
				TableSize: wrapperspb.UInt64(n.Value),
			}}
		}
	default:
		// Envoy has no peak EWMA; fewest requests in flight is the nearest.
		c.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
		if slow != nil {
			c.LbConfig = &clusterv3.Cluster_LeastRequestLbConfig_{LeastRequestLbConfig: &clusterv3.Cluster_LeastRequestLbConfig{SlowStartConfig: slow}}
		}
	}
}

// slowStart is nil where a new endpoint gets its whole share at once.
func slowStart(w *policy.Warmup) *clusterv3.Cluster_SlowStartConfig {
	if w == nil {
		return nil
	}
	out := &clusterv3.Cluster_SlowStartConfig{
		SlowStartWindow:  durationpb.New(w.Duration.Value),
		MinWeightPercent: &typev3.Percent{Value: w.MinimumPercent.Value},
	}
	if written(w.Aggression) {
		// Envoy wants a key, by which its operator could change the value.
		out.Aggression = &corev3.RuntimeDouble{DefaultValue: w.Aggression.Value, RuntimeKey: "recloser.warmup.aggression"}
	}
	return out
}

// written tells whether somebody wrote a value into an object. What is a default
// of Envoy's is left to it, so that people find in a cluster what they wrote.
func written[T any](v policy.Value[T]) bool { return v.IsSet() && v.Origin.Default == "" }
