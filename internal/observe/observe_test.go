package observe_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/meshtest/fakecontrol"
	"github.com/reclosermesh/recloser/internal/observe"
	"github.com/reclosermesh/recloser/internal/observe/breakers"
	"github.com/reclosermesh/recloser/internal/observe/client"
	"github.com/reclosermesh/recloser/internal/observe/scrape"
	"github.com/reclosermesh/recloser/internal/observe/stat"
	"github.com/reclosermesh/recloser/internal/observe/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)

// api is an Observer that runs, over a fake control plane, and its client.
type api struct {
	*client.Client
	control *fakecontrol.Control
	url     string
	stop    func() error // ends Run and gives its error
}

func start(t *testing.T, change func(*observe.Config)) *api {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	control := fakecontrol.Tutorial(now)
	cfg := observe.Config{Mesh: control, Reports: control, Configuration: control, Listener: ln, Version: map[string]string{"version": "v1"}, ScrapeInterval: 100 * time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	o, err := observe.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	a := &api{control: control, url: "http://" + ln.Addr().String()}
	a.Client, err = client.New(a.url)
	if err != nil {
		t.Fatal(err)
	}
	var stopped atomic.Bool
	a.stop = func() error {
		if stopped.Swap(true) {
			return nil
		}
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if err := a.stop(); err != nil {
			t.Error(err)
		}
		a.Close()
	})
	// The listener is open before the metrics are: this waits for both.
	for {
		_, err := a.Stat(t.Context(), stat.Request{Resource: stat.Ref{Kind: stat.Deployment}})
		var busy *client.APIError
		if !errors.As(err, &busy) || busy.Status != http.StatusServiceUnavailable {
			return a
		}
	}
}

// ask sends one raw request.
func (a *api) ask(t *testing.T, method, path, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

// From a proxy's metrics to a row of the table, with real sockets between.
func TestStatFromScrapes(t *testing.T) {
	var count atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %d\n", time.Now().Unix()+1)
		fmt.Fprintf(w, "# TYPE response_total counter\nresponse_total{direction=\"inbound\",classification=\"success\"} %d\n", count.Add(5))
	}))
	defer proxy.Close()
	a := start(t, nil)
	a.control.SetTargets(scrape.Target{ID: "good-1.demo", Address: strings.TrimPrefix(proxy.URL, "http://"), Labels: map[string]string{"namespace": "demo", "pod": "good-1", "deployment": "good"}})
	for {
		table, err := a.Stat(t.Context(), stat.Request{Resource: stat.Ref{Kind: stat.Deployment, Name: "good"}})
		if err != nil {
			t.Fatal(err)
		}
		if row := table.Rows[0]; row.RPS != nil {
			if *row.Success != 1 || *row.RPS <= 0 || row.Meshed != "1/1" {
				t.Errorf("row %+v", row)
			}
			break
		}
	}
	status, body := a.ask(t, "GET", "/api/v1/query?query=up", "")
	if status != 200 || !strings.Contains(body, `"pod":"good-1"`) || !strings.Contains(body, `"1"]`) {
		t.Errorf("up: %d %s", status, body)
	}
	status, body = a.ask(t, "POST", "/api/v1/query_range", "query=up&start=1800000000&end=1800000001&step=1", "Content-Type", "application/x-www-form-urlencoded")
	if want := `{"status":"success","data":{"resultType":"matrix","result":[]}}`; status != 200 || body != want {
		t.Errorf("range: %d %s", status, body)
	}
}

func TestForeignPrometheus(t *testing.T) {
	prom := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		expr := r.FormValue("query")
		if strings.Contains(expr, "anchored") {
			t.Errorf("a Prometheus elsewhere was asked with a modifier that it may not know: %s", expr)
		}
		result := "[]"
		if strings.Contains(expr, "response_total") {
			result = `[{"metric":{"namespace":"demo","deployment":"good","classification":"success"},"value":[1800000000,"42"]}]`
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":%s}}`, result)
	}))
	defer prom.Close()
	a := start(t, func(c *observe.Config) { c.Prometheus = prom.URL })
	table, err := a.Stat(t.Context(), stat.Request{Resource: stat.Ref{Kind: stat.Deployment, Name: "good"}})
	if err != nil {
		t.Fatal(err)
	}
	if row := table.Rows[0]; row.RPS == nil || *row.RPS != 4.2 {
		t.Errorf("row %+v, want 4.2 rps", row)
	}
}

