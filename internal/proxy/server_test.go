package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/snapshot"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// oneHost sends everything to one table; nil: there is no such host.
type oneHost struct{ table *route.Table }

func (h oneHost) Lookup([]byte) (*route.Table, bool) { return h.table, true }

func (h oneHost) Await(context.Context, string) (*route.Table, error) { return h.table, nil }

// anyPath sends every request to one cluster; nil: one that does not exist.
func anyPath(timeout time.Duration, cluster *upstream.Cluster) *route.Table {
	return route.SingleTable(route.NewAction("test", timeout, route.Backend{Cluster: cluster, Weight: 1}))
}

// rig is a Server in front of endpoints, on real sockets.
type rig struct {
	t       testing.TB
	server  *Server
	set     *upstream.Set
	cluster *upstream.Cluster
	addr    string
	log     *bytes.Buffer
	metrics *telemetry.Proxy
	hosts   *lateHosts // of withRoute
	drain   func()
}

// newRig starts a Server; edit may change its configuration first.
func newRig(t testing.TB, addresses []string, edit func(*ServerConfig, *upstream.Config)) *rig {
	t.Helper()
	metrics := telemetry.NewProxy(telemetry.Options{})
	logger := slog.New(slog.DiscardHandler)
	cfg := upstream.Config{
		Name: "test", Limits: breaker.UnlimitedLimits(),
		FailFast: upstream.DefaultFailFast, MaxWaiting: upstream.DefaultMaxWaiting,
	}
	for _, a := range addresses {
		cfg.Endpoints = append(cfg.Endpoints, upstream.EndpointConfig{Address: a})
	}
	var logged bytes.Buffer
	access := telemetry.NewAccessLog(&logged, telemetry.LogText, logger)
	sc := ServerConfig{
		Name: "test", Logger: logger, AccessLog: access,
		Metrics: metrics.Downstream(telemetry.Outbound, "4140"),
	}
	if edit != nil {
		edit(&sc, &cfg)
	}
	set := upstream.NewSet(upstream.SetOptions{Metrics: metrics, Logger: logger})
	cluster := set.Apply([]upstream.Config{cfg})["test"]
	if sc.Hosts == nil {
		sc.Hosts = oneHost{anyPath(0, cluster)}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, server: NewServer(sc), set: set, cluster: cluster, addr: ln.Addr().String(), log: &logged, metrics: metrics}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.server.Serve(ctx, ln); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	wg.Go(func() { _ = set.Run(ctx) })
	r.drain = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		access.Flush()
	})
	t.Cleanup(r.drain)
	return r
}

// backend is a net/http server.
func backend(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// client is a net/http client whose connections end with the test.
func client(t testing.TB) *http.Client {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func (r *rig) url(path string) string { return "http://" + r.addr + path }

func TestForwards(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		w.Header().Set("x-seen", fmt.Sprint(q.Method, " ", q.URL, " ", q.Host, " ", q.Header.Get("x-request-id") != ""))
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "got %d bytes", len(body))
	})
	r := newRig(t, []string{up}, nil)
	hc := client(t)
	for _, size := range []int{0, 10, 100_000, 3_000_000} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = strings.NewReader(strings.Repeat("x", size))
			if chunked {
				body = struct{ io.Reader }{body}
			}
			q, _ := http.NewRequest(http.MethodPost, r.url("/a?b=c"), body)
			q.Host = "bb:8080"
			resp, err := hc.Do(q)
			if err != nil {
				t.Fatalf("%d bytes, chunked %v: %v", size, chunked, err)
			}
			got, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := fmt.Sprintf("got %d bytes", size); string(got) != want || resp.StatusCode != http.StatusTeapot {
				t.Errorf("%d bytes, chunked %v: %d %q, want 418 %q", size, chunked, resp.StatusCode, got, want)
			}
			if got, want := resp.Header.Get("x-seen"), "POST /a?b=c bb:8080 true"; got != want {
				t.Errorf("the endpoint saw %q, want %q", got, want)
			}
		}
	}
}

func TestLargeAnswers(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, q *http.Request) {
		b := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		if q.URL.Path == "/length" {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		}
		_, _ = w.Write(b)
	})
	r := newRig(t, []string{up}, nil)
	hc := client(t)
	for _, path := range []string{"/length", "/chunked"} {
		resp, err := hc.Get(r.url(path))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || len(got) != 1<<20 {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
	}
}

