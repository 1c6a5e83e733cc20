package proxy

import (
	"errors"
	"sync"
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
	if x.whole = c.compose2(); x.malformed {
		return telemetry.MalformedRequest
	}
	if x.whole {
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
	why := c.interrupted()
	if why == telemetry.ViaUpstream {
		c.sendBody2(b)
		why = c.receive2(b)
	}
	intact := c.endUpload()
	// An endpoint that has answered may take no more of the request.
	if why != telemetry.ViaUpstream || !intact || !b.resp.Tunnel && b.stream.Queued() > 0 {
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
	c.x.upload = u
	go func() {
		defer close(u.done)
		state := c.runUpload2(u, b)
		u.state.Store(int32(state))
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
		} else {
			var k int
			if plain, k, done, err = c.chunk.req.Decode(plain[:0], piece); err != nil {
				u.detail = broken(err)
				return uploadMalformed
			}
			if done {
				u.left = u.buf.b[k:n]
			}
			piece = plain
		}
		if done {
			u.read.Store(true)
		}
		if !c.uploadPiece2(u, b, piece, done) {
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

// receive2 reads the answer and sends it on.
func (c *conn) receive2(b *answerBox) telemetry.Reason {
	x := &c.x
	end, why := c.responseHead2(b)
	if why != telemetry.ViaUpstream {
		return why
	}
	x.headAt = c.srv.clock()
	x.status = b.resp.Status
	x.hearStatus(b.resp.Headers)
	if b.resp.Tunnel {
		x.status = 101 // what the 2xx is in HTTP/1.1
		return c.tunnel2(b)
	}
	if x.permit.Probe() || x.status >= 500 {
		x.settle(x.verdict())
	}
	if !x.upload.received() {
		x.closing = true // as for an endpoint of HTTP/1.1
	}
	if why := c.responseBody2(b, end); why != telemetry.ViaUpstream {
		return why
	}
	x.settle(x.verdict())
	return telemetry.ViaUpstream
}

// responseHead2 waits for the final head. Interim answers are sent on.
func (c *conn) responseHead2(b *answerBox) (end bool, why telemetry.Reason) {
	for {
		h, end := b.head()
		if h == nil {
			return false, c.lost2(b)
		}
		bridge.ResponseView(&b.resp, h, end, &c.req)
		if h.Status >= 200 {
			return end, telemetry.ViaUpstream
		}
		if c.x.interims++; c.x.interims > maxInterims {
			c.x.detail = "too many interim answers"
			return false, telemetry.UpstreamProtocol
		}
		if c.req.Minor == 0 {
			continue
		}
		if why := c.reply(bridge.AppendResponse1(nil, &b.resp, &c.req, http1.ForwardOptions{})); why != telemetry.ViaUpstream {
			return false, why
		}
	}
}

// lost2 says why the endpoint's stream ended too early.
func (c *conn) lost2(b *answerBox) telemetry.Reason {
	if why := c.interrupted(); why != telemetry.ViaUpstream {
		return why
	}
	err := b.err()
	c.x.failure = err
	failure, _ := errors.AsType[*http2.StreamError](err)
	return lostStream(failure, c.x.headSent)
}

// responseBody2 sends the head on, then the body.
func (c *conn) responseBody2(b *answerBox, end bool) telemetry.Reason {
	x := &c.x
	old := c.req.Minor == 0
	body := b.resp.Body.Kind
	chunked := body == http1.BodyChunked && !old
	x.untilClose = body == http1.BodyUntilClose || body == http1.BodyChunked && old
	x.closing = x.closing || x.untilClose || c.drained()
	c.out = bridge.AppendResponse1(c.out[:0], &b.resp, &c.req, http1.ForwardOptions{Close: x.closing, HTTP10: old})
	first := true
	for !end {
		n, over, ok := b.take(c.up.b, !first)
		if !ok {
			return c.lost2(b)
		}
		end = over
		if !first {
			c.out = c.out[:0]
		}
		first = false
		if chunked {
			c.out = appendChunk(c.out, c.up.b[:n])
			if end {
				c.out = bridge.AppendTrailers1(c.out, b.trailers())
			}
		} else {
			c.out = append(c.out, c.up.b[:n]...)
		}
		x.headSent = true
		x.sent += int64(n)
		if len(c.out) > 0 {
			if why := c.reply(c.out); why != telemetry.ViaUpstream {
				return why
			}
		}
		x.settleStream()
	}
	if first {
		x.headSent = true
		return c.reply(c.out)
	}
	x.hearStatus(b.trailers())
	return telemetry.ViaUpstream
}

// tunnel2 joins the caller's connection with the stream after an upgrade.
func (c *conn) tunnel2(b *answerBox) telemetry.Reason {
	x := &c.x
	c.endWatch()
	early := c.in.b[c.r:c.w]
	c.r = c.w
	x.settle(x.verdict())
	x.closing = true
	x.deadline = 0 // it bounded the exchange of heads, which is over
	b.last()
	if c.isGone() || c.expired() {
		c.interrupt()
	}
	c.out = bridge.AppendResponse1(c.out[:0], &b.resp, &c.req, http1.ForwardOptions{})
	x.headSent = true
	if why := c.reply(c.out); why != telemetry.ViaUpstream {
		return why
	}
	c.enter(phaseTunnel)
	buf := c.srv.buffers.Get().(*buffer) // c.in holds the request, for the log
	defer c.release(&buf)
	var up sync.WaitGroup
	var upEnded bool
	up.Go(func() { upEnded = c.pumpUp2(b, early, buf.b) })
	downEnded := c.pumpDown2(b)
	up.Wait()
	if !upEnded || !downEnded { // the endpoint's side has not ended by itself
		b.stream.Reset(xhttp2.ErrCodeCancel)
		b.stream.Conn().Flush()
	}
	return telemetry.ViaUpstream
}

// pumpUp2 moves what the caller sends until it ends, which it tells; an error
// ends both directions.
func (c *conn) pumpUp2(b *answerBox, early, buf []byte) (ended bool) {
	n, err := len(early), error(nil)
	piece := early
	for {
		if n > 0 {
			c.enter(phaseTunnel)
			if !b.send(piece, false) {
				c.interrupt()
				return false
			}
			c.x.received += int64(n)
		}
		if err != nil {
			if !isEOF(err) {
				c.interrupt()
				return false
			}
			return b.send(nil, true)
		}
		n, err = c.down.Read(buf)
		piece = buf[:n]
	}
}

// pumpDown2 is pumpUp2 the other way round.
func (c *conn) pumpDown2(b *answerBox) (ended bool) {
	for {
		n, end, ok := b.take(c.up.b, true)
		if n > 0 {
			c.enter(phaseTunnel)
			if _, err := c.down.Write(c.up.b[:n]); err != nil {
				c.interrupt()
				return false
			}
			c.x.sent += int64(n)
		}
		if !ok {
			c.interrupt()
			return false
		}
		if end {
			if half, ok := c.down.Conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
				c.interrupt()
			}
			return true
		}
	}
}
