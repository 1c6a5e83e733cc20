package http2

import (
	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// Head is the head of a request or a response. All slices are the stream's own,
// stay valid as long as anything refers to them, and are not to be changed.
type Head struct {
	// Method, Scheme, Authority, Path and Protocol are the pseudo-header
	// fields of a request. Authority is :authority, or Host where that is
	// absent. Protocol is set by extended CONNECT alone. Scheme and Path are
	// empty for a plain CONNECT.
	Method, Scheme, Authority, Path, Protocol []byte
	// Status is that of a response, 100 to 599.
	Status int
	// Headers are the regular fields in their order, without Host, which says
	// the same as Authority.
	Headers []http1.Header
	// ContentLength is the announced length of the body; -1: none announced.
	ContentLength int64
}

// A Sink is told what happens on one stream. Its methods must not block.
// Events of the peer come in order and one at a time.
type Sink interface {
	// Head is told to the client role alone: each interim (1xx) response, and
	// the final one. end: no body and no trailers follow.
	Head(s *Stream, h *Head, end bool)
	// Data brings the next bytes of the body, valid during the call. They may
	// be none when end. The peer is given window for them by Consumed.
	Data(s *Stream, b []byte, end bool)
	// Trailers ends the body with trailer fields, which stay valid as those of
	// a Head do.
	Trailers(s *Stream, fields []http1.Header)
	// Sent tells that n bytes which SendData had to queue have left. It may
	// come at the same time as the events of the peer.
	Sent(s *Stream, n int)
	// Closed is the last event, and comes exactly once, unless Reset was
	// called before. nil: both directions have ended, and all that was sent is
	// in the connection's buffer. Otherwise a *StreamError.
	Closed(s *Stream, err error)
}
