package http1

// Response is the head of one response. The zero value is ready for Parse; a
// Response is reused and keeps its capacity. Slices are valid while the parsed
// buffer is.
type Response struct {
	// Minor is 1 for HTTP/1.1 and 0 for HTTP/1.0.
	Minor int
	// Status is from 100 to 999.
	Status int
	// Reason is the reason phrase as sent, often empty.
	Reason []byte
	// Headers are all field lines in their order, those about the connection
	// included. They are not to be changed.
	Headers []Header
	Body    Body
	// KeepAlive: the server will take another request on its connection once
	// this response has ended.
	KeepAlive bool
	// Upgrade is the protocol that a 101 switches to, or that a 426 asks for.
	Upgrade []byte
	// Informational: a 1xx other than 101; the final response is still to come.
	Informational bool
	// Tunnel: what follows the head is no longer HTTP: a 101, or a 2xx to
	// CONNECT.
	Tunnel bool

	buf []byte
	f   fields
}

// Parse reads the head at the start of buf and gives its length. What a
// response means depends on its request: reqMethodHead and reqConnect say
// whether that was HEAD or CONNECT. ErrMore while it is not complete; a
// *ParseError when it is not acceptable, and the connection that brought it can
// not be used again.
func (r *Response) Parse(buf []byte, reqMethodHead, reqConnect bool, lim *Limits) (n int, err error) {
	limit := lim.headBytes()
	b := buf
	if len(b) > limit {
		b = b[:limit]
	}
	r.Headers = r.Headers[:0]
	r.f = fields{}
	n, err = r.parse(b, lim.headers())
	if err != nil {
		if err == ErrMore && len(b) >= limit { //nolint:errorlint // identity, on the hot path
			return 0, errHeadTooLarge
		}
		return 0, err
	}
	if err = r.interpret(reqMethodHead, reqConnect); err != nil {
		return 0, err
	}
	r.buf = b[:n]
	return n, nil
}

func (r *Response) parse(b []byte, maxHeaders int) (int, error) {
	i, err := r.parseLine(b)
	if err != nil {
		return 0, err
	}
	r.Headers, i, err = r.f.parseFields(b, i, r.Headers, maxHeaders)
	return i, err
}

// parseLine reads the status line (RFC 9112 section 4). The SP behind the
// status may be left out with the reason, as many servers do; nothing else can
// be meant by it.
func (r *Response) parseLine(b []byte) (int, error) {
	minor, i, err := parseVersion(b, 0)
	if err != nil {
		return 0, err
	}
	r.Minor = minor
	if i >= len(b) {
		return 0, ErrMore
	}
	if b[i] != ' ' {
		return 0, errStatusLine
	}
	i++
	status := 0
	for end := i + 3; i < end; i++ {
		if i >= len(b) {
			return 0, ErrMore
		}
		c := b[i] - '0'
		if c > 9 {
			return 0, errStatusCode
		}
		status = status*10 + int(c)
	}
	if status < 100 {
		return 0, errStatusCode
	}
	r.Status = status
	if i >= len(b) {
		return 0, ErrMore
	}
	start := i
	switch b[i] {
	case ' ':
		start = i + 1
		i = scanValue(b, start)
	case '\r', '\n':
	default:
		return 0, errStatusCode
	}
	switch {
	case i >= len(b):
		return 0, ErrMore
	case b[i] == '\n':
		return 0, errBareLF
	case b[i] != '\r':
		return 0, errStatusLine
	case i+1 >= len(b):
		return 0, ErrMore
	case b[i+1] != '\n':
		return 0, errBareCR
	}
	r.Reason = b[start:i:i]
	return i + 2, nil
}

// interpret draws the conclusions from the status line, the fields and the
// request together (RFC 9112 section 6.3).
func (r *Response) interpret(head, connect bool) error {
	f := &r.f
	if f.has(hasChunked) {
		if f.has(hasLength) {
			return errLengthAndCoding
		}
		if r.Minor == 0 {
			return errCodingVersion // RFC 9112 section 6.1
		}
	}
	r.Body = Body{}
	r.Upgrade = nil
	r.Informational = r.Status < 200 && r.Status != 101
	r.Tunnel = r.Status == 101 || connect && r.Status/100 == 2
	r.KeepAlive = f.keepAlive(r.Minor) && !r.Tunnel
	if f.has(hasUpgrade) && (r.Status == 101 || r.Status == 426) {
		r.Upgrade = f.upgrade
	}
	switch {
	case r.Status == 101 && (r.Upgrade == nil || r.Minor == 0 || !f.has(optUpgrade)):
		return errSwitching // RFC 9110 section 15.2.2
	case r.Status < 200 || r.Status == 204:
		// RFC 9110 section 8.6, RFC 9112 section 6.1: neither field may be
		// here. A zero length says nothing wrong and is dropped; of anything
		// else nobody knows whether a body follows.
		if f.length > 0 || f.has(hasChunked) {
			return errNoContent
		}
	case r.Tunnel, head, r.Status == 304:
	case f.has(hasChunked):
		r.Body.Kind = BodyChunked
	case f.has(hasLength):
		if f.length > 0 {
			r.Body = Body{Kind: BodyLength, Length: f.length}
		}
	default:
		r.Body.Kind = BodyUntilClose
		r.KeepAlive = false
	}
	return nil
}
