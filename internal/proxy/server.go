package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
	"github.com/reclosermesh/recloser/internal/proxy/listener"
	"github.com/reclosermesh/recloser/internal/proxy/mirror"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// Hosts tells which routes serve an authority. Implementations are safe for
// concurrent use.
type Hosts interface {
	// Lookup returns the routes of an authority. known is false where the
	// answer has to be asked for first; a nil table with known true is the
	// answer "there is no such host".
	Lookup(authority []byte) (table *route.Table, known bool)
	// Await asks for an authority and waits for the answer, until ctx ends.
	Await(ctx context.Context, authority string) (*route.Table, error)
}

// Timeouts bound what a downstream connection may wait for. Zero values take
// the defaults.
type Timeouts struct {
	// Head is from the first byte of a request to the end of its head. 10s.
	Head time.Duration
	// Idle is between two requests on a connection. 1h, Envoy's.
	Idle time.Duration
	// Stream is without one byte moving within an exchange. 5m, Envoy's.
	Stream time.Duration
	// Tunnel is without one byte moving after an upgrade. 1h.
	Tunnel time.Duration
	// Hosts is the wait for the control plane's word on a new authority. 5s.
	Hosts time.Duration
	// Linger is how long a connection that must close goes on reading, so
	// that its peer gets the answer. 1s.
	Linger time.Duration
	// DrainIdle is how long a draining server leaves an idle connection open
	// for a request that may be on its way. 1s.
	DrainIdle time.Duration
	// Detect is the wait for bytes that tell the protocol of a connection,
	// where there is a place for opaque bytes; after it they are taken for such.
	// 3s; negative: for ever.
	Detect time.Duration
	// TCP is without one byte moving on a connection of opaque bytes. 1h,
	// Envoy's; negative: for ever.
	TCP time.Duration
}

func (t Timeouts) withDefaults() Timeouts {
	for _, f := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&t.Head, 10 * time.Second},
		{&t.Idle, time.Hour},
		{&t.Stream, 5 * time.Minute},
		{&t.Tunnel, time.Hour},
		{&t.Hosts, 5 * time.Second},
		{&t.Linger, time.Second},
		{&t.DrainIdle, time.Second},
		{&t.Detect, 3 * time.Second},
		{&t.TCP, time.Hour},
	} {
		if *f.value == 0 {
			*f.value = f.def
		}
	}
	return t
}

// Protocol is what the connections of a listener speak.
type Protocol uint8

const (
	// ProtocolHTTP is HTTP/1.x, or HTTP/2 where a connection begins with its
	// preface (RFC 9113 section 3.4).
	ProtocolHTTP Protocol = iota
	// ProtocolDetect looks at the first bytes of each connection: HTTP/1.x,
	// HTTP/2, TLS, or none of these.
	ProtocolDetect
	// ProtocolTCP is unread bytes.
	ProtocolTCP
	// ProtocolHTTP1 is HTTP/1.x alone.
	ProtocolHTTP1
	// ProtocolHTTP2 is HTTP/2 alone: a connection that does not begin with its
	// preface is closed.
	ProtocolHTTP2
)

// ServerConfig is what a Server is made from.
type ServerConfig struct {
	// Name is the listener's name, for logs.
	Name      string
	Direction telemetry.Direction
	Hosts     Hosts
	// Protocol is what connections speak.
	Protocol Protocol
	// TCP tells where opaque bytes go, TLS included; a nil action: nowhere. nil:
	// TLS goes where the name that it asks for leads, by Hosts, and other bytes
	// where the connection was going before it was redirected here.
	TCP   func() *route.Action
	HTTP1 http1.Limits
	// HTTP2 says how HTTP/2 is spoken; what it shares with HTTP1 is taken from
	// there.
	HTTP2    http2.Config
	Timeouts Timeouts
	// MaxConnections bounds the downstream connections. 0: none.
	MaxConnections int
	// MaxKept bounds what is kept of a request's body so that it can be sent
	// again or mirrored: a larger one goes out once. 0: DefaultMaxKept;
	// negative: nothing is kept.
	MaxKept int
	// MaxMirrors bounds the mirrored copies under way. 0: mirror.DefaultMax;
	// negative: none is sent.
	MaxMirrors int
	// Wrap makes the transport of an accepted connection, as listener.Config
	// says. nil: plain.
	Wrap      func(context.Context, net.Conn) (net.Conn, error)
	Metrics   *telemetry.DownstreamMetrics
	AccessLog *telemetry.AccessLog // nil: off
	Clock     breaker.Clock        // nil: breaker.Monotonic
	Logger    *slog.Logger

	original originalDestination // nil: redirectedFrom
}

