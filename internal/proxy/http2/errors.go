package http2

import (
	"errors"
	"fmt"

	"golang.org/x/net/http2"
)

// Why Open made no stream.
var (
	// ErrFull: the peer allows no more streams at present, or takes too little
	// of what is written.
	ErrFull = errors.New("http2: no room for a stream")
	// ErrDraining: the connection takes no new streams any more.
	ErrDraining = errors.New("http2: the connection is draining")
	// ErrClosed: the connection has ended.
	ErrClosed = errors.New("http2: the connection is closed")
)

// A StreamError tells why a stream ended before its time.
type StreamError struct {
	// Code is the error code of the RST_STREAM or GOAWAY, or what stands for
	// the failure: CANCEL where the transport broke.
	Code http2.ErrCode
	// Remote: the peer said so. Otherwise we found the peer at fault, or the
	// transport failed.
	Remote bool
	// Conn: the whole connection went.
	Conn bool
	// Unprocessed: the peer did nothing for this stream, so what was asked on
	// it may be asked again elsewhere (RFC 9113 section 8.7).
	Unprocessed bool
	// Err is the cause in words. May be nil.
	Err error
}

func (e *StreamError) Error() string {
	what, who := "stream", "us"
	if e.Conn {
		what = "connection"
	}
	if e.Remote {
		who = "peer"
	}
	s := fmt.Sprintf("http2: %s ended by %s: %v", what, who, e.Code)
	if e.Unprocessed {
		s += " (not processed)"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *StreamError) Unwrap() error { return e.Err }

// A ConnError tells why a connection ended otherwise than in peace.
type ConnError struct {
	Code http2.ErrCode
	// Remote: the peer's GOAWAY said so.
	Remote bool
	// Reason is for people.
	Reason string
	// Err is the transport's failure, if it was one.
	Err error
}

func (e *ConnError) Error() string {
	who := "us"
	if e.Remote {
		who = "peer"
	}
	s := fmt.Sprintf("http2: connection ended by %s: %v", who, e.Code)
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the transport's failure.
func (e *ConnError) Unwrap() error { return e.Err }

func connError(code http2.ErrCode, reason string) *ConnError {
	return &ConnError{Code: code, Reason: reason}
}
