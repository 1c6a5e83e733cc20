package lint

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	networkingv1 "istio.io/api/networking/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
)

// policy looks at one traffic policy.
func (r *rule) policy(p *networkingv1.TrafficPolicy, at string) {
	if p == nil {
		return
	}
	r.blocks(at, 0, p.GetLoadBalancer(), p.GetConnectionPool(), p.GetOutlierDetection(), p.GetTls())
	if p.GetTunnel() != nil {
		r.unsupported(at+".tunnel", "connections are not tunnelled yet")
	}
	if p.GetProxyProtocol() != nil {
		r.unsupported(at+".proxyProtocol", "the PROXY protocol is not spoken yet")
	}
	for i, own := range p.GetPortLevelSettings() {
		at := fmt.Sprintf("%s.portLevelSettings[%d]", at, i)
		port := uint16(own.GetPort().GetNumber()) //nolint:gosec // source has seen to it
		r.port(at, port)
		r.blocks(at, port, own.GetLoadBalancer(), own.GetConnectionPool(), own.GetOutlierDetection(), own.GetTls())
	}
}

func (r *rule) unsupported(field, reason string) {
	r.add(Warning, "not-supported", field, "", "", reason+"; it has no effect", "")
}

func (r *rule) port(at string, port uint16) {
	if len(r.services) == 0 {
		return
	}
	for _, s := range r.services {
		if s.Port(port) != nil {
			return
		}
	}
	has := ""
	if len(r.services) == 1 {
		has = r.services[0].PortList()
	}
	r.add(Warning, "unknown-port", at+".port.number", strconv.Itoa(int(port)), has, "the service has no such port, so this has no effect", "")
}

func (r *rule) blocks(at string, port uint16, b *networkingv1.LoadBalancerSettings, p *networkingv1.ConnectionPoolSettings, o *networkingv1.OutlierDetection, t *networkingv1.ClientTLSSettings) {
	r.balancer(at+".loadBalancer", b, o)
	r.pool(at+".connectionPool", p)
	r.outlier(at+".outlierDetection", port, o)
	checkTLS(t, at+".tls", r.add)
}

// zero tells a 0 that somebody wrote and that Istio takes as unset.
func (r *rule) zero(field string, n int32, then string) {
	if n != 0 || r.object.Origin == nil {
		return
	}
	if _, wrote := r.object.Origin.Fields[field]; wrote {
		r.add(Warning, "zero-is-unset", field, "0", "", "a 0 counts as unset here, as it does in Istio: "+then, "")
	}
}

func (r *rule) pool(at string, p *networkingv1.ConnectionPoolSettings) {
	const none = "there is no limit, and nothing is refused"
	if t := p.GetTcp(); t != nil {
		r.zero(at+".tcp.maxConnections", t.GetMaxConnections(), none)
		r.seconds(at+".tcp.tcpKeepalive.time", t.GetTcpKeepalive().GetTime())
		r.seconds(at+".tcp.tcpKeepalive.interval", t.GetTcpKeepalive().GetInterval())
	}
	h := p.GetHttp()
	if h == nil {
		return
	}
	at += ".http"
	r.zero(at+".http1MaxPendingRequests", h.GetHttp1MaxPendingRequests(), none)
	r.zero(at+".http2MaxRequests", h.GetHttp2MaxRequests(), none)
	r.zero(at+".maxRetries", h.GetMaxRetries(), none)
	r.zero(at+".maxConcurrentStreams", h.GetMaxConcurrentStreams(), none)
	if d := h.GetIdleTimeout(); d != nil && d.AsDuration() == 0 {
		r.add(Info, "differs-from-istio", at+".idleTimeout", "0s", "", "here idle connections are never closed; Istio refuses the rule", "")
	}
	if k := h.GetHttp2KeepAlive(); k != nil && k.GetInterval() == nil {
		r.add(Warning, "no-effect", at+".http2KeepAlive", "", "", "without an interval nothing is pinged", "add interval")
	}
}

// seconds tells what is lost of a duration of which the operating system takes
// whole seconds.
func (r *rule) seconds(field string, d *durationpb.Duration) {
	const most = 32767 * time.Second
	switch v := d.AsDuration(); {
	case d == nil:
	case v < time.Second || v > most:
		r.add(Warning, "no-effect", field, v.String(), "1s to 32767s", "the operating system takes whole seconds of this, and not so many or none", "")
	case v%time.Second != 0:
		r.add(Info, "rounded", field, v.String(), "", "the operating system takes whole seconds: it is "+v.Truncate(time.Second).String(), "")
	}
}

