package telemetry

import (
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files again")

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (write it again with -update):\n%s", path, diff)
	}
}

// scrape gives the exposition without the process' own metrics.
func scrape(t *testing.T, p *Proxy) string {
	t.Helper()
	w := httptest.NewRecorder()
	p.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var kept strings.Builder
	own := regexp.MustCompile(`^(# [A-Z]+ )?(process|go)_`)
	for line := range strings.Lines(w.Body.String()) {
		if !own.MatchString(line) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

type testClock struct{ now time.Time }

func (c *testClock) Now() time.Time { return c.now }

func TestExposition(t *testing.T) {
	clock := &testClock{now: time.Unix(1000, 0)}
	p := NewProxy(Options{Now: clock.Now, Version: "v1"})
	c := p.Cluster(Outbound, "outbound|8080||bb.demo.svc.cluster.local", ServiceRef{"demo", "bb", "8080"})
	good := c.Endpoint("127.0.1.5:8080", Labels{"demo", "good-1", "good", "Deployment"})
	bad := c.Endpoint("127.0.1.6:8080", Labels{"demo", "bad-1", "bad", "Deployment"})
	for range 3 {
		good.Request()
		good.Response(200, -1, true, 1500*time.Microsecond)
	}
	bad.Request()
	bad.Response(500, -1, false, 70*time.Second)
	bad.Request()
	bad.Response(200, 14, false, time.Millisecond)
	bad.Transition(BreakerClosed, BreakerOpen, "consecutive_failures")
	clock.now = clock.now.Add(3 * time.Second)
	bad.Transition(BreakerOpen, BreakerHalfOpen, "probe_due")
	good.ConnOpened()
	good.BytesRead(100)
	good.BytesWritten(50)
	c.Refuse(NoHealthyUpstream, 503, -1, 3*time.Second)
	c.Failed(ConnectFailure)
	c.Waiting(2)
	in := p.Cluster(Inbound, "inbound|8080||", ServiceRef{Port: "8080"})
	app := in.Endpoint("127.1.1.5:8080", Labels{})
	app.Request()
	app.Response(204, -1, true, 0)
	in.Refuse(LimitOverflow, 503, -1, 0)
	out := p.Downstream(Outbound, "")
	out.ConnOpened()
	out.Refuse(RouteNotFound)
	d := p.Downstream(Inbound, "8080")
	d.ConnOpened()
	d.ConnClosed()
	d.Refuse(MalformedRequest)
	p.XDS().Connected(true)
	p.XDS().Update(true)
	p.XDS().Update(false)
	golden(t, "testdata/exposition.txt", scrape(t, p))
}

func TestSubsetsOfOneServiceAddUp(t *testing.T) {
	p := NewProxy(Options{})
	for _, subset := range []string{"v1", "v2"} {
		c := p.Cluster(Outbound, "outbound|80|"+subset+"|a.b", ServiceRef{"b", "a", "80"})
		m := c.Endpoint("10.0.0.1:80", Labels{})
		m.Request()
		m.Response(200, -1, true, time.Millisecond)
	}
	got := scrape(t, p)
	want := `request_total{addr="10.0.0.1:80",direction="outbound",dst_namespace="b",dst_port="80",dst_service="a"} 2`
	if !strings.Contains(got, want) {
		t.Errorf("no line %q in:\n%s", want, got)
	}
}

func TestReleasedSeriesStayForTheRetention(t *testing.T) {
	clock := &testClock{now: time.Unix(1000, 0)}
	p := NewProxy(Options{Now: clock.Now})
	c := p.Cluster(Outbound, "c", ServiceRef{"b", "a", "80"})
	m := c.Endpoint("10.0.0.1:80", Labels{})
	m.Request()
	m.Release()
	if !strings.Contains(scrape(t, p), "10.0.0.1:80") {
		t.Error("a released endpoint is gone before its last counts were scraped")
	}
	if again := c.Endpoint("10.0.0.1:80", Labels{}); again != m {
		t.Error("an endpoint that came back begins anew")
	}
	m.Release()
	clock.now = clock.now.Add(retention + time.Second)
	c.Release()
	clock.now = clock.now.Add(retention + time.Second)
	p.Cluster(Outbound, "other", ServiceRef{}).Release()
	if got := scrape(t, p); strings.Contains(got, "10.0.0.1:80") || strings.Contains(got, `cluster="c"`) {
		t.Errorf("released series stay for ever:\n%s", got)
	}
}

func TestBucketOf(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{0, "1ms"},
		{time.Millisecond, "1ms"},
		{time.Millisecond + 1, "2ms"},
		{5 * time.Millisecond, "5ms"},
		{5*time.Millisecond + 1, "10ms"},
		{50 * time.Millisecond, "50ms"},
		{99 * time.Millisecond, "100ms"},
		{450 * time.Millisecond, "500ms"},
		{50 * time.Second, "50s"},
		{50*time.Second + 1, "+Inf"},
	} {
		got := "+Inf"
		if i := bucketOf(tt.d); i < len(latencyBounds) {
			got = latencyBounds[i].String()
		}
		if got != tt.want {
			t.Errorf("bucketOf(%v) = %s, want %s", tt.d, got, tt.want)
		}
	}
}

func TestStatusesAreBounded(t *testing.T) {
	var r responses
	total := 0
	for status := range 1200 {
		for grpc := -2; grpc < 20; grpc++ {
			r.count(status, grpc, status%2 == 0)
			total++
		}
	}
	seen, sum := 0, uint64(0)
	r.each(func(_ statusKey, n uint64) { seen++; sum += n })
	if limit := inlineStatuses + maxStatuses + 2; seen > limit {
		t.Errorf("%d series, at most %d wanted", seen, limit)
	}
	if sum != uint64(total) {
		t.Errorf("%d responses counted of %d", sum, total)
	}
}

func TestResponsesUnderConcurrency(t *testing.T) {
	var r responses
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				r.count(200+(g+i)%10, -1, true)
			}
		})
	}
	wg.Wait()
	counts := map[string]uint64{}
	r.each(func(k statusKey, n uint64) { counts[k.status()] += n })
	for i := range 10 {
		if got := counts[fmt.Sprint(200+i)]; got != 800 {
			t.Errorf("status %d: %d, want 800", 200+i, got)
		}
	}
}

