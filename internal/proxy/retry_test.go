package proxy

import (
	"bytes"
	"context"
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

	xhttp2 "golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/breaker"
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

// A body that is larger than what is kept goes out once.
func TestRetryNeedsTheBody(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		for _, size := range []int{900, 1100} {
			for _, stream := range []bool{false, true} {
				var tries atomic.Int32
				h := func(w http.ResponseWriter, q *http.Request) {
					_, _ = io.Copy(io.Discard, q.Body)
					if tries.Add(1) == 1 {
						w.WriteHeader(503)
					}
				}
				r := withRoute(t, []string{serve(t, h)}, func(s *ServerConfig, c *upstream.Config) { c.Protocol, s.MaxKept = p, 1000 },
					func(a *route.Action) { a.Retry = retrying(1, "5xx") })
				// The body comes behind its head, so that none of it is here by accident.
				in, out := io.Pipe()
				go func() {
					_, _ = io.WriteString(out, pattern(size))
					out.Close()
				}()
				var body io.Reader = in
				q, _ := http.NewRequest(http.MethodPut, r.url("/"), body)
				if !stream {
					q.ContentLength = int64(size)
				}
				resp, err := hc.Do(q)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				// What came with the head is here in any case.
				if n := tries.Load(); size < 1000 && (n != 2 || resp.StatusCode != 200) {
					t.Errorf("%d bytes, streaming %v: %d tries, %d", size, stream, n, resp.StatusCode)
				}
				if n := tries.Load(); size > 1000 && n == 1 && resp.StatusCode != 503 {
					t.Errorf("%d bytes, streaming %v: %d tries, %d", size, stream, n, resp.StatusCode)
				}
			}
		}
	})
}

// An endpoint that does not answer within the time of a try is charged for it.
func TestPerTryTimeout(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		hung := make(chan struct{})
		slow := serve(t, func(_ http.ResponseWriter, q *http.Request) {
			_, _ = io.Copy(io.Discard, q.Body)
			<-hung
		})
		t.Cleanup(func() { close(hung) })
		good := serve(t, func(w http.ResponseWriter, q *http.Request) { _, _ = io.Copy(w, q.Body) })
		r := withRoute(t, []string{slow, good}, func(_ *ServerConfig, c *upstream.Config) {
			c.Protocol = p
			c.Breaker = breaker.LinkerdConsecutive()
			c.Breaker.Detectors.Consecutive.Failures = 1
		}, func(a *route.Action) {
			a.Retry = retrying(1, "5xx")
			a.Retry.PerTry = 150 * time.Millisecond
		})
		for range 3 {
			if resp, got := ask(t, hc, "PUT", r.url("/"), streaming([]byte("hello"))); resp.StatusCode != 200 || got != "hello" {
				t.Errorf("%d %q", resp.StatusCode, got)
			}
		}
		for _, s := range r.cluster.States() {
			if (s.Name == slow) != (s.State == breaker.Open) {
				t.Errorf("%+v, and the one that hangs is %s", s, slow)
			}
		}
	})
}

// Without a further try the caller is told, and the time of a try does not hold
// for an answer that has begun.
func TestPerTryTimeoutIsForTheHead(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		hung := make(chan struct{})
		up := serve(t, func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == "/hung" {
				<-hung
				return
			}
			for range 4 {
				_, _ = io.WriteString(w, "x")
				w.(http.Flusher).Flush()
				time.Sleep(100 * time.Millisecond) //nolint:forbidigo // a slow answer
			}
		})
		t.Cleanup(func() { close(hung) })
		r := withRoute(t, []string{up}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = p }, func(a *route.Action) {
			a.Retry = &route.Retry{PerTry: 200 * time.Millisecond}
		})
		if resp, got := ask(t, hc, "GET", r.url("/"), nil); resp.StatusCode != 200 || got != "xxxx" {
			t.Errorf("%d %q", resp.StatusCode, got)
		}
		resp, _ := ask(t, hc, "GET", r.url("/hung"), nil)
		if got := resp.Header.Get("recloser-reason"); resp.StatusCode != 504 || got != "upstream_per_try_timeout" {
			t.Errorf("%d %q", resp.StatusCode, got)
		}
	})
}

// The cluster's limit on retries holds, and the answer that there is goes to the
// caller.
func TestRetryOverflow(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		var tries atomic.Int32
		up := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			tries.Add(1)
			w.WriteHeader(503)
			_, _ = io.WriteString(w, "mine")
		})
		r := withRoute(t, []string{up}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol, c.Limits.MaxRetries = p, 0 },
			func(a *route.Action) { a.Retry = retrying(3, "5xx") })
		if resp, got := ask(t, hc, "GET", r.url("/"), nil); resp.StatusCode != 503 || got != "mine" || tries.Load() != 1 {
			t.Errorf("%d %q after %d tries", resp.StatusCode, got, tries.Load())
		}
		r.drain()
		if line := r.log.String(); !strings.Contains(line, " 503 UO via_upstream ") {
			t.Errorf("logged %q", line)
		}
	})
}

