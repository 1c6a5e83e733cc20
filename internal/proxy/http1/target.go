package http1

// scanTarget finds the end of the path and query that begin at b[i]. A target
// ends at the SP behind it; ErrMore when there is none yet.
func scanTarget(b []byte, i int) (end int, err error) {
	for i < len(b) && class[b[i]]&isPath != 0 {
		i++
	}
	for i < len(b) {
		switch c := b[i]; {
		case c == ' ':
			return i, nil
		case c == '?':
			for i < len(b) && class[b[i]]&isQuery != 0 {
				i++
			}
			if i < len(b) && b[i] != ' ' {
				return 0, targetError(b[i])
			}
			continue
		case c == '%':
			// RFC 3986 section 2.1. In a query, where nobody decodes before
			// routing and clients do send bare percent signs, all is let pass.
			if i+1 < len(b) && class[b[i+1]]&isHex == 0 || i+2 < len(b) && class[b[i+2]]&isHex == 0 {
				return 0, errEncoding
			}
			if i+2 >= len(b) {
				return 0, ErrMore
			}
			i += 3
		case class[c]&isPath != 0:
			i++
		default:
			return 0, targetError(c)
		}
	}
	return 0, ErrMore
}

func targetError(c byte) *ParseError {
	switch c {
	case '#':
		return errFragment
	case '\n':
		return errBareLF
	}
	return errTarget
}

// validAuthority tells whether b is host [":" port] as the Host field and
// targets have it (RFC 9110 section 7.2, RFC 3986 section 3.2), and where the
// port begins (len(b) when there is none). A host is a name of unreserved
// characters, an IPv4 address, or an IPv6 address in brackets. Of what RFC 3986
// allows, percent-encoding, sub-delimiters and an empty port are refused: no
// name that is looked up has them, and parsers differ over them.
func validAuthority(b []byte) (port int, ok bool) {
	i := 0
	if len(b) > 0 && b[0] == '[' {
		if i = literalEnd(b); i == 0 {
			return 0, false
		}
	} else {
		for i < len(b) && class[b[i]]&isHost != 0 {
			i++
		}
	}
	if i == 0 {
		return 0, false
	}
	if i == len(b) {
		return i, true
	}
	if b[i] != ':' || !validPort(b[i+1:]) {
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

// sameAuthority tells whether two valid authorities name the same place when
// the port, where it is left out, is defaultPort.
func sameAuthority(a, b []byte, defaultPort string) bool {
	ah, ap := splitPort(a)
	bh, bp := splitPort(b)
	if !equalFoldBytes(ah, bh) {
		return false
	}
	switch {
	case len(ap) == 0 && len(bp) == 0:
		return true
	case len(ap) == 0:
		return string(bp) == defaultPort
	case len(bp) == 0:
		return string(ap) == defaultPort
	}
	return string(ap) == string(bp)
}

func splitPort(b []byte) (host, port []byte) {
	for i := len(b) - 1; i >= 0 && class[b[i]]&isDigit != 0 || i >= 0 && b[i] == ':'; i-- {
		if b[i] == ':' {
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}
