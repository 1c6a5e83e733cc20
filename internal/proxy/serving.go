package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http2"
	"github.com/reclosermesh/recloser/internal/proxy/snapshot"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// bindRetry is the pause before an address that could not be had is tried again.
const bindRetry = 500 * time.Millisecond

// serving keeps one Server for each listener of the snapshot. A listener that
// goes, or changes, drains in the background; a change without another address
// hands the socket on, so that no caller is refused.
type serving struct {
	// Immutable.
	cfg       *Config
	store     *snapshot.Store
	metrics   *telemetry.Proxy
	accessLog *telemetry.AccessLog

	// Owned by run.
	running  map[string]*running
	draining sync.WaitGroup
	ending   context.Context // ends when the proxy has waited for what is draining for long enough
	end      context.CancelFunc
	told     string // of the last failure, which is not repeated in the log

	mu    sync.Mutex
	state error // of ready; guarded by mu
}

// running is a Server at work.
type running struct {
	listener *snapshot.Listener
	address  string // as asked for
	server   *Server
	socket   *net.TCPListener
	kill     context.CancelFunc
	ended    chan struct{}
}

func newServing(cfg *Config, store *snapshot.Store, metrics *telemetry.Proxy, accessLog *telemetry.AccessLog) *serving {
	ending, end := context.WithCancel(context.Background())
	return &serving{
		ending: ending, end: end, cfg: cfg, store: store, metrics: metrics, accessLog: accessLog,
		running: make(map[string]*running), state: errors.New("starting"),
	}
}