// A body goes out behind its head in one gathered write, and what a connection
// keeps of heads does not grow with bodies.
func TestGatheredWrite(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	to, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	from, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	var want bytes.Buffer
	c := &conn{}
	for _, size := range []int{0, 1, copyMost, copyMost + 1, 12_000} {
		body := bytes.Repeat([]byte{byte(size)}, size)
		c.out = append(c.out[:0], "head"...)
		want.WriteString("head")
		want.Write(body)
		if n, err := c.gather(to, true, body); n != 4+size || err != nil {
			t.Errorf("%d bytes: wrote %d, %v", size, n, err)
		}
	}
	to.Close()
	if got, err := io.ReadAll(from); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d bytes arrived, %v, want %d in their order", len(got), err, want.Len())
	}
	if cap(c.out) > 2*copyMost {
		t.Errorf("%d bytes are kept", cap(c.out))
	}
}

func TestRefusals(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	for _, tc := range []struct {
		name   string
		hosts  Hosts
		edit   func(*upstream.Config)
		status int
		reason string
	}{
		{"no route", oneHost{}, nil, 404, "route_not_found"},
		{"no backend", oneHost{anyPath(0, nil)}, nil, 500, "cluster_not_found"},
		{"no connection", nil, nil, 503, "upstream_reset_before_response_started{connection_failure}"},
		{"no request allowed", nil, func(c *upstream.Config) { c.Limits.MaxRequests = 0 }, 503, "upstream_reset_before_response_started{overflow}"},
		{"no endpoint", nil, func(c *upstream.Config) { c.Endpoints, c.FailFast = nil, 0 }, 503, "no_healthy_upstream"},
		{"nobody may wait", nil, func(c *upstream.Config) { c.Endpoints, c.MaxWaiting = nil, 0 }, 503, "no_healthy_upstream{too_many_waiting}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, []string{dead.Addr().String()}, func(s *ServerConfig, c *upstream.Config) {
				s.Hosts = tc.hosts
				if tc.edit != nil {
					tc.edit(c)
				}
			})
			hc := client(t)
			for range 2 { // the connection goes on
				resp, err := hc.Get(r.url("/"))
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != tc.status || resp.Header.Get("recloser-reason") != tc.reason || len(body) == 0 {
					t.Errorf("%d %q %q, want %d %q and a text", resp.StatusCode, resp.Header.Get("recloser-reason"), body, tc.status, tc.reason)
				}
				if over := resp.Header.Get("x-envoy-overloaded"); (over == "true") != strings.Contains(tc.reason, "overflow") {
					t.Errorf("x-envoy-overloaded %q", over)
				}
			}
		})
	}
}

// unknownHost is of which nothing is known, and asking ends with err.
type unknownHost struct{ err error }

func (h unknownHost) Lookup([]byte) (*route.Table, bool) { return nil, false }

func (h unknownHost) Await(context.Context, string) (*route.Table, error) { return nil, h.err }

