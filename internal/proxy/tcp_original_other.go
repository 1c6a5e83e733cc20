//go:build !linux

package proxy

import (
	"net"
	"net/netip"
)

// redirectedFrom knows of no redirection on this system.
func redirectedFrom(net.Conn) (netip.AddrPort, bool) { return netip.AddrPort{}, false }
