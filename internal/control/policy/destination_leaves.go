package policy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// leafer collects the settings that somebody wrote, or that follow from it.
type leafer struct{ list []Leaf }

// add leaves out what is unset.
func add[T any](l *leafer, path string, v Value[T], show func(T) string) {
	if v.IsSet() {
		l.list = append(l.list, leaf(path, v, show))
	}
}

func same(s string) string { return s }

func yesNo(b bool) string { return strconv.FormatBool(b) }

func offAtZero(d time.Duration) string {
	if d == 0 {
		return "0s (off)"
	}
	return text(d)
}

func big(n uint64) string { return strconv.FormatUint(n, 10) }

func percent(n uint32) string { return strconv.FormatUint(uint64(n), 10) + "%" }

// labelText is labels in the order of their names.
func labelText(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, k+"="+labels[k])
	}
	if len(out) == 0 {
		return "(all endpoints)"
	}
	return strings.Join(out, ",")
}

// leaves are those of the balancer, the pools and the retry budget: what nobody
// wrote is not listed, but for what belongs to something that is there.
func (d *Destination) leaves() []Leaf {
	l := &leafer{}
	if s := d.Subset; s != nil {
		if s.Unknown {
			l.list = append(l.list, Leaf{Path: "subset", Value: s.Name + " (unknown: 503)", Origin: Origin{Default: "Istio: a subset has to be named by a DestinationRule"}})
		} else {
			add(l, "subset."+s.Name, s.Labels, labelText)
		}
	}
	d.Hash.leaves(l)
	if w := d.Warmup; w != nil {
		add(l, "warmup.duration", w.Duration, text)
		add(l, "warmup.minimumPercent", w.MinimumPercent, func(f float64) string { return decimal(f) + "%" })
		add(l, "warmup.aggression", w.Aggression, decimal)
	}
	d.Locality.leaves(l)
	d.Pool.leaves(l)
	if b := d.RetryBudget; b != nil {
		add(l, "retryBudget.percent", b.Percent, func(f float64) string { return decimal(f) + "%" })
		add(l, "retryBudget.minPerSecond", b.MinPerSecond, limit)
		add(l, "retryBudget.minConcurrent", b.MinConcurrent, limit)
		add(l, "retryBudget.interval", b.Interval, text)
	}
	return l.list
}

func (h *Hash) leaves(l *leafer) {
	if h == nil {
		return
	}
	add(l, "hash.by", h.By, func(b HashBy) string {
		if h.Name.Value == "" {
			return string(b)
		}
		return string(b) + " " + h.Name.Value
	})
	add(l, "hash.cookiePath", h.CookiePath, same)
	add(l, "hash.cookieTtl", h.CookieTTL, func(d time.Duration) string {
		if d == 0 {
			return "0s (for the session)"
		}
		return text(d)
	})
	add(l, "hash.cookieAttributes", h.CookieAttributes, func(list []CookieAttribute) string {
		var out []string
		for _, a := range list {
			out = append(out, strings.TrimSuffix(a.Name+"="+a.Value, "="))
		}
		return strings.Join(out, "; ")
	})
	add(l, "hash.minimumRingSize", h.MinimumRingSize, big)
	add(l, "hash.tableSize", h.TableSize, big)
}

func (o *Locality) leaves(l *leafer) {
	if o == nil {
		return
	}
	add(l, "locality.enabled", o.Enabled, yesNo)
	for i := range o.Distribute {
		d := &o.Distribute[i]
		var to []string
		for _, k := range slices.Sorted(maps.Keys(d.To)) {
			to = append(to, fmt.Sprintf("%s %d%%", k, d.To[k]))
		}
		l.list = append(l.list, Leaf{Path: fmt.Sprintf("locality.distribute[%d]", i), Value: d.From + " -> " + strings.Join(to, ", "), Origin: d.Origin})
	}
	for i := range o.Failover {
		f := &o.Failover[i]
		l.list = append(l.list, Leaf{Path: fmt.Sprintf("locality.failover[%d]", i), Value: f.From + " -> " + f.To, Origin: f.Origin})
	}
	add(l, "locality.failoverPriority", o.FailoverPriority, func(list []string) string { return strings.Join(list, ", ") })
}

func (p *Pool) leaves(l *leafer) {
	add(l, "pool.maxConnectionDuration", p.MaxConnectionDuration, text)
	add(l, "pool.tcpIdleTimeout", p.TCPIdleTimeout, offAtZero)
	add(l, "pool.idleTimeout", p.IdleTimeout, offAtZero)
	add(l, "pool.maxRequestsPerConnection", p.MaxRequestsPerConnection, limit)
	add(l, "pool.maxConcurrentStreams", p.MaxConcurrentStreams, limit)
	add(l, "pool.useClientProtocol", p.UseClientProtocol, yesNo)
	add(l, "pool.h2Upgrade", p.H2Upgrade, yesNo)
	if k := p.TCPKeepalive; k != nil {
		add(l, "pool.tcpKeepalive.probes", k.Probes, limit)
		add(l, "pool.tcpKeepalive.time", k.Time, text)
		add(l, "pool.tcpKeepalive.interval", k.Interval, text)
	}
	if k := p.HTTP2Keepalive; k != nil {
		add(l, "pool.http2KeepAlive.interval", k.Interval, text)
		add(l, "pool.http2KeepAlive.timeout", k.Timeout, text)
	}
}

// leaves of an Outlier are all there, the defaults too: they decide as much as
// what is written.
func (o *Outlier) leaves() []Leaf {
	l := &leafer{}
	add(l, "outlierDetection.consecutive5xxErrors", o.Consecutive5xx, neverAtZero)
	add(l, "outlierDetection.consecutiveGatewayErrors", o.ConsecutiveGateway, neverAtZero)
	add(l, "outlierDetection.splitExternalLocalOriginErrors", o.SplitLocalOrigin, yesNo)
	add(l, "outlierDetection.consecutiveLocalOriginFailures", o.ConsecutiveLocalOrigin, neverAtZero)
	add(l, "outlierDetection.outlierDetectionHttpErrorCodes", o.HTTPErrorCodes, func(codes []uint32) string {
		return strings.Trim(fmt.Sprint(codes), "[]")
	})
	add(l, "outlierDetection.interval", o.Interval, text)
	add(l, "outlierDetection.baseEjectionTime", o.BaseEjectionTime, text)
	add(l, "outlierDetection.maxEjectionTime", o.MaxEjectionTime, text)
	add(l, "outlierDetection.maxEjectionPercent", o.MaxEjectionPercent, percent)
	add(l, "outlierDetection.minHealthPercent", o.MinHealthPercent, percent)
	return l.list
}
