package listener

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a Listener; the result dials it.
func serve(t *testing.T, cfg Config, handle func(*Conn)) (*Listener, func() net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	l := New(ln, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, handle) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l, func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

func TestReadIntoTakesABufferOnlyForBytes(t *testing.T) {
	var taken, given atomic.Int32
	take := func() []byte { taken.Add(1); return make([]byte, 16) }
	put := func([]byte) { given.Add(1) }
	got := make(chan string, 2)
	_, dial := serve(t, Config{}, func(c *Conn) {
		for {
			b, err := c.ReadInto(take, put)
			if err != nil {
				got <- err.Error()
				return
			}
			got <- string(b)
		}
	})
	c := dial()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "hello" {
		t.Errorf("read %q", s)
	}
	c.Close()
	if s := <-got; s != io.EOF.Error() {
		t.Errorf("at the end: %q, want EOF", s)
	}
	// One buffer was kept, for "hello"; each other that was tried went back.
	if taken.Load() != given.Load()+1 {
		t.Errorf("%d buffers taken, %d given back: the wait held one", taken.Load(), given.Load())
	}
}

func TestBoundOnConnections(t *testing.T) {
	release := make(chan struct{})
	var refused atomic.Int32
	l, dial := serve(t, Config{MaxConnections: 1, Refusal: []byte("full"), OnRefused: func() { refused.Add(1) }},
		func(c *Conn) {
			_, _ = c.Write([]byte("in"))
			<-release
		})
	first := dial()
	b := make([]byte, 2)
	if _, err := io.ReadFull(first, b); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(dial()); string(said) != "full" || err != nil {
		t.Errorf("the second connection got %q, %v", said, err)
	}
	if refused.Load() != 1 || l.Open() != 1 {
		t.Errorf("refused %d, open %d, want 1 and 1", refused.Load(), l.Open())
	}
	close(release)
}

func TestCloseServesWhatIsQueued(t *testing.T) {
	hold := make(chan struct{})
	var served sync.WaitGroup
	served.Add(20)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for range 20 { // all in the kernel's queue: nobody accepts yet
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	l := New(ln, Config{Logger: slog.New(slog.DiscardHandler)})
	l.Close()
	done := make(chan error, 1)
	go func() {
		done <- l.Serve(context.Background(), func(c *Conn) {
			_, _ = c.Write([]byte("hi"))
			served.Done()
			<-hold
		})
	}()
	served.Wait()
	close(hold)
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	for i, c := range conns {
		if said, err := io.ReadAll(c); string(said) != "hi" {
			t.Errorf("connection %d got %q, %v", i, said, err)
		}
	}
	if c, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		c.Close()
		t.Error("it still accepts")
	}
}

// A grace that has passed before anything was accepted is not the last.
func TestCloseServesWhatIsQueuedThoughLate(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l := New(ln, Config{Logger: slog.New(slog.DiscardHandler)})
	l.Close()
	if err := l.deadline(-time.Second); err != nil { // the machine was busy
		t.Fatal(err)
	}
	if err := l.Serve(context.Background(), func(c *Conn) { _, _ = c.Write([]byte("hi")) }); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if said, err := io.ReadAll(c); string(said) != "hi" {
		t.Errorf("%q, %v", said, err)
	}
}

func TestHandOverLeavesWhatIsQueued(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	next, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l := New(ln, Config{Logger: slog.New(slog.DiscardHandler)})
	l.HandOver()
	if err := l.Serve(context.Background(), func(*Conn) { t.Error("accepted what is another's") }); err != nil {
		t.Errorf("Serve: %v", err)
	}
	got, err := next.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got.Close()
}

func TestWaitClosed(t *testing.T) {
	results := make(chan bool, 1)
	_, dial := serve(t, Config{}, func(c *Conn) { results <- c.WaitClosed() })
	dial().Close()
	if !<-results {
		t.Error("a closed peer was not noticed")
	}
	c := dial()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if <-results {
		t.Error("a peer that sends counts as closed")
	}
}

func TestInterruptAndResume(t *testing.T) {
	results := make(chan error, 2)
	ready := make(chan *Conn, 1)
	_, dial := serve(t, Config{}, func(c *Conn) {
		ready <- c
		var b [1]byte
		_, err := c.Read(b[:])
		results <- err
		c.Resume()
		_, err = c.Read(b[:])
		results <- err
	})
	peer := dial()
	(<-ready).Interrupt()
	if err := <-results; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("interrupted read: %v", err)
	}
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-results; err != nil {
		t.Errorf("read after Resume: %v", err)
	}
}

