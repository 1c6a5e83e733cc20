package proxy

import (
	"slices"
	"strconv"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file is further tries of the request of an HTTP/1.x caller. Of its body,
// what came with the head stays in the connection's buffer, or in out for
// endpoints of HTTP/2; what an uploader reads is kept beside. Between two tries
// there is no uploader: the one of the last try has been stopped, and what it
// has read is all kept.

// keepsBody begins to keep a body that an uploader is about to send the rest of,
// if it may be wanted again; first is what came with the head.
func (c *conn) keepsBody(first []byte) {
	x := &c.x
	if x.retries() && x.keep.most == 0 {
		x.keep.begin(c.srv.maxKept(), first, c.req.Body.Length)
	}
}

// hasBody tells whether all that has come of the body can be sent again, and
// makes sure that it stays so.
func (c *conn) hasBody() bool {
	return c.x.upload == nil || c.x.keep.seal()
}

// bodyLost tells whether more of the body has come than is kept.
func (c *conn) bodyLost() bool { return c.x.upload != nil && !c.x.keep.keeping() }

// dropsAnswer tells whether an answer, whose head is in resp and of which rest
// has come behind it, is passed over for another try.
func (c *conn) dropsAnswer(rest []byte) bool {
	c.headCame()
	c.restoreDeadline()
	if !c.passedOver(c.resp.Headers) {
		return false
	}
	c.resp.KeepAlive = c.resp.KeepAlive && c.allHere(rest)
	return true
}

// passedOver is the decision of dropsAnswer; head are the answer's fields.
func (c *conn) passedOver(head []http1.Header) bool {
	x := &c.x
	if x.interims > 0 || c.bodyLost() || !x.retryAnswer(head) {
		return false
	}
	if !c.hasBody() {
		x.giveUp()
		return false
	}
	return true
}

// restoreDeadline gives the endpoint's connection the exchange's deadline in
// place of that of the try.
func (c *conn) restoreDeadline() {
	x := &c.x
	if x.tries.policy == nil || x.tries.policy.PerTry == 0 || x.conn == nil {
		return
	}
	if x.deadline != 0 {
		_ = x.conn.SetDeadline(time.Now().Add(x.deadline - c.srv.clock()))
	} else {
		_ = x.conn.SetDeadline(time.Time{})
	}
	switch {
	case c.isGone(), c.expired():
		c.interrupt()
	case x.late():
		c.interruptUpstream()
	}
}

// allHere tells whether rest is the answer's body to its last byte.
func (c *conn) allHere(rest []byte) bool {
	switch c.resp.Body.Kind {
	case http1.BodyNone:
		return len(rest) == 0
	case http1.BodyLength:
		return int64(len(rest)) == c.resp.Body.Length
	case http1.BodyChunked:
		c.chunk.resp.Reset(&c.srv.cfg.HTTP1)
		n, done, err := c.chunk.resp.Scan(rest)
		return err == nil && done && n == len(rest)
	default:
		return false
	}
}

// goesAgain tells whether the try that has ended so is followed by another, and
// accounts for it then.
func (c *conn) goesAgain(why telemetry.Reason) bool {
	x := &c.x
	if !x.retries() {
		return false
	}
	onCaller := x.unheard || c.starving()
	switch {
	case why == telemetry.ViaUpstream:
		if !x.tries.again {
			return false
		}
		x.endTry(x.verdict())
	case x.interims > 0 || c.bodyLost() || !x.retryFailure(why):
		return false
	case !c.hasBody():
		x.giveUp()
		return false
	default:
		x.endTry(x.outcome(why, onCaller))
	}
	x.closing = x.tries.closing
	c.takeBody()
	return true
}

// takeBody makes what has come of the body that of the next try.
func (c *conn) takeBody() {
	x := &c.x
	u := x.upload
	if u == nil {
		return
	}
	x.kept = x.keep.unseal()
	if c.req.Body.Kind == http1.BodyLength {
		x.received = int64(len(x.kept))
	}
	if u.read.Load() { // it goes on being the one that has read what follows
		x.whole = true
		u.state.Store(int32(uploadDone))
		return
	}
	c.release(&u.buf)
	x.upload = nil
}

// readmit is exchange.readmit, while nobody else reads from the caller.
func (c *conn) readmit() telemetry.Reason {
	c.enter(phaseWait)
	if c.x.whole {
		c.allowWatch()
		defer c.endWatch()
	}
	return c.x.readmit(c.gone)
}

// attempts appends the field that tells the endpoint how often the request has
// been tried, this time included, where it may be more than once.
func (x *exchange) attempts(dst []http1.Header) []http1.Header {
	if !x.retries() {
		return dst
	}
	return append(dst, http1.Header{Name: attemptName, Value: strconv.AppendUint(nil, uint64(x.tries.n), 10)})
}

// forwardable is the request without a field that attempts states anew.
func (x *exchange) forwardable() *http1.Request {
	if !x.retries() {
		return x.fwd
	}
	if _, has := http1.Find(x.fwd.Headers, string(attemptName)); !has {
		return x.fwd
	}
	r := *x.fwd
	r.Headers = slices.DeleteFunc(slices.Clone(r.Headers), func(h http1.Header) bool {
		return http1.EqualFold(h.Name, string(attemptName))
	})
	return &r
}
