package http2

import (
	"bytes"
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

// SendHead queues a head, pseudo-header fields first: an interim or the final
// response, or, after SendData, trailers, which wait behind queued DATA and
// must have end. fields are not kept. Flush starts the writing.
func (s *Stream) SendHead(fields []http1.Header, end bool) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !s.maySend() {
		return
	}
	if s.waiting() > 0 {
		s.trailers, s.endNext = copyFields(fields), end
		return
	}
	c.sendHead(s, fields, end)
}

// maySend: mu is held.
func (s *Stream) maySend() bool {
	return !s.done && !s.localEnd && !s.endNext && s.c.phase == open
}

// waiting is Queued with the lock held.
func (s *Stream) waiting() int { return len(s.queue) - s.sent }

// sendHead: mu is held.
func (c *Conn) sendHead(s *Stream, fields []http1.Header, end bool) {
	c.out.headers(s.id, c.enc.block(fields), end, int(c.peer.maxFrame))
	c.framesOut++
	if end {
		c.localEnded(s)
	}
}

func copyFields(fields []http1.Header) []http1.Header {
	n := 0
	for i := range fields {
		n += len(fields[i].Name) + len(fields[i].Value)
	}
	mem := make([]byte, 0, n)
	keep := func(b []byte) []byte {
		mem = append(mem, b...)
		return mem[len(mem)-len(b) : len(mem) : len(mem)]
	}
	kept := make([]http1.Header, len(fields))
	for i := range fields {
		kept[i].Name, kept[i].Value = keep(fields[i].Name), keep(fields[i].Value)
		kept[i].Sensitive = fields[i].Sensitive
	}
	return kept
}

// SendData queues bytes of the body; what the windows or the connection's
// buffer do not take now is copied and stays queued on the stream. left is how
// many went to the connection's buffer at once: Sent tells of the rest. b may
// be empty with end. On a stream that has ended, all are taken and thrown away.
func (s *Stream) SendData(b []byte, end bool) (left int) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !s.maySend() {
		return len(b)
	}
	if s.waiting() == 0 && (c.ready.first == nil || len(b) == 0) {
		for {
			n := min(len(b)-left, c.allowed(s))
			if n <= 0 && len(b) > left {
				break
			}
			last := end && left+n == len(b)
			if n > 0 || last {
				c.sendData(s, b[left:left+n], last)
			}
			if left += n; left == len(b) {
				return left
			}
		}
	}
	s.enqueue(b[left:])
	s.endNext = end
	c.makeReady(s)
	return left
}

// enqueue keeps a copy of b. mu is held.
func (s *Stream) enqueue(b []byte) {
	if s.sent > 0 && len(s.queue)+len(b) > cap(s.queue) {
		s.queue = s.queue[:copy(s.queue, s.queue[s.sent:])]
		s.sent = 0
	}
	s.queue = append(s.queue, b...)
}

// emptied forgets what has been sent. mu is held.
func (s *Stream) emptied() {
	if s.sent = 0; cap(s.queue) > maxScratch {
		s.queue = nil
	}
	s.queue = s.queue[:0]
}

// allowed is how much DATA of a stream may go to the out buffer in one frame.
// mu is held.
func (c *Conn) allowed(s *Stream) int {
	if c.out.bytes >= c.cfg.MaxBuffered {
		return 0
	}
	return int(min(c.sendWin, s.sendWin, int64(c.peer.maxFrame), minFrameSize))
}

// sendData puts a frame of DATA in the out buffer. mu is held.
func (c *Conn) sendData(s *Stream, b []byte, end bool) {
	c.out.data(s.id, b, end)
	c.framesOut++
	c.sendWin -= int64(len(b))
	s.sendWin -= int64(len(b))
	if end {
		c.localEnded(s)
	}
}

// makeReady puts a stream that has something queued and window for it in the
// queue. mu is held.
func (c *Conn) makeReady(s *Stream) {
	if s.waiting() > 0 && s.sendWin > 0 && !s.isReady && !s.done {
		c.ready.push(s)
	}
}

// pump moves queued DATA to the out buffer as windows and room allow, a frame
// of each stream in turn. mu is held.
func (c *Conn) pump() {
	for c.ready.first != nil && c.phase == open {
		s := c.ready.first
		n := min(s.waiting(), c.allowed(s))
		if n <= 0 {
			if s.sendWin > 0 {
				return // the connection's window, or its buffer
			}
			c.ready.remove(s) // SETTINGS took its window away
			continue
		}
		c.ready.remove(s)
		b := s.queue[s.sent : s.sent+n]
		s.sent += n
		s.sentNews += n
		c.note(s)
		if s.waiting() > 0 {
			c.sendData(s, b, false)
			c.makeReady(s)
			continue
		}
		c.sendData(s, b, s.endNext && s.trailers == nil)
		s.emptied()
		if s.trailers != nil {
			c.sendHead(s, s.trailers, s.endNext)
			s.trailers = nil
		}
	}
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

// streamQueue is the streams that wait for their turn to send DATA.
type streamQueue struct{ first, last *Stream }

func (q *streamQueue) push(s *Stream) {
	s.isReady = true
	s.prev = q.last
	if q.last == nil {
		q.first = s
	} else {
		q.last.next = s
	}
	q.last = s
}

func (q *streamQueue) remove(s *Stream) {
	if s.prev == nil {
		q.first = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		q.last = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.prev, s.next, s.isReady = nil, nil, false
}

// Open opens a stream and queues its HEADERS: the pseudo-header fields first,
// then regular ones with names in lower case. fields are not kept. end: no body
// follows. The error is ErrFull, ErrDraining or ErrClosed.
func (c *Conn) Open(fields []http1.Header, end bool, sink Sink) (*Stream, error) {
	s := &Stream{sink: sink}
	s.remaining = -1
	protocol := false
	for i := range fields {
		f := &fields[i]
		if len(f.Name) == 0 || f.Name[0] != ':' {
			break
		}
		switch {
		case string(f.Name) == ":method":
			s.noBody = string(f.Value) == "HEAD"
			s.tunnel = string(f.Value) == "CONNECT"
		case bytes.Equal(f.Name, []byte(":protocol")):
			protocol = true
		}
	}
	s.tunnel = s.tunnel && !protocol
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.phase != open:
		return nil, ErrClosed
	case c.goAway != goAwayNone || c.nextID > maxStreamID:
		return nil, ErrDraining
	case c.room() == 0:
		c.hadRoom = false
		return nil, ErrFull
	}
	c.newStream(s, c.nextID)
	c.nextID += 2
	c.sendHead(s, fields, end)
	c.hadRoom = c.room() > 0
	return s, nil
}
