package policy

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
	networkingv1 "istio.io/api/networking/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// defaultRingSize is Istio's.
const defaultRingSize = 1024

// maxRingSize is Envoy's bound of the points of a ring.
const maxRingSize = 8 << 20

// balancerOf is unset where no rule names a balancer that there is.
func balancerOf(ls layers[*balancerSettings]) (Value[Balancer], *Hash) {
	for i, l := range ls {
		switch p := l.said.GetLbPolicy().(type) {
		case *networkingv1.LoadBalancerSettings_Simple:
			if b, ok := simple(p.Simple); ok {
				return Value[Balancer]{Value: b, Origin: origin.Of(l.object, l.field+".simple")}, nil
			}
		case *networkingv1.LoadBalancerSettings_ConsistentHash:
			if b, h := hashOf(ls[i : i+1]); h != nil {
				return b, h
			}
		}
	}
	return Value[Balancer]{}, nil
}

// MayHash tells whether any DestinationRule for a service speaks of consistent
// hashing, for whomever: where none does, Effective need not be asked, which
// counts where a port has thousands of routes.
func (t *Table) MayHash(service model.Name) bool {
	asks := func(p *networkingv1.TrafficPolicy) bool {
		return p.GetLoadBalancer().GetConsistentHash() != nil ||
			slices.ContainsFunc(p.GetPortLevelSettings(), func(own *networkingv1.TrafficPolicy_PortTrafficPolicy) bool {
				return own.GetLoadBalancer().GetConsistentHash() != nil
			})
	}
	for _, o := range t.world.Rules(service) {
		rule, ok := o.Value.(*source.IstioDestinationRule)
		if !ok {
			continue
		}
		if asks(rule.Spec.GetTrafficPolicy()) ||
			slices.ContainsFunc(rule.Spec.GetSubsets(), func(s *networkingv1.Subset) bool { return asks(s.GetTrafficPolicy()) }) {
			return true
		}
	}
	return false
}

// simple has no PASSTHROUGH: the address that a caller wanted to reach is not
// known to a proxy that is asked for a service by its name.
func simple(b networkingv1.LoadBalancerSettings_SimpleLB) (Balancer, bool) {
	switch b {
	case networkingv1.LoadBalancerSettings_LEAST_REQUEST,
		networkingv1.LoadBalancerSettings_LEAST_CONN: // deprecated, and in use
		return LeastRequest, true
	case networkingv1.LoadBalancerSettings_ROUND_ROBIN:
		return RoundRobin, true
	case networkingv1.LoadBalancerSettings_RANDOM:
		return Random, true
	default:
		return "", false
	}
}

// hashOf is nil where nothing is said of what to hash.
func hashOf(l layers[*balancerSettings]) (Value[Balancer], *Hash) {
	hash := l[0].said.GetConsistentHash()
	at := l[0].field + ".consistentHash"
	of := func(name string) Origin { return origin.Of(l[0].object, at+"."+name) }
	h := &Hash{}
	named := func(by HashBy, field, name string) {
		h.By = Value[HashBy]{Value: by, Origin: of(field)}
		h.Name = Value[string]{Value: name, Origin: of(field)}
	}
	switch key := hash.GetHashKey().(type) {
	case *networkingv1.LoadBalancerSettings_ConsistentHashLB_HttpHeaderName:
		named(HashHeader, "httpHeaderName", key.HttpHeaderName)
	case *networkingv1.LoadBalancerSettings_ConsistentHashLB_HttpQueryParameterName:
		named(HashQuery, "httpQueryParameterName", key.HttpQueryParameterName)
	case *networkingv1.LoadBalancerSettings_ConsistentHashLB_UseSourceIp:
		if key.UseSourceIp {
			h.By = Value[HashBy]{Value: HashSourceIP, Origin: of("useSourceIp")}
		}
	case *networkingv1.LoadBalancerSettings_ConsistentHashLB_HttpCookie:
		named(HashCookie, "httpCookie.name", key.HttpCookie.GetName())
		h.cookie(key.HttpCookie, of)
	}
	if !h.By.IsSet() || h.By.Value != HashSourceIP && !h.named() {
		return Value[Balancer]{}, nil
	}
	if m, ok := hash.GetHashAlgorithm().(*networkingv1.LoadBalancerSettings_ConsistentHashLB_Maglev); ok {
		if n := m.Maglev.GetTableSize(); source.IsMaglevSize(n) {
			h.TableSize = Value[uint64]{Value: n, Origin: of("maglev.tableSize")}
		}
		return Value[Balancer]{Value: Maglev, Origin: of("maglev")}, h
	}
	h.MinimumRingSize = ringSize(hash, of)
	return Value[Balancer]{Value: RingHash, Origin: origin.Of(l[0].object, at)}, h
}

