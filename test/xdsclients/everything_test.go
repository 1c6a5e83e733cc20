package xdsclients

import (
	"os"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/test/mesh"
)

// everything is a mesh that uses every feature.
func everything(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("testdata/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// noErrors fails for what is wrong with the manifests of a test themselves.
func noErrors(t *testing.T, c *Control) {
	t.Helper()
	problems, err := c.problems()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		switch p.Code {
		case "not-supported", "unknown-field", "unknown-annotation", "refused-by-proxy":
			t.Errorf("finding: %+v", p)
		case "bad-backend": // one is there to see what comes of it
		default:
			if p.Severity == "error" {
				t.Errorf("finding: %+v", p)
			}
		}
	}
}

// TestEnvoyTakesEverything: an Envoy refuses nothing of a mesh that uses every
// feature, also after each of its objects is gone.
func TestEnvoyTakesEverything(t *testing.T) {
	all := everything(t)
	last := newWeb(t, "last", nil)
	eachVariant(t, []string{all}, func(t *testing.T, e *Envoy) {
		noErrors(t, e.c)
		for _, want := range []string{"cluster.outbound|80|v4|dest.shop.svc.cluster.local", "cluster.outbound|8081||ggrpc.shop.svc.cluster.local"} {
			mesh.Until(t, want, func() error {
				if !strings.Contains(e.ask("/clusters"), strings.TrimPrefix(want, "cluster.")+"::") {
					return os.ErrNotExist
				}
				return nil
			})
		}
		got, err := e.get("istio/direct")
		if err != nil || got.status != 503 || got.body != `{"sorry": "100%"}` {
			t.Errorf("a direct response: %+v, %v", got, err)
		}
		e.nothingRefused()
		e.c.put("mesh.yaml", service(namespace, "last", 80, "appProtocol: http", last.address))
		e.until("the last service", "last/", func(a answer) bool { return a.status == 200 })
		e.until("the others to be gone", "istio/direct", func(a answer) bool { return a.status == 404 })
	})
}

// TestGRPCTakesEverything: gRPC refuses nothing of any service of that mesh.
func TestGRPCTakesEverything(t *testing.T) {
	c := startGRPC(t, everything(t))
	noErrors(t, c.c)
	for _, svc := range []string{"a:80", "a:8081", "b:8081", "c.other:8081", "gamma:80", "gamma:81", "ggrpc:8081", "profile:80", "accrual:80", "split:80", "istio:80", "dest:80", "dest:8081", "local:80", "ours:80", "stacked:80", "passthrough:443", "empty:80"} {
		client := c.dial(svc)
		ctx, cancel := contextWithPatience(t)
		_, err := client.EmptyCall(ctx, nothing) // nobody answers; it is enough that it is tried
		cancel()
		if err == nil {
			t.Errorf("%s answers", svc)
		}
	}
}
