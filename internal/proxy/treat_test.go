package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/filter"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// lateHost has one table for all hosts, which is made once there are clusters.
type lateHost struct{ table atomic.Pointer[route.Table] }

func (h *lateHost) Lookup([]byte) (*route.Table, bool) { return h.table.Load(), true }

func (h *lateHost) Await(context.Context, string) (*route.Table, error) { return h.table.Load(), nil }

// treated runs a test with each pair of versions and rules of "test"; every
// other cluster does not exist.
func treated(t *testing.T, h http.HandlerFunc, rules []route.Rule, f func(t *testing.T, r *rig, hc *http.Client)) {
	t.Helper()
	cfg := &route.Config{Rules: rules}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	var late *lateHost
	versions(t, h, func(sc *ServerConfig, _ *upstream.Config) {
		late = new(lateHost)
		sc.Hosts = late
	}, func(t *testing.T, r *rig, hc *http.Client) {
		late.table.Store(route.New(cfg, nil, func(name string) *upstream.Cluster {
			if name == "test" {
				return r.cluster
			}
			return nil
		}))
		hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		f(t, r, hc)
	})
}

func to(cluster string) []route.WeightedCluster {
	return []route.WeightedCluster{{Cluster: cluster, Weight: 1}}
}

func prefix(p string) route.Match {
	return route.Match{Path: route.PathMatch{Kind: route.PathPrefix, Value: p}}
}

// seen tells what reached the endpoint.
func seen(w http.ResponseWriter, q *http.Request) {
	var fields []string
	for name, values := range q.Header {
		if strings.HasPrefix(name, "X-Edit") {
			fields = append(fields, name+"="+strings.Join(values, ","))
		}
	}
	slices.Sort(fields)
	body, _ := io.ReadAll(q.Body)
	w.Header().Set("X-From", "endpoint")
	w.Header().Set("X-Gone", "here")
	fmt.Fprintf(w, "%s %s%s %v %d", q.Method, q.Host, q.URL.RequestURI(), fields, len(body))
}

func TestRouteEdits(t *testing.T) {
	rules := []route.Rule{
		{
			Name: "edits", Match: prefix("/edit"),
			Backends: []route.WeightedCluster{{
				Cluster: "test", Weight: 1,
				RequestHeaders: []filter.Edit{{Op: filter.Add, Name: "x-edit-b", Value: "backend"}},
			}},
			RequestHeaders: []filter.Edit{
				{Op: filter.Remove, Name: "X-Edit-Gone"},
				{Op: filter.Set, Name: "x-edit-a", Value: "%REQ(:METHOD)% by %PROTOCOL%"},
				{Op: filter.Add, Name: "x-edit-many", Value: "two"},
			},
			ResponseHeaders: []filter.Edit{
				{Op: filter.Remove, Name: "x-gone"},
				{Op: filter.Set, Name: "x-from", Value: "route %RESPONSE_CODE%"},
			},
		},
		{
			Name: "path", Match: prefix("/old/"), Backends: to("test"), Host: "inner.example:81",
			Path: &filter.PathConfig{Kind: filter.ReplaceText, Matched: "/old/", Value: "/new/"},
		},
	}
	treated(t, seen, rules, func(t *testing.T, r *rig, hc *http.Client) {
		version := "HTTP/1.1"
		if strings.HasPrefix(t.Name(), "TestRouteEdits/2") {
			version = "HTTP/2"
		}
		for range 3 { // what is reused must come clean
			for _, body := range []string{"", "four"} {
				q, _ := http.NewRequest(http.MethodPut, r.url("/edit/x?a=b"), strings.NewReader(body))
				q.Host = "bb"
				q.Header.Set("X-Edit-Gone", "1")
				q.Header.Set("X-Edit-A", "caller")
				q.Header.Set("X-Edit-Many", "one")
				want := fmt.Sprintf("PUT bb/edit/x?a=b [X-Edit-A=PUT by %s X-Edit-B=backend X-Edit-Many=one,two] %d", version, len(body))
				resp, got := do(t, hc, q)
				if got != want {
					t.Errorf("the endpoint got %q, want %q", got, want)
				}
				if from, gone := resp.Header["X-From"], resp.Header["X-Gone"]; !slices.Equal(from, []string{"route 200"}) || gone != nil {
					t.Errorf("the answer has %q and %q", from, gone)
				}
			}
			q, _ := http.NewRequest(http.MethodGet, r.url("/old/x?a=b"), nil)
			q.Host = "bb"
			if _, got := do(t, hc, q); got != "GET inner.example:81/new/x?a=b [] 0" {
				t.Errorf("rewritten: %q", got)
			}
		}
		r.drain()
		if log := r.log.String(); !strings.Contains(log, "/old/x?a=b") || strings.Contains(log, "/new/x") {
			t.Errorf("the log does not say what was asked for:\n%s", log)
		}
	})
}

