package proxy

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

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
				time.Sleep(150 * time.Millisecond) //nolint:forbidigo // a slow answer
			}
		})
		t.Cleanup(func() { close(hung) })
		r := withRoute(t, []string{up}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = p }, func(a *route.Action) {
			a.Retry = &route.Retry{PerTry: 500 * time.Millisecond}
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
			in := trickle(5, 80*time.Millisecond)
			if resp, got := ask(t, hc, "PUT", r.url(path), in); resp.StatusCode != 200 || got != "xxxxx" || tries.Load() != want {
				t.Errorf("%s: %d %q after %d tries, want %d", path, resp.StatusCode, got, tries.Load(), want)
			}
		}
	})
}
