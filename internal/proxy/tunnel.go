package proxy

import (
	"net"
	"sync"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// tunnel joins both connections after a 101 (RFC 9110 section 7.8). here came
// from the endpoint behind it.
func (c *conn) tunnel(here []byte) telemetry.Reason {
	x := &c.x
	c.endWatch()
	early := c.in.b[c.r:c.w]
	c.r = c.w
	if u := x.upload; u != nil {
		if !c.endUpload() {
			return c.lost(u.failure)
		}
		early = u.left
	}
	c.out = c.resp.AppendForward(c.out[:0], http1.ForwardOptions{})
	return c.join(early, here)
}

// carryBytes is a CONNECT (RFC 9110 section 9.3.6): a connection to the
// endpoint, and bytes both ways.
func (c *conn) carryBytes() telemetry.Reason {
	x := &c.x
	var err error
	c.enter(phaseWait)
	if x.conn, err = x.endpoint.Connect(x.connectBefore()); err != nil {
		return x.connectFailure(err)
	}
	c.current.Store(x.conn)
	c.enter(phaseStream)
	if c.isGone() {
		return telemetry.DownstreamGone
	}
	x.headAt = c.srv.clock()
	x.status = 200
	c.resp.KeepAlive = false // the connection belongs to the caller
	c.up = c.srv.buffers.Get().(*buffer)
	c.out = append(c.out[:0], "HTTP/1.1 200 OK\r\n\r\n"...)
	early := c.in.b[c.r:c.w]
	c.r = c.w
	return c.join(early, nil)
}

// join sends the answer in out and moves bytes both ways, unread: each side can
// close its half, and both connections end with it. early came from the caller
// behind its request, here from the endpoint behind its answer.
func (c *conn) join(early, here []byte) telemetry.Reason {
	x := &c.x
	x.settle(x.verdict())
	x.closing = true
	if x.deadline != 0 { // it bounds the exchange, which is over
		_ = x.conn.SetDeadline(time.Time{})
		if c.isGone() || c.expired() {
			c.interrupt()
		}
	}
	if why := c.replyHead(here); why != telemetry.ViaUpstream {
		return why
	}
	c.enter(phaseTunnel)
	buf := c.srv.buffers.Get().(*buffer) // c.in holds the request, for the log
	defer c.release(&buf)
	var up sync.WaitGroup
	up.Go(func() {
		if len(early) > 0 {
			n, err := x.conn.Write(early)
			x.received += int64(n)
			if err != nil {
				c.interrupt()
				return
			}
		}
		x.received += c.pump(x.conn.Conn, c.down.Conn, buf.b)
	})
	x.sent += c.pump(c.down.Conn, x.conn.Conn, c.up.b)
	up.Wait()
	return telemetry.ViaUpstream
}

// pump copies until from ends, then closes the other's half. An error ends
// both directions.
func (c *conn) pump(to, from net.Conn, b []byte) (moved int64) {
	for {
		n, err := from.Read(b)
		if n > 0 {
			c.enter(phaseTunnel)
			if _, werr := to.Write(b[:n]); werr != nil {
				c.interrupt()
				return moved
			}
			moved += int64(n)
		}
		if err == nil {
			continue
		}
		half, ok := to.(interface{ CloseWrite() error })
		if !isEOF(err) || !ok || half.CloseWrite() != nil {
			c.interrupt()
		}
		return moved
	}
}
