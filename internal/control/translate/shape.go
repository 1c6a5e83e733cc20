package translate

import (
	"strconv"
	"strings"
)

// Shape is the form in which a kind of xDS client wants its resources. What a
// client would refuse, or does not know how to ask for, is not sent to it.
type Shape uint8

const (
	// Recloser asks for a virtual host when it is used, by VHDS.
	Recloser Shape = iota
	// Envoy gets all clusters and all virtual hosts at once. It could ask for
	// virtual hosts by its on_demand filter and VHDS too, but in the delta
	// variant alone, for one alias of a host at a time, and with the first
	// request of each held back; and it has to be told of all clusters in any
	// case. Whoever runs an Envoy has memory for it.
	Envoy
	// GRPC is a program that calls "xds:///svc.ns:port" without a proxy: it asks
	// for a listener of that name.
	GRPC
	// GRPCGo is grpc-go in a version that knows LEAST_REQUEST without being told
	// so by an environment variable; others refuse the whole cluster.
	GRPCGo
)

// leastRequestGo is the first minor version of grpc-go 1.x of which we know that
// it takes LEAST_REQUEST.
const leastRequestGo = 85

// ShapeOf is the shape for what a node says of itself: "envoy", "gRPC Go" with
// version "1.85.0", "gRPC Java" …
func ShapeOf(userAgent, version string) Shape {
	name := strings.ToLower(userAgent)
	switch {
	case name == "envoy":
		return Envoy
	case name == "grpc go" && minorOf(version) >= leastRequestGo:
		return GRPCGo
	case strings.HasPrefix(name, "grpc"):
		return GRPC
	default:
		return Recloser
	}
}

// minorOf is y in "1.y.z"; very many after 1.
func minorOf(version string) int {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	if n, err := strconv.Atoi(major); err == nil && n > 1 {
		return leastRequestGo
	}
	n, _ := strconv.Atoi(minor) // not a number: an unknown version
	return n
}

// Proxyless tells whether a program asks for itself.
func (s Shape) Proxyless() bool { return s == GRPC || s == GRPCGo }

// String is the shape's name.
func (s Shape) String() string {
	switch s {
	case Envoy:
		return "envoy"
	case GRPC, GRPCGo:
		return "grpc"
	default:
		return "recloser"
	}
}
