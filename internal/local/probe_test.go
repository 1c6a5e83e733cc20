package local

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// serveEach counts the connections to a port and has each of them served.
func serveEach(t *testing.T, serve func(net.Conn)) (netip.AddrPort, *atomic.Int32) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &atomic.Int32{}
	done := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			serve(conn)
			conn.Close()
		}
	}()
	return ln.Addr().(*net.TCPAddr).AddrPort(), n
}

func proberOf(p *probe, at netip.AddrPort, ports ...uint16) *prober {
	return &prober{probe: p, ports: ports, at: func(declared uint16) string {
		return hostPort(at.Addr().String(), declared)
	}}
}

func TestDefaultProbeConnectsOnceForEachStart(t *testing.T) {
	one, connections := serveEach(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	free := netip.MustParseAddrPort(freePortOf(t))
	p := proberOf(defaultProbe(true), one, one.Port(), free.Port())
	for range 3 {
		if p.check(t.Context(), 1) {
			t.Error("ready although nothing listens on the second port")
		}
	}
	ln, err := net.Listen("tcp", free.String())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if !p.check(t.Context(), 1) {
			t.Error("not ready")
		}
	}
	p.leaving.Wait()
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections in six tries, want 1", n)
	}
	ln.Close()
	if !p.check(t.Context(), 1) {
		t.Error("a port that has accepted was tried again")
	}
	if p.check(t.Context(), 2) {
		t.Error("started anew, and not tried again")
	}
	p.leaving.Wait()
	if n := connections.Load(); n != 2 {
		t.Errorf("%d connections after another start, want 2", n)
	}
}

// What runs already is nobody's child: only a connection tells that it is gone.
func TestDefaultProbeOfAddressesGoesOn(t *testing.T) {
	one, connections := serveEach(t, func(net.Conn) {})
	p := proberOf(defaultProbe(false), one, one.Port())
	if p.period != 10*time.Second || p.again != time.Second {
		t.Errorf("every %v, after a failure %v", p.period, p.again)
	}
	for range 3 {
		if !p.check(t.Context(), 0) {
			t.Error("not ready")
		}
	}
	p.leaving.Wait()
	if n := connections.Load(); n != 3 {
		t.Errorf("%d connections in three tries", n)
	}
}

// A server that speaks first, also late and in pieces, sees a client that
// leaves, and no reset.
func TestProbeOfAServerThatSpeaksFirst(t *testing.T) {
	ended := make(chan error, 1)
	one, _ := serveEach(t, func(c net.Conn) {
		_, err := c.Read(make([]byte, 1)) // the prober has closed what it sends
		if errors.Is(err, io.EOF) {
			for range 20 {
				if _, err = c.Write([]byte("220 mail.example ESMTP\r\n")); err != nil {
					break
				}
			}
		}
		ended <- err
	})
	p := proberOf(defaultProbe(true), one, one.Port())
	if !p.check(t.Context(), 1) {
		t.Error("not ready")
	}
	if err := <-ended; err != nil {
		t.Errorf("the server has %v", err)
	}
	p.leaving.Wait()
}

// A connection to a server that says nothing and does not end is given up at
// the end of the instance.
func TestLeavingEndsWithTheInstance(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	one, _ := serveEach(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		cancel()
		<-left
	})
	conn, err := net.Dial("tcp", one.String())
	if err != nil {
		t.Fatal(err)
	}
	leave(ctx, conn, time.Hour)
	close(left)
}