func TestReasonsAreComplete(t *testing.T) {
	seen := map[string]Reason{}
	for _, r := range Reasons() {
		a := r.Answer()
		if a.Flag == "" || a.Details == "" {
			t.Errorf("reason %d has flag %q and details %q", r, a.Flag, a.Details)
		}
		if a.Status != 0 && (a.Text == "" || a.GRPC < 0) {
			t.Errorf("%s answers %d without a text or a grpc-status", a.Details, a.Status)
		}
		if other, dup := seen[a.Flag+a.Details]; dup {
			t.Errorf("reasons %d and %d are both %s %s", r, other, a.Flag, a.Details)
		}
		seen[a.Flag+a.Details] = r
	}
	if got := Reason(250).Details(); got != "overload" {
		t.Errorf("a reason out of range is %q", got)
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	p := NewProxy(Options{})
	c := p.Cluster(Outbound, "c", ServiceRef{})
	m := c.Endpoint("a", Labels{})
	d := p.Downstream(Outbound, "")
	n := testing.AllocsPerRun(1000, func() {
		m.Request()
		m.BytesRead(1)
		m.Response(200, -1, true, time.Millisecond)
		m.Response(503, 14, false, time.Second)
		c.Refuse(LimitOverflow, 503, -1, 0)
		d.Refuse(RouteNotFound)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkExchange(b *testing.B) {
	m := NewProxy(Options{}).Cluster(Outbound, "c", ServiceRef{}).Endpoint("a", Labels{})
	b.ReportAllocs()
	for b.Loop() {
		m.Request()
		m.Response(200, -1, true, 700*time.Microsecond)
	}
}
