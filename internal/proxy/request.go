package proxy

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/snapshot"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file is the request path: what happens to a request whose head has been
// read, from top to bottom.

// exchange is the state of one request and its answer. It is reset, not made
// anew, for each.
type exchange struct {
	start     time.Duration // when the head was read
	asked     time.Duration // when an endpoint was to be had: its time runs from here
	deadline  time.Duration // 0: none
	malformed bool          // req is not to be looked at
	detail    string        // what the codec found wrong

	action   *route.Action
	cluster  *upstream.Cluster
	endpoint *upstream.Endpoint
	permit   breaker.Permit
	conn     *upstream.Conn // nil: none yet, or none any more
	body     []byte         // of the request, as far as it came with the head
	whole    bool           // all of the request went out in one piece
	settled  bool           // permit and load are done
	success  bool           // the breaker's verdict
	reason   telemetry.Reason

	requestID [36]byte
	extra     [1]http1.Header

	status     int           // what the caller got; 0: nothing yet
	headAt     time.Duration // when the endpoint's head came; 0: it did not
	headSent   bool          // an answer has begun
	closing    bool          // the downstream connection ends after this
	interims   int           // 1xx that were sent on
	untilClose bool          // the caller takes the connection's end for the answer's
	torn       bool          // the answer is not complete, and only RST can say so
	received   int64         // bytes of the request's body
	sent       int64         // bytes of the answer's body
	failure    error         // of the upstream transport
	upload     *upload       // nil: none is under way
	unheard    bool          // the caller does not take the answer
}

func (x *exchange) begin(now time.Duration) {
	*x = exchange{start: now, asked: now}
}

// exchange carries the request in req to its end. False: the connection cannot
// be used again.
func (c *conn) exchange() (again bool) {
	x := &c.x
	x.begin(c.srv.clock())
	x.closing = !c.req.KeepAlive

	if c.req.Connect {
		return c.refuse(telemetry.RouteNotFound)
	}
	table, why := c.routes()
	if table == nil {
		return c.refuse(why)
	}
	if x.action = table.Match(&c.req); x.action == nil {
		return c.refuse(telemetry.RouteNotFound)
	}
	if x.cluster = x.action.Pick(rand.Uint32()); x.cluster == nil {
		return c.refuse(telemetry.ClusterNotFound)
	}
	if x.action.Timeout > 0 {
		x.deadline = x.start + x.action.Timeout
	}
	limits := x.cluster.Limits()
	if !limits.TryRequest() {
		return c.refuse(telemetry.LimitOverflow)
	}
	defer limits.ReleaseRequest()

	if why := c.admit(); why != telemetry.ViaUpstream {
		return c.refuse(why)
	}
	return c.forward()
}

// routes finds the routes of the request's authority, asking the control plane
// for them on first use.
func (c *conn) routes() (*route.Table, telemetry.Reason) {
	table, known := c.srv.cfg.Hosts.Lookup(c.req.Host)
	if known {
		return table, telemetry.RouteNotFound
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.srv.t.Hosts)
	defer cancel()
	table, err := c.srv.cfg.Hosts.Await(ctx, string(c.req.Host))
	c.x.asked = c.srv.clock()
	switch {
	case table != nil:
		return table, telemetry.ViaUpstream
	case errors.Is(err, context.DeadlineExceeded):
		return nil, telemetry.NoControlPlane
	case errors.Is(err, snapshot.ErrTooManyHosts):
		return nil, telemetry.Overload
	default:
		return nil, telemetry.RouteNotFound
	}
}

// admit gets an endpoint and its breaker's permit for the request, waiting for
// one where all are open.
func (c *conn) admit() telemetry.Reason {
	x := &c.x
	var ok bool
	if x.endpoint, x.permit, ok = x.cluster.Pick(x.asked); ok {
		x.endpoint.Begin()
		return telemetry.ViaUpstream
	}
	c.allowWatch() // the body is not read yet, so nobody else reads
	defer c.endWatch()
	var err error
	x.endpoint, x.permit, err = x.cluster.Await(c.srv.clock(), x.deadline, c.gone)
	x.asked = c.srv.clock()
	switch {
	case err == nil:
		x.endpoint.Begin()
		return telemetry.ViaUpstream
	case errors.Is(err, upstream.ErrOverflow):
		return telemetry.WaitingFull
	case errors.Is(err, context.DeadlineExceeded):
		return telemetry.RequestTimeout
	case errors.Is(err, context.Canceled):
		return telemetry.DownstreamGone
	default:
		return telemetry.NoHealthyUpstream
	}
}