// ready gives nil when every listener of the configuration is served.
func (s *serving) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *serving) setReady(state error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

// run follows the snapshot until ctx ends, then drains. When work ends, all is
// closed at once.
func (s *serving) run(ctx, work context.Context) error {
	retry := time.NewTimer(bindRetry)
	defer retry.Stop()
	for ctx.Err() == nil && work.Err() == nil {
		snap, changed := s.store.Current()
		failed := s.follow(work, snap)
		s.setReady(errors.Join(unready(snap), failed))
		retry.Stop()
		if failed != nil {
			retry.Reset(bindRetry)
		}
		select {
		case <-changed:
		case <-retry.C:
		case <-ctx.Done():
		case <-work.Done():
		}
	}
	s.setReady(errors.New("draining"))
	s.cfg.Logger.Info("draining", "timeout", s.cfg.DrainTimeout)
	s.drainAll(work)
	return nil
}

func unready(snap *snapshot.Snapshot) error {
	if !snap.Heard {
		return errors.New("no configuration yet")
	}
	for _, w := range snap.Warming {
		if strings.HasPrefix(w, "listener ") {
			return fmt.Errorf("waiting for %s", w)
		}
	}
	if len(snap.Listeners) == 0 {
		return errors.New("no listener is configured")
	}
	return nil
}

// follow makes the running servers those of the snapshot.
func (s *serving) follow(work context.Context, snap *snapshot.Snapshot) error {
	wanted := make(map[string]bool)
	for _, l := range snap.Listeners {
		wanted[l.Name] = true
	}
	for name, r := range s.running {
		if !wanted[name] {
			delete(s.running, name)
			s.cfg.Logger.Info("listener removed", "name", name, "address", r.address)
			s.retire(work, r, true)
		}
	}
	var errs []error
	for _, l := range snap.Listeners {
		if err := s.serve(work, l); err != nil {
			errs = append(errs, err)
		}
	}
	failed := errors.Join(errs...)
	s.tell(failed)
	return failed
}

// tell logs a failure when it is another than before.
func (s *serving) tell(failed error) {
	text := ""
	if failed != nil {
		text = failed.Error()
	}
	if text != s.told && text != "" {
		s.cfg.Logger.Error("listeners cannot be opened; they are tried again", "error", failed)
	}
	s.told = text
}

// serve starts or changes one listener's server. Where its address cannot be
// had, the one before goes on.
func (s *serving) serve(work context.Context, l *snapshot.Listener) error {
	address := l.Address
	if l.Name == OutboundListener && s.cfg.Outbound != "" {
		address = s.cfg.Outbound
	}
	old := s.running[l.Name]
	if old != nil && old.alive() && old.address == address && sameServer(old.listener, l) {
		old.listener = l
		return nil
	}
	var socket *net.TCPListener
	var err error
	if old != nil && old.address == address {
		socket, err = duplicate(old.socket)
	}
	handed := socket != nil
	if socket == nil {
		socket, err = listen(work, address)
	}
	if err != nil {
		return fmt.Errorf("listener %q: %w", l.Name, err)
	}
	if handed {
		old.server.handOver() // or it would serve callers by what was before
	}
	s.running[l.Name] = s.start(work, l, address, socket)
	s.cfg.Logger.Info("listener serves", "name", l.Name, "address", socket.Addr().String())
	if old != nil {
		s.retire(work, old, old.listener.TLS != l.TLS)
	}
	return nil
}

// sameServer tells whether a server of a can serve b.
func sameServer(a, b *snapshot.Listener) bool {
	return a == b || a.Direction == b.Direction && a.Port == b.Port && a.Hosts == b.Hosts &&
		a.Protocol == b.Protocol && a.Bytes == b.Bytes && a.TLS == b.TLS &&
		a.Timeouts == b.Timeouts && a.MaxHeaders == b.MaxHeaders && a.MaxHeadBytes == b.MaxHeadBytes &&
		a.HTTP2 == b.HTTP2
}

func listen(ctx context.Context, address string) (*net.TCPListener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

// duplicate gives a listener of its own on the same socket, whose queue of
// connections lives on when the first is closed.
func duplicate(ln *net.TCPListener) (*net.TCPListener, error) {
	f, err := ln.File()
	if err != nil {
		return nil, fmt.Errorf("hand over the socket: %w", err)
	}
	defer f.Close()
	next, err := net.FileListener(f)
	if err != nil {
		return nil, os.NewSyscallError("hand over the socket", err)
	}
	return next.(*net.TCPListener), nil
}

func (s *serving) start(work context.Context, l *snapshot.Listener, address string, socket *net.TCPListener) *running {
	ctx, kill := context.WithCancel(work)
	r := &running{
		listener: l, address: address, socket: socket, kill: kill, ended: make(chan struct{}),
		server: NewServer(s.serverConfig(l)),
	}
	go func() {
		defer close(r.ended)
		if err := r.server.Serve(ctx, socket); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Error("listener failed", "name", l.Name, "error", err)
		}
	}()
	return r
}

func (r *running) alive() bool {
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}

// serverConfig lays what the listener sets over what the proxy was told.
func (s *serving) serverConfig(l *snapshot.Listener) ServerConfig {
	cfg := ServerConfig{
		Name: l.Name, Direction: l.Direction, Hosts: l.Hosts,
		HTTP1: s.cfg.HTTP1, HTTP2: s.cfg.HTTP2, Timeouts: s.cfg.Timeouts, MaxConnections: s.cfg.MaxConnections,
		MaxKept: orNone(s.cfg.MaxKept), MaxMirrors: orNone(s.cfg.MaxMirrors),
		AccessLog: s.accessLog, Logger: s.cfg.Logger.With("listener", l.Name),
	}
	switch l.Protocol {
	case snapshot.HTTP:
		cfg.Protocol = ProtocolHTTP
	case snapshot.Detect:
		cfg.Protocol = ProtocolDetect
	case snapshot.TCP:
		cfg.Protocol = ProtocolTCP
	case snapshot.HTTP1:
		cfg.Protocol = ProtocolHTTP1
	case snapshot.HTTP2:
		cfg.Protocol = ProtocolHTTP2
	}
	if l.Bytes != nil {
		cfg.TCP = l.Bytes.Action
	}
	port := l.Port
	if l.Direction == telemetry.Outbound {
		port = ""
	}
	cfg.Metrics = s.metrics.Downstream(l.Direction, port)
	if l.TLS != nil {
		cfg.Wrap = l.TLS.Wrap
	}
	for _, d := range []struct{ to, from *time.Duration }{
		{&cfg.Timeouts.Head, &l.Timeouts.Head},
		{&cfg.Timeouts.Idle, &l.Timeouts.Idle},
		{&cfg.Timeouts.Stream, &l.Timeouts.Stream},
		{&cfg.Timeouts.Detect, &l.Timeouts.Detect},
		{&cfg.Timeouts.TCP, &l.Timeouts.TCP},
	} {
		if *d.from != 0 {
			*d.to = *d.from
		}
	}
	if l.MaxHeaders > 0 {
		cfg.HTTP1.MaxHeaders = l.MaxHeaders
	}
	if l.MaxHeadBytes > 0 {
		cfg.HTTP1.MaxHeadBytes = l.MaxHeadBytes
	}
	overlay(&cfg.HTTP2, l.HTTP2)
	return cfg
}

// overlay lays what a listener says of HTTP/2 over the proxy's own.
func overlay(cfg *http2.Config, o snapshot.HTTP2Options) {
	if o.MaxStreams > 0 {
		cfg.MaxConcurrentStreams = o.MaxStreams
	}
	if o.StreamWindow > 0 {
		cfg.StreamWindow = o.StreamWindow
	}
	if o.KeepAlive > 0 {
		cfg.KeepAlive, cfg.KeepAliveTimeout = o.KeepAlive, o.KeepAliveTimeout
	}
}

// retire drains a server in the background. bounded: within the drain timeout,
// because what it let in should not go on by rules that hold no more; otherwise
// what is under way ends by itself, be it a stream of hours, or with the proxy.
func (s *serving) retire(work context.Context, r *running, bounded bool) {
	s.draining.Go(func() {
		ctx, cancel := context.WithCancel(work)
		defer cancel()
		if bounded {
			ctx, cancel = context.WithTimeout(ctx, s.cfg.DrainTimeout)
			defer cancel()
		}
		defer context.AfterFunc(s.ending, cancel)()
		r.drain(ctx)
	})
}

func (r *running) drain(ctx context.Context) {
	_ = r.server.Drain(ctx) // what is left is closed by kill
	r.kill()
	<-r.ended
}

// drainAll ends all servers within the drain timeout: first those that take
// calls for the workload, then, when the workload has nothing to answer any
// more, the one by which it calls others.
func (s *serving) drainAll(work context.Context) {
	ctx, cancel := context.WithTimeout(work, s.cfg.DrainTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, s.end)()
	for _, dir := range []telemetry.Direction{telemetry.Inbound, telemetry.Outbound} {
		var wg sync.WaitGroup
		for _, r := range s.running {
			if r.listener.Direction == dir {
				wg.Go(func() { r.drain(ctx) })
			}
		}
		wg.Wait()
	}
	s.draining.Wait()
}

// orNone is a Config's bound in a ServerConfig, where 0 is the default.
func orNone(bound int) int {
	if bound == 0 {
		return -1
	}
	return bound
}
