package http2

import (
	"time"

	"golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// Stream is one exchange on a connection. All methods may be called by any
// goroutine; none blocks; all do nothing on a stream that has ended.
type Stream struct {
	// Immutable once the stream is known to anybody.
	id     uint32
	c      *Conn
	opened time.Duration
	noBody bool // client: the answer has none, whatever it says (HEAD)
	tunnel bool // client: plain CONNECT, whose answer has no length

	// Owned by the reader.
	head      Head
	gotHead   bool
	interim   bool  // client: head holds an interim response
	remaining int64 // what content-length still announces; -1: nothing

	// Guarded by the connection's lock.
	sink      Sink // nil while accept runs
	sendWin   int64
	recvWin   int64
	owed      int64 // used by us, and not given back yet
	localEnd  bool  // END_STREAM is in the out buffer
	remoteEnd bool  // END_STREAM came and was told

	queue    []byte         // DATA that waits; queue[:sent] is gone
	sent     int            // of queue
	endNext  bool           // END_STREAM follows what is queued
	trailers []http1.Header // follow what is queued

	isReady    bool // in the connection's queue
	prev, next *Stream

	done       bool // ended; err is why
	told       bool // Closed was told, or is never to be
	silent     bool // the sink hears nothing more
	resetAfter bool // RST_STREAM follows END_STREAM
	inEvents   bool
	sentNews   int // bytes for Sent
	err        *StreamError
}

// ID is the stream's identifier.
func (s *Stream) ID() uint32 { return s.id }

// Conn is the stream's connection.
func (s *Stream) Conn() *Conn { return s.c }

// newStream makes a stream with the windows of the present. mu is held.
func (c *Conn) newStream(s *Stream, id uint32) {
	s.id, s.c = id, c
	s.sendWin = c.peer.window
	s.recvWin = int64(c.cfg.StreamWindow)
	if !c.acked {
		s.recvWin = max(s.recvWin, defaultWindow)
	}
	c.streams[id] = s
}

// Queued is the number of bytes that wait for window or for room.
func (s *Stream) Queued() int {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.waiting()
}

// Consumed gives the peer window for n bytes of Data that were used. It is sent
// when half a window has come together.
func (s *Stream) Consumed(n int) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.consumed(n)
}

// consumed: mu is held.
func (s *Stream) consumed(n int) {
	if s.done || s.remoteEnd || s.silent || n <= 0 {
		return
	}
	if s.owed += int64(n); s.owed >= max(int64(s.c.cfg.StreamWindow)/2, 1) {
		s.c.out.windowUpdate(s.id, uint32(s.owed))
		s.recvWin += s.owed
		s.owed = 0
	}
}

// Reset ends the stream by RST_STREAM; its Sink hears nothing more. A server
// that has sent its whole answer says ErrCodeNo when it does not want the rest
// of the request (RFC 9113 section 8.1); the RST_STREAM then follows what is
// still queued.
func (s *Stream) Reset(code http2.ErrCode) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	s.silent = true
	if s.done || s.resetAfter || c.phase != open {
		return
	}
	if code == http2.ErrCodeNo && c.server && s.endNext {
		s.resetAfter = true
		return
	}
	c.out.reset(s.id, code)
	c.finished(s, closedByUs, nil)
}

// localEnded: END_STREAM was put in the out buffer. mu is held.
func (c *Conn) localEnded(s *Stream) {
	s.localEnd, s.endNext = true, false
	switch {
	case s.remoteEnd:
		c.finished(s, closedEnded, nil)
	case s.resetAfter:
		c.out.reset(s.id, http2.ErrCodeNo)
		c.finished(s, closedByUs, nil)
	}
}

// remoteEnded: END_STREAM came, and was told.
func (c *Conn) remoteEnded(s *Stream) {
	c.mu.Lock()
	if !s.done {
		s.remoteEnd = true
		if s.localEnd {
			c.finished(s, closedEnded, nil)
		}
	}
	news := c.hasNews()
	c.mu.Unlock()
	if news {
		c.tell()
	}
}

// finished ends a stream. mu is held.
func (c *Conn) finished(s *Stream, how closedHow, err *StreamError) {
	if s.done {
		return
	}
	s.done, s.err = true, err
	if s.isReady {
		c.ready.remove(s)
	}
	s.queue, s.trailers, s.sent = nil, nil, 0
	delete(c.streams, s.id)
	c.closed.add(s.id, how)
	if how == closedEnded && !s.silent {
		c.endedWell++
	}
	c.note(s)
	if len(c.streams) == 0 {
		c.quiet = c.cfg.Clock()
	}
	c.noteRoom()
	c.maybeEnd()
}

// note puts a stream among those with something to tell. mu is held.
func (c *Conn) note(s *Stream) {
	if s.sink == nil || s.inEvents || s.silent || s.told {
		return
	}
	s.inEvents = true
	c.events = append(c.events, s)
}
