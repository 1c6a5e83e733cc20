package archtest

import (
	"os/exec"
	"strings"
	"testing"
)

// TestProxyBinary looks at all that the proxy is linked with, which the rules
// above, that see only what our own files import, cannot.
func TestProxyBinary(t *testing.T) {
	const pkg = module + "/cmd/recloser-proxy"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", pkg).CombinedOutput()
	if err != nil {
		t.Fatalf("go list -deps %s: %v\n%s", pkg, err, out)
	}
	for dep := range strings.Lines(string(out)) {
		dep = strings.TrimSpace(dep)
		for _, heavy := range []string{"k8s.io/...", "istio.io/...", "github.com/prometheus/prometheus/...", "github.com/spf13/..."} {
			if match(heavy, dep) {
				t.Errorf("recloser-proxy is linked with %s: there is one proxy per workload, it stays small", dep)
			}
		}
	}
}
