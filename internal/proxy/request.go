package proxy

import (
	"sync/atomic"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file is the request path: what happens to a request whose head has been
// read, from top to bottom.

// exchange1 is the exchange of an HTTP/1.1 caller. It is reset, not made anew,
// for each.
type exchange1 struct {
	exchange

	conn  *upstream.Conn // nil: none yet, or none any more
	body  []byte         // of the request, as far as it came with the head
	whole bool           // all of the request went out in one piece

	closing    bool    // the downstream connection ends after this
	interims   int     // 1xx that were sent on
	untilClose bool    // the caller takes the connection's end for the answer's
	torn       bool    // the answer is not complete, and only RST can say so
	upload     *upload // nil: none is under way
	unheard    bool    // the caller does not take the answer

	alarm    *alarm                // at the end of the answer's time; nil: none
	tryAlarm atomic.Pointer[alarm] // at the end of the try's, where the request was uploaded; nil: none

	two  bool   // the endpoints speak HTTP/2: for all tries, as the body is kept in their framing
	keep keeper // of the body, where it may be wanted again
	kept []byte // what an earlier try's uploader has read, all of the body so far; nil: there was none
}

func (c *conn) begin() {
	c.x = exchange1{}
	c.x.begin(c.srv, c.down, c.protocol(), &c.req)
}

// exchange carries the request in req to its end. False: the connection cannot
// be used again.
func (c *conn) exchange() (again bool) {
	c.begin()
	x := &c.x
	x.closing = !c.req.KeepAlive

	why, known := x.known()
	if !known {
		why = x.awaitRoutes()
	}
	if why == telemetry.ViaUpstream {
		why = x.choose()
	}
	defer x.release()
	if idle := int64(x.idleBound()); c.idle.Load() != idle {
		c.idle.Store(idle)
	}
	if why == telemetry.ViaUpstream {
		why = c.admit()
	}
	if why != telemetry.ViaUpstream {
		return c.refuse(why)
	}
	return c.forward()
}

// admit gets an endpoint and its breaker's permit for the request, waiting for
// one where all are open.
func (c *conn) admit() telemetry.Reason {
	if c.x.tryAdmit() {
		return telemetry.ViaUpstream
	}
	c.allowWatch() // the body is not read yet, so nobody else reads
	defer c.endWatch()
	return c.x.awaitAdmit(c.gone)
}

// forward sends the request to the endpoint and the answer back.
func (c *conn) forward() (again bool) {
	x := &c.x
	why := c.try()
	for c.goesAgain(why) {
		if why = c.readmit(); why != telemetry.ViaUpstream {
			return c.refuse(why)
		}
		why = c.try()
	}
	if why == telemetry.ViaUpstream {
		return c.finish()
	}
	x.settle(x.outcome(why, x.unheard || c.starving()))
	if !x.headSent {
		return c.refuse(why)
	}
	x.reason = why
	x.closing = true
	x.torn = x.untilClose
	return c.finish()
}

// try is the exchange with one endpoint.
func (c *conn) try() telemetry.Reason {
	x := &c.x
	x.beginTry()
	x.tries.closing = x.closing
	x.endpoint.Metrics().Request()
	why := c.carry()
	c.endWatch()
	c.giveBack(why)
	c.endAlarm()
	c.release(&c.up)
	return why
}

// carry does so in the protocol that the endpoint speaks.
func (c *conn) carry() telemetry.Reason {
	switch {
	case c.req.Connect:
		return c.carryBytes()
	case c.x.tries.n == 1:
		c.x.two = c.upstream2()
	}
	if c.x.two {
		return c.exchange2()
	}
	if why := c.send(); why != telemetry.ViaUpstream {
		return why
	}
	return c.receive()
}

// send connects and sends the head, with what is there of the body; the rest
// of a body is left to an uploader.
func (c *conn) send() telemetry.Reason {
	x := &c.x
	if x.whole = c.compose(); x.malformed {
		return telemetry.MalformedRequest
	}
	c.copyFirst()
	if x.whole {
		x.boundTry()
		c.allowWatch()
	}
	if why := c.connect(false); why != telemetry.ViaUpstream {
		return why
	}
	err := c.write()
	if err != nil && c.replayable() {
		if why := c.replay(); why != telemetry.ViaUpstream {
			return why
		}
	} else if err != nil {
		// The endpoint may have answered before it hung up: receive looks. What
		// is still to come of the body must not be taken for a next request.
		x.failure = err
		x.closing = x.closing || !x.whole
		return c.interrupted()
	}
	if x.whole {
		c.requestSent()
	} else {
		c.startUpload()
	}
	return telemetry.ViaUpstream
}

// connect gets a connection to the chosen endpoint.
func (c *conn) connect(fresh bool) telemetry.Reason {
	x := &c.x
	var err error
	deadline := x.connectBefore()
	if fresh {
		c.enter(phaseWait)
		x.conn, err = x.endpoint.GetNew(deadline)
	} else {
		x.conn, err = x.endpoint.Get(c.srv.clock(), deadline, !c.x.repeatable() || !x.whole, c.gone)
	}
	if err != nil {
		return x.connectFailure(err)
	}
	if x.deadline != 0 || x.tryEnds() != 0 {
		left := x.connectBefore() - c.srv.clock() // this look first: the deadline is not early
		_ = x.conn.SetDeadline(time.Now().Add(left))
	}
	c.current.Store(x.conn)
	c.enter(phaseStream)
	if c.isGone() {
		return telemetry.DownstreamGone
	}
	return telemetry.ViaUpstream
}

// replay sends the request again, on a new connection to the same endpoint,
// after the pooled one turned out to be dead. Nothing of that reaches the
// caller or the breaker.
func (c *conn) replay() telemetry.Reason {
	x := &c.x
	c.current.Store(nil)
	x.endpoint.Discard(x.conn)
	x.conn = nil
	if why := c.connect(true); why != telemetry.ViaUpstream {
		return why
	}
	if err := c.write(); err != nil {
		x.failure = err
		return c.interrupted()
	}
	return telemetry.ViaUpstream
}

// replayable tells whether a failure of the connection, before a byte of an
// answer, may be its age and not the endpoint: it was pooled, all that was
// sent is still here, and the request may be sent again.
func (c *conn) replayable() bool {
	x := &c.x
	return x.conn.Reused() && x.whole && c.x.repeatable() && c.interrupted() == telemetry.ViaUpstream
}

// compose makes what is sent first: the head and as much of the body as is
// here. True: that is all of the request.
func (c *conn) compose() (whole bool) {
	x := &c.x
	var opts http1.ForwardOptions
	if !x.fwd.HasRequestID {
		if x.extra[0].Value == nil {
			x.newRequestID()
		}
		opts.Extra = x.extra[:]
	}
	opts.Extra = x.attempts(opts.Extra)
	c.out = x.forwardable().AppendForward(c.out[:0], opts)
	if x.tries.n == 1 {
		return c.composeBody()
	}
	if x.kept != nil {
		x.body = x.kept
	}
	return x.whole
}

func (c *conn) composeBody() (whole bool) {
	x := &c.x
	here := c.in.b[c.r:c.w]
	switch c.req.Body.Kind {
	case http1.BodyLength:
		n := int(min(int64(len(here)), c.req.Body.Length))
		x.body = here[:n]
		c.r += n
		x.received = int64(n)
		return x.received == c.req.Body.Length
	case http1.BodyChunked:
		c.chunk.req.Reset(&c.srv.cfg.HTTP1)
		n, done, err := c.chunk.req.Scan(here)
		if err != nil {
			c.spoiled(err)
			return true
		}
		x.body = here[:n]
		c.r += n
		x.received = int64(n)
		return done
	default:
		return true
	}
}

// spoiled notes that the request's body is malformed: nothing of what is
// composed is sent.
func (c *conn) spoiled(err error) {
	c.x.malformed = true
	c.x.detail = broken(err)
	c.out = c.out[:0]
}

func (c *conn) write() error {
	head := len(c.out)
	n, err := c.gather(c.x.conn.Conn, c.x.conn.Plain(), c.x.body)
	c.out = c.out[:head] // as it was, for a replay
	c.x.endpoint.Metrics().BytesWritten(n)
	return err
}

// interrupted tells why a wait was cut short, ViaUpstream if nobody did.
func (c *conn) interrupted() telemetry.Reason {
	x := &c.x
	switch {
	case c.isGone():
		return telemetry.DownstreamGone
	case x.upload.failed() == uploadMalformed:
		return telemetry.MalformedRequest
	case x.upload.failed() == uploadGone:
		return telemetry.DownstreamGone
	case c.expired() && c.starving():
		return telemetry.BodyTimeout
	case c.expired():
		return telemetry.IdleTimeout
	case x.late():
		return telemetry.RequestTimeout
	case x.tryLate():
		return telemetry.PerTryTimeout
	}
	return telemetry.ViaUpstream
}

// giveBack returns the connection to its pool if the exchange on it is
// complete on both sides.
func (c *conn) giveBack(why telemetry.Reason) {
	x := &c.x
	uc := x.conn
	if uc == nil {
		return
	}
	uploaded := c.endUpload()
	c.endAlarm()
	c.current.Store(nil)
	x.conn = nil
	if why == telemetry.ViaUpstream && uploaded && x.failure == nil && c.resp.KeepAlive && !c.expired() && !c.isGone() {
		if x.deadline == 0 || uc.SetDeadline(time.Time{}) == nil {
			x.endpoint.Put(uc, c.srv.clock())
			return
		}
	}
	x.endpoint.Discard(uc)
}
