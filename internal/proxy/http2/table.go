package http2

// Classes of bytes, as bits of class.
const (
	isToken = 1 << iota // tchar, RFC 9110 section 5.6.2
	isLower             // tchar that is no upper-case letter, RFC 9113 section 8.2.1
	isValue             // field-vchar, SP, HTAB: RFC 9110 section 5.5
	isAlnum
)

// class tells for each byte where it may stand. It draws the same lines as
// package http1, which judges paths and authorities: what passes here can be
// forwarded there.
var class = func() (t [256]uint8) {
	for c := 0x21; c < 0x7f; c++ {
		t[c] |= isValue
	}
	for c := 0x80; c < 0x100; c++ {
		t[c] |= isValue
	}
	t[' '] |= isValue
	t['\t'] |= isValue
	for _, c := range []byte("!#$%&'*+-.^_`|~") {
		t[c] |= isToken | isLower
	}
	for c := byte('0'); c <= '9'; c++ {
		t[c] |= isToken | isLower | isAlnum
	}
	for c := byte('a'); c <= 'z'; c++ {
		t[c] |= isToken | isLower | isAlnum
		t[c-'a'+'A'] |= isToken | isAlnum
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

// validValue tells whether b is a field value as RFC 9113 section 8.2.1 has it,
// and RFC 9110 section 5.5: no control characters, no white space at the ends.
func validValue(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if c := b[0]; c == ' ' || c == '\t' {
		return false
	}
	if c := b[len(b)-1]; c == ' ' || c == '\t' {
		return false
	}
	return all(b, isValue)
}

// validScheme: RFC 3986 section 3.1.
func validScheme(b []byte) bool {
	for i, c := range b {
		switch {
		case class[c]&isAlnum != 0 && (i > 0 || c > '9'):
		case i > 0 && (c == '+' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return len(b) > 0
}
