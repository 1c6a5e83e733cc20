package mesh

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"strconv"
	"time"
)

// Config is what a proxy is told: its file of resources.
type Config struct {
	Listeners []Listener
	Clusters  []Cluster
}

// A Listener is a place where the proxy takes connections, with its routes or,
// for bare TCP, its cluster.
type Listener struct {
	Name    string // unique
	Address string // IP:PORT
	Inbound bool
	// Routes are tried in order. None, and TCP is not empty: opaque bytes.
	Routes []Route
	TCP    string         // cluster of all connections
	Idle   time.Duration  // of a connection: HTTP between two requests, TCP without a byte; 0: default
	Stream time.Duration  // of an exchange without a byte; 0: default
	HCM    map[string]any // more fields of the HttpConnectionManager
	TLS    *Certificate   // the listener speaks TLS and offers h2 and http/1.1
	Retry  map[string]any // retry_policy of the routes that StartChain makes; nil: none
}

// Certificate names the files of a certificate and its key.
type Certificate struct{ Cert, Key string }

// A Route leads a prefix of paths to a cluster.
type Route struct {
	Prefix  string // "": all
	Domain  string // of the virtual host; "": all
	Cluster string
	Timeout time.Duration  // of the whole exchange; 0: none
	Retry   map[string]any // retry_policy; nil: none
}

// Protocol is what a cluster's endpoints speak.
type Protocol string

// The protocols of a Cluster.
const (
	HTTP1    Protocol = "HTTP1"
	HTTP2    Protocol = "HTTP2"
	AsCaller Protocol = "" // as the request came
)

// A Cluster is a set of endpoints.
type Cluster struct {
	Name      string
	Endpoints []string // IP:PORT
	Protocol  Protocol
	// Failures in a row that open an endpoint's breaker; 0: it has none.
	Failures int
	// Streams that the proxy opens on one HTTP/2 connection at most; 0: default.
	Streams int
	// CA is the file of the authority that the endpoints' certificates are of,
	// and Names what one of them must be for; empty: no TLS.
	CA    string
	Names []string
}

const typePrefix = "type.googleapis.com/"

// Render returns the configuration as a file for --resources.
func (c Config) Render() ([]byte, error) {
	var resources []map[string]any
	for _, l := range c.Listeners {
		r, err := l.render()
		if err != nil {
			return nil, err
		}
		resources = append(resources, r)
	}
	for _, cl := range c.Clusters {
		r, err := cl.render()
		if err != nil {
			return nil, err
		}
		resources = append(resources, r)
	}
	return json.MarshalIndent(map[string]any{"resources": resources}, "", " ")
}

func (l Listener) render() (map[string]any, error) {
	address, err := socketAddress(l.Address)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", l.Name, err)
	}
	chain := map[string]any{"filters": []any{l.filter()}}
	if l.TLS != nil {
		chain["transport_socket"] = map[string]any{
			"name": "envoy.transport_sockets.tls",
			"typed_config": typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", map[string]any{
				"common_tls_context": map[string]any{
					"alpn_protocols": []string{"h2", "http/1.1"},
					"tls_certificates": []any{map[string]any{
						"certificate_chain": map[string]any{"filename": l.TLS.Cert},
						"private_key":       map[string]any{"filename": l.TLS.Key},
					}},
				},
			}),
		}
	}
	direction := "OUTBOUND"
	if l.Inbound {
		direction = "INBOUND"
	}
	return typed("envoy.config.listener.v3.Listener", map[string]any{
		"name": l.Name, "traffic_direction": direction,
		"address":       address,
		"filter_chains": []any{chain},
	}), nil
}

func (l Listener) filter() map[string]any {
	if l.TCP != "" {
		fields := map[string]any{"stat_prefix": l.Name, "cluster": l.TCP}
		if l.Idle > 0 {
			fields["idle_timeout"] = seconds(l.Idle)
		}
		return map[string]any{
			"name":         "envoy.filters.network.tcp_proxy",
			"typed_config": typed("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", fields),
		}
	}
	fields := map[string]any{
		"stat_prefix":  l.Name,
		"route_config": map[string]any{"name": l.Name, "virtual_hosts": virtualHosts(l.Routes)},
	}
	if l.Idle > 0 {
		fields["common_http_protocol_options"] = map[string]any{"idle_timeout": seconds(l.Idle)}
	}
	if l.Stream > 0 {
		fields["stream_idle_timeout"] = seconds(l.Stream)
	}
	maps.Copy(fields, l.HCM)
	return map[string]any{
		"name":         "envoy.filters.network.http_connection_manager",
		"typed_config": typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", fields),
	}
}

