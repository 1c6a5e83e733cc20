package snapshot

import (
	"strings"
	"testing"
	"time"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/reclosermesh/recloser/internal/proxy/http2"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
)

func withOptions(t *testing.T, options string) xds.Resource {
	t.Helper()
	c := eds("c")
	if options != "" {
		o := read(t, new(upstreamhttpv3.HttpProtocolOptions), options)
		c.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpOptions: pack(o)}
	}
	return xds.Resource{Name: c.GetName(), Message: c}
}

func TestProtocolOptions(t *testing.T) {
	const common = `"commonHttpProtocolOptions": {"maxRequestsPerConnection": 7, "idleTimeout": "60s"}`
	for _, tt := range []struct {
		options string
		want    upstream.Protocol
		http2   http2.Config
	}{
		{``, upstream.HTTP1, http2.Config{}},
		{`{` + common + `}`, upstream.HTTP1, http2.Config{}},
		{`{"explicitHttpConfig": {"httpProtocolOptions": {}}, ` + common + `}`, upstream.HTTP1, http2.Config{}},
		{`{"explicitHttpConfig": {"http2ProtocolOptions": {"allowConnect": true}}}`, upstream.HTTP2, http2.Config{}},
		{
			`{"explicitHttpConfig": {"http2ProtocolOptions": {"maxConcurrentStreams": 2147483647, "initialStreamWindowSize": 65535,
				"connectionKeepalive": {"interval": "30s", "timeout": "5s", "intervalJitter": {"value": 15}}}}}`,
			upstream.HTTP2,
			http2.Config{MaxStreams: 1<<31 - 1, StreamWindow: 65535, KeepAlive: 30 * time.Second, KeepAliveTimeout: 5 * time.Second},
		},
		{`{"useDownstreamProtocolConfig": {}}`, upstream.AsCaller, http2.Config{}},
		{
			`{"useDownstreamProtocolConfig": {"http2ProtocolOptions": {"maxConcurrentStreams": 1}}, ` + common + `}`,
			upstream.AsCaller,
			http2.Config{MaxStreams: 1},
		},
	} {
		spec, err := compileCluster(withOptions(t, tt.options))
		if err != nil {
			t.Errorf("%s: %v", tt.options, err)
			continue
		}
		cfg := spec.cfg
		if cfg.Protocol != tt.want || cfg.HTTP2.MaxStreams != tt.http2.MaxStreams || cfg.HTTP2.StreamWindow != tt.http2.StreamWindow ||
			cfg.HTTP2.KeepAlive != tt.http2.KeepAlive || cfg.HTTP2.KeepAliveTimeout != tt.http2.KeepAliveTimeout {
			t.Errorf("%s: %v, %+v", tt.options, cfg.Protocol, cfg.HTTP2)
		}
		most, idle := uint32(0), time.Duration(0)
		if strings.Contains(tt.options, common) {
			most, idle = 7, time.Minute
		}
		if cfg.Limits.MaxRequestsPerConnection != most || cfg.IdleTimeout != idle {
			t.Errorf("%s: %d requests per connection, idle timeout %v", tt.options, cfg.Limits.MaxRequestsPerConnection, cfg.IdleTimeout)
		}
	}
}

func TestProtocolOptionsRefused(t *testing.T) {
	explicit := func(s string) string { return `{"explicitHttpConfig": {"http2ProtocolOptions": {` + s + `}}}` }
	for _, tt := range []struct{ options, want string }{
		{`{"explicitHttpConfig": {"http3ProtocolOptions": {}}}`, "http3_protocol_options: is not supported"},
		{`{"explicitHttpConfig": {}}`, "http_protocol_options or http2_protocol_options is needed"},
		{`{"autoConfig": {}}`, "auto_config: is not supported"},
		{`{"useDownstreamProtocolConfig": {"http3ProtocolOptions": {}}}`, "use_downstream_protocol_config.http3_protocol_options: is not supported"},
		{`{"useDownstreamProtocolConfig": {"http2ProtocolOptions": {"maxConcurrentStreams": 0}}}`, "use_downstream_protocol_config.http2_protocol_options.max_concurrent_streams 0: must be from 1 to 2147483647"},
		{explicit(`"maxConcurrentStreams": 2147483648`), "max_concurrent_streams 2147483648: must be from 1"},
		{explicit(`"initialStreamWindowSize": 65534`), "initial_stream_window_size 65534: must be from 65535 to 2147483647"},
		{explicit(`"connectionKeepalive": {"interval": "-1s", "timeout": "1s"}`), "connection_keepalive.interval -1s: must not be negative"},
		{explicit(`"connectionKeepalive": {"interval": "1s"}`), "connection_keepalive.timeout: is needed with an interval"},
		{`{"commonHttpProtocolOptions": {"idleTimeout": "-1s"}}`, "idle_timeout -1s: must not be negative"},
	} {
		_, err := compileCluster(withOptions(t, tt.options))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.options, err, tt.want)
		}
	}
	c := eds("c")
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpOptions: pack(eds("d"))}
	if _, err := compileCluster(xds.Resource{Name: "c", Message: c}); err == nil || !strings.Contains(err.Error(), "typed_extension_protocol_options") {
		t.Errorf("options that are something else: %v", err)
	}
}

// A listener says how HTTP/2 is spoken to its callers with the same fields.
func TestListenerHTTP2(t *testing.T) {
	manager := func(options string) *hcmv3.HttpConnectionManager {
		return read(t, new(hcmv3.HttpConnectionManager), `{"rds": {"routeConfigName": "outbound"}, "http2ProtocolOptions": {`+options+`}}`)
	}
	l := listenerOf("outbound", "127.0.0.1", 4140, manager(`"maxConcurrentStreams": 7, "initialStreamWindowSize": 70000,
		"connectionKeepalive": {"interval": "3s", "timeout": "2s"}`))
	spec, err := compileListener(xds.Resource{Name: "outbound", Message: l})
	if err != nil {
		t.Fatal(err)
	}
	want := HTTP2Options{MaxStreams: 7, StreamWindow: 70000, KeepAlive: 3 * time.Second, KeepAliveTimeout: 2 * time.Second}
	if spec.http2 != want {
		t.Errorf("%+v, want %+v", spec.http2, want)
	}
	l = listenerOf("outbound", "127.0.0.1", 4140, manager(`"maxConcurrentStreams": 0`))
	_, err = compileListener(xds.Resource{Name: "outbound", Message: l})
	if want := "http_connection_manager.http2_protocol_options.max_concurrent_streams 0: must be from 1"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}
