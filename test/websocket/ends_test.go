package websocket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"github.com/reclosermesh/recloser/test/mesh"
	"github.com/reclosermesh/recloser/test/peer"
)

// half is a stream of which either direction ends by itself.
type half interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// open makes a WebSocket connection and returns what is below the frames.
func open(ctx context.Context, addr string, over http.RoundTripper) (half, error) {
	if over != nil {
		return peer.OpenTunnel(ctx, addr, "websocket", "/", "sec-websocket-version", "13")
	}
	nc, br, _, err := gobwas.Dialer{}.Dial(ctx, "ws://"+addr+"/")
	if err != nil {
		return nil, err
	}
	if br == nil {
		br = bufio.NewReader(nc)
	}
	return buffered{nc.(*net.TCPConn), br}, nil
}

type buffered struct {
	*net.TCPConn
	r *bufio.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// accept upgrades one connection and hands it over.
func accept(l net.Listener) (*net.TCPConn, error) {
	nc, err := l.Accept()
	if err != nil {
		return nil, err
	}
	_, err = gobwas.Upgrade(nc)
	return nc.(*net.TCPConn), err
}

// onEach runs a test with both ends of a connection of each way.
func onEach(t *testing.T, test func(t *testing.T, client half, server *net.TCPConn), args ...string) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			chain := way.start(t, l.Addr().String(), args...)
			ctx, cancel := context.WithTimeout(t.Context(), mesh.Patience)
			defer cancel()
			accepted := make(chan error, 1)
			var server *net.TCPConn
			go func() {
				var err error
				server, err = accept(l)
				accepted <- err
			}()
			client, err := open(ctx, chain.Address, way.over)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if err := <-accepted; err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			test(t, client, server)
		})
	}
}

// TestHalfClose ends one direction and then uses the other, either way.
func TestHalfClose(t *testing.T) {
	t.Run("client first", func(t *testing.T) {
		onEach(t, func(t *testing.T, client half, server *net.TCPConn) { halfClose(t, client, server) })
	})
	t.Run("server first", func(t *testing.T) {
		onEach(t, func(t *testing.T, client half, server *net.TCPConn) { halfClose(t, server, client) })
	})
}

func halfClose(t *testing.T, first, second half) {
	const last = "my last words"
	if _, err := io.WriteString(first, last); err != nil {
		t.Fatal(err)
	}
	if err := first.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(second); err != nil || string(got) != last {
		t.Fatalf("until the first end: %q, %v", got, err)
	}
	// The other direction is open, and carries more than any buffer holds.
	answer := payload(8 << 20)
	sent := make(chan error, 1)
	go func() {
		_, err := second.Write(answer)
		sent <- errors.Join(err, second.CloseWrite())
	}()
	got, err := io.ReadAll(first)
	if err := errors.Join(err, <-sent); err != nil {
		t.Fatal(err)
	}
	if string(got) != string(answer) {
		t.Fatalf("%d bytes of %d came against the first end", len(got), len(answer))
	}
}

// TestGone has one end go away without a word: the other must hear of it.
func TestGone(t *testing.T) {
	gone := func(t *testing.T, first io.Closer, second io.Reader) {
		if c, ok := first.(*net.TCPConn); ok {
			if err := c.SetLinger(0); err != nil {
				t.Fatal(err)
			}
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, second); n > 0 {
			t.Errorf("%d bytes of nobody, %v", n, err)
		} // it returned: that is all that is asked
	}
	t.Run("client", func(t *testing.T) {
		onEach(t, func(t *testing.T, client half, server *net.TCPConn) { gone(t, client, server) })
	})
	t.Run("server", func(t *testing.T) {
		onEach(t, func(t *testing.T, client half, server *net.TCPConn) { gone(t, server, client) })
	})
}

// TestIdle has a bound on the time without a byte: what says nothing is ended,
// and what speaks all the while, in one direction alone, is not.
func TestIdle(t *testing.T) {
	for _, way := range ways[1:] {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					server, err := accept(l)
					if err != nil {
						return
					}
					go io.Copy(io.Discard, server) //nolint:errcheck // until the proxy ends it
				}
			}()
			chain := way.start(t, l.Addr().String(), "--tunnel-timeout", "2s")
			ctx, cancel := context.WithTimeout(t.Context(), mesh.Patience)
			defer cancel()
			idle, err := open(ctx, chain.Address, way.over)
			if err != nil {
				t.Fatal(err)
			}
			busy, err := open(ctx, chain.Address, way.over)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				_, _ = io.Copy(io.Discard, idle) // that it returns is all that is asked
				close(ended)
			}()
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for more := true; more; {
				select {
				case <-ended:
					more = false
				case <-ctx.Done():
					t.Fatal("the idle connection is still open")
				case <-tick.C:
					if _, err := io.WriteString(busy, "."); err != nil {
						t.Fatalf("the connection that is not idle: %v", err)
					}
				}
			}
			if _, err := fmt.Fprint(busy, "still here"); err != nil {
				t.Errorf("the connection that is not idle: %v", err)
			}
			idle.Close()
			busy.Close()
		})
	}
}
