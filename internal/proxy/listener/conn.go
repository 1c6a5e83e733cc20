// Package listener owns the downstream sockets of the proxy: accepting,
// the bound on open connections, and connections that can wait for their next
// request without holding a buffer.
//
// A Listener's Serve starts one goroutine per connection and returns when all
// of them have ended. What is said on a connection is not this package's
// business.
package listener

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// past is a deadline that has always expired: setting it wakes whoever reads
// or writes.
var past = time.Unix(1, 0)

// Conn is an accepted connection. Reads belong to one goroutine at a time, and
// so do writes; Interrupt, and Closed's wait, may come from another.
type Conn struct {
	net.Conn
	raw syscall.RawConn // nil where the transport is not a plain socket
	via transport       // what does so itself; nil: it does not

	// Arguments and results of the read in progress, kept here so that the
	// function given to raw.Read need not be made anew each time. Owned by the
	// reader.
	buffer func() []byte
	giveUp func([]byte)
	got    []byte
	n      int
	err    error
	readFn func(fd uintptr) bool
}

// transport is a connection that is no plain socket and knows better than this
// package what waits in it, as TLS does: a peek at the socket beneath takes its
// tickets and alerts for data. The methods are those of Conn.
type transport interface {
	ReadInto(take func() []byte, put func([]byte)) ([]byte, error)
	WaitClosed() bool
	Broken() bool
	HasInput() bool
}

// NewConn wraps a connection that was accepted or dialled.
func NewConn(c net.Conn) *Conn {
	k := &Conn{Conn: c}
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			k.raw = raw
		}
	}
	k.via, _ = c.(transport)
	k.readFn = k.tryRead
	return k
}

// Plain tells whether the connection is a socket and nothing around it.
func (c *Conn) Plain() bool { return c.raw != nil }

// SyscallConn gives the socket, for who writes without waiting; an error where
// there is more around it.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if c.raw == nil {
		return nil, errors.ErrUnsupported
	}
	return c.raw, nil
}

// Protocol is what was agreed on for the connection when it was made (ALPN);
// empty: nothing.
func (c *Conn) Protocol() string {
	if a, ok := c.Conn.(interface{ Protocol() string }); ok {
		return a.Protocol()
	}
	return ""
}

// ServerName is what the caller asked for when the connection was made (SNI);
// empty: nothing.
func (c *Conn) ServerName() string {
	if a, ok := c.Conn.(interface{ ServerName() string }); ok {
		return a.ServerName()
	}
	return ""
}

// ReadInto waits until there is something to read, and only then takes a
// buffer from take and reads into it; put gets the buffer back when there was
// nothing after all. A thousand idle connections so hold no buffer each. The
// returned slice is the buffer, cut to what was read.
func (c *Conn) ReadInto(take func() []byte, put func([]byte)) ([]byte, error) {
	if c.via != nil {
		return c.via.ReadInto(take, put)
	}
	if c.raw == nil {
		b := take()
		n, err := c.Read(b)
		if n == 0 {
			put(b)
			return nil, err
		}
		return b[:n], nil
	}
	c.buffer, c.giveUp = take, put
	c.got, c.n, c.err = nil, 0, nil
	if err := c.raw.Read(c.readFn); err != nil {
		return nil, err
	}
	return c.got, c.err
}

// tryRead is one attempt; false parks the goroutine until the socket is
// readable.
func (c *Conn) tryRead(fd uintptr) bool {
	b := c.buffer()
	n, err := readFD(int(fd), b)
	switch {
	case n > 0:
		c.got = b[:n]
		return true
	case errors.Is(err, unix.EAGAIN):
		c.giveUp(b)
		return false
	case err == nil:
		c.err = io.EOF
	default:
		c.err = err
	}
	c.giveUp(b)
	return true
}

func readFD(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// WaitClosed blocks until the peer has closed its side (true), or has sent
// more, or until the read deadline passes (both false). It consumes nothing.
func (c *Conn) WaitClosed() bool {
	if c.via != nil {
		return c.via.WaitClosed()
	}
	if c.raw == nil {
		return false
	}
	closed := false
	err := c.raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			return false
		case err != nil, n == 0:
			closed = true
		}
		return true
	})
	return err == nil && closed
}

// Interrupt makes a read or write that waits, and each later one, fail with
// os.ErrDeadlineExceeded until Resume.
func (c *Conn) Interrupt() { _ = c.SetDeadline(past) }

// InterruptRead is Interrupt for reads alone.
func (c *Conn) InterruptRead() { _ = c.SetReadDeadline(past) }

// Resume ends the effect of Interrupt.
func (c *Conn) Resume() { _ = c.SetDeadline(time.Time{}) }

// ResumeRead ends the effect of InterruptRead.
func (c *Conn) ResumeRead() { _ = c.SetReadDeadline(time.Time{}) }

// Linger ends the connection so that the peer can still read what was sent to
// it: our side is shut, then what the peer still sends is thrown away, for at
// most d and limit bytes. Closing at once instead would make the kernel send
// RST over unread bytes, and RST may overtake the answer (RFC 9112 section
// 9.6).
func (c *Conn) Linger(d time.Duration, scratch []byte, limit int) {
	defer c.Close()
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	if c.SetReadDeadline(time.Now().Add(d)) != nil {
		return
	}
	for limit > 0 {
		n, err := c.Read(scratch)
		if err != nil {
			return
		}
		limit -= n
	}
}

// Abort ends the connection by RST, for an answer whose end is that of its
// connection and that is not complete: an orderly close would make it look as
// if it were.
func (c *Conn) Abort() {
	if l, ok := c.Conn.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = c.Close()
}

// Broken tells, without waiting or consuming, whether the peer has closed its
// side or the connection has failed.
func (c *Conn) Broken() bool {
	if c.via != nil {
		return c.via.Broken()
	}
	if c.raw == nil {
		return false
	}
	broken := false
	err := c.raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		broken = n == 0 && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
		return true
	})
	return broken || err != nil
}

// HasInput tells, without waiting or consuming and whatever the deadlines, that
// the peer has sent something that is not read yet.
func (c *Conn) HasInput() bool {
	if c.via != nil {
		return c.via.HasInput()
	}
	if c.raw == nil {
		return false
	}
	n := 0
	err := c.raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, _ = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return err == nil && n > 0
}
