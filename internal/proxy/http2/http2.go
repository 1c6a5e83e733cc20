package http2

import (
	"net"
	"time"

	"golang.org/x/net/http2"

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

// NewServer makes the server's side of a connection. early are bytes that were
// read from nc already. accept is called by the reader for the head of each
// valid request and gives the stream's Sink; it must not block. end: the
// request has no body.
func NewServer(nc net.Conn, early []byte, cfg *Config, accept func(s *Stream, h *Head, end bool) Sink) *Conn {
	c := newConn(nc, cfg)
	c.server, c.accept = true, accept
	return c
}

// NewClient makes the client's side of a connection. onRoom, which may be nil,
// is called when Room has grown from none or by new settings, and when the
// connection begins to drain or has ended.
func NewClient(nc net.Conn, cfg *Config, onRoom func(*Conn)) *Conn {
	c := newConn(nc, cfg)
	c.onRoom = onRoom
	return c
}

// Conn is one connection. All methods may be called by any goroutine.
type Conn struct {
	nc     net.Conn
	cfg    Config
	server bool
	accept func(s *Stream, h *Head, end bool) Sink
	onRoom func(*Conn)
}

func newConn(nc net.Conn, cfg *Config) *Conn { return &Conn{nc: nc, cfg: cfg.filled()} }

// Serve says our preface and SETTINGS, and reads until the connection has
// ended; by then the Sink of each open stream has had Closed, and the transport
// is closed. It is called once. The error is that of Err.
func (c *Conn) Serve() error { return nil }

// Flush starts writing what is queued. It does not wait.
func (c *Conn) Flush() {}

// FlushAfter flushes o when the events that c has at hand are told: called
// within an event of a stream of c, it makes one write of what many events
// cause. At other times it is o.Flush.
func (c *Conn) FlushAfter(o *Conn) {}

// Shutdown ends the connection in peace. A server says GOAWAY twice (RFC 9113
// section 6.8): first with the highest id, and, once a PING came back or a
// second has passed, with the last that it took; it ends with its last stream.
// A client opens no new streams and ends with its last.
func (c *Conn) Shutdown() {}

// Close ends the connection now: GOAWAY with this code and text, then the end
// of all streams. It does not wait for that.
func (c *Conn) Close(code http2.ErrCode, debug string) {}

// Sweep holds the bounds on time: keep-alive, SETTINGS, the second GOAWAY,
// writes that stall. Its owner calls it about every 100 ms.
func (c *Conn) Sweep(now time.Duration) {}

// Streams is the number of open streams.
func (c *Conn) Streams() int { return 0 }

// Quiet is the instant since which no stream is open, or that of New; -1 while
// one is.
func (c *Conn) Quiet() time.Duration { return 0 }

// Draining tells that no new streams are wanted: Shutdown was called, the peer
// said GOAWAY, or the connection has ended.
func (c *Conn) Draining() bool { return false }

// Err tells why the connection ended; nil while it has not, and after an end
// in peace.
func (c *Conn) Err() error { return nil }

// Room is how many streams may be opened now: what the peer's
// MAX_CONCURRENT_STREAMS leaves (100 until its SETTINGS came), 0 when the
// connection drains, has ended, or its out buffer is full.
func (c *Conn) Room() int { return 0 }

// PeerSettled tells that the peer's SETTINGS have come.
func (c *Conn) PeerSettled() bool { return false }

// PeerExtendedConnect tells that the peer takes extended CONNECT (RFC 8441).
func (c *Conn) PeerExtendedConnect() bool { return false }

// Open opens a stream and queues its HEADERS: the pseudo-header fields first,
// then regular ones with names in lower case. fields are not kept. end: no body
// follows. The error is ErrFull, ErrDraining or ErrClosed.
func (c *Conn) Open(fields []http1.Header, end bool, sink Sink) (*Stream, error) {
	return nil, ErrClosed
}

// Stream is one exchange on a connection. All methods may be called by any
// goroutine; none blocks; all do nothing on a stream that has ended.
type Stream struct {
	id uint32
	c  *Conn
}

// ID is the stream's identifier.
func (s *Stream) ID() uint32 { return s.id }

// Conn is the stream's connection.
func (s *Stream) Conn() *Conn { return s.c }

// SendHead queues a head, pseudo-header fields first: an interim or the final
// response, or, after SendData, trailers, which wait behind queued DATA and
// must have end. fields are not kept. Flush starts the writing.
func (s *Stream) SendHead(fields []http1.Header, end bool) {}

// SendData queues bytes of the body; what the windows or the connection's
// buffer do not take now is copied and stays queued on the stream. left is how
// many went to the connection's buffer at once: Sent tells of the rest. b may
// be empty with end.
func (s *Stream) SendData(b []byte, end bool) (left int) { return 0 }

// Queued is the number of bytes that wait for window or for room.
func (s *Stream) Queued() int { return 0 }

// Consumed gives the peer window for n bytes of Data that were used. It is sent
// when half a window has come together.
func (s *Stream) Consumed(n int) {}

// Reset ends the stream by RST_STREAM; its Sink hears nothing more. A server
// that has sent its whole answer says ErrCodeNo when it does not want the rest
// of the request (RFC 9113 section 8.1); the RST_STREAM then follows what is
// still queued.
func (s *Stream) Reset(code http2.ErrCode) {}
