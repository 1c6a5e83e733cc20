package stat

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"go.uber.org/goleak"

	"github.com/reclosermesh/recloser/internal/observe/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.UnixMilli(1_800_000_000_000)

type mesh []Resource

func (m mesh) Resources() []Resource { return m }

// tutorial is the mesh of the circuit-breaking tutorial, and another namespace
// with names that it shares.
var tutorial = mesh{
	{Kind: Deployment, Namespace: "demo", Name: "slow-cooker", Instances: 1, Meshed: 1},
	{Kind: Deployment, Namespace: "demo", Name: "good", Instances: 1, Meshed: 1, Labels: map[string]string{"app": "bb"}},
	{Kind: Deployment, Namespace: "demo", Name: "bad", Instances: 2, Meshed: 1, Labels: map[string]string{"app": "bb"}},
	{Kind: Deployment, Namespace: "other", Name: "good", Instances: 1},
	{Kind: Service, Namespace: "demo", Name: "bb", Instances: 2, Meshed: 2},
	{Kind: Pod, Namespace: "demo", Name: "good-1", Instances: 1, Meshed: 1},
	{Kind: Workload, Namespace: "demo", Name: "legacy", Instances: 1, Meshed: 1},
	{Kind: Namespace, Name: "demo", Instances: 4, Meshed: 3},
	{Kind: Namespace, Name: "other", Instances: 1},
}

// recording builds metrics as a scrape each second would leave them.
type recording struct {
	t   *testing.T
	st  *store.Store
	app storage.AppenderV2
}

func record(t *testing.T) *recording {
	t.Helper()
	st, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return &recording{t: t, st: st, app: st.AppenderV2(t.Context())}
}

// add writes values from the second `from` on, one per second. series is in
// the text format: name{label="value"}.
func (r *recording) add(series string, from int, values ...float64) {
	r.t.Helper()
	ls, err := store.NewParser().ParseMetric(series)
	if err != nil {
		r.t.Fatal(err)
	}
	r.append(ls, from, values)
}

