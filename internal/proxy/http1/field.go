package http1

import "math"

// Field marks the fields that the codec itself must know: those about
// framing, routing and the connection.
type Field uint8

// The known fields, and FieldOther for all others.
const (
	fieldUnseen Field = iota // of a Header that no parser of ours made
	FieldOther
	FieldHost
	FieldContentLength
	FieldTransferEncoding
	FieldConnection
	FieldKeepAlive
	FieldProxyConnection
	FieldTE
	FieldTrailer
	FieldUpgrade
	FieldExpect
	FieldHTTP2Settings
	FieldRequestID
)

// Field tells which field this is.
func (h *Header) Field() Field {
	if h.id == fieldUnseen {
		return identify(h.Name)
	}
	return h.id
}

// identify finds the field of a valid name.
func identify(name []byte) Field {
	switch len(name) {
	case 2:
		return when(name, "te", FieldTE)
	case 4:
		return when(name, "host", FieldHost)
	case 6:
		return when(name, "expect", FieldExpect)
	case 7:
		if id := when(name, "upgrade", FieldUpgrade); id != FieldOther {
			return id
		}
		return when(name, "trailer", FieldTrailer)
	case 10:
		if id := when(name, "connection", FieldConnection); id != FieldOther {
			return id
		}
		return when(name, "keep-alive", FieldKeepAlive)
	case 12:
		return when(name, "x-request-id", FieldRequestID)
	case 14:
		if id := when(name, "content-length", FieldContentLength); id != FieldOther {
			return id
		}
		return when(name, "http2-settings", FieldHTTP2Settings)
	case 16:
		return when(name, "proxy-connection", FieldProxyConnection)
	case 17:
		return when(name, "transfer-encoding", FieldTransferEncoding)
	}
	return FieldOther
}

func when(name []byte, lower string, id Field) Field {
	if name[0]|0x20 == lower[0] && equalFold(name, lower) {
		return id
	}
	return FieldOther
}

// facts are bits of what the field lines of one head say.
type facts uint16

const (
	hasHost facts = 1 << iota
	hasLength
	hasChunked
	hasUpgrade
	hasRequestID
	optClose     // Connection: close
	optKeepAlive // Connection: keep-alive
	optUpgrade   // Connection: upgrade
	optOther     // Connection names a field that only forwarding looks for
	teTrailers   // TE: trailers
	expect100    // Expect: 100-continue
)

// maxOptions bounds the Connection options of one head: each is compared with
// each header when the head is forwarded.
const maxOptions = 16

// fields is what one pass over the field lines learns.
type fields struct {
	length    int64
	host      []byte
	upgrade   []byte
	requestID []byte
	options   uint8
	facts     facts
}

func (f *fields) has(x facts) bool { return f.facts&x != 0 }

// parseFields reads field lines (RFC 9112 section 5) from b[i:] up to and with
// the empty line that ends them, and gives the index behind it.
func (f *fields) parseFields(b []byte, i int, hs []Header, limit int) ([]Header, int, error) {
	for {
		if i >= len(b) {
			return hs, 0, ErrMore
		}
		if b[i] == '\r' {
			if i+1 >= len(b) {
				return hs, 0, ErrMore
			}
			if b[i+1] != '\n' {
				return hs, 0, errBareCR
			}
			return hs, i + 2, nil
		}
		start := i
		for i < len(b) && class[b[i]]&isToken != 0 {
			i++
		}
		if i >= len(b) {
			return hs, 0, ErrMore
		}
		if b[i] != ':' || i == start {
			return hs, 0, nameError(b[i], i == start)
		}
		colon := i
		i++
		for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
			i++
		}
		from := i
		i = scanValue(b, i)
		if i >= len(b) {
			return hs, 0, ErrMore
		}
		if b[i] != '\r' {
			return hs, 0, valueError(b[i])
		}
		if i+1 >= len(b) {
			return hs, 0, ErrMore
		}
		if b[i+1] != '\n' {
			return hs, 0, errBareCR
		}
		to := i
		for to > from && (b[to-1] == ' ' || b[to-1] == '\t') {
			to--
		}
		if len(hs) >= limit {
			return hs, 0, errTooManyHeaders
		}
		i += 2
		h := Header{
			Name: b[start:colon:colon], Value: b[from:to:to],
			start: uint32(start), end: uint32(i),
			id:    identify(b[start:colon]),
			plain: from == colon+2 && b[colon+1] == ' ' && to == i-2,
		}
		if h.id != FieldOther {
			if err := f.note(&h); err != nil {
				return hs, 0, err
			}
		}
		hs = append(hs, h)
	}
}

