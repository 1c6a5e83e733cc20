package http2

import (
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket waits for input of a plain socket before it takes a buffer, for
// transports that do not do so themselves.
type socket struct {
	raw syscall.RawConn
	fn  func(fd uintptr) bool

	// Arguments and results of the read in progress.
	take func() []byte
	put  func([]byte)
	got  []byte
	err  error
}

func newSocket(raw syscall.RawConn) *socket {
	s := &socket{raw: raw}
	s.fn = s.try
	return s
}

// ReadInto gives a buffer of take, cut to what was read into it.
func (s *socket) ReadInto(take func() []byte, put func([]byte)) ([]byte, error) {
	s.take, s.put, s.got, s.err = take, put, nil, nil
	if err := s.raw.Read(s.fn); err != nil {
		return nil, err
	}
	return s.got, s.err
}

// try is one attempt; false parks the goroutine until there is input.
func (s *socket) try(fd uintptr) bool {
	b := s.take()
	n, err := unix.Read(int(fd), b)
	for err == unix.EINTR {
		n, err = unix.Read(int(fd), b)
	}
	if n > 0 {
		s.got = b[:n]
		return true
	}
	s.put(b)
	switch err {
	case unix.EAGAIN:
		return false
	case nil:
		s.err = io.EOF
	default:
		s.err = err
	}
	return true
}
