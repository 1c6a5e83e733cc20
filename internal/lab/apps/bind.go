package apps

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// The environment of a program that runs outside a container.
const (
	EnvAddress = "RECLOSER_APP_ADDRESS" // address to bind, default 0.0.0.0
	EnvPorts   = "RECLOSER_APP_PORTS"   // ports to bind in the place of others: "8080=41002,..."
	EnvControl = "RECLOSER_LAB_CONTROL" // where to serve the knobs: a socket path or a loopback host:port

	// EnvEndWithParent, when it is not empty, makes a program end at once when
	// the process that started it has ended (Linux).
	EnvEndWithParent = "RECLOSER_END_WITH_PARENT"
)

// listenAddress is the address on which a program serves what its arguments
// call port.
func listenAddress(getenv func(string) string, port int) (string, error) {
	address := getenv(EnvAddress)
	if address == "" {
		address = "0.0.0.0"
	}
	if _, err := netip.ParseAddr(address); err != nil {
		return "", fmt.Errorf("%s %q: not an IP address", EnvAddress, address)
	}
	ports, err := parsePorts(getenv(EnvPorts))
	if err != nil {
		return "", err
	}
	if other, ok := ports[port]; ok {
		port = other
	}
	return net.JoinHostPort(address, strconv.Itoa(port)), nil
}

// parsePorts reads the value of EnvPorts.
func parsePorts(s string) (map[int]int, error) {
	ports := make(map[int]int)
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		from, to, ok := strings.Cut(item, "=")
		a, errA := strconv.ParseUint(from, 10, 16)
		b, errB := strconv.ParseUint(to, 10, 16)
		if !ok || errA != nil || errB != nil || a == 0 || b == 0 {
			return nil, fmt.Errorf("%s item %q: want PORT=PORT, each 1 to 65535", EnvPorts, item)
		}
		ports[int(a)] = int(b)
	}
	return ports, nil
}
