// Package scrape fetches the metrics of the connected proxies, once per
// interval, and appends them to a time series store.
//
// It differs from Prometheus' own scraper in three things that a mesh's
// operator looks for within seconds:
//
//   - All targets of a round share one timestamp, a multiple of the interval.
//     A window of 10s then holds exactly ten scrapes of every proxy, and sums
//     over proxies compare like with like.
//   - A counter that appears gets a zero at the instant where it last was not
//     there: the scrape before, or the start of its process. The first requests
//     of a new pair of client and endpoint are then counted. Without it, a
//     counter that is first seen at 7 counts nothing until its second value.
//   - A target that keeps failing is asked less often, so that a hundred hung
//     proxies cannot hold up the healthy ones.
//
// A Scraper is used by one goroutine: Run, or a test that calls Round. Within a
// round, targets are fetched concurrently up to the bound; each has its own
// state, touched by one worker at a time.
//
// It does not discover targets: the control plane knows its proxies.
package scrape

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/prometheus/storage"
)

// Target is one place that has metrics.
type Target struct {
	// ID tells targets apart, together with Address: the proxy's node id.
	ID string
	// Address is HOST:PORT of the proxy's admin listener.
	Address string
	// Labels are added to each series. A metric's own label of the same name
	// becomes exported_NAME, as in Prometheus.
	Labels map[string]string
}

// Store takes the samples.
type Store interface {
	storage.AppendableV2
	// Complete says that all samples of the round at t are in.
	Complete(t time.Time)
}

// Config says what is scraped, how often and within what bounds.
type Config struct {
	// Targets lists the proxies that are connected now. It is called once per
	// round, from the goroutine of Run.
	Targets func() []Target
	// Store takes the samples.
	Store Store
	// Interval is the time between rounds: 100ms to 1h. Default 1s.
	Interval time.Duration
	// Timeout bounds one fetch: more than 0, at most Interval. Default: nine
	// tenths of Interval.
	Timeout time.Duration
	// Concurrency is the number of fetches at a time: 1 to 1024. Default 8.
	Concurrency int
	// MaxBytes bounds the body of one answer. Default 16 MiB.
	MaxBytes int64
	// MaxSeries bounds the series of one target. Default 50,000.
	MaxSeries int
	// Logger gets one line when a target begins to fail and one when it is well
	// again. Default: none.
	Logger *slog.Logger
}

