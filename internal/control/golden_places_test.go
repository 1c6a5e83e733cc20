package control_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/translate"
)

// places prints which endpoints of a cluster a caller uses, by where it is: the
// name under which it asks for them, and each place with its priority and weight.
func places(t *testing.T, w *bytes.Buffer, off *control.Offline, client, cluster string, from []string) {
	t.Helper()
	view := translate.View{World: off.World, Policy: off.Policy}
	for _, at := range from {
		at = strings.TrimPrefix(at, "-")
		node := translate.Node{Client: clientOf(client), Locality: model.ParseLocality(at)}
		r := translate.Generate(view, translate.KeyFor(translate.ClusterType, cluster, node))
		if len(r.Resources) != 1 {
			t.Fatalf("%s: %d clusters", cluster, len(r.Resources))
		}
		c := r.Resources[0].Message.(*clusterv3.Cluster)
		must(t, validate(c))
		name := cluster
		if s := c.GetEdsClusterConfig().GetServiceName(); s != "" {
			name = s
		}
		fmt.Fprintf(w, "from %q: %s", at, name)
		if c.GetCommonLbConfig().GetLocalityWeightedLbConfig() != nil {
			w.WriteString(" by weight")
		}
		r = translate.Generate(view, translate.KeyFor(translate.EndpointType, name, node))
		if len(r.Resources) != 1 || r.Resources[0].Name != name {
			t.Fatalf("%s: %+v", name, r.Resources)
		}
		a := r.Resources[0].Message.(*endpointv3.ClusterLoadAssignment)
		must(t, validate(a))
		if f := a.GetPolicy().GetOverprovisioningFactor(); f != nil {
			fmt.Fprintf(w, ", overprovisioning %d%%", f.GetValue())
		}
		w.WriteByte('\n')
		for _, l := range a.GetEndpoints() {
			fmt.Fprintf(w, "  %d", l.GetPriority())
			if p := l.GetLocality(); p != nil {
				fmt.Fprintf(w, " %s", model.Locality{Region: p.GetRegion(), Zone: p.GetZone(), SubZone: p.GetSubZone()})
			}
			if n := l.GetLoadBalancingWeight(); n != nil {
				fmt.Fprintf(w, " weight %d", n.GetValue())
			}
			w.WriteByte(':')
			for _, e := range l.GetLbEndpoints() {
				fmt.Fprintf(w, " %s", e.GetEndpoint().GetAddress().GetSocketAddress().GetAddress())
			}
			w.WriteByte('\n')
		}
	}
}
