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
	assignment, via := cutVia(k.Name)
	service, _, _, ok := ParseCluster(assignment)
	if !ok {
		return Result{}
	}
	r := Result{Deps: []Dep{{Kind: OnService, Name: service}}}
	if via != (model.Name{}) {
		r.Deps = append(r.Deps, Dep{Kind: OnService, Name: via})
	}
	e, ok := EffectiveOf(v, k.Client, k.Name)
	if !ok {
		return r // there is no such service or port
	}
	c := &clusterv3.Cluster{
		Name:                 k.Name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     edsConfig(k.Name, endpointsName(assignment, e, k.Locality)),
		ConnectTimeout:       durationpb.New(e.ConnectTimeout.Value),
		CircuitBreakers:      circuitBreakers(&e.Limits, e.RetryBudget),
		OutlierDetection:     outlierDetection(e),
		CommonLbConfig: &clusterv3.Cluster_CommonLbConfig{
			HealthyPanicThreshold: &typev3.Percent{Value: panicThreshold(e)},
		},
		UpstreamConnectionOptions: connectionOptions(&e.Pool),
		Metadata: &corev3.Metadata{
			FilterMetadata:      map[string]*structpb.Struct{ServiceMetadata: serviceMetadata(e)},
			TypedFilterMetadata: map[string]*anypb.Any{BreakerMetadata: toAny(Breaker(e))},
		},
	}
	if localityWeighted(e, k.Locality) {
		c.CommonLbConfig.LocalityConfigSpecifier = &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig_{
			LocalityWeightedLbConfig: &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig{},
		}
	}
	balance(c, e)
	c.TypedExtensionProtocolOptions = clusterProtocol(e)
	c.TransportSocket = transportSocket(e.TLS, endpointProtocol(e))
	r.Resources = one(k.Name, c)
	return r
}

// EffectiveOf is the policy that a client's cluster is made of. It is false for a
// cluster of a service or port that is not there.
func EffectiveOf(v View, client model.Client, cluster string) (*policy.Effective, bool) {
	name, via := cutVia(cluster)
	service, port, subset, ok := ParseCluster(name)
	if !ok {
		return nil, false
	}
	e, err := v.Policy.EffectiveVia(client, via, service, port, subset)
	return e, err == nil
}

// edsConfig says which endpoints a cluster has, where they are not called as it
// is.
func edsConfig(cluster, assignment string) *clusterv3.Cluster_EdsClusterConfig {
	out := &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads()}
	if assignment != cluster {
		out.ServiceName = assignment
	}
	return out
}

// serviceMetadata is what a cluster stands for, and what Envoy has no field of a
// cluster for.
func serviceMetadata(e *policy.Effective) *structpb.Struct {
	kv := []string{
		"namespace", e.Namespace, "name", e.Service,
		"port", strconv.Itoa(int(e.Port)), "balancer", string(e.Balancer.Value),
	}
	if e.Subset != nil {
		kv = append(kv, "subset", e.Subset.Name)
	}
	if d := e.Pool.TCPIdleTimeout; d.IsSet() {
		kv = append(kv, "tcp_idle_timeout", d.Value.String())
	}
	if d := e.Pool.MaxConnectionDuration; d.IsSet() {
		kv = append(kv, "tcp_max_connection_duration", d.Value.String())
	}
	return fields(kv...)
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
		CircuitBreakers:      circuitBreakers(noLimits(), nil),

		TypedExtensionProtocolOptions: packOptions(httpProtocol(v.World.InstancePort(p, port).Protocol)),
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
