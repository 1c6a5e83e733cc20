package http2

import (
	"bytes"
	"encoding/binary"
	"errors"

	"golang.org/x/net/http2"
)

// onClosed judges DATA and HEADERS on a stream that is not open. mu is held.
func (in *reader) onClosed(h header) error {
	c := in.c
	if c.isIdle(h.id) {
		return connError(http2.ErrCodeProtocol, "a frame on an idle stream") // section 5.1
	}
	if c.server && h.id > c.lastID || c.closed.how(h.id) == closedByUs {
		if h.t == http2.FrameHeaders {
			return in.idleFrame()
		}
		return nil // it was on its way
	}
	switch c.closed.how(h.id) {
	case closedUnknown:
		if h.t == http2.FrameHeaders && c.server {
			return connError(http2.ErrCodeProtocol, "HEADERS on a lower stream than the last") // section 5.1.1
		}
	case closedEnded:
		return connError(http2.ErrCodeStreamClosed, "a frame behind the end of a stream") // section 5.1
	default:
		if h.t == http2.FrameHeaders {
			return connError(http2.ErrCodeStreamClosed, "HEADERS on a closed stream")
		}
	}
	return in.fault(h.id, nil, http2.ErrCodeStreamClosed, "")
}

// isIdle tells whether a stream was never opened. mu is held.
func (c *Conn) isIdle(id uint32) bool {
	if id%2 == 0 {
		return true
	}
	if c.server {
		return id > c.seenID
	}
	return id >= c.nextID
}

// fault resets a stream for what the peer did. s is nil when it is not open.
// mu is held.
func (in *reader) fault(id uint32, s *Stream, code http2.ErrCode, reason string) error {
	c := in.c
	c.out.reset(id, code)
	if s != nil {
		c.finished(s, closedByUs, &StreamError{Code: code, Err: errors.New(reason)})
	} else {
		c.closed.add(id, closedByUs)
	}
	if err := in.countControl(); err != nil {
		return err
	}
	if !c.server {
		return nil // we choose how many streams an upstream may fail
	}
	return in.countReset()
}

// windowUpdate: RFC 9113 section 6.9.
func (in *reader) windowUpdate(h header, p []byte) error {
	if len(p) != 4 {
		return connError(http2.ErrCodeFrameSize, "WINDOW_UPDATE of another length than 4")
	}
	n := int64(binary.BigEndian.Uint32(p) & maxWindow)
	c := in.c
	c.mu.Lock()
	defer c.mu.Unlock()
	in.idle.good(goodPerFrame * c.framesOut)
	c.framesOut = 0
	if err := in.idleFrame(); err != nil {
		return err
	}
	if h.id == 0 {
		if n == 0 {
			return connError(http2.ErrCodeProtocol, "WINDOW_UPDATE of 0")
		}
		if c.sendWin += n; c.sendWin > maxWindow {
			return connError(http2.ErrCodeFlowControl, "window above 2^31-1")
		}
		return nil
	}
	s := c.streams[h.id]
	switch {
	case s == nil && c.isIdle(h.id):
		return connError(http2.ErrCodeProtocol, "WINDOW_UPDATE on an idle stream")
	case s == nil:
		return nil // sent before the peer knew of the end
	case n == 0:
		return in.fault(h.id, s, http2.ErrCodeProtocol, "WINDOW_UPDATE of 0")
	}
	if s.sendWin += n; s.sendWin > maxWindow {
		return in.fault(h.id, s, http2.ErrCodeFlowControl, "window above 2^31-1")
	}
	c.makeReady(s)
	return nil
}

// rstStream: RFC 9113 section 6.4.
func (in *reader) rstStream(h header, p []byte) error {
	switch {
	case h.id == 0:
		return connError(http2.ErrCodeProtocol, "RST_STREAM on stream 0")
	case len(p) != 4:
		return connError(http2.ErrCodeFrameSize, "RST_STREAM of another length than 4")
	}
	code := http2.ErrCode(binary.BigEndian.Uint32(p))
	c := in.c
	c.mu.Lock()
	s := c.streams[h.id]
	if s == nil {
		idle := c.isIdle(h.id)
		c.mu.Unlock()
		if idle {
			return connError(http2.ErrCodeProtocol, "RST_STREAM on an idle stream")
		}
		return in.idleFrame()
	}
	var err error
	if c.server && in.now-s.opened < resetAge && !s.localEnd {
		err = in.countReset()
	}
	c.finished(s, closedByPeer, &StreamError{
		Code: code, Remote: true, Unprocessed: code == http2.ErrCodeRefusedStream,
	})
	c.mu.Unlock()
	c.tell()
	return err
}

// ping: RFC 9113 section 6.7.
func (in *reader) ping(h header, p []byte) error {
	switch {
	case h.id != 0:
		return connError(http2.ErrCodeProtocol, "PING on a stream")
	case len(p) != 8:
		return connError(http2.ErrCodeFrameSize, "PING of another length than 8")
	}
	if err := in.idleFrame(); err != nil {
		return err
	}
	c := in.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !h.f.Has(http2.FlagPingAck) {
		c.out.ping(true, p)
		return in.countControl()
	}
	switch [8]byte(p) {
	case payloadAlive:
		c.ping = pingNone
	case payloadDrain:
		c.finalGoAway()
	}
	return nil
}

// priority: RFC 9113 section 5.3 has priorities no more, but RFC 7540 section
// 6.3 still says what is malformed. Frames on idle streams are allowed, and one
// of those can not be reset.
func (in *reader) priority(h header, p []byte) error {
	if h.id == 0 {
		return connError(http2.ErrCodeProtocol, "PRIORITY on stream 0")
	}
	if err := in.idleFrame(); err != nil {
		return err
	}
	var code http2.ErrCode
	var reason string
	switch {
	case len(p) != 5:
		code, reason = http2.ErrCodeFrameSize, "PRIORITY of another length than 5"
	case binary.BigEndian.Uint32(p)&maxStreamID == h.id:
		code, reason = http2.ErrCodeProtocol, "a stream that depends on itself"
	default:
		return nil
	}
	c := in.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[h.id]; s != nil {
		return in.fault(h.id, s, code, reason)
	}
	return connError(code, reason)
}

// goAwayFrame: RFC 9113 section 6.8.
func (in *reader) goAwayFrame(h header, p []byte) error {
	if h.id != 0 {
		return connError(http2.ErrCodeProtocol, "GOAWAY on a stream")
	}
	if len(p) < 8 {
		return connError(http2.ErrCodeFrameSize, "GOAWAY shorter than 8")
	}
	last := binary.BigEndian.Uint32(p) & maxStreamID
	code := http2.ErrCode(binary.BigEndian.Uint32(p[4:]))
	if err := in.idleFrame(); err != nil {
		return err
	}
	c := in.c
	c.mu.Lock()
	if code != http2.ErrCodeNo {
		c.goAwayErr = &ConnError{Code: code, Remote: true, Reason: string(bytes.ToValidUTF8(p[8:min(len(p), 8+256)], nil))}
	}
	if c.goAway != goAwayFinal {
		c.goAway = goAwayFinal
		c.news()
	}
	if !c.server {
		for id, s := range c.streams {
			if id > last {
				c.finished(s, closedByUs, &StreamError{Code: code, Remote: true, Conn: true, Unprocessed: true, Err: c.goAwayErr})
			}
		}
	}
	c.maybeEnd()
	c.mu.Unlock()
	c.tell()
	return nil
}