// named tells whether there can be something of that name in a request: headers
// and cookies have tokens for names (RFC 9110 section 5.1, RFC 6265 section 4.1).
func (h *Hash) named() bool {
	if h.By.Value == HashQuery {
		return h.Name.Value != "" && !strings.ContainsFunc(h.Name.Value, func(r rune) bool { return r < ' ' || r == 0x7f })
	}
	return httpguts.ValidHeaderFieldName(h.Name.Value)
}

func (h *Hash) cookie(c *networkingv1.LoadBalancerSettings_ConsistentHashLB_HTTPCookie, of func(string) Origin) {
	if c.GetPath() != "" && httpguts.ValidHeaderFieldValue(c.GetPath()) && !strings.Contains(c.GetPath(), ";") {
		h.CookiePath = Value[string]{Value: c.GetPath(), Origin: of("httpCookie.path")}
	}
	if d := c.GetTtl(); d != nil && d.AsDuration() >= 0 {
		h.CookieTTL.Value, h.CookieTTL.Origin = d.AsDuration(), of("httpCookie.ttl")
	}
	for i, a := range c.GetAttributes() {
		if !httpguts.ValidHeaderFieldName(a.GetName()) || !httpguts.ValidHeaderFieldValue(a.GetValue()) || strings.Contains(a.GetValue(), ";") {
			continue
		}
		h.CookieAttributes.Origin = of(fmt.Sprintf("httpCookie.attributes[%d]", i))
		h.CookieAttributes.Value = append(h.CookieAttributes.Value, CookieAttribute{Name: a.GetName(), Value: a.GetValue()})
	}
}

// ringSize is in one of two places, the older of which Istio still reads.
func ringSize(hash *networkingv1.LoadBalancerSettings_ConsistentHashLB, of func(string) Origin) Value[uint64] {
	if n := hash.GetRingHash().GetMinimumRingSize(); n > 0 {
		return Value[uint64]{Value: min(n, maxRingSize), Origin: of("ringHash.minimumRingSize")}
	}
	if n := hash.GetMinimumRingSize(); n > 0 { //nolint:staticcheck // deprecated, and in use
		return Value[uint64]{Value: min(n, maxRingSize), Origin: of("minimumRingSize")}
	}
	return fallback(uint64(defaultRingSize), "Istio")
}

// localityOf is nil where no rule says anything of places.
func localityOf(ls layers[*balancerSettings]) *Locality {
	for _, l := range ls {
		s := l.said.GetLocalityLbSetting()
		if s == nil {
			continue
		}
		at := l.field + ".localityLbSetting"
		out := &Locality{Enabled: fallback(true, "Istio")}
		if v := s.GetEnabled(); v != nil {
			out.Enabled = Value[bool]{Value: v.GetValue(), Origin: origin.Of(l.object, at+".enabled")}
		}
		for i, d := range s.GetDistribute() {
			out.Distribute = append(out.Distribute, Distribute{
				Origin: origin.Of(l.object, fmt.Sprintf("%s.distribute[%d]", at, i)), From: d.GetFrom(), To: d.GetTo(),
			})
		}
		for i, f := range s.GetFailover() {
			out.Failover = append(out.Failover, Failover{
				Origin: origin.Of(l.object, fmt.Sprintf("%s.failover[%d]", at, i)), From: f.GetFrom(), To: f.GetTo(),
			})
		}
		if p := s.GetFailoverPriority(); len(p) > 0 {
			out.FailoverPriority = Value[[]string]{Value: p, Origin: origin.Of(l.object, at+".failoverPriority")}
		}
		return out
	}
	return nil
}
