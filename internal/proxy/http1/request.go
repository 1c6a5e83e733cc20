package http1

// Request is the head of one request. The zero value is ready for Parse; a
// Request is reused for one request after another and keeps its capacity.
// Slices are valid while the parsed buffer is.
type Request struct {
	// Method is a token, case-sensitive.
	Method []byte
	// Target is the request target as sent.
	Target []byte
	// Host is the effective authority: that of an absolute-form or
	// authority-form target, otherwise the Host header. In any case of
	// letters, with the port only if it was sent. It is empty only in an
	// HTTP/1.0 request.
	Host []byte
	// Path is the path and query, also of an absolute-form target: it begins
	// with "/", or is "*" for OPTIONS; it is empty for CONNECT.
	Path []byte
	// Minor is 1 for HTTP/1.1 and 0 for HTTP/1.0.
	Minor int
	// Headers are all field lines in their order, those about the connection
	// included. They are not to be changed.
	Headers []Header
	Body    Body
	// KeepAlive: the client will send another request on its connection.
	KeepAlive bool
	// Expect100: the client waits for a 100 before it sends its body. It is
	// never set without a body, or for HTTP/1.0.
	Expect100 bool
	// TETrailers: the client takes trailers ("TE: trailers"). Never set for
	// HTTP/1.0.
	TETrailers bool
	// Upgrade is what the client offers to speak instead, nil when it offers
	// nothing. An offer of h2c is treated as none (see Parse).
	Upgrade []byte
	// HasRequestID: an x-request-id came with the request.
	HasRequestID bool
	// RequestID is the value of the first x-request-id.
	RequestID []byte
	// Connect and Head tell these two methods, which change what a response
	// means.
	Connect, Head bool
	// Secure: it came over TLS, as whoever has the connection says; Parse does
	// not.
	Secure bool

	buf     []byte // the parsed head
	scratch []byte // holds a Path that is no slice of the head
	f       fields
}

// Parse reads the head at the start of buf and gives its length. The body, if
// there is one, begins at buf[n].
//
// It returns ErrMore while the head is not complete, and a *ParseError when it
// is not acceptable, as early as that can be known. One empty line before the
// request line is skipped (RFC 9112 section 2.2).
//
// h2c upgrade is not taken up, as RFC 9113 dropped it: a tunnel of requests
// that nothing looked at would lead past every rule of this package.
func (r *Request) Parse(buf []byte, lim *Limits) (n int, err error) {
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
	r.buf = b[:n]
	return n, nil
}

func (r *Request) parse(b []byte, maxHeaders int) (int, error) {
	i := 0
	if len(b) > 0 && b[0] == '\r' {
		if len(b) < 2 {
			return 0, ErrMore
		}
		if b[1] != '\n' {
			return 0, errBareCR
		}
		i = 2
	}
	i, err := r.parseLine(b, i)
	if err != nil {
		return 0, err
	}
	if r.Headers, i, err = r.f.parseFields(b, i, r.Headers, maxHeaders); err != nil {
		return 0, err
	}
	return i, r.interpret()
}

// parseLine reads the request line (RFC 9112 section 3).
func (r *Request) parseLine(b []byte, i int) (int, error) {
	start := i
	for i < len(b) && class[b[i]]&isToken != 0 {
		i++
	}
	if i >= len(b) {
		return 0, ErrMore
	}
	if b[i] != ' ' || i == start {
		return 0, errMethod
	}
	r.Method = b[start:i:i]
	r.Connect = string(r.Method) == "CONNECT"
	r.Head = string(r.Method) == "HEAD"
	i++
	start = i
	end, err := r.parseTarget(b, i)
	if err != nil {
		return 0, err
	}
	r.Target = b[start:end:end]
	minor, i, err := parseVersion(b, end+1)
	if err != nil {
		return 0, err
	}
	r.Minor = minor
	if i >= len(b) {
		return 0, ErrMore
	}
	switch {
	case b[i] == '\n':
		return 0, errBareLF
	case b[i] != '\r':
		return 0, errVersion
	case i+1 >= len(b):
		return 0, ErrMore
	case b[i+1] != '\n':
		return 0, errBareCR
	}
	return i + 2, nil
}

// parseVersion reads "HTTP/1.0" or "HTTP/1.1" at b[i:] and gives the index
// behind it.
func parseVersion(b []byte, i int) (minor, end int, err error) {
	const prefix = "HTTP/1."
	if i+len(prefix) < len(b) && string(b[i:i+len(prefix)]) == prefix {
		c := b[i+len(prefix)] - '0'
		if c > 1 {
			return 0, 0, errVersion
		}
		return int(c), i + len(prefix) + 1, nil
	}
	for k := 0; k < len(prefix) && i+k < len(b); k++ {
		if b[i+k] != prefix[k] {
			return 0, 0, errVersion
		}
	}
	return 0, 0, ErrMore
}

// parseTarget reads one of the four forms (RFC 9112 section 3.2) and gives the
// index of the SP behind it. Path, and Host for forms with an authority, are
// set.
func (r *Request) parseTarget(b []byte, i int) (end int, err error) {
	if i >= len(b) {
		return 0, ErrMore
	}
	r.Host = nil
	switch {
	case r.Connect:
		return r.parseAuthorityForm(b, i)
	case b[i] == '/':
		if end, err = scanTarget(b, i); err != nil {
			return 0, err
		}
		r.Path = b[i:end:end]
		return end, nil
	case b[i] == '*':
		if string(r.Method) != "OPTIONS" {
			return 0, errAsterisk
		}
		if i+1 >= len(b) {
			return 0, ErrMore
		}
		if b[i+1] != ' ' {
			return 0, errTarget
		}
		r.Path = b[i : i+1 : i+1]
		return i + 1, nil
	}
	return r.parseAbsoluteForm(b, i)
}