func TestLingerLetsThePeerReadTheAnswer(t *testing.T) {
	_, dial := serve(t, Config{}, func(c *Conn) {
		_, _ = c.Write([]byte("answer"))
		c.Linger(time.Minute, make([]byte, 1024), 1<<20)
	})
	c := dial()
	// Unread bytes at the server: a plain close would reset the connection.
	if _, err := c.Write(bytes.Repeat([]byte("x"), 200_000)); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(c)
	if string(said) != "answer" || err != nil {
		t.Errorf("got %q, %v", said, err)
	}
}

// handshake is a Wrap that reads one byte, and says what ended it.
func handshake(ended chan<- error) func(context.Context, net.Conn) (net.Conn, error) {
	return func(ctx context.Context, c net.Conn) (net.Conn, error) {
		stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(past) })
		var b [1]byte
		_, err := c.Read(b[:])
		if !stop() {
			err = ctx.Err()
		}
		ended <- err
		return c, err
	}
}

func TestWrapIsBoundedAndInterrupted(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		end  func(l *Listener, cancel func())
		want error
	}{
		{"by its time", Config{WrapTimeout: time.Millisecond}, func(*Listener, func()) {}, context.DeadlineExceeded},
		{"by the end of the server", Config{WrapGrace: time.Hour}, func(_ *Listener, cancel func()) { cancel() }, context.Canceled},
		{"by draining", Config{WrapGrace: time.Millisecond}, func(l *Listener, _ func()) { l.Close() }, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ended := make(chan error, 1)
			failed := make(chan error, 1)
			tt.cfg.Wrap = handshake(ended)
			tt.cfg.OnWrapFailed = func(_ net.Conn, err error) { failed <- err }
			tt.cfg.Logger = slog.New(slog.DiscardHandler)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l := New(ln, tt.cfg)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			done := make(chan error, 1)
			go func() { done <- l.Serve(ctx, func(*Conn) { t.Error("handled without a transport") }) }()
			eventually(t, func() bool { return l.Open() == 1 || len(ended) == 1 })
			tt.end(l, cancel)
			if err := <-ended; !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if err := <-failed; !errors.Is(err, tt.want) {
				t.Errorf("told of %v, want %v", err, tt.want)
			}
			if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Error("the connection goes on")
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// eventually waits until it is so.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	end := time.After(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("still not")
		}
	}
}

// wise is a transport that knows what waits in it.
type wise struct{ net.Conn }

func (wise) ReadInto(func() []byte, func([]byte)) ([]byte, error) { return []byte("own"), nil }
func (wise) WaitClosed() bool                                     { return true }
func (wise) Broken() bool                                         { return true }
func (wise) HasInput() bool                                       { return true }
func (wise) Protocol() string                                     { return "h2" }

func TestATransportAnswersForItself(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	c := NewConn(wise{ours})
	if b, err := c.ReadInto(nil, nil); string(b) != "own" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	if !c.WaitClosed() || !c.Broken() || !c.HasInput() || c.Protocol() != "h2" || c.Plain() {
		t.Error("the transport was not asked")
	}
	plain := NewConn(ours)
	if plain.WaitClosed() || plain.Broken() || plain.HasInput() || plain.Protocol() != "" || plain.Plain() {
		t.Error("a pipe seems to know something")
	}
}
