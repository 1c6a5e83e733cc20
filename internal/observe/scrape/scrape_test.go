package scrape

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"go.uber.org/goleak"

	"github.com/reclosermesh/recloser/internal/observe/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is the instant of the first round in these tests: any multiple of a
// second does.
var start = time.UnixMilli(1_800_000_000_000)

// proxy is a fake admin listener whose answer a test sets.
type proxy struct {
	mu     sync.Mutex
	body   string
	status int
	hits   int
	server *httptest.Server
}

func newProxy(t *testing.T) *proxy {
	p := &proxy{status: http.StatusOK}
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.hits++
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		w.WriteHeader(p.status)
		fmt.Fprint(w, p.body)
	}))
	t.Cleanup(p.server.Close)
	return p
}

func (p *proxy) set(body string) { p.answer(http.StatusOK, body) }

func (p *proxy) answer(status int, body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.body = status, body
}

func (p *proxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hits
}

func (p *proxy) target(pod string) Target {
	return Target{
		ID:      pod + ".demo",
		Address: strings.TrimPrefix(p.server.URL, "http://"),
		Labels:  map[string]string{"namespace": "demo", "pod": pod, "deployment": "good"},
	}
}

// bench is a scraper with a store, and targets that a test may change between
// rounds.
type bench struct {
	t       *testing.T
	store   *store.Store
	scraper *Scraper
	targets []Target
	round   int
}

