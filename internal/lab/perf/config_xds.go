package perf

// recloserConfig is what a control plane would tell a proxy that calls one
// service: three routes of which the last matches, power of two choices by
// peak EWMA, and Linkerd's default breaker.
const recloserConfig = `
resources:
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: outbound
  traffic_direction: OUTBOUND
  address:
    socket_address: {address: 127.0.0.1, port_value: {{.Port}}}
  filter_chains:
  - filters:
    - name: envoy.filters.network.http_connection_manager
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        stat_prefix: outbound
        rds:
          route_config_name: outbound
          config_source: {ads: {}, resource_api_version: V3}
        http_filters:
        - name: envoy.filters.http.router
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
- "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
  name: outbound
  virtual_hosts:
{{indent 2 .Routes}}
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: "outbound|8080||upstream.bench.svc.cluster.local"
  type: EDS
  eds_cluster_config:
    eds_config: {ads: {}, resource_api_version: V3}
  connect_timeout: 1s
{{indent 2 .Options}}
  metadata:
    filter_metadata:
      recloser.service: {namespace: bench, name: upstream, port: "8080"}
    typed_filter_metadata:
      recloser.breaker:
        "@type": type.googleapis.com/recloser.breaker.v1.Breaker
        detectors:
        - consecutive: {failures: 7}
        recovery: {mode: PROBE, backoff: EXPONENTIAL, min: 1s, max: 60s, jitter: 0.5}
- "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
  cluster_name: "outbound|8080||upstream.bench.svc.cluster.local"
  endpoints:
  - lb_endpoints:
{{- range $i, $u := .Upstreams}}
    - endpoint:
        address:
          socket_address: {address: "{{host $u}}", port_value: {{$.UpstreamPort}}}
      metadata:
        filter_metadata:
          recloser.workload: {namespace: bench, pod: upstream-{{$i}}, workload: upstream, workload_kind: Deployment}
{{- end}}
`

// routesConfig is the virtual host that recloser and Envoy share, of which the
// last of three routes matches. Calls over HTTP/2 on both sides may last.
const routesConfig = `- name: {{.Authority}}
  domains: ["{{.Authority}}"]
  routes:
  - name: admin
    match: {path: /admin}
    route: {cluster: "outbound|8080||upstream.bench.svc.cluster.local"}
  - name: canary
    match:
      prefix: /
      headers:
      - name: x-canary
        string_match: {exact: "yes"}
    route: {cluster: "outbound|8080||upstream.bench.svc.cluster.local"}
  - name: rest
    match: {prefix: /}
    route:
      cluster: "outbound|8080||upstream.bench.svc.cluster.local"
{{- if .BackHTTP2}}
      timeout: 0s
{{- end}}`

// optionsConfig is the part of their cluster that says what its endpoints
// speak. Without it, that is HTTP/1.1.
const optionsConfig = `{{- if .FrontHTTP2 -}}
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    explicit_http_config: { {{- if .BackHTTP2}}http2_protocol_options{{else}}http_protocol_options{{end}}: {}}
{{- end}}`

// envoyConfig gives Envoy the same routes, power of two choices by requests
// under way, and the nearest that it has to that breaker. Its limits, which
// are on by default, are out of the way of the load.
const envoyConfig = `
static_resources:
  listeners:
  - name: outbound
    address:
      socket_address: {address: "{{host .Listen}}", port_value: {{.Port}}}
    tcp_backlog_size: 4096
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: outbound
          codec_type: AUTO
{{- if .BackHTTP2}}
          stream_idle_timeout: 0s
{{- end}}
          route_config:
            name: outbound
            virtual_hosts:
{{indent 12 .Routes}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: "outbound|8080||upstream.bench.svc.cluster.local"
    type: STATIC
    connect_timeout: 1s
    lb_policy: LEAST_REQUEST
    outlier_detection: {consecutive_5xx: 7}
    circuit_breakers:
      thresholds:
      - {max_connections: 16384, max_pending_requests: 16384, max_requests: 16384}
{{indent 4 .Options}}
    load_assignment:
      cluster_name: "outbound|8080||upstream.bench.svc.cluster.local"
      endpoints:
      - lb_endpoints:
{{- range .Upstreams}}
        - endpoint:
            address:
              socket_address: {address: "{{host .}}", port_value: {{$.UpstreamPort}}}
{{- end}}
`
