package grpcinterop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/reclosermesh/recloser/test/mesh"
)

// service is the interop server with a call of our own in place of one of its.
type service struct {
	testgrpc.TestServiceServer
	calls      atomic.Int64
	fullDuplex func(testgrpc.TestService_FullDuplexCallServer) error // nil: the interop server's
	unary      func(context.Context) error                           // before the interop server's
}

func (s *service) UnaryCall(ctx context.Context, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	s.calls.Add(1)
	if s.unary != nil {
		if err := s.unary(ctx); err != nil {
			return nil, err
		}
	}
	return s.TestServiceServer.UnaryCall(ctx, in)
}

func (s *service) FullDuplexCall(stream testgrpc.TestService_FullDuplexCallServer) error {
	s.calls.Add(1)
	if s.fullDuplex != nil {
		return s.fullDuplex(stream)
	}
	return s.TestServiceServer.FullDuplexCall(stream)
}

// serve returns where s is served.
func serve(t *testing.T, s *service) string {
	t.Helper()
	s.TestServiceServer = interop.NewTestServer()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(server, s)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// dial makes a client of the interop service at an address.
func dial(t *testing.T, addr string) testgrpc.TestServiceClient {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return testgrpc.NewTestServiceClient(cc)
}

// exchange makes one bidirectional call of one message each way.
func exchange(ctx context.Context, c testgrpc.TestServiceClient) error {
	stream, err := c.FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	if err := sendOne(stream); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	_, err = stream.Recv()
	switch {
	case err == nil:
		return errors.New("a message after the last")
	case err != io.EOF: //nolint:errorlint // the interface says io.EOF itself
		return err
	}
	return nil
}

// sendOne sends a message and receives its answer.
func sendOne(stream testgrpc.TestService_FullDuplexCallClient) error {
	// An error of Send only says that Recv has it.
	_ = stream.Send(&testgrpc.StreamingOutputCallRequest{
		ResponseParameters: []*testgrpc.ResponseParameters{{Size: 1000}},
		Payload:            &testgrpc.Payload{Body: make([]byte, 100)},
	})
	_, err := stream.Recv()
	return err
}

// TestBreakerReadsTrailers has two endpoints that both answer 200: one says in
// its trailers, after a message, that it failed. The breaker must take it out.
func TestBreakerReadsTrailers(t *testing.T) {
	good := &service{}
	bad := &service{fullDuplex: func(stream testgrpc.TestService_FullDuplexCallServer) error {
		if err := stream.Send(&testgrpc.StreamingOutputCallResponse{}); err != nil {
			return err
		}
		return status.Error(codes.Unavailable, "not today")
	}}
	goodAt, badAt := serve(t, good), serve(t, bad)
	chain := mesh.StartChain(t, 1, mesh.HTTP2, mesh.Cluster{
		Name: "two", Endpoints: []string{goodAt, badAt}, Protocol: mesh.HTTP2, Failures: 3,
	}, mesh.Listener{})
	client := dial(t, chain.Address)
	opened := func() (float64, error) {
		return chain.Proxies[0].Metric("recloser_breaker_transitions_total", `to="open"`)
	}
	failed := 0
	mesh.Until(t, "the breaker to open", func() error {
		if exchange(t.Context(), client) != nil {
			failed++
		}
		n, err := opened()
		if err == nil && n == 0 {
			err = fmt.Errorf("closed after %d failures of %d calls of the endpoint", failed, bad.calls.Load())
		}
		return err
	})
	if failed < 3 {
		t.Errorf("open after %d failures; three are needed", failed)
	}
	if good.calls.Load() == 0 {
		t.Error("the good endpoint was never called")
	}
	seen, err := chain.Proxies[0].Metric("response_total", `addr="`+badAt+`"`, `grpc_status_code="14"`, `classification="failure"`)
	if err != nil || int64(seen) != bad.calls.Load() {
		t.Errorf("%v responses with status 14, %v; the endpoint gave %d", seen, err, bad.calls.Load())
	}
}

// TestRefusals are gRPC: a client must read a status and not an answer of HTTP
// that it does not understand.
func TestRefusals(t *testing.T) {
	listen := mesh.FreeAddress(t)
	cfg := mesh.Config{
		Listeners: []mesh.Listener{{Name: "outbound", Address: listen, Routes: []mesh.Route{
			{Prefix: "/grpc.testing.TestService/UnaryCall", Cluster: "nobody"},
		}}},
		Clusters: []mesh.Cluster{{Name: "nobody", Endpoints: []string{mesh.FreeAddress(t)}, Protocol: mesh.HTTP2}},
	}
	mesh.Start(t, cfg)
	client := dial(t, listen)
	_, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{})
	refusal(t, "no endpoint answers", err, codes.Unavailable)
	err = exchange(t.Context(), client)
	refusal(t, "no route", err, codes.Unimplemented)
}

