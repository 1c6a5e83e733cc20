package source

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	networkingv1 "istio.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Validate finds what Istio refuses, each part of the error with its field. What
// is said of TLS is left to lint: without the rule calls would go out in plain.
func (r *IstioDestinationRule) Validate() error {
	c := &ruleCheck{}
	spec := r.Spec
	if spec == nil {
		c.add("no-spec", "spec", "", "a host and what holds for it", "the rule says nothing")
		return c.err()
	}
	c.policy("spec.trafficPolicy", spec.GetTrafficPolicy())
	seen := map[string]bool{}
	for i, s := range spec.GetSubsets() {
		at := fmt.Sprintf("spec.subsets[%d]", i)
		switch {
		case len(validation.IsDNS1123Label(s.GetName())) > 0:
			c.add("bad-name", at+".name", s.GetName(), "small letters, digits and dashes, at most 63 (a DNS-1123 label)", "this cannot be the name of a subset")
		case seen[s.GetName()]:
			c.add("duplicate-subset", at+".name", s.GetName(), "a name that no other subset of the rule has", "there are two subsets of this name")
		}
		seen[s.GetName()] = true
		c.policy(at+".trafficPolicy", s.GetTrafficPolicy())
	}
	for i, to := range spec.GetExportTo() {
		if to != "*" && to != "." && len(validation.IsDNS1123Label(to)) > 0 {
			c.add("bad-name", fmt.Sprintf("spec.exportTo[%d]", i), to, `"*", "." or the name of a namespace`, "this is no namespace")
		}
	}
	return c.err()
}

// ruleCheck collects what is wrong with a DestinationRule.
type ruleCheck struct{ refusals }

func (c *ruleCheck) policy(at string, p *networkingv1.TrafficPolicy) {
	if p == nil {
		return
	}
	if p.GetLoadBalancer() == nil && p.GetConnectionPool() == nil && p.GetOutlierDetection() == nil && p.GetTls() == nil &&
		len(p.GetPortLevelSettings()) == 0 && p.GetTunnel() == nil && p.GetProxyProtocol() == nil && p.GetRetryBudget() == nil {
		c.empty(at, "traffic policy must have at least one field")
	}
	c.blocks(at, p.GetLoadBalancer(), p.GetConnectionPool(), p.GetOutlierDetection())
	if b := p.GetRetryBudget(); b != nil {
		c.within(at+".retryBudget.percent", b.GetPercent(), 0, 100)
		c.duration(at+".retryBudget.budgetInterval", b.GetBudgetInterval(), 0)
	}
	ports := map[uint32]bool{}
	for i, own := range p.GetPortLevelSettings() {
		at := fmt.Sprintf("%s.portLevelSettings[%d]", at, i)
		n := own.GetPort().GetNumber()
		switch {
		case n < 1 || n > math.MaxUint16:
			c.add("bad-port", at+".port.number", strconv.FormatUint(uint64(n), 10), "1 to 65535", "settings for a port need its number")
		case ports[n]:
			c.add("duplicate-port", at+".port.number", strconv.FormatUint(uint64(n), 10), "a port that is not there before", "the settings before are for the same port")
		}
		ports[n] = true
		if own.GetLoadBalancer() == nil && own.GetConnectionPool() == nil && own.GetOutlierDetection() == nil && own.GetTls() == nil {
			c.empty(at, "port traffic policy must have at least one field")
		}
		c.blocks(at, own.GetLoadBalancer(), own.GetConnectionPool(), own.GetOutlierDetection())
	}
}

func (c *ruleCheck) blocks(at string, b *networkingv1.LoadBalancerSettings, p *networkingv1.ConnectionPoolSettings, o *networkingv1.OutlierDetection) {
	c.balancer(at+".loadBalancer", b)
	c.pool(at+".connectionPool", p)
	c.outlier(at+".outlierDetection", o)
}

