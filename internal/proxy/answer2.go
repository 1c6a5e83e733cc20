package proxy

import (
	"errors"
	"sync"

	xhttp2 "golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/internal/proxy/bridge"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// This file is the way back of what forward2.go sends: the answer of an endpoint of
// HTTP/2, or the bytes after an upgrade, to a caller of HTTP/1.x.

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
	if x.tries.policy != nil {
		c.headCame()
		if c.passedOver(b.resp.Headers) {
			return telemetry.ViaUpstream
		}
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
	b.resp.Headers = x.editAnswer(b.resp.Status, b.resp.Headers)
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
