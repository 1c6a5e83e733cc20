package http2

import (
	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

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
		case string(f.Name) == ":protocol":
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
