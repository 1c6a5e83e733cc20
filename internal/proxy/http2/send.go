package http2

import (
	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

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
