package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// mirrorTo adds a cluster that requests are mirrored to.
func (r *rig) mirrorTo(t testing.TB, name string, edit func(*upstream.Config), addresses ...string) *upstream.Cluster {
	t.Helper()
	main := *r.cluster.Config()
	cfg := upstream.Config{Name: name, Limits: breaker.UnlimitedLimits(), Protocol: main.Protocol}
	for _, a := range addresses {
		cfg.Endpoints = append(cfg.Endpoints, upstream.EndpointConfig{Address: a})
	}
	if edit != nil {
		edit(&cfg)
	}
	return r.set.Apply([]upstream.Config{main, cfg})[name]
}

// mirrored is how many copies for a cluster had a result.
func (r *rig) mirrored(t testing.TB, cluster string, result telemetry.MirrorResult) int {
	t.Helper()
	return r.metric(t, "recloser_mirrored_total", `cluster="`+cluster+`"`, `result="`+result.String()+`"`)
}

// Copies carry all that the request has, whatever the two sides speak, and the
// route's requests are answered by the route's endpoints alone.
func TestMirrors(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		up := serve(t, func(w http.ResponseWriter, q *http.Request) {
			_, _ = io.Copy(io.Discard, q.Body)
			_, _ = io.WriteString(w, "mine")
		})
		var first, second sightings
		watch := func(s *sightings, status int) http.HandlerFunc {
			return func(w http.ResponseWriter, q *http.Request) {
				b, err := io.ReadAll(q.Body)
				s.add("%s %s %s %d/%d %v %s %v %s", q.Method, q.URL, q.Host, len(b), q.ContentLength, err, q.Header.Get("x-a"),
					q.Header.Get("x-request-id") != "", q.Trailer.Get("x-end"))
				if !bytes.Equal(b, []byte(pattern(len(b)))) {
					s.add("another body")
				}
				w.WriteHeader(status)
				_, _ = w.Write(b)
			}
		}
		r := withRoute(t, []string{up}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = p }, func(*route.Action) {})
		one := r.mirrorTo(t, "one", nil, serve(t, watch(&first, 500)))
		other := backend(t, watch(&second, 200))
		both := r.set.Apply([]upstream.Config{*r.cluster.Config(), *one.Config(), {
			Name: "two", Limits: breaker.UnlimitedLimits(), Protocol: upstream.HTTP1, Endpoints: []upstream.EndpointConfig{{Address: other}},
		}})
		r.routes(func(a *route.Action) {
			a.Mirrors = []route.Mirror{
				{Cluster: both["one"], Fraction: route.Million},
				{Cluster: both["two"], Fraction: route.Million, ShadowHost: true},
				{Cluster: both["two"]},
				{Fraction: route.Million},
			}
		})
		var want, wantShadow []string
		for _, size := range []int{0, 10, 5000, 60_000} {
			for _, stream := range []bool{false, true} {
				var body io.Reader = bytes.NewReader([]byte(pattern(size)))
				end := ""
				if stream {
					body = streaming([]byte(pattern(size)))
				}
				q, _ := http.NewRequest(http.MethodPost, r.url("/a?b=c"), body)
				if stream && size > 0 {
					q.Trailer, end = http.Header{"X-End": {"here"}}, "here"
				}
				q.Host = "bb:8080"
				q.Header.Set("x-a", "A")
				resp, err := hc.Do(q)
				if err != nil {
					t.Fatal(err)
				}
				if b, _ := io.ReadAll(resp.Body); string(b) != "mine" {
					t.Errorf("answered %q", b)
				}
				resp.Body.Close()
				length := size
				if end != "" {
					length = -1
				}
				want = append(want, fmt.Sprintf("POST /a?b=c bb:8080 %d/%d <nil> A true %s", size, length, end))
				wantShadow = append(wantShadow, fmt.Sprintf("POST /a?b=c bb-shadow:8080 %d/%d <nil> A true %s", size, length, end))
			}
		}
		for _, c := range []struct {
			name string
			saw  *sightings
			want []string
		}{{"one", &first, want}, {"two", &second, wantShadow}} {
			eventually(t, "all copies are answered", func() bool { return r.mirrored(t, c.name, telemetry.Mirrored) == len(c.want) })
			got := c.saw.all()
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("%s saw\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		}
		if n := r.metric(t, "recloser_mirrored_total", `result="no_cluster"`); n != len(want) {
			t.Errorf("%d copies for a cluster that does not exist, want %d", n, len(want))
		}
	})
}

// A share of the requests is mirrored, and each of several mirrors has its own.
func TestMirroredShare(t *testing.T) {
	up := rawBackend(t, smallAnswer)
	var n atomic.Int32
	r := withRoute(t, []string{up}, nil, func(*route.Action) {})
	c := r.mirrorTo(t, "some", nil, backend(t, func(http.ResponseWriter, *http.Request) { n.Add(1) }))
	r.routes(func(a *route.Action) { a.Mirrors = []route.Mirror{{Cluster: c, Fraction: route.Million / 4}} })
	p := newPair(t, r.addr)
	const requests = 800
	for range requests {
		p.exchange(t)
		eventually(t, "no copy is under way", func() bool { return r.server.mirrors.Flying() == 0 })
	}
	if got := int(n.Load()); got < requests/4-80 || got > requests/4+80 {
		t.Errorf("%d of %d were mirrored, want about a quarter", got, requests)
	}
}

