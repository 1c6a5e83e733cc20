package upstream

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
)

// peer2 is a server of HTTP/2 that is not ours. Paths: /now answers at once,
// /hold when the test lets it.
type peer2 struct {
	ln      net.Listener
	streams int // at a time on one connection; 0: as the server has it
	hold    chan struct{}
	life    atomic.Pointer[life2]
	ctx     context.Context // of all of it

	mu    sync.Mutex
	conns []net.Conn
	wg    sync.WaitGroup
}

// life2 is a peer2 between two of its ends in peace: a server, and the listener
// that brings it connections.
type life2 struct {
	http.Server
	peer  *peer2
	conns chan net.Conn
	over  chan struct{}
	once  sync.Once
}

func (l *life2) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

func (l *life2) Close() error {
	l.once.Do(func() { close(l.over) })
	return nil
}

func (l *life2) Addr() net.Addr { return l.peer.ln.Addr() }

func newPeer2(t *testing.T, streams int) *peer2 {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	p := &peer2{ln: ln, streams: streams, hold: make(chan struct{}), ctx: ctx}
	p.renew()
	p.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, c)
			p.mu.Unlock()
			for given := false; !given; {
				l := p.life.Load()
				select {
				case l.conns <- c:
					given = true
				case <-l.over:
				}
			}
		}
	})
	t.Cleanup(func() {
		stop()
		ln.Close()
		p.closeAll()
		_ = p.life.Load().Server.Close()
		p.wg.Wait()
	})
	return p
}

// renew lets those who come from now on meet another life.
func (p *peer2) renew() (old *life2) {
	l := &life2{peer: p, conns: make(chan net.Conn), over: make(chan struct{})}
	l.Handler = p
	l.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	l.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: p.streams}
	l.Protocols = new(http.Protocols)
	l.Protocols.SetUnencryptedHTTP2(true)
	p.wg.Go(func() { _ = l.Serve(l) })
	old = p.life.Load()
	p.life.Store(l)
	return old
}

// goAway ends in peace the connections that there are.
func (p *peer2) goAway() {
	old := p.renew()
	p.wg.Go(func() { _ = old.Shutdown(p.ctx) })
}

func (p *peer2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/hold" {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		select {
		case <-p.hold:
		case <-r.Context().Done():
		}
	}
	_, _ = io.WriteString(w, "hello")
}

func (p *peer2) accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

func (p *peer2) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
}

// answer2 is the Sink of a test's stream.
type answer2 struct {
	s      *http2.Stream
	status int
	body   strings.Builder
	err    error
	head   chan struct{}
	done   chan struct{}
}

func newAnswer2() *answer2 {
	return &answer2{head: make(chan struct{}), done: make(chan struct{})}
}

func (a *answer2) Head(_ *http2.Stream, h *http2.Head, _ bool) {
	a.status = h.Status
	close(a.head)
}

func (a *answer2) Data(s *http2.Stream, b []byte, _ bool) {
	a.body.Write(b)
	s.Consumed(len(b))
}
func (a *answer2) Trailers(*http2.Stream, []http1.Header) {}
func (a *answer2) Sent(*http2.Stream, int)                {}
func (a *answer2) Closed(_ *http2.Stream, err error) {
	a.err = err
	close(a.done)
}

// wait gives what became of it.
func (a *answer2) wait() error {
	<-a.done
	if a.err == nil && (a.status != 200 || a.body.String() != "hello") {
		return errors.New("not the answer: " + a.body.String())
	}
	return a.err
}

func ask(path string) []http1.Header {
	var fields []http1.Header
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", path}} {
		fields = append(fields, http1.Header{Name: []byte(f[0]), Value: []byte(f[1])})
	}
	return fields
}

// begin opens a stream, with a minute to do so.
func begin(e *Endpoint, path string) (*answer2, error) {
	a := newAnswer2()
	s, err := e.Open(breaker.Monotonic()+time.Minute, nil, ask(path), true, a)
	if err != nil {
		return nil, err
	}
	a.s = s
	s.Conn().Flush()
	return a, nil
}

