package http2

import (
	"bytes"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// encoder makes header blocks (RFC 7541). It is guarded by the connection's
// lock: blocks are queued in the order in which they are made.
//
// It is not hpack.Encoder because of what that costs a proxy: it takes strings
// and keeps them, so that each field of each message would have to be copied,
// and it puts every value in the table, those that never come again too. Here a
// value is put in the table when it comes the second time, and the table keeps
// copies of its own. Strings are not Huffman coded: on the short way to the
// next hop the bytes saved cost more time, on both ends, than they are worth.
type encoder struct {
	buf []byte // the block at hand

	max    uint32 // what the peer allows, at most tableSize
	size   uint32
	least  uint32 // the least max since the last block
	resize bool   // the peer is to be told of max

	table   entryRing
	entered uint32 // entries ever put in the table; the newest has this number
	slots   *encoderSlots
}

// encoderSlots finds the entry, by number, for a hash. A collision loses the
// older entry, which costs bytes, no more.
type encoderSlots struct {
	pairs [256]uint32
	names [64]uint32
	seen  [256]uint32 // what came once
}

func (e *encoder) init() { e.max, e.least = tableSize, tableSize }

// setMax sets the size of the dynamic table that the peer allows (RFC 7541
// section 4.2).
func (e *encoder) setMax(v uint32) {
	e.max = min(v, tableSize)
	e.least = min(e.least, e.max)
	e.resize = true
	e.evict(0)
}

// evict makes room for n bytes.
func (e *encoder) evict(n uint32) {
	for e.size > 0 && e.size+n > e.max {
		old := e.table.removeOldest()
		e.size -= entrySize(old.name, old.value)
	}
}

// block encodes fields; the result is valid until the next call.
func (e *encoder) block(fields []http1.Header) []byte {
	if e.slots == nil {
		e.slots = &encoderSlots{}
	}
	e.buf = e.buf[:0]
	if e.resize {
		if e.least < e.max {
			e.buf = appendInt(e.buf, 0x20, 5, e.least)
		}
		e.buf = appendInt(e.buf, 0x20, 5, e.max)
		e.least, e.resize = tableSize, false
	}
	for i := range fields {
		e.field(fields[i].Name, fields[i].Value)
	}
	if cap(e.buf) > maxScratch {
		b := e.buf
		e.buf = nil
		return b
	}
	return e.buf
}

// maxScratch is how much space a connection keeps between header blocks.
const maxScratch = 8 << 10

func (e *encoder) field(name, value []byte) {
	hn := hashName(name)
	h := hashPair(hn, value)
	pair := &e.slots.pairs[uint8(h>>56)]
	if f, i := e.live(*pair); f != nil && bytes.Equal(f.value, value) && bytes.Equal(f.name, name) {
		e.buf = appendInt(e.buf, 0x80, 7, i)
		return
	}
	if i, ok := staticIndex.pairs[h]; ok {
		if f := &staticTable[i]; bytes.Equal(f.Value, value) && bytes.Equal(f.Name, name) {
			e.buf = appendInt(e.buf, 0x80, 7, uint32(i))
			return
		}
	}
	seen := &e.slots.seen[uint8(h>>48)]
	switch print := uint32(h) | 1; {
	case neverIndexed(name, value):
		e.literal(0x10, 4, hn, name, value)
	case *seen != print:
		*seen = print
		e.literal(0, 4, hn, name, value)
	case entrySize(name, value) > e.max/2:
		e.literal(0, 4, hn, name, value)
	default:
		e.literal(0x40, 6, hn, name, value)
		e.enter(name, value)
		*pair = e.entered
		e.slots.names[uint8(hn>>58)] = e.entered
	}
}

// live gives an entry by its number, and its index; nil when it has left.
func (e *encoder) live(number uint32) (f *entry, index uint32) {
	age := e.entered - number
	if number == 0 || age >= uint32(e.table.n) {
		return nil, 0
	}
	return e.table.newest(int(age)), staticLen + 1 + age
}

// enter puts a field in the table.
func (e *encoder) enter(name, value []byte) {
	n := entrySize(name, value)
	e.evict(n)
	mem := append(append(make([]byte, 0, len(name)+len(value)), name...), value...)
	e.table.add(entry{name: mem[:len(name):len(name)], value: mem[len(name):]})
	e.size += n
	e.entered++
}

// literal: RFC 7541 sections 6.2.1 to 6.2.3. kind is the bits of the form, and
// prefix how many bits are left for the index of the name.
func (e *encoder) literal(kind byte, prefix uint8, hn uint64, name, value []byte) {
	index := uint32(0)
	if i, ok := staticIndex.names[hn]; ok && bytes.Equal(staticTable[i].Name, name) {
		index = uint32(i)
	} else if f, i := e.live(e.slots.names[uint8(hn>>58)]); f != nil && bytes.Equal(f.name, name) {
		index = i
	}
	e.buf = appendInt(e.buf, kind, prefix, index)
	if index == 0 {
		e.buf = append(appendInt(e.buf, 0, 7, uint32(len(name))), name...)
	}
	e.buf = append(appendInt(e.buf, 0, 7, uint32(len(value))), value...)
}

// neverIndexed tells which values must not be put in any table on the way: who
// can choose other fields of the same connection could guess them (RFC 7541
// section 7.1.3).
func neverIndexed(name, value []byte) bool {
	switch string(name) {
	case "authorization", "proxy-authorization":
		return true
	case "cookie":
		return len(value) < 20
	}
	return false
}

// appendInt: RFC 7541 section 5.1.
func appendInt(b []byte, kind byte, prefix uint8, v uint32) []byte {
	limit := uint32(1)<<prefix - 1
	if v < limit {
		return append(b, kind|byte(v))
	}
	b = append(b, kind|byte(limit))
	for v -= limit; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}
