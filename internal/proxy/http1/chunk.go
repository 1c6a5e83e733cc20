package http1

import "math"

// ChunkReader follows the chunked coding (RFC 9112 section 7.1) through a body
// that comes in pieces, and validates all of it: with Scan a body is sent on
// byte for byte, with Decode its payload alone. The zero value has default
// limits; Reset makes it ready for the next body. It is never mixed: one body
// is read with either Scan or Decode.
//
// Stricter than the RFC asks: white space is allowed nowhere around sizes and
// extensions, CR and LF come only as CRLF, and a trailer section must not hold
// fields about framing, routing or the connection (RFC 9110 section 6.5.1).
type ChunkReader struct {
	lim     *Limits
	left    int64 // payload left in this chunk, or the size while it is read
	payload int64 // payload seen
	ext     int   // bytes of extensions of this chunk
	digits  uint8
	state   chunkState
	err     error

	trailer []byte   // the trailer section so far, up to the current line
	line    int      // where the current line begins in trailer
	fields  []Header // of the whole trailer section, once it has ended
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkExtName
	chunkExtNameMore
	chunkExtValue
	chunkExtToken
	chunkExtQuoted
	chunkExtEscape
	chunkExtQuotedEnd
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailer
	chunkDone
)

// Reset begins a new body. lim may be nil; it is kept until the next Reset.
func (c *ChunkReader) Reset(lim *Limits) {
	*c = ChunkReader{lim: lim, trailer: c.trailer[:0], fields: c.fields[:0]}
}

// Payload is the number of payload bytes seen so far.
func (c *ChunkReader) Payload() int64 { return c.payload }

// Done tells whether the end of the body was seen.
func (c *ChunkReader) Done() bool { return c.state == chunkDone }

// Trailers are the trailer fields, complete once the body is done and valid
// until Reset.
func (c *ChunkReader) Trailers() []Header { return c.fields }

// Scan follows p, the next bytes of the connection. n bytes of p belong to the
// body, framing included: all of p unless done, which says that the body ended
// there. On an error, a *ParseError, nothing of p should be sent on and the
// reader is of no further use.
func (c *ChunkReader) Scan(p []byte) (n int, done bool, err error) {
	for n < len(p) && c.state != chunkDone && c.err == nil {
		if c.state == chunkData {
			k := min(int64(len(p)-n), c.left)
			c.take(k)
			n += int(k)
			continue
		}
		n += c.frame(p[n:])
	}
	return n, c.state == chunkDone, c.err
}

// Decode is Scan, and appends the payload among these bytes to dst.
func (c *ChunkReader) Decode(dst, p []byte) (out []byte, n int, done bool, err error) {
	for n < len(p) && c.state != chunkDone && c.err == nil {
		if c.state == chunkData {
			k := min(int64(len(p)-n), c.left)
			dst = append(dst, p[n:n+int(k)]...)
			c.take(k)
			n += int(k)
			continue
		}
		n += c.frame(p[n:])
	}
	return dst, n, c.state == chunkDone, c.err
}

func (c *ChunkReader) take(n int64) {
	c.payload += n
	if c.left -= n; c.left == 0 {
		c.state = chunkDataCR
	}
}

// frame follows framing bytes until payload begins, the body ends, p is used
// up, or err is set. It gives the number of bytes that it used.
func (c *ChunkReader) frame(p []byte) int {
	for i := 0; i < len(p); {
		switch c.state {
		case chunkData, chunkDone:
			return i
		case chunkTrailer:
			i += c.trailerBytes(p[i:])
		default:
			c.err = c.step(p[i])
			i++
		}
		if c.err != nil {
			return i
		}
	}
	return len(p)
}

// step takes one byte of framing outside of trailers.
func (c *ChunkReader) step(b byte) error {
	switch c.state {
	case chunkSize:
		return c.sizeByte(b)
	case chunkSizeLF:
		if b != '\n' {
			return errBareCR
		}
		c.sizeDone()
	case chunkDataCR:
		if b != '\r' {
			return errChunkEnd
		}
		c.state = chunkDataLF
	case chunkDataLF:
		if b != '\n' {
			return errChunkEnd
		}
		c.state = chunkSize
	default:
		return c.extByte(b)
	}
	return nil
}

// maxSizeDigits bounds leading zeros too.
const maxSizeDigits = 16

