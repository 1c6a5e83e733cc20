package upstream

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/reclosermesh/recloser/breaker"
)

// spoken is a transport that is no socket, as TLS is.
type spoken struct {
	net.Conn
	alive bool
}

func (s *spoken) Alive() bool { return s.alive }

func TestTransportSaysWhetherItLives(t *testing.T) {
	server := newEcho(t)
	var made []*spoken
	cfg := config(server.ln.Addr().String())
	cfg.Dial = func(ctx context.Context, address, _ string) (net.Conn, error) {
		c, err := dialTCP(ctx, address, "")
		made = append(made, &spoken{c, true})
		return made[len(made)-1], err
	}
	_, e := endpointOf(t, cfg)
	c, err := e.Get(0, never, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Plain() {
		t.Error("it counts as a plain socket")
	}
	for i, alive := range []bool{true, false} {
		made[0].alive = alive
		e.Put(c, 0)
		again, err := e.Get(0, never, true, nil)
		if err != nil || (again == c) != alive || len(made) != 1+i {
			t.Errorf("alive %v: the same connection: %v (%v), %d were made", alive, again == c, err, len(made))
		}
		if !alive {
			e.Discard(again)
		}
	}
}

// Whoever makes a connection is told what is to be spoken on it.
func TestDialerIsToldTheProtocol(t *testing.T) {
	p := newPeer2(t, 0)
	var mu sync.Mutex
	var asked []string
	cfg := config(p.ln.Addr().String())
	cfg.Dial = func(ctx context.Context, address, alpn string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, alpn)
		return dialTCP(ctx, address, alpn)
	}
	_, e := endpoint2(t, cfg)
	if err := do(e, "/now"); err != nil {
		t.Fatal(err)
	}
	for _, get := range []func() (*Conn, error){
		func() (*Conn, error) { return e.Get(0, never, false, nil) },
		func() (*Conn, error) { return e.GetNew(never) },
		func() (*Conn, error) { return e.Connect(never) },
	} {
		c, err := get()
		if err != nil {
			t.Fatal(err)
		}
		e.Discard(c)
	}
	if want := [...]string{"h2", "http/1.1", "http/1.1", ""}; len(asked) != len(want) || [4]string(asked) != want {
		t.Errorf("%q, want %q", asked, want)
	}
}

// Connections of both kinds count against one limit, and neither kind can keep
// the other from its first.
func TestBothPoolsShareTheLimit(t *testing.T) {
	p := newPeer2(t, 1)
	cfg := config(p.ln.Addr().String())
	cfg.Limits.MaxConnections = 1
	cfg.Limits.MaxPending = 0
	_, e := endpoint2(t, cfg)
	c, err := e.Get(0, never, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	first := hold(t, e)
	if n := e.Cluster().Limits().InFlight().Connections; n != 2 {
		t.Errorf("%d connections count, want one of each kind", n)
	}
	if _, err := e.Get(0, never, false, nil); !errors.Is(err, ErrOverflow) {
		t.Errorf("a second of HTTP/1.1: %v", err)
	}
	if _, err := e.Open(breaker.Monotonic(), nil, ask("/now"), true, newAnswer2()); !errors.Is(err, ErrOverflow) {
		t.Errorf("a second of HTTP/2: %v", err)
	}
	e.Discard(c)
	close(p.hold)
	if err := first.wait(); err != nil {
		t.Error(err)
	}
}
