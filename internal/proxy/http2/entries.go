package http2

// entry is a field in a dynamic table (RFC 7541 section 2.3.2).
type entry struct{ name, value []byte }

// entrySize: RFC 7541 section 4.1.
func entrySize(name, value []byte) uint32 { return uint32(len(name)+len(value)) + 32 }

// entryRing holds the entries of a dynamic table, oldest first. It grows as
// needed: to 128 places, what tableSize has room for.
type entryRing struct {
	places []entry // as many as a power of two
	first  int
	n      int
}

func (r *entryRing) add(e entry) {
	if r.n == len(r.places) {
		bigger := make([]entry, max(2*r.n, 8))
		for i := range r.n {
			bigger[i] = r.places[(r.first+i)&(len(r.places)-1)]
		}
		r.places, r.first = bigger, 0
	}
	r.places[(r.first+r.n)&(len(r.places)-1)] = e
	r.n++
}

// newest gives the entry that has the i-th place, from 0, counted from the
// newest.
func (r *entryRing) newest(i int) *entry {
	return &r.places[(r.first+r.n-1-i)&(len(r.places)-1)]
}

func (r *entryRing) removeOldest() entry {
	p := &r.places[r.first]
	e := *p
	*p = entry{}
	r.first = (r.first + 1) & (len(r.places) - 1)
	r.n--
	return e
}
