package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/transport/tlstest"
)

// joined gives both ends of a connection: ours as a server's, and crypto/tls
// itself on the other side.
func joined(t *testing.T) (ours *Conn, theirs *tls.Conn) {
	t.Helper()
	ca := tlstest.NewCA(t, "CA")
	s := loadServer(t, ServerConfig{Settings: Settings{Certificates: []KeyPair{inline(ca.Issue(tlstest.Leaf{Names: []string{"bb"}}))}}})
	ours, theirs = pair(t, s, &tls.Config{RootCAs: ca.Pool(), ServerName: "bb"})
	return ours, theirs
}

// until waits for a condition that a kernel brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatal("it does not come about: " + what)
		case <-tick.C:
		}
	}
}

func TestReadInto(t *testing.T) {
	ours, theirs := joined(t)
	buf := make([]byte, 64)
	taken := make(chan struct{}, 1)
	got := make(chan string, 1)
	go func() {
		b, err := ours.ReadInto(func() []byte { taken <- struct{}{}; return buf }, nil)
		if err != nil {
			t.Error(err)
		}
		got <- string(b)
	}()
	select {
	case <-taken:
		t.Error("a buffer was taken before there was anything")
	default:
	}
	_, _ = io.WriteString(theirs, "hello there")
	if s := <-got; s != "hello there" {
		t.Errorf("read %q, want all that is there", s)
	}
	<-taken
	// More than the buffer takes, and across records.
	as, bs := bytes.Repeat([]byte("a"), 60), bytes.Repeat([]byte("b"), 60)
	_, _ = theirs.Write(as)
	_, _ = theirs.Write(bs)
	var all []byte
	for len(all) < 120 {
		b, err := ours.ReadInto(func() []byte { return buf }, nil)
		if err != nil || len(b) == 0 {
			t.Fatal(len(b), err)
		}
		all = append(all, b...)
	}
	if !bytes.Equal(all, append(as, bs...)) {
		t.Errorf("read %q", all)
	}
	theirs.Close()
	if b, err := ours.ReadInto(func() []byte { t.Error("a buffer was taken at the end"); return buf }, nil); !errors.Is(err, io.EOF) || b != nil {
		t.Errorf("at the end: %q, %v", b, err)
	}
}

func TestAlive(t *testing.T) {
	ours, theirs := joined(t)
	for range 2 {
		if !ours.Alive() {
			t.Error("an idle connection is not alive")
		}
	}
	_, _ = io.WriteString(theirs, "unasked")
	until(t, "data", func() bool { return !ours.Alive() })
	got := make([]byte, 7)
	if _, err := io.ReadFull(ours, got); err != nil || string(got) != "unasked" {
		t.Errorf("after the look: %q, %v", got, err)
	}
	if !ours.Alive() {
		t.Error("not alive after the data was read")
	}
	// A deadline that has passed is no reason.
	_ = ours.SetDeadline(past)
	if !ours.Alive() {
		t.Error("not alive with a deadline in the past")
	}
	_ = ours.SetDeadline(time.Time{})
	theirs.Close()
	until(t, "the end", func() bool { return !ours.Alive() })
}

// TestAliveTakesTickets wants session tickets that nobody has read yet not to
// look like unasked data: a peek at the socket would see some.
func TestAliveTakesTickets(t *testing.T) {
	ca := tlstest.NewCA(t, "CA")
	address := echoTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.Issue(tlstest.Leaf{}).TLS(t)}})
	c := loadClient(t, ClientConfig{Settings: Settings{Verify: Verify{TrustedCA: trusts(ca)}}})
	conn := mustDial(t, c, address, "")
	until(t, "tickets", conn.HasInput)
	if !conn.Alive() {
		t.Error("tickets look like unasked data")
	}
	if conn.HasInput() {
		t.Error("tickets were not taken in")
	}
	if !mustDial(t, c, address, "").ConnectionState().DidResume {
		t.Error("tickets were lost")
	}
}

