package translate

import (
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/reclosermesh/recloser/internal/control/routing"
)

// TestGRPCMatch: a match of any dialect in gRPC's means, "" where no call of
// gRPC can match it.
func TestGRPCMatch(t *testing.T) {
	paths := func(p ...routing.PathMatch) routing.Match { return routing.Match{Paths: p} }
	header := func(name string, kind routing.TextKind, value string, invert bool) routing.Match {
		return routing.Match{Headers: []routing.HeaderMatch{{Name: name, Text: routing.Text{Kind: kind, Value: value}, Invert: invert}}}
	}
	regex := func(r string) routing.PathMatch { return routing.PathMatch{Kind: routing.PathRegex, Value: r} }
	exact := routing.PathMatch{Kind: routing.PathExact, Value: "/s.S/M"}
	for name, tt := range map[string]struct {
		match routing.Match
		want  string
	}{
		"all":              {routing.Match{}, "prefix /"},
		"exact":            {paths(exact), "path /s.S/M"},
		"whole segments":   {paths(routing.PathMatch{Kind: routing.PathPrefix, Value: "/s.S/"}), `regex /s\.S(/.*)?`},
		"caseless":         {paths(routing.PathMatch{Kind: routing.PathPrefix, Value: "/s.S", IgnoreCase: true}), `regex (?i)/s\.S(/.*)?`},
		"regex":            {paths(regex("/s.*")), "regex /s.*"},
		"second is true":   {paths(exact, regex("/s[.]S/.*")), "path /s.S/M"},
		"second is false":  {paths(exact, regex("/t.*")), ""},
		"not another path": {paths(exact, routing.PathMatch{Kind: routing.PathExact, Value: "/t.T/M", Invert: true}), "path /s.S/M"},
		"two patterns":     {paths(regex("/s.*"), regex(".*/M")), ""},
		"POST":             {header(":method", routing.Exact, "POST", false), "prefix /"},
		"GET":              {header(":method", routing.Exact, "GET", false), ""},
		"not GET":          {header(":method", routing.Exact, "GET", true), "prefix /"},
		"method by regex":  {header(":method", routing.Regex, "P.*", false), "prefix /"},
		"authority":        {header(":authority", routing.Prefix, "a.", false), "prefix /"},
		"other authority":  {header(":authority", routing.Suffix, "b", false), ""},
		"scheme":           {header(":scheme", routing.Exact, "https", false), ""},
		"header":           {header("x-a", routing.Exact, "1", false), "prefix / with x-a"},
		"query":            {routing.Match{Query: []routing.QueryMatch{{Name: "a"}}}, ""},
	} {
		m := match(tt.match)
		got := ""
		if grpcMatch(m, "a.n:80") {
			switch p := m.PathSpecifier.(type) {
			case *routev3.RouteMatch_Prefix:
				got = "prefix " + p.Prefix
			case *routev3.RouteMatch_Path:
				got = "path " + p.Path
			case *routev3.RouteMatch_SafeRegex:
				got = "regex " + p.SafeRegex.Regex
			default:
				got = "what gRPC refuses"
			}
			for _, h := range m.Headers {
				got += " with " + h.Name
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestGRPCRetries(t *testing.T) {
	five := durationpb.New(5 * time.Second)
	for name, tt := range map[string]struct {
		in, want *routev3.RetryPolicy
	}{
		"none":         {nil, nil},
		"HTTP only":    {&routev3.RetryPolicy{RetryOn: "5xx,reset", NumRetries: wrapperspb.UInt32(2)}, nil},
		"no attempts":  {&routev3.RetryPolicy{RetryOn: "unavailable", NumRetries: wrapperspb.UInt32(0)}, nil},
		"both":         {&routev3.RetryPolicy{RetryOn: "5xx,unavailable,internal", NumRetries: wrapperspb.UInt32(2), PerTryTimeout: five}, &routev3.RetryPolicy{RetryOn: "unavailable,internal", NumRetries: wrapperspb.UInt32(2)}},
		"with backoff": {&routev3.RetryPolicy{RetryOn: "cancelled", RetryBackOff: &routev3.RetryPolicy_RetryBackOff{BaseInterval: five}}, &routev3.RetryPolicy{RetryOn: "cancelled", RetryBackOff: &routev3.RetryPolicy_RetryBackOff{BaseInterval: five}}},
	} {
		a := &routev3.RouteAction{Timeout: five, RetryPolicy: tt.in}
		grpcAction(a)
		if diff := cmp.Diff(tt.want, a.RetryPolicy, protocmp.Transform()); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if a.MaxStreamDuration.GetMaxStreamDuration().AsDuration() != 5*time.Second {
			t.Errorf("%s: timeout %v", name, a.MaxStreamDuration)
		}
	}
}

// TestGRPCOutliers: volume, threshold and share of the failure percentage that
// stands for each kind of detector; a volume of 0: there is none.
func TestGRPCOutliers(t *testing.T) {
	u := wrapperspb.UInt32
	for name, tt := range map[string]struct {
		in                         *clusterv3.OutlierDetection
		volume, threshold, percent uint32
	}{
		"in a row":         {&clusterv3.OutlierDetection{Consecutive_5Xx: u(7), EnforcingConsecutive_5Xx: u(100), EnforcingSuccessRate: u(0), MaxEjectionPercent: u(100)}, 7, 99, 50},
		"gateway is first": {&clusterv3.OutlierDetection{Consecutive_5Xx: u(7), ConsecutiveGatewayFailure: u(3), EnforcingConsecutiveGatewayFailure: u(100), MaxEjectionPercent: u(10)}, 3, 99, 10},
		"Envoy's default":  {&clusterv3.OutlierDetection{}, 5, 99, 10},
		"switched off":     {&clusterv3.OutlierDetection{Consecutive_5Xx: u(0), EnforcingConsecutive_5Xx: u(0)}, 0, 0, 10},
		"percentage":       {&clusterv3.OutlierDetection{EnforcingFailurePercentage: u(100), FailurePercentageThreshold: u(31), FailurePercentageRequestVolume: u(10), MaxEjectionPercent: u(100)}, 10, 30, 50},
	} {
		out := grpcOutliers(tt.in)
		if out.FailurePercentageRequestVolume.GetValue() != tt.volume || out.FailurePercentageThreshold.GetValue() != tt.threshold || out.MaxEjectionPercent.GetValue() != tt.percent {
			t.Errorf("%s: %v", name, out)
		}
		if on := out.EnforcingFailurePercentage.GetValue() == 100; on != (tt.volume > 0) {
			t.Errorf("%s: on is %t", name, on)
		}
		if out.Consecutive_5Xx != nil || out.ConsecutiveGatewayFailure != nil {
			t.Errorf("%s: a detector that gRPC does not know: %v", name, out)
		}
	}
	if grpcOutliers(nil) != nil {
		t.Error("outlier detection out of nothing")
	}
}

func TestGRPCClusterAndEndpoints(t *testing.T) {
	for lb, want := range map[clusterv3.Cluster_LbPolicy]clusterv3.Cluster_LbPolicy{
		clusterv3.Cluster_ROUND_ROBIN: clusterv3.Cluster_ROUND_ROBIN, clusterv3.Cluster_RANDOM: clusterv3.Cluster_ROUND_ROBIN,
		clusterv3.Cluster_LEAST_REQUEST: clusterv3.Cluster_ROUND_ROBIN, clusterv3.Cluster_RING_HASH: clusterv3.Cluster_RING_HASH,
		clusterv3.Cluster_MAGLEV: clusterv3.Cluster_RING_HASH,
	} {
		c := &clusterv3.Cluster{LbPolicy: lb, TransportSocket: &corev3.TransportSocket{Name: "tls"}, Metadata: &corev3.Metadata{}}
		grpcCluster(c, GRPC)
		if c.LbPolicy != want || c.TransportSocket != nil || c.Metadata != nil {
			t.Errorf("%v: %v", lb, c)
		}
	}
	c := &clusterv3.Cluster{LbPolicy: clusterv3.Cluster_LEAST_REQUEST}
	if grpcCluster(c, GRPCGo); c.LbPolicy != clusterv3.Cluster_LEAST_REQUEST {
		t.Errorf("a newer grpc-go gets %v", c.LbPolicy)
	}
	for _, typeURL := range []string{ClusterType, EndpointType} {
		k := KeyFor(typeURL, invalidCluster(nil), Node{Shape: GRPC})
		if n := len(Generate(View{}, k).Resources); n != 1 {
			t.Errorf("%s of a backend that is none: %d resources; gRPC waits for it", typeURL, n)
		}
	}
	at := func(ports ...uint32) []*endpointv3.LbEndpoint {
		var out []*endpointv3.LbEndpoint
		for _, p := range ports {
			e := lbEndpoint(hostPort("10.0.0.1", uint16(p)), &corev3.Metadata{})
			out = append(out, e)
		}
		return out
	}
	a := &endpointv3.ClusterLoadAssignment{
		Policy: &endpointv3.ClusterLoadAssignment_Policy{OverprovisioningFactor: wrapperspb.UInt32(200)},
		Endpoints: []*endpointv3.LocalityLbEndpoints{
			{LbEndpoints: at(1, 2)},
			{LbEndpoints: at(2, 1), Priority: 1}, // all of them are there already
			{Locality: &corev3.Locality{Zone: "z"}, LoadBalancingWeight: wrapperspb.UInt32(9), Priority: 2, LbEndpoints: at(3, 1)},
		},
	}
	grpcEndpoints(a)
	if len(a.Endpoints) != 2 || a.Policy != nil {
		t.Fatalf("%v", a)
	}
	if e := a.Endpoints[0]; e.Locality == nil || e.LoadBalancingWeight.GetValue() != 2 || e.LbEndpoints[0].Metadata != nil || e.Priority != 0 {
		t.Errorf("the first locality: %v", e)
	}
	if e := a.Endpoints[1]; e.Locality.Zone != "z" || e.LoadBalancingWeight.GetValue() != 9 || e.Priority != 1 || len(e.LbEndpoints) != 1 {
		t.Errorf("the second locality: %v", e)
	}
}
