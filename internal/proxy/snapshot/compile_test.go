package snapshot

import (
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	breakerv1 "github.com/reclosermesh/recloser/api/breaker/v1"
	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/balance"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

func compiled(t *testing.T, c *clusterv3.Cluster) *clusterSpec {
	t.Helper()
	spec, err := compileCluster(xds.Resource{Name: c.GetName(), Message: c})
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func read[M proto.Message](t *testing.T, m M, text string) M {
	t.Helper()
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	return m
}

func withBreaker(t *testing.T, text string) *clusterv3.Cluster {
	t.Helper()
	c := eds("c")
	c.Metadata = &corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{breakerMetadata: pack(read(t, new(breakerv1.Breaker), text))}}
	return c
}

func TestOwnBreaker(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       func() breaker.Config
	}{
		{"consecutive as Linkerd's default", `{
			"detectors": [{"consecutive": {"failures": 7}}],
			"recovery": {"min": "1s", "max": "60s", "jitter": 0.5, "probeTimeout": "10s"}, "sweepInterval": "10s"}`, breaker.LinkerdConsecutive},
		{"recovery left open", `{"detectors": [{"consecutive": {"failures": 7}}], "sweepInterval": "10s"}`, breaker.LinkerdConsecutive},
		{"unified", `{
			"detectors": [{"consecutive": {"failures": 7}}, {"successRateWindow": {"threshold": 0.8, "window": "10s", "minRequests": 5}}],
			"recovery": {"min": "1s", "max": "60s", "jitter": 0.5, "probeTimeout": "10s"}, "sweepInterval": "10s",
			"classification": {"rateOnly": [{"first": 429, "last": 429}], "grpcRateOnly": [8]}}`, breaker.LinkerdUnified},
		{"all detectors", `{
			"detectors": [
				{"consecutiveGateway": {"failures": 1}, "enforcing": 50}, {"consecutiveLocalOrigin": {"failures": 2}},
				{"successRateEwma": {"threshold": 0.5, "requests": 30}}, {"successRateOutlier": {"factor": 1.9, "minHosts": 5, "requestVolume": 100}},
				{"failurePercentage": {"threshold": 85, "minHosts": 5, "requestVolume": 50}},
				{"slowCalls": {"duration": "1s", "share": 0.5, "window": "10s", "minRequests": 5}}, {"hungCalls": {"age": "30s"}}],
			"recovery": {"mode": "TIMED", "backoff": "LINEAR", "min": "30s", "max": "300s"},
			"guards": {"maxEjectionPercent": 0, "minReady": 1, "panicThreshold": 50},
			"classification": {"failures": [{"first": 400, "last": 499}], "grpcFailures": [14], "splitLocalOrigin": true},
			"slowStart": "20s", "sweepInterval": "5s"}`, func() breaker.Config {
			return breaker.Config{
				Detectors: breaker.Detectors{
					ConsecutiveGateway:     &breaker.Consecutive{Failures: 1, Enforcing: new(uint32(50))},
					ConsecutiveLocalOrigin: &breaker.Consecutive{Failures: 2},
					SuccessRateEWMA:        &breaker.SuccessRateEWMA{Threshold: 0.5, Requests: 30},
					SuccessRateOutlier:     &breaker.SuccessRateOutlier{Factor: 1.9, MinHosts: 5, RequestVolume: 100},
					FailurePercentage:      &breaker.FailurePercentage{Threshold: 85, MinHosts: 5, RequestVolume: 50},
					SlowCalls:              &breaker.SlowCalls{Duration: time.Second, Share: 0.5, Window: 10 * time.Second, MinRequests: 5},
					HungCalls:              &breaker.HungCalls{Age: 30 * time.Second},
				},
				Recovery: breaker.Recovery{Mode: breaker.Timed, Backoff: breaker.Linear, Min: 30 * time.Second, Max: 300 * time.Second},
				Guards:   breaker.Guards{MaxEjectionPercent: new(uint32(0)), MinReady: 1, PanicThreshold: 50},
				Classification: breaker.Classification{
					Failures: []breaker.StatusRange{{First: 400, Last: 499}}, GRPCFailures: []uint32{14}, SplitLocalOrigin: true,
				},
				SlowStart: 20 * time.Second, SweepInterval: 5 * time.Second,
			}
		}},
	} {
		got := compiled(t, withBreaker(t, tt.text)).cfg
		if diff := cmp.Diff(tt.want(), got.Breaker, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
		if got.FailFast != 3*time.Second || got.MaxWaiting != 10_000 {
			t.Errorf("%s: fail-fast %v, %d may wait", tt.name, got.FailFast, got.MaxWaiting)
		}
	}
	got := compiled(t, withBreaker(t, `{"failFast": "0s", "maxWaiting": 0}`)).cfg
	if got.FailFast != 0 || got.MaxWaiting != 0 {
		t.Errorf("set to none: fail-fast %v, %d may wait", got.FailFast, got.MaxWaiting)
	}
}

func TestOutlierDetectionHasEnvoysDefaults(t *testing.T) {
	c := eds("c")
	c.OutlierDetection = &clusterv3.OutlierDetection{}
	got := compiled(t, c).cfg
	if diff := cmp.Diff(breaker.EnvoyOutlier(), got.Breaker, cmpopts.EquateEmpty(), cmp.Transformer("full", func(p *uint32) uint32 {
		if p == nil {
			return 100
		}
		return *p
	})); diff != "" {
		t.Error(diff)
	}
	if got.FailFast != 0 {
		t.Errorf("fail-fast %v: Envoy does not wait", got.FailFast)
	}
	// Istio's: minHealthPercent 0, success rate off.
	c.OutlierDetection = read(t, new(clusterv3.OutlierDetection), `{"consecutive5xx": 3, "enforcingSuccessRate": 0,
		"interval": "1s", "baseEjectionTime": "180s", "maxEjectionPercent": 100, "splitExternalLocalOriginErrors": true}`)
	c.CommonLbConfig = &clusterv3.Cluster_CommonLbConfig{HealthyPanicThreshold: &typev3.Percent{}}
	b := compiled(t, c).cfg.Breaker
	if b.Detectors.Consecutive.Failures != 3 || *b.Detectors.SuccessRateOutlier.Enforcing != 0 || b.SweepInterval != time.Second ||
		b.Recovery.Min != 3*time.Minute || b.Recovery.Max != 5*time.Minute || *b.Guards.MaxEjectionPercent != 100 ||
		b.Guards.PanicThreshold != 0 || b.Detectors.ConsecutiveLocalOrigin.Failures != 5 || !b.Classification.SplitLocalOrigin {
		t.Errorf("%+v", b)
	}
	// A base time above Envoy's 300s raises the maximum.
	c.OutlierDetection.BaseEjectionTime = durationpb.New(time.Hour)
	if got := compiled(t, c).cfg.Breaker.Recovery.Max; got != time.Hour {
		t.Errorf("maximum %v", got)
	}
}

func TestOwnBreakerComesBeforeOutlierDetection(t *testing.T) {
	c := withBreaker(t, `{"detectors": [{"consecutive": {"failures": 2}}]}`)
	c.OutlierDetection = &clusterv3.OutlierDetection{}
	if b := compiled(t, c).cfg.Breaker; b.Detectors.Consecutive.Failures != 2 || b.Detectors.FailurePercentage != nil {
		t.Errorf("%+v", b.Detectors)
	}
}

func TestLimits(t *testing.T) {
	c := eds("c")
	if diff := cmp.Diff(breaker.UnlimitedLimits(), compiled(t, c).cfg.Limits); diff != "" {
		t.Errorf("without thresholds: %s", diff)
	}
	c.CircuitBreakers = read(t, new(clusterv3.CircuitBreakers), `{"thresholds": [
		{"priority": "HIGH", "maxConnections": 9}, {"maxConnections": 1, "maxRequests": 0, "retryBudget": {"budgetPercent": {"value": 10}}}]}`)
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpOptions: pack(&upstreamhttpv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			MaxRequestsPerConnection: wrapperspb.UInt32(1), IdleTimeout: durationpb.New(time.Minute),
		},
	})}
	want := breaker.LimitsConfig{
		MaxConnections: 1, MaxPending: 1024, MaxRequests: 0, MaxRetries: 3, MaxRequestsPerConnection: 1,
		RetryBudget: &breaker.RetryConcurrency{Percent: 10, MinConcurrency: 3},
	}
	got := compiled(t, c).cfg
	if diff := cmp.Diff(want, got.Limits); diff != "" {
		t.Error(diff)
	}
	if got.IdleTimeout != time.Minute {
		t.Errorf("idle timeout %v", got.IdleTimeout)
	}
}

