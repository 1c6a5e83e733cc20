// Package observe shows what is happening in the mesh now: it keeps the metrics
// of the proxies (or asks a Prometheus that has them), computes the tables of
// `recloser stat`, lists breakers and their events, and answers all of it over
// one HTTP API, beside policy, findings and annotations, which it passes
// through from the control plane.
//
// What it needs of the control plane it declares here, as small interfaces;
// Of makes them of a *control.Control. Its parts are packages of their own:
//
//	store     the embedded Prometheus: time series and PromQL
//	scrape    fetches the proxies' metrics into it
//	promapi   the query part of Prometheus' HTTP API, served and asked
//	stat      the tables
//	breakers  states and events of breakers, as documents and text
//	client    the other end of the HTTP API
//
// New makes an Observer and does nothing else; Run opens the store, scrapes and
// serves until its context ends, then ends event streams in good order and
// removes a temporary store. Handler may be used from any number of goroutines.
package observe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/observe/breakers"
	"github.com/reclosermesh/recloser/internal/observe/promapi"
	"github.com/reclosermesh/recloser/internal/observe/scrape"
	"github.com/reclosermesh/recloser/internal/observe/stat"
	"github.com/reclosermesh/recloser/internal/observe/store"
)

// Mesh lists the proxies and what they stand for.
type Mesh interface {
	stat.Mesh
	// Targets are the proxies that are connected now and have metrics.
	Targets() []scrape.Target
}

// Reports are what proxies tell of their breakers.
type Reports interface {
	// Breakers are the states that connected proxies have told.
	Breakers() []breakers.Report
	// Events calls put with each event that is kept, the oldest first, and
	// then, when follow is set, with each that comes, until put returns false
	// or ctx ends. idle is called whenever nothing came for the given time.
	Events(ctx context.Context, follow bool, put func(Event) bool, every time.Duration, idle func() bool)
}

// PolicyRequest names what a policy is asked for.
type PolicyRequest struct {
	Client    string // namespace of the caller
	Namespace string
	Service   string
	Port      uint16 // 0: the service's only one
}

// Policy is an effective policy in two forms, both as JSON has them.
type Policy struct {
	Effective any `json:"effective"` // ours, each value with its origin
	Linkerd   any `json:"linkerd"`   // the shape of `linkerd diagnostics policy`
}

// Configuration is what the mesh was told, and the way to tell it more.
type Configuration interface {
	// Policy fails with a NotFoundError for a service or a port that is not, and
	// with a policy.PortNeededError where a port is not named and must be.
	Policy(PolicyRequest) (Policy, error)
	Findings() []lint.Finding
	// Reading is everything that the control plane has read.
	Reading() (*control.Reading, error)
	// Annotations are those that an object has now; ok is false when there is
	// no such object.
	Annotations(kind, namespace, name string) (have map[string]string, ok bool)
	// Annotate sets annotations, and removes those whose value is nil.
	Annotate(kind, namespace, name string, change map[string]*string) error
}

// NotFoundError says that something that was asked for does not exist.
type NotFoundError struct{ Err error }

func (e *NotFoundError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *NotFoundError) Unwrap() error { return e.Err }

// Querier answers PromQL; the store and the client of a Prometheus do.
type Querier interface {
	stat.Querier
	promapi.Querier
}

// DefaultAddress is where the API listens.
const DefaultAddress = "127.0.0.1:8084"

// Config is what an Observer needs.
type Config struct {
	Mesh          Mesh
	Reports       Reports
	Configuration Configuration

	// Address is where the API listens. Default 127.0.0.1:8084. An address that
	// is not of this machine's loopback needs AllowRemote.
	Address string
	// Listener is used in place of Address when it is set. Run closes it.
	Listener net.Listener
	// AllowRemote lets other machines use the API. It has no authentication yet:
	// whoever reaches it can change annotations.
	AllowRemote bool
	// Hosts are names by which the API may be asked, beside localhost and IP
	// addresses: the name of its Service in a cluster, for instance.
	Hosts []string

	// Prometheus is the URL of a Prometheus that scrapes the proxies. Empty: the
	// embedded one is used.
	Prometheus string
	// Store and the fields below are for the embedded Prometheus. Its Logger is
	// taken from Logger when it has none.
	Store store.Config
	// ScrapeInterval, ScrapeTimeout and ScrapeConcurrency are those of
	// scrape.Config: default 1s, nine tenths of that, and 8.
	ScrapeInterval    time.Duration
	ScrapeTimeout     time.Duration
	ScrapeConcurrency int

	// Heartbeat is the longest silence of an event stream. Default 10s.
	Heartbeat time.Duration
	// Version is what /api/v1/version answers, as JSON.
	Version any
	// Logger gets failures and the API's address. Default: none.
	Logger *slog.Logger
}

