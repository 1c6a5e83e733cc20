package listener

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// backlogGrace is how long a draining listener goes on accepting what the
// kernel already holds for it: closing at once would reset callers whose
// connection is established and waits to be accepted.
const backlogGrace = 20 * time.Millisecond

// backlogMost bounds the graces that follow one another while the kernel has
// more: on a busy machine the first may pass before anything was accepted.
const backlogMost = 20

// DefaultWrapTimeout is for Config.WrapTimeout.
const DefaultWrapTimeout = 10 * time.Second

// Config says how connections are accepted.
type Config struct {
	// MaxConnections bounds the connections that are open at a time; more are
	// closed as they come, after Refusal was written. 0: no bound but the
	// system's.
	MaxConnections int
	// Refusal is what a connection beyond the bound is told, before any Wrap.
	// May be empty.
	Refusal []byte
	// Wrap makes the transport of a connection (TLS, mutual TLS), which counts
	// as open meanwhile. It must end when its context does: after WrapTimeout,
	// when Serve's context ends, or WrapGrace after Close. nil: as it is.
	Wrap func(context.Context, net.Conn) (net.Conn, error)
	// WrapTimeout bounds each Wrap. 0: DefaultWrapTimeout.
	WrapTimeout time.Duration
	// WrapGrace bounds each Wrap that is under way at Close. 0: at once.
	WrapGrace time.Duration
	// OnWrapFailed is told of each connection that Wrap gave none for. May be
	// nil.
	OnWrapFailed func(c net.Conn, err error)
	// OnRefused is told of each connection that the bound refused. May be nil.
	OnRefused func()
	Logger    *slog.Logger
}

// Listener accepts connections for a handler.
type Listener struct {
	cfg    Config
	ln     net.Listener
	open   atomic.Int64
	wg     sync.WaitGroup
	closed atomic.Bool
	handed atomic.Bool

	wraps    context.Context // of all Wraps
	endWraps context.CancelFunc
}

// New makes a Listener on a socket that is open already.
func New(ln net.Listener, cfg Config) *Listener {
	if cfg.WrapTimeout == 0 {
		cfg.WrapTimeout = DefaultWrapTimeout
	}
	l := &Listener{cfg: cfg, ln: ln}
	l.wraps, l.endWraps = context.WithCancel(context.Background())
	return l
}

// Open is the number of connections that are open.
func (l *Listener) Open() int { return int(l.open.Load()) }

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Serve accepts until ctx ends or Close is called, handling each connection in
// a goroutine of its own; it returns when the last of them has ended. The
// error is nil unless accepting failed by itself.
func (l *Listener) Serve(ctx context.Context, handle func(*Conn)) error {
	defer l.endWraps()
	stop := context.AfterFunc(ctx, func() {
		l.endWraps()
		l.Close()
	})
	defer stop()
	err := l.accept(handle)
	l.wg.Wait()
	return err
}

func (l *Listener) accept(handle func(*Conn)) error {
	defer l.ln.Close()
	graces := 1
	for delay := time.Duration(0); ; {
		c, err := l.ln.Accept()
		switch {
		case err == nil:
			delay = 0
			l.start(c, handle)
		case l.closed.Load() && errors.Is(err, os.ErrDeadlineExceeded) && graces < backlogMost && !l.handed.Load() && l.queued():
			graces++
			_ = l.deadline(backlogGrace)
		case l.closed.Load() && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed)):
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			// Out of file descriptors, or a peer that gave up: wait a little,
			// as net/http does, and go on.
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			l.cfg.Logger.Warn("accepting failed", "listener", l.ln.Addr().String(), "error", err, "again_in", delay)
			time.Sleep(delay)
		}
	}
}

func (l *Listener) start(c net.Conn, handle func(*Conn)) {
	if limit := l.cfg.MaxConnections; limit > 0 && l.open.Load() >= int64(limit) {
		if l.cfg.OnRefused != nil {
			l.cfg.OnRefused()
		}
		// A new socket's buffer is empty: a few bytes never block.
		_, _ = c.Write(l.cfg.Refusal)
		_ = c.Close()
		return
	}
	l.open.Add(1)
	l.wg.Go(func() {
		defer l.open.Add(-1)
		c, err := l.wrap(c)
		if err != nil {
			return
		}
		conn := NewConn(c)
		defer conn.Close()
		handle(conn)
	})
}

// wrap makes the transport of a connection, or closes it.
func (l *Listener) wrap(c net.Conn) (net.Conn, error) {
	if l.cfg.Wrap == nil {
		return c, nil
	}
	ctx, cancel := context.WithTimeout(l.wraps, l.cfg.WrapTimeout)
	defer cancel()
	wrapped, err := l.cfg.Wrap(ctx, c)
	if err != nil {
		if l.cfg.OnWrapFailed != nil {
			l.cfg.OnWrapFailed(c, err)
		}
		_ = c.Close()
	}
	return wrapped, err
}

// Close stops accepting, after what the kernel has queued already was taken.
// Open connections go on.
func (l *Listener) Close() { l.stop(backlogGrace) }

// HandOver is Close for a socket from which somebody else accepts too: what the
// kernel has queued is theirs.
func (l *Listener) HandOver() {
	l.handed.Store(true)
	l.stop(0)
}

func (l *Listener) stop(grace time.Duration) {
	if l.closed.Swap(true) {
		return
	}
	if l.cfg.Wrap != nil {
		wraps := time.AfterFunc(l.cfg.WrapGrace, l.endWraps)
		context.AfterFunc(l.wraps, func() { wraps.Stop() })
	}
	if l.deadline(grace) != nil {
		_ = l.ln.Close()
	}
}

// deadline ends accepting after d.
func (l *Listener) deadline(d time.Duration) error {
	if ln, ok := l.ln.(interface{ SetDeadline(time.Time) error }); ok {
		return ln.SetDeadline(time.Now().Add(d))
	}
	return errors.ErrUnsupported
}

// queued tells, without waiting, whether the kernel has a connection to be
// accepted.
func (l *Listener) queued() bool {
	ln, ok := l.ln.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := ln.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	err = raw.Control(func(fd uintptr) {
		n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) //nolint:gosec // a descriptor is small
	})
	return err == nil && n > 0
}
