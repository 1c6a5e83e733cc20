package mirror

import (
	"errors"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// copying is one copy under way. Its goroutine owns it.
type copying struct {
	sender *Sender
	to     *upstream.Cluster
	req    *Request

	endpoint *upstream.Endpoint
	asked    time.Duration
	deadline time.Duration

	// What came of it.
	status int           // 0: no answer
	grpc   int           // -1: none
	headAt time.Duration // when the answer's head came
}

// run takes the copy to its end.
func (c *copying) run() telemetry.MirrorResult {
	limits := c.to.Limits()
	if !limits.TryRequest() {
		return telemetry.MirrorRefused
	}
	defer limits.ReleaseRequest()
	c.asked = c.sender.cfg.Clock()
	c.deadline = c.asked + c.sender.cfg.Timeout
	if d := c.req.timeout; d > 0 {
		c.deadline = min(c.deadline, c.asked+d)
	}
	c.grpc = -1
	endpoint, permit, ok := c.to.Pick(c.asked, c.req.key)
	if !ok {
		return telemetry.MirrorRefused
	}
	c.endpoint = endpoint
	endpoint.Begin()
	endpoint.Metrics().Request()
	var err error
	if c.speaks2() {
		err = c.send2()
	} else {
		err = c.send1()
	}
	return c.settle(permit, err)
}

// speaks2 tells whether the endpoint is to be spoken to by HTTP/2, as it is for
// requests.
func (c *copying) speaks2() bool {
	switch c.to.Config().Protocol {
	case upstream.HTTP2:
		return true
	case upstream.HTTP1:
		return c.req.grpc()
	}
	return c.req.http2 || c.req.grpc()
}

// errNoVerdict is a failure that says nothing about the endpoint.
var errNoVerdict = errors.New("the connection was closed while it was idle")

// settle tells breaker, balancer and metrics what came of the copy.
func (c *copying) settle(permit breaker.Permit, err error) telemetry.MirrorResult {
	now := c.sender.cfg.Clock()
	r, result := c.verdict(now, err)
	success := permit.Done(now, r) == breaker.Success
	if r.Cause == breaker.Response && !permit.Probe() {
		c.endpoint.Observe(now, c.headAt-c.asked)
	} else {
		c.endpoint.Abandon()
	}
	if r.Cause == breaker.RequestTimeout {
		c.endpoint.TimedOut(now, c.asked)
	}
	c.endpoint.Metrics().Response(r.Status, r.GRPCStatus, success, now-c.asked)
	return result
}

func (c *copying) verdict(now time.Duration, err error) (breaker.Result, telemetry.MirrorResult) {
	r := breaker.Result{Status: c.status, GRPCStatus: c.grpc, Latency: now - c.asked}
	if err == nil || c.status != 0 { // an answer that did not come to its end is one
		return r, telemetry.Mirrored
	}
	result := telemetry.MirrorFailed
	r.Status = 503
	unsent, isUnsent := errors.AsType[*unsentError](err)
	switch {
	case c.sender.ctx.Err() != nil, errors.Is(err, errNoVerdict):
		r.Cause = breaker.Cancelled
	case errors.Is(err, upstream.ErrOverflow), errors.Is(err, upstream.ErrPendingTimeout):
		r.Cause, result = breaker.Overflow, telemetry.MirrorRefused
	case isUnsent:
		r.Cause = upstream.DialResult(unsent.err).Cause
	case now >= c.deadline:
		r.Cause, r.Status = breaker.RequestTimeout, 504
	default:
		r.Cause = breaker.Reset
	}
	return r, result
}

// unsentError is the reason for which there was no connection.
type unsentError struct{ err error }

func (e *unsentError) Error() string { return "no connection: " + e.err.Error() }
func (e *unsentError) Unwrap() error { return e.err }

// done is closed when the Sender ends.
func (c *copying) done() <-chan struct{} { return c.sender.ctx.Done() }

// left is how much of the copy's time is left.
func (c *copying) left() time.Duration { return c.deadline - c.sender.cfg.Clock() }
