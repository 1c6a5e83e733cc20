// Package http1 is the HTTP/1.x codec of the proxy: it reads the heads of
// requests and responses out of a read buffer, follows the framing of bodies,
// and writes heads back as they are forwarded.
//
// It is a security boundary. What two parsers could read in two ways is
// refused, never repaired (RFC 9110, RFC 9112): a request that is accepted here
// has one method, one target, one authority and one length, and the next
// recipient is told exactly these.
//
// The package does no I/O, keeps no clock and starts no goroutine. Parsed
// values are slices of the caller's buffer and are valid while that buffer is;
// nothing is copied and, once the reused values have grown to their working
// size, nothing is allocated. A Request, Response or ChunkReader belongs to one
// goroutine at a time.
//
// It does not decide: which answer a malformed message gets, how long to wait
// for the rest of one, or whether a connection is kept is up to the caller.
package http1

import "bytes"

// Limits bounds what one message may cost. A zero field means its default.
type Limits struct {
	// MaxHeadBytes bounds a head: the start line, all field lines and the
	// empty line that ends it. Default 64 KiB.
	MaxHeadBytes int
	// MaxHeaders bounds the number of field lines of a head, and of a trailer
	// section. Default 100.
	MaxHeaders int
	// MaxChunkExtBytes bounds the extensions of each single chunk, counted
	// from the first semicolon. Default 1 KiB.
	MaxChunkExtBytes int
	// MaxTrailerBytes bounds a trailer section. Default 8 KiB.
	MaxTrailerBytes int
}

// The defaults of Limits.
const (
	DefaultMaxHeadBytes     = 64 << 10
	DefaultMaxHeaders       = 100
	DefaultMaxChunkExtBytes = 1 << 10
	DefaultMaxTrailerBytes  = 8 << 10
)

func (l *Limits) headBytes() int {
	if l == nil || l.MaxHeadBytes <= 0 {
		return DefaultMaxHeadBytes
	}
	return l.MaxHeadBytes
}

func (l *Limits) headers() int {
	if l == nil || l.MaxHeaders <= 0 {
		return DefaultMaxHeaders
	}
	return l.MaxHeaders
}

func (l *Limits) chunkExtBytes() int {
	if l == nil || l.MaxChunkExtBytes <= 0 {
		return DefaultMaxChunkExtBytes
	}
	return l.MaxChunkExtBytes
}

func (l *Limits) trailerBytes() int {
	if l == nil || l.MaxTrailerBytes <= 0 {
		return DefaultMaxTrailerBytes
	}
	return l.MaxTrailerBytes
}

// Header is one field line. Name is as sent; Value has no white space around
// it. Both are slices of the buffer that was parsed. A Header may also be made
// by hand, from these two.
type Header struct {
	Name, Value []byte

	// The line in the parsed buffer, its line end included, and whether it is
	// written exactly as we write lines ("Name: value"), so that runs of such
	// lines are forwarded by one copy.
	start, end uint32
	id         Field
	plain      bool

	// Sensitive: it came by HTTP/2 with the demand that nobody on the way keeps
	// it in a table (RFC 7541 section 6.2.3), which holds for the next hop too.
	Sensitive bool
}

// Find gives the value of the first field with this name, which must be in
// lower case.
func Find(hs []Header, lowerName string) (value []byte, ok bool) {
	for i := range hs {
		if equalFold(hs[i].Name, lowerName) {
			return hs[i].Value, true
		}
	}
	return nil, false
}

// GRPC tells whether the fields are those of a call of gRPC, whose errors are in
// trailers (gRPC over HTTP2, Requests). gRPC-Web is ordinary HTTP.
func GRPC(hs []Header) bool {
	ct, ok := Find(hs, "content-type")
	return ok && bytes.HasPrefix(ct, []byte("application/grpc")) && !bytes.HasPrefix(ct, []byte("application/grpc-web"))
}

// BodyKind says how the end of a body is known (RFC 9112 section 6.3).
type BodyKind uint8

// The kinds of body.
const (
	// BodyNone: no body follows the head.
	BodyNone BodyKind = iota
	// BodyLength: exactly Body.Length bytes follow, which is more than none.
	BodyLength
	// BodyChunked: the chunked coding follows; a ChunkReader finds its end.
	BodyChunked
	// BodyUntilClose: a response body that ends with its connection.
	BodyUntilClose
)

// String names the kind for logs and tests.
func (k BodyKind) String() string {
	switch k {
	case BodyNone:
		return "none"
	case BodyLength:
		return "length"
	case BodyChunked:
		return "chunked"
	case BodyUntilClose:
		return "until-close"
	}
	return "unknown"
}

// Body is the framing of the body that follows a head.
type Body struct {
	Kind BodyKind
	// Length is the number of bytes when Kind is BodyLength, otherwise 0.
	Length int64
}