func refusal(t *testing.T, what string, err error, want codes.Code) {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != want || s.Message() == "" || strings.Contains(s.Message(), "HTTP status") {
		t.Errorf("%s: %v; the status must be %v and tell why", what, err, want)
	}
}

// TestDeadlines has an upstream that waits for its caller to give up. The proxy
// must tell it the caller's deadline, not more, and must keep it itself for a
// caller that does not.
func TestDeadlines(t *testing.T) {
	told := make(chan time.Duration, 1)
	waiting := &service{unary: func(ctx context.Context) error {
		deadline, ok := ctx.Deadline()
		if !ok {
			deadline = time.Now().Add(time.Hour)
		}
		told <- time.Until(deadline)
		<-ctx.Done()
		return ctx.Err()
	}}
	chain := mesh.StartChain(t, 2, mesh.HTTP2, mesh.Cluster{
		Name: "waiting", Endpoints: []string{serve(t, waiting)}, Protocol: mesh.HTTP2,
	}, mesh.Listener{})

	ctx, cancel := context.WithTimeout(t.Context(), mesh.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost,
		"http://"+chain.Address+"/grpc.testing.TestService/UnaryCall", strings.NewReader("\x00\x00\x00\x00\x00"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "Grpc-Timeout": {"500m"}}
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Error(err)
	}
	got := res.Trailer.Get("Grpc-Status")
	if got == "" {
		got = res.Header.Get("Grpc-Status") // trailers only
	}
	if res.StatusCode != http.StatusOK || got != "4" {
		t.Errorf("%s, grpc-status %q; want 200 and 4, DEADLINE_EXCEEDED", res.Status, got)
	}
	if d := <-told; d > 500*time.Millisecond {
		t.Errorf("the upstream was told %v, more than the caller's 500ms", d)
	}
}

// TestStreamOutlivesConfiguration keeps a call open while the proxy is told of
// other routes, other endpoints, and that the call's own endpoint is no more.
func TestStreamOutlivesConfiguration(t *testing.T) {
	first, second := &service{}, &service{}
	listen := mesh.FreeAddress(t)
	cfg := mesh.Config{
		Listeners: []mesh.Listener{{Name: "outbound", Address: listen, Routes: []mesh.Route{{Cluster: "duplex"}}}},
		Clusters:  []mesh.Cluster{{Name: "duplex", Endpoints: []string{serve(t, first)}, Protocol: mesh.HTTP2}},
	}
	p := mesh.Start(t, cfg)
	client := dial(t, listen)
	stream, err := client.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := sendOne(stream); err != nil {
		t.Fatal(err)
	}
	cfg.Clusters[0].Endpoints = []string{serve(t, second)}
	p.Reload(cfg)
	mesh.Until(t, "calls to the new endpoint", func() error {
		if err := exchange(t.Context(), client); err != nil {
			t.Errorf("a call beside it: %v", err)
		}
		if second.calls.Load() == 0 {
			return fmt.Errorf("%d calls, all to the old one", first.calls.Load())
		}
		return nil
	})
	for range 100 {
		if err := sendOne(stream); err != nil {
			t.Fatalf("after its endpoint was taken away: %v", err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != io.EOF { //nolint:errorlint // the interface says io.EOF itself
		t.Errorf("the end: %v", err)
	}
}
