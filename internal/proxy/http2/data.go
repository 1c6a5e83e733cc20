package http2

import (
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
