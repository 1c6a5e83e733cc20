package proxy

import (
	"net"
	"net/netip"
	"testing"
)

// at is a connection that was accepted at an address.
type at struct {
	net.Conn
	local net.Addr
}

func (a at) LocalAddr() net.Addr { return a.local }

func TestOriginalDestinationIsElsewhere(t *testing.T) {
	here := at{local: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 4140}}
	for _, tt := range []struct{ to, want string }{
		{"10.0.0.9:80", "10.0.0.9:80"},
		{"10.0.0.1:80", "10.0.0.1:80"},
		{"[fd00::1]:443", "[fd00::1]:443"},
		{"[::ffff:10.0.0.9]:80", "10.0.0.9:80"},
		{"10.0.0.1:4140", ""}, // nobody redirected it
		{"[::ffff:10.0.0.1]:4140", ""},
		{"10.0.0.9:0", ""},
		{"0.0.0.0:80", ""},
		{"[::]:80", ""},
	} {
		got, ok := elsewhere(here, netip.MustParseAddrPort(tt.to))
		if ok != (tt.want != "") || ok && got.String() != tt.want {
			t.Errorf("%s: %v, %v; want %q", tt.to, got, ok, tt.want)
		}
	}
	if got, ok := elsewhere(here, netip.AddrPort{}); ok {
		t.Errorf("nothing became %v", got)
	}
}

func TestConnectionsOnTheirOwnHaveNoOriginalDestination(t *testing.T) {
	c, _ := tcpPair(t)
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	for _, c := range []net.Conn{c, ours} {
		if to, ok := redirectedFrom(c); ok {
			t.Errorf("%T was redirected from %v", c, to)
		}
	}
}
