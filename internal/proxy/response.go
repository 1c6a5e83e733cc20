package proxy

import (
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

const (
	// settleAfter is when a successful answer that still streams counts as
	// one: the verdict on a stream of hours cannot wait for its end.
	settleAfter = time.Second
	// maxInterims bounds the 1xx before an answer: without a bound they could
	// keep an exchange for ever.
	maxInterims = 100
	// copyMost is how much of a body is copied behind its head, so that both go
	// out in one plain write; more goes in a gathered one.
	copyMost = 2 << 10
	// spliceFrom is the length from which a body goes from socket to socket
	// within the kernel, in pieces of splicePiece.
	spliceFrom  = 64 << 10
	splicePiece = 256 << 10
)

// receive reads the answer and sends it on. The result is ViaUpstream when the
// caller got all of it.
func (c *conn) receive() telemetry.Reason {
	x := &c.x
	c.up = c.srv.buffers.Get().(*buffer)
	n, w, why := c.responseHead()
	if why != telemetry.ViaUpstream {
		return why
	}
	x.headAt = c.srv.clock()
	x.status = c.resp.Status
	x.hearStatus(c.resp.Headers)
	if c.resp.Tunnel {
		return c.tunnel(c.up.b[n:w])
	}
	if x.tries.policy != nil && c.dropsAnswer(c.up.b[n:w]) {
		return telemetry.ViaUpstream
	}
	if x.permit.Probe() || c.resp.Status >= 500 {
		x.settle(x.verdict())
	}
	if !x.upload.received() {
		// The answer came before all of the request's body. What the caller
		// sends after it cannot be told from a next request with certainty
		// (it may or may not send the rest), so the connection ends.
		x.closing = true
	}
	if why := c.responseBody(c.up.b[n:w]); why != telemetry.ViaUpstream {
		return why
	}
	x.settle(x.verdict())
	return telemetry.ViaUpstream
}

// responseHead reads until the final head is here, up.b[:n], followed by what
// came with it, up.b[n:w]. Interim answers are sent on as they come.
func (c *conn) responseHead() (n, w int, why telemetry.Reason) {
	r := 0
	for {
		if w > r {
			k, err := c.resp.Parse(c.up.b[r:w], c.req.Head, false, &c.srv.cfg.HTTP1)
			switch {
			case err == nil && !c.resp.Informational:
				return r + k, w, c.checkSwitch()
			case err == nil:
				if why := c.interim(); why != telemetry.ViaUpstream {
					return 0, 0, why
				}
				r += k
				continue
			case !errors.Is(err, http1.ErrMore):
				return 0, 0, c.upstreamBroken(err)
			}
		}
		r, w = c.roomUpstream(r, w)
		k, err := c.readUpstream(c.up.b[w:])
		w += k
		switch {
		case k > 0:
		case w == 0 && c.x.interims == 0 && c.replayable():
			if why := c.replay(); why != telemetry.ViaUpstream {
				return 0, 0, why
			}
		default:
			return 0, 0, c.lost(err)
		}
	}
}

// checkSwitch refuses a 101 that nobody asked for, and one before the end of
// the request's body: two parties would read from the caller.
func (c *conn) checkSwitch() telemetry.Reason {
	switch {
	case c.resp.Status != 101:
		return telemetry.ViaUpstream
	case c.req.Upgrade == nil:
		c.x.detail = "101 without a request to upgrade"
	case !c.x.upload.received():
		c.x.detail = "101 before the end of the request"
	default:
		return telemetry.ViaUpstream
	}
	return telemetry.UpstreamProtocol
}

func (c *conn) upstreamBroken(err error) telemetry.Reason {
	c.x.detail = broken(err)
	return telemetry.UpstreamProtocol
}

// lost says why the upstream's bytes ended too early.
func (c *conn) lost(err error) telemetry.Reason {
	if why := c.interrupted(); why != telemetry.ViaUpstream {
		return why
	}
	c.x.failure = err
	if c.x.headSent {
		return telemetry.ConnectionLostMidway
	}
	return telemetry.ConnectionLost
}

func (c *conn) readUpstream(b []byte) (int, error) {
	n, err := c.x.conn.Read(b)
	c.x.endpoint.Metrics().BytesRead(n)
	return n, err
}

// roomUpstream makes space behind w, as makeRoom does.
func (c *conn) roomUpstream(r, w int) (int, int) {
	switch {
	case w < len(c.up.b):
		return r, w
	case r > 0:
		return 0, copy(c.up.b, c.up.b[r:w])
	}
	larger := &buffer{make([]byte, 2*len(c.up.b))}
	copy(larger.b, c.up.b[:w])
	c.release(&c.up)
	c.up = larger
	return r, w
}

// interim sends a 1xx on. A caller of HTTP/1.0 knows none (RFC 9110 section
// 15.2).
func (c *conn) interim() telemetry.Reason {
	if c.x.interims++; c.x.interims > maxInterims {
		c.x.detail = "too many interim answers"
		return telemetry.UpstreamProtocol
	}
	if c.req.Minor == 0 {
		return telemetry.ViaUpstream
	}
	// Not into c.out: that may have to be sent again.
	return c.reply(c.resp.AppendForward(nil, http1.ForwardOptions{}))
}

// reply writes to the caller.
func (c *conn) reply(b []byte) telemetry.Reason {
	n, err := c.down.Write(b)
	return c.replied(n, err)
}

func (c *conn) replied(n int, err error) telemetry.Reason {
	c.srv.cfg.Metrics.BytesWritten(n)
	c.enter(phaseStream)
	switch {
	case err == nil:
		return telemetry.ViaUpstream
	case c.expired() && !c.isGone():
		c.x.unheard = true
		return telemetry.IdleTimeout
	default:
		return telemetry.DownstreamGone
	}
}

// responseBody sends the head on, then the body, of which here came along.
func (c *conn) responseBody(here []byte) telemetry.Reason {
	x := &c.x
	old := c.req.Minor == 0
	body := c.resp.Body
	x.untilClose = body.Kind == http1.BodyUntilClose || body.Kind == http1.BodyChunked && old
	x.closing = x.closing || x.untilClose
	x.closing = x.closing || c.drained()
	came := c.resp.Headers // its room is for the next answer, that of the edited ones is not
	c.resp.Headers = x.editAnswer(c.resp.Status, came)
	c.out = c.resp.AppendForward(c.out[:0], http1.ForwardOptions{Close: x.closing, HTTP10: old})
	c.resp.Headers = came
	switch body.Kind {
	case http1.BodyLength:
		return c.lengthBody(here, body.Length)
	case http1.BodyChunked:
		c.chunk.resp.Reset(&c.srv.cfg.HTTP1)
		if old {
			return c.decodedBody(here)
		}
		return c.chunkedBody(here)
	case http1.BodyUntilClose:
		return c.openBody(here)
	default:
		if len(here) > 0 {
			// Bytes that no answer claims: the connection is out of step.
			c.resp.KeepAlive = false
		}
		return c.replyHead(nil)
	}
}

// replyHead writes the composed head, with the first of the body behind it.
func (c *conn) replyHead(body []byte) telemetry.Reason {
	c.x.headSent = true
	c.x.sent += int64(len(body))
	n, err := c.gather(c.down.Conn, c.down.Plain(), body)
	return c.replied(n, err)
}

func (c *conn) replyBody(body []byte) telemetry.Reason {
	c.x.sent += int64(len(body))
	c.x.settleStream()
	return c.reply(body)
}

func (c *conn) lengthBody(here []byte, length int64) telemetry.Reason {
	if int64(len(here)) > length {
		here = here[:length]
		c.resp.KeepAlive = false // out of step
	}
	if why := c.replyHead(here); why != telemetry.ViaUpstream {
		return why
	}
	for left := length - int64(len(here)); left > 0; {
		if left >= spliceFrom && c.splices() {
			n, why := c.splice(min(left, splicePiece))
			if why != telemetry.ViaUpstream {
				return why
			}
			left -= n
			continue
		}
		n, err := c.readUpstream(c.up.b[:min(left, int64(len(c.up.b)))])
		if n == 0 {
			return c.lost(err)
		}
		left -= int64(n)
		if why := c.replyBody(c.up.b[:n]); why != telemetry.ViaUpstream {
			return why
		}
	}
	return telemetry.ViaUpstream
}

// splices tells whether the kernel can move bytes from one side to the other.
func (c *conn) splices() bool { return c.down.Plain() && c.x.conn.Plain() }

// splice moves n bytes from the endpoint to the caller, within the kernel.
func (c *conn) splice(n int64) (int64, telemetry.Reason) {
	x := &c.x
	from := io.LimitedReader{R: x.conn.Conn, N: n}
	var to io.Writer = c.down.Conn
	moved, err := io.Copy(to, &from)
	x.sent += moved
	x.endpoint.Metrics().BytesRead(int(moved))
	c.srv.cfg.Metrics.BytesWritten(int(moved))
	c.enter(phaseStream)
	c.x.settleStream()
	switch {
	case moved == n:
		return moved, telemetry.ViaUpstream
	case err == nil: // the endpoint ended too early
		return moved, c.lost(io.ErrUnexpectedEOF)
	}
	if why := c.interrupted(); why != telemetry.ViaUpstream {
		return moved, why
	}
	// Which side failed? The error of a splice does not say.
	if errors.Is(err, syscall.EPIPE) || c.down.Broken() {
		return moved, telemetry.DownstreamGone
	}
	return moved, c.lost(err)
}

func (c *conn) chunkedBody(here []byte) telemetry.Reason {
	head := true
	for {
		if len(here) > 0 {
			n, done, err := c.chunk.resp.Scan(here)
			if err != nil {
				return c.upstreamBroken(err)
			}
			if done && n < len(here) {
				c.resp.KeepAlive = false // out of step
			}
			send := c.replyBody
			if head {
				send = c.replyHead
			}
			if done {
				c.x.hearStatus(c.chunk.resp.Trailers())
			}
			if why := send(here[:n]); why != telemetry.ViaUpstream || done {
				return why
			}
			head = false
		} else if head {
			if why := c.replyHead(nil); why != telemetry.ViaUpstream {
				return why
			}
			head = false
		}
		n, err := c.readUpstream(c.up.b)
		if n == 0 {
			return c.lost(err)
		}
		here = c.up.b[:n]
	}
}

// decodedBody is a chunked body for a caller of HTTP/1.0, who cannot read
// chunks: its end is the connection's.
func (c *conn) decodedBody(here []byte) telemetry.Reason {
	var done bool
	var err error
	before := len(c.out)
	c.out, _, done, err = c.chunk.resp.Decode(c.out, here)
	if err != nil {
		return c.upstreamBroken(err)
	}
	c.x.sent += int64(len(c.out) - before)
	c.x.headSent = true
	for {
		if len(c.out) > 0 {
			if why := c.reply(c.out); why != telemetry.ViaUpstream {
				return why
			}
		}
		if done {
			return telemetry.ViaUpstream
		}
		c.x.settleStream()
		n, rerr := c.readUpstream(c.up.b)
		if n == 0 {
			return c.lost(rerr)
		}
		c.out, _, done, err = c.chunk.resp.Decode(c.out[:0], c.up.b[:n])
		if err != nil {
			return c.upstreamBroken(err)
		}
		c.x.sent += int64(len(c.out))
	}
}

// openBody is a body that ends with the endpoint's connection.
func (c *conn) openBody(here []byte) telemetry.Reason {
	if why := c.replyHead(here); why != telemetry.ViaUpstream {
		return why
	}
	for {
		n, err := c.readUpstream(c.up.b)
		if n == 0 {
			if errors.Is(err, io.EOF) {
				return telemetry.ViaUpstream
			}
			return c.lost(err)
		}
		if why := c.replyBody(c.up.b[:n]); why != telemetry.ViaUpstream {
			return why
		}
	}
}