func TestDocuments(t *testing.T) {
	a := start(t, nil)
	a.control.SetFindings(lint.Finding{Code: "bad-value", Severity: lint.Error, Object: "service/bb -n demo", Reason: "no"})
	for name, tc := range map[string]struct {
		path   string
		status int
		want   string // the beginning of the body
	}{
		"version":            {"/api/v1/version", 200, `{"version":"v1"}`},
		"namespaces":         {"/api/v1/namespaces", 200, `{"default":"demo","namespaces":["demo"]}`},
		"objects":            {"/api/v1/objects", 200, `{"objects":[],"problems":[{"code":"bad-value","severity":"error","object":"service/bb -n demo","reason":"no"}]}`},
		"lint":               {"/api/v1/lint", 200, `{"findings":[{"code":"bad-value","severity":"error","object":"service/bb -n demo","reason":"no"}]}`},
		"policy":             {"/api/v1/policy?service=bb&port=8080", 200, `{"effective":{"client":"demo","service":"bb"},"linkerd":{"protocol":{}}}`},
		"policy of nothing":  {"/api/v1/policy?namespace=x&service=bb&port=8080", 404, `{"error":"there is no service bb with port 8080 in namespace x"}`},
		"policy, no port":    {"/api/v1/policy?service=bb", 404, `{"error":"there is no service bb with port 0 in namespace demo"}`},
		"policy, port 0":     {"/api/v1/policy?service=bb&port=0", 400, `{"error":"port \"0\": give a number from 1 to 65535"}`},
		"policy, no service": {"/api/v1/policy?port=80", 400, `{"error":"service is missing"}`},
		"breakers":           {"/api/v1/breakers?namespace=other", 200, `{"at":"`},
		"stat":               {"/api/v1/stat?resource=deploy/good", 200, `{"at":"`},
		"stat of nothing":    {"/api/v1/stat?resource=deploy/gone", 404, `{"error":"deployment \"gone\" not found in namespace \"demo\""}`},
		"stat, kind":         {"/api/v1/stat?resource=job", 400, `{"error":"resource \"job\": the kind \"job\" is not known`},
		"stat, to":           {"/api/v1/stat?resource=deploy&to=job", 400, `{"error":"--to: resource \"job\"`},
		"stat, window":       {"/api/v1/stat?resource=deploy&window=soon", 400, `{"error":"window \"soon\" is not a duration`},
		"stat, no window":    {"/api/v1/stat?resource=deploy&window=0s", 400, `{"error":"window 0s is not allowed`},
		"stat, all":          {"/api/v1/stat?resource=deploy&all_namespaces=maybe", 400, `{"error":"all_namespaces=\"maybe\"`},
		"events, follow":     {"/api/v1/events?follow=maybe", 400, `{"error":"follow=\"maybe\"`},
		"no such page":       {"/api/v1/other", 404, `404`},
		"query":              {"/api/v1/query?query=sum(", 400, `{"status":"error"`},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := a.ask(t, "GET", tc.path, "")
			if status != tc.status || !strings.HasPrefix(body, tc.want) {
				t.Errorf("%d %s\nwant %d %s", status, body, tc.status, tc.want)
			}
		})
	}
	if status, _ := a.ask(t, "DELETE", "/api/v1/stat?resource=deploy", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: %d, want 405", status)
	}
}

// A namespace that is not named is the only one, or "default".
func TestDefaultNamespace(t *testing.T) {
	a := start(t, nil)
	a.control.AddResource(stat.Resource{Kind: stat.Pod, Namespace: "second", Name: "p", Instances: 1})
	if _, body := a.ask(t, "GET", "/api/v1/namespaces", ""); !strings.HasPrefix(body, `{"default":"default"`) {
		t.Errorf("with two namespaces: %s", body)
	}
}