func (r *recording) append(ls labels.Labels, from int, values []float64) {
	r.t.Helper()
	for i, v := range values {
		at := start.Add(time.Duration(from+i) * time.Second)
		if _, err := r.app.Append(0, ls, 0, at.UnixMilli(), v, nil, nil, storage.AOptions{}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// done makes the samples up to the second `at` visible.
func (r *recording) done(at int) {
	r.t.Helper()
	if err := r.app.Commit(); err != nil {
		r.t.Fatal(err)
	}
	r.st.Complete(start.Add(time.Duration(at) * time.Second))
}

// ramp is perSecond, counted up for n seconds from zero.
func ramp(n int, perSecond float64) []float64 {
	out := make([]float64, n+1)
	for i := range out {
		out[i] = float64(i) * perSecond
	}
	return out
}

const (
	good   = `namespace="demo",pod="good-1",deployment="good"`
	bad    = `namespace="demo",pod="bad-1",deployment="bad"`
	cooker = `namespace="demo",pod="slow-cooker-1",deployment="slow-cooker"`
	toGood = cooker + `,direction="outbound",dst_service="bb",dst_namespace="demo",dst_workload="good",dst_workload_kind="Deployment",dst_pod="good-1"`
	toBad  = cooker + `,direction="outbound",dst_service="bb",dst_namespace="demo",dst_workload="bad",dst_workload_kind="Deployment",dst_pod="bad-1"`
)

// traffic is 5 good and 5 bad responses each second for 20 seconds, with 1 more
// response to bad that failed without an endpoint.
func (r *recording) traffic() {
	for _, side := range []struct{ labels, peer string }{
		{good + `,direction="inbound"`, "src"}, {toGood, "dst"},
	} {
		r.add(`response_total{classification="success",`+side.labels+`}`, 0, ramp(20, 5)...)
		r.add(`response_latency_ms_bucket{le="1",`+side.labels+`}`, 0, ramp(20, 4)...)
		r.add(`response_latency_ms_bucket{le="10",`+side.labels+`}`, 0, ramp(20, 5)...)
		r.add(`response_latency_ms_bucket{le="+Inf",`+side.labels+`}`, 0, ramp(20, 5)...)
		r.add(`tcp_open_connections{peer="`+side.peer+`",`+side.labels+`}`, 20, 3)
		r.add(`tcp_read_bytes_total{peer="`+side.peer+`",`+side.labels+`}`, 0, ramp(20, 100)...)
		r.add(`tcp_write_bytes_total{peer="`+side.peer+`",`+side.labels+`}`, 0, ramp(20, 200)...)
	}
	for _, labels := range []string{bad + `,direction="inbound"`, toBad} {
		r.add(`response_total{classification="failure",`+labels+`}`, 0, ramp(20, 5)...)
	}
	r.add(`response_total{classification="failure",direction="outbound",dst_service="bb",dst_namespace="demo",`+cooker+`}`, 19, 0, 1)
	r.done(20)
}

func compute(t *testing.T, q Querier, r Request) string {
	t.Helper()
	if r.Namespace == "" {
		r.Namespace = "demo"
	}
	table, err := Compute(t.Context(), q, tutorial, r)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := table.WriteTable(&b, Options{Namespaces: r.AllNamespaces}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestCompute(t *testing.T) {
	r := record(t)
	r.traffic()
	for name, tc := range map[string]struct {
		req  Request
		want string
	}{
		"deployments": {Request{Resource: Ref{Kind: Deployment}}, `
NAME          MESHED   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
bad              1/2     0.00%   5.0rps             -             -             -          -
good             1/1   100.00%   5.0rps           1ms           8ms          10ms          3
slow-cooker      1/1         -        -             -             -             -          -
`},
		"one, to a service": {Request{Resource: Ref{Deployment, "slow-cooker"}, To: Ref{Service, "bb"}}, `
NAME          MESHED   SUCCESS       RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
slow-cooker      1/1    49.50%   10.1rps           1ms           8ms          10ms          3
`},
		"to a deployment": {Request{Resource: Ref{Deployment, "slow-cooker"}, To: Ref{Deployment, "bad"}}, `
NAME          MESHED   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
slow-cooker      1/1     0.00%   5.0rps             -             -             -          -
`},
		"to a namesake elsewhere": {Request{Resource: Ref{Deployment, "slow-cooker"}, To: Ref{Deployment, "good"}, ToNamespace: "other"}, `
NAME          MESHED   SUCCESS   RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
slow-cooker      1/1         -     -             -             -             -          -
`},
		"to a namespace": {Request{Resource: Ref{Deployment, "slow-cooker"}, ToNamespace: "demo"}, `
NAME          MESHED   SUCCESS       RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
slow-cooker      1/1    49.50%   10.1rps           1ms           8ms          10ms          3
`},
		"deployments, from a deployment": {Request{Resource: Ref{Kind: Deployment}, From: Ref{Deployment, "slow-cooker"}}, `
NAME          MESHED   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
bad              1/2     0.00%   5.0rps             -             -             -          -
good             1/1   100.00%   5.0rps           1ms           8ms          10ms          3
slow-cooker      1/1         -        -             -             -             -          -
`},
		"from nobody": {Request{Resource: Ref{Deployment, "good"}, From: Ref{Pod, "nobody"}}, `
NAME   MESHED   SUCCESS   RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
good      1/1         -     -             -             -             -          -
`},
		"services": {Request{Resource: Ref{Kind: Service}}, `
NAME   MESHED   SUCCESS       RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
bb        2/2    49.50%   10.1rps           1ms           8ms          10ms          3
`},
		"pods": {Request{Resource: Ref{Kind: Pod}}, `
NAME     MESHED   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
good-1      1/1   100.00%   5.0rps           1ms           8ms          10ms          3
`},
		"workloads": {Request{Resource: Ref{Kind: Workload}}, `
NAME     MESHED   SUCCESS   RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
legacy      1/1         -     -             -             -             -          -
`},
		"namespaces": {Request{Resource: Ref{Kind: Namespace}}, `
NAME    MESHED   SUCCESS       RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
demo       3/4    50.00%   10.0rps           1ms           8ms          10ms          3
other      0/1         -         -             -             -             -          -
`},
		"all namespaces": {Request{Resource: Ref{Kind: Deployment}, AllNamespaces: true}, `
NAMESPACE   NAME          MESHED   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
demo        bad              1/2     0.00%   5.0rps             -             -             -          -
demo        good             1/1   100.00%   5.0rps           1ms           8ms          10ms          3
demo        slow-cooker      1/1         -        -             -             -             -          -
other       good             0/1         -        -             -             -             -          -
`},
		"selector": {Request{Resource: Ref{Kind: Deployment}, Selector: "app=bb"}, `
NAME   MESHED   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
bad       1/2     0.00%   5.0rps             -             -             -          -
good      1/1   100.00%   5.0rps           1ms           8ms          10ms          3
`},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(strings.TrimPrefix(tc.want, "\n"), compute(t, r.st, tc.req)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Ten seconds see what happened within ten seconds, to the request.
func TestWindow(t *testing.T) {
	r := record(t)
	inbound := good + `,direction="inbound"`
	// 1,000 successes in ten seconds, none after, and 7 failures in the last
	// second, of a series that is new.
	r.add(`response_total{classification="success",`+inbound+`}`, 0, append(ramp(10, 100), repeat(30, 1000)...)...)
	r.add(`response_total{classification="failure",`+inbound+`}`, 39, 0, 7)
	r.done(40)
	table, err := Compute(t.Context(), r.st, tutorial, Request{Resource: Ref{Deployment, "good"}, Namespace: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	if got := *table.Rows[0].Success; got != 0 {
		t.Errorf("success over 10s is %g, want 0", got)
	}
	if got := *table.Rows[0].RPS; got != 0.7 {
		t.Errorf("rps over 10s is %g, want 0.7: the new counter's 7 in 10 seconds", got)
	}
}

func repeat(n int, v float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = v
	}
	return out
}

// The tables of the tutorial, to the letter.
func TestTutorialTables(t *testing.T) {
	row := func(name string, success, rps float64, p50, p95, p99, conns uint64) Row {
		return Row{Name: name, Meshed: "1/1", Success: &success, RPS: &rps, P50: &p50, P95: &p95, P99: &p99, TCPConns: &conns}
	}
	for _, tc := range []struct {
		rows []Row
		want string
	}{
		{[]Row{row("bad", .0643, 4.7, 1, 1, 4, 2), row("good", 1, 5.9, 1, 1, 1, 3), row("slow-cooker", 1, 0.3, 1, 1, 1, 1)}, `
NAME          MESHED   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
bad              1/1     6.43%   4.7rps           1ms           1ms           4ms          2
good             1/1   100.00%   5.9rps           1ms           1ms           1ms          3
slow-cooker      1/1   100.00%   0.3rps           1ms           1ms           1ms          1
`},
		{[]Row{row("slow-cooker", .51, 10, 1, 1, 2, 2)}, `
NAME          MESHED   SUCCESS       RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
slow-cooker      1/1    51.00%   10.0rps           1ms           1ms           2ms          2
`},
		{[]Row{row("bad", .9474, 0.3, 1, 1, 1, 3), row("good", 1, 10.3, 1, 1, 4, 4), row("slow-cooker", 1, 0.3, 1, 1, 1, 1)}, `
NAME          MESHED   SUCCESS       RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN
bad              1/1    94.74%    0.3rps           1ms           1ms           1ms          3
good             1/1   100.00%   10.3rps           1ms           1ms           4ms          4
slow-cooker      1/1   100.00%    0.3rps           1ms           1ms           1ms          1
`},
	} {
		var b strings.Builder
		if err := (&Table{Rows: tc.rows}).WriteTable(&b, Options{}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimPrefix(tc.want, "\n"), b.String()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWide(t *testing.T) {
	r := record(t)
	r.traffic()
	table, err := Compute(t.Context(), r.st, tutorial, Request{Resource: Ref{Deployment, "good"}, Namespace: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := table.WriteTable(&b, Options{Wide: true}); err != nil {
		t.Fatal(err)
	}
	want := `NAME   MESHED   SUCCESS      RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN   READ_BYTES/SEC   WRITE_BYTES/SEC
good      1/1   100.00%   5.0rps           1ms           8ms          10ms          3         100.0B/s          200.0B/s
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

// TestBytesWithoutRequests: TCP, and streams that go on, show their bytes.
func TestBytesWithoutRequests(t *testing.T) {
	r := record(t)
	for _, peer := range []string{"src", "dst"} {
		inbound := good + `,direction="inbound",peer="` + peer + `"`
		r.add(`tcp_open_connections{`+inbound+`}`, 20, 2)
		r.add(`tcp_read_bytes_total{`+inbound+`}`, 0, ramp(20, 30)...)
		r.add(`tcp_write_bytes_total{`+inbound+`}`, 0, ramp(20, 70)...)
	}
	r.add(`tcp_open_connections{`+bad+`,direction="inbound",peer="src"}`, 20, 1)
	r.done(20)
	want := `NAME          MESHED   SUCCESS   RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN   READ_BYTES/SEC   WRITE_BYTES/SEC
bad              1/2         -     -             -             -             -          1           0.0B/s            0.0B/s
good             1/1         -     -             -             -             -          2          30.0B/s           70.0B/s
slow-cooker      1/1         -     -             -             -             -          -                -                 -
`
	if diff := cmp.Diff(want, compute(t, r.st, Request{Resource: Ref{Kind: Deployment}})); diff != "" {
		t.Error(diff)
	}
	quiet := compute(t, r.st, Request{Resource: Ref{Deployment, "bad"}})
	if strings.Contains(quiet, "BYTES") {
		t.Errorf("connections at rest have bytes:\n%s", quiet)
	}
}

// TestGRPC: an answer with status 200 is a failure when its trailers say so.
func TestGRPC(t *testing.T) {
	r := record(t)
	inbound := good + `,direction="inbound",status_code="200"`
	r.add(`response_total{classification="success",grpc_status_code="0",`+inbound+`}`, 0, ramp(20, 3)...)
	r.add(`response_total{classification="success",grpc_status_code="5",`+inbound+`}`, 0, ramp(20, 3)...)
	r.add(`response_total{classification="failure",grpc_status_code="14",`+inbound+`}`, 0, ramp(20, 2)...)
	r.done(20)
	if got := compute(t, r.st, Request{Resource: Ref{Deployment, "good"}}); !strings.Contains(got, "75.00%   8.0rps") {
		t.Errorf("got\n%s", got)
	}
}

// inexact is a store that is asked as a Prometheus elsewhere.
type inexact struct{ *store.Store }

func (inexact) Exact() bool { return false }

func TestForeignPrometheus(t *testing.T) {
	r := record(t)
	r.traffic()
	got := compute(t, inexact{r.st}, Request{Resource: Ref{Deployment, "good"}})
	if !strings.Contains(got, "100.00%   5.0rps") {
		t.Errorf("a steady rate is not 5.0rps:\n%s", got)
	}
}

func TestNothingScrapedYet(t *testing.T) {
	r := record(t)
	if got := compute(t, r.st, Request{Resource: Ref{Deployment, "good"}}); !strings.Contains(got, "good      1/1         -") {
		t.Errorf("got\n%s", got)
	}
}

func TestRequestErrors(t *testing.T) {
	deploy, svc := Ref{Kind: Deployment}, Ref{Service, "bb"}
	for name, tc := range map[string]struct {
		req  Request
		want string
	}{
		"kind":           {Request{Resource: Ref{Kind: "cronjob"}}, `resource kind "cronjob" is not known: allowed are deploy, pod, svc, workload, ns`},
		"short window":   {Request{Resource: deploy, Window: time.Millisecond}, "window 1ms is not allowed"},
		"to and from":    {Request{Resource: deploy, To: svc, From: deploy}, "--to and --from cannot be used together"},
		"a service to":   {Request{Resource: svc, To: svc}, "a service makes no calls"},
		"from a service": {Request{Resource: deploy, From: svc}, "a service makes no calls"},
		"selector":       {Request{Resource: deploy, Selector: "a in b"}, `selector "a in b"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compute(t.Context(), inexact{}, mesh{}, tc.req)
			var bad *RequestError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestNotFound(t *testing.T) {
	r := record(t)
	_, err := Compute(t.Context(), r.st, tutorial, Request{Resource: Ref{Deployment, "gone"}, Namespace: "demo"})
	var missing *NotFoundError
	if !errors.As(err, &missing) || err.Error() != `deployment "gone" not found in namespace "demo"` {
		t.Errorf("got %v", err)
	}
	for want, req := range map[string]Request{
		`service "gone" not found in namespace "demo"`:    {To: Ref{Service, "gone"}, Namespace: "demo"},
		`service "bb" not found in namespace "nowhere"`:   {To: Ref{Service, "bb"}, Namespace: "demo", ToNamespace: "nowhere"},
		`deployment "gone" not found in namespace "demo"`: {From: Ref{Deployment, "gone"}, Namespace: "demo"},
		`service "gone" not found`:                        {To: Ref{Service, "gone"}, AllNamespaces: true},
	} {
		req.Resource = Ref{Kind: Deployment}
		if _, err := Compute(t.Context(), r.st, tutorial, req); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestParseRef(t *testing.T) {
	for in, want := range map[string]string{
		"deploy": "deployment", "deployments": "deployment", "Deploy/good": "deployment/good", "po": "pod", "pods/x": "pod/x",
		"svc/bb": "service/bb", "service": "service", "workload/legacy": "workload/legacy", "ns": "namespace", "ns/demo": "namespace/demo",
	} {
		ref, err := ParseRef(in)
		if err != nil || ref.String() != want {
			t.Errorf("%q is %q, %v; want %q", in, ref, err, want)
		}
	}
	for _, in := range []string{"", "/", "deploy/", "job/x", "deploy/a/b", "deploy/a b"} {
		if ref, err := ParseRef(in); err == nil {
			t.Errorf("%q is %q, want an error", in, ref)
		}
	}
}

func FuzzParseRef(f *testing.F) {
	f.Add("deploy/good")
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseRef(s)
		if err != nil {
			return
		}
		again, err := ParseRef(ref.String())
		if err != nil || again != ref {
			t.Errorf("%q is %v, written and read again it is %v, %v", s, ref, again, err)
		}
	})
}

// A name that has quotes or braces in it stays a name.
func TestQuoting(t *testing.T) {
	s := sideOf(Request{Resource: Ref{Deployment, `x"} or up{a="`}, Namespace: "demo"})
	expr := fmt.Sprintf("m{%s}", strings.Join(s.matchers, ","))
	if _, err := store.NewParser().ParseMetricSelector(expr); err != nil {
		t.Errorf("%s: %v", expr, err)
	}
}
