package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	coder "github.com/coder/websocket"
	gobwas "github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// endpoint is one end of a WebSocket connection, of whatever library.
type endpoint interface {
	// send a message in so many frames; a text, else binary.
	send(text bool, data []byte, frames int) error
	// receive a message. Pings are answered on the way. A *closed is the other
	// end's close frame, which was answered.
	receive() (text bool, data []byte, err error)
	// ping starts one; ponged tells whether it was answered. receive must be
	// called meanwhile.
	ping() (ponged func() (bool, error))
	// close sends a close frame and waits for the answer.
	close(code int, reason string) error
}

// closed is what a close frame says.
type closed struct {
	code   int
	reason string
}

func (c *closed) Error() string { return fmt.Sprintf("closed: %d %q", c.code, c.reason) }

// A library opens and serves connections.
type library struct {
	name string
	dial func(ctx context.Context, url string, over http.RoundTripper) (endpoint, error)
	// serve calls handle for each connection until the listener is closed.
	serve func(ctx context.Context, l net.Listener, handle func(path string, e endpoint))
}

var libraries = []library{
	{name: "coder", dial: dialCoder, serve: serveCoder},
	{name: "gobwas", dial: dialGobwas, serve: serveGobwas},
}

// largest message of the suite.
const largest = 4 << 20

type coderEnd struct {
	ctx context.Context
	*coder.Conn
}

func newCoder(ctx context.Context, c *coder.Conn) endpoint {
	c.SetReadLimit(largest)
	return coderEnd{ctx, c}
}

func dialCoder(ctx context.Context, url string, over http.RoundTripper) (endpoint, error) {
	c, _, err := coder.Dial(ctx, url, &coder.DialOptions{HTTPClient: &http.Client{Transport: over}})
	if err != nil {
		return nil, err
	}
	return newCoder(ctx, c), nil
}

func serveCoder(ctx context.Context, l net.Listener, handle func(string, endpoint)) {
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := coder.Accept(w, r, nil)
		if err != nil {
			return // the client has been told
		}
		handle(r.URL.Path, newCoder(ctx, c))
		_ = c.CloseNow() // an error: it has been closed
	})}
	_ = server.Serve(l) // until l is closed
}

func (c coderEnd) send(text bool, data []byte, frames int) error {
	kind := coder.MessageBinary
	if text {
		kind = coder.MessageText
	}
	w, err := c.Writer(c.ctx, kind)
	if err != nil {
		return err
	}
	for _, part := range split(data, frames) {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return w.Close()
}

func (c coderEnd) receive() (bool, []byte, error) {
	kind, data, err := c.Read(c.ctx)
	if frame, ok := errors.AsType[coder.CloseError](err); ok {
		err = &closed{int(frame.Code), frame.Reason}
	}
	return kind == coder.MessageText, data, err
}

func (c coderEnd) ping() func() (bool, error) {
	done := make(chan error, 1)
	go func() { done <- c.Ping(c.ctx) }()
	return func() (bool, error) {
		select {
		case err := <-done:
			return true, err
		default:
			return false, nil
		}
	}
}

func (c coderEnd) close(code int, reason string) error {
	return c.Close(coder.StatusCode(code), reason)
}

type gobwasEnd struct {
	rw    io.ReadWriter
	state gobwas.State
	pongs int
}

func dialGobwas(ctx context.Context, url string, over http.RoundTripper) (endpoint, error) {
	if over != nil {
		// The library has a client of its own for HTTP/1.1 alone; over another
		// way it gets the bytes that follow the handshake.
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return nil, err
		}
		res, err := over.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		return &gobwasEnd{rw: res.Body.(io.ReadWriter), state: gobwas.StateClientSide}, nil
	}
	nc, br, _, err := gobwas.Dialer{}.Dial(ctx, url)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	e := &gobwasEnd{rw: &closing{nc, stop}, state: gobwas.StateClientSide}
	if br != nil { // what came with the answer's head
		e.rw = struct {
			io.Reader
			io.Writer
		}{io.MultiReader(io.LimitReader(br, int64(br.Buffered())), e.rw), e.rw}
	}
	return e, nil
}

