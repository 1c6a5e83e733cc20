package snapshot

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wanted records what a Store has subscribed.
type wanted struct {
	mu      sync.Mutex
	names   map[string]int // "Cluster a": how often it was asked for
	changed chan struct{}  // closed at the next change
}

func (w *wanted) Subscribe(t xds.Type, names ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range names {
		w.names[t.String()+" "+n]++
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *wanted) Unsubscribe(t xds.Type, names ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range names {
		delete(w.names, t.String()+" "+n)
	}
}

func (w *wanted) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.names))
}

func (w *wanted) count(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.names[name]
}

// asked waits until name is subscribed.
func (r *rig) asked(name string) {
	r.t.Helper()
	late := time.After(10 * time.Second)
	for {
		r.wanted.mu.Lock()
		n, changed := r.wanted.names[name], r.wanted.changed
		r.wanted.mu.Unlock()
		if n > 0 {
			return
		}
		select {
		case <-changed:
		case <-late:
			r.t.Fatalf("%s is not subscribed", name)
		}
	}
}

// rig is a Store with a Set of its own.
type rig struct {
	*Store
	t      *testing.T
	wanted *wanted
	set    *upstream.Set
}

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	cfg.Set = upstream.NewSet(upstream.SetOptions{Metrics: telemetry.NewProxy(telemetry.Options{}), Logger: slog.New(slog.DiscardHandler)})
	cfg.Logger = slog.New(slog.DiscardHandler)
	r := &rig{Store: New(cfg), t: t, wanted: &wanted{names: make(map[string]int), changed: make(chan struct{})}, set: cfg.Set}
	r.Attach(r.wanted)
	return r
}

// apply gives one resource and wants it taken.
func (r *rig) apply(t xds.Type, name string, m proto.Message) {
	r.t.Helper()
	if rejected := r.try(t, name, m); len(rejected) > 0 {
		r.t.Fatalf("%s %s rejected: %v", t, name, rejected[0].Err)
	}
}

func (r *rig) try(t xds.Type, name string, m proto.Message) []xds.Rejection {
	return r.Apply(xds.Update{Type: t, Set: []xds.Resource{{Name: name, Message: m}}})
}

func (r *rig) removed(t xds.Type, names ...string) { r.Apply(xds.Update{Type: t, Removed: names}) }

func (r *rig) names() []string {
	var names []string
	snap, _ := r.Current()
	for _, l := range snap.Listeners {
		names = append(names, l.Name)
	}
	return names
}

func (r *rig) listener(name string) *Listener {
	r.t.Helper()
	snap, _ := r.Current()
	for _, l := range snap.Listeners {
		if l.Name == name {
			return l
		}
	}
	r.t.Fatalf("no listener %s; warming: %v", name, snap.Warming)
	return nil
}

// goesTo says which cluster a GET of an authority goes to: "404" without a
// route, "500" without a cluster, "?" when it is not known.
func (r *rig) goesTo(l *Listener, authority string) string {
	r.t.Helper()
	table, known := l.Hosts.Lookup([]byte(authority))
	if !known {
		return "?"
	}
	return follows(r.t, table, authority)
}

func follows(t *testing.T, table *route.Table, authority string) string {
	t.Helper()
	if table == nil {
		return "404"
	}
	q := new(http1.Request)
	if _, err := q.Parse([]byte("GET / HTTP/1.1\r\nHost: "+authority+"\r\n\r\n"), nil); err != nil {
		t.Fatal(err)
	}
	action := table.Match(q)
	if action == nil {
		return "404"
	}
	c := action.PickCluster(0)
	if c == nil {
		return "500"
	}
	var addresses []string
	for _, e := range c.Endpoints() {
		addresses = append(addresses, e.Address())
	}
	return c.Name() + "=" + strings.Join(addresses, ",")
}

type answer struct {
	goes string
	err  error
}

// await asks in the background.
func (r *rig) await(l *Listener, authority string) <-chan answer {
	got := make(chan answer, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	go func() {
		defer cancel()
		table, err := l.Hosts.Await(ctx, authority)
		got <- answer{follows(r.t, table, strings.ToLower(authority)), err}
	}()
	return got
}

func address(ip string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: ip, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

func pack(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return a
}

func listenerOf(name, ip string, port uint32, hcm *hcmv3.HttpConnectionManager) *listenerv3.Listener {
	hcm.HttpFilters = []*hcmv3.HttpFilter{{Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(&routerv3.Router{})}}}
	l := &listenerv3.Listener{
		Name: name, Address: address(ip, port),
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name: "hcm", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(hcm)},
		}}}},
	}
	if strings.HasPrefix(name, "inbound") {
		l.TrafficDirection = corev3.TrafficDirection_INBOUND
	}
	return l
}

func outbound() *listenerv3.Listener {
	return listenerOf("outbound", "127.0.0.1", 4140, &hcmv3.HttpConnectionManager{
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{RouteConfigName: "outbound"}},
	})
}

func inbound(port uint32, cluster string) *listenerv3.Listener {
	return listenerOf("inbound|8080", "127.0.1.5", port, &hcmv3.HttpConnectionManager{
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
			VirtualHosts: []*routev3.VirtualHost{hostOf(cluster, "*")},
		}},
	})
}

func onDemand() *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{Name: "outbound", Vhds: &routev3.Vhds{}}
}

func hostOf(cluster string, domains ...string) *routev3.VirtualHost {
	return &routev3.VirtualHost{Name: domains[0], Domains: domains, Routes: []*routev3.Route{{
		Name:   "default",
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster}}},
	}}}
}

func eds(name string) *clusterv3.Cluster {
	return &clusterv3.Cluster{Name: name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}}
}

func assignment(name string, ips ...string) *endpointv3.ClusterLoadAssignment {
	locality := &endpointv3.LocalityLbEndpoints{}
	for _, ip := range ips {
		locality.LbEndpoints = append(locality.LbEndpoints, &endpointv3.LbEndpoint{
			HostIdentifier:      &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address(ip, 80)}},
			LoadBalancingWeight: wrapperspb.UInt32(1),
		})
	}
	return &endpointv3.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointv3.LocalityLbEndpoints{locality}}
}

func static(name, ip string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name: name, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		LoadAssignment: assignment(name, ip),
	}
}
