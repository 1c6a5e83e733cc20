package translate

import (
	"net"
	"strconv"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
)

// Names of our metadata.
const (
	// ServiceMetadata of a cluster: namespace, name, port, balancer.
	ServiceMetadata = "recloser.service"
	// BreakerMetadata of a cluster: a recloser.breaker.v1.Breaker.
	BreakerMetadata = "recloser.breaker"
	// WorkloadMetadata of an endpoint: namespace, pod, workload, workload_kind.
	WorkloadMetadata = "recloser.workload"
)

func cluster(v View, k Key) Result {
	if port, ok := parseInbound(k.Name); ok {
		return inboundCluster(v, k, port)
	}
	service, port, subset, ok := ParseCluster(k.Name)
	if !ok || subset != "" { // no rule has subsets yet
		return Result{}
	}
	r := Result{Deps: []Dep{{Kind: OnService, Name: service}}}
	e, err := v.Policy.Effective(k.Client, service, port, subset)
	if err != nil {
		return r // there is no such service or port
	}
	c := &clusterv3.Cluster{
		Name:                 k.Name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads()},
		ConnectTimeout:       durationpb.New(e.ConnectTimeout.Value),
		LbPolicy:             lbPolicy(e.Balancer.Value),
		CircuitBreakers:      circuitBreakers(&e.Limits),
		OutlierDetection:     outlierDetection(e.Breaker),
		CommonLbConfig: &clusterv3.Cluster_CommonLbConfig{
			// Envoy's default sends to shut endpoints when half are; ours
			// answers 503 instead, as Linkerd and Istio do.
			HealthyPanicThreshold: &typev3.Percent{Value: 0},
		},
		Metadata: &corev3.Metadata{
			FilterMetadata: map[string]*structpb.Struct{ServiceMetadata: fields(
				"namespace", service.Namespace, "name", service.Name,
				"port", strconv.Itoa(int(port)), "balancer", string(e.Balancer.Value),
			)},
			TypedFilterMetadata: map[string]*anypb.Any{BreakerMetadata: toAny(Breaker(e))},
		},
	}
	c.TypedExtensionProtocolOptions = protocolOptions(e.Protocol.Value)
	c.TransportSocket = transportSocket(e.TLS, e.Protocol.Value)
	r.Resources = one(k.Name, c)
	return r
}

func lbPolicy(b policy.Balancer) clusterv3.Cluster_LbPolicy {
	switch b {
	case policy.RoundRobin:
		return clusterv3.Cluster_ROUND_ROBIN
	case policy.Random:
		return clusterv3.Cluster_RANDOM
	default:
		// Envoy has no peak EWMA; fewest requests in flight is the nearest.
		return clusterv3.Cluster_LEAST_REQUEST
	}
}

// circuitBreakers sets all four: what is not set is not unlimited in Envoy but
// 1024 connections, pending and requests, and 3 retries.
func circuitBreakers(l *policy.Limits) *clusterv3.CircuitBreakers {
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     wrapperspb.UInt32(l.MaxConnections.Value),
		MaxPendingRequests: wrapperspb.UInt32(l.MaxPending.Value),
		MaxRequests:        wrapperspb.UInt32(l.MaxRequests.Value),
		MaxRetries:         wrapperspb.UInt32(l.MaxRetries.Value),
	}}}
}

// outlierDetection is the nearest that Envoy can do: it has no probes, so the
// penalties become ejection times.
func outlierDetection(b *policy.Breaker) *clusterv3.OutlierDetection {
	if b == nil {
		return nil
	}
	on := wrapperspb.UInt32(100)
	off := wrapperspb.UInt32(0)
	o := &clusterv3.OutlierDetection{
		Consecutive_5Xx:                    wrapperspb.UInt32(b.MaxFailures.Value),
		EnforcingConsecutive_5Xx:           on,
		EnforcingConsecutiveGatewayFailure: off,
		EnforcingSuccessRate:               off,
		Interval:                           durationpb.New(min(b.MinPenalty.Value, 10*time.Second)),
		BaseEjectionTime:                   durationpb.New(b.MinPenalty.Value),
		MaxEjectionTime:                    durationpb.New(b.MaxPenalty.Value),
		MaxEjectionTimeJitter:              durationpb.New(jitter(b)),
		// Linkerd has no guard: all endpoints can be shut.
		MaxEjectionPercent: on,
	}
	if b.MaxFailures.Value == 0 {
		o.EnforcingConsecutive_5Xx = off
		o.Consecutive_5Xx = nil // 0 would mean "at once" to some readers
	}
	if s := b.SuccessRate; s != nil && s.Threshold.Value > 0 {
		o.EnforcingFailurePercentage = on
		// Envoy ejects at or above, Linkerd below: one more percent of failure
		// than the threshold leaves.
		o.FailurePercentageThreshold = wrapperspb.UInt32(uint32(min(100, 100-s.Threshold.Value*100+1)))
		o.FailurePercentageMinimumHosts = wrapperspb.UInt32(1)
		o.FailurePercentageRequestVolume = wrapperspb.UInt32(s.MinRequests.Value)
		o.Interval = durationpb.New(s.Window.Value)
	}
	return o
}

