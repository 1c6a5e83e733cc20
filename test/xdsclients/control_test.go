package xdsclients

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/test/mesh"
)

// Control is a control plane that runs over a folder.
type Control struct {
	t    testing.TB
	http string
	dir  string
}

// startControl runs `recloser control` with these manifests, by file. xds is
// where it serves.
func startControl(t *testing.T, xds string, manifests map[string]string) *Control {
	t.Helper()
	c := &Control{t: t, http: mesh.FreeAddress(t), dir: t.TempDir()}
	for name, text := range manifests {
		c.put(name, text)
	}
	mesh.Run(t, mesh.Recloser(t), "control", "-f", c.dir, "--xds-address", xds, "--http-address", c.http)
	mesh.Until(t, "the control plane", func() error {
		_, err := c.problems()
		return err
	})
	return c
}

// put writes a manifest, at once.
func (c *Control) put(name, text string) {
	c.t.Helper()
	tmp := filepath.Join(c.dir, "."+name)
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(c.dir, name)); err != nil {
		c.t.Fatal(err)
	}
}

// finding is what is wrong, as the HTTP API tells it.
type finding struct{ Code, Severity, Object, Field, Value, Reason string }

// problems are all findings.
func (c *Control) problems() ([]finding, error) {
	resp, err := http.Get("http://" + c.http + "/api/v1/lint")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", resp.Status)
	}
	var out struct{ Findings []finding }
	return out.Findings, json.NewDecoder(resp.Body).Decode(&out)
}

// service is a Service, and an EndpointSlice for each address that answers.
func service(namespace, name string, port int, more string, addresses ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s}
spec:
  ports: [{name: grpc, port: %d, %s}]
`, name, namespace, port, more)
	for i, a := range addresses {
		host, p, _ := strings.Cut(a, ":")
		fmt.Fprintf(&b, `---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s-%[2]d, namespace: %[3]s, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
ports: [{name: grpc, port: %[5]s}]
endpoints: [{addresses: [%[4]s]}]
`, name, i, namespace, host, p)
	}
	return b.String()
}
