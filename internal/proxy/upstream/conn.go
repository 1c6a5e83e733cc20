package upstream

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a connection to an endpoint. Between Get and Put it belongs to one
// request.
type Conn struct {
	net.Conn
	endpoint  *Endpoint
	raw       syscall.RawConn // nil where the transport is not a plain socket
	transport string          // as configured when it was dialled

	// Owned by the request, or by the pool while idle.
	requests  uint32 // served so far, the present one included
	madeAt    time.Duration
	idleSince time.Duration // when it was put back
	reused    bool
	alive     bool // result of the check in progress
	checkFn   func(fd uintptr) bool
}

func newConn(c net.Conn, e *Endpoint) *Conn {
	k := &Conn{Conn: c, endpoint: e, madeAt: e.cluster.opts.Clock()}
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			k.raw = raw
		}
	}
	k.checkFn = k.check
	return k
}

// Endpoint is where the connection leads.
func (c *Conn) Endpoint() *Endpoint { return c.endpoint }

// Plain tells whether the transport is a plain socket.
func (c *Conn) Plain() bool { return c.raw != nil }

// Reused tells whether the connection has carried a request before: then it
// may have died while it was idle, and a failure before the first byte of an
// answer says nothing about the endpoint.
func (c *Conn) Reused() bool { return c.reused }

// Interrupt makes a read or write that waits, and each later one, fail with
// os.ErrDeadlineExceeded. May be called from any goroutine.
func (c *Conn) Interrupt() { _ = c.SetDeadline(time.Unix(1, 0)) }

// checkAlive looks, without waiting, whether an idle connection was closed by
// its peer, or has unasked bytes to read (which no answer of ours may begin
// with).
func (c *Conn) checkAlive() bool {
	if c.raw == nil {
		// What TLS has to say by itself looks like data to a peek.
		t, ok := c.Conn.(interface{ Alive() bool })
		return !ok || t.Alive()
	}
	c.alive = false
	if err := c.raw.Read(c.checkFn); err != nil {
		return false
	}
	return c.alive
}

func (c *Conn) check(fd uintptr) bool {
	var b [1]byte
	_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	c.alive = errors.Is(err, unix.EAGAIN)
	return true
}