// closing is a connection that ends with a context.
type closing struct {
	net.Conn
	stop func() bool
}

func (c *closing) Close() error {
	c.stop()
	return c.Conn.Close()
}

func serveGobwas(ctx context.Context, l net.Listener, handle func(string, endpoint)) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer nc.Close()
			stop := context.AfterFunc(ctx, func() { nc.Close() })
			defer stop()
			path := ""
			u := gobwas.Upgrader{OnRequest: func(uri []byte) error { path = string(uri); return nil }}
			if _, err := u.Upgrade(nc); err != nil {
				return // the client has been told
			}
			handle(path, &gobwasEnd{rw: nc, state: gobwas.StateServerSide})
		}()
	}
}

func (g *gobwasEnd) send(text bool, data []byte, frames int) error {
	op := gobwas.OpBinary
	if text {
		op = gobwas.OpText
	}
	parts := split(data, frames)
	for i, part := range parts {
		f := gobwas.NewFrame(op, i == len(parts)-1, part)
		if g.state == gobwas.StateClientSide {
			f = gobwas.MaskFrame(f)
		}
		if err := gobwas.WriteFrame(g.rw, f); err != nil {
			return err
		}
		op = gobwas.OpContinuation
	}
	return nil
}

func (g *gobwasEnd) receive() (bool, []byte, error) {
	r := wsutil.Reader{Source: g.rw, State: g.state, CheckUTF8: true, OnIntermediate: g.control}
	for {
		h, err := r.NextFrame()
		if err != nil {
			return false, nil, err
		}
		if h.OpCode.IsControl() {
			if err := g.control(h, &r); err != nil {
				return false, nil, err
			}
			continue
		}
		data, err := io.ReadAll(&r)
		return h.OpCode == gobwas.OpText, data, err
	}
}

// control answers a control frame, and counts those that answer ours.
func (g *gobwasEnd) control(h gobwas.Header, r io.Reader) error {
	if h.OpCode == gobwas.OpPong {
		g.pongs++
	}
	err := wsutil.ControlFrameHandler(g.rw, g.state)(h, r)
	if frame, ok := errors.AsType[wsutil.ClosedError](err); ok {
		err = &closed{int(frame.Code), frame.Reason}
	}
	return err
}

func (g *gobwasEnd) ping() func() (bool, error) {
	before := g.pongs
	f := gobwas.NewPingFrame([]byte("are you there"))
	if g.state == gobwas.StateClientSide {
		f = gobwas.MaskFrame(f)
	}
	err := gobwas.WriteFrame(g.rw, f)
	return func() (bool, error) { return g.pongs > before, err }
}

func (g *gobwasEnd) close(code int, reason string) error {
	f := gobwas.NewCloseFrame(gobwas.NewCloseFrameBody(gobwas.StatusCode(code), reason))
	if g.state == gobwas.StateClientSide {
		f = gobwas.MaskFrame(f)
	}
	if err := gobwas.WriteFrame(g.rw, f); err != nil {
		return err
	}
	// The answer says the same code. It is read as a frame and not handled,
	// which would answer the answer.
	h, err := gobwas.ReadHeader(g.rw)
	if err != nil {
		return err
	}
	body := make([]byte, h.Length)
	if _, err := io.ReadFull(g.rw, body); err != nil {
		return err
	}
	if h.Masked {
		gobwas.Cipher(body, h.Mask, 0)
	}
	if got, _ := gobwas.ParseCloseFrameData(body); h.OpCode != gobwas.OpClose || int(got) != code {
		return fmt.Errorf("answer to close %d: %v %d", code, h.OpCode, got)
	}
	return nil
}

// split cuts data in n parts, of which some may be empty.
func split(data []byte, n int) [][]byte {
	parts := make([][]byte, 0, n)
	for i := range n {
		parts = append(parts, data[len(data)*i/n:len(data)*(i+1)/n])
	}
	return parts
}

// payload is n bytes of text that differ from place to place.
func payload(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d;", i)
	}
	return b.Bytes()[:n]
}
