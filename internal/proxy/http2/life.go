package http2

import (
	"math"
	"os"
	"time"

	"golang.org/x/net/http2"
)

// Shutdown ends the connection in peace. A server says GOAWAY twice (RFC 9113
// section 6.8): first with the highest id, and, once a PING came back or a
// second has passed, with the last that it took; it ends with its last stream.
// A client opens no new streams and ends with its last.
func (c *Conn) Shutdown() {
	c.mu.Lock()
	switch {
	case c.phase != open || c.goAway != goAwayNone:
	case c.server:
		c.goAway, c.goAwayAt = goAwayFirst, c.cfg.Clock()
		_ = c.framer().WriteGoAway(maxStreamID, http2.ErrCodeNo, nil)
		c.out.ping(false, payloadDrain[:])
		c.news()
	default:
		c.goAway = goAwayFinal
		c.news()
		c.maybeEnd()
	}
	c.mu.Unlock()
	c.Flush()
}

// finalGoAway says the last id that is served. mu is held.
func (c *Conn) finalGoAway() {
	if c.goAway != goAwayFirst || c.phase != open {
		return
	}
	c.goAway, c.goAwaySaid = goAwayFinal, true
	_ = c.framer().WriteGoAway(c.lastID, http2.ErrCodeNo, nil)
	c.maybeEnd()
}

// maybeEnd ends a connection that has drained. mu is held.
func (c *Conn) maybeEnd() {
	if c.goAway == goAwayFinal && len(c.streams) == 0 {
		c.end(nil)
	}
}

// Close ends the connection now: GOAWAY with this code and text, then the end
// of all streams. It does not wait for that.
func (c *Conn) Close(code http2.ErrCode, debug string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(connError(code, debug))
}

// drainTime bounds the wait between the two GOAWAYs.
const drainTime = time.Second

// Sweep holds the bounds on time: keep-alive, SETTINGS, the second GOAWAY,
// writes that stall. Its owner calls it about every 100 ms until Serve has
// returned.
func (c *Conn) Sweep(now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing && c.phase != gone && now-time.Duration(c.moved.Load()) >= c.cfg.StallTimeout {
		c.broken(os.ErrDeadlineExceeded)
		_ = c.nc.SetDeadline(past)
	}
	if c.phase != open {
		return
	}
	if err := c.overdue(now); err != nil {
		c.end(err)
		return
	}
	if c.goAway == goAwayFirst && now-c.goAwayAt >= drainTime {
		c.finalGoAway()
	}
	c.sweepKeepAlive(now)
	c.flushSoon()
}

// overdue tells whether the peer owes us the rest of what it began, its
// SETTINGS, or the acknowledgement of ours. mu is held.
func (c *Conn) overdue(now time.Duration) error {
	if since := time.Duration(c.halfSince.Load()); since != 0 && now-since >= c.cfg.HeadTimeout {
		return connError(http2.ErrCodeEnhanceYourCalm, "a head or a frame did not arrive in time")
	}
	if c.peer.settled && c.acked || now-c.startedAt < c.cfg.SettingsTimeout {
		return nil
	}
	if !c.peer.settled {
		return connError(http2.ErrCodeSettingsTimeout, "no SETTINGS within the time for them")
	}
	return connError(http2.ErrCodeSettingsTimeout, "SETTINGS were not acknowledged in time")
}

// sweepKeepAlive: mu is held.
func (c *Conn) sweepKeepAlive(now time.Duration) {
	if c.cfg.KeepAlive <= 0 {
		return
	}
	last := time.Duration(c.lastRead.Load())
	switch {
	case c.ping == pingAlive && last >= c.pingAt:
		c.ping = pingNone // whatever came shows life
	case c.ping == pingAlive && now-c.pingAt >= c.cfg.KeepAliveTimeout:
		c.end(connError(http2.ErrCodeNo, "no sign of life from the peer"))
	case c.ping == pingNone && now-last >= c.cfg.KeepAlive:
		c.ping, c.pingAt = pingAlive, now
		c.out.ping(false, payloadAlive[:])
	}
}

// Streams is the number of open streams.
func (c *Conn) Streams() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams)
}

// Quiet is the instant since which no stream is open, or that of New; -1 while
// one is.
func (c *Conn) Quiet() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams) > 0 {
		return -1
	}
	return c.quiet
}

// Draining tells that no new streams are wanted: Shutdown was called, the peer
// said GOAWAY, or the connection has ended.
func (c *Conn) Draining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.goAway != goAwayNone || c.phase != open
}

// Err tells why the connection ended; nil while it has not, and after an end
// in peace.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Room is how many streams may be opened now: what the peer's
// MAX_CONCURRENT_STREAMS leaves (100 until its SETTINGS came), 0 when the
// connection drains, has ended, or its out buffer is full.
func (c *Conn) Room() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.room()
	if n == 0 {
		c.hadRoom = false
	}
	return n
}

// room: mu is held.
func (c *Conn) room() int {
	if c.server || c.phase != open || c.goAway != goAwayNone || c.out.bytes >= c.cfg.MaxBuffered {
		return 0
	}
	most := min(int64(c.peer.maxStreams), math.MaxInt32)
	if own := int64(c.cfg.MaxStreams); own > 0 {
		most = min(most, own)
	}
	left := most - int64(len(c.streams))
	return int(max(min(left, (maxStreamID-int64(c.nextID))/2+1), 0))
}

// noteRoom has onRoom called when there is room again. mu is held.
func (c *Conn) noteRoom() {
	if c.onRoom == nil {
		return
	}
	has := c.room() > 0
	if has && !c.hadRoom {
		c.roomNews = true
	}
	c.hadRoom = has
}

// news has onRoom called because no streams are taken any more. mu is held.
func (c *Conn) news() { c.roomNews = c.onRoom != nil }

// PeerSettled tells that the peer's SETTINGS have come.
func (c *Conn) PeerSettled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer.settled
}

// PeerExtendedConnect tells that the peer takes extended CONNECT (RFC 8441).
func (c *Conn) PeerExtendedConnect() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peer.extendedConnect
}
