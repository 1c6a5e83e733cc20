package control_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"sigs.k8s.io/yaml"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/translate"
)

// effective prints the policy for a client, "NS" or "NS/KIND/WORKLOAD", towards
// "SERVICE.NS", a port and perhaps a subset.
func effective(t *testing.T, w *bytes.Buffer, off *control.Offline, ask []string) {
	t.Helper()
	n, err := strconv.ParseUint(ask[2], 10, 16)
	must(t, err)
	name, ns, _ := strings.Cut(ask[1], ".")
	subset := strings.Join(ask[3:], "")
	e, err := off.Policy.Effective(clientOf(ask[0]), model.Name{Namespace: ns, Name: name}, uint16(n), subset)
	if err != nil {
		fmt.Fprintln(w, err)
		return
	}
	must(t, e.WriteText(w))
}

// outliers prints the outlier detection of clusters as `istioctl proxy-config
// cluster -o yaml` has it.
func outliers(t *testing.T, w *bytes.Buffer, off *control.Offline, client string, clusters []string) {
	t.Helper()
	view := translate.View{World: off.World, Policy: off.Policy}
	for _, name := range clusters {
		r := translate.Generate(view, translate.KeyFor(translate.ClusterType, name, translate.Node{Client: clientOf(client)}))
		if len(r.Resources) != 1 {
			t.Fatalf("%s: %d clusters", name, len(r.Resources))
		}
		c := r.Resources[0].Message.(*clusterv3.Cluster)
		raw, err := protojson.Marshal(c.GetOutlierDetection())
		must(t, err)
		y, err := yaml.JSONToYAML(raw)
		must(t, err)
		fmt.Fprintf(w, "  name: %s\n  outlierDetection:\n", c.GetName())
		for line := range strings.Lines(string(y)) {
			w.WriteString("    " + line)
		}
	}
}
