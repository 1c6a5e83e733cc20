package conformance

import (
	"testing"
	"time"

	meshtests "sigs.k8s.io/gateway-api/conformance/tests/mesh"
	"sigs.k8s.io/gateway-api/conformance/utils/config"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
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
			// Their cases may run beside each other, and the manifests go with the
			// last of them.
			t.Run("cases", func(t *testing.T) { test.Test(t, s) })
		})
	}
}
