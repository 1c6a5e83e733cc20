package convert

import (
	"strconv"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/policy"
)

// set writes a value that is no default.
func set[T any](o object, name string, v origin.Value[T], show func(T) any) {
	if isWritten(v) {
		o[name] = show(v.Value)
	}
}

func number[T uint32 | uint64](n T) any { return n }
func goDuration(d time.Duration) any    { return d.String() }
func truth(b bool) any                  { return b }

func limited(n uint32) any {
	return min(n, 1<<31-1) // what Istio has for no limit
}

func connectionPool(e *policy.Effective) object {
	tcp, http := object{}, object{}
	set(tcp, "maxConnections", e.Limits.MaxConnections, limited)
	tcp["connectTimeout"] = e.ConnectTimeout.Value.String()
	set(tcp, "maxConnectionDuration", e.Pool.MaxConnectionDuration, goDuration)
	set(tcp, "idleTimeout", e.Pool.TCPIdleTimeout, goDuration)
	if k := e.Pool.TCPKeepalive; k != nil {
		o := object{}
		set(o, "probes", k.Probes, number[uint32])
		set(o, "time", k.Time, goDuration)
		set(o, "interval", k.Interval, goDuration)
		tcp["tcpKeepalive"] = o
	}
	set(http, "http1MaxPendingRequests", e.Limits.MaxPending, limited)
	set(http, "http2MaxRequests", e.Limits.MaxRequests, limited)
	set(http, "maxRetries", e.Limits.MaxRetries, limited)
	set(http, "idleTimeout", e.Pool.IdleTimeout, goDuration)
	set(http, "maxRequestsPerConnection", e.Pool.MaxRequestsPerConnection, number[uint32])
	set(http, "maxConcurrentStreams", e.Pool.MaxConcurrentStreams, limited)
	set(http, "useClientProtocol", e.Pool.UseClientProtocol, truth)
	set(http, "h2UpgradePolicy", e.Pool.H2Upgrade, func(b bool) any {
		if b {
			return "UPGRADE"
		}
		return "DO_NOT_UPGRADE"
	})
	if k := e.Pool.HTTP2Keepalive; k != nil {
		o := object{}
		set(o, "interval", k.Interval, goDuration)
		set(o, "timeout", k.Timeout, goDuration)
		http["http2KeepAlive"] = o
	}
	out := object{}
	if len(tcp) > 0 {
		out["tcp"] = tcp
	}
	if len(http) > 0 {
		out["http"] = http
	}
	return out
}

func loadBalancer(e *policy.Effective) object {
	out := object{}
	if isWritten(e.Balancer) {
		simple := map[policy.Balancer]string{policy.RoundRobin: "ROUND_ROBIN", policy.LeastRequest: "LEAST_REQUEST", policy.Random: "RANDOM"}
		if s := simple[e.Balancer.Value]; s != "" {
			out["simple"] = s
		}
	}
	if h := e.Hash; h != nil {
		out["consistentHash"] = hashObject(h, e.Balancer.Value)
	}
	if w := e.Warmup; w != nil {
		o := object{"duration": w.Duration.Value.String()}
		set(o, "minimumPercent", w.MinimumPercent, func(f float64) any { return f })
		set(o, "aggression", w.Aggression, func(f float64) any { return f })
		out["warmup"] = o
	}
	if l := e.Locality; l != nil {
		o := object{}
		set(o, "enabled", l.Enabled, truth)
		var distribute, failover list
		for _, d := range l.Distribute {
			distribute = append(distribute, object{"from": d.From, "to": d.To})
		}
		for _, f := range l.Failover {
			failover = append(failover, object{"from": f.From, "to": f.To})
		}
		if len(distribute) > 0 {
			o["distribute"] = distribute
		}
		if len(failover) > 0 {
			o["failover"] = failover
		}
		set(o, "failoverPriority", l.FailoverPriority, func(s []string) any { return s })
		out["localityLbSetting"] = o
	}
	return out
}

func hashObject(h *policy.Hash, b policy.Balancer) object {
	o := object{}
	switch h.By.Value {
	case policy.HashHeader:
		o["httpHeaderName"] = h.Name.Value
	case policy.HashQuery:
		o["httpQueryParameterName"] = h.Name.Value
	case policy.HashSourceIP:
		o["useSourceIp"] = true
	case policy.HashCookie:
		cookie := object{"name": h.Name.Value}
		set(cookie, "path", h.CookiePath, func(s string) any { return s })
		set(cookie, "ttl", h.CookieTTL, goDuration)
		set(cookie, "attributes", h.CookieAttributes, func(list []policy.CookieAttribute) any { return list })
		o["httpCookie"] = cookie
	}
	if b == policy.Maglev {
		m := object{}
		set(m, "tableSize", h.TableSize, number[uint64])
		o["maglev"] = m
	} else if isWritten(h.MinimumRingSize) {
		o["ringHash"] = object{"minimumRingSize": h.MinimumRingSize.Value}
	}
	return o
}

func tlsObject(t *policy.TLS) object {
	out := object{}
	if t == nil {
		return out
	}
	out["mode"] = string(t.Mode.Value)
	text := func(s string) any { return s }
	set(out, "sni", t.SNI, text)
	set(out, "caCertificates", t.CACertificates, text)
	set(out, "subjectAltNames", t.SubjectAltNames, func(s []string) any { return s })
	set(out, "insecureSkipVerify", t.Insecure, truth)
	set(out, "clientCertificate", t.ClientCertificate, text)
	set(out, "privateKey", t.PrivateKey, text)
	return out
}

func outlierObject(o *policy.Outlier) object {
	out := object{}
	set(out, "consecutive5xxErrors", o.Consecutive5xx, number[uint32])
	set(out, "consecutiveGatewayErrors", o.ConsecutiveGateway, number[uint32])
	set(out, "splitExternalLocalOriginErrors", o.SplitLocalOrigin, truth)
	set(out, "consecutiveLocalOriginFailures", o.ConsecutiveLocalOrigin, number[uint32])
	set(out, "interval", o.Interval, goDuration)
	set(out, "baseEjectionTime", o.BaseEjectionTime, goDuration)
	set(out, "maxEjectionPercent", o.MaxEjectionPercent, number[uint32])
	set(out, "minHealthPercent", o.MinHealthPercent, number[uint32])
	set(out, "outlierDetectionHttpErrorCodes", o.HTTPErrorCodes, func(codes []uint32) any {
		var s []string
		for _, code := range codes {
			s = append(s, strconv.Itoa(int(code)))
		}
		return strings.Join(s, ",")
	})
	return out
}
