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

// encoderSlots finds entries, by number, for hashes. Of more than four that fall
// together the oldest is lost, which costs bytes, no more.
type encoderSlots struct {
	pairs [64]ways
	names [32]ways
	seen  [64]ways // hashes of what came once
}

// ways are what falls together, the newest first.
type ways [4]uint32

func (w *ways) push(v uint32) { w[0], w[1], w[2], w[3] = v, w[0], w[1], w[2] }

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
		e.field(&fields[i])
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

func (e *encoder) field(f *http1.Header) {
	name, value := f.Name, f.Value
	hn := hashName(name)
	if f.Sensitive || neverIndexed(name, value) {
		e.literal(0x10, 4, hn, name, value)
		return
	}
	h := hashPair(hn, value)
	pairs := &e.slots.pairs[h>>58]
	if i := e.findPair(pairs, name, value); i > 0 {
		e.buf = appendInt(e.buf, 0x80, 7, i)
		return
	}
	if i, ok := staticIndex.pairs[h]; ok {
		if f := &staticTable[i]; bytes.Equal(f.Value, value) && bytes.Equal(f.Name, name) {
			e.buf = appendInt(e.buf, 0x80, 7, uint32(i))
			return
		}
	}
	seen, print := &e.slots.seen[h>>58], uint32(h)
	switch {
	case seen[0] != print && seen[1] != print && seen[2] != print && seen[3] != print:
		seen.push(print)
		e.literal(0, 4, hn, name, value)
	case entrySize(name, value) > e.max/2:
		e.literal(0, 4, hn, name, value)
	default:
		e.literal(0x40, 6, hn, name, value)
		e.enter(name, value)
		pairs.push(e.entered)
		e.slots.names[hn>>59].push(e.entered)
	}
}

// findPair gives the index of a field in the dynamic table, 0 when it is not
// there.
func (e *encoder) findPair(w *ways, name, value []byte) uint32 {
	for _, number := range w {
		if f, i := e.live(number); f != nil && bytes.Equal(f.value, value) && bytes.Equal(f.name, name) {
			return i
		}
	}
	return 0
}

// findName gives the index of a field with this name, 0 when there is none.
func (e *encoder) findName(hn uint64, name []byte) uint32 {
	if i, ok := staticIndex.names[hn]; ok && bytes.Equal(staticTable[i].Name, name) {
		return uint32(i)
	}
	for _, number := range e.slots.names[hn>>59] {
		if f, i := e.live(number); f != nil && bytes.Equal(f.name, name) {
			return i
		}
	}
	return 0
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
	index := e.findName(hn, name)
	e.buf = appendInt(e.buf, kind, prefix, index)
	if index == 0 {
		e.buf = append(appendInt(e.buf, 0, 7, uint32(len(name))), name...)
	}
	e.buf = append(appendInt(e.buf, 0, 7, uint32(len(value))), value...)
}

// neverIndexed tells which values must not be put in any table on the way, also
// where their sender did not say so: who can choose other fields of the same
// connection could guess them (RFC 7541 section 7.1.3).
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
