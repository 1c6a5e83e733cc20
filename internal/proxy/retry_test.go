package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/balance"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// withRoute starts a rig whose one route is what edit makes of it.
func withRoute(t testing.TB, addresses []string, cluster func(*ServerConfig, *upstream.Config), edit func(*route.Action)) *rig {
	t.Helper()
	hosts := &lateHosts{}
	r := newRig(t, addresses, func(s *ServerConfig, c *upstream.Config) {
		s.Hosts = hosts
		c.LB = balance.RoundRobin // a retry's endpoint is not a matter of luck
		if cluster != nil {
			cluster(s, c)
		}
	})
	r.hosts = hosts
	r.routes(edit)
	return r
}

// routes makes the rig's one route what edit makes of it.
func (r *rig) routes(edit func(*route.Action)) {
	action := route.NewAction("test", 0, route.Backend{Cluster: r.cluster, Weight: 1})
	edit(action)
	r.hosts.table.Store(route.SingleTable(action))
}

// metric is the sum of the series of a metric that have all these labels.
func (r *rig) metric(t testing.TB, name string, labels ...string) (sum int) {
	t.Helper()
	w := httptest.NewRecorder()
	r.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
series:
	for line := range strings.Lines(w.Body.String()) {
		rest, ok := strings.CutPrefix(line, name+"{")
		if !ok {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue series
			}
		}
		var n float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, ' ')+1:], &n); err != nil {
			t.Fatal(err)
		}
		sum += int(n)
	}
	return sum
}

// retrying is a policy without pauses to speak of.
func retrying(attempts uint32, on string) *route.Retry {
	conditions, statuses, err := route.ParseRetryOn(on)
	if err != nil {
		panic(err)
	}
	return &route.Retry{On: conditions, Statuses: statuses, Attempts: attempts, BackoffBase: time.Nanosecond}
}

// pairs runs a test for each pair of what the caller and the endpoint speak.
func pairs(t *testing.T, f func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol)) {
	t.Helper()
	for _, down := range []int{1, 2} {
		for _, up := range []int{1, 2} {
			t.Run(fmt.Sprintf("%d to %d", down, up), func(t *testing.T) {
				hc := client(t)
				if down == 2 {
					hc = client2(t)
				}
				if up == 2 {
					f(t, hc, backend2, upstream.HTTP2)
				} else {
					f(t, hc, backend, upstream.HTTP1)
				}
			})
		}
	}
}

// sightings are what endpoints saw.
type sightings struct {
	mu   sync.Mutex
	list []string
}

func (s *sightings) add(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, fmt.Sprintf(format, args...))
}

func (s *sightings) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.list...)
}

// ask is one request; body may be nil.
func ask(t testing.TB, hc *http.Client, method, url string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	q, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	resp, err := hc.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%d after %q: %v", resp.StatusCode, b, err)
	}
	return resp, string(b)
}

// streaming hides a reader's length.
func streaming(b []byte) io.Reader { return struct{ io.Reader }{bytes.NewReader(b)} }

// A request whose first endpoints fail gets the answer of one that does not,
// with all of its body, and each endpoint is told which try it sees.
func TestRetryReachesAnotherEndpoint(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		for _, size := range []int{0, 10, 5000, 60_000} {
			for _, stream := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d bytes, streaming %v", size, stream), func(t *testing.T) {
					var tries atomic.Int32
					var saw sightings
					h := func(w http.ResponseWriter, q *http.Request) {
						n := tries.Add(1)
						b, err := io.ReadAll(q.Body)
						saw.add("%d %v %s", len(b), err, q.Header.Get("x-envoy-attempt-count"))
						if n < 3 {
							w.WriteHeader(503)
							return
						}
						_, _ = w.Write(b)
					}
					r := withRoute(t, []string{serve(t, h), serve(t, h), serve(t, h)}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = p },
						func(a *route.Action) { a.Retry = retrying(2, "5xx") })
					sent := []byte(pattern(size))
					var body io.Reader = bytes.NewReader(sent)
					if stream {
						body = streaming(sent)
					}
					resp, got := ask(t, hc, http.MethodPut, r.url("/x"), body, "x-envoy-attempt-count", "7")
					if resp.StatusCode != 200 || got != string(sent) {
						t.Errorf("%d with %d bytes", resp.StatusCode, len(got))
					}
					want := []string{fmt.Sprint(size, " <nil> 1"), fmt.Sprint(size, " <nil> 2"), fmt.Sprint(size, " <nil> 3")}
					if got := saw.all(); fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("endpoints saw %q, want %q", got, want)
					}
					if n := r.cluster.Limits().InFlight(); n.Retries != 0 {
						eventually(t, "no retry in flight", func() bool { return r.cluster.Limits().InFlight().Retries == 0 })
					}
				})
			}
		}
	})
}

