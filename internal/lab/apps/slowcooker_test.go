package apps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeServer answers requests in virtual time.
type fakeServer struct {
	answer func(n int) (status int, after time.Duration, err error) // of request n, from 1

	mu   sync.Mutex
	n    int
	seen []time.Time // when each request came
}

func (f *fakeServer) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.n++
	n := f.n
	f.seen = append(f.seen, time.Now())
	f.mu.Unlock()
	status, after, err := f.answer(n)
	if !pause(r.Context(), after) {
		return nil, r.Context().Err()
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("body")), Header: http.Header{}, Request: r}, nil
}

// cook runs slow_cooker against f in virtual time and returns its report lines
// without the header and the summary.
func cook(ctx context.Context, t *testing.T, f *fakeServer, args ...string) (lines []string, stderr string) {
	t.Helper()
	env, out, errs := testEnv(nil)
	cfg, err := parseCook(append(args, "-noLatencySummary", "http://bb:8080"), env)
	if err != nil {
		t.Fatal(err)
	}
	if err := newCooker(cfg, f, env).run(ctx); err != nil {
		t.Fatal(err)
	}
	all := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	return all[2:], errs.String()
}

func always(status int, after time.Duration) func(int) (int, time.Duration, error) {
	return func(int) (int, time.Duration, error) { return status, after, nil }
}

// afterTime cuts the time stamp, which differs from run to run, off a line.
func afterTime(line string) string {
	_, rest, _ := strings.Cut(line, " ")
	return rest
}

func TestSlowCookerLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		half := &fakeServer{answer: func(n int) (int, time.Duration, error) {
			if n%2 == 0 {
				return 500, 3 * time.Millisecond, nil
			}
			return 200, time.Millisecond, nil
		}}
		lines, _ := cook(t.Context(), t, half, "--qps", "10", "-iterations", "2")
		want := []string{
			"   0     50/50/0 100 100% 10s   1 [  1   3   3    3 ]    3      0 ",
			"   1     50/50/0 100 100% 10s   1 [  1   3   3    3 ]    3      0 ",
		}
		for i, w := range want {
			if i >= len(lines) || afterTime(lines[i]) != w {
				t.Errorf("line %d is %q, want %q", i, lines, w)
			}
		}
		if len(lines) != len(want) {
			t.Errorf("%d lines: %q", len(lines), lines)
		}
	})
}

func TestSlowCookerKeepsItsScheduleWhenTheServerStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{answer: func(n int) (int, time.Duration, error) {
			if n == 5 {
				return 200, 4 * time.Second, nil
			}
			return 200, 0, nil
		}}
		start := time.Now()
		cook(t.Context(), t, f, "-qps", "10", "-totalRequests", "50")
		if len(f.seen) != 50 {
			t.Fatalf("%d requests, want exactly 50", len(f.seen))
		}
		for i, at := range f.seen {
			if due := time.Duration(i)*100*time.Millisecond + 50*time.Millisecond; at.Sub(start) != due {
				t.Fatalf("request %d came after %v, due after %v", i+1, at.Sub(start), due)
			}
		}
	})
}

func TestSlowCookerLatencyIsFromWhenARequestWasDue(t *testing.T) {
	env, _, _ := testEnv(nil)
	cfg, err := parseCook([]string{"http://bb"}, env)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		c := newCooker(cfg, &fakeServer{answer: always(200, time.Second)}, env)
		r := c.request(t.Context(), 1, time.Now().Add(-2*time.Second))
		if r.latency != 3*time.Second {
			t.Errorf("sent 2s late and answered after 1s: latency %v, want 3s", r.latency)
		}
	})
}

func TestSlowCookerFailuresAndTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := fmt.Errorf("dial: %w", errors.New("connection refused"))
		f := &fakeServer{answer: func(n int) (int, time.Duration, error) {
			switch n % 3 {
			case 0:
				return 0, 0, refused
			case 1:
				return 404, 0, nil
			}
			return 200, time.Hour, nil
		}}
		lines, stderr := cook(t.Context(), t, f, "-qps", "3", "-totalRequests", "9", "-timeout", "2s", "-interval", "1m")
		if len(lines) != 1 || !strings.HasPrefix(afterTime(lines[0]), "   0      3/0/6 9  33% 1m0s") {
			t.Errorf("a 404 is good, a refused connection and a timeout are failures: %q", lines)
		}
		if n := strings.Count(stderr, "connection refused"); n != 1 {
			t.Errorf("the same error was printed %d times in an interval, want once:\n%s", n, stderr)
		}
	})
}

func TestSlowCookerEndsInGoodOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := &fakeServer{answer: always(200, 700*time.Millisecond)}
		time.AfterFunc(1500*time.Millisecond, cancel)
		lines, _ := cook(ctx, t, f, "-qps", "10")
		if len(lines) != 1 || !strings.HasPrefix(afterTime(lines[0]), "   0     15/0/0 15 100%") {
			t.Errorf("what was under way when it was asked to end is lost: %q", lines)
		}
	})
}

func TestSlowCookerBoundsWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{answer: always(200, 9*time.Second)}
		lines, stderr := cook(t.Context(), t, f, "-qps", "6000", "-totalRequests", "12000", "-interval", "1m")
		if len(lines) != 1 || !strings.Contains(lines[0], " 10000/0/2000 12000 ") || !strings.Contains(stderr, "not sent") {
			t.Errorf("%q %s", lines, stderr)
		}
	})
}

func TestSlowCookerHeader(t *testing.T) {
	var out bytes.Buffer
	env, _, _ := testEnv(nil)
	cfg, err := parseCook([]string{"-qps=10", "--concurrency=4", "-method", "POST", "http://bb:8080"}, env)
	if err != nil {
		t.Fatal(err)
	}
	newCookReport(cfg, &out, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)).header()
	want := "# sending 40 POST req/s with concurrency=4 to http://bb:8080 ...\n" +
		"#                    iter   good/b/f t   goal%   min [p50 p95 p99  p999]  max bhash change\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestChangeSign(t *testing.T) {
	for _, c := range []struct {
		before []int64
		latest int64
		want   string
	}{
		{nil, 5, ""},
		{[]int64{10, 10}, 10, ""},
		{[]int64{10}, 99, ""},
		{[]int64{10}, 100, "+"},
		{[]int64{1, 1}, 100, "++"},
		{[]int64{1}, 1_000_000, "+++"},
		{[]int64{100}, 10, "-"},
		{[]int64{1_000_000}, 1, "---"},
		{[]int64{0}, 0, ""},
		{[]int64{0}, 7, "+"},
		{[]int64{7}, 0, "-"},
	} {
		if got := changeSign(c.before, c.latest); got != c.want {
			t.Errorf("changeSign(%v, %d) = %q, want %q", c.before, c.latest, got, c.want)
		}
	}
}

// The whole program over real sockets, through a proxy that it knows from its
// environment, as under `recloser up`.
func TestSlowCookerOverRealSockets(t *testing.T) {
	var hits, hosts atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		body, _ := io.ReadAll(r.Body)
		if r.Host == "bb:8080" && r.RequestURI == "http://bb:8080/x" && r.Method == http.MethodPost && string(body) == "payload" &&
			r.Header.Get("X-Test") == "yes" && r.Header.Get("Sc-Req-Id") != "" {
			hosts.Add(1)
		}
		io.WriteString(w, "hello")
	}))
	defer proxy.Close()
	dir := t.TempDir()
	data, csv := filepath.Join(dir, "data"), filepath.Join(dir, "lat.csv")
	if err := os.WriteFile(data, []byte("payload"), 0o600); err != nil {
		t.Fatal(err)
	}
	env, out, stderr := testEnv(map[string]string{"HTTP_PROXY": proxy.URL})
	err := Run(t.Context(), "slow_cooker", []string{
		"--qps", "100", "--totalRequests=20", "-method", "POST", "-data", "@" + data, "-header", "X-Test: yes",
		"-reportLatenciesCSV", csv, "-metric-addr", "127.0.0.1:0", "-hashSampleRate", "1", "-hashValue", "11831194018420276491",
		"http://bb:8080/x",
	}, env)
	if err != nil {
		t.Fatal(err)
	}
	if hits.Load() != 20 || hosts.Load() != 20 {
		t.Errorf("%d requests, %d as they should be\n%s%s", hits.Load(), hosts.Load(), out, stderr)
	}
	line := regexp.MustCompile(`(?m)^\S+    0     20/0/0 20 100% 10s +\d+ \[.*\] +\d+ +0 $`)
	if !line.MatchString(out.String()) || !strings.Contains(out.String(), `"p999": `) {
		t.Errorf("printed\n%s", out)
	}
	b, err := os.ReadFile(csv)
	if err != nil || !regexp.MustCompile(`(?m)^\d+, \d+, \d+$`).Match(b) {
		t.Errorf("CSV %q %v", b, err)
	}
}

func TestSlowCookerRefusesArguments(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "want one argument"},
		{"http://a http://b", "got 2"},
		{"bb:8080", "want http://HOST"},
		{"-qps 0 http://a", "-qps 0: allowed are 1 to 1000000"},
		{"-concurrency 0 http://a", "-concurrency 0"},
		{"-interval 0s http://a", "-interval 0s"},
		{"-timeout -1s http://a", "-timeout -1s"},
		{"-latencyUnit s http://a", `-latencyUnit "s": allowed are ms, us and ns`},
		{"-hashSampleRate 2 http://a", "-hashSampleRate 2"},
		{"-header nothing http://a", "want NAME:VALUE"},
		{"-data @/nonexistent/file http://a", "-data"},
		{"-speed 9 http://a", "-speed"},
		{"@/nonexistent/list", "URL list"},
	} {
		env, _, _ := testEnv(nil)
		err := Run(t.Context(), "slow_cooker", strings.Fields(c.args), env)
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("slow_cooker %s: %v, want a usage error with %q", c.args, err, c.want)
		}
	}
}

func TestSlowCookerURLList(t *testing.T) {
	urls, err := readURLs("@-", strings.NewReader("http://a/1\n\nhttp://b/2\n"))
	if err != nil || len(urls) != 2 || urls[1].Host != "b" {
		t.Errorf("%v %v", urls, err)
	}
}
