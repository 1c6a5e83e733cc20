package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
)

// ErrTruncated says that the peer ended the connection without a close_notify:
// what was read may not be all that it sent. A message whose end is that of its
// connection is then incomplete (RFC 9112 section 9.8).
var ErrTruncated = errors.New("the peer closed without a TLS close_notify")

// Conn is a TLS connection whose handshake is complete. Reads, ReadInto,
// WaitClosed and Alive belong to one goroutine at a time, as do writes; Close,
// deadlines, Broken and HasInput may come from any.
//
// A write that fails by its deadline ends the connection for writing; a read
// that does can be repeated.
type Conn struct {
	*tls.Conn
	wire *wire
	// As agreed in the handshake.
	protocol, serverName string

	// Owned by the reader: a byte that was read to see whether there is one.
	ahead    [1]byte
	hasAhead bool
}

// Protocol is the application protocol that both sides agreed to (ALPN), ""
// if none.
func (c *Conn) Protocol() string { return c.protocol }

// ServerName is what the client asked for (SNI), "" if nothing.
func (c *Conn) ServerName() string { return c.serverName }

// shake is the handshake, until ctx ends.
func (c *Conn) shake(ctx context.Context) error {
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	state := c.ConnectionState()
	c.protocol, c.serverName = state.NegotiatedProtocol, state.ServerName
	return nil
}

// NetConn is the connection beneath. Nothing may be read from it or written to
// it.
func (c *Conn) NetConn() net.Conn { return c.wire.Conn }

// Read reads. Where the peer ends the connection without saying so, the error
// is ErrTruncated.
func (c *Conn) Read(b []byte) (int, error) {
	if !c.hasAhead || len(b) == 0 {
		n, err := c.Conn.Read(b)
		return n, c.readError(err)
	}
	b[0] = c.ahead[0]
	c.hasAhead = false
	n := 0
	if len(b) > 1 {
		// The rest of what is here. An error comes again at the next read.
		n, _ = c.readNow(b[1:])
	}
	return 1 + n, nil
}

// readNow reads what has come already, without waiting. The error is
// errNothing where there is none.
func (c *Conn) readNow(b []byte) (int, error) {
	c.wire.nowait = true
	defer func() { c.wire.nowait = false }()
	return c.Conn.Read(b)
}

func (c *Conn) readError(err error) error {
	if err == io.EOF && c.wire.eof { //nolint:errorlint // crypto/tls gives it bare, and a wrapped one would be another
		return ErrTruncated
	}
	return err
}

// ReadInto waits until there is something to read, and only then takes a buffer
// from take and reads into it. The returned slice is the buffer, cut to what
// was read. The buffer is never given back: there is always something.
func (c *Conn) ReadInto(take func() []byte, _ func([]byte)) ([]byte, error) {
	if !c.hasAhead {
		n, err := c.Conn.Read(c.ahead[:])
		if n == 0 {
			return nil, c.readError(err)
		}
		c.hasAhead = true
	}
	b := take()
	n, err := c.Read(b)
	return b[:n], err
}

// WaitClosed blocks until the peer has ended the connection (true), or has sent
// more, or until the read deadline passes (both false). What was sent is there
// for the next read.
func (c *Conn) WaitClosed() bool {
	if c.hasAhead {
		return false
	}
	n, err := c.Conn.Read(c.ahead[:])
	c.hasAhead = n > 0
	return n == 0 && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed)
}

// Alive looks, without waiting, whether an idle connection is still open and
// the peer has sent nothing unasked. Session tickets and key updates are
// taken in.
func (c *Conn) Alive() bool {
	if c.hasAhead {
		return false
	}
	n, err := c.readNow(c.ahead[:])
	c.hasAhead = n > 0
	return n == 0 && errors.Is(err, errNothing)
}

// Broken tells, without waiting or consuming, that the connection has failed or
// that the peer has closed it and all that it sent was taken in. False says
// little: a close_notify that was not read yet looks like data.
func (c *Conn) Broken() bool {
	n, err := c.wire.peek()
	return n == 0 && !errors.Is(err, errNothing)
}

// HasInput tells, without waiting or consuming and whatever the deadlines, that
// the peer has sent something that was not taken in yet. It may be no data.
func (c *Conn) HasInput() bool {
	n, _ := c.wire.peek()
	return n > 0
}

// CloseWrite ends our side: the peer is told within TLS (RFC 8446 section 6.1),
// and by FIN, for those who only look at that.
func (c *Conn) CloseWrite() error {
	if err := c.Conn.CloseWrite(); err != nil {
		return err
	}
	if half, ok := c.wire.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// SetLinger is that of a TCP connection. With 0 Close resets the connection and
// sends no close_notify, so that the peer knows that what it got is incomplete.
func (c *Conn) SetLinger(sec int) error {
	if sec == 0 {
		c.wire.mute.Store(true)
	}
	if l, ok := c.wire.Conn.(interface{ SetLinger(sec int) error }); ok {
		return l.SetLinger(sec)
	}
	return nil
}

// Close ends the connection without waiting for anything: the close_notify is
// sent if the socket takes it at once. It wakes who reads or writes.
func (c *Conn) Close() error {
	c.wire.part()
	err := c.Conn.Close()
	if errors.Is(err, errNothing) { // it was not sent; the connection is closed
		return nil
	}
	return err
}