func newBench(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	st, err := store.Open(store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, store: st}
	cfg := Config{Targets: func() []Target { return b.targets }, Store: st}
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	b.scraper = New(cfg)
	t.Cleanup(func() {
		b.scraper.client.CloseIdleConnections()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// step does the next round, a second after the one before.
func (b *bench) step() {
	b.scraper.Round(b.t.Context(), start.Add(time.Duration(b.round)*time.Second))
	b.round++
}

// value is the only value of expr at the last round; ok is false for none.
func (b *bench) value(expr string) (v float64, ok bool) {
	b.t.Helper()
	res, err := b.store.Query(b.t.Context(), expr, b.store.Latest())
	if err != nil {
		b.t.Fatal(err)
	}
	vec := res.(promql.Vector)
	if len(vec) > 1 {
		b.t.Fatalf("%s has %d results: %s", expr, len(vec), vec)
	}
	if len(vec) == 0 {
		return 0, false
	}
	return vec[0].F, true
}

func (b *bench) want(expr string, want float64) {
	b.t.Helper()
	got, ok := b.value(expr)
	if !ok {
		b.t.Errorf("round %d: %s has no result, want %g", b.round-1, expr, want)
	} else if got != want {
		b.t.Errorf("round %d: %s is %g, want %g", b.round-1, expr, got, want)
	}
}

func (b *bench) wantNone(expr string) {
	b.t.Helper()
	if got, ok := b.value(expr); ok {
		b.t.Errorf("round %d: %s is %g, want no result", b.round-1, expr, got)
	}
}

const increase = `increase(request_total[10s] anchored)`

func counter(value int) string {
	return fmt.Sprintf("# TYPE request_total counter\nrequest_total{direction=\"inbound\"} %d\n", value)
}

func began(at time.Time) string {
	return fmt.Sprintf("# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %g\n", float64(at.UnixMilli())/1000)
}

func TestLabels(t *testing.T) {
	p := newProxy(t)
	p.set("# TYPE request_total counter\nrequest_total{direction=\"outbound\",pod=\"theirs\"} 3\n")
	b := newBench(t, nil)
	b.targets = []Target{p.target("good-1")}
	b.step()
	b.want(`request_total{namespace="demo",pod="good-1",deployment="good",exported_pod="theirs",direction="outbound",job="recloser-proxy",instance="`+b.targets[0].Address+`"}`, 3)
	b.want(`up{namespace="demo",pod="good-1",deployment="good"}`, 1)
	b.want(`scrape_samples_scraped{pod="good-1"}`, 1)
}

// A counter that appears with 7 counts 7, whichever way it appears.
func TestFreshCounter(t *testing.T) {
	t.Run("in a process that was scraped before", func(t *testing.T) {
		p := newProxy(t)
		p.set("")
		b := newBench(t, nil)
		b.targets = []Target{p.target("good-1")}
		b.step()
		p.set(counter(7))
		b.step()
		b.want(increase, 7)
		p.set(counter(9))
		b.step()
		b.want(increase, 9)
	})
	t.Run("in a process that began after the scraper", func(t *testing.T) {
		p := newProxy(t)
		b := newBench(t, nil)
		b.step()
		b.step()
		p.set(began(start.Add(1500*time.Millisecond)) + counter(7))
		b.targets = []Target{p.target("good-1")}
		b.step()
		b.want(increase, 7)
	})
	t.Run("in a process that says it began in the future", func(t *testing.T) {
		p := newProxy(t)
		b := newBench(t, nil)
		p.set(began(start.Add(time.Hour)) + counter(7))
		b.targets = []Target{p.target("good-1")}
		b.step()
		b.want(increase, 7)
	})
	t.Run("not in a process that is older than the scraper", func(t *testing.T) {
		p := newProxy(t)
		b := newBench(t, nil)
		p.set(began(start.Add(-5*time.Second)) + counter(7))
		b.targets = []Target{p.target("good-1")}
		b.step()
		b.want(increase, 0)
		p.set(began(start.Add(-5*time.Second)) + counter(9))
		b.step()
		b.want(increase, 2)
	})
	t.Run("buckets of a histogram", func(t *testing.T) {
		p := newProxy(t)
		p.set("")
		b := newBench(t, nil)
		b.targets = []Target{p.target("good-1")}
		b.step()
		p.set("# TYPE response_latency_ms histogram\nresponse_latency_ms_bucket{le=\"1\"} 4\nresponse_latency_ms_bucket{le=\"+Inf\"} 4\nresponse_latency_ms_sum 4\nresponse_latency_ms_count 4\n")
		b.step()
		b.want(`histogram_quantile(0.5, increase(response_latency_ms_bucket[10s] anchored))`, 0.5)
	})
	t.Run("not a gauge", func(t *testing.T) {
		p := newProxy(t)
		p.set("")
		b := newBench(t, nil)
		b.targets = []Target{p.target("good-1")}
		b.step()
		p.set("# TYPE tcp_open_connections gauge\ntcp_open_connections 3\n")
		b.step()
		b.want(`count_over_time(tcp_open_connections[10s])`, 1)
	})
}

// A proxy whose connection to the control plane breaks and comes back goes on
// where it was: its counters are not counted again.
func TestReturningTarget(t *testing.T) {
	p := newProxy(t)
	b := newBench(t, nil)
	b.step()
	b.targets = []Target{p.target("good-1")}
	p.set(began(start.Add(time.Second)) + counter(100))
	b.step()
	b.want(increase, 100)
	b.targets = nil
	b.step()
	b.wantNone(`request_total`)
	b.wantNone(`up`)
	b.targets = []Target{p.target("good-1")}
	p.set(began(start.Add(time.Second)) + counter(103))
	b.step()
	b.want(increase, 103)
}

// A restarted process counts from zero again.
func TestRestart(t *testing.T) {
	p := newProxy(t)
	b := newBench(t, nil)
	b.step()
	b.targets = []Target{p.target("good-1")}
	p.set(began(start) + counter(100))
	b.step()
	p.set(began(start.Add(2*time.Second)) + counter(4))
	b.step()
	b.want(increase, 104)
}

func TestFailedScrape(t *testing.T) {
	for name, fail := range map[string]func(*proxy){
		"status":   func(p *proxy) { p.answer(http.StatusInternalServerError, counter(5)) },
		"syntax":   func(p *proxy) { p.set("request_total{ 5\n") },
		"too long": func(p *proxy) { p.set(counter(5) + strings.Repeat("# a comment\n", 100)) },
		"too many": func(p *proxy) { p.set(counter(5) + "a 1\nb 1\nc 1\nd 1\n") },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t)
			p.set(counter(5))
			b := newBench(t, func(c *Config) { c.MaxBytes, c.MaxSeries = 1000, 4 })
			b.targets = []Target{p.target("good-1")}
			b.step()
			b.want(`up`, 1)
			b.want(`request_total`, 5)
			fail(p)
			b.step()
			b.want(`up`, 0)
			b.wantNone(`request_total`)
			p.set(counter(8))
			b.step()
			b.want(`up`, 1)
			b.want(increase, 3)
		})
	}
}