// virtualHosts groups routes by their domain, in order.
func virtualHosts(routes []Route) []map[string]any {
	var hosts []map[string]any
	at := make(map[string]int)
	for _, r := range routes {
		domain := r.Domain
		if domain == "" {
			domain = "*"
		}
		i, known := at[domain]
		if !known {
			i = len(hosts)
			at[domain] = i
			hosts = append(hosts, map[string]any{"name": domain, "domains": []string{domain}, "routes": []any(nil)})
		}
		prefix := r.Prefix
		if prefix == "" {
			prefix = "/"
		}
		action := map[string]any{"cluster": r.Cluster, "timeout": seconds(r.Timeout)}
		if r.Retry != nil {
			action["retry_policy"] = r.Retry
		}
		hosts[i]["routes"] = append(hosts[i]["routes"].([]any), map[string]any{
			"name":  domain + prefix,
			"match": map[string]any{"prefix": prefix},
			"route": action,
		})
	}
	return hosts
}

func (c Cluster) render() (map[string]any, error) {
	var endpoints []any
	for _, e := range c.Endpoints {
		address, err := socketAddress(e)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", c.Name, err)
		}
		endpoints = append(endpoints, map[string]any{"endpoint": map[string]any{"address": address}})
	}
	fields := map[string]any{
		"name": c.Name, "type": "STATIC", "connect_timeout": "1s",
		"load_assignment": map[string]any{
			"cluster_name": c.Name,
			"endpoints":    []any{map[string]any{"lb_endpoints": endpoints}},
		},
		"typed_extension_protocol_options": map[string]any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
				"envoy.extensions.upstreams.http.v3.HttpProtocolOptions", c.protocol()),
		},
	}
	if c.Failures > 0 {
		fields["metadata"] = map[string]any{"typed_filter_metadata": map[string]any{
			"recloser.breaker": typed("recloser.breaker.v1.Breaker", map[string]any{
				"detectors": []any{map[string]any{"consecutive": map[string]any{"failures": c.Failures}}},
				"recovery":  map[string]any{"mode": "PROBE", "backoff": "EXPONENTIAL", "min": "1s", "max": "60s", "jitter": 0.5},
			}),
		}}
	}
	if c.CA != "" {
		fields["transport_socket"] = c.transport()
	}
	return typed("envoy.config.cluster.v3.Cluster", fields), nil
}

func (c Cluster) protocol() map[string]any {
	switch c.Protocol {
	case HTTP1:
		return map[string]any{"explicit_http_config": map[string]any{"http_protocol_options": map[string]any{}}}
	case HTTP2:
		options := map[string]any{}
		if c.Streams > 0 {
			options["max_concurrent_streams"] = c.Streams
		}
		return map[string]any{"explicit_http_config": map[string]any{"http2_protocol_options": options}}
	}
	return map[string]any{"use_downstream_protocol_config": map[string]any{"http2_protocol_options": map[string]any{}}}
}

func (c Cluster) transport() map[string]any {
	var names []any
	for _, n := range c.Names {
		names = append(names, map[string]any{"san_type": "DNS", "matcher": map[string]any{"exact": n}})
	}
	validation := map[string]any{"trusted_ca": map[string]any{"filename": c.CA}}
	fields := map[string]any{"common_tls_context": map[string]any{"validation_context": validation}}
	if names != nil {
		validation["match_typed_subject_alt_names"] = names
		fields["sni"] = c.Names[0]
	}
	return map[string]any{
		"name":         "envoy.transport_sockets.tls",
		"typed_config": typed("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", fields),
	}
}

func typed(name string, fields map[string]any) map[string]any {
	fields["@type"] = typePrefix + name
	return fields
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}

func socketAddress(hostport string) (map[string]any, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port of %q: %w", hostport, err)
	}
	return map[string]any{"socket_address": map[string]any{"address": host, "port_value": n}}, nil
}
