package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

func priorKnowledge() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// client2 is a client of HTTP/2 with prior knowledge.
func client2(t testing.TB) *http.Client {
	t.Helper()
	tr := &http.Transport{Protocols: priorKnowledge()}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// backend2 serves HTTP/2 with prior knowledge.
func backend2(t testing.TB, h http.HandlerFunc) (addr string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = priorKnowledge()
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// versions runs a test with each pair of what the caller and the endpoint speak.
func versions(t *testing.T, h http.HandlerFunc, edit func(*ServerConfig, *upstream.Config), f func(t *testing.T, r *rig, hc *http.Client)) {
	t.Helper()
	for _, down := range []int{1, 2} {
		for _, up := range []int{1, 2} {
			t.Run(fmt.Sprintf("%d to %d", down, up), func(t *testing.T) {
				serve, protocol := backend, upstream.HTTP1
				if up == 2 {
					serve, protocol = backend2, upstream.HTTP2
				}
				r := newRig(t, []string{serve(t, h)}, func(sc *ServerConfig, uc *upstream.Config) {
					uc.Protocol = protocol
					if edit != nil {
						edit(sc, uc)
					}
				})
				hc := client(t)
				if down == 2 {
					hc = client2(t)
				}
				f(t, r, hc)
			})
		}
	}
}

func TestVersionsForward(t *testing.T) {
	echo := func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		w.Header().Set("x-seen", fmt.Sprint(q.Method, " ", q.URL, " ", q.Host, " ", q.Header.Get("x-request-id") != "", " ", q.Header["Cookie"]))
		w.Header().Set("Trailer", "x-sum")
		w.WriteHeader(http.StatusTeapot)
		w.(http.Flusher).Flush() // a length would leave no room for trailers in HTTP/1.1
		_, _ = w.Write(body)
		w.Header().Set("x-sum", fmt.Sprintf("%d %v %q", len(body), err, q.Trailer.Get("x-end")))
	}
	versions(t, echo, nil, func(t *testing.T, r *rig, hc *http.Client) {
		for _, size := range []int{0, 10, 70_000, 3_000_000} {
			for _, unknown := range []bool{false, true} {
				sent := bytes.Repeat([]byte("0123456789abcdef"), (size+15)/16)[:size]
				var body io.Reader = bytes.NewReader(sent)
				if unknown {
					body = struct{ io.Reader }{body}
				}
				q, _ := http.NewRequest(http.MethodPost, r.url("/a?b=c"), body)
				q.Host = "bb:8080"
				q.Header.Add("Cookie", "a=1; b=2")
				end := ""
				if unknown && size > 0 {
					q.Trailer = http.Header{"X-End": {"here"}}
					end = "here"
				}
				resp, err := hc.Do(q)
				if err != nil {
					t.Fatalf("%d bytes, unknown %v: %v", size, unknown, err)
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || !bytes.Equal(got, sent) || resp.StatusCode != http.StatusTeapot {
					t.Errorf("%d bytes, unknown %v: %d, %d bytes, %v", size, unknown, resp.StatusCode, len(got), err)
				}
				if got, want := resp.Header.Get("x-seen"), "POST /a?b=c bb:8080 true [a=1; b=2]"; got != want {
					t.Errorf("the endpoint saw %q, want %q", got, want)
				}
				if got, want := resp.Trailer.Get("x-sum"), fmt.Sprintf("%d <nil> %q", size, end); got != want {
					t.Errorf("%d bytes, unknown %v: trailer %q, want %q", size, unknown, got, want)
				}
			}
		}
	})
}

func TestVersionsHeadAndInterims(t *testing.T) {
	h := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Content-Length", "7")
		_, _ = io.WriteString(w, "content")
	}
	versions(t, h, nil, func(t *testing.T, r *rig, hc *http.Client) {
		for _, method := range []string{http.MethodHead, http.MethodGet} {
			q, _ := http.NewRequest(method, r.url("/"), nil)
			resp, err := hc.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			want := "content"
			if method == http.MethodHead {
				want = ""
			}
			if err != nil || string(body) != want || resp.ContentLength != 7 {
				t.Errorf("%s: %q, length %d, %v", method, body, resp.ContentLength, err)
			}
		}
	})
}

func TestVersionsManyAtOnce(t *testing.T) {
	h := func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		fmt.Fprintf(w, "%s %s", q.URL.Path, body)
	}
	versions(t, h, nil, func(t *testing.T, r *rig, hc *http.Client) {
		var wg sync.WaitGroup
		for i := range 300 {
			wg.Go(func() {
				path := fmt.Sprintf("/%d", i)
				resp, err := hc.Post(r.url(path), "text/plain", strings.NewReader(strings.Repeat("x", i*20)))
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if want := path + " " + strings.Repeat("x", i*20); err != nil || string(body) != want {
					t.Errorf("%s: %d bytes, %v", path, len(body), err)
				}
			})
		}
		wg.Wait()
	})
}