func (r *Request) parseAuthorityForm(b []byte, i int) (end int, err error) {
	for end = i; end < len(b) && b[end] != ' '; end++ {
		if c := b[end]; class[c]&isHost == 0 && c != ':' && c != '[' && c != ']' {
			return 0, errAuthForm
		}
	}
	if end >= len(b) {
		return 0, ErrMore
	}
	host := b[i:end:end]
	if port, ok := validAuthority(host); !ok || port == len(host) {
		return 0, errAuthForm // RFC 9110 section 9.3.6
	}
	r.Host, r.Path = host, nil
	return end, nil
}

func (r *Request) parseAbsoluteForm(b []byte, i int) (end int, err error) {
	const scheme = "http://"
	for k := range len(scheme) {
		if i+k >= len(b) {
			return 0, ErrMore
		}
		if c := b[i+k]; c != scheme[k] && (c|0x20 != scheme[k] || k >= 4) {
			return 0, schemeError(c)
		}
	}
	i += len(scheme)
	start := i
	for i < len(b) && b[i] != '/' && b[i] != '?' && b[i] != ' ' {
		switch c := b[i]; {
		case c == '@':
			return 0, errUserinfo // RFC 9110 section 4.2.4
		case class[c]&isHost == 0 && c != ':' && c != '[' && c != ']':
			return 0, errAuthority
		}
		i++
	}
	if i >= len(b) {
		return 0, ErrMore
	}
	r.Host = b[start:i:i]
	if _, ok := validAuthority(r.Host); !ok {
		return 0, errAuthority
	}
	if end, err = scanTarget(b, i); err != nil {
		return 0, err
	}
	r.Path = b[i:end:end]
	if len(r.Path) == 0 || r.Path[0] != '/' {
		r.rootPath()
	}
	return end, nil
}

// rootPath gives an absolute-form target without a path the one that it has in
// origin-form (RFC 9112 sections 3.2.1 and 3.2.4).
func (r *Request) rootPath() {
	c := byte('/')
	if len(r.Path) == 0 && string(r.Method) == "OPTIONS" {
		c = '*'
	}
	r.scratch = append(append(r.scratch[:0], c), r.Path...)
	r.Path = r.scratch
}

func schemeError(c byte) *ParseError {
	switch {
	case c == '\n' || c == '\r' || c == '#':
		return targetError(c)
	case class[c]&isQuery == 0:
		return errTarget
	}
	return errScheme
}

// interpret draws the conclusions from the request line and the fields
// together.
func (r *Request) interpret() error {
	f := &r.f
	if err := r.interpretHost(); err != nil {
		return err
	}
	if err := r.interpretBody(); err != nil {
		return err
	}
	r.KeepAlive = f.keepAlive(r.Minor)
	r.Expect100 = f.has(expect100) && r.Minor == 1 && r.Body.Kind != BodyNone
	r.TETrailers = f.has(teTrailers) && r.Minor == 1
	r.HasRequestID, r.RequestID = f.has(hasRequestID), f.requestID
	r.Upgrade = nil
	if f.has(optUpgrade) && f.has(hasUpgrade) && r.Minor == 1 && !offersH2C(f.upgrade) {
		r.Upgrade = f.upgrade
	}
	return nil
}

func (r *Request) interpretHost() error {
	f := &r.f
	if !f.has(hasHost) {
		if r.Minor == 1 {
			return errNoHost // RFC 9112 section 3.2
		}
		return nil
	}
	if _, ok := validAuthority(f.host); !ok {
		return errHost
	}
	if r.Host == nil {
		r.Host = f.host
		return nil
	}
	port := "80"
	if r.Connect {
		// The target always has a port. A Host without one agrees with any.
		_, p := splitPort(r.Host)
		if _, hp := splitPort(f.host); len(hp) == 0 {
			host := r.Host[:len(r.Host)-len(p)-1]
			if !equalFoldBytes(host, f.host) {
				return errHostDiffers
			}
			return nil
		}
		port = ""
	}
	if !sameAuthority(r.Host, f.host, port) {
		return errHostDiffers
	}
	return nil
}

// interpretBody finds how the body ends (RFC 9112 section 6.3).
func (r *Request) interpretBody() error {
	f := &r.f
	r.Body = Body{}
	switch {
	case f.has(hasChunked):
		if f.has(hasLength) {
			return errLengthAndCoding
		}
		if r.Minor == 0 {
			return errCodingVersion // RFC 9112 section 6.1
		}
		r.Body.Kind = BodyChunked
	case f.length > 0:
		r.Body = Body{Kind: BodyLength, Length: f.length}
	}
	if r.Connect && r.Body.Kind != BodyNone {
		return errNoContent // RFC 9110 section 9.3.6
	}
	return nil
}

func offersH2C(upgrade []byte) bool {
	for rest := upgrade; len(rest) > 0; {
		var item []byte
		if item, rest = nextItem(rest); equalFold(item, "h2c") {
			return true
		}
	}
	return false
}