// Server serves one listener. One goroutine per connection carries each
// request to its end; a sweeper looks at all connections every tick for what
// only time brings about (timeouts, callers that went away), so that a quick
// exchange needs no timer.
type Server struct {
	cfg      ServerConfig
	t        Timeouts
	clock    breaker.Clock
	buffers  sync.Pool
	carriers sync.Pool // of *carrier
	edits    sync.Pool // of *edited
	fields   sync.Pool // of *fieldSpace
	mirrors  *mirror.Sender
	http2    http2.Config
	tick     atomic.Uint64 // counts sweeps; the coarse clock of phases
	draining atomic.Bool
	drainAt  atomic.Uint64 // tick at which draining began
	watchers sync.WaitGroup
	ended    chan struct{} // closed when Serve returns

	mu     sync.Mutex // held over a whole sweep
	conns  map[session]struct{}
	over   bool // connections end at once
	handed bool // the socket is another Server's
	ln     *listener.Listener
}

// bufferSize holds any ordinary head, and moves bodies at few system calls.
const bufferSize = 16 << 10

type buffer struct{ b []byte }

// NewServer makes a Server.
func NewServer(cfg ServerConfig) *Server {
	if cfg.Clock == nil {
		cfg.Clock = breaker.Monotonic
	}
	if cfg.original == nil {
		cfg.original = redirectedFrom
	}
	return &Server{
		cfg:      cfg,
		t:        cfg.Timeouts.withDefaults(),
		clock:    cfg.Clock,
		buffers:  sync.Pool{New: func() any { return &buffer{make([]byte, bufferSize)} }},
		carriers: sync.Pool{New: func() any { return new(carrier) }},
		edits:    sync.Pool{New: func() any { return new(edited) }},
		fields:   sync.Pool{New: func() any { return &fieldSpace{fields: make([]http1.Header, 0, 32)} }},
		http2:    http2Config(&cfg),
		mirrors:  mirror.NewSender(mirror.Config{Max: cfg.MaxMirrors, Clock: cfg.Clock, HTTP1: cfg.HTTP1}),
		conns:    map[session]struct{}{},
		ended:    make(chan struct{}),
	}
}

// Serve accepts on ln and serves until Drain has ended all connections (nil),
// or accepting fails. When ctx ends, every connection is closed at once. A
// Server serves once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	defer close(s.ended)
	l := listener.New(ln, listener.Config{
		MaxConnections: s.cfg.MaxConnections,
		Refusal:        s.refusal(),
		Wrap:           s.cfg.Wrap,
		WrapGrace:      s.t.DrainIdle,
		OnWrapFailed:   s.wrapFailed,
		OnRefused:      func() { s.cfg.Metrics.Refuse(telemetry.Overload) },
		Logger:         s.cfg.Logger,
	})
	s.mu.Lock()
	s.ln = l
	s.mu.Unlock()
	switch {
	case s.isHandedOver():
		l.HandOver()
	case s.draining.Load():
		l.Close()
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, s.interruptAll)
	defer stop()
	var sweeper sync.WaitGroup
	sweeper.Go(func() { s.sweepUntil(ctx) })

	err := l.Serve(ctx, s.serveConn)
	cancel()
	sweeper.Wait()
	s.watchers.Wait()
	s.mirrors.Close()
	return err
}

// refusal is what a connection beyond the bound is told: nothing that is HTTP
// where that may not be understood.
func (s *Server) refusal() []byte {
	if s.cfg.Protocol == ProtocolTCP || s.cfg.Protocol == ProtocolHTTP2 || s.cfg.TCP != nil || s.cfg.Wrap != nil {
		return nil
	}
	return overloaded()
}

func (s *Server) wrapFailed(c net.Conn, err error) {
	s.cfg.Metrics.Refuse(telemetry.MalformedRequest)
	s.cfg.Logger.Debug("no transport could be made of a connection", "remote", c.RemoteAddr().String(), "error", err)
}

// session is a downstream connection at one stage of its life: while its
// protocol is not known, and then by protocol.
type session interface {
	// sweep acts on what only time brings about. It is called about every
	// tickLength, with the Server's lock held: it must neither block nor call
	// back.
	sweep(tick uint64)
	// leave makes the session end at once. It may be called more than once, from
	// any goroutine, with the Server's lock held.
	leave()
}

// register has x swept, and told to leave when the server ends without grace.
// After unregister, neither comes any more.
func (s *Server) register(x session) (unregister func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[x] = struct{}{}
	if s.over {
		x.leave()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, x)
	}
}

// Drain stops accepting and lets every connection end: a busy one after its
// exchange, whose answer says "Connection: close"; an idle one when it has
// been quiet for Timeouts.DrainIdle. It returns when Serve has ended, so that
// what the kernel had queued is served too, or with ctx's error when ctx ended
// first; what is left is closed by Serve's ctx.
func (s *Server) Drain(ctx context.Context) error {
	s.drainAt.Store(s.tick.Load())
	s.draining.Store(true)
	s.mu.Lock()
	if s.ln != nil {
		s.ln.Close()
	}
	s.mu.Unlock()
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("draining %s: %w", s.cfg.Name, ctx.Err())
	}
}

// handOver stops accepting at once: another Server has the same socket. Drain
// has the rest end.
func (s *Server) handOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handed = true
	if s.ln != nil {
		s.ln.HandOver()
	}
}

func (s *Server) isHandedOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handed
}

// Open is the number of connections that are open.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *Server) interruptAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for c := range s.conns {
		c.leave()
	}
}