// forward sends the request to the endpoint and the answer back.
func (c *conn) forward() (again bool) {
	x := &c.x
	x.endpoint.Metrics().Request()
	why := c.send()
	if why == telemetry.ViaUpstream {
		why = c.receive()
	}
	c.endWatch()
	c.giveBack(why)
	c.release(&c.up)
	if why == telemetry.ViaUpstream {
		return c.finish()
	}
	c.settle(c.outcome(why))
	if !x.headSent {
		return c.refuse(why)
	}
	x.reason = why
	x.closing = true
	x.torn = x.untilClose
	return c.finish()
}

// send connects and sends the head, with what is there of the body; the rest
// of a body is left to an uploader.
func (c *conn) send() telemetry.Reason {
	x := &c.x
	if x.whole = c.compose(); x.malformed {
		return telemetry.MalformedRequest
	}
	if x.whole {
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
	if !x.whole {
		c.startUpload()
	}
	return telemetry.ViaUpstream
}

// connect gets a connection to the chosen endpoint.
func (c *conn) connect(fresh bool) telemetry.Reason {
	x := &c.x
	var err error
	deadline := x.deadline
	if deadline == 0 {
		deadline = c.srv.clock() + c.srv.t.Stream
	}
	if fresh {
		c.enter(phaseWait)
		x.conn, err = x.endpoint.GetNew(deadline)
	} else {
		x.conn, err = x.endpoint.Get(c.srv.clock(), deadline, !c.repeatable() || !x.whole, c.gone)
	}
	if err != nil {
		x.failure = err
		return c.connectFailure(err)
	}
	if x.deadline != 0 {
		left := x.deadline - c.srv.clock() // this look first: the deadline is not early
		_ = x.conn.SetDeadline(time.Now().Add(left))
	}
	c.current.Store(x.conn)
	c.enter(phaseStream)
	if c.isGone() {
		return telemetry.DownstreamGone
	}
	return telemetry.ViaUpstream
}

func (c *conn) connectFailure(err error) telemetry.Reason {
	switch {
	case errors.Is(err, upstream.ErrOverflow):
		return telemetry.LimitOverflow
	case errors.Is(err, context.Canceled):
		return telemetry.DownstreamGone
	case errors.Is(err, upstream.ErrPendingTimeout), c.x.deadline != 0 && c.srv.clock() >= c.x.deadline:
		return telemetry.RequestTimeout
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return telemetry.ConnectTimeout
	default:
		return telemetry.ConnectFailure
	}
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
	return x.conn.Reused() && x.whole && c.repeatable() && c.interrupted() == telemetry.ViaUpstream
}

// repeatable tells whether the request may reach an endpoint twice: only if
// twice is as good as once (RFC 9110 section 9.2.2).
func (c *conn) repeatable() bool {
	switch string(c.req.Method) {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE":
		return true
	}
	return false
}

// compose makes what is sent first: the head and as much of the body as is
// here. True: that is all of the request.
func (c *conn) compose() (whole bool) {
	var opts http1.ForwardOptions
	if !c.req.HasRequestID {
		opts.Extra = c.newRequestID()
	}
	c.out = c.req.AppendForward(c.out[:0], opts)
	return c.composeBody()
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
	n, err := c.gather(c.x.conn.Conn, c.x.body)
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
	case x.deadline != 0 && c.srv.clock() >= x.deadline:
		return telemetry.RequestTimeout
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

// outcome is what the breaker hears of an exchange that failed.
func (c *conn) outcome(why telemetry.Reason) breaker.Result {
	x := &c.x
	r := breaker.Result{GRPCStatus: -1, Latency: c.srv.clock() - x.asked}
	switch why {
	case telemetry.ConnectFailure:
		r.Cause = breaker.ConnectFailure
	case telemetry.ConnectTimeout:
		r.Cause = breaker.ConnectTimeout
	case telemetry.RequestTimeout, telemetry.PerTryTimeout, telemetry.IdleTimeout:
		switch {
		case errors.Is(x.failure, upstream.ErrPendingTimeout):
			r.Cause = breaker.Overflow // the endpoint never saw it
		case x.unheard, c.starving():
			r.Cause = breaker.Cancelled // it waited for the caller
		default:
			r.Cause = breaker.RequestTimeout
		}
	case telemetry.LimitOverflow:
		r.Cause = breaker.Overflow
	case telemetry.DownstreamGone, telemetry.MalformedRequest, telemetry.BodyTimeout:
		r.Cause = breaker.Cancelled
	default:
		r.Cause = breaker.Reset
	}
	r.Status = why.Answer().Status
	return r
}

// settle gives the verdict on the endpoint, once: to its breaker and to its
// load.
func (c *conn) settle(r breaker.Result) {
	x := &c.x
	if x.settled {
		return
	}
	x.settled = true
	now := c.srv.clock()
	x.success = x.permit.Done(now, r) == breaker.Success
	if r.Cause == breaker.Response && !x.permit.Probe() { // a probe meets cold caches
		x.endpoint.Observe(now, x.headAt-x.asked)
	} else {
		x.endpoint.Abandon()
	}
}
