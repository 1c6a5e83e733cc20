package snapshot

import (
	"fmt"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

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

// envoyConnectTimeout holds for clusters that do not say one.
const envoyConnectTimeout = 5 * time.Second

type fieldName = protoreflect.Name

// clusterSpec is a Cluster. cfg has no endpoints: they come from static, or
// from the resource that endpoints names.
type clusterSpec struct {
	cfg       upstream.Config
	static    *endpointList
	endpoints string
	own       bool                    // the breaker's policy is in our own words
	tls       *transport.ClientConfig // nil: plain; cfg.Dial is made of it when it is opened
}

// clusterFields are the fields of a Cluster that are honoured, with those that
// change nothing of what becomes of a request: statistics, the handling of
// buffers, how Envoy warms up and resolves names (of which we have none).
// Whatever else is set is refused by name.
var clusterFields = []fieldName{
	"name", "type", "eds_cluster_config", "load_assignment", "metadata",
	"connect_timeout", "lb_policy", "ring_hash_lb_config", "maglev_lb_config",
	"least_request_lb_config", "round_robin_lb_config",
	"common_lb_config", "circuit_breakers", "outlier_detection",
	"typed_extension_protocol_options", "max_requests_per_connection",
	"upstream_connection_options", "transport_socket",

	"alt_stat_name", "stats_matcher", "track_timeout_budgets", "track_cluster_stats",
	"per_connection_buffer_limit_bytes", "wait_for_warm_on_init",
	"ignore_health_on_host_removal", "close_connections_on_host_health_failure",
	"cleanup_interval", "dns_lookup_family", "respect_dns_ttl", "dns_refresh_rate", "preconnect_policy",
	"lrs_server", "lrs_report_endpoint_metrics",
}

func compileCluster(r xds.Resource) (*clusterSpec, error) {
	c, err := asMessage[*clusterv3.Cluster](r)
	if err != nil {
		return nil, err
	}
	var p problems
	spec := &clusterSpec{cfg: upstream.Config{
		Name:           r.Name,
		Service:        service(r.Name, c.GetMetadata()),
		ConnectTimeout: p.duration("connect_timeout", c.GetConnectTimeout(), envoyConnectTimeout),
	}}
	if strings.HasPrefix(r.Name, "inbound|") {
		spec.cfg.Direction = telemetry.Inbound
	}
	p.only("", c, clusterFields...)
	p.clusterTransport(spec, c)
	p.discovery(spec, c)
	p.breaker(spec, c)
	p.balancer(spec, c)
	p.limits(spec, c)
	p.protocolOptions(spec, c)
	p.connections(spec, c)
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
		spec.static = p.assignment("load_assignment.", c.GetLoadAssignment())
	default:
		p.add("type %s: STATIC and EDS are supported", c.GetType())
	}
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
