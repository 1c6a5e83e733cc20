package xds_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	networkingv1 "istio.io/api/networking/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"
	"github.com/reclosermesh/recloser/internal/control/xds"
	"github.com/reclosermesh/recloser/internal/control/xds/xdstest"
)

// A mesh of this size: each of the first services has a VirtualService with
// three rules.
const (
	manyServices = 10_000
	manyRules    = 5_000
)

// scale is a server with that mesh and one client, which has no connection.
type scale struct {
	b       *testing.B
	server  *xds.Server
	view    translate.View
	objects []source.Object // rules first
}

func newScale(b *testing.B) *scale {
	b.Helper()
	s := &scale{b: b, server: xds.New(xds.Config{Debounce: -1})}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.server.Run(ctx) })
	b.Cleanup(func() { cancel(); wg.Wait() })
	for i := range manyRules {
		s.objects = append(s.objects, manyRule(i, 0))
	}
	for i := range manyServices {
		name := fmt.Sprintf("s%d", i)
		s.objects = append(s.objects, source.Object{
			Key: source.Key{Kind: source.Service, Namespace: "n", Name: name},
			Value: &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name},
				Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
			},
		}, instance(name, "10.0.0.1"))
	}
	s.tell()
	return s
}

// manyRule is a version of the rules for a service.
func manyRule(i, version int) source.Object {
	name := fmt.Sprintf("s%d", i)
	to := func(n int) []*networkingv1.HTTPRouteDestination {
		return []*networkingv1.HTTPRouteDestination{{Destination: &networkingv1.Destination{Host: fmt.Sprintf("s%d", n%manyServices)}}}
	}
	exact := func(v string) *networkingv1.StringMatch {
		return &networkingv1.StringMatch{MatchType: &networkingv1.StringMatch_Exact{Exact: v}}
	}
	return source.Object{
		Key: source.Key{Kind: source.VirtualService, Namespace: "n", Name: name},
		Value: &source.IstioVirtualService{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name},
			Spec: &networkingv1.VirtualService{Hosts: []string{name}, Http: []*networkingv1.HTTPRoute{
				{Match: []*networkingv1.HTTPMatchRequest{{Uri: exact("/a")}}, Route: to(i + 1)},
				{Match: []*networkingv1.HTTPMatchRequest{{Headers: map[string]*networkingv1.StringMatch{"x-version": exact(fmt.Sprint(version))}}}, Route: to(i + 2)},
				{Route: to(i)},
			}},
		},
	}
}

func (s *scale) tell() {
	s.view.World = model.Build(s.view.World, s.objects)
	s.view.Policy = policy.Build(s.view.Policy, s.view.World)
	s.server.Update(s.view)
}

// connect gives a stream of the delta variant that acknowledges everything.
func (s *scale) connect(shape string) (*fakeStream, <-chan *discoveryv3.DeltaDiscoveryResponse, func()) {
	ctx, cancel := context.WithCancel(s.b.Context())
	got := make(chan *discoveryv3.DeltaDiscoveryResponse, 1024)
	f := &fakeStream{ctx: ctx, reqs: make(chan *discoveryv3.DeltaDiscoveryRequest, 1024), got: got}
	n := xdstest.Node("p", "n", nil)
	n.UserAgentName = shape
	f.reqs <- &discoveryv3.DeltaDiscoveryRequest{Node: n, TypeUrl: translate.ListenerType, ResourceNamesSubscribe: []string{"*"}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.server.DeltaAggregatedResources(f)
	}()
	<-got
	return f, got, func() { cancel(); <-done }
}

// take counts the bytes of responses until it has n resources of a type.
func take(got <-chan *discoveryv3.DeltaDiscoveryResponse, typeURL string, n int) (bytes int) {
	for n > 0 {
		r := <-got
		bytes += proto.Size(r)
		if r.TypeUrl == typeURL {
			n -= len(r.Resources)
		}
	}
	return bytes
}

