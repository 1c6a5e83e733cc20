package perf

import (
	"fmt"
	"slices"
	"strings"
)

// A traffic is one kind of load: what the client speaks, what the upstream
// speaks, how the client loads, and who is measured under it. Each is a table
// of the report.
type traffic struct {
	name  string // of Traffics
	group string // of Protocols; choosing the group chooses it
	title string // heading of the table
	unit  string // what is counted: "request", "call", "message"

	front, back protocol  // what the client speaks, and what the upstream does
	origin      string    // the upstream: of origins
	load        generator // how the subjects are loaded
	direct      generator // how the upstream is loaded by itself, when that differs
	idle        idleKind
	path        string // what is asked for when a subject has been started
	subjects    []string
}

type protocol int

const (
	http1 protocol = iota + 1
	http2
)

// idleKind is what memory is measured with, besides at rest.
type idleKind int

const (
	idleNothing     idleKind = iota
	idleConnections          // connections that have made one request each
	idleStreams              // open calls on a hundredth as many connections
)

// streamsPerConnection is how many idle streams share a connection: as many as
// every subject allows by default.
const streamsPerConnection = 100

// sayPath and talkPath are the methods of grpcpeer.
const (
	sayPath  = "/recloser.bench.Echo/Say"
	talkPath = "/recloser.bench.Echo/Talk"
)

// traffics, in the order in which they are measured and printed.
var traffics = []traffic{
	{
		name: "h1", group: "h1", unit: "request",
		title: "HTTP/1.1", front: http1, back: http1, origin: "nginx", load: wrk{}, idle: idleConnections, path: "/",
		subjects: []string{"recloser", "recloser-all", "nginx", "haproxy", "envoy", "reverseproxy"},
	},
	{
		name: "h2-h1", group: "h2", unit: "request",
		title: "HTTP/2 to an HTTP/1.1 upstream", front: http2, back: http1, origin: "nginx",
		load: h2load{}, direct: wrk{}, idle: idleConnections, path: "/",
		subjects: []string{"recloser", "nginx", "haproxy", "nghttpx", "envoy"},
	},
	{
		name: "h2-h2", group: "h2", unit: "request",
		title: "HTTP/2 to an HTTP/2 upstream", front: http2, back: http2, origin: "nginx", load: h2load{}, idle: idleConnections, path: "/",
		subjects: []string{"recloser", "haproxy", "nghttpx", "envoy"},
	},
	{
		name: "h2-rate", group: "h2", unit: "request",
		title: "HTTP/2 to an HTTP/1.1 upstream, at a fixed rate", front: http2, back: http1, origin: "nginx",
		load: h2load{paced: true}, direct: wrk{}, path: "/",
		subjects: []string{"recloser", "nginx", "haproxy", "nghttpx", "envoy"},
	},
	{
		name: "grpc-unary", group: "grpc", unit: "call",
		title: "gRPC, unary calls", front: http2, back: http2, origin: "grpcpeer", load: h2load{grpc: true}, idle: idleStreams, path: sayPath,
		subjects: []string{"recloser", "nginx", "haproxy", "nghttpx", "envoy"},
	},
	{
		name: "grpc-stream", group: "grpc", unit: "message",
		title: "gRPC, messages on one long stream, there and back", front: http2, back: http2, origin: "grpcpeer", load: talk{}, path: sayPath,
		subjects: []string{"recloser", "nginx", "haproxy", "nghttpx", "envoy"},
	},
}

// Protocols returns the groups of traffic that can be measured: Config takes
// these, and the names of Traffics.
func Protocols() []string { return []string{"h1", "h2", "grpc"} }

// Traffics returns the names of all kinds of traffic, in order.
func Traffics() []string {
	names := make([]string, len(traffics))
	for i, t := range traffics {
		names[i] = t.name
	}
	return names
}

// chosen returns the traffics that names stand for, in order.
func chosen(names []string) []*traffic {
	var ts []*traffic
	for i := range traffics {
		if t := &traffics[i]; slices.Contains(names, t.name) || slices.Contains(names, t.group) {
			ts = append(ts, t)
		}
	}
	return ts
}

// alone is how the upstream is loaded without a proxy.
func (t *traffic) alone() generator {
	if t.direct != nil {
		return t.direct
	}
	return t.load
}

// loadOf and idleOf say what the figures were measured with.
func (t *traffic) loadOf(c *Config) string {
	h2 := fmt.Sprintf("%d connections of %d streams", c.HTTP2Connections, c.HTTP2Streams)
	switch l := t.load.(type) {
	case h2load:
		if l.paced {
			return fmt.Sprintf("%s, %d requests/s", h2, c.Rate)
		}
		return h2
	case talk:
		return fmt.Sprintf("%d messages of %d bytes under way", talkWindow, len(answer))
	}
	return fmt.Sprintf("%d connections", c.Connections)
}

func (t *traffic) idleOf(c *Config) (what string, n int) {
	switch {
	case t.idle == idleConnections && c.IdleConnections > 0:
		return "conns", c.IdleConnections
	case t.idle == idleStreams && c.IdleStreams > 0:
		return "streams", c.IdleStreams
	}
	return "", 0
}

// paced says whether requests come at a rate of their own.
func (t *traffic) paced() bool {
	l, ok := t.load.(h2load)
	return ok && l.paced
}

// checkProtocols returns what is wrong with names, if anything.
func checkProtocols(names []string) error {
	allowed := Protocols()
	for _, t := range Traffics() {
		if !slices.Contains(allowed, t) {
			allowed = append(allowed, t)
		}
	}
	for _, name := range names {
		if !slices.Contains(allowed, name) {
			return fmt.Errorf("protocol %q: allowed are %s", name, strings.Join(allowed, ", "))
		}
	}
	return nil
}
