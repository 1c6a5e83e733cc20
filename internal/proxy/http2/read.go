package http2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"golang.org/x/net/http2"
)

// readInto is a transport that waits for input before it takes a buffer.
type readInto interface {
	ReadInto(take func() []byte, put func([]byte)) ([]byte, error)
}

// reader is what only the goroutine in Serve touches.
type reader struct {
	c       *Conn
	early   []byte // read before we were made
	preface int    // bytes of the client's preface that are still to come
	into    readInto
	piece   *[]byte // buf's home in the pool; nil for one made to measure
	take    func() []byte
	put     func([]byte)

	buf  []byte
	r, w int // buf[r:w] is not worked off
	now  time.Duration

	worked  uint64 // frames so far
	half    uint32 // the stream whose header block is here in part; 0: none
	started bool   // the peer's SETTINGS came
	data    dataState
	block   blockState
	dec     decoder
	recvWin int64 // what the peer may send on all streams together
	owed    int64 // what it is to be given back

	resets, settings, idle flood

	waiting bool // guarded by mu: the reader waits for the out buffer to drain
}

// dataState is the DATA frame whose payload is being told in pieces.
type dataState struct {
	s    *Stream // nil: to be thrown away
	left int     // bytes of the body in this frame still to come
	pad  int     // bytes of padding behind them
	end  bool
	on   bool
}

func (in *reader) init(c *Conn) {
	in.c = c
	in.recvWin = connWindow
	in.dec.init(&c.cfg)
	in.into, _ = c.nc.(readInto)
	if in.into == nil && c.raw != nil {
		in.into = newSocket(c.raw)
	}
	in.take = func() []byte {
		in.piece = takeChunk()
		return (*in.piece)[:cap(*in.piece)]
	}
	in.put = func([]byte) {
		putChunk(in.piece)
		in.piece = nil
	}
}

// run reads until the connection ends. lost: the transport is of no use any
// more.
func (in *reader) run() (err error, lost bool) { //nolint:revive // the error is the result, not a failure of run
	defer in.release()
	if len(in.early) > 0 {
		in.buf = append(make([]byte, 0, len(in.early)), in.early...)
		in.w, in.early = len(in.early), nil
		if err := in.batch(); err != nil {
			return err, false
		}
	}
	for {
		if err := in.fill(); err != nil {
			return in.ended(err)
		}
		if err := in.batch(); err != nil {
			return err, false
		}
	}
}

// ended judges why reading failed.
func (in *reader) ended(err error) (error, bool) { //nolint:revive // as run
	c := in.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.phase != open:
		return c.err, false // we were woken
	case errors.Is(err, io.EOF) && len(c.streams) == 0 && in.r == in.w && c.err == nil:
		return nil, true
	case c.goAwayErr != nil:
		return c.goAwayErr, true
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return &ConnError{Code: http2.ErrCodeCancel, Reason: "transport failed", Err: err}, true
}

// batch works off what was read and then writes what came of it.
func (in *reader) batch() error {
	c := in.c
	if in.now == 0 {
		in.now = c.cfg.Clock()
	}
	c.mu.Lock()
	c.inBatch = true
	c.mu.Unlock()
	worked := in.worked
	err := in.frames()
	in.noteHalf(in.worked != worked)
	c.mu.Lock()
	c.inBatch = false
	c.mu.Unlock()
	if err == nil {
		c.flush()
	} else {
		c.tell()
	}
	return err
}

// noteHalf takes down since when a header block, or a frame, is here in part:
// sweep bounds that. moved: something was complete meanwhile.
func (in *reader) noteHalf(moved bool) {
	since, id := &in.c.halfSince, uint32(0)
	if in.block.on {
		id = in.block.id
	}
	switch {
	case id == 0 && (in.data.on || in.r == in.w):
		if since.Load() != 0 {
			since.Store(0)
		}
	case since.Load() == 0, id != in.half, id == 0 && moved:
		since.Store(max(int64(in.now), 1))
	}
	in.half = id
}

