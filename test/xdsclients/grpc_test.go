package xdsclients

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	statuspb "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	csdspb "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	_ "google.golang.org/grpc/xds" // the resolver of xds:///
	"google.golang.org/grpc/xds/csds"

	"github.com/reclosermesh/recloser/test/mesh"
)

// namespace of everything here, and of the node in the bootstrap.
const namespace = "shop"

// caller is a gRPC program without a proxy.
type caller struct {
	t *testing.T
	c *Control
}

// startGRPC starts a control plane over these manifests, where gRPC looks for
// it. In the end nothing may have been refused.
func startGRPC(t *testing.T, manifests ...string) *caller {
	t.Helper()
	c := startControl(t, os.Getenv(xdsEnv), map[string]string{"mesh.yaml": strings.Join(manifests, "---\n")})
	noErrors(t, c)
	return &caller{t, c}
}

// set replaces the manifests.
func (c *caller) set(manifests ...string) {
	c.t.Helper()
	c.c.put("mesh.yaml", strings.Join(manifests, "---\n"))
}

// dial makes a client of a target after "xds:///".
func (c *caller) dial(target string) testgrpc.TestServiceClient {
	c.t.Helper()
	cc, err := grpc.NewClient("xds:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = cc.Close() })
	// Before the channel is closed, nothing may have been refused.
	c.t.Cleanup(func() { c.nothingRefused() })
	return testgrpc.NewTestServiceClient(cc)
}

// nothingRefused asks gRPC for the state of each resource (CSDS), and the
// control plane for refusals.
func (c *caller) nothingRefused() {
	c.t.Helper()
	server, err := csds.NewClientStatusDiscoveryServer()
	if err != nil {
		c.t.Fatal(err)
	}
	defer server.Close()
	resp, err := server.FetchClientStatus(context.Background(), &csdspb.ClientStatusRequest{})
	if err != nil {
		c.t.Fatal(err)
	}
	have := 0
	for _, cfg := range resp.GetConfig() {
		for _, r := range cfg.GetGenericXdsConfigs() {
			if r.GetClientStatus() == statuspb.ClientResourceStatus_NACKED || r.GetErrorState() != nil {
				c.t.Errorf("gRPC refused %s %s: %v", r.GetTypeUrl(), r.GetName(), r.GetErrorState())
			}
			have++
		}
	}
	if have == 0 {
		c.t.Error("gRPC has no resources")
	}
	problems, err := c.c.problems()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, p := range problems {
		if p.Code == "refused-by-proxy" {
			c.t.Errorf("the control plane was told of a refusal: %+v", p)
		}
	}
}

// call makes one call and returns who answered.
func (c *caller) call(client testgrpc.TestServiceClient, kv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), mesh.Patience)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, kv...)
	r, err := client.UnaryCall(ctx, &testgrpc.SimpleRequest{}, grpc.WaitForReady(true))
	return r.GetHostname(), err
}

// count makes n calls and counts who answered.
func (c *caller) count(client testgrpc.TestServiceClient, n int, kv ...string) map[string]int {
	c.t.Helper()
	out := map[string]int{}
	for range n {
		who, err := c.call(client, kv...)
		if err != nil {
			c.t.Fatal(err)
		}
		out[who]++
	}
	return out
}

// until calls until a condition holds for who answered in a row of calls.
func (c *caller) until(client testgrpc.TestServiceClient, n int, what string, ok func(map[string]int) bool) {
	c.t.Helper()
	mesh.Until(c.t, what, func() error {
		if got := c.count(client, n); !ok(got) {
			return fmt.Errorf("answers of %v", got)
		}
		return nil
	})
}

func virtualService(name, http string) string {
	return fmt.Sprintf(`apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  hosts: [%[1]s]
  http:
%[3]s`, name, namespace, http)
}

func destinationRule(name, policy string) string {
	return fmt.Sprintf(`apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  host: %[1]s
  trafficPolicy:
%[3]s`, name, namespace, policy)
}

