package proxy

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// originalDst is SO_ORIGINAL_DST of netfilter, and IP6T_SO_ORIGINAL_DST, which
// has the same number.
const originalDst = 80

// redirectedFrom asks netfilter.
func redirectedFrom(c net.Conn) (netip.AddrPort, bool) {
	if over, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = over.NetConn()
	}
	sock, ok := c.(syscall.Conn)
	if !ok {
		return netip.AddrPort{}, false
	}
	raw, err := sock.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, false
	}
	var to netip.AddrPort
	if err := raw.Control(func(fd uintptr) { to = askNetfilter(int(fd)) }); err != nil {
		return netip.AddrPort{}, false
	}
	return elsewhere(c, to)
}

// askNetfilter gives an invalid address where there is none. The answers are
// socket addresses, for which package unix has no call: structures of the same
// size stand in for them.
func askNetfilter(fd int) netip.AddrPort {
	if v4, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, originalDst); err == nil {
		return fromSockaddrIn(v4.Multiaddr)
	}
	if v6, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, originalDst); err == nil {
		port := binary.NativeEndian.AppendUint16(nil, v6.Addr.Port)
		return netip.AddrPortFrom(netip.AddrFrom16(v6.Addr.Addr), binary.BigEndian.Uint16(port))
	}
	return netip.AddrPort{}
}

// fromSockaddrIn reads a sockaddr_in: family, port and address, the last two in
// network order.
func fromSockaddrIn(b [16]byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4]))
}