// do is one whole exchange.
func do(e *Endpoint, path string) error {
	a, err := begin(e, path)
	if err != nil {
		return err
	}
	return a.wait()
}

// hold opens a stream that the peer keeps open, and waits for its head.
func hold(t *testing.T, e *Endpoint) *answer2 {
	t.Helper()
	a, err := begin(e, "/hold")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-a.head:
	case <-a.done:
		t.Fatalf("a stream ended early: %v", a.err)
	}
	return a
}

func endpoint2(t *testing.T, cfg Config) (*Set, *Endpoint) {
	t.Helper()
	cfg.Protocol = HTTP2
	s := newSet(breaker.Monotonic)
	c := s.Apply([]Config{cfg})[cfg.Name]
	t.Cleanup(func() {
		s.Apply(nil)
		s.dials.end()
	})
	return s, c.Endpoints()[0]
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	end := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("still not: %s", what)
		}
	}
}

func (e *Endpoint) usable() int { return len(e.http2.connections()) }

func TestFirstStreamsShareOneDial(t *testing.T) {
	p := newPeer2(t, 0)
	_, e := endpoint2(t, config(p.ln.Addr().String()))
	if _, ok := e.TryOpen(ask("/now"), true, newAnswer2()); ok {
		t.Fatal("a stream without a connection")
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := do(e, "/now"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := p.accepted(); n != 1 {
		t.Errorf("%d connections for 50 streams, want 1", n)
	}
	a := newAnswer2()
	s, ok := e.TryOpen(ask("/now"), true, a)
	if !ok {
		t.Fatal("no stream on a connection that is there")
	}
	s.Conn().Flush()
	if err := a.wait(); err != nil {
		t.Error(err)
	}
	if got := e.Metrics().OpenConnections(); got != 1 {
		t.Errorf("%d open connections counted, want 1", got)
	}
}

func TestFurtherConnectionWhenFull(t *testing.T) {
	p := newPeer2(t, 2)
	_, e := endpoint2(t, config(p.ln.Addr().String()))
	var held []*answer2
	for i, want := range []int{1, 1, 2, 2, 3} {
		held = append(held, hold(t, e))
		if n := p.accepted(); n != want {
			t.Errorf("%d connections for %d streams, want %d", n, i+1, want)
		}
	}
	close(p.hold)
	for _, a := range held {
		if err := a.wait(); err != nil {
			t.Error(err)
		}
	}
}

// As many connections are made as those who wait need.
func TestConnectionsGrowWithTheQueue(t *testing.T) {
	p := newPeer2(t, 3)
	_, e := endpoint2(t, config(p.ln.Addr().String()))
	const streams = 50
	var all sync.WaitGroup
	var held atomic.Int64
	for range streams {
		all.Go(func() {
			a, err := begin(e, "/hold")
			if err != nil {
				t.Error(err)
				return
			}
			<-a.head
			held.Add(1)
			if err := a.wait(); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "all streams are open", func() bool { return held.Load() == streams })
	if n := p.accepted(); n != (streams+2)/3 {
		t.Errorf("%d connections for %d streams of 3 each", n, streams)
	}
	close(p.hold)
	all.Wait()
}

func TestStreamsWaitForRoom(t *testing.T) {
	p := newPeer2(t, 2)
	cfg := config(p.ln.Addr().String())
	cfg.Limits.MaxConnections = 1
	cfg.Limits.MaxPending = 30
	_, e := endpoint2(t, cfg)
	first := []*answer2{hold(t, e), hold(t, e)}
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			if err := do(e, "/now"); err != nil {
				t.Error(err)
			}
		})
	}
	limits := e.Cluster().Limits()
	eventually(t, "30 wait", func() bool { return limits.InFlight().Pending == 30 })
	if _, err := begin(e, "/now"); !errors.Is(err, ErrOverflow) {
		t.Errorf("one more: %v, want %v", err, ErrOverflow)
	}
	close(p.hold)
	wg.Wait()
	for _, a := range first {
		if err := a.wait(); err != nil {
			t.Error(err)
		}
	}
	if n := p.accepted(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	if got := limits.InFlight(); got.Pending != 0 || got.Connections != 1 {
		t.Errorf("in flight at the end: %+v", got)
	}
}

func TestWaitingForRoomEnds(t *testing.T) {
	p := newPeer2(t, 1)
	cfg := config(p.ln.Addr().String())
	cfg.Limits.MaxConnections = 1
	_, e := endpoint2(t, cfg)
	first := hold(t, e)
	_, err := e.Open(breaker.Monotonic()+10*time.Millisecond, nil, ask("/now"), true, newAnswer2())
	if !errors.Is(err, ErrPendingTimeout) {
		t.Errorf("at the deadline: %v, want %v", err, ErrPendingTimeout)
	}
	gone := make(chan struct{})
	close(gone)
	if _, err := e.Open(never, gone, ask("/now"), true, newAnswer2()); !errors.Is(err, context.Canceled) {
		t.Errorf("gone: %v, want %v", err, context.Canceled)
	}
	close(p.hold)
	if err := first.wait(); err != nil {
		t.Error(err)
	}
	if n := len(e.http2.waiters); n != 0 {
		t.Errorf("%d left in the queue", n)
	}
}

// GOAWAY: what has begun is finished, what comes goes elsewhere.
func TestGoAwayLosesNothing(t *testing.T) {
	p := newPeer2(t, 0)
	_, e := endpoint2(t, config(p.ln.Addr().String()))
	first := hold(t, e)
	p.goAway()
	eventually(t, "the connection is out of use", func() bool { return e.usable() == 0 })
	if err := do(e, "/now"); err != nil {
		t.Error(err)
	}
	if n := p.accepted(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	close(p.hold)
	if err := first.wait(); err != nil {
		t.Errorf("the stream from before: %v", err)
	}
	eventually(t, "the old connection has ended", func() bool { return e.Cluster().Limits().InFlight().Connections == 1 })
}

func TestDeadConnectionsAreReplaced(t *testing.T) {
	p := newPeer2(t, 0)
	_, e := endpoint2(t, config(p.ln.Addr().String()))
	first := hold(t, e)
	p.closeAll()
	failure, ok := errors.AsType[*http2.StreamError](first.wait())
	if !ok || !failure.Conn {
		t.Errorf("the stream on it: %v, want that the connection went", first.err)
	}
	eventually(t, "the connection is out of use", func() bool { return e.usable() == 0 })
	if err := do(e, "/now"); err != nil {
		t.Error(err)
	}
	eventually(t, "one is counted", func() bool {
		return e.Cluster().Limits().InFlight().Connections == 1 && e.Metrics().OpenConnections() == 1
	})
}

func TestRequestsPerConnection2(t *testing.T) {
	for _, most := range []uint32{1, 3, 16} {
		p := newPeer2(t, 0)
		cfg := config(p.ln.Addr().String())
		cfg.Limits.MaxRequestsPerConnection = most
		_, e := endpoint2(t, cfg)
		for range 48 {
			if err := do(e, "/now"); err != nil {
				t.Fatal(err)
			}
		}
		want := 48 / int(most)
		if n := p.accepted(); n < want || n > want+1 { // one may be ready before it is needed
			t.Errorf("%d a connection: %d connections for 48 requests, want %d", most, n, want)
		}
		eventually(t, "those that were used up have ended", func() bool { return e.Metrics().OpenConnections() <= 2 })
	}
}

func TestIdleConnectionsOfHTTP2End(t *testing.T) {
	p := newPeer2(t, 0)
	cfg := config(p.ln.Addr().String())
	cfg.IdleTimeout = 6 * time.Second // below what a write may take
	s, e := endpoint2(t, cfg)
	a := hold(t, e)
	s.roster.sweep(breaker.Monotonic() + 8*time.Second)
	if e.usable() != 1 {
		t.Fatal("a connection with a stream counts as idle")
	}
	close(p.hold)
	if err := a.wait(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has no stream", func() bool { return e.http2.connections()[0].h2.Streams() == 0 })
	s.roster.sweep(breaker.Monotonic() + 2*time.Second)
	if e.usable() != 1 {
		t.Error("it went before its time")
	}
	s.roster.sweep(breaker.Monotonic() + 8*time.Second)
	eventually(t, "it has ended", func() bool { return e.usable() == 0 && e.Metrics().OpenConnections() == 0 })
}

// A connection that is too old drains: its streams end in peace, new ones go to
// another.
func TestConnectionsOfHTTP2GrowOld(t *testing.T) {
	p := newPeer2(t, 0)
	cfg := config(p.ln.Addr().String())
	cfg.MaxConnectionDuration = 10 * time.Second
	s, e := endpoint2(t, cfg)
	a := hold(t, e)
	s.roster.sweep(breaker.Monotonic())
	if e.usable() != 1 {
		t.Fatal("it went before its time")
	}
	s.roster.sweep(breaker.Monotonic() + 11*time.Second)
	if e.usable() != 0 {
		t.Error("it is old, and still in use")
	}
	if err := do(e, "/now"); err != nil {
		t.Errorf("the next: %v", err)
	}
	close(p.hold)
	if err := a.wait(); err != nil {
		t.Errorf("the stream from before: %v", err)
	}
	if n := p.accepted(); n != 2 {
		t.Errorf("%d connections, want another for what came later", n)
	}
}

func TestRemovedEndpointFinishesStreams(t *testing.T) {
	p := newPeer2(t, 0)
	cfg := config(p.ln.Addr().String())
	s, e := endpoint2(t, cfg)
	first := hold(t, e)
	cfg.Endpoints = nil
	s.Apply([]Config{cfg})
	if e.usable() != 0 {
		t.Error("a removed endpoint keeps connections in use")
	}
	// Who has picked it before is still served, and its connection ends then.
	if err := do(e, "/now"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	s.roster.sweep(breaker.Monotonic())
	eventually(t, "only the first is left", func() bool { return e.Cluster().Limits().InFlight().Connections == 1 })
	close(p.hold)
	if err := first.wait(); err != nil {
		t.Errorf("the stream from before: %v", err)
	}
	eventually(t, "no connection is left", func() bool { return e.Cluster().Limits().InFlight().Connections == 0 })
}

func TestFailedDialIsToldToAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := bubbleClock()
		fails := errors.New("no")
		release := make(chan struct{})
		cfg := config("a:1")
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
			<-release
			return nil, fails
		}
		s := newSet(clock)
		e := s.Apply([]Config{cfg})[cfg.Name].Endpoints()[0]
		got := make(chan error, 5)
		for range 5 {
			go func() {
				_, err := e.Open(clock()+time.Minute, nil, ask("/"), true, newAnswer2())
				got <- err
			}()
		}
		synctest.Wait()
		if n := e.Cluster().Limits().InFlight(); n.Connections != 1 || n.Pending != 4 {
			t.Errorf("%+v, want one connection that 4 others wait for", n)
		}
		// The first to give up takes nothing from the others.
		if _, err := e.Open(clock()+time.Second, nil, ask("/"), true, newAnswer2()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("at a deadline while it is dialled: %v", err)
		}
		close(release)
		for range 5 {
			if err := <-got; !errors.Is(err, fails) {
				t.Errorf("%v, want %v", err, fails)
			}
		}
		synctest.Wait()
		if n := e.Cluster().Limits().InFlight(); n.Connections != 0 || n.Pending != 0 {
			t.Errorf("%+v are left", n)
		}
	})
}

// Nobody waits for the connection that takes over from one that is used up.
func TestReplacementIsReadyBefore(t *testing.T) {
	p := newPeer2(t, 0)
	cfg := config(p.ln.Addr().String())
	cfg.Limits.MaxRequestsPerConnection = 16
	_, e := endpoint2(t, cfg)
	for range 14 {
		if err := do(e, "/now"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "a second connection is ready", func() bool { return e.usable() == 2 })
	for range 2 {
		if err := do(e, "/now"); err != nil {
			t.Fatal(err)
		}
	}
	a := newAnswer2()
	s, ok := e.TryOpen(ask("/now"), true, a)
	if !ok {
		t.Fatal("no stream without waiting")
	}
	s.Conn().Flush()
	if err := a.wait(); err != nil {
		t.Error(err)
	}
	if n := p.accepted(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// A peer that speaks something else is a connection that failed.
func TestPeerWithoutHTTP2(t *testing.T) {
	for _, says := range []string{"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", ""} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, says)
				c.Close()
			}
		})
		_, e := endpoint2(t, config(ln.Addr().String()))
		if err := do(e, "/now"); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("peer says %q: %v", says, err)
		}
		ln.Close()
		wg.Wait()
		if n := e.Cluster().Limits().InFlight().Connections; n != 0 {
			t.Errorf("%d connections are left", n)
		}
	}
}

func TestSilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := bubbleClock()
		cfg := config("a:1")
		cfg.ConnectTimeout = 5 * time.Second
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }()
			return near, nil
		}
		s := newSet(clock)
		e := s.Apply([]Config{cfg})[cfg.Name].Endpoints()[0]
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		from := clock()
		_, err := e.Open(clock()+time.Minute, nil, ask("/"), true, newAnswer2())
		if took := clock() - from; err == nil || took < cfg.ConnectTimeout || took > cfg.ConnectTimeout+time.Second {
			t.Errorf("%v after %v, want an error after %v", err, took, cfg.ConnectTimeout)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestNewTransportRenewsConnections(t *testing.T) {
	p := newPeer2(t, 0)
	plain := newEcho(t)
	cfg := config(p.ln.Addr().String(), plain.ln.Addr().String())
	s, e := endpoint2(t, cfg)
	first := hold(t, e)
	e1 := e.Cluster().Endpoints()[1]
	busy, err := e1.Get(0, never, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	idle, err := e1.Get(0, never, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	e1.Put(idle, 0)
	cfg.Transport = "another"
	s.Apply([]Config{cfg})
	if n := e1.Metrics().OpenConnections(); n != 1 {
		t.Errorf("%d connections of HTTP/1.1 are left, want the busy one", n)
	}
	e1.Put(busy, 0)
	if n := e1.Metrics().OpenConnections(); n != 0 {
		t.Errorf("%d connections of HTTP/1.1 are left after the exchange", n)
	}
	if err := do(e, "/now"); err != nil {
		t.Error(err)
	}
	if n := p.accepted(); n != 2 {
		t.Errorf("%d connections of HTTP/2, want a new one", n)
	}
	close(p.hold)
	if err := first.wait(); err != nil {
		t.Errorf("the stream from before: %v", err)
	}
}

func TestRunClosesConnections(t *testing.T) {
	p := newPeer2(t, 0)
	s, e := endpoint2(t, config(p.ln.Addr().String()))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	first := hold(t, e)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := first.wait(); err == nil {
		t.Error("a stream went on behind the end")
	}
	if _, err := begin(e, "/now"); err == nil {
		t.Error("a stream was opened behind the end")
	}
	if n := e.Cluster().Limits().InFlight().Connections; n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestSilent(t *testing.T) {
	var c conn2
	c.reads.Store(3)
	if c.silent(time.Hour, time.Minute) {
		t.Error("something was heard that no sweep has seen")
	}
	c.swept.Store(3)
	c.heardAt.Store(int64(time.Minute))
	for _, tt := range []struct {
		now, since time.Duration
		want       bool
	}{
		{time.Minute + time.Second, time.Minute + 1, true},
		{time.Minute + time.Second, time.Minute, false},
		{time.Minute + 999*time.Millisecond, time.Minute + 1, false},
		{time.Hour, time.Second, false},
	} {
		if got := c.silent(tt.now, tt.since); got != tt.want {
			t.Errorf("now %v, since %v: %v", tt.now, tt.since, got)
		}
	}
}

func TestDoubtedConnectionsAreLeft(t *testing.T) {
	p := newPeer2(t, 0)
	s, e := endpoint2(t, config(p.ln.Addr().String()))
	first := hold(t, e)
	eventually(t, "the connection is left", func() bool { // once nothing more is on its way
		now := breaker.Monotonic()
		s.roster.sweep(now)
		e.TimedOut(now+time.Minute, now+time.Second)
		return e.usable() == 0
	})
	if err := do(e, "/now"); err != nil || p.accepted() != 2 {
		t.Errorf("%v, on %d connections", err, p.accepted())
	}
	close(p.hold)
	if err := first.wait(); err != nil {
		t.Errorf("the stream on it: %v", err)
	}
}

func TestExtendedConnect(t *testing.T) {
	for _, want := range []bool{false, true} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var served sync.WaitGroup
		served.Go(func() {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			_ = http2.NewServer(nc, nil, &http2.Config{ExtendedConnect: want}, nil).Serve()
		})
		_, e := endpoint2(t, config(ln.Addr().String()))
		for range 2 { // the second needs no connection
			if takes, err := e.ExtendedConnect(breaker.Monotonic()+time.Minute, nil); err != nil || takes != want {
				t.Errorf("%v, %v, want %v", takes, err, want)
			}
		}
		e.retire()
		served.Wait()
		ln.Close()
	}
}

// Streams go on without loss while the peer says GOAWAY, endpoints come and go,
// and connections are used up.
func TestNothingIsLostInChange(t *testing.T) {
	p, q := newPeer2(t, 5), newPeer2(t, 0)
	a, b := p.ln.Addr().String(), q.ln.Addr().String()
	cfg := config(a, b)
	cfg.Limits.MaxRequestsPerConnection = 40
	s, e := endpoint2(t, cfg)
	c := e.Cluster()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) })
	var changes sync.Mutex
	change := func(n int64) {
		changes.Lock()
		defer changes.Unlock()
		next := cfg
		switch n % 4 {
		case 0:
			p.goAway()
		case 1:
			q.goAway()
		case 2:
			next.Endpoints = cfg.Endpoints[:1]
		case 3:
			next.Endpoints = cfg.Endpoints[1:]
		}
		s.Apply([]Config{next})
	}
	var requests atomic.Int64
	var users sync.WaitGroup
	for range 16 {
		users.Go(func() {
			for range 150 {
				if err := askPicked(c); err != nil {
					t.Error(err)
					return
				}
				if n := requests.Add(1); n%50 == 0 {
					change(n / 50)
				}
			}
		})
	}
	users.Wait()
	stop()
	wg.Wait()
	if got := requests.Load(); got != 16*150 {
		t.Errorf("%d requests were answered", got)
	}
	if n := c.Limits().InFlight(); n.Connections != 0 || n.Pending != 0 {
		t.Errorf("%+v are left", n)
	}
}

// askPicked sends a request as the proxy does: what the peer did not process is
// sent again.
func askPicked(c *Cluster) error {
	for {
		now := breaker.Monotonic()
		e, p, ok := c.Pick(now, Key{})
		if !ok {
			continue
		}
		err := do(e, "/now")
		p.Done(now, breaker.Result{Status: 200, GRPCStatus: -1})
		if failure, ok := errors.AsType[*http2.StreamError](err); ok && failure.Unprocessed {
			continue
		}
		return err
	}
}
