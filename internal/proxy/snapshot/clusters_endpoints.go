package snapshot

import (
	"fmt"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// endpointList is a ClusterLoadAssignment.
type endpointList struct {
	endpoints     []upstream.EndpointConfig
	overprovision uint32 // percent; 0: the default
}

func compileEndpoints(r xds.Resource) (*endpointList, error) {
	m, err := asMessage[*endpointv3.ClusterLoadAssignment](r)
	if err != nil {
		return nil, err
	}
	var p problems
	list := p.assignment("", m)
	if err := p.err(); err != nil {
		return nil, err
	}
	return list, nil
}

// assignment reads the endpoints that are fit for traffic, of all priorities. An
// address that is there twice counts where it has the better priority.
func (p *problems) assignment(at string, m *endpointv3.ClusterLoadAssignment) *endpointList {
	p.only(at, m, "cluster_name", "endpoints", "policy")
	list := &endpointList{overprovision: p.assignmentPolicy(at+"policy.", m.GetPolicy())}
	known := make(map[string]int)
	for i, locality := range m.GetEndpoints() {
		where := fmt.Sprintf("%sendpoints[%d].", at, i)
		p.only(where, locality, "locality", "metadata", "lb_endpoints", "load_balancing_weight", "priority", "proximity")
		if n := locality.GetPriority(); n > upstream.MaxPriority {
			p.add("%spriority %d: must be at most %d", where, n, upstream.MaxPriority)
			continue
		}
		place := placeOf(locality)
		for j, e := range locality.GetLbEndpoints() {
			if !fit(e.GetHealthStatus()) {
				continue
			}
			address := p.address(fmt.Sprintf("%slb_endpoints[%d].endpoint.address", where, j), e.GetEndpoint().GetAddress())
			n, twice := known[address]
			if twice && list.endpoints[n].Place.Priority <= place.Priority {
				continue
			}
			one := endpointOf(e, address, place)
			if twice {
				list.endpoints[n] = one
				continue
			}
			known[address] = len(list.endpoints)
			list.endpoints = append(list.endpoints, one)
		}
	}
	return list
}

func (p *problems) assignmentPolicy(at string, m *endpointv3.ClusterLoadAssignment_Policy) uint32 {
	p.only(at, m, "overprovisioning_factor", "endpoint_stale_after")
	f := m.GetOverprovisioningFactor()
	if f != nil && (f.GetValue() < 100 || f.GetValue() > mostOverprovision) {
		p.add("%soverprovisioning_factor %d: must be from 100 to %d", at, f.GetValue(), mostOverprovision)
		return 0
	}
	return f.GetValue()
}

// mostOverprovision: beyond it one endpoint of ten thousand would be enough.
const mostOverprovision = 1_000_000

func placeOf(l *endpointv3.LocalityLbEndpoints) upstream.Place {
	return upstream.Place{
		Priority: l.GetPriority(),
		Locality: upstream.Locality{
			Region: l.GetLocality().GetRegion(), Zone: l.GetLocality().GetZone(), SubZone: l.GetLocality().GetSubZone(),
		},
		LocalityWeight: l.GetLoadBalancingWeight().GetValue(),
	}
}

func endpointOf(e *endpointv3.LbEndpoint, address string, place upstream.Place) upstream.EndpointConfig {
	own := e.GetMetadata().GetFilterMetadata()[workloadMetadata]
	return upstream.EndpointConfig{
		Address: address,
		Weight:  e.GetLoadBalancingWeight().GetValue(),
		HashKey: text(e.GetMetadata().GetFilterMetadata()[lbMetadata], "hash_key"),
		Place:   place,
		Labels: telemetry.Labels{
			Namespace: text(own, "namespace"), Pod: text(own, "pod"),
			Workload: text(own, "workload"), WorkloadKind: text(own, "workload_kind"),
		},
	}
}

// lbMetadata is where Envoy looks for what stands for an endpoint in a ring.
const lbMetadata = "envoy.lb"

// fit follows Envoy: UNKNOWN counts as healthy.
func fit(s corev3.HealthStatus) bool {
	switch s {
	case corev3.HealthStatus_UNKNOWN, corev3.HealthStatus_HEALTHY, corev3.HealthStatus_DEGRADED:
		return true
	}
	return false
}
