package http2

import (
	"golang.org/x/net/http2/hpack"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// decoder reads header blocks. It belongs to the reader. The fields of the block
// at hand are kept in scratch space until they are known to be wanted.
type decoder struct {
	h      *hpack.Decoder
	mem    []byte
	fields []span
	size   int // as SETTINGS_MAX_HEADER_LIST_SIZE counts
	max    int
	count  int
	tooBig bool
}

// span is one field in mem: the name, and the value behind it.
type span struct{ start, value, end int }

func (d *decoder) init(cfg *Config) {
	d.max, d.count = cfg.MaxHeaderBytes, cfg.MaxHeaders
	d.h = hpack.NewDecoder(tableSize, d.emit)
	d.h.SetMaxStringLength(2 * cfg.MaxHeaderBytes)
}

// begin forgets the last block.
func (d *decoder) begin() {
	d.mem, d.fields = d.mem[:0], d.fields[:0]
	d.size, d.tooBig = 0, false
}

// write decodes a piece of the block.
func (d *decoder) write(p []byte) error {
	_, err := d.h.Write(p)
	return err
}

// close ends the block.
func (d *decoder) close() error { return d.h.Close() }

func (d *decoder) emit(f hpack.HeaderField) {
	d.size += len(f.Name) + len(f.Value) + 32
	if d.size > d.max || len(d.fields) >= d.count {
		d.tooBig = true
		return
	}
	start := len(d.mem)
	d.mem = append(append(d.mem, f.Name...), f.Value...)
	d.fields = append(d.fields, span{start, start + len(f.Name), len(d.mem)})
}

// keep gives the fields memory of their own.
func (d *decoder) keep() []http1.Header {
	mem := append(make([]byte, 0, len(d.mem)), d.mem...)
	hs := make([]http1.Header, len(d.fields))
	for i, f := range d.fields {
		hs[i].Name, hs[i].Value = mem[f.start:f.value:f.value], mem[f.value:f.end:f.end]
	}
	return hs
}
