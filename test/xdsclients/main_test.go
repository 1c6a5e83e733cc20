package xdsclients

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/reclosermesh/recloser/test/mesh"
)

// bootstrapEnv is where gRPC finds its control plane. It reads it before main.
const bootstrapEnv = "GRPC_XDS_BOOTSTRAP"

// xdsEnv tells this process, once it runs again, what is in the bootstrap.
const xdsEnv = "RECLOSER_SUITE_XDS"

// TestMain runs this program once more, with a bootstrap for gRPC.
func TestMain(m *testing.M) {
	if os.Getenv(xdsEnv) == "" {
		if err := again(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	code := mesh.Main(m)
	if err := os.RemoveAll(filepath.Dir(os.Getenv(bootstrapEnv))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// again replaces this process by itself with the environment set. It returns
// an error or not at all.
func again() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "recloser-xdsclients-")
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{
		"xds_servers": []any{map[string]any{
			"server_uri": address, "server_features": []string{"xds_v3"},
			"channel_creds": []any{map[string]any{"type": "insecure"}},
		}},
		"node": map[string]any{"id": "caller-1." + namespace, "metadata": map[string]any{"WORKLOAD": "caller", "WORKLOAD_KIND": "Deployment"}},
	})
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "bootstrap.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, append(os.Environ(), bootstrapEnv+"="+path, xdsEnv+"="+address))
}
