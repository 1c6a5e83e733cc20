package xdsclients

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// backend is gRPC's interop server that says who it is, and does with a call
// what a test wants.
type backend struct {
	testgrpc.TestServiceServer
	t       *testing.T
	name    string
	address string
	server  *grpc.Server
	ended   chan error
	calls   atomic.Int64
	unary   func(context.Context) error // before the answer; nil: nothing
}

// newBackend serves until the test ends.
func newBackend(t *testing.T, name string, unary func(context.Context) error) *backend {
	t.Helper()
	b := &backend{TestServiceServer: interop.NewTestServer(), t: t, name: name, unary: unary}
	b.start("127.0.0.1:0")
	t.Cleanup(b.stop)
	return b
}

func (b *backend) start(address string) {
	b.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.address = l.Addr().String()
	b.server, b.ended = grpc.NewServer(), make(chan error, 1)
	testgrpc.RegisterTestServiceServer(b.server, b)
	go func(s *grpc.Server, ended chan error) { ended <- s.Serve(l) }(b.server, b.ended)
}

func (b *backend) stop() {
	b.server.Stop()
	if err := <-b.ended; err != nil {
		b.t.Error(err)
	}
	b.ended <- nil // stop may be called again
}

// UnaryCall answers with the backend's name.
func (b *backend) UnaryCall(ctx context.Context, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	b.calls.Add(1)
	if b.unary != nil {
		if err := b.unary(ctx); err != nil {
			return nil, err
		}
	}
	return &testgrpc.SimpleResponse{Hostname: b.name}, nil
}

// EmptyCall counts.
func (b *backend) EmptyCall(context.Context, *testgrpc.Empty) (*testgrpc.Empty, error) {
	b.calls.Add(1)
	return &testgrpc.Empty{}, nil
}
