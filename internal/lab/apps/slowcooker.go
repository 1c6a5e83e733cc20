package apps

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// cookConfig is what the arguments of slow_cooker say. The flags and their
// defaults are those of buoyantio/slow_cooker.
type cookConfig struct {
	qps              int           // per thread, 1 or more; default 1
	concurrency      int           // threads, 1 or more; default 1
	iterations       uint64        // intervals; 0: no end
	totalRequests    uint64        // 0: no end
	interval         time.Duration // between report lines, default 10s
	timeout          time.Duration // of one request, default 10s
	hosts            []string      // values of Host to choose from; "" is the URL's
	method           string        // default GET
	headers          http.Header
	data             []byte
	noReuse          bool
	compress         bool
	noLatencySummary bool
	latenciesCSV     string        // file name
	latencyUnit      time.Duration // ms, us or ns; default ms
	metricAddr       string        // host:port of /metrics
	hashValue        uint64        // FNV-1a, 64 bits, of the body that is expected
	hashSampleRate   float64       // share of answers whose hash is checked, 0 to 1

	urls   []*url.URL
	target string // as the arguments named it
}

// rate is the requests per second of all threads together.
func (c *cookConfig) rate() int { return c.qps * c.concurrency }

// runSlowCooker is slow_cooker: a steady, predictable load.
func runSlowCooker(ctx context.Context, args []string, env Env) error {
	cfg, err := parseCook(args, env)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return &UsageError{"slow_cooker", err}
	}
	transport := newCookTransport(cfg, env)
	defer transport.CloseIdleConnections()
	c := newCooker(cfg, transport, env)
	if err := c.run(ctx); err != nil {
		return fmt.Errorf("slow_cooker: %w", err)
	}
	return nil
}

// newCookTransport makes the connections of cfg. Certificates are not
// verified, as in the original: it is a tool for tests.
func newCookTransport(cfg *cookConfig, env Env) *http.Transport {
	return &http.Transport{
		Proxy:               proxyFromEnv(env.Getenv),
		DisableCompression:  !cfg.compress,
		DisableKeepAlives:   cfg.noReuse,
		MaxIdleConns:        maxCookInFlight,
		MaxIdleConnsPerHost: maxCookInFlight,
		IdleConnTimeout:     90 * time.Second,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		TLSClientConfig:     insecureTLS(),
	}
}

// headerFlag collects -header NAME:VALUE.
type headerFlag struct{ http.Header }

func (h headerFlag) String() string { return "" }

func (h headerFlag) Set(s string) error {
	name, value, ok := strings.Cut(s, ":")
	if name = strings.TrimSpace(name); !ok || name == "" {
		return errors.New("want NAME:VALUE")
	}
	h.Add(name, strings.TrimSpace(value))
	return nil
}

// parseCook reads the arguments. Each flag is taken with one dash or two.
func parseCook(args []string, env Env) (*cookConfig, error) {
	c := &cookConfig{headers: make(http.Header)}
	f := flag.NewFlagSet("slow_cooker", flag.ContinueOnError)
	f.SetOutput(env.Stderr)
	f.Usage = func() {
		fmt.Fprintln(env.Stderr, "Usage: slow_cooker [flags] <url>")
		f.PrintDefaults()
	}
	var host, data, unit string
	f.IntVar(&c.qps, "qps", 1, "requests per second of each thread")
	f.IntVar(&c.concurrency, "concurrency", 1, "number of threads")
	f.Uint64Var(&c.iterations, "iterations", 0, "number of intervals (0: no end)")
	f.Uint64Var(&c.totalRequests, "totalRequests", 0, "number of requests to send before ending (0: no end)")
	f.DurationVar(&c.interval, "interval", 10*time.Second, "time between report lines")
	f.DurationVar(&c.timeout, "timeout", 10*time.Second, "time limit of one request")
	f.StringVar(&host, "host", "", "value of the Host header, or a list with commas of which each request takes one at random")
	f.StringVar(&c.method, "method", "GET", "HTTP method")
	f.Var(headerFlag{c.headers}, "header", "HTTP header NAME:VALUE (repeatable)")
	f.StringVar(&data, "data", "", "body of the requests; @FILE reads it from a file, @- from standard input")
	f.BoolVar(&c.noReuse, "noreuse", false, "do not reuse connections")
	f.BoolVar(&c.compress, "compress", false, "ask for compressed answers")
	f.BoolVar(&c.noLatencySummary, "noLatencySummary", false, "do not print the latencies at the end")
	f.StringVar(&c.latenciesCSV, "reportLatenciesCSV", "", "file to write the latencies to as CSV: from, to, count")
	f.StringVar(&unit, "latencyUnit", "ms", "unit of the latencies: ms, us or ns")
	f.StringVar(&c.metricAddr, "metric-addr", "", "address to serve Prometheus' /metrics on")
	f.Uint64Var(&c.hashValue, "hashValue", 0, "FNV-1a hash (64 bits) that the body of an answer must have")
	f.Float64Var(&c.hashSampleRate, "hashSampleRate", 0, "share of the answers whose hash is checked, 0.0 to 1.0")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	c.hosts = strings.Split(host, ",")

	var errs []error
	var err error
	if c.latencyUnit, err = latencyUnit(unit); err != nil {
		errs = append(errs, err)
	}
	if f.NArg() != 1 {
		errs = append(errs, fmt.Errorf("want one argument, the URL to load, such as http://localhost:4140/; got %d", f.NArg()))
	} else if c.target = f.Arg(0); true {
		if c.urls, err = readURLs(c.target, env.Stdin); err != nil {
			errs = append(errs, err)
		}
	}
	if c.data, err = readData(data, env.Stdin); err != nil {
		errs = append(errs, fmt.Errorf("-data: %w", err))
	}
	if err := errors.Join(append(errs, c.validate())...); err != nil {
		return nil, err
	}
	return c, nil
}

