package xds

import (
	"context"
	"errors"
	"io"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// conn is one stream of gRPC, of either variant.
type conn[Req, Resp any] interface {
	Context() context.Context
	Recv() (Req, error)
	Send(Resp) error
}

// variant is what the two variants of the protocol do differently. next gives
// the next response for a proxy, false when it has everything.
type variant[Req, Resp any] struct {
	handle func(*stream, Req)
	next   func(*stream) (Resp, bool)
}

// DeltaAggregatedResources serves one proxy until it goes.
func (s *Server) DeltaAggregatedResources(c discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return serve(s, c, variant[*discoveryv3.DeltaDiscoveryRequest, *discoveryv3.DeltaDiscoveryResponse]{s.handleDelta, s.respondDelta})
}

// StreamAggregatedResources serves one client of the state-of-the-world variant
// until it goes.
func (s *Server) StreamAggregatedResources(c discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return serve(s, c, variant[*discoveryv3.DiscoveryRequest, *discoveryv3.DiscoveryResponse]{s.handleWorld, s.respondWorld})
}

func serve[Req interface{ GetNode() *corev3.Node }, Resp any](s *Server, c conn[Req, Resp], v variant[Req, Resp]) error {
	first, err := c.Recv()
	if err != nil {
		return ended(err)
	}
	st, err := s.open(first.GetNode())
	if err != nil {
		return err
	}
	defer s.close(st)
	v.handle(st, first)
	received := make(chan error, 1)
	// Recv ends when this function returns, since gRPC ends the stream then;
	// the goroutine is waited for by the gRPC server's own stop.
	go func() {
		for {
			req, err := c.Recv()
			if err != nil {
				received <- err
				return
			}
			v.handle(st, req)
		}
	}()
	held := time.NewTimer(time.Hour)
	defer held.Stop()
	for {
		select {
		case err := <-received:
			return ended(err)
		case <-c.Context().Done():
			return nil
		case <-st.awake:
		case <-held.C:
		}
		for resp, ok := v.next(st); ok; resp, ok = v.next(st) {
			if err := c.Send(resp); err != nil {
				return err
			}
		}
		if d := s.heldFor(st); d > 0 {
			held.Reset(d)
		}
	}
}

// ended makes the usual ends of a stream no errors.
func ended(err error) error {
	if errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled {
		return nil
	}
	return err
}
