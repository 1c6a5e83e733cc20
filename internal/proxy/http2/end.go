package http2

import (
	"errors"
	"time"

	"golang.org/x/net/http2"
)

// end makes the reader stop and finish the connection. mu is held.
func (c *Conn) end(err error) {
	if c.phase != open {
		return
	}
	c.phase = ending
	c.err = err
	c.news()
	c.cond.Broadcast() // the reader may wait for the out buffer
	_ = c.nc.SetReadDeadline(past)
}

// past is a deadline that has always expired: setting it wakes who waits.
var past = time.Unix(1, 0)

// broken notes that the transport failed under a write, and wakes the reader.
// mu is held.
func (c *Conn) broken(err error) {
	why := c.goAwayErr // which explains it better
	if why == nil {
		why = &ConnError{Code: http2.ErrCodeCancel, Reason: "write failed", Err: err}
	}
	c.end(why)
	c.phase = gone
	c.out.drop()
	c.cond.Broadcast()
}

// finish ends all streams, writes what may still be written, and closes the
// transport. err is why the reader stopped; lost: the transport is of no use
// any more.
func (c *Conn) finish(err error, lost bool) {
	c.mu.Lock()
	if c.phase == open {
		c.phase = ending
		c.err = err
		c.news()
	}
	lost = lost || c.phase == gone
	if lost {
		c.phase = gone
		c.out.drop()
	} else {
		c.queueLastGoAway()
	}
	c.endStreams()
	peaceful := c.err == nil
	c.mu.Unlock()
	c.tell()
	if !lost {
		switch {
		case !peaceful:
			_ = c.nc.SetWriteDeadline(time.Now().Add(lingerTime))
		case !c.server: // where the owner ends as well, nobody sweeps any more
			_ = c.nc.SetWriteDeadline(time.Now().Add(c.cfg.StallTimeout))
		}
		c.flush()
	}
	c.mu.Lock()
	for c.writing && c.phase != gone {
		c.cond.Wait()
	}
	lost = c.phase == gone
	c.phase = gone
	c.mu.Unlock()
	if lost || !c.server && peaceful {
		c.nc.Close()
	} else {
		c.linger()
	}
	c.mu.Lock()
	for c.helpers > 0 || c.telling || c.writing {
		c.cond.Wait()
	}
	c.out.drop()
	c.mu.Unlock()
}

// queueLastGoAway says why the connection ends. mu is held.
func (c *Conn) queueLastGoAway() {
	code, debug := http2.ErrCodeNo, ""
	if ce, ok := errors.AsType[*ConnError](c.err); ok && !ce.Remote {
		code, debug = ce.Code, ce.Reason
	} else if c.goAwaySaid {
		return // it was said
	}
	_ = c.framer().WriteGoAway(c.lastID, code, []byte(debug))
}

// endStreams queues the end of all streams. mu is held.
func (c *Conn) endStreams() {
	e := StreamError{Code: http2.ErrCodeCancel, Conn: true, Err: c.err}
	if ce, ok := errors.AsType[*ConnError](c.err); ok {
		e.Code, e.Remote = ce.Code, ce.Remote
	}
	for _, s := range c.streams {
		err := e
		c.finished(s, closedByUs, &err)
	}
	c.ready = streamQueue{}
}

// How long, and for how many bytes, we wait for the peer to read our last words
// and close: closing over unread bytes would make the kernel say RST, which may
// overtake them.
const (
	lingerTime  = time.Second
	lingerBytes = 256 << 10
)

// linger closes the transport so that the peer can read what was written.
func (c *Conn) linger() {
	b := takeChunk()
	defer putChunk(b)
	scratch := (*b)[:cap(*b)]
	_ = c.nc.SetDeadline(time.Now().Add(lingerTime))
	if l, ok := c.nc.(interface {
		Linger(d time.Duration, scratch []byte, limit int)
	}); ok {
		l.Linger(lingerTime, scratch, lingerBytes)
		return
	}
	defer c.nc.Close()
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	for left := lingerBytes; left > 0; {
		n, err := c.nc.Read(scratch)
		if err != nil {
			return
		}
		left -= n
	}
}
