package http2

import (
	"bytes"

	"golang.org/x/net/http2/hpack"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// encoder makes header blocks. It is guarded by the connection's lock: blocks
// are queued in the order in which they are made.
type encoder struct {
	h   *hpack.Encoder
	buf bytes.Buffer
}

func (e *encoder) init() { e.h = hpack.NewEncoder(&e.buf) }

// setMax sets the size of the dynamic table that the peer allows.
func (e *encoder) setMax(v uint32) { e.h.SetMaxDynamicTableSize(min(v, tableSize)) }

// block encodes fields; the result is valid until the next call.
func (e *encoder) block(fields []http1.Header) []byte {
	e.buf.Reset()
	for i := range fields {
		f := &fields[i]
		_ = e.h.WriteField(hpack.HeaderField{Name: string(f.Name), Value: string(f.Value)})
	}
	return e.buf.Bytes()
}
