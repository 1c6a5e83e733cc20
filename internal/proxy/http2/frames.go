package http2

import (
	"bytes"
	"encoding/binary"
	"errors"

	"golang.org/x/net/http2"
)

// startData takes the head of a frame of DATA, and accounts for all of it at
// once: flow control counts padding too (RFC 9113 section 6.1). p is what has
// come of its payload, at least the length of the padding.
func (in *reader) startData(h header, p []byte) error {
	if h.id == 0 {
		return connError(http2.ErrCodeProtocol, "DATA on stream 0")
	}
	n, pad := h.n, 0
	in.r += frameHeader
	if h.f.Has(http2.FlagDataPadded) {
		if h.n == 0 {
			return connError(http2.ErrCodeFrameSize, "padded DATA without a length of padding")
		}
		if pad = int(p[0]); pad >= h.n {
			return connError(http2.ErrCodeProtocol, "padding longer than its frame")
		}
		n -= 1 + pad
		in.r++
	}
	end := h.f.Has(http2.FlagDataEndStream)
	if n > 0 || end {
		in.idle.good(goodPerFrame)
	} else if err := in.idleFrame(); err != nil {
		return err
	}
	if in.recvWin -= int64(h.n); in.recvWin < 0 {
		return connError(http2.ErrCodeFlowControl, "more DATA than the connection's window")
	}
	in.data = dataState{left: n, pad: pad, end: end, on: true}
	c := in.c
	c.mu.Lock()
	in.giveBack(int64(h.n))
	err := in.dataFor(h, n)
	news := c.hasNews()
	c.mu.Unlock()
	if news {
		c.tell()
	}
	return err
}

// giveBack gives the peer window for all streams together: at once, so that a
// stream that nobody reads holds back none but itself. mu is held.
func (in *reader) giveBack(n int64) {
	if in.owed += n; in.owed >= connWindow/2 {
		in.c.out.windowUpdate(0, uint32(in.owed))
		in.recvWin += in.owed
		in.owed = 0
	}
}

// dataFor finds the stream of a frame of DATA with n bytes of body. mu is held.
func (in *reader) dataFor(h header, n int) error {
	c, d := in.c, &in.data
	s := c.streams[h.id]
	if s == nil {
		return in.onClosed(h)
	}
	switch {
	case s.remoteEnd:
		return in.fault(h.id, s, http2.ErrCodeStreamClosed, "DATA behind the end of the stream")
	case !s.gotHead:
		return in.fault(h.id, s, http2.ErrCodeProtocol, "DATA before the head")
	case s.recvWin < int64(h.n):
		return in.fault(h.id, s, http2.ErrCodeFlowControl, "more DATA than the stream's window")
	}
	s.recvWin -= int64(h.n)
	if s.remaining >= 0 {
		if s.remaining -= int64(n); s.remaining < 0 || d.end && s.remaining != 0 {
			return in.fault(h.id, s, http2.ErrCodeProtocol, "DATA of another length than content-length")
		}
	}
	if h.n > n && !d.end {
		s.consumed(h.n - n)
	}
	if s.silent {
		s.remoteEnd = s.remoteEnd || d.end
		return nil
	}
	d.s = s
	return nil
}

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

// moreData tells what has come of a frame's body. done: the frame is over.
func (in *reader) moreData() (done bool) {
	d := &in.data
	n := min(d.left, in.w-in.r)
	b := in.buf[in.r : in.r+n]
	in.r += n
	d.left -= n
	if s := d.s; s != nil {
		last := d.left == 0
		if last {
			d.s = nil
		}
		if n > 0 || last && d.end {
			in.tellData(s, b, last && d.end)
		}
	}
	if d.left > 0 {
		return false
	}
	n = min(d.pad, in.w-in.r)
	in.r += n
	if d.pad -= n; d.pad > 0 {
		return false
	}
	d.on = false
	return true
}

func (in *reader) tellData(s *Stream, b []byte, end bool) {
	c := in.c
	c.mu.Lock()
	mute := s.done || s.silent
	c.mu.Unlock()
	if !mute {
		s.sink.Data(s, b, end)
	}
	if end {
		c.remoteEnded(s)
	}
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
	code, reason := http2.ErrCodeNo, ""
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
