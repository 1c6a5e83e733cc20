package perf

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// authority is the Host that every request carries, so that a subject has
// something to route by.
const authority = "upstream.bench.svc.cluster.local:8080"

// answer is the upstream's body: small, as those of services that call each
// other often are, so that what is measured is the cost of a request and not
// of its bytes.
const answer = "Recloser measures this very sentence, again.\n"

// baseline is the subject that ratios are taken against.
const baseline = "haproxy"

// A subject is one kind of proxy to measure: how it is configured and started.
type subject struct {
	name    string
	what    string // a line for the report
	program string
	args    []string // templates over params
	env     []string
	config  string // template over params; written to params.Config
	file    string // its name
	free    bool   // not pinned: it may use every processor
}

// params fill the templates.
type params struct {
	Config, Dir  string // the written configuration; the subject's own folder
	Listen       string // HOST:PORT to listen on
	Port         string // PORT of Listen
	Admin        string // HOST:PORT for administration
	Upstreams    []string
	Authority    string
	Answer       string
	Connections  int // how many connections it must be able to hold
	UpstreamPort string
}

// subjects, in the order in which they are measured and printed. All have
// keep-alive on both sides, two endpoints to choose from (two addresses of the
// one upstream), and no access log.
var subjects = []subject{
	{
		name:    "recloser",
		what:    "recloser-proxy, GOMAXPROCS=1; three routes, P2C, breaker, metrics",
		program: "recloser-proxy",
		args:    []string{"--resources", "{{.Config}}", "--outbound", "{{.Listen}}", "--admin", "{{.Admin}}", "--log-level", "warn"},
		env:     []string{"GOMAXPROCS=1"},
		config:  recloserConfig,
		file:    "resources.yaml",
	},
	{
		name:    "recloser-all",
		what:    "the same with Go's default GOMAXPROCS, on all processors",
		program: "recloser-proxy",
		args:    []string{"--resources", "{{.Config}}", "--outbound", "{{.Listen}}", "--admin", "{{.Admin}}", "--log-level", "warn"},
		config:  recloserConfig,
		file:    "resources.yaml",
		free:    true,
	},
	{
		name:    "nginx",
		what:    "one worker, proxy_pass to an upstream block with keepalive",
		program: "nginx",
		args:    []string{"-p", "{{.Dir}}", "-e", "{{.Dir}}/error.log", "-c", "{{.Config}}"},
		config:  nginxConfig,
		file:    "nginx.conf",
	},
	{
		name:    "haproxy",
		what:    "one thread, HTTP mode, http-reuse always",
		program: "haproxy",
		args:    []string{"-db", "-q", "-f", "{{.Config}}"},
		config:  haproxyConfig,
		file:    "haproxy.cfg",
	},
	{
		name:    "reverseproxy",
		what:    "httputil.ReverseProxy of Go's standard library, GOMAXPROCS=1",
		program: "reverseproxy",
		args:    []string{"--listen", "{{.Listen}}", "--upstreams", `{{range $i, $u := .Upstreams}}{{if $i}},{{end}}{{$u}}{{end}}`},
		env:     []string{"GOMAXPROCS=1"},
	},
}

// Names returns the subjects that can be measured, in order.
func Names() []string {
	names := make([]string, len(subjects))
	for i, s := range subjects {
		names[i] = s.name
	}
	return names
}

// subjectNamed returns one of Names.
func subjectNamed(name string) *subject {
	for i := range subjects {
		if subjects[i].name == name {
			return &subjects[i]
		}
	}
	panic("perf: no subject " + name) // Validate knows the names
}

// prepare writes the subject's configuration below p.Dir and returns the
// arguments to start it with.
func (s *subject) prepare(p params) ([]string, error) {
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return nil, err
	}
	if s.config != "" {
		p.Config = filepath.Join(p.Dir, s.file)
		text, err := fill(s.config, p)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(p.Config, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	args := make([]string, len(s.args))
	for i, a := range s.args {
		var err error
		if args[i], err = fill(a, p); err != nil {
			return nil, err
		}
	}
	return args, nil
}

func fill(text string, p params) (string, error) {
	t, err := template.New("").Funcs(template.FuncMap{"host": host}).Option("missingkey=error").Parse(text)
	if err != nil {
		return "", fmt.Errorf("template %q: %w", first(text), err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return "", fmt.Errorf("template %q: %w", first(text), err)
	}
	return b.String(), nil
}

// first returns the first line of text, to name it by.
func first(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// upstreamConfig is the upstream: nginx too, because nothing answers cheaper.
const upstreamConfig = `
daemon off;
worker_processes 1;
worker_rlimit_nofile 32768;
pid {{.Dir}}/pid;
error_log {{.Dir}}/error.log crit;
events { worker_connections 16384; }
http {
  access_log off;
  server {
{{- range .Upstreams}}
    listen {{.}} backlog=4096;
{{- end}}
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    default_type text/plain;
    location / { return 200 "{{.Answer}}"; }
  }
}
`

const nginxConfig = `
daemon off;
worker_processes 1;
worker_rlimit_nofile 32768;
pid {{.Dir}}/pid;
error_log {{.Dir}}/error.log crit;
events { worker_connections 16384; }
http {
  access_log off;
  client_body_temp_path {{.Dir}}/body;
  proxy_temp_path {{.Dir}}/proxy;
  fastcgi_temp_path {{.Dir}}/fastcgi;
  uwsgi_temp_path {{.Dir}}/uwsgi;
  scgi_temp_path {{.Dir}}/scgi;
  upstream upstream {
{{- range .Upstreams}}
    server {{.}};
{{- end}}
    keepalive {{.Connections}};
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }
  server {
    listen {{.Listen}} backlog=4096;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    location / {
      proxy_pass http://upstream;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
    }
  }
}
`

const haproxyConfig = `
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
  option http-keep-alive
  http-reuse always
frontend in
  bind {{.Listen}} backlog 4096
  default_backend out
backend out
  balance roundrobin
{{- range $i, $u := .Upstreams}}
  server s{{$i}} {{$u}}
{{- end}}
`

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
  - name: {{.Authority}}
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
      route: {cluster: "outbound|8080||upstream.bench.svc.cluster.local"}
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: "outbound|8080||upstream.bench.svc.cluster.local"
  type: EDS
  eds_cluster_config:
    eds_config: {ads: {}, resource_api_version: V3}
  connect_timeout: 1s
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

// host returns the host of HOST:PORT.
func host(hostport string) string {
	h, _, _ := strings.Cut(hostport, ":")
	return h
}
