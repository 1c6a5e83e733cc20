package snapshot

import (
	"math"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/balance"
)

// balancer takes the balancer that our own control plane names (peak-ewma where
// it names none), and for foreign clusters Envoy's lb_policy. What belongs to a
// balancer is read from Envoy's fields in either case.
func (p *problems) balancer(spec *clusterSpec, c *clusterv3.Cluster) {
	cfg := &spec.cfg
	if own := c.GetMetadata().GetFilterMetadata()[serviceMetadata]; own != nil {
		if name := text(own, "balancer"); name != "" {
			policy, err := balance.ParsePolicy(name)
			if err != nil {
				p.add("metadata %s: %w", serviceMetadata, err)
			}
			cfg.LB = policy
		}
	} else {
		cfg.LB = p.lbPolicy(c)
	}
	switch lb := c.GetLbConfig().(type) {
	case *clusterv3.Cluster_RingHashLbConfig_:
		p.only("ring_hash_lb_config.", lb.RingHashLbConfig, "minimum_ring_size", "maximum_ring_size", "hash_function")
		cfg.MinRing = lb.RingHashLbConfig.GetMinimumRingSize().GetValue()
		cfg.MaxRing = lb.RingHashLbConfig.GetMaximumRingSize().GetValue()
		if f := lb.RingHashLbConfig.GetHashFunction(); f != clusterv3.Cluster_RingHashLbConfig_XX_HASH {
			p.add("ring_hash_lb_config.hash_function %s: XX_HASH is supported", f)
		}
	case *clusterv3.Cluster_MaglevLbConfig_:
		cfg.TableSize = lb.MaglevLbConfig.GetTableSize().GetValue()
	case *clusterv3.Cluster_LeastRequestLbConfig_:
		const at = "least_request_lb_config."
		p.only(at, lb.LeastRequestLbConfig, "choice_count", "active_request_bias", "slow_start_config")
		if n := lb.LeastRequestLbConfig.GetChoiceCount(); n != nil {
			if cfg.Choices = n.GetValue(); cfg.Choices < 2 || cfg.Choices > maxChoices {
				p.add("%schoice_count %d: must be from 2 to %d", at, n.GetValue(), maxChoices)
			}
		}
		if b := lb.LeastRequestLbConfig.GetActiveRequestBias(); b != nil && b.GetDefaultValue() != 1 {
			p.add("%sactive_request_bias %g: 1 is supported", at, b.GetDefaultValue())
		}
		p.slowStart(spec, at, lb.LeastRequestLbConfig.GetSlowStartConfig())
	case *clusterv3.Cluster_RoundRobinLbConfig_:
		p.slowStart(spec, "round_robin_lb_config.", lb.RoundRobinLbConfig.GetSlowStartConfig())
	}
	p.commonLB(spec, c.GetCommonLbConfig())
}

// maxChoices keeps a pick from looking at everything.
const maxChoices = 100

func (p *problems) lbPolicy(c *clusterv3.Cluster) balance.Policy {
	switch c.GetLbPolicy() {
	case clusterv3.Cluster_ROUND_ROBIN:
		return balance.RoundRobin
	case clusterv3.Cluster_LEAST_REQUEST:
		return balance.LeastRequest
	case clusterv3.Cluster_RANDOM:
		return balance.Random
	case clusterv3.Cluster_RING_HASH:
		return balance.RingHash
	case clusterv3.Cluster_MAGLEV:
		return balance.Maglev
	default:
		p.add("lb_policy %s: ROUND_ROBIN, LEAST_REQUEST, RANDOM, RING_HASH and MAGLEV are supported", c.GetLbPolicy())
		return balance.PeakEWMA
	}
}

// slowStart is for endpoints that are new, and for those that have recovered.
func (p *problems) slowStart(spec *clusterSpec, at string, s *clusterv3.Cluster_SlowStartConfig) {
	if s == nil {
		return
	}
	at += "slow_start_config."
	window := p.duration(at+"slow_start_window", s.GetSlowStartWindow(), 0)
	ramp := breaker.Ramp{Added: true}
	if a := s.GetAggression(); a != nil {
		if ramp.Aggression = a.GetDefaultValue(); !(ramp.Aggression > 0) || math.IsInf(ramp.Aggression, 1) {
			p.add("%saggression %g: must be more than 0", at, ramp.Aggression)
			ramp.Aggression = 0
		}
	}
	if m := s.GetMinWeightPercent(); m != nil {
		if v := m.GetValue(); v >= 0 && v <= 100 {
			ramp.MinWeight = new(v / 100)
		} else {
			p.add("%smin_weight_percent %g: must be from 0 to 100", at, v)
		}
	}
	if window > 0 {
		spec.cfg.Breaker.SlowStart, spec.cfg.Breaker.Ramp = window, ramp
	}
}

// commonLB reads what concerns every balancer. The panic threshold is the
// breaker's.
func (p *problems) commonLB(spec *clusterSpec, l *clusterv3.Cluster_CommonLbConfig) {
	const at = "common_lb_config."
	p.only(at, l, "healthy_panic_threshold", "locality_weighted_lb_config", "update_merge_window",
		"ignore_new_hosts_until_first_hc", "consistent_hashing_lb_config", "override_host_status")
	if h := l.GetConsistentHashingLbConfig(); h != nil {
		p.unsupported(at+"consistent_hashing_lb_config.", h, "use_hostname_for_hashing", "hash_balance_factor", "hash_policy")
	}
	spec.cfg.LocalityWeighted = l.GetLocalityWeightedLbConfig() != nil
}
