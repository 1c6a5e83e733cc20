package perf

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	h2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An h2conn is an HTTP/2 connection that costs this process little, so that
// thousands can be held. Its streams are used one after the other, or opened
// and left.
type h2conn struct {
	net.Conn
	out     *bufio.Writer
	framer  *h2.Framer
	encoder *hpack.Encoder
	block   bytes.Buffer
	streams uint32 // opened so far
	limit   uint32 // the peer's SETTINGS_MAX_CONCURRENT_STREAMS
}

// dialHTTP2 connects with prior knowledge and returns when settings have been
// exchanged, or the time of ctx is over.
func dialHTTP2(ctx context.Context, addr string) (*h2conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &h2conn{Conn: conn, out: bufio.NewWriterSize(conn, 1024), limit: ^uint32(0)}
	if err := c.settle(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("settings: %w", err), conn.Close())
	}
	return c, nil
}

// settle sends the preface and waits for the peer's settings.
func (c *h2conn) settle(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return err
		}
	}
	c.framer = h2.NewFramer(c.out, c.Conn)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.block)
	if _, err := c.out.WriteString(h2.ClientPreface); err != nil {
		return err
	}
	if err := errors.Join(c.framer.WriteSettings(), c.out.Flush()); err != nil {
		return err
	}
	for {
		f, err := c.read()
		if err != nil {
			return err
		}
		if f, ok := f.(*h2.SettingsFrame); ok && !f.IsAck() {
			return nil
		}
	}
}

// read returns the next frame, having answered it where it concerns the
// connection. A connection or stream that the peer ends is an error.
func (c *h2conn) read() (h2.Frame, error) {
	f, err := c.framer.ReadFrame()
	if err != nil {
		return nil, err
	}
	switch f := f.(type) {
	case *h2.SettingsFrame:
		if f.IsAck() {
			break
		}
		if v, ok := f.Value(h2.SettingMaxConcurrentStreams); ok {
			c.limit = v
		}
		err = errors.Join(c.framer.WriteSettingsAck(), c.out.Flush())
	case *h2.PingFrame:
		if !f.IsAck() {
			err = errors.Join(c.framer.WritePing(true, f.Data), c.out.Flush())
		}
	case *h2.RSTStreamFrame:
		err = fmt.Errorf("stream %d was reset: %v", f.StreamID, f.ErrCode)
	case *h2.GoAwayFrame:
		err = fmt.Errorf("the connection was ended: %v %q", f.ErrCode, f.DebugData())
	}
	return f, err
}

// open sends the head of a request on a new stream, and body, which ends it
// unless it is nil. A path that is not "/" is a gRPC method.
func (c *h2conn) open(path string, body []byte) (id uint32, err error) {
	fields := []hpack.HeaderField{
		{Name: ":method", Value: "GET"},
		{Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: authority},
		{Name: ":path", Value: path},
	}
	if path != "/" {
		fields[0].Value = "POST"
		fields = append(fields, hpack.HeaderField{Name: "content-type", Value: "application/grpc"}, hpack.HeaderField{Name: "te", Value: "trailers"})
	}
	c.block.Reset()
	for _, f := range fields {
		if err := c.encoder.WriteField(f); err != nil {
			return 0, err
		}
	}
	id = 2*c.streams + 1
	c.streams++
	err = c.framer.WriteHeaders(h2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndHeaders: true, EndStream: body != nil && len(body) == 0})
	if err == nil && len(body) > 0 {
		err = c.framer.WriteData(id, true, body)
	}
	return id, err
}

// ask sends one request and reads the whole answer, which must be the
// upstream's: a plain one to "/", or a gRPC message that comes back.
func (c *h2conn) ask(path string) error {
	body, want := []byte{}, []byte(answer)
	if path != "/" {
		body = message(want)
		want = body
	}
	id, err := c.open(path, body)
	if err == nil {
		err = c.out.Flush()
	}
	if err != nil {
		return err
	}
	var got []byte
	var status, grpcStatus string
	for ended := false; !ended; {
		f, err := c.read()
		if err != nil {
			return err
		}
		if f.Header().StreamID != id {
			continue
		}
		switch f := f.(type) {
		case *h2.MetaHeadersFrame:
			if s := f.PseudoValue("status"); s != "" {
				status = s
			}
			for _, field := range f.RegularFields() {
				if field.Name == "grpc-status" {
					grpcStatus = field.Value
				}
			}
			ended = f.StreamEnded()
		case *h2.DataFrame:
			got = append(got, f.Data()...)
			ended = f.StreamEnded()
		}
	}
	switch {
	case status != "200":
		return fmt.Errorf("answer %q", status)
	case path != "/" && grpcStatus != "0":
		return fmt.Errorf("grpc-status %q", grpcStatus)
	case !bytes.Equal(got, want):
		return fmt.Errorf("body %q, the upstream's is %q", got, want)
	}
	return nil
}

// hold opens n calls of talkPath and returns when each has been answered with
// a head by the upstream.
func (c *h2conn) hold(n int) error {
	if uint32(n) > c.limit {
		return fmt.Errorf("it allows %d streams on a connection, and %d are needed", c.limit, n)
	}
	for range n {
		if _, err := c.open(talkPath, nil); err != nil {
			return err
		}
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	for heads := 0; heads < n; {
		f, err := c.read()
		if err != nil {
			return fmt.Errorf("after %d of %d streams: %w", heads, n, err)
		}
		if f, ok := f.(*h2.MetaHeadersFrame); ok {
			if f.PseudoValue("status") != "200" || f.StreamEnded() {
				return fmt.Errorf("stream %d was answered with %v", f.StreamID, f.Fields)
			}
			heads++
		}
	}
	return nil
}

// rest lets the connection be idle for as long as wanted.
func (c *h2conn) rest() error { return c.SetDeadline(time.Time{}) }

// message returns b as a gRPC message: not compressed, four bytes of length.
func message(b []byte) []byte {
	m := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b)))
	return append(m, b...)
}

// askHTTP2 makes a connection, sends one request, and returns the connection
// when the whole answer has been read.
func askHTTP2(ctx context.Context, addr, path string) (io.Closer, error) {
	c, err := dialHTTP2(ctx, addr)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(c.ask(path), c.rest()); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// holdHTTP2 makes a connection and leaves streams open on it.
func holdHTTP2(ctx context.Context, addr string, streams int) (io.Closer, error) {
	c, err := dialHTTP2(ctx, addr)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(c.hold(streams), c.rest()); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}
