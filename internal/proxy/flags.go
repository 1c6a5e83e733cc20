package proxy

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/reclosermesh/recloser/internal/telemetry"
)

// EnvPrefix begins the names of environment variables: RECLOSER_PROXY_DRAIN_TIMEOUT
// stands for --drain-timeout where the flag is not given.
const EnvPrefix = "RECLOSER_PROXY_"

// ErrUsage marks errors of the command line.
var ErrUsage = errors.New("usage")

// ErrDone says that there is nothing to run: help or version was asked for.
var ErrDone = errors.New("done")

// Streams of the program.
type Streams struct{ Out, Err io.Writer }

// ParseFlags reads the command line of recloser-proxy, and the environment for
// what the command line leaves open.
func ParseFlags(args []string, getenv func(string) string, version string, streams Streams) (Config, error) {
	c := DefaultConfig()
	c.Version = version
	f := flag.NewFlagSet("recloser-proxy", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	var logLevel slog.Level
	var logFormat, accessLog, accessFile string
	metadata := make(map[string]string)
	showVersion := f.Bool("version", false, "print the version and end")
	c.bindNode(f, metadata)
	c.bindBounds(f)
	f.TextVar(&logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	f.StringVar(&logFormat, "log-format", "text", "text or json")
	f.StringVar(&accessLog, "access-log", "off", "off, or Istio's formats: text or json")
	f.StringVar(&accessFile, "access-log-file", "", "`file` of the access log, appended to; empty: standard output")

	fail := func(err error) (Config, error) {
		return Config{}, fmt.Errorf("%w: %w (see recloser-proxy --help)", ErrUsage, err)
	}
	if err := fromEnvironment(f, getenv); err != nil {
		return fail(err)
	}
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		printHelp(f, streams.Out)
		return Config{}, ErrDone
	case err != nil:
		return fail(err)
	case f.NArg() > 0:
		return fail(fmt.Errorf("argument %q: none is taken", f.Arg(0)))
	case *showVersion:
		fmt.Fprintln(streams.Out, "recloser-proxy", version)
		return Config{}, ErrDone
	}
	c.Node.Metadata = metadata
	logger, err := newLogger(streams.Err, logLevel, logFormat)
	if err != nil {
		return fail(err)
	}
	c.Logger = logger
	if err := c.Validate(); err != nil {
		return fail(err)
	}
	if accessLog != "off" {
		if c.AccessLogFormat, err = telemetry.ParseLogFormat(accessLog); err != nil {
			return fail(err)
		}
		if c.AccessLog, err = openAccessLog(accessFile, streams.Out); err != nil {
			return Config{}, err
		}
	}
	return c, nil
}

func (c *Config) bindNode(f *flag.FlagSet, metadata map[string]string) {
	f.StringVar(&c.Node.ID, "node-id", "", "`id` of this proxy; empty: POD.NAMESPACE")
	f.StringVar(&c.Node.Namespace, "namespace", "", "`namespace` of the workload")
	f.StringVar(&c.Node.Pod, "pod", "", "`name` of the workload's instance")
	f.StringVar(&c.Node.Workload, "workload", "", "`name` of the workload")
	f.StringVar(&c.Node.WorkloadKind, "workload-kind", "Deployment", "`kind` of the workload")
	f.StringVar(&c.Node.ServiceAccount, "service-account", "", "service `account` of the workload")
	f.StringVar(&c.Node.Locality, "locality", "", "`REGION/ZONE/SUBZONE` of the instance, as much of it as is known: for balancing by place")
	f.Func("node-metadata", "`KEY=VALUE` for the control plane; may be repeated", func(s string) error {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return errors.New("must be KEY=VALUE")
		}
		metadata[key] = value
		return nil
	})
	f.StringVar(&c.XDS, "xds", "", "`HOST:PORT` of the control plane")
	f.StringVar(&c.Resources, "resources", "", "`file` of resources in place of a control plane; read again when it changes")
	f.StringVar(&c.Admin, "admin", c.Admin, "`HOST:PORT` of the admin port")
	f.StringVar(&c.Outbound, "outbound", "", "`HOST:PORT` of the outbound listener; empty: as the control plane says")
}