func (c *ruleCheck) pool(at string, p *networkingv1.ConnectionPoolSettings) {
	if p == nil {
		return
	}
	if p.GetTcp() == nil && p.GetHttp() == nil {
		c.empty(at, "connection pool must have at least one field")
	}
	if t := p.GetTcp(); t != nil {
		at := at + ".tcp"
		c.natural(at+".maxConnections", t.GetMaxConnections())
		c.duration(at+".connectTimeout", t.GetConnectTimeout(), time.Millisecond)
		c.duration(at+".maxConnectionDuration", t.GetMaxConnectionDuration(), time.Millisecond)
		c.duration(at+".idleTimeout", t.GetIdleTimeout(), 0)
		c.duration(at+".tcpKeepalive.time", t.GetTcpKeepalive().GetTime(), time.Millisecond)
		c.duration(at+".tcpKeepalive.interval", t.GetTcpKeepalive().GetInterval(), time.Millisecond)
	}
	h := p.GetHttp()
	if h == nil {
		return
	}
	at += ".http"
	c.natural(at+".http1MaxPendingRequests", h.GetHttp1MaxPendingRequests())
	c.natural(at+".http2MaxRequests", h.GetHttp2MaxRequests())
	c.natural(at+".maxRequestsPerConnection", h.GetMaxRequestsPerConnection())
	c.natural(at+".maxRetries", h.GetMaxRetries())
	c.natural(at+".maxConcurrentStreams", h.GetMaxConcurrentStreams())
	c.duration(at+".idleTimeout", h.GetIdleTimeout(), 0)
	c.duration(at+".http2KeepAlive.interval", h.GetHttp2KeepAlive().GetInterval(), time.Millisecond)
	c.duration(at+".http2KeepAlive.timeout", h.GetHttp2KeepAlive().GetTimeout(), time.Millisecond)
	if h.GetUseClientProtocol() && h.GetH2UpgradePolicy() == networkingv1.ConnectionPoolSettings_HTTPSettings_UPGRADE {
		c.add("contradiction", at+".useClientProtocol", "true", "false beside h2UpgradePolicy: UPGRADE", "the caller's version of HTTP cannot be kept and be lifted to HTTP/2")
	}
}

func (c *ruleCheck) outlier(at string, o *networkingv1.OutlierDetection) {
	if o == nil {
		return
	}
	c.duration(at+".interval", o.GetInterval(), time.Millisecond)
	c.duration(at+".baseEjectionTime", o.GetBaseEjectionTime(), time.Millisecond)
	c.percent(at+".maxEjectionPercent", o.GetMaxEjectionPercent())
	c.percent(at+".minHealthPercent", o.GetMinHealthPercent())
	if n := o.GetConsecutiveLocalOriginFailures().GetValue(); n > 0 && !o.GetSplitExternalLocalOriginErrors() {
		c.add("missing-field", at+".consecutiveLocalOriginFailures", strconv.FormatUint(uint64(n), 10), "with splitExternalLocalOriginErrors: true",
			"local origin failures are counted apart only where they are split from answers")
	}
	for i, code := range o.GetOutlierDetectionHttpErrorCodes() {
		if code < 100 || code > 599 {
			c.add("bad-status", fmt.Sprintf("%s.outlierDetectionHttpErrorCodes[%d]", at, i), strconv.FormatUint(uint64(code), 10), "100 to 599", "this is no status of HTTP")
		}
	}
}

func (c *ruleCheck) balancer(at string, b *networkingv1.LoadBalancerSettings) {
	if b == nil {
		return
	}
	if w := b.GetWarmup(); w != nil {
		if w.GetDuration() == nil {
			c.add("missing-field", at+".warmup.duration", "", "a duration of 1ms or more", "a warm-up needs its duration")
		}
		c.duration(at+".warmup.duration", w.GetDuration(), time.Millisecond)
		c.within(at+".warmup.minimumPercent", w.GetMinimumPercent(), 0, 100)
		c.within(at+".warmup.aggression", w.GetAggression(), 1, math.MaxFloat64)
	}
	c.duration(at+".warmupDurationSecs", b.GetWarmupDurationSecs(), time.Millisecond)
	if h := b.GetConsistentHash(); h != nil {
		c.hash(at+".consistentHash", h)
	}
	c.locality(at+".localityLbSetting", b.GetLocalityLbSetting())
}

func (c *ruleCheck) hash(at string, h *networkingv1.LoadBalancerSettings_ConsistentHashLB) {
	const allowed = "a name of letters, digits, dashes and the like"
	switch key := h.GetHashKey().(type) {
	case nil:
		c.add("missing-field", at, "", "one of httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName", "nothing is said of what to hash")
	case *networkingv1.LoadBalancerSettings_ConsistentHashLB_HttpHeaderName:
		if !httpguts.ValidHeaderFieldName(key.HttpHeaderName) {
			c.add("bad-header", at+".httpHeaderName", key.HttpHeaderName, allowed, "no header has this name")
		}
	case *networkingv1.LoadBalancerSettings_ConsistentHashLB_HttpCookie:
		if !httpguts.ValidHeaderFieldName(key.HttpCookie.GetName()) {
			c.add("bad-name", at+".httpCookie.name", key.HttpCookie.GetName(), allowed, "no cookie has this name")
		}
		c.duration(at+".httpCookie.ttl", key.HttpCookie.GetTtl(), 0)
	case *networkingv1.LoadBalancerSettings_ConsistentHashLB_HttpQueryParameterName:
		if key.HttpQueryParameterName == "" {
			c.add("missing-field", at+".httpQueryParameterName", "", "a name", "a parameter without a name cannot be hashed")
		}
	case *networkingv1.LoadBalancerSettings_ConsistentHashLB_UseSourceIp:
		if !key.UseSourceIp {
			c.add("missing-field", at+".useSourceIp", "false", "true, or another thing to hash", "nothing is said of what to hash")
		}
	}
	if n := h.GetMaglev().GetTableSize(); n > 0 && !IsMaglevSize(n) {
		c.add("bad-number", at+".maglev.tableSize", strconv.FormatUint(n, 10), fmt.Sprintf("a prime number, at most %d", maxTableSize), "the table of Maglev cannot have this size")
	}
}

