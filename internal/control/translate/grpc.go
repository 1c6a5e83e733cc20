package translate

import (
	"regexp"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// proxyless makes resources for a program that calls "xds:///svc.ns:port"
// itself. They are those of everybody else without what gRPC refuses (it
// answers a whole resource with a NACK for one field) and with what it needs.
func proxyless(v View, k Key) Result {
	switch k.Type {
	case ListenerType:
		return grpcListener(v, k)
	case RouteType:
		return grpcRouteConfiguration(v, k)
	case ClusterType:
		if k.Name == All {
			return Result{}
		}
		if strings.HasPrefix(k.Name, invalidPrefix) {
			return noBackend(k)
		}
		r := cluster(v, k)
		for i := range r.Resources {
			grpcCluster(r.Resources[i].Message.(*clusterv3.Cluster), k.Shape)
		}
		return r
	case EndpointType:
		if strings.HasPrefix(k.Name, invalidPrefix) {
			return Result{Resources: one(k.Name, &endpointv3.ClusterLoadAssignment{ClusterName: k.Name})}
		}
		r := endpoints(v, k)
		for i := range r.Resources {
			grpcEndpoints(r.Resources[i].Message.(*endpointv3.ClusterLoadAssignment))
		}
		return r
	default:
		return Result{}
	}
}

// noBackend stands for the clusters that do not exist because a rule names a
// backend that is none: it has no endpoints. gRPC begins no call of a service
// before it has all clusters of its routes, and would wait 15 s for this one.
func noBackend(k Key) Result {
	return Result{Resources: one(k.Name, &clusterv3.Cluster{
		Name:                 k.Name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     edsConfig(k.Name, k.Name),
	})}
}

// grpcListener is for a target as a program wrote it after "xds:///". It names
// a route configuration of the same name, so that a change of routes is none of
// the listener.
func grpcListener(v View, k Key) Result {
	service, _, deps := resolve(v, k.Name, k.Client.Namespace)
	r := Result{Deps: deps}
	if service == nil {
		return r
	}
	m := onDemandRoutes(k.Name, k.Name)
	m.HttpFilters = []*hcmv3.HttpFilter{
		httpFilter(faultFilter, &faultv3.HTTPFault{}),
		httpFilter(routerName, &routerv3.Router{}),
	}
	r.Resources = one(k.Name, &listenerv3.Listener{Name: k.Name, ApiListener: &listenerv3.ApiListener{ApiListener: toAny(m)}})
	return r
}

func grpcRouteConfiguration(v View, k Key) Result {
	routes, name, deps := routesFor(v, k.Name, k.Client)
	r := Result{Deps: deps}
	if routes == nil {
		return r
	}
	r.Resources = one(k.Name, &routev3.RouteConfiguration{
		Name: k.Name,
		VirtualHosts: []*routev3.VirtualHost{{
			Name: name, Domains: []string{"*"}, Routes: grpcRoutes(routes, k.Name),
		}},
	})
	return r
}

// grpcRoutes are the routes as gRPC understands them. A route that no call of
// gRPC can match is left out. Rewrites, header changes, mirrors and per-try
// timeouts stay in and do nothing there: gRPC does not know them.
func grpcRoutes(routes []*routev3.Route, authority string) []*routev3.Route {
	var out []*routev3.Route
	for _, r := range routes {
		if !grpcMatch(r.GetMatch(), authority) {
			continue
		}
		r.Metadata = nil
		r.TypedPerFilterConfig = faultOnly(r.TypedPerFilterConfig)
		if a := r.GetRoute(); a != nil {
			grpcAction(a)
		}
		out = append(out, r)
	}
	return out
}

// grpcMatch says what a match says with gRPC's means, and whether a call of
// gRPC, a POST without a query, can match it at all.
func grpcMatch(m *routev3.RouteMatch, authority string) bool {
	if len(m.GetQueryParameters()) > 0 {
		return false
	}
	if p := m.GetPathSeparatedPrefix(); p != "" {
		pattern := regexp.QuoteMeta(p) + `(/.*)?`
		if m.CaseSensitive != nil && !m.CaseSensitive.Value {
			pattern, m.CaseSensitive = "(?i)"+pattern, nil
		}
		m.PathSpecifier = regexPath(pattern)
	}
	var headers []*routev3.HeaderMatcher
	for _, h := range m.Headers {
		switch known := pseudoHeader(h.Name, authority); {
		case h.Name == ":path":
			if !morePath(m, h) {
				return false
			}
		case known == "":
			headers = append(headers, h)
		case textMatches(h.GetStringMatch(), known) == h.InvertMatch:
			return false
		}
	}
	m.Headers = headers
	return true
}

// pseudoHeader is what a call of gRPC has there, and "" for headers: gRPC
// matches metadata only.
func pseudoHeader(name, authority string) string {
	switch name {
	case ":method":
		return "POST"
	case ":scheme":
		return "http"
	case ":authority":
		return authority
	}
	return ""
}

// morePath takes a second condition for the path. gRPC has place for one, so
// it is false unless the first one is satisfied by all paths, or is one path.
func morePath(m *routev3.RouteMatch, h *routev3.HeaderMatcher) bool {
	regex := h.GetStringMatch().GetSafeRegex().GetRegex()
	switch p := m.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		if (p.Prefix == "/" || p.Prefix == "") && !h.InvertMatch && regex != "" {
			m.PathSpecifier = regexPath(regex)
			return true
		}
	case *routev3.RouteMatch_Path:
		return textMatches(h.GetStringMatch(), p.Path) != h.InvertMatch
	}
	return false
}