// A series that a target no longer has goes at once.
func TestDroppedSeries(t *testing.T) {
	p := newProxy(t)
	p.set(counter(5) + "other 1\n")
	b := newBench(t, nil)
	b.targets = []Target{p.target("good-1")}
	b.step()
	b.want(`other`, 1)
	p.set(counter(6))
	b.step()
	b.wantNone(`other`)
	b.want(`request_total`, 6)
}

// A target that keeps failing is asked less often, and fully again when well.
func TestPause(t *testing.T) {
	p := newProxy(t)
	p.answer(http.StatusInternalServerError, "")
	b := newBench(t, nil)
	b.targets = []Target{p.target("good-1")}
	for range 60 {
		b.step()
	}
	// Three at once, then after 1, 2, 4 and then 8 rounds each.
	if got := p.count(); got < 8 || got > 12 {
		t.Errorf("a failing target was asked %d times in 60 rounds, want about 10", got)
	}
	p.set(counter(1))
	for range maxPause + 1 {
		b.step()
	}
	before := p.count()
	for range 5 {
		b.step()
	}
	if got := p.count() - before; got != 5 {
		t.Errorf("a target that is well again was asked %d times in 5 rounds, want 5", got)
	}
}

// No more than Concurrency fetches are under way at once, and all are done.
func TestConcurrency(t *testing.T) {
	const limit, proxies = 3, 12
	var mu sync.Mutex
	now, most := 0, 0
	gate := make(chan struct{})
	b := newBench(t, func(c *Config) { c.Concurrency = limit; c.Interval, c.Timeout = time.Minute, time.Minute })
	for i := range proxies {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			now++
			most = max(most, now)
			full := now == limit
			mu.Unlock()
			if full {
				close(gate) // the first time that the bound is reached lets all go
			}
			<-gate
			mu.Lock()
			now = -proxies // only the first wave is counted
			mu.Unlock()
			fmt.Fprint(w, counter(i))
		}))
		t.Cleanup(s.Close)
		b.targets = append(b.targets, Target{ID: fmt.Sprint(i), Address: strings.TrimPrefix(s.URL, "http://"), Labels: map[string]string{"pod": fmt.Sprint(i)}})
	}
	b.step()
	if most != limit {
		t.Errorf("%d fetches at once, want %d", most, limit)
	}
	b.want(`count(up == 1)`, proxies)
}

func TestRoundsShareOneTimestamp(t *testing.T) {
	p := newProxy(t)
	p.set(counter(1))
	b := newBench(t, nil)
	b.targets = []Target{p.target("a")}
	b.scraper.Round(t.Context(), start.Add(371*time.Millisecond))
	if got := b.store.Latest(); !got.Equal(start) {
		t.Errorf("a round at +371ms has the instant %v, want %v", got, start)
	}
	b.scraper.Round(t.Context(), start.Add(900*time.Millisecond))
	if got := p.count(); got != 1 {
		t.Errorf("%d scrapes for one instant, want 1", got)
	}
}

func TestRunEndsWithContext(t *testing.T) {
	p := newProxy(t)
	p.set(counter(1))
	scraped := make(chan struct{})
	b := newBench(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	b.scraper.cfg.Targets = func() []Target {
		once.Do(func() { close(scraped) })
		return []Target{p.target("a")}
	}
	done := make(chan error)
	go func() { done <- b.scraper.Run(ctx) }()
	<-scraped
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v, want %v", err, context.Canceled)
	}
}

func TestConfigValidate(t *testing.T) {
	err := Config{Interval: time.Millisecond, Timeout: 2 * time.Hour, Concurrency: 5000, MaxBytes: -1, MaxSeries: -1}.Validate()
	for _, want := range []string{"targets:", "store:", "scrape interval: 1ms", "scrape timeout: 2h", "scrape concurrency: 5000", "scrape max bytes: -1", "scrape max series: -1"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("the error does not name %q:\n%v", want, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(counter(7)), "text/plain; version=0.0.4")
	f.Add([]byte(began(start)), "")
	f.Add([]byte("# TYPE a counter\na_total 1\n# EOF\n"), "application/openmetrics-text")
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		tgt := newTarget(Target{ID: "a"})
		samples, err := tgt.parse(body, contentType, 100)
		if len(samples) > 100 {
			t.Errorf("%d samples, more than the limit", len(samples))
		}
		if err != nil && samples != nil {
			t.Error("samples beside an error")
		}
	})
}