// TestNames: a target may be written in each way in which a host may.
func TestNames(t *testing.T) {
	a, b := newBackend(t, "a", nil), newBackend(t, "b", nil)
	c := startGRPC(t, service(namespace, "echo", 8000, "appProtocol: grpc", a.address, b.address))
	for _, target := range []string{"echo:8000", "echo.shop:8000", "echo.shop.svc:8000", "echo.shop.svc.cluster.local:8000"} {
		client := c.dial(target)
		c.until(client, 4, "both endpoints", func(got map[string]int) bool { return got["a"] == 2 && got["b"] == 2 })
	}
	stream, err := c.dial("echo:8000").FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := stream.Send(&testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: 10}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestComesAndGoes: a program may be there before the service that it calls; a
// service that is gone is refused at once, and works when it comes back.
func TestComesAndGoes(t *testing.T) {
	a := newBackend(t, "a", nil)
	other := service(namespace, "other", 8000, "", a.address)
	echo := service(namespace, "echo", 8000, "", a.address)
	c := startGRPC(t, other)
	client := c.dial("echo:8000")
	early := make(chan error, 1)
	go func() {
		_, err := c.call(client)
		early <- err
	}()
	c.set(other, echo)
	if err := <-early; err != nil {
		t.Error(err)
	}
	for range 2 {
		c.set(other)
		mesh.Until(t, "a refusal", func() error {
			ctx, cancel := context.WithTimeout(t.Context(), mesh.Patience)
			defer cancel()
			if _, err := client.UnaryCall(ctx, &testgrpc.SimpleRequest{}); status.Code(err) != codes.Unavailable {
				return fmt.Errorf("a call to nobody: %w", err)
			}
			return nil
		})
		c.set(other, echo)
		mesh.Until(t, "an answer", func() error {
			_, err := c.call(client)
			return err
		})
	}
}

// TestWeights: calls are shared out as the route says, and go on doing so.
func TestWeights(t *testing.T) {
	a, b := newBackend(t, "v1", nil), newBackend(t, "v2", nil)
	rest := []string{
		service(namespace, "echo", 8000, "appProtocol: grpc", a.address),
		service(namespace, "v1", 8000, "appProtocol: grpc", a.address),
		service(namespace, "v2", 8000, "appProtocol: grpc", b.address),
	}
	weights := func(x, y int) []string {
		return append([]string{virtualService("echo", fmt.Sprintf(`  - route:
    - {destination: {host: v1}, weight: %d}
    - {destination: {host: v2}, weight: %d}
`, x, y))}, rest...)
	}
	c := startGRPC(t, weights(80, 20)...)
	client := c.dial("echo:8000")
	const n = 1000
	share := float64(c.count(client, n)["v2"]) / n
	// Seven standard deviations.
	if off := 7 * math.Sqrt(0.8*0.2/n); math.Abs(share-0.2) > off {
		t.Errorf("v2 has %.3f of the calls, want 0.2 ± %.3f", share, off)
	}
	c.set(weights(0, 100)...)
	c.until(client, 50, "all to v2", func(got map[string]int) bool { return got["v2"] == 50 })
}

// TestMatching: by path and by header, in the order of the rules.
func TestMatching(t *testing.T) {
	a, b := newBackend(t, "v1", nil), newBackend(t, "v2", nil)
	c := startGRPC(t, virtualService("echo", `  - match:
    - uri: {exact: /grpc.testing.TestService/EmptyCall}
    route: [{destination: {host: v2}}]
  - match:
    - headers: {x-version: {exact: "2"}, x-user: {regex: "k.*"}}
      method: {exact: POST}
    route: [{destination: {host: v2}}]
  - match:
    - method: {exact: GET}
    route: [{destination: {host: v2}}]
  - match:
    - queryParams: {a: {exact: b}}
    route: [{destination: {host: v2}}]
  - route: [{destination: {host: v1}}]
`),
		service(namespace, "echo", 8000, "appProtocol: grpc", a.address),
		service(namespace, "v1", 8000, "appProtocol: grpc", a.address),
		service(namespace, "v2", 8000, "appProtocol: grpc", b.address))
	client := c.dial("echo:8000")
	for _, tt := range []struct {
		want string
		kv   []string
	}{
		{"v1", nil},
		{"v2", []string{"x-version", "2", "x-user", "kim"}},
		{"v1", []string{"x-version", "2", "x-user", "tim"}},
		{"v1", []string{"x-version", "20", "x-user", "kim"}},
	} {
		if got := c.count(client, 10, tt.kv...); got[tt.want] != 10 {
			t.Errorf("calls with %v were answered by %v, want %s", tt.kv, got, tt.want)
		}
	}
	before := b.calls.Load()
	if _, err := client.EmptyCall(t.Context(), &testgrpc.Empty{}); err != nil {
		t.Fatal(err)
	}
	if b.calls.Load() != before+1 {
		t.Error("EmptyCall went to v1")
	}
}

// TestRetries: a call that is answered with a code that the route names is made
// again, as often as it says, and no other is.
func TestRetries(t *testing.T) {
	var fail atomic.Int64
	var code atomic.Uint32
	b := newBackend(t, "a", func(context.Context) error {
		if fail.Add(-1) >= 0 {
			return status.Error(codes.Code(code.Load()), "as asked")
		}
		return nil
	})
	c := startGRPC(t, virtualService("echo", `  - route: [{destination: {host: echo}}]
    retries: {attempts: 2, retryOn: "unavailable,connect-failure,5xx", perTryTimeout: 2s}
`), service(namespace, "echo", 8000, "appProtocol: grpc", b.address))
	client := c.dial("echo:8000")
	for _, tt := range []struct {
		failures  int64
		code      codes.Code
		calls     int64
		succeeded bool
	}{
		{0, codes.Unavailable, 1, true},
		{2, codes.Unavailable, 3, true},
		{3, codes.Unavailable, 3, false},
		{1, codes.Internal, 1, false},
	} {
		b.calls.Store(0)
		fail.Store(tt.failures)
		code.Store(uint32(tt.code))
		if _, err := c.call(client); (err == nil) != tt.succeeded {
			t.Errorf("%d failures with %v: %v", tt.failures, tt.code, err)
		}
		if got := b.calls.Load(); got != tt.calls {
			t.Errorf("%d failures with %v: %d calls, want %d", tt.failures, tt.code, got, tt.calls)
		}
		fail.Store(0)
	}
}

// TestTimeout: the route's timeout is the call's deadline.
func TestTimeout(t *testing.T) {
	b := newBackend(t, "a", func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	c := startGRPC(t, virtualService("echo", `  - route: [{destination: {host: echo}}]
    timeout: 0.2s
`), service(namespace, "echo", 8000, "appProtocol: grpc", b.address))
	start := time.Now()
	if _, err := c.call(c.dial("echo:8000")); status.Code(err) != codes.DeadlineExceeded || time.Since(start) > mesh.Patience/2 {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

// TestOutlier: an endpoint that only fails is taken out, and others are not.
func TestOutlier(t *testing.T) {
	good := newBackend(t, "good", nil)
	bad := newBackend(t, "bad", func(context.Context) error { return status.Error(codes.Internal, "no") })
	c := startGRPC(t, destinationRule("echo", `    loadBalancer: {simple: ROUND_ROBIN}
    outlierDetection: {consecutive5xxErrors: 3, interval: 0.2s, baseEjectionTime: 60s, maxEjectionPercent: 100}
`), service(namespace, "echo", 8000, "appProtocol: grpc", good.address, bad.address))
	client := c.dial("echo:8000")
	mesh.Until(t, "the ejection", func() error {
		before := bad.calls.Load()
		for range 20 {
			_, _ = c.call(client) // half of them fail until then
		}
		if n := bad.calls.Load() - before; n > 0 {
			return fmt.Errorf("%d of 20 calls went to the bad one", n)
		}
		return nil
	})
	if got := c.count(client, 20); got["good"] != 20 {
		t.Errorf("answers of %v", got)
	}
}

// TestMaxRequests: what is beyond the limit is refused at once.
func TestMaxRequests(t *testing.T) {
	release := make(chan struct{})
	var inside atomic.Int64
	b := newBackend(t, "a", func(ctx context.Context) error {
		inside.Add(1)
		defer inside.Add(-1)
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil
	})
	c := startGRPC(t, destinationRule("echo", `    connectionPool: {http: {http2MaxRequests: 2}}
`), service(namespace, "echo", 8000, "appProtocol: grpc", b.address))
	client := c.dial("echo:8000")
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if _, err := c.call(client); err != nil {
				t.Error(err)
			}
		})
	}
	mesh.Until(t, "two calls under way", func() error {
		if n := inside.Load(); n < 2 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	if _, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("the third call: %v", err)
	}
	close(release)
	wg.Wait()
	if _, err := c.call(client); err != nil {
		t.Errorf("a call after them: %v", err)
	}
}

// TestBalancers: each balancer of a DestinationRule is taken.
func TestBalancers(t *testing.T) {
	a, b := newBackend(t, "a", nil), newBackend(t, "b", nil)
	c := startGRPC(t, service(namespace, "echo", 8000, "appProtocol: grpc", a.address, b.address))
	client := c.dial("echo:8000")
	for _, balancer := range []string{
		"simple: ROUND_ROBIN", "simple: LEAST_REQUEST", "simple: RANDOM",
		"consistentHash: {httpHeaderName: x-user, ringHash: {minimumRingSize: 64}}",
		"consistentHash: {httpHeaderName: x-user, maglev: {}}",
		"consistentHash: {useSourceIp: true}",
	} {
		c.set(destinationRule("echo", "    loadBalancer: {"+balancer+"}\n    tls: {mode: SIMPLE}\n"),
			service(namespace, "echo", 8000, "appProtocol: grpc", a.address, b.address))
		c.count(client, 5)
	}
	// The hash decides: each user has one endpoint, and not all the same.
	c.set(destinationRule("echo", "    loadBalancer: {consistentHash: {httpHeaderName: x-user, minimumRingSize: 64}}\n"),
		service(namespace, "echo", 8000, "appProtocol: grpc", a.address, b.address))
	mesh.Until(t, "calls to be placed by x-user", func() error {
		all := map[string]int{}
		for i := range 20 {
			got := c.count(client, 5, "x-user", fmt.Sprint(i))
			if len(got) != 1 {
				return fmt.Errorf("user %d is answered by %v", i, got)
			}
			for who := range got {
				all[who]++
			}
		}
		if len(all) != 2 {
			return fmt.Errorf("all users are at %v", all)
		}
		return nil
	})
}

// TestFailOver: endpoints that leave and come lose no call, and a backend that
// is started again is used again.
func TestFailOver(t *testing.T) {
	a, b := newBackend(t, "a", nil), newBackend(t, "b", nil)
	both := service(namespace, "echo", 8000, "appProtocol: grpc", a.address, b.address)
	only := service(namespace, "echo", 8000, "appProtocol: grpc", b.address)
	c := startGRPC(t, both)
	client := c.dial("echo:8000")
	hasBoth := func(got map[string]int) bool { return got["a"] > 0 && got["b"] > 0 }
	c.until(client, 4, "both", hasBoth)
	for range 3 {
		c.set(only)
		c.until(client, 4, "b alone", func(got map[string]int) bool { return got["b"] == 4 })
		c.set(both)
		c.until(client, 4, "both again", hasBoth)
	}
	address := a.address
	a.stop()
	mesh.Until(t, "calls without a", func() error {
		for range 5 {
			if _, err := c.call(client); err != nil {
				return err
			}
		}
		return nil
	})
	a.start(address)
	c.until(client, 4, "a after its restart", hasBoth)
}

// nothing is an empty message.
var nothing = &testgrpc.Empty{}

// contextWithPatience is long enough for a connection to be refused.
func contextWithPatience(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), mesh.Patience)
}