// frames works off all that is complete. It stops early when the connection
// is to end.
func (in *reader) frames() error {
	if in.preface > 0 {
		if done, err := in.readPreface(); !done || err != nil {
			return err
		}
	}
	for {
		if in.data.on {
			if done := in.moreData(); !done {
				return nil
			}
		}
		b := in.buf[in.r:in.w]
		if len(b) < frameHeader {
			return nil
		}
		h := parseHeader(b)
		if err := in.check(h); err != nil {
			return err
		}
		if h.t == http2.FrameData {
			pad := 0
			if h.f.Has(http2.FlagDataPadded) {
				pad = 1
			}
			if len(b) < frameHeader+min(pad, h.n) {
				return nil
			}
			in.worked++
			if err := in.startData(h, b[frameHeader:]); err != nil {
				return err
			}
			continue
		}
		if len(b) < frameHeader+h.n {
			return nil
		}
		in.r += frameHeader + h.n
		in.worked++
		if err := in.frame(h, b[frameHeader:frameHeader+h.n]); err != nil {
			return err
		}
	}
}

// readPreface takes the client's preface (RFC 9113 section 3.4).
func (in *reader) readPreface() (done bool, err error) {
	at := len(http2.ClientPreface) - in.preface
	n := min(in.preface, in.w-in.r)
	if string(in.buf[in.r:in.r+n]) != http2.ClientPreface[at:at+n] {
		return false, connError(http2.ErrCodeProtocol, "no HTTP/2 preface")
	}
	in.r += n
	in.preface -= n
	return in.preface == 0, nil
}

// header is the head of a frame (RFC 9113 section 4.1).
type header struct {
	n  int
	id uint32
	t  http2.FrameType
	f  http2.Flags
}

func length(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

func parseHeader(b []byte) header {
	return header{
		n: length(b), t: http2.FrameType(b[3]), f: http2.Flags(b[4]),
		id: binary.BigEndian.Uint32(b[5:]) & maxStreamID,
	}
}

// http1Answer is how a server of HTTP/1.x answers a preface.
var http1Answer = []byte("HTTP/1.")

// check holds what is so for frames of all types.
func (in *reader) check(h header) error {
	switch {
	case !in.started && !in.c.server && bytes.HasPrefix(in.buf[in.r:in.w], http1Answer):
		return connError(http2.ErrCodeProtocol, "the peer speaks HTTP/1.x, not HTTP/2")
	case h.n > int(in.c.cfg.MaxFrameSize):
		return connError(http2.ErrCodeFrameSize, "frame longer than SETTINGS_MAX_FRAME_SIZE")
	case !in.started && (h.t != http2.FrameSettings || h.f.Has(http2.FlagSettingsAck)):
		return connError(http2.ErrCodeProtocol, "the first frame is not SETTINGS") // section 3.4
	case in.block.on && (h.t != http2.FrameContinuation || h.id != in.block.id):
		return connError(http2.ErrCodeProtocol, "a header block is not continued") // section 6.10
	}
	return nil
}

// frame works off a frame that is complete.
func (in *reader) frame(h header, p []byte) error {
	switch h.t {
	case http2.FrameHeaders:
		return in.headers(h, p)
	case http2.FrameContinuation:
		return in.continuation(h, p)
	case http2.FrameWindowUpdate:
		return in.windowUpdate(h, p)
	case http2.FrameRSTStream:
		return in.rstStream(h, p)
	case http2.FramePing:
		return in.ping(h, p)
	case http2.FrameSettings:
		return in.settingsFrame(h, p)
	case http2.FrameGoAway:
		return in.goAwayFrame(h, p)
	case http2.FramePriority:
		return in.priority(h, p)
	case http2.FramePushPromise:
		// We allow none as a client, and a client may never send one: section 8.4.
		return connError(http2.ErrCodeProtocol, "PUSH_PROMISE")
	}
	return in.idleFrame() // unknown types are ignored: section 4.1
}
