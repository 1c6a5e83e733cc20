package snapshot

import (
	"strings"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	fileaccessv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	httpinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/reclosermesh/recloser/internal/proxy/xds"
)

func tcpTo(cluster string) *tcpv3.TcpProxy {
	return &tcpv3.TcpProxy{StatPrefix: "bytes", ClusterSpecifier: &tcpv3.TcpProxy_Cluster{Cluster: cluster}}
}

func chainOf(m proto.Message) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{Filters: []*listenerv3.Filter{{
		Name: "one", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(m)},
	}}}
}

func inspector(m proto.Message) *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{Name: "look", ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: pack(m)}}
}

// looking makes a listener look at first bytes.
func looking(l *listenerv3.Listener) *listenerv3.Listener {
	l.ListenerFilters = []*listenerv3.ListenerFilter{
		inspector(&originaldstv3.OriginalDst{}), inspector(&tlsinspectorv3.TlsInspector{}), inspector(&httpinspectorv3.HttpInspector{}),
	}
	l.ListenerFiltersTimeout = durationpb.New(2 * time.Second)
	l.ContinueOnListenerFiltersTimeout = true
	return l
}

// detected is a listener whose HTTP goes to a cluster, and all else to another.
func detected(http, bytes string) *listenerv3.Listener {
	l := looking(inbound(8080, http))
	l.FilterChains[0].FilterChainMatch = &listenerv3.FilterChainMatch{ApplicationProtocols: []string{"http/1.0", "http/1.1", "h2c"}}
	l.DefaultFilterChain = chainOf(tcpTo(bytes))
	return l
}

func tcpListener(cluster string) *listenerv3.Listener {
	l := inbound(8080, "")
	l.FilterChains = []*listenerv3.FilterChain{chainOf(tcpTo(cluster))}
	return l
}

func TestChainsThatAreServed(t *testing.T) {
	inChains := detected("http", "bytes")
	inChains.FilterChains = append(inChains.FilterChains, inChains.DefaultFilterChain)
	inChains.DefaultFilterChain = nil
	alone := detected("http", "")
	alone.DefaultFilterChain = nil
	onlyDefault := tcpListener("bytes")
	onlyDefault.FilterChains, onlyDefault.DefaultFilterChain = nil, onlyDefault.FilterChains[0]
	lookedAt := looking(tcpListener("bytes"))
	lasting := tcpListener("")
	lasting.FilterChains[0] = chainOf(&tcpv3.TcpProxy{
		IdleTimeout: durationpb.New(0),
		ClusterSpecifier: &tcpv3.TcpProxy_WeightedClusters{WeightedClusters: &tcpv3.TcpProxy_WeightedCluster{
			Clusters: []*tcpv3.TcpProxy_WeightedCluster_ClusterWeight{{Name: "a", Weight: 1}, {Name: "b", Weight: 3}},
		}},
	})
	patient := detected("http", "bytes")
	patient.ListenerFiltersTimeout = durationpb.New(0)
	usual := detected("http", "bytes")
	usual.ListenerFiltersTimeout = nil
	codec := func(kind hcmv3.HttpConnectionManager_CodecType) *listenerv3.Listener {
		return listenerOf("inbound", "127.0.0.1", 1, &hcmv3.HttpConnectionManager{
			CodecType: kind, RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{RouteConfigName: "a"}},
		})
	}
	for _, tt := range []struct {
		name     string
		l        *listenerv3.Listener
		protocol Protocol
		bytes    string // clusters
		onlyHTTP bool
		timeouts Timeouts
	}{
		{"a manager", inbound(8080, "http"), HTTP, "", false, Timeouts{}},
		{"HTTP/1", codec(hcmv3.HttpConnectionManager_HTTP1), HTTP1, "", false, Timeouts{}},
		{"HTTP/2", codec(hcmv3.HttpConnectionManager_HTTP2), HTTP2, "", false, Timeouts{}},
		{"a manager by name, looked at", looking(outbound()), Detect, "", false, Timeouts{Detect: 2 * time.Second}},
		{"detected", detected("http", "bytes"), Detect, "bytes", false, Timeouts{Detect: 2 * time.Second}},
		{"detected, no default chain", inChains, Detect, "bytes", false, Timeouts{Detect: 2 * time.Second}},
		{"HTTP alone", alone, Detect, "", true, Timeouts{Detect: 2 * time.Second}},
		{"bytes", tcpListener("bytes"), TCP, "bytes", false, Timeouts{}},
		{"bytes as the default", onlyDefault, TCP, "bytes", false, Timeouts{}},
		{"bytes, looked at", lookedAt, TCP, "bytes", false, Timeouts{Detect: 2 * time.Second}},
		{"weights, no bound on idle time", lasting, TCP, "a b", false, Timeouts{TCP: NoTimeout}},
		{"no bound on looking", patient, Detect, "bytes", false, Timeouts{Detect: NoTimeout}},
		{"the usual bound on looking", usual, Detect, "bytes", false, Timeouts{}},
	} {
		spec, err := compileListener(xds.Resource{Name: "inbound|8080", Message: tt.l})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		bytes := ""
		if spec.bytes != nil {
			bytes = strings.Join(spec.bytes.Clusters(), " ")
		}
		if spec.protocol != tt.protocol || bytes != tt.bytes || spec.onlyHTTP != tt.onlyHTTP || spec.timeouts != tt.timeouts {
			t.Errorf("%s: protocol %d, bytes to %q, only HTTP %v, %+v", tt.name, spec.protocol, bytes, spec.onlyHTTP, spec.timeouts)
		}
	}
}