// Who is overloaded is not asked again, and what is over its deadline neither.
func TestRetryIsNotForTheOverloaded(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		var tries atomic.Int32
		up := serve(t, func(w http.ResponseWriter, q *http.Request) {
			tries.Add(1)
			if q.URL.Path == "/over" {
				w.Header().Set("x-envoy-overloaded", "true")
			}
			w.WriteHeader(503)
		})
		r := withRoute(t, []string{up}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = p }, func(a *route.Action) {
			a.Retry = retrying(3, "5xx")
			a.Retry.BackoffBase = 1000 * time.Hour
			a.Timeout = 10 * time.Second
		})
		for _, path := range []string{"/over", "/late"} {
			start := time.Now()
			resp, _ := ask(t, hc, "GET", r.url(path), nil)
			if resp.StatusCode != 503 || time.Since(start) > 5*time.Second {
				t.Errorf("%s: %d after %v", path, resp.StatusCode, time.Since(start))
			}
		}
		if tries.Load() != 2 {
			t.Errorf("%d tries", tries.Load())
		}
	})
}

// A caller that goes away while a further try waits for its turn takes all with
// it.
func TestCallerLeavesBetweenTries(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		failed := make(chan struct{}, 1)
		up := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(503)
			failed <- struct{}{}
		})
		r := withRoute(t, []string{up}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = p }, func(a *route.Action) {
			a.Retry = retrying(3, "5xx")
			a.Retry.BackoffBase = 1000 * time.Hour
		})
		ctx, cancel := context.WithCancel(t.Context())
		q, _ := http.NewRequestWithContext(ctx, http.MethodGet, r.url("/"), nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if resp, err := hc.Do(q); err == nil {
				resp.Body.Close()
			}
		}()
		<-failed
		eventually(t, "it waits for its turn", func() bool { return r.cluster.Limits().InFlight().Retries == 1 })
		cancel()
		<-done
		eventually(t, "nothing is left", func() bool {
			n := r.cluster.Limits().InFlight()
			return n.Retries == 0 && n.Requests == 0
		})
		r.drain()
		if line := r.log.String(); !strings.Contains(line, " DC downstream_remote_disconnect ") {
			t.Errorf("logged %q", line)
		}
	})
}

// The route's timeout is over all tries, and the time of a try is not over them.
func TestTriesEndWithTheRoute(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		var tries atomic.Int32
		up := serve(t, func(_ http.ResponseWriter, q *http.Request) {
			tries.Add(1)
			untilGone(q)
		})
		r := withRoute(t, []string{up}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = p }, func(a *route.Action) {
			a.Retry = retrying(1000, "5xx")
			a.Retry.PerTry = 200 * time.Millisecond
			a.Timeout = 700 * time.Millisecond
		})
		resp, _ := ask(t, hc, "GET", r.url("/"), nil)
		if got := resp.Header.Get("recloser-reason"); resp.StatusCode != 504 || got != "upstream_response_timeout" {
			t.Errorf("%d %q", resp.StatusCode, got)
		}
		if n := tries.Load(); n < 2 || n > 4 {
			t.Errorf("%d tries of 200ms in 700ms", n)
		}
		eventually(t, "nothing is left", func() bool {
			n := r.cluster.Limits().InFlight()
			return n.Retries == 0 && n.Requests == 0
		})
	})
}

// Nothing of an answer that has begun is taken back, an interim one included.
func TestNoRetryAfterInterim(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		var tries atomic.Int32
		up := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			tries.Add(1)
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(503)
		})
		r := withRoute(t, []string{up}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = p },
			func(a *route.Action) { a.Retry = retrying(3, "5xx") })
		if resp, _ := ask(t, hc, "GET", r.url("/"), nil); resp.StatusCode != 503 || tries.Load() != 1 {
			t.Errorf("%d after %d tries", resp.StatusCode, tries.Load())
		}
	})
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

