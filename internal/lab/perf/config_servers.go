package perf

// nginxConfig is nginx as a subject: gRPC goes through the module of its own
// that nginx has for it.
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
    listen {{.Listen}}{{if .FrontHTTP2}} http2{{end}} backlog=4096;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_timeout 1h;
    location / {
{{- if .BackHTTP2}}
      client_max_body_size 0;
      grpc_read_timeout 1h;
      grpc_send_timeout 1h;
      grpc_pass grpc://upstream;
      grpc_set_header Host $http_host;
{{- else}}
      proxy_pass http://upstream;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
{{- end}}
    }
  }
}
`

// originConfig is nginx as the upstream, because nothing answers cheaper.
const originConfig = `
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
    listen {{.}}{{if $.BackHTTP2}} http2{{end}} backlog=4096;
{{- end}}
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    default_type text/plain;
    location / { return 200 "{{.Answer}}"; }
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
  bind {{.Listen}} backlog 4096{{if .FrontHTTP2}} proto h2{{end}}
  default_backend out
backend out
  balance roundrobin
{{- range $i, $u := .Upstreams}}
  server s{{$i}} {{$u}}{{if $.BackHTTP2}} proto h2{{end}}
{{- end}}
`

// nghttpxConfig leaves out the header fields that nghttpx adds and no other
// subject does.
const nghttpxConfig = `
frontend={{host .Listen}},{{.Port}};no-tls
{{- range .Upstreams}}
backend={{host .}},{{$.UpstreamPort}};;{{if $.BackHTTP2}}proto=h2{{else}}proto=http/1.1{{end}}
{{- end}}
workers=1
single-process=yes
backlog=4096
rlimit-nofile=20000
accesslog-file=
errorlog-file=/dev/stderr
no-via=yes
no-add-x-forwarded-proto=yes
no-server-rewrite=yes
no-location-rewrite=yes
frontend-http2-read-timeout=1h
frontend-read-timeout=1h
frontend-keep-alive-timeout=1h
backend-read-timeout=1h
backend-keep-alive-timeout=1h
`
