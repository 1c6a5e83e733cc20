package snapshot

import (
	"log/slog"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// FuzzResources gives a Store whatever decodes. What it takes must work: the
// live clusters are made of it, and a request is matched by it.
func FuzzResources(f *testing.F) {
	seed := func(kind byte, m proto.Message) {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(kind, b)
	}
	seed(0, outbound())
	seed(0, inbound(8080, "c"))
	seed(0, detected("c", "c"))
	seed(0, tcpListener("c"))
	seed(1, onDemand())
	seed(1, &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{hostOf("c", "a", "*.b")}})
	seed(2, hostOf("c", "a"))
	seed(3, static("c", "10.0.0.1"))
	outlier := static("c", "10.0.0.1")
	outlier.OutlierDetection = &clusterv3.OutlierDetection{}
	seed(3, outlier)
	secure := static("c", "10.0.0.1")
	secure.TransportSocket = &corev3.TransportSocket{ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(&tlsv3.UpstreamTlsContext{
		Sni: "a", CommonTlsContext: &tlsv3.CommonTlsContext{
			TlsParams: &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2},
			ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
				SystemRootCerts: &tlsv3.CertificateValidationContext_SystemRootCerts{},
			}},
		},
	})}}
	seed(3, secure)
	seed(4, assignment("c", "10.0.0.1", "::1"))
	request := new(http1.Request)
	if _, err := request.Parse([]byte("GET /a?b=c HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n"), nil); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		types := []xds.Type{xds.Listener, xds.RouteConfig, xds.VirtualHost, xds.Cluster, xds.Endpoints}
		messages := []proto.Message{
			new(listenerv3.Listener), new(routev3.RouteConfiguration), new(routev3.VirtualHost),
			new(clusterv3.Cluster), new(endpointv3.ClusterLoadAssignment),
		}
		i := int(kind) % len(types)
		if proto.Unmarshal(b, messages[i]) != nil {
			return
		}
		logger := slog.New(slog.DiscardHandler)
		s := New(Config{Logger: logger, Set: upstream.NewSet(upstream.SetOptions{Logger: logger, Metrics: telemetry.NewProxy(telemetry.Options{})})})
		s.Attach(&wanted{names: make(map[string]int), changed: make(chan struct{})})
		apply := func(t xds.Type, name string, m proto.Message) {
			s.Apply(xds.Update{Type: t, Set: []xds.Resource{{Name: name, Message: m}}})
		}
		apply(xds.Listener, "outbound", outbound())
		apply(xds.RouteConfig, "outbound", onDemand())
		snap, _ := s.Current()
		hosts := snap.Listeners[0].Hosts
		if _, err := s.ask(hosts, "a"); err != nil {
			t.Fatal(err)
		}
		apply(xds.VirtualHost, "outbound/a", hostOf("c", "a"))
		apply(xds.Cluster, "c", eds("c"))
		apply(xds.Endpoints, "c", assignment("c", "10.0.0.1"))
		name := map[xds.Type]string{xds.VirtualHost: "outbound/a", xds.Cluster: "c", xds.Endpoints: "c"}[types[i]]
		if name == "" {
			name = "outbound"
		}
		apply(types[i], name, messages[i])
		snap, _ = s.Current()
		for _, l := range snap.Listeners {
			if l.Bytes != nil {
				if action := l.Bytes.Action(); action != nil {
					action.Pick(1 << 31)
				}
			}
			if table, _ := l.Hosts.Lookup(request.Host); table != nil {
				if action := table.Match(request); action != nil {
					action.Pick(1 << 31)
				}
			}
		}
	})
}