// Validate reports every field that is missing or out of its range.
func (c Config) Validate() error {
	var errs []error
	if c.Targets == nil {
		errs = append(errs, errors.New("targets: missing: give a function that lists them"))
	}
	if c.Store == nil {
		errs = append(errs, errors.New("store: missing: give the store that takes the samples"))
	}
	if c.Interval != 0 && (c.Interval < 100*time.Millisecond || c.Interval > time.Hour) {
		errs = append(errs, fmt.Errorf("scrape interval: %s is not allowed: give 100ms to 1h", c.Interval))
	}
	if limit := c.withDefaults().Interval; c.Timeout < 0 || c.Timeout > limit {
		errs = append(errs, fmt.Errorf("scrape timeout: %s is not allowed: give more than 0 and at most the interval, %s", c.Timeout, limit))
	}
	if c.Concurrency < 0 || c.Concurrency > 1024 {
		errs = append(errs, fmt.Errorf("scrape concurrency: %d is not allowed: give 1 to 1024", c.Concurrency))
	}
	if c.MaxBytes < 0 {
		errs = append(errs, fmt.Errorf("scrape max bytes: %d is not allowed: give 1 or more", c.MaxBytes))
	}
	if c.MaxSeries < 0 {
		errs = append(errs, fmt.Errorf("scrape max series: %d is not allowed: give 1 or more", c.MaxSeries))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = c.Interval * 9 / 10
	}
	if c.Concurrency == 0 {
		c.Concurrency = 8
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 16 << 20
	}
	if c.MaxSeries == 0 {
		c.MaxSeries = 50_000
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Scraper fetches and appends.
type Scraper struct {
	cfg     Config // immutable after New
	client  *http.Client
	targets map[string]*target // owned by the goroutine of Run; by key
	first   int64              // milliseconds of the first round; 0 before it
	last    int64              // milliseconds of the last round
}

// New makes a scraper. cfg must be valid.
func New(cfg Config) *Scraper {
	cfg = cfg.withDefaults()
	return &Scraper{
		cfg: cfg,
		client: &http.Client{
			Timeout: cfg.Timeout,
			Transport: &http.Transport{
				Proxy:               nil, // a proxy setting of the environment is for programs, not for us
				MaxIdleConnsPerHost: 1,
				MaxConnsPerHost:     1,
				IdleConnTimeout:     4*cfg.Interval + 30*time.Second,
				DisableCompression:  true, // loopback or a local network: cheaper than to unpack
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		targets: make(map[string]*target),
	}
}

// Run does one round per interval until ctx ends. Its error is the context's.
func (s *Scraper) Run(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	slow := false
	for {
		began := time.Now()
		s.Round(ctx, began)
		// A round that takes too long leaves out the ones that it overlaps.
		if took := time.Since(began); (took > s.cfg.Interval) != slow && ctx.Err() == nil {
			slow = !slow
			s.cfg.Logger.Warn("scrape rounds take longer than the interval", "now", slow, "took", took, "interval", s.cfg.Interval, "targets", len(s.targets))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Round scrapes all targets that are due once. now is rounded down to a
// multiple of the interval; a round for an instant that was done is left out.
func (s *Scraper) Round(ctx context.Context, now time.Time) {
	at := now.Truncate(s.cfg.Interval).UnixMilli()
	if at <= s.last {
		return
	}
	if s.first == 0 {
		s.first = now.UnixMilli()
	}
	s.last = at
	due := s.reconcile(ctx, at)
	var wg sync.WaitGroup
	slots := make(chan struct{}, s.cfg.Concurrency)
	for _, t := range due {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			s.scrape(ctx, t, at)
		})
	}
	wg.Wait()
	if ctx.Err() == nil {
		s.cfg.Store.Complete(time.UnixMilli(at))
	}
}

// reconcile brings the states in line with the targets that exist now, marks
// the series of those that went as stale, and returns those that are due.
func (s *Scraper) reconcile(ctx context.Context, at int64) []*target {
	now := make(map[string]Target)
	for _, t := range s.cfg.Targets() {
		now[t.ID+"\x00"+t.Address] = t
	}
	for key, t := range s.targets {
		if is, ok := now[key]; !ok || !maps.Equal(is.Labels, t.Labels) {
			s.forget(ctx, t, at)
			delete(s.targets, key)
		}
	}
	var due []*target
	for key, is := range now {
		t := s.targets[key]
		if t == nil {
			t = newTarget(is)
			s.targets[key] = t
		}
		if t.pause > 0 {
			t.pause--
			continue
		}
		due = append(due, t)
	}
	return due
}

// maxPause is the most rounds that a failing target is left out.
const maxPause = 8

// scrape does one target's part of a round.
func (s *Scraper) scrape(ctx context.Context, t *target, at int64) {
	began := time.Now()
	samples, err := s.fetch(ctx, t)
	if err == nil {
		err = t.append(ctx, s.cfg.Store, samples, at, s.first)
	}
	if ctx.Err() != nil {
		return // the scraper ends; the target has done nothing wrong
	}
	if err != nil {
		t.failures++
		if t.failures > 2 {
			t.pause = min(1<<(t.failures-3), maxPause)
		}
		if t.failures == 1 {
			s.cfg.Logger.Warn("scrape failed", "target", t.ID, "address", t.Address, "error", err)
		}
		if err := t.markStale(ctx, s.cfg.Store, at); err != nil {
			s.cfg.Logger.Error("mark series stale", "target", t.ID, "error", err)
		}
	} else if t.failures > 0 {
		s.cfg.Logger.Info("scrape is well again", "target", t.ID, "address", t.Address, "failures", t.failures)
		t.failures = 0
	}
	if err := t.report(ctx, s.cfg.Store, at, err == nil, time.Since(began), len(samples)); err != nil {
		s.cfg.Logger.Error("append the state of a scrape", "target", t.ID, "error", err)
	}
}

// forget ends all series of a target that is gone.
func (s *Scraper) forget(ctx context.Context, t *target, at int64) {
	if err := errors.Join(t.markStale(ctx, s.cfg.Store, at), t.markGone(ctx, s.cfg.Store, at)); err != nil && ctx.Err() == nil {
		s.cfg.Logger.Error("mark a gone target's series stale", "target", t.ID, "error", err)
	}
}