func regexPath(pattern string) *routev3.RouteMatch_SafeRegex {
	return &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: pattern}}
}

// textMatches compares as Envoy does.
func textMatches(m *matcherv3.StringMatcher, value string) bool {
	fold := func(s string) string {
		if m.GetIgnoreCase() {
			return strings.ToLower(s)
		}
		return s
	}
	value = fold(value)
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		return value == fold(p.Exact)
	case *matcherv3.StringMatcher_Prefix:
		return strings.HasPrefix(value, fold(p.Prefix))
	case *matcherv3.StringMatcher_Suffix:
		return strings.HasSuffix(value, fold(p.Suffix))
	case *matcherv3.StringMatcher_Contains:
		return strings.Contains(value, fold(p.Contains))
	case *matcherv3.StringMatcher_SafeRegex:
		re, err := regexp.Compile("^(?:" + p.SafeRegex.GetRegex() + ")$")
		return err == nil && re.MatchString(value)
	}
	return false
}

func faultOnly(configs map[string]*anypb.Any) map[string]*anypb.Any {
	f := configs[faultFilter]
	if f == nil {
		return nil
	}
	return map[string]*anypb.Any{faultFilter: f}
}

// grpcAction makes gRPC's of Envoy's: a timeout is a max_stream_duration
// (gRFC A31), and retries are on five codes, at least one, or not at all (A44).
func grpcAction(a *routev3.RouteAction) {
	if d := a.GetTimeout(); d.AsDuration() > 0 && a.MaxStreamDuration == nil {
		a.MaxStreamDuration = &routev3.RouteAction_MaxStreamDuration{MaxStreamDuration: d}
	}
	a.HashPolicy = slices.DeleteFunc(a.HashPolicy, func(h *routev3.RouteAction_HashPolicy) bool { return h.GetHeader() == nil })
	p := a.GetRetryPolicy()
	if p == nil {
		return
	}
	var on []string
	for condition := range strings.SplitSeq(p.RetryOn, ",") {
		switch condition {
		case "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable":
			on = append(on, condition)
		}
	}
	a.RetryPolicy = nil
	if len(on) > 0 && (p.NumRetries == nil || p.NumRetries.Value > 0) {
		a.RetryPolicy = &routev3.RetryPolicy{RetryOn: strings.Join(on, ","), NumRetries: p.NumRetries, RetryBackOff: p.RetryBackOff}
	}
}

// grpcCluster takes away what gRPC refuses. The transport is the program's own
// affair: it gives its credentials when it dials.
func grpcCluster(c *clusterv3.Cluster, shape Shape) {
	c.TransportSocket, c.TransportSocketMatches = nil, nil
	c.Metadata, c.TypedExtensionProtocolOptions = nil, nil
	c.UpstreamConnectionOptions, c.CommonLbConfig = nil, nil
	c.LoadBalancingPolicy = nil
	switch c.LbPolicy {
	case clusterv3.Cluster_RING_HASH:
	case clusterv3.Cluster_MAGLEV:
		c.LbPolicy, c.LbConfig = clusterv3.Cluster_RING_HASH, nil
	case clusterv3.Cluster_LEAST_REQUEST:
		c.LbConfig = nil
		if shape != GRPCGo {
			c.LbPolicy = clusterv3.Cluster_ROUND_ROBIN
		}
	default:
		c.LbPolicy, c.LbConfig = clusterv3.Cluster_ROUND_ROBIN, nil
	}
	c.OutlierDetection = grpcOutliers(c.OutlierDetection)
}