func TestBreakers(t *testing.T) {
	a := start(t, nil)
	l, err := a.Breakers(t.Context(), breakers.Filter{Namespace: "demo", Service: "bb"})
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Breakers) != 2 || l.Breakers[0].State != breakers.Open || l.Breakers[0].Client != fakecontrol.Cooker() || l.At.IsZero() {
		t.Errorf("got %+v", l)
	}
}

// Web pages must not reach the API: not under a name of their own, not by a
// form, not from another origin.
func TestGuard(t *testing.T) {
	a := start(t, func(c *observe.Config) { c.Hosts = []string{"recloser.mesh"} })
	doc := `{"kind":"service","namespace":"demo","name":"bb","annotations":{"a":"b"}}`
	port := a.url[strings.LastIndex(a.url, ":"):]
	for name, tc := range map[string]struct {
		method, path, body string
		header             []string
		status             int
	}{
		"by address":        {"GET", "/api/v1/version", "", nil, 200},
		"by localhost":      {"GET", "/api/v1/version", "", []string{"Host", "localhost" + port}, 200},
		"by IPv6":           {"GET", "/api/v1/version", "", []string{"Host", "[::1]" + port}, 200},
		"by its name":       {"GET", "/api/v1/version", "", []string{"Host", "Recloser.mesh" + port}, 200},
		"DNS rebinding":     {"GET", "/api/v1/version", "", []string{"Host", "evil.example" + port}, 403},
		"rebinding, prefix": {"GET", "/api/v1/version", "", []string{"Host", "localhost.evil.example"}, 403},
		"rebinding, number": {"GET", "/api/v1/version", "", []string{"Host", "127.0.0.1.evil.example"}, 403},
		"a document":        {"POST", "/api/v1/annotate", doc, []string{"Content-Type", "application/json"}, 200},
		"same origin":       {"POST", "/api/v1/annotate", doc, []string{"Content-Type", "application/json; charset=utf-8", "Origin", a.url}, 200},
		"another origin":    {"POST", "/api/v1/annotate", doc, []string{"Content-Type", "application/json", "Origin", "http://evil.example"}, 403},
		"a null origin":     {"POST", "/api/v1/annotate", doc, []string{"Content-Type", "application/json", "Origin", "null"}, 403},
		"another site":      {"POST", "/api/v1/annotate", doc, []string{"Content-Type", "application/json", "Sec-Fetch-Site", "cross-site"}, 403},
		"a query of a site": {"POST", "/api/v1/query", "query=up", []string{"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site"}, 403},
		"a form":            {"POST", "/api/v1/annotate", doc, []string{"Content-Type", "text/plain"}, 400},
		"no type":           {"POST", "/api/v1/annotate", doc, nil, 400},
		"not JSON":          {"POST", "/api/v1/annotate", "a=b", []string{"Content-Type", "application/json"}, 400},
		"two documents":     {"POST", "/api/v1/annotate", doc + doc, []string{"Content-Type", "application/json"}, 400},
		"an unknown field":  {"POST", "/api/v1/annotate", `{"king":"service"}`, []string{"Content-Type", "application/json"}, 400},
		"a long document":   {"POST", "/api/v1/annotate", `{"kind":"` + strings.Repeat("a", 70_000) + `"}`, []string{"Content-Type", "application/json"}, 413},
		"annotate by GET":   {"GET", "/api/v1/annotate", "", nil, 405},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := a.ask(t, tc.method, tc.path, tc.body, tc.header...)
			if status != tc.status {
				t.Errorf("%d %s, want %d", status, body, tc.status)
			}
		})
	}
}

// A request from another machine is refused even when the listener lets it in.
func TestRemotePeers(t *testing.T) {
	control := fakecontrol.Tutorial(now)
	for allow, want := range map[bool]int{false: http.StatusForbidden, true: http.StatusOK} {
		o, err := observe.New(observe.Config{Mesh: control, Reports: control, Configuration: control, AllowRemote: allow, Version: 1})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "http://10.1.2.3:8084/api/v1/version", nil)
		r.RemoteAddr = "10.9.9.9:1234"
		w := httptest.NewRecorder()
		o.Handler().ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("AllowRemote %v: %d, want %d", allow, w.Code, want)
		}
	}
}

