// Package store is the embedded Prometheus: its time series database and its
// PromQL engine as libraries, without its server, its scraper or its
// configuration.
//
// A Store is safe for concurrent use. One goroutine at a time should append;
// any number may query. It starts the database's own background goroutines in
// Open and has ended them when Close returns.
//
// What it does not do: fetch metrics (package scrape does), speak HTTP
// (package promapi does), or keep data for longer than its retention.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// Config says where samples live and how much of them is kept.
type Config struct {
	// Dir is the folder of the database. Empty: a temporary folder, made by
	// Open and removed by Close, without a write-ahead log, because nobody will
	// read it again.
	Dir string
	// Retention is how long samples are kept: 10m to 10 years. Default 2h in a
	// temporary folder, 15 days in a given one (Prometheus' own default).
	Retention time.Duration
	// MaxBytes bounds the blocks on disk; the oldest go first. Default 1 GiB.
	MaxBytes int64
	// QueryTimeout bounds one query. Default 30s.
	QueryTimeout time.Duration
	// MaxSamples bounds the samples that one query may hold in memory. Default
	// 10,000,000 (160 MB).
	MaxSamples int
	// Logger gets the database's own messages. Default: none.
	Logger *slog.Logger
}

const (
	minRetention = 10 * time.Minute
	maxRetention = 10 * 365 * 24 * time.Hour
	// lookback is how far back an instant selector finds a sample. Prometheus'
	// default is 5m for scrapes every 15s to 1m; proxies are scraped each
	// second and get staleness markers when they go, so a shorter one keeps an
	// old value from standing for a present one.
	lookback = time.Minute
)

