package proxy

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/listener"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// conn is one downstream connection. Its goroutine (serve) owns everything but
// what is marked otherwise; while a request body is being sent on by an
// uploader, the read side (down's reads, in, r, w) is the uploader's.
type conn struct {
	srv  *Server
	down *listener.Conn

	in   *buffer // read buffer; nil while nothing is buffered
	r, w int     // in.b[r:w] is read and not used yet
	out  []byte  // heads on their way out
	vec  [2][]byte
	bufs net.Buffers // over vec, for gathered writes
	up   *buffer     // read buffer of the upstream side; nil between exchanges

	req   http1.Request
	resp  http1.Response
	chunk struct{ req, resp http1.ChunkReader }
	x     exchange1
	last  bool // the connection ends after the exchange in x

	take func() []byte // for ReadInto; made once
	put  func([]byte)

	// Shared with the sweeper and watchers.
	state     atomic.Uint64
	idle      atomic.Int64 // the route's bound on the time without a byte, as idleOr has it
	current   atomic.Pointer[upstream.Conn]
	box       atomic.Pointer[answerBox] // where the endpoint speaks HTTP/2
	gone      chan struct{}             // closed when the caller went away
	goneOnce  sync.Once
	watchable atomic.Bool
	watchMu   sync.Mutex
	watcher   chan struct{} // guarded by watchMu; closed when the watcher ended
}

func newConn(s *Server, down *listener.Conn) *conn {
	c := &conn{srv: s, down: down, gone: make(chan struct{})}
	c.take = func() []byte {
		c.in = s.buffers.Get().(*buffer)
		return c.in.b
	}
	c.put = func([]byte) { c.release(&c.in) }
	c.state.Store(uint64(phaseIdle) | s.tick.Load()<<tickShift)
	return c
}

func (c *conn) release(b **buffer) {
	if *b == nil {
		return
	}
	if len((*b).b) == bufferSize { // one that grew for a large head is not kept
		c.srv.buffers.Put(*b)
	}
	*b = nil
}

// serve carries one request after the other, until one of the two sides, or
// the server, has had enough.
func (c *conn) serve() {
	defer func() {
		c.release(&c.in)
		c.release(&c.up)
	}()
	for c.readHead() && c.exchange() {
	}
	if c.last {
		c.end() // here, where the exchange holds no limit any more
	}
	c.state.Store(uint64(phaseEnd))
}

// readHead reads the head of the next request into req. False: there is none,
// and what had to be said about it has been said.
func (c *conn) readHead() bool {
	if c.r == c.w {
		c.release(&c.in)
		if !c.enter(phaseIdle) {
			return false
		}
		b, err := c.down.ReadInto(c.take, c.put)
		if err != nil {
			return false
		}
		c.r, c.w = 0, len(b)
	}
	for first := true; ; first = false {
		n, err := c.req.Parse(c.in.b[c.r:c.w], &c.srv.cfg.HTTP1)
		if err == nil {
			c.r += n
			if !c.enter(phaseWait) {
				c.revive(phaseWait) // it came in the last instant, but it came
			}
			return true
		}
		if !errors.Is(err, http1.ErrMore) {
			c.refuseHead(telemetry.MalformedRequest, err)
			return false
		}
		if first && !c.enter(phaseHead) {
			return false
		}
		if !c.readOn() {
			return false
		}
	}
}

// readOn reads until the head, which was incomplete, is worth another look. A
// sender of single bytes would otherwise make each of them cost a look at all.
func (c *conn) readOn() bool {
	for {
		old := c.w - c.r
		if !c.readMore() {
			return false
		}
		if http1.WorthParsing(c.in.b[c.r:c.w], old, &c.srv.cfg.HTTP1) {
			return true
		}
	}
}

// readMore appends to the read buffer, in which a head is incomplete.
func (c *conn) readMore() bool {
	c.makeRoom()
	n, _ := c.down.Read(c.in.b[c.w:])
	c.w += n
	if n > 0 {
		return true
	}
	if c.expired() && !c.isGone() {
		c.refuseHead(telemetry.HeadTimeout, nil)
	}
	return false
}

// makeRoom makes space behind w: by moving what is there to the front, or by a
// larger buffer. The codec's bound on heads ends the growth.
func (c *conn) makeRoom() {
	switch {
	case c.w < len(c.in.b):
	case c.r > 0:
		c.w = copy(c.in.b, c.in.b[c.r:c.w])
		c.r = 0
	default:
		larger := &buffer{make([]byte, 2*len(c.in.b))}
		copy(larger.b, c.in.b[:c.w])
		c.release(&c.in)
		c.in = larger
	}
}

// refuseHead answers what never became a request, and ends the connection.
func (c *conn) refuseHead(why telemetry.Reason, err error) {
	c.begin()
	c.x.malformed = true
	c.x.detail = broken(err)
	c.refuse(why)
}

// broken is the codec's reason for refusing a message, "" if it did not.
func broken(err error) string {
	if e, ok := errors.AsType[*http1.ParseError](err); ok {
		return e.Reason
	}
	return ""
}

// gather writes the head in out, and body behind it, in one system call. TLS
// would make a record of each part.
func (c *conn) gather(to net.Conn, plain bool, body []byte) (int, error) {
	if len(body) <= copyMost || !plain {
		c.out = append(c.out, body...)
		return to.Write(c.out)
	}
	c.vec = [2][]byte{c.out, body}
	c.bufs = c.vec[:]
	n, err := c.bufs.WriteTo(to)
	c.vec = [2][]byte{}
	return int(n), err
}

// end closes the connection such that its peer gets what was written.
func (c *conn) end() {
	if c.isGone() {
		return
	}
	if c.x.torn {
		c.down.Abort()
		return
	}
	c.revive(phaseEnd)
	if u := c.x.upload; u != nil {
		c.release(&u.buf)
	}
	if c.in == nil {
		c.take()
	}
	c.down.Linger(c.srv.t.Linger, c.in.b, 256<<10)
}