func (r *rule) outlier(at string, port uint16, o *networkingv1.OutlierDetection) {
	if o == nil {
		return
	}
	r.zero(at+".maxEjectionPercent", o.GetMaxEjectionPercent(), "the default of 10% holds")
	if o.GetConsecutiveErrors() != 0 { //nolint:staticcheck // that is what is told
		r.add(Warning, "deprecated-field", at+".consecutiveErrors", strconv.Itoa(int(o.GetConsecutiveErrors())), "", //nolint:staticcheck // see above
			"Istio does not read this any more, and it has no effect", "write consecutive5xxErrors or consecutiveGatewayErrors")
	}
	fives := uint32(5)
	if w := o.GetConsecutive_5XxErrors(); w != nil {
		fives = w.GetValue()
	}
	gateway, byDefault := o.GetConsecutiveGatewayErrors().GetValue(), o.GetConsecutive_5XxErrors() == nil
	if len(r.services) > 0 {
		if e := r.inherited(r.services[0], port, at); e != nil {
			fives, gateway, byDefault = e.Consecutive5xx.Value, e.ConsecutiveGateway.Value, e.Consecutive5xx.Origin.Default != ""
		}
	}
	if gateway > 0 && fives > 0 && gateway >= fives && len(o.GetOutlierDetectionHttpErrorCodes()) == 0 {
		than := strconv.Itoa(int(fives))
		if byDefault {
			than += " by default"
		}
		r.add(Warning, "gateway-above-5xx", at+".consecutiveGatewayErrors", strconv.Itoa(int(gateway)), "less than consecutive5xxErrors",
			"gateway errors are counted as 5xx too, and consecutive5xxErrors ("+than+") shuts the endpoint before", "lower it, or set consecutive5xxErrors: 0")
	}
	local := o.GetConsecutiveLocalOriginFailures()
	if o.GetSplitExternalLocalOriginErrors() && local != nil && local.GetValue() == 0 {
		r.add(Warning, "zero-is-unset", at+".consecutiveLocalOriginFailures", "0", "", "a 0 counts as unset here, as it does in Istio: the default of 5 holds", "")
	}
	if fives == 0 && gateway == 0 && !o.GetSplitExternalLocalOriginErrors() {
		r.add(Warning, "never-trips", at+".consecutive5xxErrors", "0", "", "nothing is counted, so no endpoint is ever shut", "set 1 or more, or remove outlierDetection")
	}
	r.neverEjects(at, port, o)
	r.annotated(at, o)
}

// neverEjects tells a share that is less than one endpoint, for the services
// that the rule names. One of whose endpoints nothing is known is passed over,
// and where rules inherit the share is that which holds, whoever wrote it.
func (r *rule) neverEjects(at string, port uint16, o *networkingv1.OutlierDetection) {
	percent, field, value := uint64(10), at, ""
	if n := o.GetMaxEjectionPercent(); n > 0 {
		percent, field, value = uint64(n), at+".maxEjectionPercent", strconv.Itoa(int(n))
	}
	for _, s := range r.services {
		if port != 0 && s.Port(port) == nil {
			continue
		}
		percent, share := percent, strconv.FormatUint(percent, 10)+"%"
		if value == "" {
			share = "the default of " + share
		}
		if e := r.inherited(s, port, at); e != nil && e.MaxEjectionPercent.Origin.Default == "" && e.MaxEjectionPercent.Origin.Object != r.object.String() {
			if value != "" {
				continue // another rule's share comes before this one's
			}
			from := e.MaxEjectionPercent.Origin
			percent = uint64(e.MaxEjectionPercent.Value)
			share = fmt.Sprintf("%d%% (%s %s)", percent, from.Object, from.Field)
		}
		list, known := r.instances(s)
		n := uint64(count(list, r.labelsAt(at))) //nolint:gosec // not negative
		if !known || n == 0 || 100 <= percent*n {
			continue
		}
		endpoints, mend := fmt.Sprintf("%d endpoints", n), fmt.Sprintf("set maxEjectionPercent: %d or more", (100+n-1)/n)
		if n == 1 {
			endpoints, mend = "1 endpoint", "set maxEjectionPercent: 100, or have more endpoints"
		}
		r.add(Warning, "never-ejects", field, value, "", fmt.Sprintf("%s has %s, and %s of them is less than one: none is ever shut", s.Object, endpoints, share), mend)
		return
	}
}

