package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Conn is one HTTP/2 connection. Its writing methods may be called from any
// goroutine; its reading ones from one at a time.
type Conn struct {
	net.Conn

	mu     sync.Mutex // of what follows, and of writing
	framer *http2.Framer
	block  bytes.Buffer
	enc    *hpack.Encoder
}

// Dial connects as a client and sends the preface with these settings. It does
// not wait for the server's.
func Dial(ctx context.Context, addr string, settings ...http2.Setting) (*Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := newConn(nc)
	if _, err := io.WriteString(nc, http2.ClientPreface); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	return c, c.Write(func(f *http2.Framer) error { return f.WriteSettings(settings...) })
}

// Accept is the server's side of Dial, on a connection that a listener gave.
func Accept(nc net.Conn, settings ...http2.Setting) (*Conn, error) {
	c := newConn(nc)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(nc, preface); err != nil {
		return nil, err
	}
	if string(preface) != http2.ClientPreface {
		return nil, fmt.Errorf("preface %q", preface)
	}
	return c, c.Write(func(f *http2.Framer) error { return f.WriteSettings(settings...) })
}

func newConn(nc net.Conn) *Conn {
	c := &Conn{Conn: nc}
	c.framer = http2.NewFramer(nc, nc)
	c.framer.AllowIllegalWrites = true
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.MaxHeaderListSize = 1 << 20
	c.enc = hpack.NewEncoder(&c.block)
	return c
}

// Write writes what f does to the framer.
func (c *Conn) Write(f func(*http2.Framer) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return f(c.framer)
}

// Headers opens a stream, or answers on it, with fields given as name, value,
// name, value.
func (c *Conn) Headers(id uint32, end bool, fields ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	block, err := c.encode(fields)
	if err != nil {
		return err
	}
	return c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: end,
	})
}

// Encode returns fields as a header block.
func (c *Conn) Encode(fields ...string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	block, err := c.encode(fields)
	return bytes.Clone(block), err
}

func (c *Conn) encode(fields []string) ([]byte, error) {
	c.block.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		if err := c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			return nil, err
		}
	}
	return c.block.Bytes(), nil
}

// Request is the fields of a request, for Headers.
func Request(method, path string, more ...string) []string {
	return append([]string{":method", method, ":scheme", "http", ":authority", "peer.test", ":path", path}, more...)
}

// Settle reads until the other side's SETTINGS have come, and acknowledges them.
func (c *Conn) Settle(deadline time.Time) error {
	for {
		f, err := c.Read(deadline)
		if err != nil {
			return fmt.Errorf("waiting for SETTINGS: %w", err)
		}
		if s, ok := f.(*http2.SettingsFrame); ok && !s.IsAck() {
			return c.Write(func(fr *http2.Framer) error { return fr.WriteSettingsAck() })
		}
	}
}

// Read reads a frame, and waits until the deadline for it.
func (c *Conn) Read(deadline time.Time) (http2.Frame, error) {
	if err := c.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	return c.framer.ReadFrame()
}
