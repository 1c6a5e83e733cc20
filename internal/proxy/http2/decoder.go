package http2

import (
	"bytes"
	"errors"

	"golang.org/x/net/http2/hpack"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// decoder reads header blocks (RFC 7541). It belongs to the reader.
//
// It is not hpack.Decoder, which makes a string of each literal: here a field
// that stands in a table is told by slices of the table's memory, which is
// never written again, and the literals of a block get one piece of memory
// together. So a message of recurring fields costs one allocation.
type decoder struct {
	mem    []byte         // the literals of the block at hand that are in no table
	fields []decodedField // of the block at hand
	size   int            // as SETTINGS_MAX_HEADER_LIST_SIZE counts
	tooBig bool

	maxSize, maxFields int // bounds of size and fields

	table     entryRing
	tableUsed uint32
	tableMax  uint32
	literal   bytes.Buffer // a string that is Huffman coded
}

// decodedField has each of its parts either in a table, or, where that is nil,
// in mem.
type decodedField struct {
	name, value    []byte
	nameAt, nameTo int
	valAt, valTo   int
	sensitive      bool // never to be in a table
}

var (
	errIndex   = errors.New("an index without an entry")
	errInteger = errors.New("an integer too large")
	errShort   = errors.New("a block that ends early")
	errUpdate  = errors.New("a table size update that is too large, not at the start, or the third")
)

func (d *decoder) init(cfg *Config) {
	d.maxSize, d.maxFields = cfg.MaxHeaderBytes, cfg.MaxHeaders
	d.tableMax = tableSize
}

// decode reads a whole block. It reads on when the block is too big, for the
// table's sake, but keeps no more fields.
func (d *decoder) decode(b []byte) error {
	d.mem, d.fields = d.mem[:0], d.fields[:0]
	d.size, d.tooBig = 0, false
	updates, begun := 0, false
	for len(b) > 0 {
		var err error
		switch c := b[0]; {
		case c&0x80 != 0: // section 6.1
			b, err = d.indexed(b)
			begun = true
		case c&0xc0 == 0x40: // section 6.2.1
			b, err = d.literalField(b, 6, true)
			begun = true
		case c&0xe0 == 0x20: // section 6.3
			if updates++; begun || updates > 2 { // section 4.2
				return errUpdate
			}
			b, err = d.update(b)
		default: // sections 6.2.2 and 6.2.3
			b, err = d.literalField(b, 4, false)
			if n := len(d.fields); err == nil && c&0x10 != 0 && n > 0 {
				d.fields[n-1].sensitive = true
			}
			begun = true
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) update(b []byte) ([]byte, error) {
	v, b, err := readInt(b, 5)
	if err != nil {
		return nil, err
	}
	if v > tableSize {
		return nil, errUpdate
	}
	d.tableMax = v
	d.evict(0)
	return b, nil
}

func (d *decoder) evict(n uint32) {
	for d.tableUsed > 0 && d.tableUsed+n > d.tableMax {
		old := d.table.removeOldest()
		d.tableUsed -= entrySize(old.name, old.value)
	}
}

// at gives the entry of an index.
func (d *decoder) at(i uint32) (name, value []byte, err error) {
	switch {
	case i == 0:
	case i <= staticLen:
		f := &staticTable[i]
		return f.Name, f.Value, nil
	case i-staticLen-1 < uint32(d.table.n):
		e := d.table.newest(int(i - staticLen - 1))
		return e.name, e.value, nil
	}
	return nil, nil, errIndex
}

func (d *decoder) indexed(b []byte) ([]byte, error) {
	i, b, err := readInt(b, 7)
	if err != nil {
		return nil, err
	}
	name, value, err := d.at(i)
	if err == nil && d.counts(len(name)+len(value)) {
		d.fields = append(d.fields, decodedField{name: name, value: value})
	}
	return b, err
}

// counts counts a field of n bytes, and tells whether it is kept.
func (d *decoder) counts(n int) bool {
	d.size += n + 32
	if d.size > d.maxSize || len(d.fields) >= d.maxFields {
		d.tooBig = true
	}
	return !d.tooBig
}

// literalField reads a literal; enter: it goes into the table.
func (d *decoder) literalField(b []byte, prefix uint8, enter bool) ([]byte, error) {
	i, b, err := readInt(b, prefix)
	if err != nil {
		return nil, err
	}
	start := len(d.mem)
	f := decodedField{nameAt: start}
	if i > 0 {
		if f.name, _, err = d.at(i); err != nil {
			return nil, err
		}
	} else if b, err = d.readString(b); err != nil {
		return nil, err
	}
	f.nameTo, f.valAt = len(d.mem), len(d.mem)
	if b, err = d.readString(b); err != nil {
		return nil, err
	}
	f.valTo = len(d.mem)
	n := f.valTo - f.nameAt + len(f.name)
	if enter {
		d.own(&f)
		d.enter(f.name, f.value)
	}
	if kept := d.counts(n); kept {
		d.fields = append(d.fields, f)
		if !enter {
			return b, nil
		}
	}
	d.mem = d.mem[:start]
	return b, nil
}

// own gives a field memory for the table: that of the same field, where one of
// the last entries is it (some servers enter the same fields with each answer),
// otherwise new one.
func (d *decoder) own(f *decodedField) {
	name, value := f.name, d.mem[f.valAt:f.valTo]
	if name == nil {
		name = d.mem[f.nameAt:f.nameTo]
	}
	for i := range min(d.table.n, ownLook) {
		if e := d.table.newest(i); bytes.Equal(e.value, value) && bytes.Equal(e.name, name) {
			f.name, f.value = e.name, e.value
			return
		}
	}
	if f.name == nil {
		f.name = bytes.Clone(name)
	}
	f.value = append(make([]byte, 0, len(value)), value...)
}

// ownLook is how many entries own looks at.
const ownLook = 8

// enter puts a field in the table (RFC 7541 section 4.4). Name and value are
// memory of their own each: an entry that shares an older one's name must not
// keep that one's value.
func (d *decoder) enter(name, value []byte) {
	n := entrySize(name, value)
	d.evict(n)
	if n > d.tableMax {
		return
	}
	d.table.add(entry{name, value})
	d.tableUsed += n
}

// readString appends a string to mem (RFC 7541 section 5.2).
func (d *decoder) readString(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, errShort
	}
	huffman := b[0]&0x80 != 0
	n, b, err := readInt(b, 7)
	if err != nil {
		return nil, err
	}
	if uint64(n) > uint64(len(b)) {
		return nil, errShort
	}
	if !huffman {
		d.mem = append(d.mem, b[:n]...)
		return b[n:], nil
	}
	d.literal.Reset()
	if _, err := hpack.HuffmanDecode(&d.literal, b[:n]); err != nil {
		return nil, err
	}
	d.mem = append(d.mem, d.literal.Bytes()...)
	return b[n:], nil
}

// readInt: RFC 7541 section 5.1. Nothing here needs more than 28 bits.
func readInt(b []byte, prefix uint8) (v uint32, rest []byte, err error) {
	if len(b) == 0 {
		return 0, nil, errShort
	}
	limit := uint32(1)<<prefix - 1
	v = uint32(b[0]) & limit
	b = b[1:]
	if v < limit {
		return v, b, nil
	}
	for shift := uint(0); shift < 28; shift += 7 {
		if len(b) == 0 {
			return 0, nil, errShort
		}
		c := b[0]
		b = b[1:]
		v += uint32(c&0x7f) << shift
		if c < 0x80 {
			return v, b, nil
		}
	}
	return 0, nil, errInteger
}

// keep gives the fields to a message: literals get memory of their own, and all
// slices are cut so that none can grow into another.
func (d *decoder) keep() []http1.Header {
	var mem []byte
	if len(d.mem) > 0 {
		mem = append(make([]byte, 0, len(d.mem)), d.mem...)
	}
	hs := make([]http1.Header, len(d.fields))
	for i := range d.fields {
		f, h := &d.fields[i], &hs[i]
		h.Sensitive = f.sensitive
		if h.Name = f.name; h.Name == nil {
			h.Name = mem[f.nameAt:f.nameTo:f.nameTo]
		}
		if h.Value = f.value; h.Value == nil {
			h.Value = mem[f.valAt:f.valTo:f.valTo]
		}
	}
	if cap(d.mem) > maxScratch {
		d.mem = nil
	}
	if d.literal.Cap() > maxScratch {
		d.literal = bytes.Buffer{}
	}
	return hs
}
