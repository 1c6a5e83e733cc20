package proxy

import (
	"net"
	"net/netip"
)

// originalDestination tells where a connection was going before the network
// redirected it to us; false: it came on its own.
type originalDestination func(c net.Conn) (netip.AddrPort, bool)

// elsewhere drops a destination that is the connection's own local address,
// which is what some kernels give for one that was not redirected.
func elsewhere(c net.Conn, to netip.AddrPort) (netip.AddrPort, bool) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if !to.IsValid() || to.Port() == 0 || to.Addr().IsUnspecified() {
		return netip.AddrPort{}, false
	}
	if here, ok := c.LocalAddr().(*net.TCPAddr); ok {
		at := here.AddrPort()
		if netip.AddrPortFrom(at.Addr().Unmap(), at.Port()) == to {
			return netip.AddrPort{}, false
		}
	}
	return to, true
}
