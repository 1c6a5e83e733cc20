package grpcinterop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/test/mesh"
)

func TestMain(m *testing.M) { os.Exit(mesh.Main(m)) }

// cases are those of the interop client that need no credentials.
var cases = []string{
	"empty_unary", "large_unary",
	"client_streaming", "server_streaming", "ping_pong", "empty_stream",
	"timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response",
	"status_code_and_message", "special_status_message", "custom_metadata",
	"unimplemented_method", "unimplemented_service",
	"orca_per_rpc", "orca_oob", "rpc_soak", "channel_soak",
}

// TestInterop has the direct way first: what fails there is not the proxy's.
func TestInterop(t *testing.T) {
	client, server := mesh.Tool(t, "google.golang.org/grpc/interop/client"), mesh.Tool(t, "google.golang.org/grpc/interop/server")
	certificate := mesh.NewCertificate(t, mesh.TLSName)
	for _, way := range []struct {
		name     string
		proxies  int
		failures int // in a row, that open a breaker
		streams  int // on one connection to the upstream
		listener mesh.Listener
	}{
		{name: "direct"},
		{name: "one proxy", proxies: 1},
		{name: "outbound and inbound", proxies: 2},
		{name: "breaker", proxies: 2, failures: 7},
		{name: "TLS between", proxies: 2, listener: mesh.Listener{TLS: &certificate}},
		{name: "one stream a connection", proxies: 1, streams: 1},
		{name: "retries", proxies: 2, listener: mesh.Listener{Retry: map[string]any{
			"retry_on":    "reset,connect-failure,refused-stream,cancelled,deadline-exceeded,internal,resource-exhausted,unavailable",
			"num_retries": 3,
		}}},
	} {
		t.Run(way.name, func(t *testing.T) {
			chain := mesh.StartChain(t, way.proxies, mesh.HTTP2, mesh.Cluster{
				Name: "interop", Endpoints: []string{startServer(t, server)}, Protocol: mesh.HTTP2,
				Failures: way.failures, Streams: way.streams,
			}, way.listener)
			for _, name := range cases {
				t.Run(name, func(t *testing.T) { runCase(t, client, chain.Address, name) })
			}
			for _, p := range chain.Proxies {
				nothingLeft(t, p)
			}
		})
	}
}

// runCase runs the client, which ends with status 0 when the case passes.
func runCase(t *testing.T, client, addr, name string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*mesh.Patience)
	defer cancel()
	args := []string{"--server_host", host, "--server_port", port, "--test_case", name}
	switch {
	case strings.HasPrefix(name, "orca_"):
		// The description of these cases asks for the balancer that takes the
		// reports of load.
		args = append(args, "--service_config_json", `{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}`)
	case strings.HasSuffix(name, "_soak"):
		// How long an iteration takes is no matter of pass or fail here.
		args = append(args, "--soak_per_iteration_max_acceptable_latency_ms", "30000", "--soak_overall_timeout_seconds", "60")
	}
	cmd := exec.CommandContext(ctx, client, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// startServer starts the interop server and returns where it listens.
func startServer(t *testing.T, server string) string {
	t.Helper()
	addr := mesh.FreeAddress(t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(server, "--port", port)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // an error: it has ended
		_ = cmd.Wait()         // it was killed
	})
	mesh.Until(t, "the interop server", func() error {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	})
	return addr
}

// nothingLeft waits until no request is under way.
func nothingLeft(t *testing.T, p *mesh.Proxy) {
	t.Helper()
	mesh.Until(t, "the requests to end", func() error {
		text, err := p.Get("/clusters")
		if err != nil {
			return err
		}
		var live struct {
			Clusters []struct {
				Name     string
				Requests int
			}
		}
		if err := json.Unmarshal([]byte(text), &live); err != nil {
			return err
		}
		for _, c := range live.Clusters {
			if c.Requests != 0 {
				err = errors.Join(err, fmt.Errorf("cluster %s: %d under way", c.Name, c.Requests))
			}
		}
		return err
	})
}
