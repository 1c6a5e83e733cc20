package xds_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"
	"github.com/reclosermesh/recloser/internal/control/xds"
	"github.com/reclosermesh/recloser/internal/control/xds/xdstest"
)

// worldClient is a client of the state-of-the-world variant, which does nothing
// by itself.
type worldClient struct {
	m      *mesh
	stream discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	node   *corev3.Node
}

func node(agent, version string) *corev3.Node {
	n := xdstest.Node("p", "n", nil)
	n.UserAgentName = agent
	n.UserAgentVersionType = &corev3.Node_UserAgentVersion{UserAgentVersion: version}
	return n
}

func (m *mesh) world(n *corev3.Node) *worldClient {
	m.t.Helper()
	conn, err := grpc.NewClient(m.address, insecureOption())
	must(m.t, err)
	ctx, cancel := context.WithCancel(m.ctx)
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
	must(m.t, err)
	m.t.Cleanup(func() {
		cancel()
		must(m.t, conn.Close())
	})
	return &worldClient{m, stream, n}
}

// ask wants names of a type. last is the response that it answers, or nil.
func (c *worldClient) ask(typeURL string, last *discoveryv3.DiscoveryResponse, names ...string) {
	c.m.t.Helper()
	must(c.m.t, c.stream.Send(&discoveryv3.DiscoveryRequest{
		Node: c.node, TypeUrl: typeURL, ResourceNames: names, ResponseNonce: last.GetNonce(), VersionInfo: last.GetVersionInfo(),
	}))
	c.node = nil
}

func (c *worldClient) refuse(last *discoveryv3.DiscoveryResponse, message string, names ...string) {
	c.m.t.Helper()
	must(c.m.t, c.stream.Send(&discoveryv3.DiscoveryRequest{
		TypeUrl: last.TypeUrl, ResourceNames: names, ResponseNonce: last.Nonce,
		ErrorDetail: &rpcstatus.Status{Message: message},
	}))
}

// next is the next response, which must be of a type.
func (c *worldClient) next(typeURL string) *discoveryv3.DiscoveryResponse {
	c.m.t.Helper()
	r, err := c.stream.Recv()
	must(c.m.t, err)
	if r.TypeUrl != typeURL {
		c.m.t.Fatalf("a response with %v of type %s, want %s", namesOf(r), r.TypeUrl, typeURL)
	}
	return r
}

// want is next, with exactly these names.
func (c *worldClient) want(typeURL string, names ...string) *discoveryv3.DiscoveryResponse {
	c.m.t.Helper()
	r := c.next(typeURL)
	if got := namesOf(r); !slices.Equal(got, names) {
		c.m.t.Fatalf("%s: resources %v, want %v", typeURL, got, names)
	}
	return r
}

func namesOf(r *discoveryv3.DiscoveryResponse) []string {
	out := []string{}
	for _, a := range r.Resources {
		out = append(out, resourceName(a))
	}
	return out
}

func resourceName(a *anypb.Any) string {
	m, err := a.UnmarshalNew()
	if err != nil {
		return err.Error()
	}
	switch v := m.(type) {
	case *endpointv3.ClusterLoadAssignment:
		return v.ClusterName
	case *clusterv3.Cluster:
		return v.Name
	case *listenerv3.Listener:
		return v.Name
	case *routev3.RouteConfiguration:
		return v.Name
	}
	return fmt.Sprintf("%T", m)
}

// TestWorldFullAndPartial: a program of gRPC is sent all listeners and clusters
// that it names each time, and of endpoints those that are different.
func TestWorldFullAndPartial(t *testing.T) {
	m := start(t, xds.Config{})
	m.set(service("a", nil), service("b", nil), instance("a", "10.0.0.1"))
	c := m.world(node("gRPC Go", "1.60.0"))
	c.ask(translate.ListenerType, nil, "a:80")
	l := c.want(translate.ListenerType, "a:80")
	c.ask(translate.ListenerType, l, "a:80", "b.n", "nobody:80")
	l = c.want(translate.ListenerType, "a:80", "b.n")
	c.ask(translate.ListenerType, l, "a:80", "b.n", "nobody:80")
	c.ask(translate.RouteType, nil, "a:80")
	r := c.want(translate.RouteType, "a:80")
	c.ask(translate.RouteType, r, "a:80")
	c.ask(translate.ClusterType, nil, cluster("a"))
	k := c.want(translate.ClusterType, cluster("a"))
	c.ask(translate.ClusterType, k, cluster("a"), cluster("b"))
	k = c.want(translate.ClusterType, cluster("a"), cluster("b"))
	c.ask(translate.ClusterType, k, cluster("a"), cluster("b"))
	c.ask(translate.EndpointType, nil, cluster("a"), cluster("b"))
	e := c.want(translate.EndpointType, cluster("a"), cluster("b"))
	c.ask(translate.EndpointType, e, cluster("a"), cluster("b"))

	m.set(instance("b", "10.0.0.2"))
	e = c.want(translate.EndpointType, cluster("b"))
	c.ask(translate.EndpointType, e, cluster("a"), cluster("b"))
	m.set(service("b", map[string]string{"recloser.io/load-balancer": "random"}))
	// This version has round robin in place of both balancers: nothing to tell.
	m.set(service("nobody", nil))
	l = c.want(translate.ListenerType, "a:80", "b.n", "nobody:80")
	c.ask(translate.ListenerType, l, "a:80", "b.n", "nobody:80")
	m.remove(source.Service, "nobody")
	l = c.want(translate.ListenerType, "a:80", "b.n")
	c.ask(translate.ListenerType, l, "a:80")
	eventually(t, m, func() bool { return m.server.Stats().Subscriptions == 6 })
	c.ask(translate.ListenerType, l) // none, and not all
	eventually(t, m, func() bool { return m.server.Stats().Subscriptions == 5 })
	if n := m.server.Nodes(); len(n) != 1 || n[0].Shape != "grpc" {
		t.Errorf("nodes %+v", n)
	}
}

