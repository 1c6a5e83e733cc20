package xds_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"

	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"
	"github.com/reclosermesh/recloser/internal/control/xds"
	"github.com/reclosermesh/recloser/internal/control/xds/xdstest"
)

// fakeStream is a proxy without a connection: it acknowledges everything.
type fakeStream struct {
	grpc.ServerStream
	ctx  context.Context
	reqs chan *discoveryv3.DeltaDiscoveryRequest
	got  chan<- *discoveryv3.DeltaDiscoveryResponse
}

func (f *fakeStream) Context() context.Context { return f.ctx }

func (f *fakeStream) Recv() (*discoveryv3.DeltaDiscoveryRequest, error) {
	select {
	case r := <-f.reqs:
		return r, nil
	case <-f.ctx.Done():
		return nil, io.EOF
	}
}

func (f *fakeStream) Send(r *discoveryv3.DeltaDiscoveryResponse) error {
	select {
	case f.reqs <- &discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce}:
	case <-f.ctx.Done():
	}
	select {
	case f.got <- r:
	case <-f.ctx.Done():
	}
	return nil
}

// BenchmarkEndpointChange is a mesh of 10,000 services with 1,000 proxies that
// use 20 of them each. One endpoint of a service changes that 1, 10, 100, or
// all 1,000 proxies use; the time is until all who use it have it. What it
// takes to make the new World is in it and does not depend on the proxies.
func BenchmarkEndpointChange(b *testing.B) {
	const services, proxies, used = 10_000, 1_000, 20
	for _, users := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("used-by-%d", users), func(b *testing.B) {
			m := &mesh{t: b, server: xds.New(xds.Config{Debounce: -1}), objects: map[source.Key]source.Object{}}
			ctx, cancel := context.WithCancel(b.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _ = m.server.Run(ctx) })
			defer wg.Wait()
			defer cancel()
			for i := range services {
				for _, o := range []source.Object{service(fmt.Sprintf("s%d", i), nil), instance(fmt.Sprintf("s%d", i), "10.0.0.1")} {
					m.objects[o.Key] = o
				}
			}
			m.tell()
			got := make(chan *discoveryv3.DeltaDiscoveryResponse, 4*proxies)
			for i := range proxies {
				f := &fakeStream{ctx: ctx, reqs: make(chan *discoveryv3.DeltaDiscoveryRequest, 8), got: got}
				wg.Go(func() { _ = m.server.DeltaAggregatedResources(f) })
				var names []string
				for j := range used {
					names = append(names, cluster(fmt.Sprintf("s%d", 1+(i*7+j)%(services-1))))
				}
				if i < users {
					names[0] = cluster("s0")
				}
				f.reqs <- &discoveryv3.DeltaDiscoveryRequest{
					Node: xdstest.Node(fmt.Sprint(i), "n", nil), TypeUrl: translate.EndpointType, ResourceNamesSubscribe: names,
				}
			}
			for have := 0; have < proxies*used; {
				have += len((<-got).Resources)
			}
			before := m.server.Stats()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				// The second endpoint of s0 gets another address.
				o := instance("s0", fmt.Sprintf("11.%d.%d.%d", i>>16&0xff, i>>8&0xff, i&0xff))
				o.Name = "moving"
				m.set(o)
				for range users {
					<-got
				}
			}
			b.StopTimer()
			after := m.server.Stats()
			b.ReportMetric(float64(after.Resources-before.Resources)/float64(b.N), "resources/op")
		})
	}
}
