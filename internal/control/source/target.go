package source

import (
	"net/netip"
	"strconv"
	"strings"
)

// This file is what may stand in the target of a request, and in its authority:
// a path or a host that requests are to be rewritten to and that a proxy could
// not send would have it refuse all routes of the service.

// What is allowed, for findings.
const (
	targetAllowed    = `a path as it is written in a request: visible ASCII without "#" and "\", and "%" only before two hexadecimal digits`
	authorityAllowed = "HOST or HOST:PORT, the host of letters, digits, dots and dashes, or an IP address"
)

// writable tells whether a path, with a query or without, can be written into a
// request line. A slash at its begin is added where it is not there.
func writable(path string) bool {
	path, query, _ := strings.Cut(path, "?")
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c <= ' ', c >= 0x7f, c == '#', c == '\\':
			return false
		case c != '%':
		case i+2 >= len(path) || !hexadecimal(path[i+1]) || !hexadecimal(path[i+2]):
			return false
		default:
			i += 2
		}
	}
	return !strings.ContainsFunc(query, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' })
}

func hexadecimal(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// authority tells whether a host, with a port or without, can be one of requests.
func authority(s string) bool {
	if !strings.HasPrefix(s, "[") {
		host, port, ported := strings.Cut(s, ":")
		return host != "" && !strings.ContainsFunc(host, notOfHost) && (!ported || portNumber(port))
	}
	inside, rest, _ := strings.Cut(s[1:], "]")
	if ip, err := netip.ParseAddr(inside); err != nil || !ip.Is6() || ip.Zone() != "" {
		return false
	}
	port, ported := strings.CutPrefix(rest, ":")
	return strings.Contains(s, "]") && (rest == "" || ported && portNumber(port))
}

// portNumber is 1 to 65535 without a leading zero.
func portNumber(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '0'
}

func notOfHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~", r)
}
