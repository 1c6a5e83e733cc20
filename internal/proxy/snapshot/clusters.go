package snapshot

import (
	"fmt"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/balance"
	"github.com/reclosermesh/recloser/internal/proxy/transport"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// The names under which our own facts travel in metadata.
const (
	serviceMetadata  = "recloser.service"
	workloadMetadata = "recloser.workload"
	breakerMetadata  = "recloser.breaker"
	httpOptions      = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
)

// clusterSpec is a Cluster. cfg has no endpoints: they come from static, or
// from the resource that endpoints names.
type clusterSpec struct {
	cfg       upstream.Config
	static    *endpointList
	endpoints string
	tls       *transport.ClientConfig // nil: plain; cfg.Dial is made of it when it is opened
}

type endpointList struct{ endpoints []upstream.EndpointConfig }

func compileCluster(r xds.Resource) (*clusterSpec, error) {
	c, err := asMessage[*clusterv3.Cluster](r)
	if err != nil {
		return nil, err
	}
	var p problems
	spec := &clusterSpec{cfg: upstream.Config{
		Name:           r.Name,
		Service:        service(r.Name, c.GetMetadata()),
		ConnectTimeout: p.duration("connect_timeout", c.GetConnectTimeout(), 0),
	}}
	if strings.HasPrefix(r.Name, "inbound|") {
		spec.cfg.Direction = telemetry.Inbound
	}
	p.clusterTransport(spec, c)
	p.unsupported("", c, "transport_socket_matches", "lb_subset_config", "health_checks")
	p.discovery(spec, c)
	p.balancer(spec, c)
	p.breaker(spec, c)
	p.limits(spec, c)
	p.protocolOptions(spec, c)
	if err := spec.cfg.Validate(); err != nil {
		p.errs = append(p.errs, err)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return spec, nil
}

func (p *problems) discovery(spec *clusterSpec, c *clusterv3.Cluster) {
	switch c.GetClusterDiscoveryType().(type) {
	case *clusterv3.Cluster_Type:
	default:
		p.add("cluster_discovery_type: type STATIC or EDS is needed")
		return
	}
	switch c.GetType() {
	case clusterv3.Cluster_EDS:
		if spec.endpoints = c.GetEdsClusterConfig().GetServiceName(); spec.endpoints == "" {
			spec.endpoints = c.GetName()
		}
	case clusterv3.Cluster_STATIC:
		spec.static = p.endpoints("load_assignment.", c.GetLoadAssignment())
	default:
		p.add("type %s: STATIC and EDS are supported", c.GetType())
	}
}

// balancer takes the balancer that our own control plane names (peak-ewma where
// it names none), and for foreign clusters Envoy's lb_policy.
func (p *problems) balancer(spec *clusterSpec, c *clusterv3.Cluster) {
	if own := c.GetMetadata().GetFilterMetadata()[serviceMetadata]; own != nil {
		name := text(own, "balancer")
		if name == "" {
			return
		}
		policy, err := balance.ParsePolicy(name)
		if err != nil {
			p.add("metadata %s: %w", serviceMetadata, err)
		}
		spec.cfg.LB = policy
		return
	}
	switch c.GetLbPolicy() {
	case clusterv3.Cluster_ROUND_ROBIN:
		spec.cfg.LB = balance.RoundRobin
	case clusterv3.Cluster_LEAST_REQUEST:
		spec.cfg.LB = balance.LeastRequest
	case clusterv3.Cluster_RANDOM:
		spec.cfg.LB = balance.Random
	case clusterv3.Cluster_LOAD_BALANCING_POLICY_CONFIG:
		spec.cfg.LB = balance.PeakEWMA
	default:
		p.add("lb_policy %s: ROUND_ROBIN, LEAST_REQUEST, RANDOM and LOAD_BALANCING_POLICY_CONFIG are supported", c.GetLbPolicy())
	}
}

// limits reads Envoy's circuit_breakers. Without thresholds nothing is limited,
// as Istio has it; a threshold of DEFAULT priority that leaves a field open
// gets Envoy's default there.
func (p *problems) limits(spec *clusterSpec, c *clusterv3.Cluster) {
	l := breaker.UnlimitedLimits()
	for _, t := range c.GetCircuitBreakers().GetThresholds() {
		if t.GetPriority() != corev3.RoutingPriority_DEFAULT {
			continue
		}
		envoy := breaker.EnvoyLimits()
		l.MaxConnections = wrapped(t.GetMaxConnections(), t.GetMaxConnections() == nil, envoy.MaxConnections)
		l.MaxPending = wrapped(t.GetMaxPendingRequests(), t.GetMaxPendingRequests() == nil, envoy.MaxPending)
		l.MaxRequests = wrapped(t.GetMaxRequests(), t.GetMaxRequests() == nil, envoy.MaxRequests)
		l.MaxRetries = wrapped(t.GetMaxRetries(), t.GetMaxRetries() == nil, envoy.MaxRetries)
		if b := t.GetRetryBudget(); b != nil {
			l.RetryBudget = &breaker.RetryConcurrency{
				Percent:        wrapped(b.GetBudgetPercent(), b.GetBudgetPercent() == nil, 20),
				MinConcurrency: wrapped(b.GetMinRetryConcurrency(), b.GetMinRetryConcurrency() == nil, uint32(3)),
			}
		}
		break
	}
	if err := l.Validate(); err != nil {
		p.add("circuit_breakers: %w", err)
	}
	spec.cfg.Limits = l
}

func compileEndpoints(r xds.Resource) (*endpointList, error) {
	m, err := asMessage[*endpointv3.ClusterLoadAssignment](r)
	if err != nil {
		return nil, err
	}
	var p problems
	list := p.endpoints("", m)
	if err := p.err(); err != nil {
		return nil, err
	}
	return list, nil
}

// endpoints reads those that are fit for traffic, of the best priority that has
// any.
func (p *problems) endpoints(at string, m *endpointv3.ClusterLoadAssignment) *endpointList {
	list := &endpointList{}
	best := ^uint32(0)
	seen := make(map[string]bool)
	for i, locality := range m.GetEndpoints() {
		for j, e := range locality.GetLbEndpoints() {
			if !fit(e.GetHealthStatus()) || locality.GetPriority() > best {
				continue
			}
			address := p.address(fmt.Sprintf("%sendpoints[%d].lb_endpoints[%d].endpoint.address", at, i, j), e.GetEndpoint().GetAddress())
			if locality.GetPriority() < best {
				best = locality.GetPriority()
				list.endpoints = nil
				clear(seen)
			}
			if seen[address] {
				continue
			}
			seen[address] = true
			own := e.GetMetadata().GetFilterMetadata()[workloadMetadata]
			list.endpoints = append(list.endpoints, upstream.EndpointConfig{
				Address: address,
				Weight:  e.GetLoadBalancingWeight().GetValue(),
				Labels: telemetry.Labels{
					Namespace: text(own, "namespace"), Pod: text(own, "pod"),
					Workload: text(own, "workload"), WorkloadKind: text(own, "workload_kind"),
				},
			})
		}
	}
	return list
}

// fit follows Envoy: UNKNOWN counts as healthy.
func fit(s corev3.HealthStatus) bool {
	switch s {
	case corev3.HealthStatus_UNKNOWN, corev3.HealthStatus_HEALTHY, corev3.HealthStatus_DEGRADED:
		return true
	}
	return false
}

// service says what a cluster stands for: by its metadata, or by a name of the
// form DIRECTION|PORT|SUBSET|SERVICE.NAMESPACE.svc...
func service(name string, m *corev3.Metadata) telemetry.ServiceRef {
	if own := m.GetFilterMetadata()[serviceMetadata]; own != nil && text(own, "name") != "" {
		return telemetry.ServiceRef{Namespace: text(own, "namespace"), Name: text(own, "name"), Port: text(own, "port")}
	}
	parts := strings.Split(name, "|")
	if len(parts) != 4 && len(parts) != 3 {
		return telemetry.ServiceRef{Name: name}
	}
	ref := telemetry.ServiceRef{Port: parts[1]}
	if port := text(m.GetFilterMetadata()[serviceMetadata], "port"); port != "" {
		ref.Port = port // of the container, where the address has another
	}
	if len(parts) == 4 {
		host, rest, _ := strings.Cut(parts[3], ".")
		ref.Name = host
		ref.Namespace, _, _ = strings.Cut(rest, ".")
	}
	return ref
}

// text reads a string, or a number as a string.
func text(s *structpb.Struct, key string) string {
	switch v := s.GetFields()[key].GetKind().(type) {
	case *structpb.Value_StringValue:
		return v.StringValue
	case *structpb.Value_NumberValue:
		return fmt.Sprint(v.NumberValue)
	}
	return ""
}
