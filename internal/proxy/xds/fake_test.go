package xds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
)

// wait bounds how long a test waits for something that must happen.
const wait = 10 * time.Second

// fakeADS is a server whose streams the test reads and writes by hand.
type fakeADS struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	reportv1.UnimplementedReportServiceServer
	streams chan *fakeStream
	reports chan *reportv1.Report
}

type fakeStream struct {
	requests chan *discoveryv3.DeltaDiscoveryRequest
	answers  chan *discoveryv3.DeltaDiscoveryResponse
	end      chan error
}

func (f *fakeADS) DeltaAggregatedResources(s discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	fs := &fakeStream{
		requests: make(chan *discoveryv3.DeltaDiscoveryRequest, 64),
		answers:  make(chan *discoveryv3.DeltaDiscoveryResponse, 64),
		end:      make(chan error, 1),
	}
	f.streams <- fs
	go func() {
		for {
			r, err := s.Recv()
			if err != nil {
				return
			}
			fs.requests <- r
		}
	}()
	for {
		select {
		case a := <-fs.answers:
			if err := s.Send(a); err != nil {
				return err
			}
		case err := <-fs.end:
			return err
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
}

func (f *fakeADS) Stream(s grpc.BidiStreamingServer[reportv1.Report, reportv1.Ack]) error {
	for {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		f.reports <- r
		if err := s.Send(&reportv1.Ack{}); err != nil {
			return err
		}
	}
}

// serve starts the fake and gives its address.
func serve(t *testing.T) (*fakeADS, string) {
	t.Helper()
	f := &fakeADS{streams: make(chan *fakeStream, 8), reports: make(chan *reportv1.Report, 64)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(s, f)
	reportv1.RegisterReportServiceServer(s, f)
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(ln) })
	t.Cleanup(func() { s.Stop(); wg.Wait() })
	return f, ln.Addr().String()
}

// run starts a source and ends it with the test.
func run(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(wait):
		t.Fatalf("no %s came", what)
		panic("not reached")
	}
}

// recorder is a Sink that rejects resources whose name begins with "bad".
type recorder struct{ updates chan Update }

func newRecorder() *recorder { return &recorder{updates: make(chan Update, 64)} }

func (r *recorder) Apply(u Update) []Rejection {
	var rejected []Rejection
	for _, one := range u.Set {
		if strings.HasPrefix(one.Name, "bad") {
			rejected = append(rejected, Rejection{one.Name, fmt.Errorf("connect_timeout -1s: must be positive")})
		}
	}
	r.updates <- u
	return rejected
}

func (u Update) names() []string {
	var names []string
	for _, r := range u.Set {
		names = append(names, r.Name)
	}
	for _, n := range u.Removed {
		names = append(names, "-"+n)
	}
	slices.Sort(names)
	return names
}

func node() *corev3.Node { return &corev3.Node{Id: "pod.ns"} }

func clusterAnswer(t *testing.T, nonce string, versions map[string]string, removed ...string) *discoveryv3.DeltaDiscoveryResponse {
	t.Helper()
	a := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: string(Cluster), Nonce: nonce, RemovedResources: removed}
	for name, version := range versions {
		a.Resources = append(a.Resources, &discoveryv3.Resource{Name: name, Version: version, Resource: pack(t, &clusterv3.Cluster{Name: name})})
	}
	return a
}

func pack(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
