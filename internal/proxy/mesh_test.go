package proxy

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
)

// plane is a small control plane: what is put is told to those who asked for
// it, and what is not there is told to be absent.
type plane struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	reportv1.UnimplementedReportServiceServer
	t       *testing.T
	reports chan *reportv1.Report
	nacks   chan string
	asked   chan string // "VirtualHost outbound/bb:8080", of each subscription

	mu     sync.Mutex
	have   map[string]map[string]proto.Message
	stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	wants  map[string]bool // type and name, of the present stream
}

func newPlane(t *testing.T) *plane {
	return &plane{
		t: t, reports: make(chan *reportv1.Report, 64), nacks: make(chan string, 8), asked: make(chan string, 64),
		have: make(map[string]map[string]proto.Message), wants: make(map[string]bool),
	}
}

// serve listens on an address until the function that it gives is called.
func (p *plane) serve(address string) (at string, stop func()) {
	p.t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		p.t.Fatal(err)
	}
	s := grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(s, p)
	reportv1.RegisterReportServiceServer(s, p)
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(ln) })
	stop = sync.OnceFunc(func() {
		s.Stop()
		wg.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		clear(p.wants)
	})
	p.t.Cleanup(stop)
	return ln.Addr().String(), stop
}

func (p *plane) DeltaAggregatedResources(s discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	p.mu.Lock()
	p.stream = s
	clear(p.wants)
	p.mu.Unlock()
	for {
		r, err := s.Recv()
		if err != nil {
			return err
		}
		if r.GetErrorDetail() != nil {
			p.nacks <- r.GetErrorDetail().GetMessage()
		}
		for _, name := range r.GetResourceNamesSubscribe() {
			p.asked <- xds.Type(r.GetTypeUrl()).String() + " " + name
			p.mu.Lock()
			p.wants[r.GetTypeUrl()+name] = true
			err := p.tell(r.GetTypeUrl(), name)
			p.mu.Unlock()
			if err != nil {
				return err
			}
		}
	}
}

// tell sends one resource, or all for "*". mu is held.
func (p *plane) tell(typeURL, name string) error {
	answer := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: typeURL, Nonce: "n"}
	for have, m := range p.have[typeURL] {
		if name == "*" || name == have {
			body, err := anypb.New(m)
			if err != nil {
				return err
			}
			answer.Resources = append(answer.Resources, &discoveryv3.Resource{Name: have, Version: "1", Resource: body})
		}
	}
	if name != "*" && len(answer.Resources) == 0 {
		answer.RemovedResources = []string{name}
	}
	return p.stream.Send(answer)
}