func (c *Config) bindBounds(f *flag.FlagSet) {
	f.DurationVar(&c.DrainTimeout, "drain-timeout", c.DrainTimeout, "how long requests under way may take when the proxy ends")
	f.DurationVar(&c.Timeouts.Head, "head-timeout", c.Timeouts.Head, "from the first byte of a request to the end of its head")
	f.DurationVar(&c.Timeouts.Idle, "idle-timeout", c.Timeouts.Idle, "between two requests on a caller's connection")
	f.DurationVar(&c.Timeouts.Stream, "stream-timeout", c.Timeouts.Stream, "without one byte moving within an exchange")
	f.DurationVar(&c.Timeouts.Tunnel, "tunnel-timeout", c.Timeouts.Tunnel, "without one byte moving after an upgrade")
	f.DurationVar(&c.Timeouts.Hosts, "host-timeout", c.Timeouts.Hosts, "for the control plane's word on a new host")
	f.DurationVar(&c.Timeouts.Linger, "linger-timeout", c.Timeouts.Linger, "how long a connection that ends is read on, so that its peer gets the answer")
	f.DurationVar(&c.Timeouts.DrainIdle, "drain-idle", c.Timeouts.DrainIdle, "how long idle connections stay open for a last request when draining")
	f.DurationVar(&c.Timeouts.Detect, "detect-timeout", c.Timeouts.Detect, "for the bytes that tell a connection's protocol, where the listener does not say how long; after it they are opaque")
	f.DurationVar(&c.Timeouts.TCP, "tcp-idle-timeout", c.Timeouts.TCP, "without one byte moving on a connection of opaque bytes, where the listener does not say how long")
	f.IntVar(&c.MaxConnections, "max-connections", c.MaxConnections, "callers' connections on each listener; 0: no bound")
	f.IntVar(&c.MaxKept, "max-kept-body", c.MaxKept, "bytes of a request's body that are kept so that it can be tried again or mirrored; a larger body goes out once")
	f.IntVar(&c.MaxMirrors, "max-mirrors", c.MaxMirrors, "mirrored copies under way on each listener; more are dropped")
	f.IntVar(&c.HTTP1.MaxHeadBytes, "max-head-bytes", c.HTTP1.MaxHeadBytes, "bytes of one head")
	f.IntVar(&c.HTTP1.MaxHeaders, "max-headers", c.HTTP1.MaxHeaders, "headers of one head or trailer section")
	f.IntVar(&c.HTTP1.MaxChunkExtBytes, "max-chunk-extension-bytes", c.HTTP1.MaxChunkExtBytes, "bytes of one chunk's extensions")
	f.IntVar(&c.HTTP1.MaxTrailerBytes, "max-trailer-bytes", c.HTTP1.MaxTrailerBytes, "bytes of one trailer section")
	f.Var((*number)(&c.HTTP2.MaxConcurrentStreams), "http2-max-streams", "streams of one caller's connection")
	f.Var((*number)(&c.HTTP2.StreamWindow), "http2-stream-window", "bytes that a caller may send ahead on one stream")
	f.DurationVar(&c.HTTP2.KeepAlive, "http2-keepalive", c.HTTP2.KeepAlive, "how long a caller may be silent before it is asked for a sign of life by PING; 0: for ever")
	f.DurationVar(&c.HostIdle, "host-idle", c.HostIdle, "how long a host stays subscribed without a request")
	f.IntVar(&c.MaxHosts, "max-hosts", c.MaxHosts, "hosts that are subscribed at a time")
	f.IntVar(&c.Events, "events", c.Events, "events of breakers that are kept")
	f.DurationVar(&c.MinBackoff, "xds-min-backoff", c.MinBackoff, "first pause before the control plane is sought again")
	f.DurationVar(&c.MaxBackoff, "xds-max-backoff", c.MaxBackoff, "longest pause before the control plane is sought again")
}

// number is a flag from 1 to 2147483647, the most that HTTP/2 has for windows and
// streams.
type number uint32

func (n *number) String() string { return strconv.FormatUint(uint64(*n), 10) }

// Set reads the flag.
func (n *number) Set(s string) error {
	v, err := strconv.ParseUint(s, 10, 31)
	if err != nil || v == 0 {
		return errors.New("must be from 1 to 2147483647")
	}
	*n = number(v)
	return nil
}

func fromEnvironment(f *flag.FlagSet, getenv func(string) string) error {
	var errs []error
	f.VisitAll(func(one *flag.Flag) {
		name := EnvPrefix + strings.ToUpper(strings.ReplaceAll(one.Name, "-", "_"))
		if value := getenv(name); value != "" {
			if err := f.Set(one.Name, value); err != nil {
				errs = append(errs, fmt.Errorf("%s %q: %w", name, value, err))
			}
		}
	})
	return errors.Join(errs...)
}

func newLogger(w io.Writer, level slog.Level, format string) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf(`log-format %q: allowed are "text" and "json"`, format)
}

func openAccessLog(path string, standard io.Writer) (io.Writer, error) {
	if path == "" {
		return standard, nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	return f, nil
}

func printHelp(f *flag.FlagSet, w io.Writer) {
	fmt.Fprint(w, "recloser-proxy is the data plane of the Recloser mesh, one for each workload instance.\n\n"+
		"  recloser-proxy --xds HOST:PORT --pod POD --namespace NAMESPACE [flags]\n"+
		"  recloser-proxy --resources FILE [flags]\n\n"+
		"Each flag may be set by the environment: --drain-timeout by "+EnvPrefix+"DRAIN_TIMEOUT.\n\nFlags:\n")
	all := make(map[string]*flag.Flag)
	f.VisitAll(func(one *flag.Flag) { all[one.Name] = one })
	for _, name := range slices.Sorted(maps.Keys(all)) {
		kind, usage := flag.UnquoteUsage(all[name])
		line := "  --" + name
		if kind != "" {
			line += " " + kind
		}
		fmt.Fprintf(w, "%s\n        %s", line, usage)
		if d := all[name].DefValue; d != "" && d != "false" {
			fmt.Fprintf(w, " (default %s)", d)
		}
		fmt.Fprintln(w)
	}
}