// What a detector of failures in a row becomes for gRPC, which has none: an
// endpoint of which, in an interval, more than 99 of 100 calls failed, and at
// least as many as the detector asks for. That shuts nothing that the detector
// would not shut, and misses what fails in bursts.
const (
	grpcAllFailed = 99
	// grpcMaxEjection keeps half of the endpoints: to gRPC each status but OK is
	// a failure, NOT_FOUND too, and a caller that gets nothing else would be cut
	// off from everything.
	grpcMaxEjection = 50
)

// grpcOutliers is the nearest that gRPC can do (gRFC A50).
func grpcOutliers(o *clusterv3.OutlierDetection) *clusterv3.OutlierDetection {
	if o == nil {
		return nil
	}
	out := &clusterv3.OutlierDetection{
		Interval: o.Interval, BaseEjectionTime: o.BaseEjectionTime, MaxEjectionTime: o.MaxEjectionTime,
		MaxEjectionPercent:     wrapperspb.UInt32(min(grpcMaxEjection, valueOr(o.MaxEjectionPercent, 10))),
		EnforcingSuccessRate:   wrapperspb.UInt32(valueOr(o.EnforcingSuccessRate, 100)),
		SuccessRateStdevFactor: o.SuccessRateStdevFactor, SuccessRateMinimumHosts: o.SuccessRateMinimumHosts,
		SuccessRateRequestVolume: o.SuccessRateRequestVolume,
	}
	if on := o.EnforcingFailurePercentage.GetValue(); on > 0 {
		out.EnforcingFailurePercentage = o.EnforcingFailurePercentage
		// Envoy ejects at the threshold, gRPC above it.
		out.FailurePercentageThreshold = wrapperspb.UInt32(max(valueOr(o.FailurePercentageThreshold, 85), 1) - 1)
		out.FailurePercentageMinimumHosts = o.FailurePercentageMinimumHosts
		out.FailurePercentageRequestVolume = o.FailurePercentageRequestVolume
		return out
	}
	if n := inARow(o); n > 0 {
		out.EnforcingFailurePercentage = wrapperspb.UInt32(100)
		out.FailurePercentageThreshold = wrapperspb.UInt32(grpcAllFailed)
		out.FailurePercentageMinimumHosts = wrapperspb.UInt32(1)
		out.FailurePercentageRequestVolume = wrapperspb.UInt32(n)
	}
	return out
}

// inARow is the number of the detector of failures in a row that trips first, 0
// for none.
func inARow(o *clusterv3.OutlierDetection) uint32 {
	var n uint32
	for _, d := range []struct {
		count, enforcing   *wrapperspb.UInt32Value
		otherwise, usually uint32
	}{
		{o.Consecutive_5Xx, o.EnforcingConsecutive_5Xx, 5, 100},
		{o.ConsecutiveGatewayFailure, o.EnforcingConsecutiveGatewayFailure, 5, 0},
	} {
		count := valueOr(d.count, d.otherwise)
		if valueOr(d.enforcing, d.usually) > 0 && count > 0 && (n == 0 || count < n) {
			n = count
		}
	}
	return n
}

func valueOr(v *wrapperspb.UInt32Value, otherwise uint32) uint32 {
	if v == nil {
		return otherwise
	}
	return v.Value
}

// grpcEndpoints are the endpoints as gRPC takes them: each locality has an
// identity and a weight (without the one the assignment is refused, without the
// other the locality is passed over), no address is there twice, and priorities
// have no gaps.
func grpcEndpoints(a *endpointv3.ClusterLoadAssignment) {
	a.Policy = nil // gRPC goes on to the next priority when the whole of one is down
	seen := map[string]bool{}
	for _, l := range a.Endpoints {
		l.LbEndpoints = slices.DeleteFunc(l.LbEndpoints, func(e *endpointv3.LbEndpoint) bool {
			e.Metadata = nil
			address := e.GetEndpoint().GetAddress().GetSocketAddress().String()
			had := seen[address]
			seen[address] = true
			return had
		})
		if l.Locality == nil {
			l.Locality = &corev3.Locality{}
		}
		if l.LoadBalancingWeight == nil {
			l.LoadBalancingWeight = wrapperspb.UInt32(max(1, uint32(len(l.LbEndpoints))))
		}
	}
	a.Endpoints = slices.DeleteFunc(a.Endpoints, func(l *endpointv3.LocalityLbEndpoints) bool { return len(l.LbEndpoints) == 0 })
	var priorities []uint32
	for _, l := range a.Endpoints {
		priorities = append(priorities, l.Priority)
	}
	slices.Sort(priorities)
	priorities = slices.Compact(priorities)
	for _, l := range a.Endpoints {
		at, _ := slices.BinarySearch(priorities, l.Priority)
		l.Priority = uint32(at)
	}
}