// Which answers and which requests are tried again.
func TestRetryConditions(t *testing.T) {
	for _, tt := range []struct {
		name   string
		on     string
		status int
		method string
		header []string
		any    bool
		again  bool
	}{
		{"5xx", "5xx", 500, "GET", nil, false, true},
		{"599", "5xx", 599, "GET", nil, false, true},
		{"success", "5xx", 404, "GET", nil, false, false},
		{"gateway error", "gateway-error", 502, "GET", nil, false, true},
		{"no gateway's", "gateway-error", 500, "GET", nil, false, false},
		{"409", "retriable-4xx", 409, "GET", nil, false, true},
		{"another 4xx", "retriable-4xx", 408, "GET", nil, false, false},
		{"listed", "429,503", 429, "GET", nil, false, true},
		{"not listed", "429,503", 500, "GET", nil, false, false},
		{"reset is no status", "reset,connect-failure", 503, "GET", nil, false, false},
		{"POST", "5xx", 503, "POST", nil, false, false},
		{"PATCH", "5xx", 503, "PATCH", nil, false, false},
		{"POST, any method", "5xx", 503, "POST", nil, true, true},
		{"POST with a key", "5xx", 503, "POST", []string{"Idempotency-Key", "1"}, false, true},
		{"DELETE", "5xx", 503, "DELETE", nil, false, true},
		{"gRPC is not HTTP", "unavailable", 503, "GET", nil, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
				var tries atomic.Int32
				h := func(w http.ResponseWriter, _ *http.Request) {
					tries.Add(1)
					w.WriteHeader(tt.status)
					_, _ = io.WriteString(w, "why")
				}
				r := withRoute(t, []string{serve(t, h)}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = p }, func(a *route.Action) {
					a.Retry = retrying(1, tt.on)
					a.Retry.AnyMethod = tt.any
				})
				resp, got := ask(t, hc, tt.method, r.url("/"), nil, tt.header...)
				if resp.StatusCode != tt.status || got != "why" {
					t.Errorf("%d %q: the last answer is the caller's", resp.StatusCode, got)
				}
				if n := tries.Load(); n != 1 && !tt.again || tt.again && n != 2 {
					t.Errorf("%d tries", n)
				}
				r.drain()
				flag := " 503 - "
				if line := r.log.String(); tt.again != strings.Contains(line, " URX via_upstream ") {
					t.Errorf("logged %q, want %q or URX", line, flag)
				}
			})
		})
	}
}

// Failures of connections are tried again, on another endpoint, whatever has
// come of the body.
func TestRetryOfFailures(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	const lost = "" // an endpoint that gives up in the middle
	for _, tt := range []struct {
		name, addr, on, method string
		again                  bool
	}{
		{"refused", dead.Addr().String(), "connect-failure", "GET", true},
		{"refused, POST", dead.Addr().String(), "connect-failure", "POST", true},
		{"refused, by status", dead.Addr().String(), "503", "GET", true},
		{"refused, before the request", dead.Addr().String(), "reset-before-request", "POST", true},
		{"refused, not said", dead.Addr().String(), "refused-stream", "GET", false},
		{"lost", lost, "reset", "PUT", true},
		{"lost, 5xx", lost, "5xx", "PUT", true},
		{"lost, POST", lost, "reset", "POST", false},
		{"lost, not said", lost, "connect-failure", "PUT", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
				tt := tt
				good := serve(t, func(w http.ResponseWriter, q *http.Request) {
					b, _ := io.ReadAll(q.Body)
					_, _ = w.Write(b)
				})
				if tt.addr == lost {
					tt.addr = serve(t, func(_ http.ResponseWriter, q *http.Request) {
						_, _ = q.Body.Read(make([]byte, 100))
						panic(http.ErrAbortHandler)
					})
				}
				r := withRoute(t, []string{tt.addr, good}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = p }, func(a *route.Action) {
					a.Retry = retrying(1, tt.on)
				})
				failed := 0
				for i := range 4 {
					sent := []byte(pattern(30_000))
					var body io.Reader
					if tt.method != "GET" {
						body = streaming(sent)
					} else {
						sent = nil
					}
					resp, got := ask(t, hc, tt.method, r.url("/"), body)
					switch {
					case resp.StatusCode != 200:
						failed++
					case got != string(sent):
						t.Errorf("request %d: %d bytes", i, len(got))
					}
				}
				if tt.again != (failed == 0) {
					t.Errorf("%d of 4 failed", failed)
				}
			})
		})
	}
}

// What is told of retries.
func TestRetryMetrics(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		var tries atomic.Int32
		up := serve(t, func(w http.ResponseWriter, q *http.Request) {
			if tries.Add(1)%2 == 1 || q.URL.Path == "/bad" {
				w.WriteHeader(503)
			}
		})
		r := withRoute(t, []string{up}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = p },
			func(a *route.Action) { a.Retry = retrying(1, "5xx") })
		for range 3 {
			ask(t, hc, "GET", r.url("/"), nil)
		}
		ask(t, hc, "GET", r.url("/bad"), nil)
		ask(t, hc, "POST", r.url("/bad"), nil) // is not repeated
		r.drain()
		for _, tt := range []struct {
			name   string
			labels []string
			want   int
		}{
			{"outbound_http_route_retry_requests_total", nil, 4},
			{"outbound_http_route_retry_successes_total", nil, 3},
			{"outbound_http_route_retry_limit_exceeded_total", nil, 1},
			{"outbound_http_route_retry_overflow_total", nil, 0},
			{"request_total", nil, 9},
			{"response_total", []string{`status_code="503"`, `classification="failure"`}, 6},
			{"response_total", []string{`status_code="200"`, `classification="success"`}, 3},
		} {
			if got := r.metric(t, tt.name, tt.labels...); got != tt.want {
				t.Errorf("%s%v is %d, want %d", tt.name, tt.labels, got, tt.want)
			}
		}
	})
}