// A caller that reads nothing of one answer gets another on the same
// connection, and the first is whole when it reads on.
func TestVersionsSlowReader(t *testing.T) {
	const large = 4 << 20
	h := func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/large" {
			_, _ = w.Write(make([]byte, large))
		}
	}
	versions(t, h, nil, func(t *testing.T, r *rig, hc *http.Client) {
		slow, err := hc.Get(r.url("/large"))
		if err != nil {
			t.Fatal(err)
		}
		defer slow.Body.Close()
		for range 20 {
			resp, err := hc.Get(r.url("/"))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		if n, err := io.Copy(io.Discard, slow.Body); n != large || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

func TestVersionsRefusals(t *testing.T) {
	h := func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body) // else net/http does not see the caller go
		switch q.URL.Path {
		case "/hang":
			<-q.Context().Done()
		case "/die":
			panic(http.ErrAbortHandler)
		case "/half":
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}
	edit := func(sc *ServerConfig, _ *upstream.Config) { sc.Timeouts.Stream = 300 * time.Millisecond }
	versions(t, h, edit, func(t *testing.T, r *rig, hc *http.Client) {
		for _, c := range []struct {
			path   string
			grpc   bool
			status int
			reason string
			code   string
		}{
			{"/hang", false, 504, "stream_idle_timeout", ""},
			{"/die", false, 503, "upstream_reset_before_response_started", ""},
			{"/die", true, 200, "upstream_reset_before_response_started", "14"},
		} {
			q, _ := http.NewRequest(http.MethodPost, r.url(c.path), strings.NewReader("x"))
			if c.grpc {
				q.Header.Set("Content-Type", "application/grpc")
			}
			resp, err := hc.Do(q)
			if err != nil {
				t.Fatalf("%s: %v", c.path, err)
			}
			resp.Body.Close()
			if resp.StatusCode != c.status || !strings.HasPrefix(resp.Header.Get("recloser-reason"), c.reason) || resp.Header.Get("grpc-status") != c.code {
				t.Errorf("%s: %d %v", c.path, resp.StatusCode, resp.Header)
			}
		}
		resp, err := hc.Get(r.url("/half"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil {
			t.Errorf("half an answer ended as if whole: %q", body)
		}
	})
}

func TestVersionsDeadline(t *testing.T) {
	h := func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		w.Header().Set("x-timeout", q.Header.Get("grpc-timeout"))
		if q.URL.Path == "/hang" {
			<-q.Context().Done()
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("grpc-status", "0")
	}
	versions(t, h, nil, func(t *testing.T, r *rig, hc *http.Client) {
		if strings.HasSuffix(t.Name(), "2_to_1") {
			return // there is no such thing: TestGRPCStaysHTTP2
		}
		ask := func(path, timeout string) *http.Response {
			q, _ := http.NewRequest(http.MethodPost, r.url(path), strings.NewReader("x"))
			q.Header.Set("Content-Type", "application/grpc")
			q.Header.Set("grpc-timeout", timeout)
			resp, err := hc.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			return resp
		}
		// gRPC has no HTTP/1.1: that one side at least is not.
		if resp := ask("/", "10S"); !strings.HasSuffix(t.Name(), "1_to_1") && !strings.HasPrefix(resp.Header.Get("x-timeout"), "99") {
			t.Errorf("the endpoint saw grpc-timeout %q, want a little less than 10 s", resp.Header.Get("x-timeout"))
		}
		if resp := ask("/hang", "50m"); resp.StatusCode != 200 || resp.Header.Get("grpc-status") != "4" {
			t.Errorf("after the deadline: %d %v", resp.StatusCode, resp.Header)
		}
	})
}

// The statuses of gRPC, in trailers or in a head that is all, count for the
// breaker, whatever the two sides speak.
func TestGRPCStatusTripsBreaker(t *testing.T) {
	for _, only := range []bool{false, true} {
		h := func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			if only {
				w.Header().Set("grpc-status", "14")
				return
			}
			w.Header().Set("Trailer", "grpc-status")
			w.(http.Flusher).Flush()
			_, _ = w.Write(make([]byte, 5))
			w.Header().Set("grpc-status", "14")
		}
		edit := func(_ *ServerConfig, uc *upstream.Config) {
			uc.Breaker = breaker.LinkerdConsecutive()
			uc.FailFast = 1
		}
		versions(t, h, edit, func(t *testing.T, r *rig, hc *http.Client) {
			if strings.HasSuffix(t.Name(), "2_to_1") {
				return // there is no such thing: TestGRPCStaysHTTP2
			}
			if calls := callsUntilRefused(t, r, hc); calls != 7 {
				t.Errorf("trailers only %v: open after %d calls, want 7", only, calls)
			}
		})
	}
}

// callsUntilRefused calls by gRPC until the breaker refuses, and tells how many
// calls went through.
func callsUntilRefused(t *testing.T, r *rig, hc *http.Client) (calls int) {
	t.Helper()
	for ; calls < 20; calls++ {
		q, _ := http.NewRequest(http.MethodPost, r.url("/s/m"), nil)
		q.Header.Set("Content-Type", "application/grpc")
		resp, err := hc.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.Header.Get("recloser-reason") == "no_healthy_upstream" {
			if got := resp.Header.Get("grpc-status"); got != "14" || resp.StatusCode != 200 {
				t.Errorf("refused with HTTP %d, grpc-status %q", resp.StatusCode, got)
			}
			break
		}
	}
	return calls
}

// Callers that go away free what they used, and the endpoint hears of it.
func TestVersionsCallerGone(t *testing.T) {
	var inside atomic.Int64
	h := func(_ http.ResponseWriter, q *http.Request) {
		inside.Add(1)
		<-q.Context().Done()
		inside.Add(-1)
	}
	versions(t, h, nil, func(t *testing.T, r *rig, hc *http.Client) {
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				q, _ := http.NewRequestWithContext(ctx, http.MethodGet, r.url("/"), nil)
				if _, err := hc.Do(q); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		eventually(t, "all calls are with the endpoint", func() bool { return inside.Load() == 5 })
		cancel()
		wg.Wait()
		eventually(t, "the endpoint was told", func() bool { return inside.Load() == 0 })
	})
}

// gRPC goes on by HTTP/2 also to a port that is declared HTTP/1.1.
func TestGRPCStaysHTTP2(t *testing.T) {
	addr := backend2(t, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("grpc-status", "0")
		w.Header().Set("x-seen", q.Proto)
	})
	r := newRig(t, []string{addr}, func(_ *ServerConfig, uc *upstream.Config) { uc.Protocol = upstream.HTTP1 })
	q, _ := http.NewRequest(http.MethodPost, r.url("/s/m"), nil)
	q.Header.Set("Content-Type", "application/grpc+proto")
	resp, err := client2(t).Do(q)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("x-seen") != "HTTP/2.0" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}
