package model

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/reclosermesh/recloser/internal/control/source"
)

// Labels that say where an instance, or the Node that it runs on, is.
const (
	RegionLabel = corev1.LabelTopologyRegion // topology.kubernetes.io/region
	ZoneLabel   = corev1.LabelTopologyZone   // topology.kubernetes.io/zone
	// SubZoneLabel is Istio's.
	SubZoneLabel = "topology.istio.io/subzone"
)

// Locality is where something runs. Zones are parts of a region, subzones of a
// zone.
type Locality struct {
	Region  string `json:"region,omitempty"`
	Zone    string `json:"zone,omitempty"`
	SubZone string `json:"subzone,omitempty"`
}

// String is REGION/ZONE/SUBZONE without what is empty at its end.
func (l Locality) String() string {
	return strings.TrimRight(l.Region+"/"+l.Zone+"/"+l.SubZone, "/")
}

// ParseLocality reads what String writes.
func ParseLocality(s string) Locality {
	region, rest, _ := strings.Cut(s, "/")
	zone, subZone, _ := strings.Cut(rest, "/")
	return Locality{Region: region, Zone: zone, SubZone: subZone}
}

// IsZero tells whether nothing is known.
func (l Locality) IsZero() bool { return l == Locality{} }

// LocalityOf is what labels say of where something runs.
func LocalityOf(labels map[string]string) Locality {
	return Locality{Region: labels[RegionLabel], Zone: labels[ZoneLabel], SubZone: labels[SubZoneLabel]}
}

// or takes from other what l leaves open.
func (l Locality) or(other Locality) Locality {
	for _, p := range []struct{ own, others *string }{
		{&l.Region, &other.Region}, {&l.Zone, &other.Zone}, {&l.SubZone, &other.SubZone},
	} {
		if *p.own == "" {
			*p.own = *p.others
		}
	}
	return l
}

// nodeLocality is where a Node is; empty for one that is not known.
func (w *World) nodeLocality(name string) Locality {
	o, ok := w.objects[source.Key{Kind: source.Node, Name: name}]
	if !ok || name == "" {
		return Locality{}
	}
	return LocalityOf(o.Value.(*corev1.Node).Labels)
}

// place says where an endpoint is: by its EndpointSlice's zone, its own labels,
// or those of its Node, in this order.
func (n *namespaceBuilder) place(e *Endpoint, zone, node string) {
	if node == "" {
		if p := n.pods[e.Pod]; p != nil {
			node = p.Spec.Spec.NodeName
		}
	}
	e.Locality = Locality{Zone: zone}.or(LocalityOf(e.Labels)).or(n.world.nodeLocality(node))
}
