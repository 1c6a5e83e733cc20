package proxy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/template"
	"time"
)

// runRig is a whole proxy in this process, in file mode, on real sockets.
type runRig struct {
	t     *testing.T
	path  string // of the resources
	admin string
	hc    *http.Client
	stop  context.CancelFunc
	done  chan error
}

// resources is what the template of the resources file is made from.
type resources struct {
	Outbound, Inbound string // ports; empty: no such listener
	Idle              string // of the outbound listener's callers; empty: not set
	Endpoint          string // port of the service bb
	App               string // port behind the inbound listener
	Inspect           bool   // the inbound listener looks at first bytes, and takes all
	Bytes             bool   // the inbound listener takes bytes alone
}

var resourcesTemplate = template.Must(template.New("").Parse(`
{{- define "listener" }}
  address: {socket_address: {address: 127.0.0.1, port_value: {{.}}}}
{{- end -}}
resources:
{{- if .Outbound}}
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: outbound
  {{- template "listener" .Outbound}}
  filter_chains:
  - filters:
    - name: hcm
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        {{if .Idle}}common_http_protocol_options: {idle_timeout: {{.Idle}}}{{end}}
        rds: {route_config_name: outbound}
- "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
  name: outbound
  vhds: {}
- "@type": type.googleapis.com/envoy.config.route.v3.VirtualHost
  name: bb
  domains: ["bb:8080"]
  routes: [{match: {prefix: /}, route: {cluster: "outbound|8080||bb.demo"}}]
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: "outbound|8080||bb.demo"
  type: EDS
- "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
  cluster_name: "outbound|8080||bb.demo"
  endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.Endpoint}}}}}}]}]
{{- end}}
{{- if .Inbound}}
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: inbound|8080
  traffic_direction: INBOUND
  {{- template "listener" .Inbound}}
{{- if .Inspect}}
  listener_filters:
  - {name: http, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector}}
  continue_on_listener_filters_timeout: true
{{- end}}
{{- if or .Inspect .Bytes}}
  default_filter_chain:
    filters:
    - name: tcp
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
        stat_prefix: bytes
        cluster: "inbound|8080||"
{{- end}}
{{- if not .Bytes}}
  filter_chains:
  - {{if .Inspect}}filter_chain_match: {application_protocols: [http/1.0, http/1.1, h2c]}
    {{end}}filters:
    - name: hcm
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
        route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: "inbound|8080||"}}]}]}
{{- end}}
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: "inbound|8080||"
  type: STATIC
  load_assignment: {endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.App}}}}}}]}]}
{{- end}}
`))

func startRun(t *testing.T, first resources, edit func(*Config)) *runRig {
	t.Helper()
	r := &runRig{t: t, path: filepath.Join(t.TempDir(), "resources.yaml"), admin: "127.0.0.1:" + freePort(t), hc: client(t), done: make(chan error, 1)}
	r.write(first)
	cfg := DefaultConfig()
	cfg.Resources, cfg.Admin, cfg.DrainTimeout = r.path, r.admin, 20*time.Second
	cfg.Timeouts.DrainIdle = 10 * time.Millisecond
	cfg.Logger = slog.New(slog.DiscardHandler)
	if edit != nil {
		edit(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.done <- Run(ctx, cfg) }()
	t.Cleanup(func() {
		cancel()
		r.hc.CloseIdleConnections()
		r.ended()
	})
	return r
}

// ended waits for Run and tells it again to the next that asks.
func (r *runRig) ended() {
	r.t.Helper()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("Run: %v", err)
		}
		r.done <- nil
	case <-time.After(25 * time.Second):
		r.t.Fatal("Run does not end")
	}
}

