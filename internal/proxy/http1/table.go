package http1

import (
	"encoding/binary"
	"math/bits"
)

// Classes of bytes, as bits of class.
const (
	isToken  = 1 << iota // tchar, RFC 9110 section 5.6.2
	isValue              // field-vchar, SP, HTAB: RFC 9110 section 5.5
	isPath               // may stand in the path of a target
	isQuery              // may stand behind the first question mark of a target
	isHost               // unreserved, RFC 3986 section 2.3: what a host name may hold
	isDigit              // DIGIT
	isHex                // HEXDIG
	isQuoted             // qdtext in ASCII, RFC 9110 section 5.6.4
)

// class tells for each byte where it may stand.
//
// Targets: RFC 3986 allows less than what every client sends. As the WHATWG URL
// standard serialises them, characters such as | and {} go unencoded, so all of
// visible ASCII passes, except '#' (a fragment is never sent, RFC 9112 section
// 3.2) and, in a path, '\', which some servers take for '/'. Bytes from 0x80
// are refused. '%' is no member: it is checked by itself.
var class = func() (t [256]uint8) {
	for c := 0x21; c < 0x7f; c++ {
		t[c] |= isValue | isQuoted | isPath | isQuery
	}
	for c := 0x80; c < 0x100; c++ {
		t[c] |= isValue
	}
	for _, c := range []byte(" \t") {
		t[c] |= isValue | isQuoted
	}
	for _, c := range []byte(`"\`) {
		t[c] &^= isQuoted
	}
	t['#'] &^= isPath | isQuery
	for _, c := range []byte(`\%?`) {
		t[c] &^= isPath
	}
	for _, c := range []byte("!#$%&'*+-.^_`|~") {
		t[c] |= isToken
	}
	for _, c := range []byte("-._~") {
		t[c] |= isHost
	}
	for c := byte('0'); c <= '9'; c++ {
		t[c] |= isToken | isHost | isDigit | isHex
	}
	for c := byte('a'); c <= 'z'; c++ {
		t[c] |= isToken | isHost
		t[c-'a'+'A'] |= isToken | isHost
	}
	for c := byte('a'); c <= 'f'; c++ {
		t[c] |= isHex
		t[c-'a'+'A'] |= isHex
	}
	return t
}()

// all tells whether b is not empty and every byte of it is in class bit.
func all(b []byte, bit uint8) bool {
	for _, c := range b {
		if class[c]&bit == 0 {
			return false
		}
	}
	return len(b) > 0
}

// scanValue gives the index of the first byte from i on that may not stand in
// a field value (in a head without faults: the CR that ends it), or len(b). It
// looks at eight bytes at a time.
func scanValue(b []byte, i int) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x80 * ones
	)
	for {
		for i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			del := w ^ 0x7f*ones
			// The lowest marked byte is exact; those above may be marked by a
			// borrow, which does not matter.
			m := ((w-0x20*ones)&^w | (del-ones)&^del) & highs
			if m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		for i < len(b) && class[b[i]]&isValue != 0 {
			i++
			if i+8 <= len(b) && b[i-1] == '\t' {
				break
			}
		}
		if i >= len(b) || class[b[i]]&isValue == 0 {
			return i
		}
	}
}

// equalFold compares a name or token with lower, which is in lower case.
// Setting the bit 0x20 folds letters; a byte that it would turn into another
// character of lower is no tchar, so it can not be in a valid name.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range b {
		c := b[i]
		if c-'A' < 26 {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// equalFoldBytes compares two names of any case.
func equalFoldBytes(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if x-'A' < 26 {
			x |= 0x20
		}
		if y-'A' < 26 {
			y |= 0x20
		}
		if x != y {
			return false
		}
	}
	return true
}

// trimSpace removes optional white space (SP and HTAB) from both ends.
func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
