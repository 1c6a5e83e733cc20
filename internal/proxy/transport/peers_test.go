package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/transport/tlstest"
)

// patience bounds what must happen; nothing is measured by it.
const patience = 20 * time.Second

// inline makes sources of PEM text.
func inline(p tlstest.Pair) KeyPair {
	return KeyPair{Chain: Source{Inline: p.Cert}, Key: Source{Inline: p.Key}}
}

func trusts(ca *tlstest.CA) Source { return Source{Inline: ca.PEM} }

// listen opens a port that is closed with the test.
func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// serve answers each connection with fn until the test ends, and gives the
// address.
func serve(t testing.TB, fn func(net.Conn)) string {
	t.Helper()
	ln := listen(t)
	var wg sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				_ = nc.SetDeadline(time.Now().Add(patience))
				fn(nc)
			})
		}
	})
	return ln.Addr().String()
}

// echoTLS is a foreign TLS server: crypto/tls itself. What it hears it says
// again.
func echoTLS(t testing.TB, config *tls.Config) string {
	t.Helper()
	return serve(t, func(nc net.Conn) {
		c := tls.Server(nc, config)
		_, _ = io.Copy(c, c)
	})
}

func loadClient(t testing.TB, cfg ClientConfig) *Client {
	t.Helper()
	c, err := LoadClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func loadServer(t *testing.T, cfg ServerConfig) *Server {
	t.Helper()
	s, err := LoadServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// dial opens a connection that is closed with the test.
func dial(t testing.TB, c *Client, address, alpn string) (*Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	nc, err := c.Dial(ctx, address, alpn)
	if err != nil {
		if nc != nil {
			t.Errorf("a connection came with the error %v", err)
		}
		return nil, err
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	return nc.(*Conn), nil
}

func mustDial(t testing.TB, c *Client, address, alpn string) *Conn {
	t.Helper()
	conn, err := dial(t, c, address, alpn)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// say sends a text and wants it back.
func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if err := echo(c, text); err != nil {
		t.Fatal(err)
	}
}

func echo(c net.Conn, text string) error {
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != text {
		return errors.New("heard " + string(got))
	}
	return nil
}

// pair joins a Server's connection with that of a foreign client, over real
// sockets.
func pair(t *testing.T, s *Server, config *tls.Config) (ours *Conn, theirs *tls.Conn) {
	t.Helper()
	ln := listen(t)
	accepted := make(chan net.Conn, 1)
	var failed error
	go func() {
		defer close(accepted)
		nc, err := ln.Accept()
		if err == nil {
			nc, err = s.Wrap(context.Background(), nc)
		}
		if err != nil {
			failed = err
			return
		}
		accepted <- nc
	}()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs = tls.Client(nc, config)
	t.Cleanup(func() { theirs.NetConn().Close() })
	_ = theirs.SetDeadline(time.Now().Add(patience))
	if err := theirs.Handshake(); err != nil {
		t.Error(err)
	}
	got, ok := <-accepted
	if !ok {
		t.Fatal(failed)
	}
	t.Cleanup(func() { got.Close() })
	_ = got.SetDeadline(time.Now().Add(patience))
	return got.(*Conn), theirs
}
