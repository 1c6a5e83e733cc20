package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

func drainWithin(d time.Duration, s *Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return s.Drain(ctx)
}

// Callers that send one request after the other all get every answer, and are
// told by the last one that it is.
func TestDrainLosesNothing(t *testing.T) {
	up := startUpstream(t, echo)
	r := newRig(t, []string{up.addr}, nil)
	var answered atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		p := dial(t, r.addr)
		wg.Go(func() {
			for n := 0; ; n++ {
				path := fmt.Sprintf("/%d/%d", i, n)
				body := pattern(n % 40_000)
				fmt.Fprintf(p.Conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
				resp, err := http.ReadResponse(p.br, nil)
				if err != nil {
					t.Errorf("%s was lost: %v", path, err)
					return
				}
				b, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != 200 || string(b) != "POST "+path+" "+body {
					t.Errorf("%s: %d, %d bytes, %v", path, resp.StatusCode, len(b), err)
					return
				}
				answered.Add(1)
				if resp.Close {
					return
				}
			}
		})
	}
	eventually(t, "they are at it", func() bool { return answered.Load() > 200 })
	if err := drainWithin(hangs, r.server); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// What has begun when draining begins comes to its end, however slowly: an
// answer, a body on its way up, and requests that wait behind another.
func TestDrainWaits(t *testing.T) {
	started, release := make(chan struct{}, 3), make(chan struct{})
	up := backend(t, func(w http.ResponseWriter, q *http.Request) {
		started <- struct{}{}
		if q.URL.Path == "/answer" {
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
		}
		if q.URL.Path != "/body" {
			<-release
		}
		b, _ := io.ReadAll(q.Body)
		fmt.Fprintf(w, "%s %d", q.URL.Path, len(b))
	})
	r := newRig(t, []string{up}, nil)
	answer, body, queue := dial(t, r.addr), dial(t, r.addr), dial(t, r.addr)
	answer.send("GET /answer HTTP/1.1\r\nHost: a\r\n\r\n")
	body.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + pattern(50_000))
	queue.send("GET /first HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n")
	for range 3 {
		<-started
	}
	begun, err := http.ReadResponse(answer.br, nil)
	if err != nil || begun.Close {
		t.Fatal(begun, err)
	}
	drained := make(chan error, 1)
	go func() { drained <- drainWithin(hangs, r.server) }()
	eventually(t, "draining has begun", r.server.draining.Load)
	body.send(pattern(50_000))
	close(release)
	if b, err := io.ReadAll(begun.Body); string(b) != "/answer 0" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	for _, c := range []struct {
		p     *peer
		want  string
		close bool
	}{
		{body, "/body 100000", true},
		{queue, "/first 0", false},
		{queue, "/second 0", true},
	} {
		if resp, got := c.p.answer(t, "GET"); got != c.want || resp.Close != c.close {
			t.Errorf("got %q, close %v, want %q, close %v", got, resp.Close, c.want, c.close)
		}
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// A connection that is idle when draining begins can still send the request
// that is on its way; after that it is closed without a word.
func TestDrainIdle(t *testing.T) {
	up := startUpstream(t, echo)
	r := newRig(t, []string{up.addr}, func(s *ServerConfig, _ *upstream.Config) {
		s.Timeouts.DrainIdle = 500 * time.Millisecond
	})
	quiet, late := dial(t, r.addr), dial(t, r.addr)
	eventually(t, "both are accepted", func() bool { return r.server.Open() == 2 })
	drained := make(chan error, 1)
	go func() { drained <- drainWithin(hangs, r.server) }()
	eventually(t, "draining has begun", r.server.draining.Load)
	late.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp, body := late.answer(t, "GET"); body != "GET / " || !resp.Close {
		t.Errorf("%q, close %v", body, resp.Close)
	}
	if got := quiet.rest(); got != "" {
		t.Errorf("%q", got)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// Draining has a bound; what is left then ends with Serve's context.
func TestDrainBound(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) {
		p.head()
		p.rest() // no answer
	})
	r := newRig(t, []string{up.addr}, nil)
	p := dial(t, r.addr)
	p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	eventually(t, "the endpoint has it", func() bool { return up.bytes.Load() > 0 })
	if err := drainWithin(50*time.Millisecond, r.server); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "test") {
		t.Errorf("%v", err)
	}
	r.drain()
	if !p.closed() {
		t.Error("the connection goes on")
	}
}

// Connections that the kernel has queued when draining begins are served: the
// drain has not ended before.
func TestDrainServesWhatIsQueued(t *testing.T) {
	up := startUpstream(t, echo)
	r := newRig(t, []string{up.addr}, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var callers []*peer
	for range 20 {
		p := dial(t, ln.Addr().String())
		p.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		callers = append(callers, p)
	}
	s := NewServer(r.server.cfg)
	ctx, kill := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	if err := drainWithin(hangs, s); err != nil {
		t.Error(err)
	}
	select {
	case <-s.ended:
	default:
		t.Error("the drain has ended and the listener has not")
	}
	kill()
	if err := <-served; err != nil {
		t.Error(err)
	}
	for i, p := range callers {
		if resp, _ := p.answer(t, "GET"); resp.StatusCode != 200 || !resp.Close {
			t.Errorf("caller %d: %d, close %v", i, resp.StatusCode, resp.Close)
		}
	}
}

// A connection that is accepted after the server was told to end at once ends
// too.
func TestEndReachesTheLastConnection(t *testing.T) {
	up := startUpstream(t, answering(okAnswer("hello")))
	r := newRig(t, []string{up.addr}, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dial(t, ln.Addr().String()) // established, and in the queue; says nothing
	s := NewServer(r.server.cfg)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(hangs):
		t.Fatal("the server does not end")
	}
}
