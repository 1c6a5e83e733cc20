package http2

import (
	"net"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

func TestManualServe(t *testing.T) {
	addr := os.Getenv("H2_ADDR")
	if addr == "" {
		t.Skip()
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, nil, startEcho)
	select {}
}

type quietSink struct{ done chan error }

func (q quietSink) Head(*Stream, *Head, bool)          {}
func (q quietSink) Data(s *Stream, b []byte, end bool) { s.Consumed(len(b)) }
func (q quietSink) Trailers(*Stream, []http1.Header)   {}
func (q quietSink) Sent(*Stream, int)                  {}
func (q quietSink) Closed(s *Stream, err error) {
	select {
	case q.done <- err:
	default:
	}
}

// go test -c; ./http2.test -test.run ManualClient URL
func TestManualClient(t *testing.T) {
	u, _ := url.Parse(os.Args[len(os.Args)-1])
	if u == nil || u.Scheme != "http" {
		t.Skip()
	}
	nc, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(nc, nil, nil)
	done := make(chan error, 1)
	go c.Open([]http1.Header{field(":method", "GET"), field(":scheme", "http"), field(":authority", u.Host), field(":path", "/")}, true, quietSink{done})
	go func() {
		select {
		case err := <-done:
			t.Log(err)
			time.Sleep(500 * time.Millisecond)
		case <-time.After(1500 * time.Millisecond):
		}
		c.Shutdown()
		time.Sleep(300 * time.Millisecond)
		c.Close(0, "")
	}()
	t.Log(c.Serve())
}
