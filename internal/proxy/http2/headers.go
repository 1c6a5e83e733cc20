package http2

import (
	"encoding/binary"

	"golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// blockState is the header block that is being read (RFC 9113 section 4.3).
type blockState struct {
	on      bool
	id      uint32
	end     bool   // END_STREAM
	depends bool   // on itself
	coded   []byte // what came of a block in several frames
	pieces  int    // CONTINUATION frames
}

// headers: RFC 9113 section 6.2.
func (in *reader) headers(h header, p []byte) error {
	if h.id%2 == 0 {
		return connError(http2.ErrCodeProtocol, "HEADERS on a stream that clients do not open")
	}
	in.block = blockState{on: true, id: h.id, end: h.f.Has(http2.FlagHeadersEndStream)}
	if h.f.Has(http2.FlagHeadersPadded) {
		if len(p) == 0 {
			return connError(http2.ErrCodeFrameSize, "padded HEADERS without a length of padding")
		}
		pad := int(p[0])
		if p = p[1:]; pad > len(p) {
			return connError(http2.ErrCodeProtocol, "padding longer than its frame")
		}
		p = p[:len(p)-pad]
	}
	if h.f.Has(http2.FlagHeadersPriority) {
		if len(p) < 5 {
			return connError(http2.ErrCodeFrameSize, "HEADERS too short for their priority")
		}
		in.block.depends = binary.BigEndian.Uint32(p)&maxStreamID == h.id
		p = p[5:]
	}
	return in.fragment(p, h.f.Has(http2.FlagHeadersEndHeaders))
}

// continuation: RFC 9113 section 6.10.
func (in *reader) continuation(h header, p []byte) error {
	b := &in.block
	if !b.on {
		return connError(http2.ErrCodeProtocol, "CONTINUATION of nothing")
	}
	if b.pieces++; b.pieces > in.c.cfg.MaxContinuations {
		return connError(http2.ErrCodeEnhanceYourCalm, "too many CONTINUATION frames")
	}
	return in.fragment(p, h.f.Has(http2.FlagContinuationEndHeaders))
}

// fragment takes a piece of a block, which is decoded when it is whole. All
// blocks are decoded, wanted or not: the table that they build is the
// connection's.
func (in *reader) fragment(p []byte, last bool) error {
	b := &in.block
	if len(b.coded)+len(p) > 2*in.c.cfg.MaxHeaderBytes {
		return connError(http2.ErrCodeEnhanceYourCalm, "header block too large")
	}
	if !last || b.coded != nil {
		b.coded = append(b.coded, p...)
		p = b.coded
	}
	if !last {
		return nil
	}
	b.coded = nil
	if err := in.dec.decode(p); err != nil {
		return connError(http2.ErrCodeCompression, err.Error())
	}
	b.on = false
	if in.c.server {
		return in.requestBlock()
	}
	return in.responseBlock()
}

// requestBlock is a block that a client sent.
func (in *reader) requestBlock() error {
	c, b := in.c, &in.block
	if b.id <= c.seenID { // which the reader alone changes
		c.mu.Lock()
		return in.laterBlock(c.streams[b.id])
	}
	s := &Stream{opened: in.now, gotHead: true}
	reason := "a stream that depends on itself"
	if !b.depends {
		reason = in.dec.request(s, c.cfg.ExtendedConnect, b.end)
	}
	if taken, err := in.begin(s, reason); !taken {
		return err
	}
	sink := c.accept(s, &s.head, b.end)
	if sink == nil {
		sink = deaf{}
	}
	c.mu.Lock()
	s.sink = sink
	s.remoteEnd = s.remoteEnd || b.end
	if s.remoteEnd && s.localEnd {
		c.finished(s, closedEnded, nil)
	}
	if s.sentNews > 0 || s.done {
		c.note(s)
	}
	news := c.hasNews()
	c.mu.Unlock()
	if news {
		c.tell()
	}
	return nil
}

// begin makes a request's stream one of ours, unless there is a reason not to.
func (in *reader) begin(s *Stream, reason string) (taken bool, err error) {
	c, b := in.c, &in.block
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seenID = b.id
	if c.goAwaySaid || c.phase != open {
		return false, in.idleFrame() // they are told that it is not processed
	}
	c.lastID = b.id
	switch {
	case len(c.streams) >= int(c.cfg.MaxConcurrentStreams):
		return false, in.fault(b.id, nil, http2.ErrCodeRefusedStream, "")
	case reason != "":
		return false, in.fault(b.id, nil, http2.ErrCodeProtocol, reason)
	case in.dec.tooBig:
		return false, in.refuseLarge(b)
	}
	in.idle.good(goodPerFrame)
	c.newStream(s, b.id)
	return true, nil
}

// refuseLarge answers a request whose head is larger than we take (RFC 9113
// section 10.5.1). mu is held.
func (in *reader) refuseLarge(b *blockState) error {
	c := in.c
	s := &Stream{opened: in.now, gotHead: true, sink: deaf{}, silent: true}
	c.newStream(s, b.id)
	s.remoteEnd = b.end
	c.sendHead(s, []http1.Header{{Name: []byte(":status"), Value: []byte("431")}}, true)
	if !s.done {
		c.out.reset(b.id, http2.ErrCodeNo)
		c.finished(s, closedByUs, nil)
	}
	if err := in.countControl(); err != nil {
		return err
	}
	return in.countReset()
}

// laterBlock is a block on a stream that is, or was, open and has its head:
// trailers. s is nil when the stream is not open. mu is held, and let go.
func (in *reader) laterBlock(s *Stream) error {
	c, b := in.c, &in.block
	var err error
	switch {
	case s == nil:
		err = in.onClosed(header{t: http2.FrameHeaders, id: b.id})
	case s.remoteEnd:
		err = in.fault(b.id, s, http2.ErrCodeStreamClosed, "HEADERS behind the end of the stream")
	case !b.end:
		err = in.fault(b.id, s, http2.ErrCodeProtocol, "trailers that do not end the stream")
	case s.remaining > 0:
		err = in.fault(b.id, s, http2.ErrCodeProtocol, "less DATA than content-length")
	case in.dec.tooBig:
		err = in.fault(b.id, s, http2.ErrCodeEnhanceYourCalm, "trailers too large")
	case b.depends:
		err = in.fault(b.id, s, http2.ErrCodeProtocol, "a stream that depends on itself")
	default:
		fields, reason := in.dec.trailers()
		if reason != "" {
			err = in.fault(b.id, s, http2.ErrCodeProtocol, reason)
			break
		}
		in.idle.good(goodPerFrame)
		mute := s.silent
		c.mu.Unlock()
		if !mute {
			s.sink.Trailers(s, fields)
		}
		c.remoteEnded(s)
		return nil
	}
	news := c.hasNews()
	c.mu.Unlock()
	if news {
		c.tell()
	}
	return err
}

// responseBlock is a block that a server sent.
func (in *reader) responseBlock() error {
	c, b := in.c, &in.block
	c.mu.Lock()
	s := c.streams[b.id]
	if s == nil || s.gotHead || b.depends {
		return in.laterBlock(s)
	}
	var err error
	reason := "response head too large"
	h := &s.head
	if s.interim {
		h = &Head{} // the stream's own was told already
	}
	if !in.dec.tooBig {
		reason = in.dec.response(s, h, b.end)
	}
	if reason != "" {
		code := http2.ErrCodeProtocol
		if in.dec.tooBig {
			code = http2.ErrCodeEnhanceYourCalm
		}
		err = in.fault(b.id, s, code, reason)
		c.mu.Unlock()
		c.tell()
		return err
	}
	if s.interim = !s.gotHead; s.interim {
		err = in.idleFrame()
	} else {
		in.idle.good(goodPerFrame)
	}
	mute := s.silent
	c.mu.Unlock()
	if !mute {
		s.sink.Head(s, h, b.end)
	}
	if b.end {
		c.remoteEnded(s)
	}
	return err
}

// deaf is the sink of a stream that nobody wants to hear of.
type deaf struct{}

func (deaf) Head(*Stream, *Head, bool)        {}
func (deaf) Data(s *Stream, b []byte, _ bool) { s.Consumed(len(b)) }
func (deaf) Trailers(*Stream, []http1.Header) {}
func (deaf) Sent(*Stream, int)                {}
func (deaf) Closed(*Stream, error)            {}