// TestWorldStale: a request with an older nonce says nothing.
func TestWorldStale(t *testing.T) {
	m := start(t, xds.Config{})
	m.set(service("a", nil), service("b", nil))
	c := m.world(node("gRPC Java", "1.70.0"))
	c.ask(translate.ClusterType, nil, cluster("a"))
	first := c.want(translate.ClusterType, cluster("a"))
	c.ask(translate.ClusterType, first, cluster("a"), cluster("b"))
	second := c.want(translate.ClusterType, cluster("a"), cluster("b"))
	c.ask(translate.ClusterType, first, cluster("a")) // late
	c.refuse(first, "late", cluster("a"))
	c.ask(translate.ClusterType, second, cluster("a"), cluster("b"))
	c.ask(translate.EndpointType, nil, cluster("a")) // shows that all before was taken
	c.want(translate.EndpointType, cluster("a"))
	if s := m.server.Stats(); s.Subscriptions != 3 {
		t.Errorf("%d subscriptions, want 3", s.Subscriptions)
	}
	if f := m.server.Findings(); len(f) > 0 {
		t.Errorf("findings %v", f)
	}
}

// TestWorldRefused: a refusal is told of what it names, nothing is sent again
// for it, and it goes with the next version.
func TestWorldRefused(t *testing.T) {
	m := start(t, xds.Config{})
	m.set(service("a", nil), service("aa", nil))
	c := m.world(node("envoy", ""))
	c.ask(translate.ClusterType, nil)
	k := c.want(translate.ClusterType, cluster("a"), cluster("aa"))
	c.refuse(k, "cluster "+cluster("a")+": no")
	eventually(t, m, func() bool { return len(m.server.Findings()) == 1 })
	if f := m.server.Findings()[0]; f.Value != cluster("a") || f.Code != "refused-by-proxy" {
		t.Errorf("finding %+v", f)
	}
	m.set(service("a", map[string]string{"recloser.io/load-balancer": "random"}))
	k = c.want(translate.ClusterType, cluster("a"), cluster("aa"))
	c.ask(translate.ClusterType, k)
	eventually(t, m, func() bool { return len(m.server.Findings()) == 0 })
}

// TestMakeBeforeBreak: to an Envoy a route is sent after the endpoints of the
// cluster that it leads to, and a cluster is taken away after the routes.
func TestMakeBeforeBreak(t *testing.T) {
	m := start(t, xds.Config{})
	m.set(service("a", nil))
	c := m.world(node("envoy", ""))
	ack := func(r *discoveryv3.DiscoveryResponse, names ...string) { c.ask(r.TypeUrl, r, names...) }
	c.ask(translate.ClusterType, nil)
	ack(c.want(translate.ClusterType, cluster("a")))
	c.ask(translate.EndpointType, nil, cluster("a"))
	ack(c.want(translate.EndpointType, cluster("a")), cluster("a"))
	c.ask(translate.ListenerType, nil)
	ack(c.want(translate.ListenerType, "outbound"))
	c.ask(translate.RouteType, nil, "outbound")
	ack(c.want(translate.RouteType, "outbound"), "outbound")

	m.set(service("b", nil))
	k := c.want(translate.ClusterType, cluster("a"), cluster("b"))
	ack(k)
	// No route until the endpoints are there, which are asked for now.
	c.ask(translate.EndpointType, nil, cluster("a"), cluster("b")) // stale: without the last nonce
	c.ask(translate.EndpointType, &discoveryv3.DiscoveryResponse{Nonce: "2"}, cluster("a"), cluster("b"))
	ack(c.want(translate.EndpointType, cluster("b")), cluster("a"), cluster("b"))
	ack(c.want(translate.RouteType, "outbound"), "outbound")

	m.remove(source.Service, "a")
	ack(c.want(translate.RouteType, "outbound"), "outbound")
	ack(c.want(translate.ClusterType, cluster("b")))
}