func TestWaitClosed(t *testing.T) {
	t.Run("data", func(t *testing.T) {
		ours, theirs := joined(t)
		closed := make(chan bool)
		go func() { closed <- ours.WaitClosed() }()
		_, _ = io.WriteString(theirs, "x")
		if <-closed {
			t.Error("data looks like the end")
		}
		if ours.WaitClosed() {
			t.Error("data that was not read looks like the end")
		}
		got := make([]byte, 1)
		if _, err := ours.Read(got); err != nil || got[0] != 'x' {
			t.Errorf("%q, %v", got, err)
		}
	})
	for name, end := range map[string]func(*tls.Conn){
		"close":        func(c *tls.Conn) { c.Close() },
		"close_notify": func(c *tls.Conn) { _ = c.CloseWrite() },
		"FIN alone":    func(c *tls.Conn) { c.NetConn().Close() },
		"RST": func(c *tls.Conn) {
			_ = c.NetConn().(*net.TCPConn).SetLinger(0)
			c.NetConn().Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := joined(t)
			closed := make(chan bool)
			go func() { closed <- ours.WaitClosed() }()
			end(theirs)
			if !<-closed {
				t.Error("the end was not noticed")
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		ours, theirs := joined(t)
		closed := make(chan bool)
		go func() { closed <- ours.WaitClosed() }()
		_ = ours.SetReadDeadline(past)
		if <-closed {
			t.Error("an interruption looks like the end")
		}
		_ = ours.SetReadDeadline(time.Time{})
		// It is as good as before.
		_, _ = io.WriteString(theirs, "still")
		got := make([]byte, 5)
		if _, err := io.ReadFull(ours, got); err != nil {
			t.Error(err)
		}
		if _, err := io.WriteString(ours, "here!"); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(theirs, got); err != nil || string(got) != "here!" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("closed by us", func(t *testing.T) {
		ours, _ := joined(t)
		ours.Close()
		if ours.WaitClosed() {
			t.Error("our own closing looks like the peer's")
		}
	})
}

// TestTruncated tells an end that the peer has said from one that it has not.
func TestTruncated(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(*tls.Conn)
		want error
	}{
		"said":   {func(c *tls.Conn) { c.Close() }, nil},
		"unsaid": {func(c *tls.Conn) { c.NetConn().Close() }, ErrTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := joined(t)
			_, _ = io.WriteString(theirs, "all")
			tt.end(theirs)
			got, err := io.ReadAll(ours)
			if string(got) != "all" || !errors.Is(err, tt.want) {
				t.Errorf("%q, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestBroken(t *testing.T) {
	ours, theirs := joined(t)
	if ours.Broken() || ours.HasInput() {
		t.Error("an idle connection is broken, or has input")
	}
	_, _ = io.WriteString(theirs, "x")
	until(t, "input", ours.HasInput)
	if ours.Broken() {
		t.Error("data looks like the end")
	}
	if _, err := ours.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	theirs.NetConn().Close()
	until(t, "the end", ours.Broken)
	if ours.HasInput() {
		t.Error("the end looks like input")
	}
}

func TestCloseWrite(t *testing.T) {
	ours, theirs := joined(t)
	_, _ = io.WriteString(ours, "last")
	if err := ours.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(theirs); err != nil || string(got) != "last" {
		t.Fatalf("%q, %v", got, err)
	}
	// FIN too, for those who look at that alone.
	if n, err := theirs.NetConn().Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("beneath: %d, %v", n, err)
	}
	// The other direction is open.
	_, _ = io.WriteString(theirs, "answer")
	theirs.Close()
	if got, err := io.ReadAll(ours); err != nil || string(got) != "answer" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestClose(t *testing.T) {
	t.Run("says so", func(t *testing.T) {
		ours, theirs := joined(t)
		if err := ours.Close(); err != nil {
			t.Error(err)
		}
		// crypto/tls takes a FIN at the end of a record for an end as well: look
		// at the wire.
		raw, err := io.ReadAll(theirs.NetConn())
		if err != nil || len(raw) == 0 {
			t.Errorf("%d bytes of a close_notify, %v", len(raw), err)
		}
	})
	t.Run("reset", func(t *testing.T) {
		ours, theirs := joined(t)
		_ = ours.SetLinger(0)
		_ = ours.Close()
		raw, err := io.ReadAll(theirs.NetConn())
		if err == nil || len(raw) != 0 {
			t.Errorf("%d bytes, %v, want a reset and no close_notify", len(raw), err)
		}
	})
	t.Run("wakes a writer", func(t *testing.T) {
		ours, _ := joined(t)
		failed := make(chan error)
		full := make(chan struct{})
		go func() {
			close(full)
			b := make([]byte, 1<<20)
			for {
				if _, err := ours.Write(b); err != nil {
					failed <- err
					return
				}
			}
		}()
		<-full
		_ = ours.Close()
		if err := <-failed; err == nil {
			t.Error("written to a closed connection")
		}
	})
	t.Run("does not wait", func(t *testing.T) {
		ours, _ := joined(t)
		// The peer reads nothing: fill the socket, until a write is cut short.
		_ = ours.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		b := make([]byte, 1<<20)
		for {
			if _, err := ours.Write(b); err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error(err)
				}
				break
			}
		}
		// What crypto/tls would wait for is up to five seconds; nothing of that
		// is measured: a wire that is parting has no way to wait.
		_ = ours.Close()
		if n, err := ours.wire.Write([]byte("x")); n != 0 || !errors.Is(err, errNothing) {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// TestPipe wants all this to work, as far as it can, on what is no socket.
func TestPipe(t *testing.T) {
	ca := tlstest.NewCA(t, "CA")
	// Tickets cross the end of the handshake, for which a pipe has no room.
	s := loadServer(t, ServerConfig{Settings: Settings{Certificates: []KeyPair{inline(ca.Issue(tlstest.Leaf{}))}}, NoTickets: true})
	c := loadClient(t, ClientConfig{Settings: Settings{Verify: Verify{TrustedCA: trusts(ca)}}})
	a, b := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		theirs, err := s.Wrap(t.Context(), a)
		if err != nil {
			t.Error(err)
			return
		}
		defer theirs.Close()
		_, _ = io.Copy(theirs, theirs)
	}()
	ours, err := c.Wrap(t.Context(), b, "pipe:1", "")
	if err != nil {
		t.Fatal(err)
	}
	say(t, ours, "hello")
	if !ours.Alive() || ours.Broken() || ours.HasInput() {
		t.Error("a pipe that is open looks closed")
	}
	if err := ours.Close(); err != nil {
		t.Error(err)
	}
	<-done
}
