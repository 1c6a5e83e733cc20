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