// TestWarmingIsBounded: an Envoy that does not ask for endpoints gets its routes
// all the same, later.
func TestWarmingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{t: t, server: xds.New(xds.Config{Debounce: -1}), objects: map[source.Key]source.Object{}}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { _ = m.server.Run(ctx) })
		m.set(service("a", nil))
		f := &fakeWorld{ctx: ctx, reqs: make(chan *discoveryv3.DiscoveryRequest, 8), got: make(chan *discoveryv3.DiscoveryResponse, 8)}
		wg.Go(func() { _ = m.server.StreamAggregatedResources(f) })
		start := time.Now()
		f.reqs <- &discoveryv3.DiscoveryRequest{Node: node("envoy", ""), TypeUrl: translate.ClusterType}
		if r := <-f.got; r.TypeUrl != translate.ClusterType {
			t.Fatal(r)
		}
		f.reqs <- &discoveryv3.DiscoveryRequest{TypeUrl: translate.RouteType, ResourceNames: []string{"outbound"}}
		r := <-f.got
		if d := time.Since(start); r.TypeUrl != translate.RouteType || d < 5*time.Second || d > 6*time.Second {
			t.Errorf("%s after %v", r.TypeUrl, d)
		}
	})
}

// fakeWorld is a client without a connection.
type fakeWorld struct {
	grpc.ServerStream
	ctx  context.Context
	reqs chan *discoveryv3.DiscoveryRequest
	got  chan *discoveryv3.DiscoveryResponse
}

func (f *fakeWorld) Context() context.Context { return f.ctx }

func (f *fakeWorld) Recv() (*discoveryv3.DiscoveryRequest, error) {
	select {
	case r := <-f.reqs:
		return r, nil
	case <-f.ctx.Done():
		return nil, io.EOF
	}
}

func (f *fakeWorld) Send(r *discoveryv3.DiscoveryResponse) error {
	select {
	case f.got <- r:
	case <-f.ctx.Done():
	}
	return nil
}

// TestDeltaWildcard: an Envoy that asks for all clusters in the delta variant is
// told of each that comes and goes, once.
func TestDeltaWildcard(t *testing.T) {
	m := start(t, xds.Config{})
	m.set(service("a", nil))
	c, err := xdstest.Dial(m.ctx, m.address, node("envoy", ""), nil)
	must(t, err)
	defer c.Close()
	must(t, c.Subscribe(translate.ClusterType))
	m.get(c, translate.ClusterType, cluster("a"))
	m.set(service("b", nil))
	m.get(c, translate.ClusterType, cluster("b"))
	// By name too, and not any more: "*" stands for it still.
	must(t, c.Subscribe(translate.ClusterType, cluster("a")))
	must(t, c.Unsubscribe(translate.ClusterType, cluster("a")))
	v := m.get(c, translate.ClusterType, cluster("a")).Version
	m.set(service("a", map[string]string{"recloser.io/load-balancer": "random"}))
	m.other(c, translate.ClusterType, cluster("a"), v)
	m.remove(source.Service, "b")
	m.gone(c, translate.ClusterType, cluster("b"))
	if s := m.server.Stats(); s.Subscriptions != 1 || s.Topics != 3 {
		t.Errorf("%+v; want the subscription of all, and as topics it, its part and a's cluster", s)
	}
	must(t, c.Unsubscribe(translate.ClusterType, "*"))
	eventually(t, m, func() bool { return m.server.Stats().Topics == 0 })
}

// TestStreamsAreBounded: who comes beyond the limit is refused, and may come
// when another has gone.
func TestStreamsAreBounded(t *testing.T) {
	m := start(t, xds.Config{MaxStreams: 1})
	m.set(service("a", nil))
	first := m.world(node("envoy", ""))
	first.ask(translate.ClusterType, nil)
	first.next(translate.ClusterType)
	second := m.world(node("envoy", ""))
	second.ask(translate.ClusterType, nil)
	if _, err := second.stream.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the second stream: %v", err)
	}
	must(t, first.stream.CloseSend())
	eventually(t, m, func() bool { return len(m.server.Nodes()) == 0 })
	third := m.world(node("envoy", ""))
	third.ask(translate.ClusterType, nil)
	third.next(translate.ClusterType)
}

// TestLongNames: a name that is too long does not exist.
func TestLongNames(t *testing.T) {
	m := start(t, xds.Config{})
	m.set(service("a", nil))
	c := m.world(node("gRPC Go", "1.85.0"))
	c.ask(translate.ListenerType, nil, "a:80", strings.Repeat("a", 5000)+":80")
	c.want(translate.ListenerType, "a:80")
	if s := m.server.Stats(); s.Subscriptions != 1 {
		t.Errorf("%d subscriptions", s.Subscriptions)
	}
}