// Validate reports every field that is out of its range.
func (c Config) Validate() error {
	var errs []error
	if c.Retention != 0 && (c.Retention < minRetention || c.Retention > maxRetention) {
		errs = append(errs, fmt.Errorf("retention: %s is not allowed: give %s to %s", c.Retention, minRetention, maxRetention))
	}
	if c.MaxBytes < 0 {
		errs = append(errs, fmt.Errorf("max bytes: %d is not allowed: give 1 or more, or 0 for the default of 1 GiB", c.MaxBytes))
	}
	if c.QueryTimeout < 0 {
		errs = append(errs, fmt.Errorf("query timeout: %s is not allowed: give more than 0, or 0 for the default of 30s", c.QueryTimeout))
	}
	if c.MaxSamples < 0 {
		errs = append(errs, fmt.Errorf("max samples: %d is not allowed: give 1 or more, or 0 for the default of 10000000", c.MaxSamples))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Retention == 0 {
		c.Retention = 15 * 24 * time.Hour
		if c.Dir == "" {
			c.Retention = 2 * time.Hour
		}
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 30
	}
	if c.QueryTimeout == 0 {
		c.QueryTimeout = 30 * time.Second
	}
	if c.MaxSamples == 0 {
		c.MaxSamples = 10_000_000
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Store is an open database with its query engine.
type Store struct {
	db     *tsdb.DB
	engine *promql.Engine
	temp   string       // removed by Close; empty when the folder was given
	latest atomic.Int64 // milliseconds; the last instant that was marked complete
}

// Open opens or makes the database.
func Open(cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s := &Store{}
	dir := cfg.Dir
	opts := tsdb.DefaultOptions()
	opts.RetentionDuration = cfg.Retention.Milliseconds()
	opts.MaxBytes = cfg.MaxBytes
	// The head, in memory, holds up to one and a half of the smallest blocks.
	// Prometheus' two hours are made for long scrape intervals; at one second
	// they would be 10,800 samples per series.
	opts.MinBlockDuration = (10 * time.Minute).Milliseconds()
	opts.MaxBlockDuration = max(opts.MinBlockDuration, min(opts.RetentionDuration/10, (24*time.Hour).Milliseconds()))
	opts.StripeSize = 1 << 10
	if dir == "" {
		temp, err := os.MkdirTemp("", "recloser-metrics-")
		if err != nil {
			return nil, fmt.Errorf("make a temporary folder for metrics: %w", err)
		}
		dir, s.temp = temp, temp
		opts.WALSegmentSize = -1
	}
	db, err := tsdb.Open(dir, cfg.Logger, nil, opts, tsdb.NewDBStats())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open metrics in %s: %w", dir, err), s.removeTemp())
	}
	s.db = db
	s.engine = promql.NewEngine(promql.EngineOpts{
		Logger:               cfg.Logger,
		MaxSamples:           cfg.MaxSamples,
		Timeout:              cfg.QueryTimeout,
		LookbackDelta:        lookback,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 {
			return time.Second.Milliseconds()
		},
		Parser: NewParser(),
	})
	return s, nil
}

// NewParser parses the PromQL that a Store understands: Prometheus' own with
// the range modifiers `anchored` and `smoothed`.
func NewParser() parser.Parser {
	return parser.NewParser(parser.Options{EnableExtendedRangeSelectors: true})
}

// Close ends the database and removes a temporary folder.
func (s *Store) Close() error {
	return errors.Join(s.engine.Close(), s.db.Close(), s.removeTemp())
}

func (s *Store) removeTemp() error {
	if s.temp == "" {
		return nil
	}
	return os.RemoveAll(s.temp)
}

// AppenderV2 begins a transaction. It makes Store a storage.AppendableV2.
func (s *Store) AppenderV2(ctx context.Context) storage.AppenderV2 { return s.db.AppenderV2(ctx) }

// Complete says that all samples up to t are in.
func (s *Store) Complete(t time.Time) { s.latest.Store(t.UnixMilli()) }

// Latest returns the last instant for which all samples are in. Queries about
// now should be asked for that instant: half a scrape round would show half of
// the mesh. It is zero before the first round.
func (s *Store) Latest() time.Time {
	ms := s.latest.Load()
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// Exact reports that counters can be read exactly: this store knows the
// modifier `anchored`, and its scraper gives every new counter its zero.
func (s *Store) Exact() bool { return true }

// Query evaluates expr at one instant.
func (s *Store) Query(ctx context.Context, expr string, at time.Time) (parser.Value, error) {
	q, err := s.engine.NewInstantQuery(ctx, s.db, nil, expr, at)
	if err != nil {
		return nil, badQuery(expr, err)
	}
	return run(ctx, q, expr)
}

// QueryRange evaluates expr from start to end, both included, each step.
func (s *Store) QueryRange(ctx context.Context, expr string, start, end time.Time, step time.Duration) (parser.Value, error) {
	q, err := s.engine.NewRangeQuery(ctx, s.db, nil, expr, start, end, step)
	if err != nil {
		return nil, badQuery(expr, err)
	}
	return run(ctx, q, expr)
}

func run(ctx context.Context, q promql.Query, expr string) (parser.Value, error) {
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		return nil, fmt.Errorf("query %q: %w", expr, res.Err)
	}
	return detach(res.Value), nil
}

// detach copies a result out of the engine's pools, which Close reuses.
func detach(v parser.Value) parser.Value {
	switch v := v.(type) {
	case promql.Vector:
		return append(promql.Vector{}, v...)
	case promql.Matrix:
		out := make(promql.Matrix, len(v))
		for i, s := range v {
			s.Floats = append([]promql.FPoint(nil), s.Floats...)
			s.Histograms = append([]promql.HPoint(nil), s.Histograms...)
			out[i] = s
		}
		return out
	default:
		return v
	}
}

// QueryError is a query that cannot be understood: the asker's mistake.
type QueryError struct {
	Expr string
	Err  error
}

func (e *QueryError) Error() string { return fmt.Sprintf("query %q: %v", e.Expr, e.Err) }

// Unwrap returns the parser's own error.
func (e *QueryError) Unwrap() error { return e.Err }

func badQuery(expr string, err error) error { return &QueryError{Expr: expr, Err: err} }