func TestAnnotate(t *testing.T) {
	a := start(t, nil)
	set := func(overwrite bool, kv ...string) (*observe.Annotated, error) {
		doc := observe.Annotation{Kind: "svc", Name: "bb", Annotations: map[string]*string{}, Overwrite: overwrite}
		for _, s := range kv {
			k, v, ok := strings.Cut(s, "=")
			if ok {
				doc.Annotations[k] = &v
			} else {
				doc.Annotations[k] = nil
			}
		}
		return a.Annotate(t.Context(), doc)
	}
	done, err := set(false, "balancer.linkerd.io/failure-accrual=consecutive", "missing")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&observe.Annotated{Object: "service/bb", Namespace: "demo", Absent: []string{"missing"}}, done); diff != "" {
		t.Error(diff)
	}
	if _, err := set(false, "balancer.linkerd.io/failure-accrual=consecutive"); err != nil {
		t.Errorf("the same value again: %v", err)
	}
	_, err = set(false, "owner=team-b", "new=1")
	if want := "--overwrite is false but found the following declared annotation(s): 'owner' already has a value (team-a)"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := set(true, "owner=team-b", "balancer.linkerd.io/failure-accrual"); err != nil {
		t.Error(err)
	}
	have, _ := a.control.Annotations("service", "demo", "bb")
	if diff := cmp.Diff(map[string]string{"owner": "team-b"}, have); diff != "" {
		t.Error(diff)
	}
	if _, err := set(false, "a b=c"); err == nil || !strings.Contains(err.Error(), `annotation "a b"`) {
		t.Errorf("a wrong name gave %v", err)
	}
	if _, err := set(false); err == nil || !strings.Contains(err.Error(), "at least one annotation") {
		t.Errorf("nothing to do gave %v", err)
	}
	a.control.Refuse(errors.New("value \"x\": must be consecutive or unified"))
	var refused *client.APIError
	if _, err := set(true, "balancer.linkerd.io/failure-accrual=x"); !errors.As(err, &refused) || refused.Status != 400 || !strings.Contains(err.Error(), "must be consecutive") {
		t.Errorf("a refusal became %v", err)
	}
	if _, err := a.Annotate(t.Context(), observe.Annotation{Kind: "service", Name: "none", Annotations: map[string]*string{"a": nil}}); err == nil || !strings.Contains(err.Error(), `service "none" not found in namespace "demo"`) {
		t.Errorf("an object that is not: %v", err)
	}
}