func TestChainsThatAreNot(t *testing.T) {
	with := func(l *listenerv3.Listener, edit func(*listenerv3.Listener)) *listenerv3.Listener {
		edit(l)
		return l
	}
	codec := func(kind hcmv3.HttpConnectionManager_CodecType) *listenerv3.Listener {
		return listenerOf("inbound", "127.0.0.1", 1, &hcmv3.HttpConnectionManager{
			CodecType: kind, RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{RouteConfigName: "a"}},
		})
	}
	for _, tt := range []struct {
		l    *listenerv3.Listener
		want []string
	}{
		{codec(hcmv3.HttpConnectionManager_HTTP3), []string{"codec_type HTTP3: AUTO, HTTP1 and HTTP2 are supported"}},
		{looking(codec(hcmv3.HttpConnectionManager_HTTP2)), []string{"codec_type HTTP2: only AUTO is supported beside an http_inspector"}},
		{with(inbound(1, "c"), func(l *listenerv3.Listener) { l.FilterChains = nil }), []string{"filter_chains: 0 of them"}},
		{with(inbound(1, "c"), func(l *listenerv3.Listener) { l.FilterChains[0].Filters = nil }), []string{"filter_chains[0].filters: 0 of them"}},
		{
			with(inbound(1, "c"), func(l *listenerv3.Listener) { l.FilterChains[0] = chainOf(&fileaccessv3.FileAccessLog{Path: "x"}) }),
			[]string{"filter_chains[0].filters[0]", "FileAccessLog is not supported, but HttpConnectionManager and TcpProxy"},
		},
		{
			with(inbound(1, "c"), func(l *listenerv3.Listener) { l.DefaultFilterChain = chainOf(tcpTo("b")) }),
			[]string{"default_filter_chain: is a second chain beside filter_chains[0], which needs an http_inspector"},
		},
		{
			with(tcpListener("c"), func(l *listenerv3.Listener) { l.DefaultFilterChain = chainOf(tcpTo("b")) }),
			[]string{"default_filter_chain: has a TcpProxy, as filter_chains[0] has"},
		},
		{
			with(detected("a", "b"), func(l *listenerv3.Listener) { l.ListenerFilters = l.ListenerFilters[:2] }),
			[]string{"application_protocols: needs an http_inspector"},
		},
		{
			with(detected("a", "b"), func(l *listenerv3.Listener) { l.FilterChains[0].FilterChainMatch = nil }),
			[]string{`filter_chains[0].filter_chain_match.application_protocols: must be ["http/1.0" "http/1.1" "h2c"] beside a TcpProxy`},
		},
		{
			with(detected("a", "b"), func(l *listenerv3.Listener) {
				l.FilterChains[0].FilterChainMatch.ApplicationProtocols = []string{"http/1.1", "istio"}
			}),
			[]string{`["http/1.1" "istio"]: must have all of`, `"istio" is not supported`},
		},
		{
			with(detected("a", "b"), func(l *listenerv3.Listener) {
				l.FilterChains[0].FilterChainMatch.DestinationPort = wrapperspb.UInt32(1)
				l.FilterChains[0].FilterChainMatch.ServerNames = []string{"a"}
			}),
			[]string{"filter_chain_match.destination_port: is not supported", "filter_chain_match.server_names: is not supported"},
		},
		{
			with(detected("a", "b"), func(l *listenerv3.Listener) {
				l.DefaultFilterChain.FilterChainMatch = &listenerv3.FilterChainMatch{ApplicationProtocols: []string{"h2c"}}
			}),
			[]string{"default_filter_chain.filter_chain_match: must not be set", "must be empty for a TcpProxy"},
		},
		{
			with(detected("a", "b"), func(l *listenerv3.Listener) { l.ContinueOnListenerFiltersTimeout = false }),
			[]string{"continue_on_listener_filters_timeout false: only true is supported"},
		},
		{
			with(detected("a", "b"), func(l *listenerv3.Listener) { l.ListenerFiltersTimeout = durationpb.New(-1) }),
			[]string{"listener_filters_timeout -1ns: must not be negative"},
		},
		{
			with(inbound(1, "c"), func(l *listenerv3.Listener) {
				l.ListenerFilters = []*listenerv3.ListenerFilter{inspector(&fileaccessv3.FileAccessLog{})}
			}),
			[]string{`listener_filters[0] "look"`, "FileAccessLog is not supported, but http_inspector"},
		},
		{
			with(tcpListener("c"), func(l *listenerv3.Listener) { l.FilterChains[0] = chainOf(&tcpv3.TcpProxy{}) }),
			[]string{"filter_chains[0].filters[0].cluster_specifier: cluster or weighted_clusters is needed"},
		},
		{
			with(tcpListener("c"), func(l *listenerv3.Listener) {
				m := tcpTo("")
				m.TunnelingConfig = &tcpv3.TcpProxy_TunnelingConfig{}
				m.IdleTimeout = durationpb.New(-1)
				l.FilterChains[0] = chainOf(m)
			}),
			[]string{"cluster: must not be empty", "tunneling_config: is not supported", "idle_timeout -1ns: must not be negative"},
		},
	} {
		_, err := compileListener(xds.Resource{Name: "x", Message: tt.l})
		if err == nil {
			t.Errorf("%v: taken", tt.want)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v\ndoes not say %q", err, want)
			}
		}
	}
}

