package proxy

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
	"github.com/reclosermesh/recloser/internal/proxy/http2"
	"github.com/reclosermesh/recloser/internal/proxy/journal"
	"github.com/reclosermesh/recloser/internal/proxy/mirror"
	"github.com/reclosermesh/recloser/internal/proxy/snapshot"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// OutboundListener is the name of the listener whose address Config.Outbound
// may set.
const OutboundListener = "outbound"

// Node is who this proxy is, for the control plane.
type Node struct {
	// ID is POD.NAMESPACE. Empty: made of Pod and Namespace.
	ID             string
	Namespace      string
	Pod            string
	Workload       string
	WorkloadKind   string
	ServiceAccount string
	// Locality is REGION, REGION/ZONE or REGION/ZONE/SUBZONE. Empty: not known.
	Locality string
	// Metadata is added to the node's.
	Metadata map[string]string
}

// Config of Run. DefaultConfig has the defaults of all that has one.
type Config struct {
	Node Node
	// XDS is the control plane's HOST:PORT. Exactly one of XDS and Resources.
	XDS string
	// Resources is a file of resources in place of a control plane.
	Resources string
	// Admin is where the admin port listens.
	Admin string
	// Outbound is the address of the listener "outbound". Empty: as the
	// listener resource says.
	Outbound string
	// DrainTimeout bounds what is under way when the proxy or a listener ends.
	// 0: nothing is waited for.
	DrainTimeout time.Duration

	Timeouts Timeouts
	HTTP1    http1.Limits
	// HTTP2 is for callers' connections; a KeepAlive of 0 asks for no signs of
	// life.
	HTTP2 http2.Config
	// MaxConnections bounds the callers' connections on each listener. 0: none.
	MaxConnections int
	// MaxKept bounds what is kept of a request's body so that it can be tried
	// again or mirrored, in bytes. 0: nothing is kept.
	MaxKept int
	// MaxMirrors bounds the mirrored copies under way on each listener. 0: none
	// is sent.
	MaxMirrors int
	// HostIdle is how long a host stays subscribed without a request: at least so
	// long, and at most twice. More than 0.
	HostIdle time.Duration
	// MaxHosts bounds the hosts that are subscribed at a time, those that do not
	// exist included. At least 1.
	MaxHosts int
	// Events is how many events of breakers are kept. At least 1.
	Events int
	// MinBackoff and MaxBackoff bound the time between two attempts to reach
	// the control plane. More than 0, and the former at most the latter.
	MinBackoff, MaxBackoff time.Duration

	// AccessLog is where the access log goes; nil: nowhere.
	AccessLog       io.Writer
	AccessLogFormat telemetry.LogFormat
	// Version is shown in metrics and to the control plane.
	Version string
	Logger  *slog.Logger
}

// DefaultConfig has the defaults.
func DefaultConfig() Config {
	return Config{
		Admin:          "127.0.0.1:4191",
		DrainTimeout:   30 * time.Second,
		Timeouts:       Timeouts{}.withDefaults(),
		MaxConnections: 10_000,
		MaxKept:        DefaultMaxKept,
		MaxMirrors:     mirror.DefaultMax,
		HTTP2:          http2.Config{MaxConcurrentStreams: 100, StreamWindow: 65535, KeepAlive: 30 * time.Second, KeepAliveTimeout: 20 * time.Second},
		HTTP1: http1.Limits{
			MaxHeadBytes: http1.DefaultMaxHeadBytes, MaxHeaders: http1.DefaultMaxHeaders,
			MaxChunkExtBytes: http1.DefaultMaxChunkExtBytes, MaxTrailerBytes: http1.DefaultMaxTrailerBytes,
		},
		HostIdle:   snapshot.DefaultHostIdle,
		MaxHosts:   snapshot.DefaultMaxHosts,
		Events:     journal.DefaultSize,
		MinBackoff: xds.DefaultMinBackoff,
		MaxBackoff: xds.DefaultMaxBackoff,
		Logger:     slog.New(slog.DiscardHandler),
	}
}

