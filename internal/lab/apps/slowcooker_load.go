package apps

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"time"
)

// maxCookInFlight bounds the requests that are under way at once. A request
// that is due beyond it is not sent and counted as failed.
const maxCookInFlight = 10_000

// cooker sends the load and reports on it.
//
// The schedule is open: request k of the run is due in the k-th period after the
// start, whatever became of those before it, and its latency is counted from when it
// was due. A server that stalls therefore shows in the latencies with all the
// requests that came due meanwhile, which a generator that waits for each
// answer before it sends again leaves out ("coordinated omission").
type cooker struct {
	cfg     *cookConfig
	client  *http.Client
	env     Env
	metrics *cookMetrics

	results  chan cookResult // closed by send, once all requests are answered
	inFlight chan struct{}   // holds a value per request under way
	wg       sync.WaitGroup  // requests under way
}

// cookResult is what became of one request.
type cookResult struct {
	status  int
	latency time.Duration // from when the request was due to the first byte of the answer
	badHash bool
	err     error
}

// errCrowded stands for a request that was not sent.
var errCrowded = fmt.Errorf("not sent: %d requests are under way already", maxCookInFlight)

// insecureTLS is the client side of TLS that takes any certificate.
func insecureTLS() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true} //nolint:gosec // a load tool for test servers, as the original
}

func newCooker(cfg *cookConfig, transport http.RoundTripper, env Env) *cooker {
	return &cooker{
		cfg: cfg, env: env,
		client:   &http.Client{Transport: transport, Timeout: cfg.timeout},
		metrics:  newCookMetrics(),
		results:  make(chan cookResult, 1024),
		inFlight: make(chan struct{}, maxCookInFlight),
	}
}

// run sends and reports until the load is done or ctx ends; requests that are
// under way then are waited for, at most for their own time limit.
func (c *cooker) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	closeMetrics, err := c.metrics.serve(ctx, c.cfg.metricAddr)
	if err != nil {
		return err
	}
	defer closeMetrics()

	start := time.Now()
	go c.send(ctx, start)
	ticker := time.NewTicker(c.cfg.interval)
	defer ticker.Stop()

	rep := newCookReport(c.cfg, c.env.Stdout, start)
	rep.header()
	for iterations := uint64(0); ; {
		select {
		case r, ok := <-c.results:
			if !ok {
				return rep.finish(time.Now())
			}
			c.count(rep, r)
		case now := <-ticker.C:
			rep.line(now)
			if iterations++; iterations == c.cfg.iterations {
				stop()
			}
		}
	}
}

// count takes one result into the report and the metrics.
func (c *cooker) count(rep *cookReport, r cookResult) {
	c.metrics.add(r)
	if r.err != nil && rep.isNewError(r.err) {
		fmt.Fprintln(c.env.Stderr, r.err)
	}
	rep.add(r)
}

// send keeps the schedule, then waits for what is under way and closes results.
func (c *cooker) send(ctx context.Context, start time.Time) {
	defer close(c.results)
	defer c.wg.Wait()
	total := c.cfg.totalRequests
	for k := uint64(1); total == 0 || k <= total; k++ {
		due := start.Add(dueAfter(k, c.cfg.rate()))
		if !pause(ctx, time.Until(due)) {
			return
		}
		select {
		case c.inFlight <- struct{}{}:
			c.wg.Go(func() {
				defer func() { <-c.inFlight }()
				c.results <- c.request(context.WithoutCancel(ctx), k, due)
			})
		default:
			c.results <- cookResult{err: errCrowded}
		}
	}
}

// dueAfter is the time from the start to the moment at which request k (from
// 1) is due at rate requests per second: the middle of the k-th period, so that
// no request stands on the border between two intervals.
func dueAfter(k uint64, rate int) time.Duration {
	halves, second := 2*k-1, 2*uint64(rate) // in halves of a period
	return time.Duration(halves/second)*time.Second + time.Duration(halves%second)*time.Second/time.Duration(second)
}

// request sends request k and reads its answer to the end.
func (c *cooker) request(ctx context.Context, k uint64, due time.Time) cookResult {
	u := c.cfg.urls[(k-1)%uint64(len(c.cfg.urls))]
	var firstByte time.Time
	trace := &httptrace.ClientTrace{GotFirstResponseByte: func() { firstByte = time.Now() }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace),
		c.cfg.method, u.String(), bytes.NewReader(c.cfg.data))
	if err != nil {
		return cookResult{err: err}
	}
	req.Close = c.cfg.noReuse
	if host := c.cfg.hosts[rand.IntN(len(c.cfg.hosts))]; host != "" {
		req.Host = host
	}
	maps.Copy(req.Header, c.cfg.headers)
	if h := c.cfg.headers.Get("Host"); h != "" {
		req.Host = h
	}
	req.Header.Set("Sc-Req-Id", strconv.FormatUint(k, 10))

	resp, err := c.client.Do(req)
	if err != nil {
		return cookResult{err: err}
	}
	answered := time.Now()
	defer resp.Body.Close()
	badHash, err := c.readBody(resp.Body)
	if err != nil {
		return cookResult{err: fmt.Errorf("%s %q: reading the answer: %w", c.cfg.method, u, err)}
	}
	if firstByte.IsZero() {
		firstByte = answered
	}
	return cookResult{status: resp.StatusCode, latency: max(0, firstByte.Sub(due)), badHash: badHash}
}

// readBody reads a body to its end and, for the share that was asked for,
// compares its hash.
func (c *cooker) readBody(body io.Reader) (badHash bool, err error) {
	if c.cfg.hashSampleRate == 0 || rand.Float64() >= c.cfg.hashSampleRate {
		_, err = io.Copy(io.Discard, body)
		return false, err
	}
	h := fnv.New64a()
	if _, err := io.Copy(h, body); err != nil {
		return false, err
	}
	return h.Sum64() != c.cfg.hashValue, nil
}

// errorText is the part of a client's error that does not change from request
// to request (local ports do).
func errorText(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