// validate checks the ranges of the numbers.
func (c *cookConfig) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.qps < 1 || c.qps > 1_000_000 {
		bad("-qps %d: allowed are 1 to 1000000", c.qps)
	}
	if c.concurrency < 1 || c.concurrency > 10_000 {
		bad("-concurrency %d: allowed are 1 to 10000", c.concurrency)
	}
	if c.interval <= 0 {
		bad("-interval %v: must be above 0", c.interval)
	}
	if c.timeout <= 0 {
		bad("-timeout %v: must be above 0", c.timeout)
	}
	if c.hashSampleRate < 0 || c.hashSampleRate > 1 || math.IsNaN(c.hashSampleRate) {
		bad("-hashSampleRate %v: allowed are 0.0 to 1.0", c.hashSampleRate)
	}
	return errors.Join(errs...)
}

func latencyUnit(s string) (time.Duration, error) {
	switch s {
	case "ms":
		return time.Millisecond, nil
	case "us":
		return time.Microsecond, nil
	case "ns":
		return time.Nanosecond, nil
	}
	return 0, fmt.Errorf("-latencyUnit %q: allowed are ms, us and ns", s)
}

// readURLs reads the target: a URL, or a list of URLs, one per line, in a file
// (@FILE) or on standard input (@-).
func readURLs(target string, stdin io.Reader) ([]*url.URL, error) {
	var lines io.Reader = strings.NewReader(target)
	if path, ok := strings.CutPrefix(target, "@"); ok {
		b, err := readFileOr(path, stdin)
		if err != nil {
			return nil, fmt.Errorf("URL list: %w", err)
		}
		lines = strings.NewReader(string(b))
	}
	var urls []*url.URL
	scan := bufio.NewScanner(lines)
	for n := 1; scan.Scan(); n++ {
		line := strings.TrimSpace(scan.Text())
		if line == "" {
			continue
		}
		if err := checkHTTPURL(line); err != nil {
			return nil, fmt.Errorf("URL on line %d, %q: %w", n, line, err)
		}
		u, err := url.Parse(line)
		if err != nil {
			return nil, fmt.Errorf("URL on line %d: %w", n, err)
		}
		urls = append(urls, u)
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("URL list: %w", err)
	}
	if len(urls) == 0 {
		return nil, fmt.Errorf("no URL in %q", target)
	}
	return urls, nil
}

// readData reads the body of the requests.
func readData(data string, stdin io.Reader) ([]byte, error) {
	if path, ok := strings.CutPrefix(data, "@"); ok {
		return readFileOr(path, stdin)
	}
	return []byte(data), nil
}

// readFileOr reads a file, or stdin when its name is "-".
func readFileOr(path string, stdin io.Reader) ([]byte, error) {
	if path != "-" {
		return os.ReadFile(path)
	}
	if stdin == nil {
		return nil, errors.New("there is no standard input")
	}
	return io.ReadAll(stdin)
}