// Validate says everything that is wrong with c.
func (c *Config) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if (c.XDS == "") == (c.Resources == "") {
		add("xds %q, resources %q: exactly one of them is needed", c.XDS, c.Resources)
	}
	for _, a := range []struct {
		name, value string
		optional    bool
	}{{"xds", c.XDS, true}, {"admin", c.Admin, false}, {"outbound", c.Outbound, true}} {
		if a.value == "" && a.optional {
			continue
		}
		if _, _, err := net.SplitHostPort(a.value); err != nil {
			add("%s %q: must be HOST:PORT", a.name, a.value)
		}
	}
	if c.XDS != "" && c.Node.id() == "" {
		add("node id: must be given, or pod and namespace")
	}
	if strings.Count(c.Node.Locality, "/") > 2 {
		add("locality %q: must be REGION, REGION/ZONE or REGION/ZONE/SUBZONE", c.Node.Locality)
	}
	c.checkDurations(add)
	c.checkCounts(add)
	if c.MinBackoff > c.MaxBackoff {
		add("minimum back-off %v: must be at most the maximum, %v", c.MinBackoff, c.MaxBackoff)
	}
	return errors.Join(errs...)
}

// checkDurations adds what is wrong with times; most may be 0, for none or for
// the default.
func (c *Config) checkDurations(add func(format string, args ...any)) {
	for _, d := range []struct {
		name  string
		value time.Duration
		zero  bool
	}{
		{"drain timeout", c.DrainTimeout, true},
		{"head timeout", c.Timeouts.Head, true},
		{"idle timeout", c.Timeouts.Idle, true},
		{"stream timeout", c.Timeouts.Stream, true},
		{"tunnel timeout", c.Timeouts.Tunnel, true},
		{"host timeout", c.Timeouts.Hosts, true},
		{"linger timeout", c.Timeouts.Linger, true},
		{"drain idle", c.Timeouts.DrainIdle, true},
		{"detect timeout", c.Timeouts.Detect, true},
		{"TCP idle timeout", c.Timeouts.TCP, true},
		{"HTTP/2 keep-alive", c.HTTP2.KeepAlive, true},
		{"host idle", c.HostIdle, false},
		{"minimum back-off", c.MinBackoff, false},
		{"maximum back-off", c.MaxBackoff, false},
	} {
		if d.value < 0 || d.value == 0 && !d.zero {
			add("%s %v: must be positive", d.name, d.value)
		}
	}
}

// checkCounts adds what is wrong with numbers and sizes.
func (c *Config) checkCounts(add func(format string, args ...any)) {
	for _, n := range []struct {
		name  string
		value int
		least int
	}{
		{"max connections", c.MaxConnections, 0},
		{"max kept body", c.MaxKept, 0},
		{"max mirrors", c.MaxMirrors, 0},
		{"max hosts", c.MaxHosts, 1},
		{"events", c.Events, 1},
		{"max head bytes", c.HTTP1.MaxHeadBytes, 1024},
		{"max headers", c.HTTP1.MaxHeaders, 1},
		{"max chunk extension bytes", c.HTTP1.MaxChunkExtBytes, 1},
		{"max trailer bytes", c.HTTP1.MaxTrailerBytes, 1},
		{"HTTP/2 max streams", int(c.HTTP2.MaxConcurrentStreams), 1},
		{"HTTP/2 stream window", int(c.HTTP2.StreamWindow), 1},
	} {
		if n.value < n.least {
			add("%s %d: must be at least %d", n.name, n.value, n.least)
		}
	}
}

func (n *Node) id() string {
	if n.ID == "" && n.Pod != "" && n.Namespace != "" {
		return n.Pod + "." + n.Namespace
	}
	return n.ID
}