func (r *runRig) write(res resources) {
	r.t.Helper()
	var b strings.Builder
	if err := resourcesTemplate.Execute(&b, res); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.path+".new", []byte(b.String()), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(r.path+".new", r.path); err != nil {
		r.t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return portOf(ln.Addr().String())
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// get asks for an authority at a port of 127.0.0.1; 0: no connection.
func (r *runRig) get(port, authority string) (int, string) {
	q, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:"+port+"/", http.NoBody)
	if err != nil {
		r.t.Fatal(err)
	}
	q.Host = authority
	resp, err := r.hc.Do(q)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// until waits until a condition holds.
func (r *runRig) until(what string, ok func() bool) {
	r.t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	late := time.After(15 * time.Second)
	for !ok() {
		select {
		case <-poll.C:
		case <-late:
			r.t.Fatalf("never: %s", what)
		}
	}
}

func (r *runRig) ready() bool {
	resp, err := r.hc.Get("http://" + r.admin + "/ready")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func named(t *testing.T, name string) string {
	t.Helper()
	return portOf(backend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
}

func TestRunServesBothSides(t *testing.T) {
	res := resources{Outbound: freePort(t), Inbound: freePort(t), Endpoint: named(t, "bb"), App: named(t, "app")}
	r := startRun(t, res, nil)
	r.until("ready", r.ready)
	for _, tt := range []struct {
		port, authority string
		status          int
		body            string
	}{
		{res.Outbound, "bb:8080", 200, "bb"},
		{res.Outbound, "BB:8080", 200, "bb"},
		{res.Outbound, "other", 404, "no route matches"},
		{res.Inbound, "whatever", 200, "app"},
	} {
		if code, body := r.get(tt.port, tt.authority); code != tt.status || !strings.Contains(body, tt.body) {
			t.Errorf("%s at %s: %d %q", tt.authority, tt.port, code, body)
		}
	}
	for _, want := range []string{
		`request_total{addr="127.0.0.1:` + res.Endpoint + `",direction="outbound",dst_namespace="demo",dst_port="8080",dst_service="bb"} 2`,
		`response_total{classification="success",direction="inbound",port="8080",status_code="200"} 1`,
		`recloser_refused_total{direction="outbound",flag="NR",reason="route_not_found"} 1`,
	} {
		// A response is counted just after its last byte went out.
		r.until("metrics have "+want, func() bool { return strings.Contains(r.metrics(), want) })
	}
}

func (r *runRig) metrics() string {
	r.t.Helper()
	resp, err := r.hc.Get("http://" + r.admin + "/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return string(text)
}

func TestRunFollowsChangesWithoutAFailedRequest(t *testing.T) {
	res := resources{Outbound: freePort(t), Endpoint: named(t, "old")}
	r := startRun(t, res, nil)
	r.until("ready", r.ready)
	var failed atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for ctx.Err() == nil {
				if code, body := r.get(res.Outbound, "bb:8080"); code != 200 {
					failed.Add(1)
					t.Errorf("%d %s", code, body)
				}
			}
		})
	}
	answers := func(want string) func() bool {
		return func() bool { _, body := r.get(res.Outbound, "bb:8080"); return body == want }
	}
	res.Endpoint = named(t, "new")
	r.write(res) // an endpoint leaves, another comes
	r.until("the new endpoint answers", answers("new"))
	res.Idle = "30s"
	r.write(res) // the listener's settings change: its socket is handed on
	res.Endpoint = named(t, "newer")
	r.write(res)
	r.until("the newer endpoint answers", answers("newer"))
	cancel()
	callers.Wait()
	if failed.Load() != 0 {
		t.Errorf("%d requests failed", failed.Load())
	}
}

func TestRunMovesAndRemovesListeners(t *testing.T) {
	res := resources{Outbound: freePort(t), Endpoint: named(t, "bb"), Inbound: freePort(t), App: named(t, "app")}
	r := startRun(t, res, nil)
	r.until("ready", r.ready)
	old := res.Inbound
	res.Inbound = freePort(t)
	r.write(res)
	r.until("it moved", func() bool { code, _ := r.get(res.Inbound, "x"); return code == 200 })
	r.hc.CloseIdleConnections()
	r.until("the old address is left", func() bool { code, _ := r.get(old, "x"); return code == 0 })
	moved := res.Inbound
	res.Inbound = ""
	r.write(res)
	r.hc.CloseIdleConnections()
	r.until("it is gone", func() bool { code, _ := r.get(moved, "x"); return code == 0 })
	if code, _ := r.get(res.Outbound, "bb:8080"); code != 200 {
		t.Errorf("the other listener: %d", code)
	}
}

func TestRunWaitsForAnAddressThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	res := resources{Outbound: portOf(taken.Addr().String()), Endpoint: named(t, "bb")}
	r := startRun(t, res, nil)
	r.until("the reason is told", func() bool {
		resp, err := r.hc.Get("http://" + r.admin + "/ready")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(body), `listener "outbound"`)
	})
	taken.Close()
	r.until("ready", r.ready)
}

func TestRunOutboundFlag(t *testing.T) {
	res := resources{Outbound: freePort(t), Endpoint: named(t, "bb")}
	port := freePort(t)
	r := startRun(t, res, func(c *Config) { c.Outbound = "127.0.0.1:" + port })
	r.until("ready", r.ready)
	if code, _ := r.get(port, "bb:8080"); code != 200 {
		t.Errorf("at the flag's address: %d", code)
	}
	if code, _ := r.get(res.Outbound, "bb:8080"); code != 0 {
		t.Errorf("at the resource's address: %d", code)
	}
}

func TestRunDrains(t *testing.T) {
	for _, how := range []string{"signal", "admin"} {
		t.Run(how, func(t *testing.T) {
			began, goOn := make(chan struct{}), make(chan struct{})
			out := named(t, "called")
			var r *runRig
			res := resources{Outbound: freePort(t), Inbound: freePort(t), Endpoint: out}
			app := backend(t, func(w http.ResponseWriter, _ *http.Request) {
				close(began)
				<-goOn
				// The program still calls others while it finishes.
				code, body := r.get(res.Outbound, "bb:8080")
				fmt.Fprintf(w, "%d %s", code, body)
			})
			res.App = portOf(app)
			r = startRun(t, res, nil)
			r.until("ready", r.ready)
			got := make(chan string, 1)
			go func() {
				code, body := r.get(res.Inbound, "x")
				got <- fmt.Sprint(code, " ", body)
			}()
			<-began
			if how == "signal" {
				r.stop()
			} else {
				resp, err := r.hc.Post("http://"+r.admin+"/shutdown", "", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
			}
			r.until("not ready any more", func() bool { return !r.ready() })
			close(goOn)
			if answer := <-got; answer != "200 200 called" {
				t.Errorf("the request under way got %q", answer)
			}
			r.hc.CloseIdleConnections()
			r.ended()
		})
	}
}

func TestRunEndsTheDrainInTime(t *testing.T) {
	began, never := make(chan struct{}), make(chan struct{})
	app := backend(t, func(_ http.ResponseWriter, q *http.Request) {
		close(began)
		select {
		case <-q.Context().Done():
		case <-never:
		}
	})
	t.Cleanup(func() { close(never) })
	res := resources{Inbound: freePort(t), App: portOf(app)}
	r := startRun(t, res, func(c *Config) { c.DrainTimeout = 50 * time.Millisecond })
	r.until("ready", r.ready)
	got := make(chan int, 1)
	go func() {
		code, _ := r.get(res.Inbound, "x")
		got <- code
	}()
	<-began
	r.stop()
	r.ended()
	if code := <-got; code == http.StatusOK {
		t.Error("a request that never ended was answered")
	}
}

func TestRunSaysWhatIsWrongAtTheStart(t *testing.T) {
	cfg := DefaultConfig()
	if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "exactly one") {
		t.Errorf("no source: %v", err)
	}
	cfg.Resources, cfg.Admin = filepath.Join(t.TempDir(), "missing.yaml"), "127.0.0.1:0"
	if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "missing.yaml") {
		t.Errorf("no file: %v", err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg.Admin = taken.Addr().String()
	if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "admin port") {
		t.Errorf("admin port taken: %v", err)
	}
}

// What is under way on a listener that changes goes on, however short the drain
// timeout is: that is for the proxy's own end.
func TestRunStreamsOutliveAChangedListener(t *testing.T) {
	echo := startUpstream(t, func(p *peer, _ int) { _, _ = io.Copy(p.Conn, p.br) })
	var logged logCount
	res := resources{Outbound: freePort(t), Endpoint: portOf(echo.addr)}
	r := startRun(t, res, func(c *Config) {
		c.DrainTimeout = time.Millisecond
		c.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	})
	r.until("ready", r.ready)
	p := dial(t, "127.0.0.1:"+res.Outbound)
	p.send("CONNECT bb:8080 HTTP/1.1\r\nHost: bb:8080\r\n\r\n")
	if head := p.head(); !strings.HasPrefix(head, "HTTP/1.1 200") {
		t.Fatal(head)
	}
	res.Idle = "30s"
	r.write(res)
	r.until("the changed listener is served", func() bool { return logged.of("listener serves") == 2 })
	for i := range 500 {
		p.send("x")
		if b, err := p.br.ReadByte(); b != 'x' || err != nil {
			t.Fatalf("after %d bytes: %v", i, err)
		}
	}
}

// logCount counts lines of a log.
type logCount struct {
	mu    sync.Mutex
	lines []string
}

func (l *logCount) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(b))
	return len(b), nil
}

func (l *logCount) of(what string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, what) {
			n++
		}
	}
	return n
}
