package mirror

import (
	"errors"
	"strconv"
	"sync"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/internal/proxy/bridge"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
)

// send2 sends the copy by HTTP/2 and waits for the end of the answer.
func (c *copying) send2() error {
	v := c.req.view()
	scheme := "http"
	if c.to.Config().Transport != "" {
		scheme = "https"
	}
	var arena []byte
	fields := bridge.AppendRequest2(nil, &arena, &v, scheme, nil)
	if v.Body.Kind == http1.BodyLength && !c.req.grpc() {
		fields = append(fields, http1.Header{Name: []byte("content-length"), Value: strconv.AppendInt(nil, v.Body.Length, 10)})
	}
	a := &answer2{ended: make(chan struct{}), clock: c.sender.cfg.Clock, grpc: -1}
	s, err := c.endpoint.Open(c.deadline, c.done(), fields, v.Body.Kind == http1.BodyNone, a)
	if err != nil {
		return &unsentError{err}
	}
	if len(c.req.body) > 0 {
		s.SendData(c.req.body, len(c.req.trailers) == 0)
	}
	if len(c.req.trailers) > 0 {
		s.SendHead(bridge.AppendTrailers2(nil, &arena, c.req.trailers), true)
	}
	s.Conn().Flush()
	err = c.wait2(a)
	// What is not over by now is not wanted, be it an answer or the request's
	// own rest. On a stream that has ended this does nothing.
	s.Reset(xhttp2.ErrCodeCancel)
	s.Conn().Flush()
	a.mu.Lock()
	defer a.mu.Unlock()
	c.status, c.grpc, c.headAt = a.status, a.grpc, a.headAt
	if err == nil {
		err = a.err
	}
	return err
}

var errLate = errors.New("no answer in time")

func (c *copying) wait2(a *answer2) error {
	timer := time.NewTimer(c.left())
	defer timer.Stop()
	select {
	case <-a.ended:
		return nil
	case <-timer.C:
		return errLate
	case <-c.done():
		return c.sender.ctx.Err()
	}
}

// answer2 is the Sink of a copy's stream: it reads all and keeps the status.
type answer2 struct {
	ended chan struct{} // closed by the end of the answer
	clock func() time.Duration
	once  sync.Once

	mu     sync.Mutex
	status int
	grpc   int
	headAt time.Duration
	err    error
}

func (a *answer2) end() { a.once.Do(func() { close(a.ended) }) }

// Head is an interim answer or the head of the final one.
func (a *answer2) Head(_ *http2.Stream, h *http2.Head, end bool) {
	if h.Status < 200 {
		return
	}
	a.mu.Lock()
	a.status, a.headAt = h.Status, a.clock()
	a.hear(h.Headers)
	a.mu.Unlock()
	if end {
		a.end()
	}
}

// Data is a piece of the answer's body.
func (a *answer2) Data(s *http2.Stream, b []byte, end bool) {
	s.Consumed(len(b))
	s.Conn().Flush()
	if end {
		a.end()
	}
}

// Trailers end the answer.
func (a *answer2) Trailers(_ *http2.Stream, fields []http1.Header) {
	a.mu.Lock()
	a.hear(fields)
	a.mu.Unlock()
	a.end()
}

// hear takes note of a grpc-status. mu is held.
func (a *answer2) hear(fields []http1.Header) {
	if v, ok := http1.Find(fields, "grpc-status"); ok {
		if n, err := strconv.ParseUint(string(v), 10, 31); err == nil {
			a.grpc = int(n)
		}
	}
}

// Sent is of no interest: all of the request is with the engine.
func (a *answer2) Sent(*http2.Stream, int) {}

// Closed is the end of the stream.
func (a *answer2) Closed(_ *http2.Stream, err error) {
	a.mu.Lock()
	a.err = err
	a.mu.Unlock()
	a.end()
}
