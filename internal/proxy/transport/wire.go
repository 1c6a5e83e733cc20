package transport

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// past is a deadline that has always expired: setting it wakes who waits.
var past = time.Unix(1, 0)

// errNothing is what wire's operations that do not wait say when they would
// have to. For crypto/tls it is a timeout, after which reading can go on.
var errNothing net.Error = nothingError{}

type nothingError struct{}

func (nothingError) Error() string   { return "nothing to be had without waiting" }
func (nothingError) Timeout() bool   { return true }
func (nothingError) Temporary() bool { return true }

// wire is the connection beneath a tls.Conn. It is told when not to wait.
type wire struct {
	net.Conn
	raw syscall.RawConn // nil where it is no socket

	// Owned by the reader.
	nowait bool // reads take what is there
	eof    bool // the peer's FIN was seen, and no close_notify before it
	now    received
	nowFn  func(fd uintptr) // now.receive, made once

	failed  atomic.Bool // a write was cut short: nothing can follow it
	mute    atomic.Bool // no last words
	parting atomic.Bool // Close has begun: writes do not wait
}

// received is one attempt to take what is there.
type received struct {
	b     []byte
	flags int
	n     int
	err   error
}

func (r *received) receive(fd uintptr) {
	for {
		r.n, _, r.err = unix.Recvfrom(int(fd), r.b, r.flags|unix.MSG_DONTWAIT)
		if !errors.Is(r.err, unix.EINTR) {
			return
		}
	}
}

func newWire(nc net.Conn) *wire {
	w := &wire{Conn: nc}
	w.nowFn = w.now.receive
	if s, ok := nc.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			w.raw = raw
		}
	}
	return w
}

// Read is called by crypto/tls when it needs more. It stops asking after a
// close_notify, so that an end that is seen here comes without one.
func (w *wire) Read(b []byte) (int, error) {
	var n int
	var err error
	if w.nowait {
		w.now = received{b: b}
		n, err = w.receive(&w.now, w.nowFn)
		w.now.b = nil
	} else {
		n, err = w.Conn.Read(b)
	}
	if n == 0 && errors.Is(err, io.EOF) {
		w.eof = true
	}
	return n, err
}

// peek gives what is there without taking it. It may be called at any time.
func (w *wire) peek() (int, error) {
	r := &received{b: make([]byte, 1), flags: unix.MSG_PEEK}
	return w.receive(r, r.receive)
}

// receive does not wait, and does not look at deadlines. fn is r's method.
func (w *wire) receive(r *received, fn func(fd uintptr)) (int, error) {
	if w.raw == nil {
		return 0, errNothing
	}
	if err := w.raw.Control(fn); err != nil {
		return 0, err
	}
	switch {
	case errors.Is(r.err, unix.EAGAIN):
		return 0, errNothing
	case r.err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: r.err}
	case r.n == 0 && len(r.b) > 0:
		return 0, io.EOF
	}
	return r.n, nil
}

// part makes all writes from now on ones that do not wait, and wakes those who
// do.
func (w *wire) part() {
	w.parting.Store(true)
	_ = w.Conn.SetWriteDeadline(past)
}

// SetWriteDeadline leaves the deadline that part has set.
func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.parting.Load() {
		return nil
	}
	return w.Conn.SetWriteDeadline(t)
}

func (w *wire) Write(b []byte) (int, error) {
	if w.parting.Load() {
		return w.lastWords(b)
	}
	n, err := w.Conn.Write(b)
	if err != nil {
		w.failed.Store(true)
	}
	return n, err
}

// lastWords sends what the socket takes at once, all or nothing as far as that
// can be had.
func (w *wire) lastWords(b []byte) (n int, err error) {
	if w.raw == nil || w.mute.Load() || w.failed.Load() {
		return 0, errNothing
	}
	failed := w.raw.Control(func(fd uintptr) {
		n, err = unix.SendmsgN(int(fd), b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	})
	if failed != nil || err != nil || n < len(b) {
		w.failed.Store(true)
		return max(n, 0), errNothing
	}
	return n, nil
}