// jitter is of the first penalty; Envoy's does not grow with the penalty.
func jitter(b *policy.Breaker) time.Duration {
	return time.Duration(min(float64(b.MinPenalty.Value)*b.Jitter.Value, float64(b.MaxPenalty.Value)))
}

// inboundCluster leads to the program behind the sidecar.
func inboundCluster(v View, k Key, public uint16) Result {
	r := Result{Deps: []Dep{{Kind: OnPod, Name: k.Node.Pod}}}
	p := v.World.Pod(k.Node.Pod.Namespace, k.Node.Pod.Name)
	if p == nil {
		return r
	}
	port := public
	for container, m := range p.PortMap {
		if m.Public == public {
			port = container
		}
	}
	address := p.AppAddress(port)
	if address == "" {
		return r
	}
	r.Resources = one(k.Name, &clusterv3.Cluster{
		Name:                 k.Name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       durationpb.New(time.Second),
		CircuitBreakers:      circuitBreakers(noLimits()),

		TypedExtensionProtocolOptions: protocolOptions(v.World.InstancePort(p, port).Protocol),
		LoadAssignment: &endpointv3.ClusterLoadAssignment{
			ClusterName: k.Name,
			Endpoints:   []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{lbEndpoint(address, nil)}}},
		},
		Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			ServiceMetadata: fields("namespace", p.Namespace, "port", strconv.Itoa(int(port))),
		}},
	})
	return r
}

func noLimits() *policy.Limits {
	u := policy.Value[uint32]{Value: policy.Unlimited}
	return &policy.Limits{MaxConnections: u, MaxPending: u, MaxRequests: u, MaxRetries: u}
}

// endpoints of a service's port. They do not depend on who asks.
func endpoints(v View, k Key) Result {
	service, port, subset, ok := ParseCluster(k.Name)
	if !ok || subset != "" {
		return Result{}
	}
	r := Result{Deps: []Dep{{Kind: OnEndpoints, Name: service}}}
	s := v.World.Service(service.Namespace, service.Name)
	if s == nil || s.Port(port) == nil {
		return r
	}
	a := &endpointv3.ClusterLoadAssignment{ClusterName: k.Name}
	if list := s.Port(port).Endpoints; len(list) > 0 {
		l := &endpointv3.LocalityLbEndpoints{LbEndpoints: make([]*endpointv3.LbEndpoint, 0, len(list))}
		for i := range list {
			l.LbEndpoints = append(l.LbEndpoints, lbEndpoint(list[i].Address, workload(&list[i])))
		}
		a.Endpoints = []*endpointv3.LocalityLbEndpoints{l}
	}
	r.Resources = one(k.Name, a)
	return r
}

func workload(e *model.Endpoint) *corev3.Metadata {
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{WorkloadMetadata: fields(
		"namespace", e.Namespace, "pod", e.Pod, "workload", e.Workload, "workload_kind", e.WorkloadKind,
	)}}
}

func lbEndpoint(address string, m *corev3.Metadata) *endpointv3.LbEndpoint {
	return &endpointv3.LbEndpoint{
		Metadata: m,
		HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: socketAddress(address),
		}},
	}
}

// fields makes a Struct of pairs; empty values are left out.
func fields(pairs ...string) *structpb.Struct {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			s.Fields[pairs[i]] = structpb.NewStringValue(pairs[i+1])
		}
	}
	return s
}

func hostPort(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
