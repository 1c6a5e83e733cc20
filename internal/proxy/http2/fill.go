package http2

import (
	"golang.org/x/net/http2"
)

// fill reads more. Without anything left over it waits with no buffer, where
// the transport can.
func (in *reader) fill() error {
	in.waitRoom()
	if in.r == in.w {
		in.r, in.w = 0, 0
		if in.into != nil {
			in.release()
			b, err := in.into.ReadInto(in.take, in.put)
			if err != nil {
				return err
			}
			in.buf, in.w = b[:cap(b)], len(b)
			in.count(len(b))
			return nil
		}
	}
	in.space()
	n, err := in.c.nc.Read(in.buf[in.w:])
	in.w += n
	in.count(n)
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// count notes that n bytes came.
func (in *reader) count(n int) {
	if n == 0 {
		return
	}
	in.now = in.c.cfg.Clock()
	in.c.lastRead.Store(int64(in.now))
	if in.c.cfg.OnRead != nil {
		in.c.cfg.OnRead(n)
	}
}

// space makes room behind what is left over: for the frame that it begins, at
// least.
func (in *reader) space() {
	if in.piece == nil && in.buf == nil {
		in.buf = in.take()
	}
	need := frameHeader
	if left := in.w - in.r; left >= frameHeader && !in.data.on && in.preface == 0 {
		if t := http2.FrameType(in.buf[in.r+3]); t != http2.FrameData {
			need += length(in.buf[in.r:])
		}
	}
	need = max(need, len(http2.ClientPreface))
	rest := in.buf[in.r:in.w]
	switch {
	case need <= len(in.buf) && (in.r > 0 || in.w < len(in.buf)):
		in.w = copy(in.buf, rest)
	case need <= chunkSize:
		old := in.piece
		b := in.take()
		in.w = copy(b, rest)
		in.buf = b
		if old != nil {
			putChunk(old)
		}
	default: // a single frame longer than a chunk, bounded by MaxFrameSize
		b := make([]byte, need)
		in.w = copy(b, rest)
		in.release()
		in.buf = b
		in.w = len(rest)
	}
	in.r = 0
}

// release gives the buffer back.
func (in *reader) release() {
	if in.piece != nil {
		putChunk(in.piece)
		in.piece = nil
	}
	in.buf = nil
}

// waitRoom holds a server's reader back while the client does not read its
// answers: what they take is bounded so.
func (in *reader) waitRoom() {
	c := in.c
	if !c.server {
		return
	}
	c.mu.Lock()
	for c.out.bytes > 2*c.cfg.MaxBuffered && c.phase == open {
		in.waiting = true
		c.cond.Wait()
	}
	in.waiting = false
	c.mu.Unlock()
}
