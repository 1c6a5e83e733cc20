package model

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/source"
)

// Domain is the cluster domain under which Services have host names.
const Domain = "cluster.local"

// Host is a service's full host name.
func (n Name) Host() string { return n.Name + "." + n.Namespace + ".svc." + Domain }

// Authority is what a request names: a host and a port.
type Authority struct {
	// Service is which service the host would be, by its form alone. Empty
	// when IP is set or when the host cannot be a service.
	Service Name
	// IP is set when the host is an address.
	IP string
	// Port is 80 when none is written.
	Port uint16
}

// ParseAuthority reads "bb", "bb.ns", "bb.ns.svc", "bb.ns.svc.cluster.local"
// or an IP address, each with an optional port and an optional final dot. A
// name without a namespace is one of the client's, as a Pod's resolv.conf has
// it.
func ParseAuthority(authority, clientNamespace string) (Authority, bool) {
	host, port, ok := splitPort(strings.ToLower(authority))
	if !ok {
		return Authority{}, false
	}
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return Authority{IP: ip.String(), Port: port}, true
	}
	host = strings.TrimSuffix(host, ".")
	host = strings.TrimSuffix(host, "."+Domain)
	parts := strings.Split(host, ".")
	switch {
	case len(parts) == 1 && parts[0] != "" && clientNamespace != "":
		return Authority{Service: Name{clientNamespace, parts[0]}, Port: port}, true
	case len(parts) == 2, len(parts) == 3 && parts[2] == "svc":
		if parts[0] != "" && parts[1] != "" {
			return Authority{Service: Name{parts[1], parts[0]}, Port: port}, true
		}
	}
	return Authority{}, false
}

// SplitAuthority gives the host and the port of an authority, in lower case. It
// is false where it is none.
func SplitAuthority(authority string) (host string, port uint16, ok bool) {
	return splitPort(strings.ToLower(authority))
}

// splitPort cuts the port off; without one it is 80, the default of http.
func splitPort(authority string) (host string, port uint16, ok bool) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.HasSuffix(authority, "]") || strings.Count(authority, ":") > 1 && authority[0] != '[' {
		return authority, 80, authority != ""
	}
	n, err := strconv.ParseUint(authority[i+1:], 10, 16)
	return authority[:i], uint16(n), err == nil && n > 0 && i > 0
}

// Resolve is the service and port that an authority means, or nil.
func (w *World) Resolve(a Authority) (*Service, *Port) {
	name := a.Service
	if a.IP != "" {
		name = w.clusterIPs[a.IP]
	}
	s := w.Service(name.Namespace, name.Name)
	if s == nil {
		return nil, nil
	}
	p := s.Port(a.Port)
	if p == nil {
		return nil, nil
	}
	return s, p
}

// NearService is the mend for a service that does not exist: the one of its
// namespace that may be meant, or "".
func (w *World) NearService(name Name) string {
	n := w.namespaces[name.Namespace]
	if n == nil {
		return ""
	}
	return source.Meant(name.Name, slices.Sorted(maps.Keys(n.services)))
}

// RuleHosts are the hosts that are no services and that rules name, without
// patterns, in order.
func (w *World) RuleHosts() []string {
	hosts := slices.Sorted(maps.Keys(w.hostRules))
	return slices.DeleteFunc(hosts, func(h string) bool { return strings.Contains(h, "*") })
}