// Validate reports everything that is missing or not allowed.
func (c Config) Validate() error {
	var errs []error
	if c.Mesh == nil || c.Reports == nil || c.Configuration == nil {
		errs = append(errs, errors.New("mesh, reports and configuration: all three are needed"))
	}
	if c.Listener == nil {
		if err := checkAddress(c.address(), c.AllowRemote); err != nil {
			errs = append(errs, err)
		}
	}
	if c.Prometheus != "" {
		if _, err := promapi.NewClient(c.Prometheus, http.DefaultClient); err != nil {
			errs = append(errs, err)
		}
	}
	if c.Heartbeat < 0 {
		errs = append(errs, fmt.Errorf("heartbeat: %s is not allowed: give more than 0", c.Heartbeat))
	}
	if c.Mesh != nil {
		errs = append(errs, c.Store.Validate(), c.scrape(&store.Store{}).Validate())
	}
	return errors.Join(errs...)
}

func (c Config) address() string {
	if c.Address == "" {
		return DefaultAddress
	}
	return c.Address
}

func (c Config) scrape(st *store.Store) scrape.Config {
	return scrape.Config{
		Targets: c.Mesh.Targets, Store: st, Logger: c.Logger,
		Interval: c.ScrapeInterval, Timeout: c.ScrapeTimeout, Concurrency: c.ScrapeConcurrency,
	}
}

// Observer is the room's state: which metrics are asked, and whether it ends.
type Observer struct {
	cfg     Config // immutable after New
	querier atomic.Pointer[Querier]
	writing sync.Mutex    // one annotation at a time: look, then change
	closing chan struct{} // closed when Run begins to end
	once    sync.Once     // of closing
}

// New makes an Observer.
func New(cfg Config) (*Observer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("observe: %w", err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Store.Logger == nil {
		// The database tells of each block that it writes: too much for us.
		cfg.Store.Logger = slog.New(atLeast{slog.LevelWarn, cfg.Logger.Handler()})
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 10 * time.Second
	}
	return &Observer{cfg: cfg, closing: make(chan struct{})}, nil
}

// Run opens the metrics, scrapes and serves until ctx ends. Its error is nil
// when that was the only reason to end.
func (o *Observer) Run(ctx context.Context) (err error) {
	ln := o.cfg.Listener
	if ln == nil {
		if ln, err = new(net.ListenConfig).Listen(ctx, "tcp", o.cfg.address()); err != nil {
			return fmt.Errorf("listen for the API: %w", err)
		}
	}
	defer ln.Close()
	defer o.once.Do(func() { close(o.closing) })

	scraping := func(context.Context) error { return nil }
	var q Querier
	if o.cfg.Prometheus != "" {
		client := &http.Client{Timeout: 30 * time.Second, Transport: http.DefaultTransport.(*http.Transport).Clone()}
		defer client.CloseIdleConnections()
		if q, err = promapi.NewClient(o.cfg.Prometheus, client); err != nil {
			return err
		}
	} else {
		st, err := store.Open(o.cfg.Store)
		if err != nil {
			return err
		}
		defer func() {
			if cerr := st.Close(); cerr != nil {
				err = errors.Join(err, fmt.Errorf("close metrics: %w", cerr))
			}
		}()
		q, scraping = st, scrape.New(o.cfg.scrape(st)).Run
	}
	o.querier.Store(&q)

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return scraping(ctx) })
	g.Go(func() error { return o.serve(ctx, ln) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// serve answers the API until ctx ends; then it lets what is under way finish.
func (o *Observer) serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           o.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(o.cfg.Logger.Handler(), slog.LevelWarn),
	}
	o.cfg.Logger.Info("API listens", "address", ln.Addr().String())
	var served error // set before done is closed
	done := make(chan struct{})
	go func() {
		defer close(done)
		served = srv.Serve(ln)
	}()
	select {
	case <-done:
		return fmt.Errorf("serve the API: %w", served)
	case <-ctx.Done():
	}
	o.once.Do(func() { close(o.closing) })
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := srv.Shutdown(end)
	if err != nil {
		err = errors.Join(fmt.Errorf("end the API: %w", err), srv.Close())
	}
	<-done
	return err
}

// metrics is what PromQL is asked of, or nil before Run has opened it.
func (o *Observer) metrics() Querier {
	if q := o.querier.Load(); q != nil {
		return *q
	}
	return nil
}

// atLeast is a slog.Handler that drops what is less important than a level.
type atLeast struct {
	level slog.Level
	slog.Handler
}

// Enabled reports whether a record of this level is kept.
func (h atLeast) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}

// WithAttrs keeps the level.
func (h atLeast) WithAttrs(a []slog.Attr) slog.Handler {
	return atLeast{h.level, h.Handler.WithAttrs(a)}
}

// WithGroup keeps the level.
func (h atLeast) WithGroup(name string) slog.Handler {
	return atLeast{h.level, h.Handler.WithGroup(name)}
}