// What becomes of copies is nobody's trouble, and is counted.
func TestMirrorsFail(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		up := serve(t, func(_ http.ResponseWriter, q *http.Request) { _, _ = io.Copy(io.Discard, q.Body) })
		hung := make(chan struct{})
		slow := serve(t, func(http.ResponseWriter, *http.Request) { <-hung })
		t.Cleanup(func() { close(hung) })
		broken := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		r := withRoute(t, []string{up}, func(s *ServerConfig, c *upstream.Config) { c.Protocol, s.MaxKept, s.MaxMirrors = p, 1000, 3 },
			func(*route.Action) {})
		for _, tt := range []struct {
			name   string
			edit   func(*upstream.Config)
			addr   []string
			size   int
			sent   int
			result telemetry.MirrorResult
			want   int
		}{
			{"broken", nil, []string{broken}, 1, 2, telemetry.MirrorFailed, 2},
			{"nobody", nil, nil, 1, 2, telemetry.MirrorRefused, 2},
			{"limited", func(c *upstream.Config) { c.Limits.MaxRequests = 0 }, []string{broken}, 1, 2, telemetry.MirrorRefused, 2},
			{"large", nil, []string{broken}, 1001, 2, telemetry.MirrorTooLarge, 2},
			{"fits", nil, []string{broken}, 1000, 1, telemetry.MirrorFailed, 1},
			{"slow", nil, []string{slow}, 1, 5, telemetry.MirrorOverflow, 2},
		} {
			for _, stream := range []bool{false, true} {
				name := fmt.Sprint(tt.name, stream)
				if tt.name == "slow" && stream {
					continue
				}
				c := r.mirrorTo(t, name, tt.edit, tt.addr...)
				r.routes(func(a *route.Action) { a.Mirrors = []route.Mirror{{Cluster: c, Fraction: route.Million}} })
				for range tt.sent {
					var body io.Reader = strings.NewReader(pattern(tt.size))
					if stream {
						body = streaming([]byte(pattern(tt.size)))
					}
					if resp, _ := ask(t, hc, "POST", r.url("/"), body); resp.StatusCode != 200 {
						t.Errorf("%s: the caller got %d", name, resp.StatusCode)
					}
				}
				eventually(t, name+" is counted", func() bool { return r.mirrored(t, name, tt.result) == tt.want })
			}
		}
		if n := r.server.mirrors.Flying(); n != 3 {
			t.Errorf("%d copies are under way, want as many as may be", n)
		}
		r.drain() // ends them
		if n := r.server.mirrors.Flying(); n != 0 {
			t.Errorf("%d copies are under way after the end", n)
		}
	})
}

// A breaker that is open keeps copies away, and hears of those that are sent.
func TestMirrorsRespectBreakers(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		up := serve(t, func(http.ResponseWriter, *http.Request) {})
		bad := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
		r := withRoute(t, []string{up}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = p }, func(*route.Action) {})
		c := r.mirrorTo(t, "bad", func(c *upstream.Config) {
			c.Breaker = breaker.LinkerdConsecutive()
			c.Breaker.Detectors.Consecutive.Failures = 2
		}, bad)
		r.routes(func(a *route.Action) { a.Mirrors = []route.Mirror{{Cluster: c, Fraction: route.Million}} })
		for i := range 4 {
			if resp, _ := ask(t, hc, "GET", r.url("/"), nil); resp.StatusCode != 200 {
				t.Errorf("the caller got %d", resp.StatusCode)
			}
			eventually(t, "the copy is over", func() bool {
				return r.mirrored(t, "bad", telemetry.Mirrored)+r.mirrored(t, "bad", telemetry.MirrorRefused) == i+1
			})
		}
		if s := c.States()[0]; s.State != breaker.Open || r.mirrored(t, "bad", telemetry.Mirrored) != 2 {
			t.Errorf("%v after %d copies", s.State, r.mirrored(t, "bad", telemetry.Mirrored))
		}
	})
}

// A request that is tried again is mirrored once.
func TestMirrorsAndRetries(t *testing.T) {
	pairs(t, func(t *testing.T, hc *http.Client, serve func(testing.TB, http.HandlerFunc) string, p upstream.Protocol) {
		for _, size := range []int{0, 10, 50_000} {
			var tries, copies atomic.Int32
			h := func(w http.ResponseWriter, q *http.Request) {
				if b, _ := io.ReadAll(q.Body); tries.Add(1) < 3 || len(b) != size {
					w.WriteHeader(503)
				}
			}
			r := withRoute(t, []string{serve(t, h)}, func(_ *ServerConfig, c *upstream.Config) { c.Protocol = p }, func(*route.Action) {})
			c := r.mirrorTo(t, "copy", nil, serve(t, func(_ http.ResponseWriter, q *http.Request) {
				if b, _ := io.ReadAll(q.Body); len(b) == size {
					copies.Add(1)
				}
			}))
			r.routes(func(a *route.Action) {
				a.Mirrors = []route.Mirror{{Cluster: c, Fraction: route.Million}}
				a.Retry = retrying(3, "5xx")
			})
			if resp, _ := ask(t, hc, "PUT", r.url("/"), streaming([]byte(pattern(size)))); resp.StatusCode != 200 {
				t.Errorf("%d bytes: %d after %d tries", size, resp.StatusCode, tries.Load())
			}
			eventually(t, "the copy is answered", func() bool { return r.mirrored(t, "copy", telemetry.Mirrored) == 1 })
			if copies.Load() != 1 || tries.Load() != 3 {
				t.Errorf("%d bytes: %d copies, %d tries", size, copies.Load(), tries.Load())
			}
		}
	})
}
