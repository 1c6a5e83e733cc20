package proxy

import (
	"bytes"
	"sync/atomic"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/detect"
	"github.com/reclosermesh/recloser/internal/proxy/listener"
)

// opening is a connection whose protocol is not known yet. Its goroutine owns
// in, w and name; the rest is shared with the sweeper.
type opening struct {
	srv  *Server
	down *listener.Conn
	in   *buffer // in.b[:w] was read; nil while nothing was
	w    int
	name string // that a ClientHello asks for

	since   atomic.Uint64 // tick at which the present wait began
	begun   atomic.Bool   // there was a first byte
	patient atomic.Bool   // silence means nothing: no bytes are expected from elsewhere
	expired atomic.Bool   // the wait was too long: down is interrupted
}

func newOpening(s *Server, down *listener.Conn) *opening {
	o := &opening{srv: s, down: down}
	o.since.Store(s.tick.Load())
	return o
}

// serveConn is one connection's life.
func (s *Server) serveConn(down *listener.Conn) {
	s.cfg.Metrics.ConnOpened()
	defer s.cfg.Metrics.ConnClosed()
	o := newOpening(s, down)
	kind := o.agreed()
	if kind == detect.More {
		kind = o.await()
	}
	switch kind {
	case detect.HTTP1:
		s.serveHTTP1(o)
	case detect.HTTP2:
		s.serveHTTP2(down, o.takeBytes())
	case detect.TLS, detect.Opaque:
		early := o.takeBytes()
		s.serveTCP(down, early, o.name)
	case detect.More:
		o.release() // it ended before it spoke
	}
}

// agreed is what is spoken as far as that is known without a byte; More: it is
// not.
func (o *opening) agreed() detect.Kind {
	switch o.srv.cfg.Protocol {
	case ProtocolTCP:
		return detect.Opaque
	case ProtocolHTTP1:
		return detect.HTTP1
	case ProtocolHTTP2:
		return detect.HTTP2 // as below
	case ProtocolHTTP, ProtocolDetect:
	}
	switch o.down.Protocol() {
	case "":
		return detect.More
	case "h2":
		return detect.HTTP2 // the engine insists on the preface
	case "http/1.1", "http/1.0":
		return detect.HTTP1
	}
	if o.srv.cfg.Protocol == ProtocolDetect {
		return detect.Opaque
	}
	return detect.More
}

// serveHTTP1 serves a connection whose first bytes are in o.
func (s *Server) serveHTTP1(o *opening) {
	c := newConn(s, o.down)
	c.in, c.w = o.in, o.w
	defer s.register(c)()
	c.serve()
}

// takeBytes gives what was read, and the buffer back.
func (o *opening) takeBytes() []byte {
	if o.in == nil {
		return nil
	}
	early := bytes.Clone(o.in.b[:o.w])
	o.release()
	return early
}

// await reads until it is known what is spoken; More: nothing was.
func (o *opening) await() detect.Kind {
	unregister := o.srv.register(o)
	kind := o.read()
	unregister()
	if o.expired.Load() {
		o.down.Resume() // nobody interrupts it before the next session is registered
	}
	return kind
}

func (o *opening) read() detect.Kind {
	for o.w == 0 {
		b, err := o.down.ReadInto(o.take, o.put)
		o.w = len(b)
		if err == nil {
			break
		}
		if !o.silent() {
			return detect.More
		}
		if o.opaque() {
			return detect.Opaque
		}
		o.waitOn()
	}
	for {
		kind := o.look()
		if kind != detect.More {
			return kind
		}
		if !o.begun.Load() {
			o.since.Store(o.srv.tick.Load())
			o.begun.Store(true)
		}
		n, err := o.down.Read(o.in.b[o.w:])
		o.w += n
		if err != nil {
			return o.guess()
		}
	}
}

// look tells what the bytes so far are. Where only HTTP is spoken, all but the
// HTTP/2 preface is HTTP/1.x, and gets its answer there.
func (o *opening) look() detect.Kind {
	b := o.in.b[:o.w]
	if o.srv.cfg.Protocol == ProtocolDetect {
		var hello detect.Hello
		kind := detect.Look(b, &hello)
		if kind == detect.TLS {
			o.name = string(hello.ServerName())
		}
		return kind
	}
	switch n := min(len(b), len(detect.Preface)); {
	case string(b[:n]) != detect.Preface[:n]:
		return detect.HTTP1
	case n < len(detect.Preface):
		return detect.More
	default:
		return detect.HTTP2
	}
}

// guess decides when no more bytes come, or not in time.
func (o *opening) guess() detect.Kind {
	if o.srv.cfg.Protocol == ProtocolDetect {
		return detect.Guess(o.in.b[:o.w])
	}
	return detect.HTTP1
}

// silent tells whether the wait for a first byte ended by its bound, and the
// connection may still be one whose server speaks first.
func (o *opening) silent() bool {
	return o.expired.Load() && !o.patient.Load() &&
		o.srv.cfg.Protocol == ProtocolDetect && !o.srv.draining.Load()
}

// opaque tells whether there is a place for bytes that name none.
func (o *opening) opaque() bool {
	if o.srv.cfg.TCP != nil {
		return true
	}
	_, ok := o.srv.cfg.original(o.down.Conn)
	return ok
}

// waitOn goes on waiting, as an idle connection does.
func (o *opening) waitOn() {
	o.srv.mu.Lock()
	defer o.srv.mu.Unlock()
	o.patient.Store(true)
	o.expired.Store(false)
	if !o.srv.over {
		o.down.Resume()
	}
}

func (o *opening) take() []byte {
	o.in = o.srv.buffers.Get().(*buffer)
	return o.in.b
}

func (o *opening) put([]byte) { o.release() }

func (o *opening) release() {
	if o.in != nil {
		o.srv.buffers.Put(o.in)
		o.in = nil
	}
}

func (o *opening) leave() { o.down.Interrupt() }

func (o *opening) sweep(tick uint64) {
	age := time.Duration(tick-o.since.Load()) * tickLength
	if !o.expired.Load() && age > o.bound(tick) {
		o.expired.Store(true)
		o.down.Interrupt()
	}
}

// bound is how long the present wait may be.
func (o *opening) bound(tick uint64) time.Duration {
	t := &o.srv.t
	detecting := o.srv.cfg.Protocol == ProtocolDetect
	switch s := o.srv; {
	case o.begun.Load() && detecting && t.Detect > 0:
		return t.Detect
	case o.begun.Load():
		return t.Head
	case s.draining.Load() && time.Duration(tick-s.drainAt.Load())*tickLength > t.DrainIdle:
		return min(t.Idle, t.DrainIdle)
	case detecting && !o.patient.Load() && t.Detect > 0:
		return min(t.Idle, t.Detect)
	default:
		return t.Idle
	}
}
