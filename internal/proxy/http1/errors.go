package http1

import (
	"bytes"
	"errors"
)

// ErrMore says that the head is well-formed so far but not complete: the
// caller reads more bytes behind those that it has and parses again.
var ErrMore = errors.New("http1: message head is incomplete")

// WorthParsing tells whether a head that was incomplete in buf[:old] may be
// complete, or too large, now that buf is longer. Without asking it, a sender of
// single bytes makes each of them cost a parse of all before it.
func WorthParsing(buf []byte, old int, lim *Limits) bool {
	return len(buf) >= lim.headBytes() || bytes.IndexByte(buf[old:], '\n') >= 0
}

// ParseError says why a message is refused. The bytes before it can not be
// trusted to end where they seem to, so the connection that brought them can
// not be used again.
type ParseError struct {
	// Reason is a short constant text, fit for a log, a metric label or the
	// body of an answer. It never holds bytes of the message.
	Reason string
}

// Error gives the reason.
func (e *ParseError) Error() string { return "http1: " + e.Reason }

// Every reason for which a message is refused. They are values, not
// constructed on use, because refusing must not cost memory.
var (
	errHeadTooLarge   = &ParseError{"message head too large"}
	errTooManyHeaders = &ParseError{"too many header fields"}

	errMethod     = &ParseError{"invalid method"}
	errTarget     = &ParseError{"invalid request target"}
	errFragment   = &ParseError{"fragment in request target"}
	errEncoding   = &ParseError{"invalid percent-encoding in request target"}
	errScheme     = &ParseError{"request target scheme is not http"}
	errUserinfo   = &ParseError{"user information in request target"}
	errAuthority  = &ParseError{"invalid authority in request target"}
	errAsterisk   = &ParseError{"asterisk-form with a method other than OPTIONS"}
	errAuthForm   = &ParseError{"CONNECT target is not host:port"}
	errVersion    = &ParseError{"unsupported HTTP version"}
	errStatusLine = &ParseError{"malformed status line"}
	errStatusCode = &ParseError{"invalid status code"}

	errBareCR      = &ParseError{"CR without LF"}
	errBareLF      = &ParseError{"LF without CR"}
	errFold        = &ParseError{"folded header line"}
	errSpaceColon  = &ParseError{"white space before the colon of a header"}
	errFieldName   = &ParseError{"invalid header name"}
	errFieldValue  = &ParseError{"invalid header value"}
	errNoHost      = &ParseError{"missing Host header"}
	errHostTwice   = &ParseError{"repeated Host header"}
	errHost        = &ParseError{"invalid Host header"}
	errHostDiffers = &ParseError{"Host header differs from the request target"}

	errLength          = &ParseError{"invalid Content-Length"}
	errLengthTwice     = &ParseError{"repeated Content-Length"}
	errCoding          = &ParseError{"Transfer-Encoding is not chunked"}
	errCodingTwice     = &ParseError{"repeated Transfer-Encoding"}
	errCodingVersion   = &ParseError{"Transfer-Encoding in HTTP/1.0"}
	errLengthAndCoding = &ParseError{"both Content-Length and Transfer-Encoding"}
	errNoContent       = &ParseError{"body where the message can have none"}
	errConnection      = &ParseError{"invalid Connection header"}
	errOptions         = &ParseError{"too many Connection options"}
	errUpgrade         = &ParseError{"invalid Upgrade header"}
	errSwitching       = &ParseError{"101 without Upgrade"}

	errChunkSize    = &ParseError{"invalid chunk size"}
	errChunkExt     = &ParseError{"invalid chunk extension"}
	errChunkExtLong = &ParseError{"chunk extensions too long"}
	errChunkEnd     = &ParseError{"chunk data not ended by CRLF"}
	errTrailer      = &ParseError{"field not allowed in trailers"}
	errTrailerLarge = &ParseError{"trailer section too large"}
)
