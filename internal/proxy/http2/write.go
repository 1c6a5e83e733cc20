package http2

import (
	"errors"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

// Flush starts writing what is queued. It does not wait, and gathers: what is
// queued and flushed by others that are about to run goes out with it.
func (c *Conn) Flush() {
	c.mu.Lock()
	c.flushSoon()
	c.mu.Unlock()
}

// flushSoon has a goroutine flush, unless somebody is about to anyway: the
// reader at the end of its batch, or who writes. mu is held.
func (c *Conn) flushSoon() {
	idle := c.writing || c.out.bytes == 0
	if c.soon || c.inBatch || c.phase == gone || idle && !c.hasNews() {
		return
	}
	c.soon = true
	c.helpers++
	go c.flushHelper()
}

// flushHelper lets all who are about to run queue what they have, and then
// flushes.
func (c *Conn) flushHelper() {
	runtime.Gosched()
	c.mu.Lock()
	c.soon = false
	c.mu.Unlock()
	c.flush()
	c.mu.Lock()
	c.helpers--
	c.cond.Broadcast()
	c.mu.Unlock()
}

// FlushAfter flushes o when the events that c has at hand are told: called
// within an event of a stream of c, it makes one write of what many events
// cause. At other times it is o.Flush.
func (c *Conn) FlushAfter(o *Conn) {
	c.mu.Lock()
	if !c.inBatch && !c.telling {
		c.mu.Unlock()
		o.Flush()
		return
	}
	if !slices.Contains(c.after, o) {
		c.after = append(c.after, o)
	}
	c.mu.Unlock()
}

// flush writes what the socket takes at once, leaves the rest to a goroutine,
// and tells the events that this causes.
func (c *Conn) flush() {
	c.mu.Lock()
	c.pump()
	if !c.writing && c.out.bytes > 0 && c.phase != gone {
		c.writing = true
		c.moved.Store(int64(c.cfg.Clock()))
		if c.raw == nil {
			c.helpers++
			go c.writeRest(nil)
		} else {
			c.writeNow()
		}
	}
	news := c.hasNews()
	c.mu.Unlock()
	if news {
		c.tell()
	}
}

// writeNow writes as long as the socket takes it without waiting. mu is held,
// let go while the system is called, and held again at the end; writing is ours
// and is given up, or over to a goroutine.
func (c *Conn) writeNow() {
	for c.out.bytes > 0 && c.phase != gone {
		p := c.out.take()
		c.mu.Unlock()
		n, left, err := c.trySome(p)
		c.mu.Lock()
		c.out.bytes -= n
		switch {
		case err != nil:
			c.broken(err)
		case len(left) > 0:
			c.progress()
			c.helpers++
			go c.writeRest(left)
			return
		default:
			c.out.written(p, 0)
			c.progress()
		}
	}
	c.writing = false
	c.cond.Broadcast()
}

// trySome writes pieces until the socket takes no more; left are those that
// were not, or not wholly, written, the first of them cut to what is left.
func (c *Conn) trySome(p []*[]byte) (n int, left []*[]byte, err error) {
	for i, b := range p {
		m, err := c.tryWrite(*b)
		n += m
		if err != nil {
			return n, nil, err
		}
		if m < len(*b) {
			*b = (*b)[:copy(*b, (*b)[m:])]
			return n, p[i:], nil
		}
		putChunk(b)
	}
	return n, nil, nil
}

// tryState is one attempt to write: its argument and results are here so that
// the function given to the socket need not be made anew each time.
type tryState struct {
	fn  func(fd uintptr) bool
	b   []byte
	n   int
	err error
}

// write is one attempt. It never asks to wait.
func (t *tryState) write(fd uintptr) bool {
	t.n, t.err = unix.Write(int(fd), t.b)
	for errors.Is(t.err, unix.EINTR) {
		t.n, t.err = unix.Write(int(fd), t.b)
	}
	return true
}

// tryWrite writes what the socket takes without waiting.
func (c *Conn) tryWrite(b []byte) (n int, err error) {
	t := &c.try
	t.b, t.n, t.err = b, 0, nil
	err = c.raw.Write(t.fn)
	t.b = nil
	if err == nil && t.err != nil && !errors.Is(t.err, unix.EAGAIN) {
		err = t.err
	}
	n = max(t.n, 0)
	c.wrote(n)
	return n, err
}

// writeRest writes, waiting as it must, until nothing is left: first p, then
// what comes to be queued meanwhile. It is a goroutine of its own.
func (c *Conn) writeRest(p []*[]byte) {
	c.mu.Lock()
	for c.phase != gone {
		if len(p) == 0 {
			if p = c.out.take(); len(p) == 0 {
				break
			}
		}
		for i, b := range p {
			c.mu.Unlock()
			n, err := c.nc.Write(*b)
			c.wrote(n)
			c.mu.Lock()
			c.out.bytes -= n
			if err != nil {
				c.broken(err)
				break
			}
			putChunk(b)
			p[i] = nil
			c.progress()
		}
		c.out.written(p, 0)
		p = nil
		if c.hasNews() {
			c.mu.Unlock()
			c.tell()
			c.mu.Lock()
		}
	}
	c.writing = false
	c.helpers--
	c.cond.Broadcast()
	c.mu.Unlock()
}

// wrote notes that the transport took n bytes.
func (c *Conn) wrote(n int) {
	if n <= 0 {
		return
	}
	c.moved.Store(int64(c.cfg.Clock()))
	if c.cfg.OnWritten != nil {
		c.cfg.OnWritten(n)
	}
}

// progress goes on with what waited for room. mu is held.
func (c *Conn) progress() {
	c.control = 0
	c.pump()
	c.noteRoom()
	if c.in.waiting {
		c.cond.Broadcast()
	}
}

// hasNews tells whether something is to be told and nobody does. mu is held.
func (c *Conn) hasNews() bool {
	return !c.telling && (len(c.events) > 0 || c.roomNews || len(c.after) > 0 && !c.inBatch)
}

// tell tells all that calls to streams caused, one event at a time and by one
// goroutine at a time, and then flushes the connections that FlushAfter named.
// mu is not held.
func (c *Conn) tell() {
	c.mu.Lock()
	if c.telling {
		c.mu.Unlock() // whoever tells will tell these too
		return
	}
	c.telling = true
	for c.tellOne() {
	}
	c.telling = false
	c.cond.Broadcast()
	c.mu.Unlock()
}

// tellOne tells the next event; false when there is none. mu is held, and let
// go meanwhile.
func (c *Conn) tellOne() bool {
	switch {
	case len(c.events) > 0:
		s := c.events[c.eventsAt]
		c.events[c.eventsAt] = nil
		if c.eventsAt++; c.eventsAt == len(c.events) {
			c.events, c.eventsAt = c.events[:0], 0
		}
		c.tellStream(s)
	case c.roomNews:
		c.roomNews = false
		if c.onRoom == nil {
			break
		}
		c.mu.Unlock()
		c.onRoom(c)
		c.mu.Lock()
	case len(c.after) > 0 && !c.inBatch:
		list := c.after
		c.after = nil
		c.mu.Unlock()
		for i, o := range list {
			o.flush()
			list[i] = nil
		}
		c.mu.Lock()
		if c.after == nil {
			c.after = list[:0]
		}
	default:
		return false
	}
	return true
}

// tellStream tells what is new of one stream. mu is held, and let go meanwhile.
func (c *Conn) tellStream(s *Stream) {
	s.inEvents = false
	if s.silent {
		return
	}
	n, fin := s.sentNews, s.done && !s.told
	s.sentNews = 0
	s.told = s.told || fin
	c.mu.Unlock()
	if n > 0 {
		s.sink.Sent(s, n)
	}
	if fin {
		if s.err == nil {
			s.sink.Closed(s, nil)
		} else {
			s.sink.Closed(s, s.err)
		}
	}
	c.mu.Lock()
}
