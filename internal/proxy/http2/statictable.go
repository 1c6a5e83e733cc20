package http2

import (
	"hash/maphash"

	"golang.org/x/net/http2/hpack"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// staticLen is the number of entries of HPACK's static table (RFC 7541 appendix
// A); the dynamic table's indexes begin behind it.
const staticLen = 61

// staticTable is that table, by index; index 0 is no entry. It is read only,
// and so are the slices in it.
var staticTable = func() (t [staticLen + 1]http1.Header) {
	i := 0
	d := hpack.NewDecoder(0, func(f hpack.HeaderField) {
		t[i] = http1.Header{Name: []byte(f.Name), Value: []byte(f.Value)}
	})
	for i = 1; i <= staticLen; i++ {
		if _, err := d.Write([]byte{0x80 | byte(i)}); err != nil {
			panic(err)
		}
	}
	return t
}()

// seed is that of all hashes of fields. It is chosen anew by each process, so
// that nobody can choose fields that collide.
var seed = maphash.MakeSeed()

// hashPair is the hash of a field; hashName is that of its name.
func hashName(name []byte) uint64 { return maphash.Bytes(seed, name) }

func hashPair(name uint64, value []byte) uint64 {
	return (name ^ maphash.Bytes(seed, value)) * 0x9e3779b97f4a7c15
}

// staticIndex finds fields and names in the static table.
var staticIndex = func() (m struct{ pairs, names map[uint64]uint8 }) {
	m.pairs, m.names = map[uint64]uint8{}, map[uint64]uint8{}
	for i := staticLen; i > 0; i-- {
		f := &staticTable[i]
		name := hashName(f.Name)
		m.names[name] = uint8(i)
		m.pairs[hashPair(name, f.Value)] = uint8(i)
	}
	return m
}()