func metadata(key string, pairs map[string]any) *corev3.Metadata {
	s, err := structpb.NewStruct(pairs)
	if err != nil {
		panic(err)
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{key: s}}
}

func TestBalancerAndService(t *testing.T) {
	own := eds("outbound|80||a.b.svc.cluster.local")
	own.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
	own.Metadata = metadata(serviceMetadata, map[string]any{"namespace": "ns", "name": "svc", "port": 8080})
	named := eds("outbound|80||a.b.svc.cluster.local")
	named.Metadata = metadata(serviceMetadata, map[string]any{"namespace": "ns", "name": "svc", "port": "8080", "balancer": "random"})
	foreign := eds("outbound|80|v1|a.b.svc.cluster.local")
	foreign.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
	for _, tt := range []struct {
		c    *clusterv3.Cluster
		lb   balance.Policy
		want telemetry.ServiceRef
	}{
		{own, balance.PeakEWMA, telemetry.ServiceRef{Namespace: "ns", Name: "svc", Port: "8080"}},
		{named, balance.Random, telemetry.ServiceRef{Namespace: "ns", Name: "svc", Port: "8080"}},
		{foreign, balance.LeastRequest, telemetry.ServiceRef{Namespace: "b", Name: "a", Port: "80"}},
		{eds("plain"), balance.RoundRobin, telemetry.ServiceRef{Name: "plain"}},
	} {
		cfg := compiled(t, tt.c).cfg
		if cfg.LB != tt.lb || cfg.Service != tt.want {
			t.Errorf("%s: balancer %s, service %+v", tt.c.GetName(), cfg.LB, cfg.Service)
		}
	}
}