func TestEventsKept(t *testing.T) {
	a := start(t, nil)
	var got []breakers.Line
	err := a.Events(t.Context(), breakers.Filter{}, false, func(l breakers.Line) error { got = append(got, l); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Event == nil || got[0].Event.Detail != "7 failures in a row" || got[1].End != "these are all that are kept" {
		t.Errorf("got %+v", got)
	}
}

// A stream goes on with what comes, tells of losses, and ends in good order
// when the control plane does.
func TestEventsFollow(t *testing.T) {
	a := start(t, nil)
	lines := make(chan breakers.Line)
	ended := make(chan error, 1)
	go func() {
		ended <- a.Events(context.Background(), breakers.Filter{Service: "bb"}, true, func(l breakers.Line) error { lines <- l; return nil })
	}()
	if l := <-lines; l.Event == nil || !l.Event.Time.Equal(now) {
		t.Errorf("the kept event is %+v", l)
	}
	other := fakecontrol.Opening(now)
	other.Cluster = "outbound|80||aa.demo.svc.cluster.local"
	a.control.Tell(observe.Event{Client: fakecontrol.Cooker(), Event: other})
	a.control.Tell(observe.Event{Client: fakecontrol.Cooker(), Event: fakecontrol.Opening(now.Add(time.Second)), Lost: 3})
	if l := <-lines; l.Lost != 3 {
		t.Errorf("after a loss: %+v", l)
	}
	if l := <-lines; l.Event == nil || !l.Event.Time.Equal(now.Add(time.Second)) {
		t.Errorf("the new event is %+v", l)
	}
	go func() { _ = a.stop() }()
	if l := <-lines; l.End != "the control plane ends" {
		t.Errorf("at the end: %+v", l)
	}
	if err := <-ended; err != nil {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestEventsHeartbeat(t *testing.T) {
	a := start(t, func(c *observe.Config) { c.Heartbeat = time.Millisecond })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+"/api/v1/events?follow=true&service=none", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, `{"heartbeat":"`) {
		t.Errorf("in silence came %q, %v", line, err)
	}
}

// A reader that leaves ends its stream.
func TestEventsReaderLeaves(t *testing.T) {
	a := start(t, func(c *observe.Config) { c.Heartbeat = time.Millisecond })
	leave := errors.New("enough")
	if err := a.Events(t.Context(), breakers.Filter{}, true, func(breakers.Line) error { return leave }); !errors.Is(err, leave) {
		t.Errorf("got %v", err)
	}
	for a.control.Followers() > 0 {
		if t.Context().Err() != nil {
			t.Fatal("the stream did not end")
		}
	}
}

// A server that breaks off is not mistaken for one that ended.
func TestEventsCut(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(breakers.Line{Lost: 1})
	}))
	defer s.Close()
	c, err := client.New(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Events(t.Context(), breakers.Filter{}, true, func(breakers.Line) error { return nil }); !errors.Is(err, client.ErrCut) {
		t.Errorf("got %v, want ErrCut", err)
	}
}

func TestUnreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	c, err := client.New("http://" + ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Breakers(t.Context(), breakers.Filter{})
	var gone *client.UnreachableError
	if !errors.As(err, &gone) || !strings.Contains(err.Error(), "no control plane answers at http://127.0.0.1:") {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{"", "127.0.0.1:8084", "unix:///x"} {
		if _, err := client.New(bad); err == nil {
			t.Errorf("the address %q was taken", bad)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	c := &fakecontrol.Control{}
	for name, tc := range map[string]struct {
		cfg  observe.Config
		want string
	}{
		"nothing":    {observe.Config{}, "mesh, reports and configuration"},
		"address":    {observe.Config{Mesh: c, Reports: c, Configuration: c, Address: "8084"}, `API address "8084"`},
		"any":        {observe.Config{Mesh: c, Reports: c, Configuration: c, Address: ":8084"}, "reachable from other machines"},
		"remote":     {observe.Config{Mesh: c, Reports: c, Configuration: c, Address: "10.0.0.1:8084"}, "reachable from other machines"},
		"prometheus": {observe.Config{Mesh: c, Reports: c, Configuration: c, Prometheus: "prom:9090"}, `prometheus address "prom:9090"`},
		"interval":   {observe.Config{Mesh: c, Reports: c, Configuration: c, ScrapeInterval: 1}, "scrape interval: 1ns"},
		"retention":  {observe.Config{Mesh: c, Reports: c, Configuration: c, Store: store.Config{Retention: time.Second}}, "retention: 1s"},
		"heartbeat":  {observe.Config{Mesh: c, Reports: c, Configuration: c, Heartbeat: -1}, "heartbeat"},
	} {
		if _, err := observe.New(tc.cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
	if _, err := observe.New(observe.Config{Mesh: c, Reports: c, Configuration: c, Address: "0.0.0.0:8084", AllowRemote: true}); err != nil {
		t.Error(err)
	}
}

// A temporary store leaves nothing behind; a given folder keeps its samples.
func TestStoreFolders(t *testing.T) {
	temp, kept := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	a := start(t, nil)
	if entries, _ := os.ReadDir(temp); len(entries) != 1 {
		t.Errorf("while it runs there are %d folders, want 1", len(entries))
	}
	if err := a.stop(); err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(temp); len(entries) != 0 {
		t.Errorf("%s is left behind", entries[0].Name())
	}
	b := start(t, func(c *observe.Config) { c.Store.Dir = filepath.Join(kept, "metrics") })
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(kept, "metrics", "wal")); err != nil {
		t.Error(err)
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