// do sends q and reads its answer.
func do(t *testing.T, hc *http.Client, q *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := hc.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestRouteAnswers(t *testing.T) {
	gone := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	fault := func(f filter.Fault) *filter.Fault { return &f }
	rules := []route.Rule{
		{Match: prefix("/moved"), Redirect: &filter.RedirectConfig{Host: "other.example", Scheme: "https", Status: 308}},
		{
			Match: prefix("/direct"), Direct: &route.Direct{Status: 418, Body: []byte("tea")},
			ResponseHeaders: []filter.Edit{{Op: filter.Set, Name: "x-pot", Value: "yes"}},
		},
		{Match: prefix("/abort"), Backends: to("test"), Fault: fault(filter.Fault{AbortStatus: 501, AbortShare: filter.Every})},
		{Match: prefix("/grpc"), Backends: to("test"), Fault: fault(filter.Fault{AbortGRPC: 14, AbortShare: filter.Every})},
		{Match: prefix("/nowhere"), Backends: to("nowhere")},
		{Match: prefix("/absent"), Backends: to("nowhere"), MissingStatus: 503},
		{Match: prefix("/cors"), Backends: to("nowhere"), CORS: &route.CORS{
			CORSConfig: filter.CORSConfig{Methods: "GET, PUT", MaxAge: "60"},
			Origins:    []route.ValueMatch{{Kind: route.ValueExact, Value: "https://page.example"}},
		}},
	}
	treated(t, gone, rules, func(t *testing.T, r *rig, hc *http.Client) {
		type answer struct {
			Status                             int
			Body, Location, Pot, Reason, Allow string
		}
		ask := func(method, path string, fields ...string) answer {
			q, _ := http.NewRequest(method, r.url(path), nil)
			for i := 0; i < len(fields); i += 2 {
				q.Header.Set(fields[i], fields[i+1])
			}
			resp, body := do(t, hc, q)
			h := resp.Header
			return answer{resp.StatusCode, body, h.Get("location"), h.Get("x-pot"), h.Get("recloser-reason"), h.Get("access-control-allow-origin")}
		}
		for _, tt := range []struct {
			got, want answer
		}{
			{ask("GET", "/moved/x?y"), answer{Status: 308, Location: "https://other.example/moved/x?y"}},
			{ask("POST", "/direct"), answer{Status: 418, Body: "tea", Pot: "yes"}},
			{ask("POST", "/direct", "content-type", "application/grpc"), answer{Status: 200, Pot: "yes"}},
			{ask("HEAD", "/direct"), answer{Status: 418, Pot: "yes"}},
			{ask("GET", "/abort"), answer{Status: 501, Body: "fault filter abort"}},
			{ask("GET", "/grpc"), answer{Status: 503, Body: "fault filter abort"}},
			{ask("POST", "/grpc", "content-type", "application/grpc"), answer{Status: 200}},
			{ask("GET", "/nowhere"), answer{
				Status: 500, Reason: "cluster_not_found",
				Body: "the route's backend does not exist: there is no cluster nowhere",
			}},
			{ask("GET", "/absent"), answer{
				Status: 503, Reason: "cluster_not_found",
				Body: "the route's backend does not exist: there is no cluster nowhere",
			}},
			{
				ask("OPTIONS", "/cors", "origin", "https://page.example", "access-control-request-method", "PUT"),
				answer{Status: 200, Allow: "https://page.example"},
			},
			{ask("OPTIONS", "/cors", "origin", "https://evil.example", "access-control-request-method", "PUT"), answer{Status: 200}},
			{ask("GET", "/cors", "origin", "https://page.example"), answer{
				Status: 500, Reason: "cluster_not_found", Allow: "https://page.example",
				Body: "the route's backend does not exist: there is no cluster nowhere",
			}},
		} {
			if diff := cmp.Diff(tt.want, tt.got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
		r.drain()
		for _, want := range []string{" 308 - direct_response", " 501 FI fault_filter_abort", " 500 NC cluster_not_found"} {
			if !strings.Contains(r.log.String(), want) {
				t.Errorf("the log has no %q:\n%s", want, r.log)
			}
		}
	})
}

// Answers are read into the room of those before. An edited one has room of
// another exchange's, which must not be taken for that.
func TestEditedAnswersShareNoRoom(t *testing.T) {
	rules := []route.Rule{{
		Match: prefix("/"), Backends: to("test"),
		ResponseHeaders: []filter.Edit{{Op: filter.Set, Name: "x-edited", Value: "%REQ(x-number)%"}},
	}}
	echo := func(w http.ResponseWriter, q *http.Request) { w.Header().Set("x-echo", q.Header.Get("x-number")) }
	treated(t, echo, rules, func(t *testing.T, r *rig, hc *http.Client) {
		var all sync.WaitGroup
		for worker := range 4 {
			all.Go(func() {
				for i := range 50 {
					number := fmt.Sprintf("%d.%d", worker, i)
					q, _ := http.NewRequest(http.MethodGet, r.url("/"), nil)
					q.Header.Set("x-number", number)
					resp, err := hc.Do(q)
					if err != nil {
						t.Error(err)
						return
					}
					resp.Body.Close()
					if e, x := resp.Header.Get("x-echo"), resp.Header.Get("x-edited"); e != number || x != number {
						t.Errorf("%s got %q and %q", number, e, x)
					}
				}
			})
		}
		all.Wait()
	})
}

// What counts as a failure is the route's to say, if it says anything.
func TestRouteSaysWhatFails(t *testing.T) {
	rules := []route.Rule{
		{Match: prefix("/strict"), Backends: to("test"), Failures: []breaker.StatusRange{{First: 404, Last: 404}}},
		{Match: prefix("/"), Backends: to("test")},
	}
	missing := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }
	for path, want := range map[string]string{"/strict": "failure", "/": "success"} {
		treated(t, missing, rules, func(t *testing.T, r *rig, hc *http.Client) {
			q, _ := http.NewRequest(http.MethodGet, r.url(path), nil)
			do(t, hc, q)
			r.drain()
			states := r.cluster.States()
			if rate := states[0].SuccessRate; (rate == 1) != (want == "success") {
				t.Errorf("%s: success rate %v after a 404, want a %s", path, rate, want)
			}
		})
	}
}
