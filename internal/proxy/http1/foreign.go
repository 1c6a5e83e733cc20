package http1

// This file is for messages that came by another version of HTTP and are spoken
// of in the types of this package: they were not parsed here, so what Parse
// ensures must be asked for.

// Identify marks hs, so that Field knows them without another look at their
// names. hs must not be in use by anybody else.
func Identify(hs []Header) {
	for i := range hs {
		hs[i].id = identify(hs[i].Name)
	}
}

// ValidToken tells whether b may be a method, a field name or the name of a
// protocol (RFC 9110 section 5.6.2).
func ValidToken(b []byte) bool { return all(b, isToken) }

// ValidValue tells whether b may be the value of a field: no control characters
// but HTAB, and no white space at either end (RFC 9110 section 5.5).
func ValidValue(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	first, last := b[0], b[len(b)-1]
	return first != ' ' && first != '\t' && last != ' ' && last != '\t' && scanValue(b, 0) == len(b)
}

// ValidAuthority tells whether b is host [":" port] as Parse takes it.
func ValidAuthority(b []byte) bool {
	_, ok := validAuthority(b)
	return ok
}

// SplitPort takes a valid authority apart; port is empty where there is none.
func SplitPort(authority []byte) (host, port []byte) { return splitPort(authority) }

// ValidPath tells whether b is a path and query in origin-form, as Parse takes
// it.
func ValidPath(b []byte) bool {
	if len(b) == 0 || b[0] != '/' {
		return false
	}
	for i := 0; ; i++ {
		for i < len(b) && class[b[i]]&isPath != 0 {
			i++
		}
		switch {
		case i == len(b):
			return true
		case b[i] == '?':
			return i+1 == len(b) || all(b[i+1:], isQuery)
		case b[i] != '%' || i+2 >= len(b) || class[b[i+1]]&class[b[i+2]]&isHex == 0:
			return false
		}
		i += 2
	}
}

// ValidTrailer tells whether a ChunkReader takes a field of this name, which is
// a token, in a trailer section.
func ValidTrailer(name []byte) bool { return trailerAllowed(name) == nil }

// EqualFold compares a name or token with lower, which must be in lower case.
func EqualFold(b []byte, lower string) bool { return equalFold(b, lower) }

// EndToEnd tells whether h, one of r.Headers, goes along when the request is
// forwarded, whatever the version: not those about the connection, those that
// Connection names, Host, which the forwarded authority replaces, and TE, which
// is restated from TETrailers (RFC 9110 section 7.6.1).
func (r *Request) EndToEnd(h *Header) bool {
	drop := dropRequest
	if r.Minor == 0 {
		drop |= 1 << FieldExpect // RFC 9110 section 10.1.1
	}
	return endToEnd(h, r.Headers, &r.f, drop)
}

// EndToEnd tells whether h, one of r.Headers, goes along when the response is
// forwarded, whatever the version.
func (r *Response) EndToEnd(h *Header) bool {
	drop := dropResponse
	if r.Status < 200 || r.Status == 204 || r.Tunnel {
		drop |= 1 << FieldContentLength // RFC 9110 section 8.6
	}
	return endToEnd(h, r.Headers, &r.f, drop)
}

func endToEnd(h *Header, hs []Header, f *fields, drop uint32) bool {
	return drop&(1<<h.Field()) == 0 && (!f.has(optOther) || !droppable(h) || !namedByConnection(hs, h.Name))
}

// AppendLine appends the field as a line of a head.
func (h *Header) AppendLine(dst []byte) []byte {
	dst = append(dst, h.Name...)
	dst = append(dst, ": "...)
	dst = append(dst, h.Value...)
	return append(dst, "\r\n"...)
}

// AppendStatusLine appends a status line with the usual reason phrase.
func AppendStatusLine(dst []byte, status int) []byte {
	dst = appendStatus(dst, status)
	dst = append(dst, StatusText(status)...)
	return append(dst, "\r\n"...)
}