// maxTableSize is Envoy's.
const maxTableSize = 5_000_011

// IsMaglevSize tells whether a table of Maglev can have a size: a prime number
// that is not larger than Envoy's bound.
func IsMaglevSize(n uint64) bool {
	if n > maxTableSize {
		return false
	}
	for d := uint64(2); d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return n > 1
}

func (c *ruleCheck) locality(at string, l *networkingv1.LocalityLoadBalancerSetting) {
	said := 0
	for _, n := range []int{len(l.GetDistribute()), len(l.GetFailover()), len(l.GetFailoverPriority())} {
		said += min(n, 1)
	}
	if said > 1 {
		c.add("contradiction", at, "", "one of distribute, failover and failoverPriority", "these exclude each other")
	}
	for i, d := range l.GetDistribute() {
		at := fmt.Sprintf("%s.distribute[%d]", at, i)
		sum := uint64(0)
		for _, w := range d.GetTo() {
			sum += uint64(w)
		}
		if d.GetFrom() == "" || len(d.GetTo()) == 0 {
			c.add("missing-field", at, "", "from and to", "the localities are not named")
		} else if sum != 100 {
			c.add("bad-percentage", at+".to", strconv.FormatUint(sum, 10), "weights whose sum is 100", "the weights of localities are percentages")
		}
	}
	for i, f := range l.GetFailover() {
		at := fmt.Sprintf("%s.failover[%d]", at, i)
		switch {
		case f.GetFrom() == "" || f.GetTo() == "":
			c.add("missing-field", at, "", "from and to", "the regions are not named")
		case f.GetFrom() == f.GetTo():
			c.add("contradiction", at+".to", f.GetTo(), "another region than from", "a region cannot stand in for itself")
		case strings.ContainsAny(f.GetFrom()+f.GetTo(), "/*"):
			c.add("bad-name", at, f.GetFrom()+" to "+f.GetTo(), "names of regions, without a zone", "failover is from region to region")
		}
	}
	if i := slices.Index(l.GetFailoverPriority(), ""); i >= 0 {
		c.add("bad-name", fmt.Sprintf("%s.failoverPriority[%d]", at, i), "", "a label", "a label without a name fits nothing")
	}
}

func (c *ruleCheck) empty(at, reason string) {
	c.add("empty-block", at, "", "one of its fields, or leave it out", reason)
}

func (c *ruleCheck) natural(field string, n int32) {
	if n < 0 {
		c.add("bad-number", field, strconv.Itoa(int(n)), "1 to 2147483647, or leave it out", "this cannot be negative")
	}
}

func (c *ruleCheck) percent(field string, n int32) {
	if n < 0 || n > 100 {
		c.add("bad-percentage", field, strconv.Itoa(int(n)), "0 to 100", fmt.Sprintf("percentage %d is not in range 0..100", n))
	}
}

func (c *ruleCheck) within(field string, w *wrapperspb.DoubleValue, low, high float64) {
	if w == nil || w.GetValue() >= low && w.GetValue() <= high {
		return
	}
	allowed := fmt.Sprintf("%g to %g", low, high)
	if high == math.MaxFloat64 {
		allowed = fmt.Sprintf("%g or more", low)
	}
	c.add("bad-number", field, strconv.FormatFloat(w.GetValue(), 'g', -1, 64), allowed, "this is out of its range")
}

// longest is what durations are at most: proto's own bound is of use to nobody,
// and 100 years are enough to mean never.
const longest = 100 * 365 * 24 * time.Hour

// duration refuses what is shorter than least; 0 as least stands for 0 or 1ms
// and more.
func (c *ruleCheck) duration(field string, d *durationpb.Duration, least time.Duration) {
	v := d.AsDuration()
	if d == nil || v >= time.Millisecond && v <= longest || v == 0 && least == 0 && d.IsValid() {
		return
	}
	allowed := "1ms to 876000h"
	if least == 0 {
		allowed = "0s, or " + allowed
	}
	c.add("bad-duration", field, v.String(), allowed, "duration must be 1ms or more")
}
