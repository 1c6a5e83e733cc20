package proxy

import (
	"bytes"
	"sync/atomic"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/listener"
)

// spoken is what the first bytes of a connection are.
type spoken uint8

const (
	spokenNothing spoken = iota // it ended, or was silent for too long
	spokenHTTP1
	spokenHTTP2
)

// preface begins each HTTP/2 connection (RFC 9113 section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// opening is a connection whose protocol is not known yet. Its goroutine owns
// in and w; the rest is shared with the sweeper.
type opening struct {
	srv  *Server
	down *listener.Conn
	in   *buffer // in.b[:w] was read; nil while nothing was
	w    int

	since   atomic.Uint64 // tick at which the present wait began
	begun   atomic.Bool   // there was a first byte
	expired atomic.Bool   // the wait was too long: down is interrupted
}

func newOpening(s *Server, down *listener.Conn) *opening {
	o := &opening{srv: s, down: down}
	o.since.Store(s.tick.Load())
	return o
}

// await reads until it is known what is spoken. The bytes stay in the buffer.
func (o *opening) await() spoken {
	unregister := o.srv.register(o)
	heard := o.read()
	unregister()
	if !heard {
		return spokenNothing
	}
	if o.expired.Load() {
		o.down.Resume() // nobody interrupts it before the next session is registered
	}
	if o.prefaced() == len(preface) {
		return spokenHTTP2
	}
	return spokenHTTP1
}

// prefaced is how much of the preface the bytes so far are the begin of; 0:
// of none.
func (o *opening) prefaced() int {
	n := min(o.w, len(preface))
	if !bytes.Equal(o.in.b[:n], []byte(preface[:n])) {
		return 0
	}
	return n
}

// read reads the first bytes, and more as long as they may become the preface.
// False: there is none.
func (o *opening) read() bool {
	b, err := o.down.ReadInto(o.take, o.put)
	if err != nil {
		return false
	}
	o.w = len(b)
	for n := o.prefaced(); n > 0 && n < len(preface); n = o.prefaced() {
		if !o.begun.Load() {
			o.since.Store(o.srv.tick.Load())
			o.begun.Store(true)
		}
		n, err := o.down.Read(o.in.b[o.w:])
		o.w += n
		if err != nil {
			break // what is here is HTTP/1.x, and gets its answer there
		}
	}
	return true
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
	switch s := o.srv; {
	case o.begun.Load():
		return t.Head
	case s.draining.Load() && time.Duration(tick-s.drainAt.Load())*tickLength > t.DrainIdle:
		return min(t.Idle, t.DrainIdle)
	default:
		return t.Idle
	}
}