func TestEndpoints(t *testing.T) {
	endpoint := func(ip string, health corev3.HealthStatus, weight uint32) *endpointv3.LbEndpoint {
		return &endpointv3.LbEndpoint{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address(ip, 80)}},
			HealthStatus:   health, LoadBalancingWeight: wrapperspb.UInt32(weight),
			Metadata: metadata(workloadMetadata, map[string]any{"namespace": "ns", "pod": "p", "workload": "w", "workload_kind": "Deployment"}),
		}
	}
	list, err := compileEndpoints(xds.Resource{Message: &endpointv3.ClusterLoadAssignment{Endpoints: []*endpointv3.LocalityLbEndpoints{
		{Priority: 1, LbEndpoints: []*endpointv3.LbEndpoint{endpoint("10.0.1.1", 0, 1)}},
		{LbEndpoints: []*endpointv3.LbEndpoint{
			endpoint("10.0.0.1", corev3.HealthStatus_HEALTHY, 3), endpoint("10.0.0.2", corev3.HealthStatus_DRAINING, 1),
			endpoint("10.0.0.1", 0, 1), endpoint("fd00::1", corev3.HealthStatus_UNKNOWN, 1),
		}},
		{Priority: 2, LbEndpoints: []*endpointv3.LbEndpoint{endpoint("10.0.2.1", 0, 1)}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	labels := telemetry.Labels{Namespace: "ns", Pod: "p", Workload: "w", WorkloadKind: "Deployment"}
	want := []upstream.EndpointConfig{
		{Address: "10.0.1.1:80", Weight: 1, Labels: labels, Place: upstream.Place{Priority: 1}},
		{Address: "10.0.0.1:80", Weight: 3, Labels: labels},
		{Address: "[fd00::1]:80", Weight: 1, Labels: labels},
		{Address: "10.0.2.1:80", Weight: 1, Labels: labels, Place: upstream.Place{Priority: 2}},
	}
	if diff := cmp.Diff(want, list.endpoints); diff != "" {
		t.Error(diff)
	}
}

func TestRoutes(t *testing.T) {
	host := read(t, new(routev3.VirtualHost), `{"name": "h", "domains": ["*"], "routes": [
		{"name": "r1", "match": {"pathSeparatedPrefix": "/api", "caseSensitive": false,
			"headers": [
				{"name": ":method", "stringMatch": {"exact": "GET"}},
				{"name": "x-a", "presentMatch": true}, {"name": "x-b", "presentMatch": false},
				{"name": "x-c", "presentMatch": false, "invertMatch": true},
				{"name": "x-d", "safeRegexMatch": {"regex": "a+"}, "invertMatch": true, "treatMissingHeaderAsEmpty": true},
				{"name": "x-e", "rangeMatch": {"start": "1", "end": "5"}},
				{"name": "x-f", "stringMatch": {"prefix": "p", "ignoreCase": true}}],
			"queryParameters": [{"name": "q", "stringMatch": {"exact": "v"}}, {"name": "p", "presentMatch": true}]},
		 "route": {"weightedClusters": {"clusters": [{"name": "a", "weight": 90}, {"name": "b", "weight": 10}]}, "timeout": "2s"}},
		{"match": {"safeRegex": {"regex": "/x/.*"}}, "route": {"cluster": "c"}},
		{"match": {"path": "/p", "grpc": {}}, "route": {"cluster": "c"}}]}`)
	got, err := compileHost(host)
	if err != nil {
		t.Fatal(err)
	}
	exact := func(kind route.ValueKind, v string) route.ValueMatch { return route.ValueMatch{Kind: kind, Value: v} }
	want := &route.Config{Name: "h", Rules: []route.Rule{
		{
			Name: "r1", Timeout: 2 * time.Second,
			Match: route.Match{
				Path: route.PathMatch{Kind: route.PathSeparatedPrefix, Value: "/api", IgnoreCase: true},
				Headers: []route.HeaderMatch{
					{Name: ":method", ValueMatch: exact(route.ValueExact, "GET")},
					{Name: "x-a"},
					{Name: "x-b", Invert: true},
					{Name: "x-c"},
					{Name: "x-d", ValueMatch: exact(route.ValueRegex, "a+"), Invert: true, MissingAsEmpty: true},
					{Name: "x-e", ValueMatch: route.ValueMatch{Kind: route.ValueRange, Low: 1, High: 5}},
					{Name: "x-f", ValueMatch: route.ValueMatch{Kind: route.ValuePrefix, Value: "p", IgnoreCase: true}},
				},
				Query: []route.QueryMatch{{Name: "q", ValueMatch: exact(route.ValueExact, "v")}, {Name: "p"}},
			},
			Backends: []route.WeightedCluster{{Cluster: "a", Weight: 90}, {Cluster: "b", Weight: 10}}, MissingStatus: 503,
		},
		{Match: route.Match{Path: route.PathMatch{Kind: route.PathRegex, Value: "/x/.*"}}, Backends: []route.WeightedCluster{{Cluster: "c", Weight: 1}}, MissingStatus: 503},
		{
			Match: route.Match{
				Path:    route.PathMatch{Kind: route.PathExact, Value: "/p"},
				Headers: []route.HeaderMatch{{Name: "content-type", ValueMatch: exact(route.ValueRegex, `application/grpc([+;].*)?`)}},
			},
			Backends: []route.WeightedCluster{{Cluster: "c", Weight: 1}}, MissingStatus: 503,
		},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCompileSaysAllThatIsWrong(t *testing.T) {
	cluster := eds("c")
	cluster.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
	cluster.LbPolicy = clusterv3.Cluster_CLUSTER_PROVIDED
	cluster.TransportSocket = &corev3.TransportSocket{Name: "tls"}
	cluster.OutlierDetection = &clusterv3.OutlierDetection{MaxEjectionPercent: wrapperspb.UInt32(101), DetectDegradedHosts: wrapperspb.Bool(true)}
	host := hostOf("c", "a")
	host.Routes = append(host.Routes, &routev3.Route{
		Match: &routev3.RouteMatch{
			PathSpecifier: &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: "("}},
			Headers:       []*routev3.HeaderMatcher{{Name: "x", HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{}}}},
		},
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_ClusterHeader{ClusterHeader: "x"}, HostRewriteSpecifier: &routev3.RouteAction_AutoHostRewrite{}, Timeout: durationpb.New(-1),
		}},
	}, &routev3.Route{})
	twoFilters := outbound()
	twoFilters.FilterChains[0].Filters = append(twoFilters.FilterChains[0].Filters, &listenerv3.Filter{})
	for _, tt := range []struct {
		t    xds.Type
		m    proto.Message
		want []string
	}{
		{xds.Cluster, cluster, []string{"type STRICT_DNS", "lb_policy CLUSTER_PROVIDED", `transport_socket "tls"`, "101", "outlier_detection.detect_degraded_hosts"}},
		{xds.VirtualHost, host, []string{
			`routes[1].match.safe_regex "("`, "routes[1].match.headers[0].string_match", "routes[1].route.cluster_header",
			"routes[1].route.auto_host_rewrite", "routes[1].route.timeout", "routes[2].match.path_specifier", "routes[2]: route, redirect or",
		}},
		{xds.RouteConfig, &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{hostOf("c", "a"), hostOf("c", "A")}}, []string{`domain "A": is there twice`}},
		{xds.Listener, twoFilters, []string{"filters: 2 of them"}},
		{xds.Listener, &listenerv3.Listener{Address: address("::1", 70000)}, []string{"70000", "filter_chains: 0 of them"}},
		{xds.Endpoints, assignment("c", "x", "y"), []string{`lb_endpoints[0].endpoint.address.address "x"`, `lb_endpoints[1].endpoint.address.address "y"`}},
		{xds.Cluster, outbound(), []string{"is a *listenerv3.Listener"}},
	} {
		r := newRig(t, Config{})
		rejected := r.try(tt.t, "x", tt.m)
		if len(rejected) != 1 {
			t.Errorf("%s was taken", tt.t)
			continue
		}
		for _, want := range tt.want {
			if got := rejected[0].Err.Error(); !strings.Contains(got, want) {
				t.Errorf("%s:\n%s\ndoes not say %q", tt.t, got, want)
			}
		}
	}
}
