package promapi

import (
	"context"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"go.uber.org/goleak"

	"github.com/reclosermesh/recloser/internal/observe/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.UnixMilli(1_800_000_000_000)

// newServer serves a store with the gauge g{a="x"} = 1, 2, 3 and g{a="y"} = NaN.
func newServer(t *testing.T) (*httptest.Server, *store.Store) {
	t.Helper()
	st, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	app := st.AppenderV2(t.Context())
	for i := range 3 {
		add(t, app, at.Add(time.Duration(i)*time.Second), float64(i+1), "x")
	}
	add(t, app, at.Add(2*time.Second), math.NaN(), "y")
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v1/query", Query(st, func() time.Time { return at.Add(2 * time.Second) }))
	mux.Handle("/api/v1/query_range", QueryRange(st))
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, st
}

func add(t *testing.T, app storage.AppenderV2, at time.Time, v float64, a string) {
	t.Helper()
	if _, err := app.Append(0, labels.FromStrings("__name__", "g", "a", a), 0, at.UnixMilli(), v, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s *httptest.Server, path string, form url.Values) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path+"?"+form.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(body))
}

func TestHandler(t *testing.T) {
	s, _ := newServer(t)
	for name, tc := range map[string]struct {
		path   string
		form   url.Values
		status int
		body   string
	}{
		"instant, now": {
			"/api/v1/query",
			url.Values{"query": {`g{a="x"}`}},
			200,
			`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"g","a":"x"},"value":[1800000002,"3"]}]}}`,
		},
		"instant, at a time": {
			"/api/v1/query",
			url.Values{"query": {`g{a="x"}`}, "time": {"1800000001.5"}},
			200,
			`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"g","a":"x"},"value":[1800000001.5,"2"]}]}}`,
		},
		"RFC 3339": {
			"/api/v1/query",
			url.Values{"query": {`sum(g{a="x"})`}, "time": {"2027-01-15T08:00:00Z"}},
			200,
			`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1800000000,"1"]}]}}`,
		},
		"scalar": {
			"/api/v1/query",
			url.Values{"query": {"1+1"}},
			200,
			`{"status":"success","data":{"resultType":"scalar","result":[1800000002,"2"]}}`,
		},
		"empty": {
			"/api/v1/query",
			url.Values{"query": {"nothing"}},
			200,
			`{"status":"success","data":{"resultType":"vector","result":[]}}`,
		},
		"range": {
			"/api/v1/query_range",
			url.Values{"query": {`g{a="x"}`}, "start": {"1800000000"}, "end": {"1800000002"}, "step": {"1s"}},
			200,
			`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"g","a":"x"},"values":[[1800000000,"1"],[1800000001,"2"],[1800000002,"3"]]}]}}`,
		},
		"no query":     {"/api/v1/query", nil, 400, `{"status":"error","errorType":"bad_data","error":"query is missing"}`},
		"wrong query":  {"/api/v1/query", url.Values{"query": {"sum("}}, 400, `{"status":"error","errorType":"bad_data","error":"query \"sum(\": `},
		"wrong time":   {"/api/v1/query", url.Values{"query": {"g"}, "time": {"noon"}}, 400, `{"status":"error","errorType":"bad_data","error":"time: \"noon\" is not a time`},
		"no start":     {"/api/v1/query_range", url.Values{"query": {"g"}, "end": {"1"}, "step": {"1"}}, 400, `{"status":"error","errorType":"bad_data","error":"start is missing`},
		"end first":    {"/api/v1/query_range", url.Values{"query": {"g"}, "start": {"2"}, "end": {"1"}, "step": {"1"}}, 400, `{"status":"error","errorType":"bad_data","error":"end is before start`},
		"no step":      {"/api/v1/query_range", url.Values{"query": {"g"}, "start": {"1"}, "end": {"2"}, "step": {"0"}}, 400, `{"status":"error","errorType":"bad_data","error":"step is 0s`},
		"many steps":   {"/api/v1/query_range", url.Values{"query": {"g"}, "start": {"0"}, "end": {"20000"}, "step": {"1"}}, 400, `{"status":"error","errorType":"bad_data","error":"20000 steps are more`},
		"cannot be":    {"/api/v1/query", url.Values{"query": {`g * on() g`}}, 422, `{"status":"error","errorType":"execution"`},
		"time is over": {"/api/v1/query", url.Values{"query": {"g"}, "timeout": {"0.000000001"}}, 503, `{"status":"error","errorType":"timeout"`},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := get(t, s, tc.path, tc.form)
			if status != tc.status {
				t.Errorf("status %d, want %d", status, tc.status)
			}
			if status == 200 && body != tc.body || !strings.HasPrefix(body, tc.body) {
				t.Errorf("body\n%s\nwant\n%s", body, tc.body)
			}
		})
	}
}

func TestHandlerRefusesOtherMethods(t *testing.T) {
	rec := httptest.NewRecorder()
	Query(nil, time.Now).ServeHTTP(rec, httptest.NewRequest(http.MethodDelete, "/api/v1/query?query=g", nil))
	if rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("status %d, want 405", rec.Code)
	}
}

// What the client reads is what the store said.
func TestClientReadsHandler(t *testing.T) {
	s, st := newServer(t)
	c, err := NewClient(s.URL, s.Client())
	if err != nil {
		t.Fatal(err)
	}
	end := at.Add(2 * time.Second)
	for _, expr := range []string{`g{a="x"}`, `g`, `1+1`, `"text"`, `g{a="x"}[5s]`, `nothing`} {
		want, err := st.Query(t.Context(), expr, end)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Query(t.Context(), expr, end)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		same(t, expr, got, want)
	}
	want, err := st.QueryRange(t.Context(), `g`, at, end, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.QueryRange(t.Context(), `g`, at, end, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "range", got, want)
}

func same(t *testing.T, name string, got, want parser.Value) {
	t.Helper()
	if got.Type() != want.Type() || got.String() != want.String() {
		t.Errorf("%s: the client read %s %s, the store has %s %s", name, got.Type(), got, want.Type(), want)
	}
}

func TestClientErrors(t *testing.T) {
	s, _ := newServer(t)
	c, err := NewClient(s.URL, s.Client())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Query(t.Context(), "sum(", at); err == nil || !strings.Contains(err.Error(), `query "sum("`) {
		t.Errorf("a wrong query gave %v", err)
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	c, err = NewClient(other.URL, other.Client())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Query(t.Context(), "g", at); err == nil || !strings.Contains(err.Error(), "not Prometheus' API") {
		t.Errorf("another server gave %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Query(ctx, "g", at); err == nil {
		t.Error("a cancelled query gave no error")
	}
	for _, bad := range []string{"", "prometheus:9090", "ftp://a", "http://", "http://%zz"} {
		if _, err := NewClient(bad, http.DefaultClient); err == nil {
			t.Errorf("the address %q was taken", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("vector", `[{"metric":{"a":"b"},"value":[1,"2"]}]`)
	f.Add("matrix", `[{"metric":{},"values":[[1,"2"],[2,"NaN"]]}]`)
	f.Add("scalar", `[1,"2"]`)
	f.Add("string", `[1,"x"]`)
	f.Fuzz(func(t *testing.T, kind, result string) {
		v, err := decode(data{ResultType: kind, Result: []byte(result)})
		if err == nil && string(v.Type()) != kind {
			t.Errorf("asked for %s, got %s", kind, v.Type())
		}
	})
}