// nameError tells why c can not follow what was read of a field name.
func nameError(c byte, first bool) *ParseError {
	switch c {
	case '\n':
		return errBareLF
	case '\r':
		return errFieldName // a line without a colon
	case ' ', '\t':
		if first {
			return errFold // RFC 9112 section 5.2, and 2.2 before the first line
		}
		return errSpaceColon // RFC 9112 section 5.1
	}
	return errFieldName
}

func valueError(c byte) *ParseError {
	if c == '\n' {
		return errBareLF // RFC 9112 section 2.2
	}
	return errFieldValue // RFC 9110 section 5.5
}

// note takes down what a known field says.
func (f *fields) note(h *Header) error {
	switch h.id {
	case FieldHost:
		if f.has(hasHost) {
			return errHostTwice // RFC 9112 section 3.2
		}
		f.facts |= hasHost
		f.host = h.Value
	case FieldContentLength:
		return f.noteLength(h.Value)
	case FieldTransferEncoding:
		if f.has(hasChunked) {
			return errCodingTwice
		}
		if !equalFold(h.Value, "chunked") {
			return errCoding
		}
		f.facts |= hasChunked
	case FieldConnection:
		return f.noteConnection(h.Value)
	case FieldTE:
		for rest := h.Value; len(rest) > 0; {
			var item []byte
			if item, rest = nextItem(rest); equalFold(item, "trailers") {
				f.facts |= teTrailers
			}
		}
	case FieldTrailer:
		for rest := h.Value; len(rest) > 0; {
			var item []byte
			if item, rest = nextItem(rest); len(item) > 0 && identify(item) != FieldOther {
				return errTrailer // RFC 9110 section 6.5.1
			}
		}
	case FieldUpgrade:
		if f.has(hasUpgrade) || len(h.Value) == 0 {
			return errUpgrade
		}
		f.facts |= hasUpgrade
		f.upgrade = h.Value
	case FieldExpect:
		if equalFold(h.Value, "100-continue") {
			f.facts |= expect100
		}
	case FieldRequestID:
		if !f.has(hasRequestID) && len(h.Value) > 0 {
			f.facts |= hasRequestID
			f.requestID = h.Value
		}
	}
	return nil
}

// noteLength reads Content-Length as 1*DIGIT (RFC 9110 section 8.6). A list of
// equal values, which the RFC lets a recipient repair, is refused.
func (f *fields) noteLength(v []byte) error {
	if f.has(hasLength) {
		return errLengthTwice
	}
	if len(v) == 0 || len(v) > 19 {
		return errLength
	}
	n := uint64(0)
	for _, c := range v {
		if c-'0' > 9 {
			return errLength
		}
		n = n*10 + uint64(c-'0') // at most 19 digits: no overflow
	}
	if n > math.MaxInt64 {
		return errLength
	}
	f.facts |= hasLength
	f.length = int64(n)
	return nil
}

// noteConnection reads the options of a Connection field (RFC 9110 section 7.6.1).
func (f *fields) noteConnection(v []byte) error {
	for rest := v; len(rest) > 0; {
		var item []byte
		item, rest = nextItem(rest)
		switch {
		case len(item) == 0:
			continue // empty list elements are ignored: RFC 9110 section 5.6.1.2
		case equalFold(item, "close"):
			f.facts |= optClose
		case equalFold(item, "keep-alive"):
			f.facts |= optKeepAlive
		case equalFold(item, "upgrade"):
			f.facts |= optUpgrade
		case !all(item, isToken):
			return errConnection
		default:
			f.facts |= optOther
		}
		if f.options++; f.options > maxOptions {
			return errOptions
		}
	}
	return nil
}

// nextItem takes the first element from a comma-separated list.
func nextItem(list []byte) (item, rest []byte) {
	for i, c := range list {
		if c == ',' {
			return trimSpace(list[:i]), list[i+1:]
		}
	}
	return trimSpace(list), nil
}

// keepAlive tells whether the sender will take another message on its
// connection (RFC 9112 section 9.3).
func (f *fields) keepAlive(minor int) bool {
	if minor == 0 {
		return f.has(optKeepAlive) && !f.has(optClose)
	}
	return !f.has(optClose)
}
