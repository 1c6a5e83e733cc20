package proxy

import (
	"errors"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/bridge"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file carries the request of an HTTP/1.1 caller to an endpoint of HTTP/2.

// upstream2 tells whether the endpoint is to be spoken to by HTTP/2.
func (c *conn) upstream2() bool { return c.x.cluster.Config().Protocol == upstream.HTTP2 }

// exchange2 sends the request on a stream of HTTP/2 and the answer back.
func (c *conn) exchange2() telemetry.Reason {
	x := &c.x
	if c.req.Upgrade != nil {
		if why := c.mayUpgrade2(); why != telemetry.ViaUpstream {
			return why
		}
	}
	if x.tries.n > 1 {
		c.composeAgain2()
	} else if x.whole = c.compose2(); x.malformed {
		return telemetry.MalformedRequest
	}
	c.copyFirst()
	if x.whole {
		x.boundTry()
		c.allowWatch()
	}
	c.up = c.srv.buffers.Get().(*buffer)
	for tries := 0; ; tries++ {
		b := newAnswerBox()
		why := c.try2(b)
		failure, _ := errors.AsType[*http2.StreamError](b.err())
		if why == telemetry.ViaUpstream || tries >= maxReplays || !c.replayable2(b, failure) {
			return why
		}
		x.failure = nil
	}
}

// mayUpgrade2 asks whether the endpoint takes a WebSocket (RFC 8441 section 3).
// A request to upgrade to anything else goes on as one without.
func (c *conn) mayUpgrade2() telemetry.Reason {
	x := &c.x
	if !bridge.WebSocket(&c.req) {
		return telemetry.ViaUpstream
	}
	c.enter(phaseWait)
	takes, err := x.endpoint.ExtendedConnect(x.connectBefore(), c.gone)
	switch {
	case err != nil:
		return x.connectFailure(err)
	case !takes:
		x.settle(breaker.Result{GRPCStatus: -1, Cause: breaker.Cancelled}) // it has told so in time
		x.detail = "the endpoint takes no WebSocket over HTTP/2"
		return telemetry.UpstreamProtocol
	}
	return telemetry.ViaUpstream
}

// compose2 gathers in out what came of the body with the head, as it is without
// chunks. True: that is all of it.
func (c *conn) compose2() (whole bool) {
	x := &c.x
	here := c.in.b[c.r:c.w]
	c.out = c.out[:0]
	switch c.req.Body.Kind {
	case http1.BodyLength:
		n := int(min(int64(len(here)), c.req.Body.Length))
		c.out = append(c.out, here[:n]...)
		c.r += n
		x.received = int64(n)
		return x.received == c.req.Body.Length
	case http1.BodyChunked:
		c.chunk.req.Reset(&c.srv.cfg.HTTP1)
		var n int
		var done bool
		var err error
		c.out, n, done, err = c.chunk.req.Decode(c.out, here)
		if err != nil {
			c.spoiled(err)
			return true
		}
		c.r += n
		x.received = int64(n)
		return done
	default:
		return true
	}
}

// composeAgain2 is compose2 for a further try: what came with the head is in out
// still.
func (c *conn) composeAgain2() {
	if c.x.kept != nil {
		c.out = append(c.out[:0], c.x.kept...)
	}
}

// try2 is one try on one stream.
func (c *conn) try2(b *answerBox) telemetry.Reason {
	x := &c.x
	c.box.Store(b)
	defer c.box.Store(nil)
	if why := c.open2(b); why != telemetry.ViaUpstream {
		return why
	}
	if x.deadline != 0 {
		defer time.AfterFunc(x.deadline-c.srv.clock(), b.late).Stop()
	}
	if ends := x.tryEnds(); ends != 0 {
		defer time.AfterFunc(ends-c.srv.clock(), b.tryLate).Stop()
	}
	why := c.interrupted()
	if why == telemetry.ViaUpstream {
		c.sendBody2(b)
		why = c.receive2(b)
	}
	intact := c.endUpload()
	// An endpoint that has answered may take no more of the request.
	if why != telemetry.ViaUpstream || !intact || x.tries.again || !b.resp.Tunnel && b.stream.Queued() > 0 {
		b.stream.Reset(xhttp2.ErrCodeCancel)
		b.stream.Conn().Flush()
	}
	return why
}

func (c *conn) open2(b *answerBox) telemetry.Reason {
	x := &c.x
	space := c.srv.fields.Get().(*fieldSpace)
	defer space.free(c.srv)
	c.enter(phaseWait)
	fields := x.requestFields(space)
	end := x.whole && len(c.out) == 0 && len(c.trailers2()) == 0 && !bridge.WebSocket(&c.req)
	s, err := x.endpoint.Open(x.connectBefore(), c.gone, fields, end, b)
	if err != nil {
		return x.connectFailure(err)
	}
	b.stream = s
	s.Conn().Flush()
	c.enter(phaseStream)
	return telemetry.ViaUpstream
}

// trailers2 are the trailers of a body that is all here.
func (c *conn) trailers2() []http1.Header {
	if c.req.Body.Kind != http1.BodyChunked || !c.chunk.req.Done() {
		return nil
	}
	return c.chunk.req.Trailers()
}

// sendBody2 sends what is here of the body; an uploader sends the rest.
func (c *conn) sendBody2(b *answerBox) {
	x := &c.x
	trailers := c.trailers2()
	if len(c.out) > 0 {
		b.stream.SendData(c.out, x.whole && len(trailers) == 0)
	}
	if x.whole {
		c.sendTrailers2(b, trailers)
		c.requestSent()
	} else {
		c.startUpload2(b)
	}
	b.stream.Conn().Flush()
}

func (c *conn) sendTrailers2(b *answerBox, trailers []http1.Header) {
	if len(trailers) == 0 {
		return
	}
	space := c.srv.fields.Get().(*fieldSpace)
	defer space.free(c.srv)
	space.fields = bridge.AppendTrailers2(space.fields[:0], &space.arena, trailers)
	b.stream.SendHead(space.fields, true)
	b.stream.Conn().Flush()
}

// startUpload2 is startUpload to a stream.
func (c *conn) startUpload2(b *answerBox) {
	u := &upload{done: make(chan struct{}), buf: c.srv.buffers.Get().(*buffer)}
	c.keepsBody(c.out)
	c.x.upload = u
	go func() {
		defer close(u.done)
		state := c.runUpload2(u, b)
		u.state.Store(int32(state))
		if state == uploadDone {
			c.requestSent()
			c.uploaded(b.tryLate)
		}
		if state == uploadGone || state == uploadMalformed {
			b.interrupt() // nobody needs the answer
		}
	}()
}

func (c *conn) runUpload2(u *upload, b *answerBox) uploadState {
	left := c.req.Body.Length - c.x.received
	var plain []byte
	for {
		most := len(u.buf.b)
		if c.req.Body.Kind == http1.BodyLength {
			most = int(min(left, int64(most)))
		}
		n, err := c.down.Read(u.buf.b[:most])
		if n == 0 {
			return readFailure(err)
		}
		piece := u.buf.b[:n]
		var done bool
		if c.req.Body.Kind == http1.BodyLength {
			left -= int64(n)
			done = left == 0
			c.x.copyBody(piece, done, nil)
		} else {
			var k int
			if plain, k, done, err = c.chunk.req.Decode(plain[:0], piece); err != nil {
				u.detail = broken(err)
				return uploadMalformed
			}
			if done {
				u.left = u.buf.b[k:n]
			}
			c.x.copyBody(u.buf.b[:k], done, nil)
			piece = plain
		}
		if done {
			u.read.Store(true)
		}
		if !c.x.keep.add(piece) || !c.uploadPiece2(u, b, piece, done) {
			return uploadRefused
		}
		if done {
			return uploadDone
		}
	}
}

func (c *conn) uploadPiece2(u *upload, b *answerBox, piece []byte, done bool) bool {
	trailers := c.trailers2()
	u.writing.Store(true)
	ok := b.send(piece, done && len(trailers) == 0)
	if ok && done {
		c.sendTrailers2(b, trailers)
	}
	if ok { // else that stays what it waited for
		u.writing.Store(false)
	}
	u.sent += int64(len(piece))
	c.enter(phaseStream)
	return ok
}

// replayable2 tells whether the request may be sent again: the endpoint says
// that it did not look at it, or its connection, which had served others, went,
// and twice is as good as once.
func (c *conn) replayable2(b *answerBox, e *http2.StreamError) bool {
	x := &c.x
	if e == nil || !x.whole || x.headSent || x.interims > 0 || c.interrupted() != telemetry.ViaUpstream {
		return false
	}
	return e.Unprocessed || e.Conn && b.stream.ID() > 1 && x.repeatable()
}
