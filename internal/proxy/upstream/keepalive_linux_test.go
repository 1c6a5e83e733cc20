package upstream

import (
	"context"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The probes of TCP are set on the socket, under TLS too.
func TestTCPKeepAlive(t *testing.T) {
	server := newEcho(t)
	cfg := config(server.ln.Addr().String())
	cfg.KeepAlive = net.KeepAliveConfig{Enable: true, Idle: 77 * time.Second, Interval: 7 * time.Second, Count: 5}
	for name, wrap := range map[string]Dialer{
		"plain": nil,
		"within another": func(ctx context.Context, address, alpn string) (net.Conn, error) {
			nc, err := dialTCP(ctx, address, alpn)
			return wrapped{nc}, err
		},
	} {
		cfg.Dial = wrap
		_, e := endpointOf(t, cfg)
		c, err := e.Get(0, never, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		inner := c.Conn
		if w, ok := inner.(wrapped); ok {
			inner = w.NetConn()
		}
		raw, err := inner.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		err = raw.Control(func(fd uintptr) {
			got["idle"], _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
			got["interval"], _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)
			got["count"], _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
		})
		if err != nil || got["idle"] != 77 || got["interval"] != 7 || got["count"] != 5 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		e.Discard(c)
	}
}

// wrapped is a transport around a socket.
type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }
