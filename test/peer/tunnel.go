package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// Tunnel is the byte stream of an extended CONNECT (RFC 8441), on a connection
// of its own. It gives window back only for what was read.
type Tunnel struct {
	Status string // of the answer

	c    *Conn
	mu   sync.Mutex
	cond sync.Cond
	// What came and was not read, and what may be sent.
	in         bytes.Buffer
	conn, room int64
	initial    int64
	end        bool  // the peer has ended its half
	ended      bool  // we have ended ours
	err        error // of the connection or the stream
	done       chan struct{}
}

const tunnelStream = 1

// OpenTunnel connects, waits until the server offers extended CONNECT, and opens
// a tunnel by a request with these fields beside the pseudo fields.
func OpenTunnel(ctx context.Context, addr, protocol, path string, fields ...string) (*Tunnel, error) {
	c, err := Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	t := &Tunnel{c: c, conn: 65535, room: 65535, initial: 65535, done: make(chan struct{})}
	t.cond.L = &t.mu
	if err := t.open(ctx, protocol, path, fields); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	go t.run()
	if t.Status != "200" {
		return nil, errors.Join(fmt.Errorf("extended CONNECT: status %s", t.Status), t.Close())
	}
	return t, nil
}

func (t *Tunnel) open(ctx context.Context, protocol, path string, fields []string) error {
	deadline, _ := ctx.Deadline()
	for offered := false; !offered; {
		f, err := t.c.Read(deadline)
		if err != nil {
			return fmt.Errorf("waiting for SETTINGS: %w", err)
		}
		s, ok := f.(*http2.SettingsFrame)
		if !ok || s.IsAck() {
			continue
		}
		if v, ok := s.Value(http2.SettingEnableConnectProtocol); !ok || v != 1 {
			return errors.New("the server does not offer extended CONNECT (RFC 8441, section 3)")
		}
		offered = true
		if err := t.handle(s); err != nil {
			return err
		}
	}
	err := t.c.Headers(tunnelStream, false, append(Request("CONNECT", path, ":protocol", protocol), fields...)...)
	if err != nil {
		return err
	}
	for t.Status == "" {
		f, err := t.c.Read(deadline)
		if err != nil {
			return fmt.Errorf("waiting for the answer: %w", err)
		}
		if err := t.handle(f); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tunnel) run() {
	defer close(t.done)
	for {
		f, err := t.c.Read(time.Time{})
		if err == nil {
			err = t.handle(f)
		}
		if err != nil {
			t.mu.Lock()
			t.err = errors.Join(t.err, err)
			t.cond.Broadcast()
			t.mu.Unlock()
			return
		}
	}
}

// handle takes a frame in. An error is the end of the tunnel.
func (t *Tunnel) handle(f http2.Frame) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.cond.Broadcast()
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
			t.room += int64(v) - t.initial
			t.initial = int64(v)
		}
		return t.c.Write(func(fr *http2.Framer) error { return fr.WriteSettingsAck() })
	case *http2.PingFrame:
		if f.IsAck() {
			return nil
		}
		return t.c.Write(func(fr *http2.Framer) error { return fr.WritePing(true, f.Data) })
	case *http2.MetaHeadersFrame:
		if s := f.PseudoValue("status"); t.Status == "" && s[0] != '1' {
			t.Status = s
		}
		t.end = t.end || f.StreamEnded()
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			t.conn += int64(f.Increment)
		} else {
			t.room += int64(f.Increment)
		}
	case *http2.DataFrame:
		t.in.Write(f.Data())
		t.end = t.end || f.StreamEnded()
	case *http2.RSTStreamFrame:
		return fmt.Errorf("the stream was reset: %v", f.ErrCode)
	case *http2.GoAwayFrame:
		if f.ErrCode != http2.ErrCodeNo {
			return fmt.Errorf("GOAWAY %v %q", f.ErrCode, f.DebugData())
		}
	}
	return nil
}

// Read reads what the other end of the tunnel has sent.
func (t *Tunnel) Read(b []byte) (int, error) {
	t.mu.Lock()
	for t.in.Len() == 0 && !t.end && t.err == nil {
		t.cond.Wait()
	}
	n, _ := t.in.Read(b) // an error is only that it is empty
	end, err := t.end, t.err
	t.mu.Unlock()
	if n == 0 && len(b) > 0 {
		if end {
			return 0, io.EOF
		}
		return 0, err
	}
	return n, t.giveBack(uint32(n), !end && err == nil)
}

func (t *Tunnel) giveBack(n uint32, open bool) error {
	if !open || n == 0 {
		return nil
	}
	return t.c.Write(func(f *http2.Framer) error {
		return errors.Join(f.WriteWindowUpdate(0, n), f.WriteWindowUpdate(tunnelStream, n))
	})
}

// Write sends as the windows allow.
func (t *Tunnel) Write(b []byte) (int, error) {
	sent := 0
	for sent < len(b) {
		t.mu.Lock()
		for min(t.conn, t.room) <= 0 && t.err == nil {
			t.cond.Wait()
		}
		n := min(t.conn, t.room, 16384, int64(len(b)-sent))
		err := t.err
		t.conn -= n
		t.room -= n
		t.mu.Unlock()
		if err != nil {
			return sent, err
		}
		part := b[sent : sent+int(n)]
		if err := t.c.Write(func(f *http2.Framer) error { return f.WriteData(tunnelStream, false, part) }); err != nil {
			return sent, err
		}
		sent += int(n)
	}
	return sent, nil
}

// CloseWrite ends this half of the tunnel.
func (t *Tunnel) CloseWrite() error {
	t.mu.Lock()
	done := t.ended
	t.ended = true
	t.mu.Unlock()
	if done {
		return nil
	}
	return t.c.Write(func(f *http2.Framer) error { return f.WriteData(tunnelStream, true, nil) })
}

// Close ends this half, as RFC 8441 has it for a connection that is closed
// (section 5), and then the connection.
func (t *Tunnel) Close() error {
	_ = t.CloseWrite() // an error: the connection has ended
	err := t.c.Close()
	<-t.done
	return err
}