// inherited is the outlier detection of a service as it holds for callers of the
// rule's namespace, or for a rule of the root namespace for those of the
// service's. It is nil where rules do not inherit.
func (r *rule) inherited(s *model.Service, port uint16, at string) *policy.Outlier {
	from := r.object.Namespace
	if from == r.table.RootNamespace() {
		from = s.Namespace
	}
	if !r.table.Inherits(from) || r.spec.GetWorkloadSelector() != nil {
		return nil
	}
	if port == 0 {
		port = firstPort(s)
	}
	subset := ""
	if i := r.subsetAt(at); i >= 0 {
		subset = r.spec.GetSubsets()[i].GetName()
	}
	e, err := r.table.Effective(model.Client{Namespace: from}, s.Name, port, subset)
	if err != nil {
		return nil
	}
	return e.Outlier
}

// labelsAt are those of the subset that a path is in.
func (r *rule) labelsAt(at string) map[string]string {
	if i := r.subsetAt(at); i >= 0 {
		return r.spec.GetSubsets()[i].GetLabels()
	}
	return nil
}

// subsetAt is the place of the subset that a path is in, or -1.
func (r *rule) subsetAt(at string) int {
	for i := range r.spec.GetSubsets() {
		if strings.HasPrefix(at, fmt.Sprintf("spec.subsets[%d].", i)) {
			return i
		}
	}
	return -1
}

// annotated tells that a Service has a breaker of its own.
func (r *rule) annotated(at string, _ *networkingv1.OutlierDetection) {
	if _, exact := model.RuleHost(r.spec.GetHost(), r.object.Namespace); !exact || len(r.services) == 0 {
		return
	}
	s := r.services[0]
	e, err := r.table.Effective(model.Client{Namespace: r.object.Namespace}, s.Name, firstPort(s), "")
	if err == nil && e.Breaker != nil {
		r.add(Warning, "annotation-wins", at, "", "", e.Breaker.Mode.Origin.Object+" has a breaker by its annotation "+e.Breaker.Mode.Origin.Field+", which comes first, so this has no effect",
			"remove one of the two")
	}
}

func firstPort(s *model.Service) uint16 {
	if len(s.Ports) == 0 {
		return 0
	}
	return s.Ports[0].Number
}

// balancer tells what of a load balancer means nothing here.
func (r *rule) balancer(at string, b *networkingv1.LoadBalancerSettings, o *networkingv1.OutlierDetection) {
	if b == nil {
		return
	}
	simple, isSimple := b.GetLbPolicy().(*networkingv1.LoadBalancerSettings_Simple)
	if isSimple {
		switch simple.Simple {
		case networkingv1.LoadBalancerSettings_PASSTHROUGH:
			r.add(Warning, "not-supported", at+".simple", "PASSTHROUGH", "", "callers ask for a service by its name, and the address that they would have gone to is not known; the default balancer is used", "")
		case networkingv1.LoadBalancerSettings_LEAST_CONN:
			r.add(Info, "deprecated-field", at+".simple", "LEAST_CONN", "", "Istio has another name for this now", "write LEAST_REQUEST")
		}
	}
	if b.GetZoneAwareLbSetting() != nil {
		r.unsupported(at+".zoneAwareLbSetting", "zone-aware balancing is not supported yet")
	}
	warm := b.GetWarmup() != nil || b.GetWarmupDurationSecs() != nil
	if warm && (b.GetConsistentHash() != nil || isSimple && simple.Simple == networkingv1.LoadBalancerSettings_RANDOM) {
		r.add(Warning, "no-effect", at+".warmup", "", "", "this balancer gives new endpoints their whole share at once", "use ROUND_ROBIN or LEAST_REQUEST")
	}
	l := b.GetLocalityLbSetting()
	if o == nil && (len(l.GetFailover()) > 0 || len(l.GetFailoverPriority()) > 0) {
		r.add(Info, "no-outlier-detection", at+".localityLbSetting", "", "", "without outlierDetection beside it no endpoint counts as failed, so requests go elsewhere only when there are no endpoints", "add outlierDetection")
	}
}
