package http2

// Classes of bytes, as bits of class.
const (
	isToken = 1 << iota // tchar, RFC 9110 section 5.6.2
	isLower             // tchar that is no upper-case letter, RFC 9113 section 8.2.1
	isValue             // field-vchar, SP, HTAB: RFC 9110 section 5.5
	isPath              // may stand in a path
	isQuery             // may stand behind the first question mark
	isHost              // unreserved, RFC 3986 section 2.3: what a host name may hold
	isHex               // HEXDIG
	isAlnum
)

// class tells for each byte where it may stand. It draws the same lines as
// package http1: what passes here can be forwarded there.
var class = func() (t [256]uint8) {
	for c := 0x21; c < 0x7f; c++ {
		t[c] |= isValue | isPath | isQuery
	}
	for c := 0x80; c < 0x100; c++ {
		t[c] |= isValue
	}
	t[' '] |= isValue
	t['\t'] |= isValue
	t['#'] &^= isPath | isQuery
	for _, c := range []byte(`\%?`) {
		t[c] &^= isPath
	}
	for _, c := range []byte("!#$%&'*+-.^_`|~") {
		t[c] |= isToken | isLower
	}
	for _, c := range []byte("-._~") {
		t[c] |= isHost
	}
	for c := byte('0'); c <= '9'; c++ {
		t[c] |= isToken | isLower | isHost | isHex | isAlnum
	}
	for c := byte('a'); c <= 'z'; c++ {
		t[c] |= isToken | isLower | isHost | isAlnum
		t[c-'a'+'A'] |= isToken | isHost | isAlnum
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

// validPath tells whether b is a path and query that begin with "/".
func validPath(b []byte) bool {
	if len(b) == 0 || b[0] != '/' {
		return false
	}
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case class[c]&isPath != 0:
		case c == '?':
			return len(b) == i+1 || all(b[i+1:], isQuery)
		case c == '%':
			if i+2 >= len(b) || class[b[i+1]]&isHex == 0 || class[b[i+2]]&isHex == 0 {
				return false // RFC 3986 section 2.1
			}
			i += 2
		default:
			return false
		}
	}
	return true
}

// authorityPort tells whether b is host [":" port], and where the port begins
// (len(b) when there is none). A host is a name of unreserved characters, an
// IPv4 address, or an IPv6 address in brackets.
func authorityPort(b []byte) (port int, ok bool) {
	i := 0
	if len(b) > 0 && b[0] == '[' {
		i = literalEnd(b)
	} else {
		for i < len(b) && class[b[i]]&isHost != 0 {
			i++
		}
	}
	switch {
	case i == 0:
		return 0, false
	case i == len(b):
		return i, true
	case b[i] != ':' || !validPort(b[i+1:]):
		return 0, false
	}
	return i + 1, true
}

// literalEnd gives the index behind a bracketed IPv6 address, 0 if it is none.
func literalEnd(b []byte) int {
	colons := 0
	for i := 1; i < len(b) && i < 48; i++ {
		switch c := b[i]; {
		case c == ':':
			colons++
		case c == ']':
			if colons < 2 || colons > 7 {
				return 0
			}
			return i + 1
		case c != '.' && class[c]&isHex == 0:
			return 0
		}
	}
	return 0
}

// validPort tells whether b is a number from 1 to 65535 without leading zero.
func validPort(b []byte) bool {
	if len(b) == 0 || len(b) > 5 || b[0] == '0' {
		return false
	}
	n := 0
	for _, c := range b {
		if c-'0' > 9 {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return n <= 65535
}
