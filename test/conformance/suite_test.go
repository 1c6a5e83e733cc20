package conformance

import (
	"encoding/json"
	"os/exec"
	"testing"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	meshtests "sigs.k8s.io/gateway-api/conformance/tests/mesh"
	"sigs.k8s.io/gateway-api/conformance/utils/config"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"

	"github.com/reclosermesh/recloser/test/mesh"
)

// inARow is how many answers in a row must be as they should be.
const inARow = 20

// known is how many tests the module has. One more is one to look at.
const known = 22

// TestMeshConformance runs the tests of Gateway API for meshes, all of them.
func TestMeshConformance(t *testing.T) {
	l := startLaptop(t)
	c := newCluster(t, l)
	timeouts := config.DefaultTimeoutConfig()
	timeouts.RequiredConsecutiveSuccesses = inARow
	timeouts.MaxTimeToConsistency = time.Minute
	s := &suite.ConformanceTestSuite{Client: c, Clientset: c.sets, RestConfig: c.rest, TimeoutConfig: timeouts}
	if len(meshtests.MeshConformanceTests) != known {
		t.Errorf("the module has %d tests for meshes, and %d are known here", len(meshtests.MeshConformanceTests), known)
	}
	for _, test := range meshtests.MeshConformanceTests {
		t.Run(test.ShortName, func(t *testing.T) {
			l.apply(t, test.Manifests...)
			l.accepted(t)
			// Their cases may run beside each other, and the manifests go with the
			// last of them.
			t.Run("cases", func(t *testing.T) { test.Test(t, s) })
		})
	}
}

// accepted wants the status of every route to say that it holds, and that its
// references lead somewhere; but for one that names a Service with weight 0
// that there is not.
func (l *laptop) accepted(t *testing.T) {
	t.Helper()
	raw, err := exec.Command(mesh.Recloser(t), "routes", "-o", "json", "--control", "http://"+l.http).Output()
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   gatewayv1.RouteStatus
		}
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	for _, r := range list.Items {
		if len(r.Status.Parents) == 0 {
			t.Errorf("route %s has no status", r.Metadata.Name)
		}
		for _, p := range r.Status.Parents {
			for _, c := range p.Conditions {
				want := "True"
				if c.Type == "ResolvedRefs" && r.Metadata.Name == "mesh-grpc-weighted-backends" {
					want = "False" // echo-v3 is not there
				}
				if string(c.Status) != want {
					t.Errorf("route %s: %s is %s, %s: %s", r.Metadata.Name, c.Type, c.Status, c.Reason, c.Message)
				}
			}
		}
	}
}
