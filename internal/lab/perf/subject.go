package perf

import (
	"bytes"
	"fmt"
	"net"
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

// ours is the program that all this is for: without it there is nothing to
// measure.
const ours = "recloser-proxy"

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
	UpstreamPort string
	Authority    string
	Answer       string
	Connections  int // how many connections to the upstream it must be able to keep

	FrontHTTP2, BackHTTP2 bool // what the client and the upstream speak; else HTTP/1.1

	Routes, Options string // filled by prepare: routesConfig, optionsConfig
}

// subjects, in no order: that is traffic's. All have keep-alive on both sides,
// two endpoints to choose from (two addresses of the one upstream), one thread
// that does the work, and no access log.
var subjects = []subject{
	{
		name:    "recloser",
		what:    "recloser-proxy, GOMAXPROCS=1; three routes, P2C, breaker, metrics",
		program: ours,
		args:    []string{"--resources", "{{.Config}}", "--outbound", "{{.Listen}}", "--admin", "{{.Admin}}", "--log-level", "warn"},
		env:     []string{"GOMAXPROCS=1"},
		config:  recloserConfig,
		file:    "resources.yaml",
	},
	{
		name:    "recloser-all",
		what:    "the same with Go's default GOMAXPROCS, on all processors",
		program: ours,
		args:    []string{"--resources", "{{.Config}}", "--outbound", "{{.Listen}}", "--admin", "{{.Admin}}", "--log-level", "warn"},
		config:  recloserConfig,
		file:    "resources.yaml",
		free:    true,
	},
	{
		name:    "nginx",
		what:    "one worker, proxy_pass or grpc_pass to an upstream block with keepalive",
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
		name:    "nghttpx",
		what:    "one worker thread, header fields of its own switched off",
		program: "nghttpx",
		args:    []string{"--conf={{.Config}}"},
		config:  nghttpxConfig,
		file:    "nghttpx.conf",
	},
	{
		name:    "envoy",
		what:    "one worker thread, the same routes, LEAST_REQUEST, outlier detection",
		program: "envoy",
		args:    []string{"--config-path", "{{.Config}}", "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"},
		config:  envoyConfig,
		file:    "envoy.yaml",
	},
	{
		name:    "reverseproxy",
		what:    "httputil.ReverseProxy of Go's standard library, GOMAXPROCS=1",
		program: "reverseproxy",
		args:    []string{"--listen", "{{.Listen}}", "--upstreams", `{{join .Upstreams ","}}`},
		env:     []string{"GOMAXPROCS=1"},
	},
}

// origins are the upstreams, by the program that they are.
var origins = []subject{
	{
		name:    "nginx",
		program: "nginx",
		args:    []string{"-p", "{{.Dir}}", "-e", "{{.Dir}}/error.log", "-c", "{{.Config}}"},
		config:  originConfig,
		file:    "nginx.conf",
	},
	{
		name:    "grpcpeer",
		program: "grpcpeer",
		args:    []string{"serve", `{{join .Upstreams ","}}`},
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

// named returns the one of list, which has it: Validate knows the names.
func named(list []subject, name string) *subject {
	for i := range list {
		if list[i].name == name {
			return &list[i]
		}
	}
	panic("perf: no subject " + name)
}

// prepare writes the subject's configuration below p.Dir and returns the
// arguments to start it with.
func (s *subject) prepare(p params) ([]string, error) {
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return nil, err
	}
	if s.config != "" {
		text, err := s.configuration(p)
		if err != nil {
			return nil, err
		}
		p.Config = filepath.Join(p.Dir, s.file)
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

// configuration returns the text of the subject's file.
func (s *subject) configuration(p params) (string, error) {
	var err error
	if p.Routes, err = fill(routesConfig, p); err != nil {
		return "", err
	}
	if p.Options, err = fill(optionsConfig, p); err != nil {
		return "", err
	}
	return fill(s.config, p)
}

func fill(text string, p params) (string, error) {
	funcs := template.FuncMap{"host": host, "indent": indent, "join": strings.Join}
	t, err := template.New("").Funcs(funcs).Option("missingkey=error").Parse(text)
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

// host returns the host of HOST:PORT.
func host(hostport string) (string, error) {
	h, _, err := net.SplitHostPort(hostport)
	return h, err
}

// indent puts n spaces before each line of text that is not empty.
func indent(n int, text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = strings.Repeat(" ", n) + line
		}
	}
	return strings.Join(lines, "\n")
}