// bytesGo says which cluster opaque bytes of a listener go to.
func bytesGo(l *Listener) string {
	if l.Bytes == nil {
		return "by name"
	}
	a := l.Bytes.Action()
	if a == nil {
		return "nowhere"
	}
	if c := a.PickCluster(0); c != nil {
		return c.Name()
	}
	return "no cluster"
}

func TestListenerOfBytes(t *testing.T) {
	r := newRig(t, Config{})
	const name = "inbound|8080"
	r.apply(xds.Listener, name, tcpListener("db"))
	if names := r.names(); len(names) != 0 {
		t.Fatalf("listens before its cluster is there: %v", names)
	}
	r.apply(xds.Cluster, "db", static("db", "127.1.1.5"))
	l := r.listener(name)
	if got := bytesGo(l); got != "db" || l.Protocol != TCP {
		t.Errorf("bytes go %s, protocol %d", got, l.Protocol)
	}
	if got := r.goesTo(l, "anything"); got != "404" {
		t.Errorf("HTTP goes to %s", got)
	}

	// It learns of HTTP: all clusters must be there before it does.
	before, bytes, hosts := l, l.Bytes, l.Hosts
	r.apply(xds.Listener, name, detected("http", "db"))
	if l = r.listener(name); l != before {
		t.Error("went live before its routes' cluster")
	}
	r.apply(xds.Cluster, "http", static("http", "127.1.1.6"))
	l = r.listener(name)
	if l.Protocol != Detect || l.Bytes != bytes || l.Hosts != hosts || bytesGo(l) != "db" || r.goesTo(l, "x") != "http=127.1.1.6:80" {
		t.Errorf("protocol %d, bytes go %s, HTTP to %s", l.Protocol, bytesGo(l), r.goesTo(l, "x"))
	}

	// A cluster that goes, and comes back, is noticed by who listens already.
	r.removed(xds.Cluster, "db")
	if got := bytesGo(before); got != "no cluster" {
		t.Errorf("without their cluster bytes go %s", got)
	}
	r.apply(xds.Cluster, "db", static("db", "127.1.1.5"))
	if got := bytesGo(before); got != "db" {
		t.Errorf("bytes go %s", got)
	}

	// It becomes one of HTTP alone.
	alone := detected("http", "")
	alone.DefaultFilterChain = nil
	r.apply(xds.Listener, name, alone)
	if got := bytesGo(r.listener(name)); got != "nowhere" {
		t.Errorf("bytes go %s", got)
	}
	r.apply(xds.Listener, name, inbound(8080, "http"))
	if got := bytesGo(r.listener(name)); got != "by name" || bytesGo(before) != "nowhere" {
		t.Errorf("bytes go %s", got)
	}
	if want := "Cluster http, Listener *"; strings.Join(r.wanted.list(), ", ") != want {
		t.Errorf("subscribed: %q, want %q", r.wanted.list(), want)
	}
}
