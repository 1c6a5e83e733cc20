package http2

import (
	"encoding/binary"
	"sync"

	"golang.org/x/net/http2"
)

const (
	chunkSize   = 32 << 10
	frameHeader = 9 // bytes of a frame before its payload, RFC 9113 section 4.1
)

// chunks are the buffers of all connections, for reading and for writing.
var chunks = sync.Pool{New: func() any { b := make([]byte, 0, chunkSize); return &b }}

func takeChunk() *[]byte { return chunks.Get().(*[]byte) }

func putChunk(b *[]byte) {
	*b = (*b)[:0]
	chunks.Put(b)
}

// outBuffer holds frames on their way to the transport, in pieces of one size
// that come from a pool and go back to it. It is guarded by the connection's
// lock.
type outBuffer struct {
	pieces []*[]byte // all but the last are full
	spare  []*[]byte // the storage of the pieces that were written last
	bytes  int       // in pieces, and in those that are being written
}

// Write is for the Framer.
func (o *outBuffer) Write(b []byte) (int, error) {
	o.write(b)
	return len(b), nil
}

func (o *outBuffer) write(b []byte) {
	o.bytes += len(b)
	for len(b) > 0 {
		p := o.last()
		n := min(len(b), cap(*p)-len(*p))
		*p = append(*p, b[:n]...)
		b = b[n:]
	}
}

// last is the piece that has room.
func (o *outBuffer) last() *[]byte {
	if n := len(o.pieces); n > 0 {
		if p := o.pieces[n-1]; len(*p) < cap(*p) {
			return p
		}
	}
	p := takeChunk()
	o.pieces = append(o.pieces, p)
	return p
}

// frame begins a frame whose payload of n bytes is written next.
func (o *outBuffer) frame(t http2.FrameType, f http2.Flags, id uint32, n int) {
	var h [frameHeader]byte
	h[0], h[1], h[2] = byte(n>>16), byte(n>>8), byte(n)
	h[3], h[4] = byte(t), byte(f)
	binary.BigEndian.PutUint32(h[5:], id)
	if p := o.last(); cap(*p)-len(*p) >= len(h) {
		*p = append(*p, h[:]...)
		o.bytes += len(h)
		return
	}
	o.write(h[:])
}

// data queues a frame of DATA.
func (o *outBuffer) data(id uint32, b []byte, end bool) {
	var f http2.Flags
	if end {
		f = http2.FlagDataEndStream
	}
	o.frame(http2.FrameData, f, id, len(b))
	o.write(b)
}

// headers queues a header block, cut into frames of at most limit bytes.
func (o *outBuffer) headers(id uint32, block []byte, end bool, limit int) {
	t, f := http2.FrameHeaders, http2.Flags(0)
	if end {
		f = http2.FlagHeadersEndStream
	}
	for {
		b := block[:min(len(block), limit)]
		if block = block[len(b):]; len(block) == 0 {
			f |= http2.FlagHeadersEndHeaders // the same bit in CONTINUATION
		}
		o.frame(t, f, id, len(b))
		o.write(b)
		if len(block) == 0 {
			return
		}
		t, f = http2.FrameContinuation, 0
	}
}

func (o *outBuffer) windowUpdate(id, n uint32) { o.word(http2.FrameWindowUpdate, id, n) }

func (o *outBuffer) reset(id uint32, code http2.ErrCode) {
	o.word(http2.FrameRSTStream, id, uint32(code))
}

// word queues a frame whose payload is four bytes.
func (o *outBuffer) word(t http2.FrameType, id, v uint32) {
	o.frame(t, 0, id, 4)
	o.write(binary.BigEndian.AppendUint32(make([]byte, 0, 4), v))
}

func (o *outBuffer) ping(ack bool, payload []byte) {
	var f http2.Flags
	if ack {
		f = http2.FlagPingAck
	}
	o.frame(http2.FramePing, f, 0, len(payload))
	o.write(payload)
}

// take gives what is to be written next to the one who writes.
func (o *outBuffer) take() []*[]byte {
	p := o.pieces
	o.pieces, o.spare = o.spare, nil
	return p
}

// written takes back what take gave, n bytes in all; the pieces themselves are
// in the pool already.
func (o *outBuffer) written(p []*[]byte, n int) {
	clear(p)
	o.spare = p[:0]
	o.bytes -= n
}

// drop forgets what was not written.
func (o *outBuffer) drop() {
	for _, p := range o.pieces {
		putChunk(p)
	}
	*o = outBuffer{}
}
