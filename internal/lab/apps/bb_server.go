package apps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// bbShutdown is how long bb waits for requests in hand when it is asked to end.
const bbShutdown = 30 * time.Second

// bb is one running building block.
type bb struct {
	id       string
	strategy bbStrategy
	logger   *slog.Logger

	percentFailure Knob
	sleepMillis    Knob

	left   atomic.Int64 // requests until the end, where limited is set
	limit  bool
	finish context.CancelFunc // ends the program once the requests in hand are answered
}

// serveBB serves until ctx ends or --terminate-after is reached.
func serveBB(ctx context.Context, cfg *bbConfig, env Env) (err error) {
	level, _ := bbLevel(cfg.logLevel)
	logger := slog.New(slog.NewTextHandler(env.Stderr, &slog.HandlerOptions{Level: level}))
	addresses, err := bbAddresses(cfg, env)
	if err != nil {
		return err
	}
	clients, err := newBBClients(cfg, env, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, clients.end()) }()

	ctx, finish := context.WithCancel(ctx)
	defer finish()
	b := &bb{id: cfg.id, strategy: newBBStrategy(cfg, clients), logger: logger, finish: finish, limit: cfg.terminateAfter > 0}
	b.left.Store(int64(cfg.terminateAfter))
	b.percentFailure.Name, b.percentFailure.Max = "percent-failure", 100
	b.sleepMillis.Name, b.sleepMillis.Max = "sleep-in-millis", int64(time.Hour/time.Millisecond)
	if err := errors.Join(b.percentFailure.Set(int64(cfg.percentFailure)), b.sleepMillis.Set(int64(cfg.sleepMillis))); err != nil {
		return err
	}
	return b.serve(ctx, addresses, env.Getenv(EnvControl))
}

// bbAddress is where one side of bb listens.
type bbAddress struct{ http, grpc string } // empty: that side is off

func bbAddresses(cfg *bbConfig, env Env) (a bbAddress, err error) {
	if cfg.h1Port != -1 {
		if a.http, err = listenAddress(env.Getenv, cfg.h1Port); err != nil {
			return a, err
		}
	}
	if cfg.grpcPort != -1 {
		a.grpc, err = listenAddress(env.Getenv, cfg.grpcPort)
	}
	return a, err
}

// serve runs the servers and, where control is not empty, that of the knobs.
func (b *bb) serve(ctx context.Context, at bbAddress, control string) error {
	g, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := b.open(ctx, g, at, control)
	if err != nil {
		cancel() // what is open already ends again
	}
	return errors.Join(err, g.Wait())
}

// open starts what serve runs.
func (b *bb) open(ctx context.Context, g *errgroup.Group, at bbAddress, control string) error {
	if control != "" {
		ln, err := listenKnobs(ctx, control)
		if err != nil {
			return err
		}
		g.Go(func() error {
			return serveHTTP(ctx, ln, knobHandler([]*Knob{&b.percentFailure, &b.sleepMillis}), b.logger)
		})
	}
	var lc net.ListenConfig
	if at.grpc != "" {
		ln, err := lc.Listen(ctx, "tcp", at.grpc)
		if err != nil {
			return err
		}
		b.logger.Info("gRPC server listening", "address", ln.Addr().String(), "id", b.id)
		g.Go(func() error { return serveGRPC(ctx, ln, b) })
	}
	if at.http != "" {
		ln, err := lc.Listen(ctx, "tcp", at.http)
		if err != nil {
			return err
		}
		b.logger.Info("HTTP 1.1 server listening", "address", ln.Addr().String(), "id", b.id)
		g.Go(func() error { return serveHTTP(ctx, ln, b, b.logger) })
	}
	return nil
}

// serveHTTP serves on ln until ctx ends and the requests in hand are answered.
func serveHTTP(ctx context.Context, ln net.Listener, h http.Handler, logger *slog.Logger) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	return serveRequests(ctx, ln, srv)
}

// serveRequests serves on ln until ctx ends and the requests in hand are
// answered.
func serveRequests(ctx context.Context, ln net.Listener, srv *http.Server) error {
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), bbShutdown)
		defer cancel()
		stopped <- srv.Shutdown(limit)
	})
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		if stop() {
			stopped <- nil
		}
		return errors.Join(err, <-stopped)
	}
	return <-stopped
}

// handle does what every request asks for, by whichever protocol it came: wait,
// perhaps fail, then do what the strategy says.
func (b *bb) handle(ctx context.Context, req bbMessage) (bbMessage, error) {
	if !pause(ctx, time.Duration(b.sleepMillis.Get())*time.Millisecond) {
		return bbMessage{}, ctx.Err()
	}
	if rand.Int64N(100) < b.percentFailure.Get() {
		return bbMessage{}, fmt.Errorf("this error was injected by [%s]", b.id)
	}
	answer, err := b.strategy(ctx, req)
	answer.RequestUID = req.RequestUID
	return answer, err
}

// newUID names a request that came without a name.
func (b *bb) newUID(protocol string) string {
	return fmt.Sprintf("in:%s-sid:%s-%d", protocol, b.id, time.Now().Nanosecond())
}

// ServeHTTP handles one request by HTTP/1.1. Every failure is a 500 with a
// text.
func (b *bb) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer b.countDown()
	req, err := b.read(w, r)
	if err != nil {
		b.fail(w, r, req, fmt.Errorf("reading the request: %w", err))
		return
	}
	answer, err := b.handle(r.Context(), req)
	if r.Context().Err() != nil {
		return // nobody is there to hear it
	}
	if err != nil {
		b.fail(w, r, req, err)
		return
	}
	b.logger.Debug("request answered", "method", r.Method, "url", r.URL.String(), "request_uid", req.RequestUID)
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		b.logger.Debug("answer not sent", "request_uid", req.RequestUID, "error", err)
	}
}

// read takes the message of a request; one without a body gets an identifier.
func (b *bb) read(w http.ResponseWriter, r *http.Request) (bbMessage, error) {
	var m bbMessage
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBBBody))
	if err != nil {
		return m, err
	}
	if len(body) == 0 {
		m.RequestUID = b.newUID("http")
		return m, nil
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return m, fmt.Errorf("the body is no JSON message: %w", err)
	}
	return m, nil
}

func (b *bb) fail(w http.ResponseWriter, r *http.Request, req bbMessage, err error) {
	b.logger.Debug("request failed", "method", r.Method, "url", r.URL.String(), "request_uid", req.RequestUID, "error", err)
	http.Error(w, "error handling http request: "+err.Error(), http.StatusInternalServerError)
}

// countDown ends the program after its last request (--terminate-after).
func (b *bb) countDown() {
	if b.limit && b.left.Add(-1) == 0 {
		b.logger.Info("ending: --terminate-after is reached", "id", b.id)
		b.finish()
	}
}

// pause waits for d, or less if ctx ends, in which case it returns false.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