// Statuses of gRPC are heard in a head that is all of the answer, in trailers
// behind a head by itself, and not behind a message.
func TestRetryOfGRPC(t *testing.T) {
	for _, tt := range []struct {
		name, path, on string
		tries          int32
		status         string
	}{
		{"trailers only", "/only/14", "unavailable", 2, "0"},
		{"head and trailers", "/behind/14", "unavailable", 2, "0"},
		{"after a message", "/message/14", "unavailable", 1, "14"},
		{"another status", "/only/5", "unavailable,internal", 1, "5"},
		{"another status behind", "/behind/5", "unavailable,internal", 1, "5"},
		{"resource exhausted", "/behind/8", "resource-exhausted", 2, "0"},
		{"cancelled", "/only/1", "cancelled", 2, "0"},
		{"deadline exceeded", "/only/4", "deadline-exceeded", 2, "0"},
		{"internal", "/only/13", "internal", 2, "0"},
		{"not a status of gRPC's", "/only/14", "5xx", 1, "14"},
		{"lost", "/lost/0", "unavailable", 2, "0"},
		{"lost behind a head", "/lostbehind/0", "unavailable", 2, "0"},
		{"reset", "/lost/0", "reset", 1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tries atomic.Int32
			up := backend2(t, func(w http.ResponseWriter, q *http.Request) {
				_, _ = io.Copy(io.Discard, q.Body)
				_, rest, _ := strings.Cut(q.URL.Path[1:], "/")
				how := q.URL.Path[1 : len(q.URL.Path)-len(rest)-1]
				w.Header().Set("Content-Type", "application/grpc")
				if tries.Add(1) > 1 {
					how, rest = "message", "0"
				}
				switch how {
				case "only":
					w.Header().Set("grpc-status", rest)
				case "lost":
					panic(http.ErrAbortHandler)
				default:
					w.Header().Set("Trailer", "grpc-status")
					w.(http.Flusher).Flush()
					if how == "message" {
						_, _ = io.WriteString(w, "message")
					}
					if how == "lostbehind" {
						panic(http.ErrAbortHandler)
					}
					w.Header().Set("grpc-status", rest)
				}
			})
			r := withRoute(t, []string{up}, nil, func(a *route.Action) { a.Retry = retrying(1, tt.on) })
			resp, _ := ask(t, client2(t), "POST", r.url(tt.path), strings.NewReader("call"), "Content-Type", "application/grpc", "TE", "trailers")
			got := resp.Header.Get("grpc-status") + resp.Trailer.Get("grpc-status")
			if n := tries.Load(); n != tt.tries || tt.status != "" && got != tt.status {
				t.Errorf("grpc-status %q after %d tries, want %q after %d", got, n, tt.status, tt.tries)
			}
		})
	}
}

// A head is not kept back from a caller that has more to say.
func TestHeadOfAConversation(t *testing.T) {
	up := backend2(t, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "grpc-status")
		w.(http.Flusher).Flush()
		b := make([]byte, 4)
		_, _ = io.ReadFull(q.Body, b)
		_, _ = w.Write(b)
		w.Header().Set("grpc-status", "0")
	})
	r := withRoute(t, []string{up}, nil, func(a *route.Action) { a.Retry = retrying(1, "unavailable") })
	in, out := io.Pipe()
	q, _ := http.NewRequest(http.MethodPost, r.url("/"), in)
	q.Header.Set("Content-Type", "application/grpc")
	resp, err := client2(t).Do(q) // returns with the head
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.WriteString(out, "call")
	out.Close()
	if b, err := io.ReadAll(resp.Body); string(b) != "call" || err != nil || resp.Trailer.Get("grpc-status") != "0" {
		t.Errorf("%q, %v, %v", b, err, resp.Trailer)
	}
}

// A stream that an endpoint refuses goes to another endpoint, whatever its
// method, once it has been refused on each connection that was tried.
func TestRefusedStreamGoesElsewhere(t *testing.T) {
	refusing := framedBackend(t, func(_ int, f *framed) {
		for fr := f.next(); fr != nil; fr = f.next() {
			if h, ok := fr.(*xhttp2.MetaHeadersFrame); ok {
				f.write(func() error { return f.fr.WriteRSTStream(h.StreamID, xhttp2.ErrCodeRefusedStream) })
			}
		}
	})
	for version, hc := range map[int]*http.Client{1: client(t), 2: client2(t)} {
		for on, want := range map[string]int{"refused-stream": 0, "connect-failure": 2} {
			good := backend2(t, func(w http.ResponseWriter, q *http.Request) {
				b, _ := io.ReadAll(q.Body)
				_, _ = w.Write(b)
			})
			r := withRoute(t, []string{refusing, good}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = upstream.HTTP2 },
				func(a *route.Action) { a.Retry = retrying(1, on) })
			failed := 0
			for range 4 {
				if resp, got := ask(t, hc, "POST", r.url("/"), strings.NewReader("body")); resp.StatusCode != 200 {
					failed++
				} else if got != "body" {
					t.Errorf("HTTP/%d: %q", version, got)
				}
			}
			if failed != want {
				t.Errorf("HTTP/%d, %s: %d of 4 failed, want %d", version, on, failed, want)
			}
		}
	}
}

// An upload takes nothing of the time of a try, which runs all the same once it
// is over.
func TestPerTryTimeoutAfterUpload(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		var tries atomic.Int32
		up := serve(t, func(w http.ResponseWriter, q *http.Request) {
			n := tries.Add(1)
			b, _ := io.ReadAll(q.Body)
			if q.URL.Path == "/hung" && n == 1 {
				untilGone(q)
				return
			}
			_, _ = w.Write(b)
		})
		r := withRoute(t, []string{up}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = p }, func(a *route.Action) {
			a.Retry = retrying(1, "5xx")
			a.Retry.PerTry = 200 * time.Millisecond
		})
		for path, want := range map[string]int32{"/": 1, "/hung": 2} {
			tries.Store(0)
			in, out := io.Pipe()
			go func() {
				for range 5 {
					_, _ = io.WriteString(out, "x")
					time.Sleep(80 * time.Millisecond) //nolint:forbidigo // a slow upload
				}
				out.Close()
			}()
			if resp, got := ask(t, hc, "PUT", r.url(path), in); resp.StatusCode != 200 || got != "xxxxx" || tries.Load() != want {
				t.Errorf("%s: %d %q after %d tries, want %d", path, resp.StatusCode, got, tries.Load(), want)
			}
		}
	})
}
