package http2

import (
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// echo answers each request with its own body, or with a fixed one where the
// request has none.
type echo struct{}

func field(name, value string) http1.Header {
	return http1.Header{Name: []byte(name), Value: []byte(value)}
}

func startEcho(s *Stream, _ *Head, end bool) Sink {
	e := &echo{}
	if end {
		body := "hello"
		s.SendHead([]http1.Header{field(":status", "200"), field("content-length", strconv.Itoa(len(body)))}, false)
		s.SendData([]byte(body), true)
		return e
	}
	s.SendHead([]http1.Header{field(":status", "200")}, false)
	return e
}

func (e *echo) Head(*Stream, *Head, bool) {}

func (e *echo) Data(s *Stream, b []byte, end bool) {
	s.Consumed(s.SendData(b, end))
}

func (e *echo) Trailers(s *Stream, fields []http1.Header) { s.SendHead(fields, true) }
func (e *echo) Sent(s *Stream, n int)                     { s.Consumed(n) }
func (e *echo) Closed(*Stream, error)                     {}

// serveOn serves connections of a listener until the test ends, and sweeps
// them.
func serveOn(t testing.TB, l net.Listener, cfg *Config, accept func(*Stream, *Head, bool) Sink) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	conns := map[*Conn]bool{}
	stop := make(chan struct{})
	wg.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			mu.Lock()
			for c := range conns {
				c.Sweep(breaker.Monotonic())
			}
			mu.Unlock()
		}
	})
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			c := NewServer(nc, nil, cfg, accept)
			mu.Lock()
			conns[c] = true
			mu.Unlock()
			wg.Go(func() {
				_ = c.Serve()
				mu.Lock()
				delete(conns, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range conns {
			c.Close(http2.ErrCodeNo, "")
		}
		mu.Unlock()
		close(stop)
		wg.Wait()
	})
}

func listen(t testing.TB) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