func (c *ChunkReader) sizeByte(b byte) error {
	var d byte
	switch {
	case b-'0' <= 9:
		d = b - '0'
	case b|0x20-'a' <= 5:
		d = b | 0x20 - 'a' + 10
	case c.digits == 0:
		return errChunkSize
	case b == '\r':
		c.state = chunkSizeLF
		return nil
	case b == ';':
		c.ext = 1
		c.state = chunkExtName
		return nil
	case b == '\n':
		return errBareLF
	default:
		return errChunkSize
	}
	if c.digits++; c.digits > maxSizeDigits || c.left > math.MaxInt64>>4 {
		return errChunkSize
	}
	c.left = c.left<<4 | int64(d)
	return nil
}

func (c *ChunkReader) sizeDone() {
	c.digits = 0
	c.ext = 0
	c.state = chunkData
	if c.left == 0 {
		c.state = chunkTrailer
	}
}

// extByte takes one byte of extensions (RFC 9112 section 7.1.1):
// *( ";" name [ "=" ( token / quoted-string ) ] ).
func (c *ChunkReader) extByte(b byte) error {
	if c.ext++; c.ext > c.lim.chunkExtBytes() {
		return errChunkExtLong
	}
	token := class[b]&isToken != 0
	switch c.state {
	case chunkExtName:
		if !token {
			return errChunkExt
		}
		c.state = chunkExtNameMore
	case chunkExtNameMore:
		if token {
			return nil
		}
		if b == '=' {
			c.state = chunkExtValue
			return nil
		}
		return c.extEnd(b)
	case chunkExtValue:
		switch {
		case b == '"':
			c.state = chunkExtQuoted
		case token:
			c.state = chunkExtToken
		default:
			return errChunkExt
		}
	case chunkExtToken:
		if !token {
			return c.extEnd(b)
		}
	case chunkExtQuoted:
		switch {
		case b == '"':
			c.state = chunkExtQuotedEnd
		case b == '\\':
			c.state = chunkExtEscape
		case class[b]&isQuoted == 0:
			return errChunkExt
		}
	case chunkExtEscape:
		if class[b]&isValue == 0 || b >= 0x80 {
			return errChunkExt
		}
		c.state = chunkExtQuoted
	case chunkExtQuotedEnd:
		return c.extEnd(b)
	}
	return nil
}

func (c *ChunkReader) extEnd(b byte) error {
	switch b {
	case '\r':
		c.state = chunkSizeLF
	case ';':
		c.state = chunkExtName
	case '\n':
		return errBareLF
	default:
		return errChunkExt
	}
	return nil
}

// trailerBytes takes bytes of the trailer section up to the end of a line, and
// gives how many. Each line is checked when it is complete.
func (c *ChunkReader) trailerBytes(p []byte) int {
	room := c.lim.trailerBytes() - len(c.trailer)
	n := 0
	for n < len(p) {
		n++
		if p[n-1] == '\n' {
			break
		}
	}
	if n > room {
		c.err = errTrailerLarge
		return n
	}
	c.trailer = append(c.trailer, p[:n]...)
	if p[n-1] == '\n' {
		c.err = c.trailerLine()
	}
	return n
}

// trailerLine checks the complete line that ends the trailer section so far.
func (c *ChunkReader) trailerLine() error {
	var f fields
	var one [1]Header
	hs, _, err := f.parseFields(c.trailer, c.line, one[:0], 1)
	switch {
	case err == nil: // the empty line
		return c.parseTrailers()
	case err != ErrMore: //nolint:errorlint // identity
		return err
	case len(hs) == 0:
		return errFieldName
	}
	c.line = len(c.trailer)
	return trailerAllowed(hs[0].Name)
}

// parseTrailers reads the whole section, whose lines were all seen to be valid.
func (c *ChunkReader) parseTrailers() error {
	var f fields
	var err error
	c.fields, _, err = f.parseFields(c.trailer, 0, c.fields[:0], c.lim.headers())
	if err == nil {
		c.state = chunkDone
	}
	return err
}

// trailerAllowed refuses what must be known before the body (RFC 9110 section
// 6.5.1): a recipient that merged it into the header section would change what
// the message is.
func trailerAllowed(name []byte) error {
	if identify(name) != FieldOther {
		return errTrailer
	}
	for _, s := range [...]string{"content-", "proxy-auth"} {
		if len(name) > len(s) && equalFold(name[:len(s)], s) {
			return errTrailer
		}
	}
	for _, s := range [...]string{"authorization", "cookie", "set-cookie", "cache-control", "max-forwards", "range"} {
		if equalFold(name, s) {
			return errTrailer
		}
	}
	return nil
}