func TestRefusalsOfUnknownHosts(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
		reason string
	}{
		{snapshot.ErrNoHost, 404, "route_not_found"},
		{context.DeadlineExceeded, 503, "no_answer_from_control_plane"},
		{snapshot.ErrTooManyHosts, 503, "overload"},
	} {
		r := newRig(t, nil, func(s *ServerConfig, _ *upstream.Config) { s.Hosts = unknownHost{tc.err} })
		resp, err := client(t).Get(r.url("/"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("recloser-reason"); resp.StatusCode != tc.status || got != tc.reason {
			t.Errorf("%v: %d %q, want %d %q", tc.err, resp.StatusCode, got, tc.status, tc.reason)
		}
	}
}

func TestRefusalOfGRPC(t *testing.T) {
	r := newRig(t, nil, func(_ *ServerConfig, c *upstream.Config) { c.FailFast = 0 })
	q, _ := http.NewRequest(http.MethodPost, r.url("/x.Y/Z"), nil)
	q.Header.Set("Content-Type", "application/grpc+proto")
	resp, err := client(t).Do(q)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	h := resp.Header
	if resp.StatusCode != 200 || h.Get("grpc-status") != "14" || h.Get("grpc-message") == "" || h.Get("recloser-reason") != "no_healthy_upstream" {
		t.Errorf("%d %v, want 200 with grpc-status 14, a message and the reason", resp.StatusCode, h)
	}
}

func TestRouteTimeout(t *testing.T) {
	release := make(chan struct{})
	up := backend(t, func(http.ResponseWriter, *http.Request) { <-release })
	t.Cleanup(func() { close(release) })
	hosts := &lateHosts{}
	r := newRig(t, []string{up}, func(s *ServerConfig, _ *upstream.Config) { s.Hosts = hosts })
	hosts.table.Store(anyPath(50*time.Millisecond, r.cluster))
	resp, err := client(t).Get(r.url("/"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 504 || resp.Header.Get("recloser-reason") != "upstream_response_timeout" {
		t.Errorf("%d %q, want 504", resp.StatusCode, resp.Header.Get("recloser-reason"))
	}
}

// lateHosts is filled in after the rig is made.
type lateHosts struct{ table atomic.Pointer[route.Table] }

func (h *lateHosts) Lookup([]byte) (*route.Table, bool) { return h.table.Load(), true }

func (h *lateHosts) Await(context.Context, string) (*route.Table, error) {
	return h.table.Load(), nil
}

// rawBackend answers each request head with the same bytes, without net/http,
// so that what is measured is the proxy.
func rawBackend(t testing.TB, answer string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				b, out := make([]byte, 4096), []byte(answer)
				for {
					if n, err := c.Read(b); err != nil || !bytes.HasSuffix(b[:n], []byte("\r\n\r\n")) {
						return
					}
					if _, err := c.Write(out); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

func answerWith(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: raw\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

var smallAnswer = answerWith("hello")

// pair is one keep-alive exchange after the other through the proxy.
type pair struct {
	c net.Conn
	b []byte
}

func newPair(t testing.TB, addr string) *pair {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &pair{c, make([]byte, 16<<10)}
}

var smallRequest = []byte("GET /x HTTP/1.1\r\nHost: bb:8080\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n")

func (p *pair) exchange(t testing.TB) {
	if _, err := p.c.Write(smallRequest); err != nil {
		t.Fatal(err)
	}
	for got := 0; !bytes.HasSuffix(p.b[:got], []byte("hello")); {
		n, err := p.c.Read(p.b[got:])
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
}

func TestNoAllocationPerRequest(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for name, body := range map[string]string{"small": "hello", "large": strings.Repeat("x", 12_000) + "hello"} {
		t.Run(name, func(t *testing.T) { noAllocation(t, answerWith(body)) })
	}
}

func noAllocation(t *testing.T, answer string) {
	up := rawBackend(t, answer)
	r := newRig(t, []string{up}, func(s *ServerConfig, c *upstream.Config) {
		s.AccessLog = nil
		c.Breaker = breaker.LinkerdUnified()
	})
	p := newPair(t, r.addr)
	for range 100 {
		p.exchange(t)
	}
	var before, after runtime.MemStats
	const rounds = 2000
	runtime.ReadMemStats(&before)
	for range rounds {
		p.exchange(t)
	}
	runtime.ReadMemStats(&after)
	// The sweeper's ticks and the runtime itself allocate now and then.
	if got := after.Mallocs - before.Mallocs; got > rounds/20 {
		t.Errorf("%d allocations in %d exchanges, want none in the steady state", got, rounds)
	}
}

func BenchmarkExchange(b *testing.B) {
	up := rawBackend(b, smallAnswer)
	r := newRig(b, []string{up}, func(s *ServerConfig, c *upstream.Config) {
		s.AccessLog = nil
		c.Breaker = breaker.LinkerdUnified()
	})
	for name, addr := range map[string]string{"direct": up, "proxied": r.addr} {
		b.Run(name, func(b *testing.B) {
			p := newPair(b, addr)
			p.exchange(b)
			b.ReportAllocs()
			for b.Loop() {
				p.exchange(b)
			}
		})
	}
}

func TestAccessLogLine(t *testing.T) {
	up := rawBackend(t, smallAnswer)
	r := newRig(t, []string{up}, nil)
	newPair(t, r.addr).exchange(t)
	r.drain()
	line, err := bufio.NewReader(r.log).ReadString('\n')
	if err != nil || !strings.Contains(line, `"GET /x HTTP/1.1" 200 - via_upstream`) || !strings.Contains(line, `"bb:8080" "`+up+`" test`) {
		t.Errorf("access log line %q, %v", line, err)
	}
}