// subscribeOne is what one of our proxies asks for with its first request to a
// service with rules: the host, three clusters, and their endpoints.
func subscribeOne(f *fakeStream, got <-chan *discoveryv3.DeltaDiscoveryResponse, i int) (bytes int) {
	f.reqs <- &discoveryv3.DeltaDiscoveryRequest{TypeUrl: translate.HostType, ResourceNamesSubscribe: []string{fmt.Sprintf("outbound/s%d", i)}}
	bytes += take(got, translate.HostType, 1)
	var names []string
	for j := range 3 {
		names = append(names, cluster(fmt.Sprintf("s%d", (i+j)%manyServices)))
	}
	for _, typeURL := range []string{translate.ClusterType, translate.EndpointType} {
		f.reqs <- &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: names}
		bytes += take(got, typeURL, len(names))
	}
	return bytes
}

// subscribeAll is what an Envoy asks for at its start: all clusters, their
// endpoints, and the routes.
func subscribeAll(f *fakeStream, got <-chan *discoveryv3.DeltaDiscoveryResponse) (bytes int) {
	f.reqs <- &discoveryv3.DeltaDiscoveryRequest{TypeUrl: translate.ClusterType}
	bytes += take(got, translate.ClusterType, manyServices)
	names := make([]string, manyServices)
	for i := range names {
		names[i] = cluster(fmt.Sprintf("s%d", i))
	}
	f.reqs <- &discoveryv3.DeltaDiscoveryRequest{TypeUrl: translate.EndpointType, ResourceNamesSubscribe: names}
	bytes += take(got, translate.EndpointType, manyServices)
	f.reqs <- &discoveryv3.DeltaDiscoveryRequest{TypeUrl: translate.RouteType, ResourceNamesSubscribe: []string{"outbound"}}
	return bytes + take(got, translate.RouteType, 1)
}

// BenchmarkFirstSubscription is a client that comes to a mesh of 10,000 services
// and 5,000 VirtualServices: one of our proxies, which asks for one service, and
// an Envoy, which asks for all. The time is until it has all that it asked for.
func BenchmarkFirstSubscription(b *testing.B) {
	s := newScale(b)
	for _, tt := range []struct {
		name, agent string
		subscribe   func(*fakeStream, <-chan *discoveryv3.DeltaDiscoveryResponse, int) int
	}{
		{"recloser-one-service", "recloser-proxy", subscribeOne},
		{"envoy-everything", "envoy", func(f *fakeStream, got <-chan *discoveryv3.DeltaDiscoveryResponse, _ int) int {
			return subscribeAll(f, got)
		}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			bytes := 0
			for i := range b.N {
				f, got, end := s.connect(tt.agent)
				bytes += tt.subscribe(f, got, i%manyRules)
				end()
			}
			b.ReportMetric(float64(bytes)/float64(b.N), "bytes/op")
		})
	}
}

// BenchmarkRuleChange changes one of 5,000 VirtualServices in a mesh of 10,000
// services. world is the new World and policy alone, and the others the time
// until a client that uses the service has the new rule, the World included.
func BenchmarkRuleChange(b *testing.B) {
	for _, tt := range []struct{ name, agent, typeURL string }{
		{"world", "", ""},
		{"recloser", "recloser-proxy", translate.HostType},
		{"envoy", "envoy", translate.RouteType},
	} {
		b.Run(tt.name, func(b *testing.B) {
			s := newScale(b)
			var got <-chan *discoveryv3.DeltaDiscoveryResponse
			if tt.agent != "" {
				f, responses, end := s.connect(tt.agent)
				b.Cleanup(end)
				got = responses
				if tt.typeURL == translate.HostType {
					subscribeOne(f, got, 7)
				} else {
					subscribeAll(f, got)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			bytes := 0
			for i := range b.N {
				s.objects[7] = manyRule(7, i+1)
				s.tell()
				if got != nil {
					bytes += take(got, tt.typeURL, 1)
				}
			}
			b.ReportMetric(float64(bytes)/float64(b.N), "bytes/op")
		})
	}
}