// put sets a resource (nil: removes it) and tells who asked.
func (p *plane) put(t xds.Type, name string, m proto.Message, text string) {
	p.t.Helper()
	if m != nil {
		if err := protojson.Unmarshal([]byte(text), m); err != nil {
			p.t.Fatal(err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.have[string(t)] == nil {
		p.have[string(t)] = make(map[string]proto.Message)
	}
	if m != nil {
		p.have[string(t)][name] = m
	} else {
		delete(p.have[string(t)], name)
	}
	if p.wants[string(t)+name] || p.wants[string(t)+"*"] {
		if err := p.tell(string(t), name); err != nil {
			p.t.Error(err)
		}
	}
}

func (p *plane) Stream(s grpc.BidiStreamingServer[reportv1.Report, reportv1.Ack]) error {
	for {
		r, err := s.Recv()
		if err != nil {
			return err
		}
		p.reports <- r
		if err := s.Send(&reportv1.Ack{}); err != nil {
			return err
		}
	}
}

func (p *plane) service(cluster, domain, port string) {
	p.put(xds.VirtualHost, "outbound/"+domain, new(routev3.VirtualHost), `{"name": "h", "domains": ["`+domain+`"],
		"routes": [{"match": {"prefix": "/"}, "route": {"cluster": "`+cluster+`"}}]}`)
	p.cluster(cluster, "1s")
	p.put(xds.Endpoints, cluster, new(endpointv3.ClusterLoadAssignment), `{"clusterName": "`+cluster+`", "endpoints": [{"lbEndpoints": [
		{"endpoint": {"address": {"socketAddress": {"address": "127.0.0.1", "portValue": `+port+`}}}}]}]}`)
}

func (p *plane) cluster(name, connectTimeout string) {
	p.put(xds.Cluster, name, new(clusterv3.Cluster), `{"name": "`+name+`", "type": "EDS", "connectTimeout": "`+connectTimeout+`",
		"metadata": {"typedFilterMetadata": {"recloser.breaker": {"@type": "type.googleapis.com/recloser.breaker.v1.Breaker",
			"detectors": [{"consecutive": {"failures": 2}}], "recovery": {"min": "60s", "max": "60s"}, "failFast": "0s"}}}}`)
}

func TestRunUnderAControlPlane(t *testing.T) {
	p := newPlane(t)
	port := freePort(t)
	p.put(xds.Listener, "outbound", new(listenerv3.Listener), `{"name": "outbound", "address": {"socketAddress": {"address": "127.0.0.1", "portValue": `+port+`}},
		"filterChains": [{"filters": [{"name": "hcm", "typedConfig": {
			"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
			"rds": {"routeConfigName": "outbound"}}}]}]}`)
	p.put(xds.RouteConfig, "outbound", new(routev3.RouteConfiguration), `{"name": "outbound", "vhds": {}}`)
	p.service("good", "good:80", named(t, "good"))
	p.service("unused", "unused:80", "1")
	bad := portOf(backend(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	p.service("bad", "bad:80", bad)
	address, stop := p.serve("127.0.0.1:0")
	r := startRun(t, resources{}, func(c *Config) {
		c.Resources, c.XDS = "", address
		c.Node = Node{Pod: "p", Namespace: "ns"}
		c.MinBackoff, c.MaxBackoff = time.Millisecond, 20*time.Millisecond
	})
	r.until("ready", r.ready)
	status := func(authority string) int { code, _ := r.get(port, authority); return code }

	// Only what is used is asked for.
	if got := status("good:80"); got != 200 {
		t.Errorf("good: %d", got)
	}
	if got := status("none:80"); got != 404 {
		t.Errorf("none: %d", got)
	}
	for len(p.asked) > 0 {
		if a := <-p.asked; strings.Contains(a, "unused") || strings.Contains(a, "bad") {
			t.Errorf("%s was asked for, which nobody uses", a)
		}
	}
	// A service that comes and goes.
	p.service("late", "none:80", named(t, "late"))
	r.until("the service is there", func() bool { return status("none:80") == 200 })
	p.put(xds.VirtualHost, "outbound/none:80", nil, "")
	r.until("the service is gone", func() bool { return status("none:80") == 404 })
	// What is wrong is refused, and the last good one stays.
	p.cluster("good", "-1s")
	if nack := <-p.nacks; !strings.Contains(nack, "good: connect_timeout -1s") {
		t.Errorf("NACK says %q", nack)
	}
	if got := status("good:80"); got != 200 {
		t.Errorf("good, after a bad version: %d", got)
	}
	p.cluster("good", "2s")
	// A breaker that opens is reported.
	for range 2 {
		if got := status("bad:80"); got != 500 {
			t.Errorf("bad: %d", got)
		}
	}
	if got := status("bad:80"); got != 503 {
		t.Errorf("bad, with its breaker open: %d", got)
	}
	for reported := false; !reported; {
		for _, ev := range receive(t, p.reports).GetEvents() {
			reported = reported || ev.GetCluster() == "bad" && ev.GetCause() == "consecutive_failures"
		}
	}
	// Without the control plane all goes on; with a new one it goes on from there.
	stop()
	if got := status("good:80"); got != 200 {
		t.Errorf("good, without a control plane: %d", got)
	}
	if !r.ready() {
		t.Error("not ready without a control plane")
	}
	p.service("late", "none:80", named(t, "later"))
	p.serve(address)
	r.until("what changed meanwhile is told", func() bool { return status("none:80") == 200 })
	if all := receive(t, p.reports); len(all.GetClusters()) == 0 {
		t.Errorf("the first report to a new control plane has no states: %v", all)
	}
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	select {
	case v := <-c:
		return v
	case <-ctx.Done():
		t.Fatal("nothing came")
		panic("not reached")
	}
}
