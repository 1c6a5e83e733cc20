package apps

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// bbConfig is what the arguments of bb say. The flags and their defaults are
// those of buoyantio/bb.
type bbConfig struct {
	strategy          string
	id                string        // default: made of the strategy and the ports
	h1Port            int           // -1: no HTTP server
	grpcPort          int           // -1: no gRPC server
	h1Downstreams     []string      // URLs
	grpcDownstreams   []string      // host:port
	grpcProxy         string        //
	percentFailure    int           // 0 to 100
	sleepMillis       int           // 0 or more
	terminateAfter    int           // requests; 0: never
	fireAndForget     bool          //
	downstreamTimeout time.Duration // of one call, connecting included; default 1m
	logLevel          string        // panic, fatal, error, warn, info, debug

	responseText string // terminus: the payload of its answers

	egressURL     string        // http-egress: what to call
	egressMethod  string        // http-egress: GET, POST, PUT, DELETE or PATCH; default GET
	egressTimeout time.Duration // http-egress: of one call; default 10s
}

// The strategies of bb: what it does with a request.
const (
	bbTerminus     = "terminus"
	bbPointToPoint = "point-to-point-channel"
	bbBroadcast    = "broadcast-channel"
	bbEgress       = "http-egress"
)

// runBB is bb: a building block of which graphs of services are made.
func runBB(ctx context.Context, args []string, env Env) error {
	cmd := newBBCommand(env, func(ctx context.Context, cfg *bbConfig) error {
		return serveBB(ctx, cfg, env)
	})
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	var started *startedError
	if err != nil && !errors.As(err, &started) {
		return &UsageError{"bb", err}
	}
	return err
}

// startedError marks a failure after the arguments were found to be right.
type startedError struct{ err error }

func (e *startedError) Error() string { return "bb: " + e.err.Error() }
func (e *startedError) Unwrap() error { return e.err }

// newBBCommand is the command line of bb; run gets the checked configuration.
func newBBCommand(env Env, run func(context.Context, *bbConfig) error) *cobra.Command {
	cfg := &bbConfig{}
	root := &cobra.Command{
		Use:           "bb",
		Short:         "A building block of a service graph: answers, passes on, or fails requests",
		SilenceErrors: true,
		SilenceUsage:  true,
		CompletionOptions: cobra.CompletionOptions{
			DisableDefaultCmd: true,
		},
	}
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	bindBBFlags(root, cfg)

	strategy := func(name, short string) *cobra.Command {
		c := &cobra.Command{
			Use: name, Short: short, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				cfg.strategy = name
				if cfg.id == "" {
					cfg.id = fmt.Sprintf("%s-grpc:%d-h1:%d", name, cfg.grpcPort, cfg.h1Port)
				}
				if err := cfg.validate(); err != nil {
					return err
				}
				if err := run(cmd.Context(), cfg); err != nil {
					return &startedError{err}
				}
				return nil
			},
		}
		root.AddCommand(c)
		return c
	}
	strategy(bbTerminus, "Answer with a fixed payload").Flags().
		StringVar(&cfg.responseText, "response-text", "", "payload of the answer")
	strategy(bbPointToPoint, "Pass the request to the one downstream server")
	strategy(bbBroadcast, "Pass the request to all downstream servers and join their answers")
	egress := strategy(bbEgress, "Call a URL and answer with the body that comes back").Flags()
	egress.StringVar(&cfg.egressURL, "url", "", "HTTP(S) URL to call")
	egress.StringVar(&cfg.egressMethod, "method", http.MethodGet, "method of the call: "+strings.Join(egressMethods(), ", "))
	egress.DurationVar(&cfg.egressTimeout, "http-client-timeout", 10*time.Second, "time limit of the call")
	return root
}

// bindBBFlags declares the flags that all strategies have.
func bindBBFlags(root *cobra.Command, cfg *bbConfig) {
	f := root.PersistentFlags()
	f.StringVar(&cfg.id, "id", "", "name of this instance in request identifiers and errors")
	f.IntVar(&cfg.h1Port, "h1-server-port", -1, "port of the HTTP/1.1 server")
	f.IntVar(&cfg.grpcPort, "grpc-server-port", -1, "port of the gRPC server")
	f.StringSliceVar(&cfg.h1Downstreams, "h1-downstream-server", nil, "server to pass requests to, protocol://hostname:port (repeatable)")
	f.StringSliceVar(&cfg.grpcDownstreams, "grpc-downstream-server", nil, "gRPC server to pass requests to, hostname:port (repeatable)")
	f.StringVar(&cfg.grpcProxy, "grpc-proxy", "", "proxy for gRPC requests, host:port (default: that of HTTP_PROXY)")
	f.IntVar(&cfg.percentFailure, "percent-failure", 0, "share of requests to fail, in percent")
	f.IntVar(&cfg.sleepMillis, "sleep-in-millis", 0, "time to wait before a request is handled, in ms")
	f.IntVar(&cfg.terminateAfter, "terminate-after", 0, "end after this many requests (0: never)")
	f.BoolVar(&cfg.fireAndForget, "fire-and-forget", false, "answer without waiting for downstream servers")
	f.DurationVar(&cfg.downstreamTimeout, "downstream-timeout", time.Minute, "time limit of one call to a downstream server")
	f.StringVar(&cfg.logLevel, "log-level", "info", "panic, fatal, error, warn, info or debug (one line per request)")
}

// validate finds everything that is wrong with c.
func (c *bbConfig) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if c.grpcPort == -1 && c.h1Port == -1 {
		bad("--h1-server-port, --grpc-server-port: %s needs a server port", c.strategy)
	}
	badPort := func(port int) bool { return port != -1 && (port < 1 || port > 65535) }
	if badPort(c.h1Port) {
		bad("--h1-server-port %d: allowed are 1 to 65535", c.h1Port)
	}
	if badPort(c.grpcPort) {
		bad("--grpc-server-port %d: allowed are 1 to 65535", c.grpcPort)
	}
	if c.grpcPort != -1 && c.grpcPort == c.h1Port {
		bad("--grpc-server-port %d: is that of the HTTP/1.1 server too", c.grpcPort)
	}
	if c.percentFailure < 0 || c.percentFailure > 100 {
		bad("--percent-failure %d: allowed are 0 to 100", c.percentFailure)
	}
	if c.sleepMillis < 0 {
		bad("--sleep-in-millis %d: allowed are 0 and more", c.sleepMillis)
	}
	if c.terminateAfter < 0 {
		bad("--terminate-after %d: allowed are 0 and more", c.terminateAfter)
	}
	if c.downstreamTimeout <= 0 {
		bad("--downstream-timeout %v: must be above 0", c.downstreamTimeout)
	}
	if _, ok := bbLevel(c.logLevel); !ok {
		bad("--log-level %q: allowed are panic, fatal, error, warn, info and debug", c.logLevel)
	}
	for _, d := range c.h1Downstreams {
		if err := checkHTTPURL(d); err != nil {
			bad("--h1-downstream-server %q: %w", d, err)
		}
	}
	for _, d := range c.grpcDownstreams {
		if err := checkHostPort(d); err != nil {
			bad("--grpc-downstream-server %q: %w", d, err)
		}
	}
	if c.grpcProxy != "" {
		if err := checkHostPort(c.grpcProxy); err != nil {
			bad("--grpc-proxy %q: %w", c.grpcProxy, err)
		}
	}
	return errors.Join(append(errs, c.validateStrategy())...)
}

// validateStrategy checks what each strategy needs of its neighbours.
func (c *bbConfig) validateStrategy() error {
	n := len(c.h1Downstreams) + len(c.grpcDownstreams)
	switch c.strategy {
	case bbTerminus:
		if n != 0 {
			return fmt.Errorf("terminus has no downstream servers, %d given", n)
		}
	case bbPointToPoint:
		if n != 1 {
			return fmt.Errorf("point-to-point-channel needs exactly one downstream server, %d given", n)
		}
	case bbBroadcast:
		if n < 2 {
			return fmt.Errorf("broadcast-channel needs two downstream servers or more, %d given", n)
		}
	case bbEgress:
		if n != 0 {
			return fmt.Errorf("http-egress has no downstream servers, %d given; it calls --url", n)
		}
		if err := checkHTTPURL(c.egressURL); err != nil {
			return fmt.Errorf("--url %q: %w", c.egressURL, err)
		}
		if !slices.Contains(egressMethods(), c.egressMethod) {
			return fmt.Errorf("--method %q: allowed are %s", c.egressMethod, strings.Join(egressMethods(), ", "))
		}
		if c.egressTimeout <= 0 {
			return fmt.Errorf("--http-client-timeout %v: must be above 0", c.egressTimeout)
		}
	}
	return nil
}

func egressMethods() []string { return []string{"GET", "POST", "PUT", "DELETE", "PATCH"} }

func checkHTTPURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return err
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return errors.New("want http://HOST[:PORT] or https://HOST[:PORT]")
	}
	return nil
}

// bbLevel maps the original's level names to slog's.
func bbLevel(name string) (slog.Level, bool) {
	switch name {
	case "panic", "fatal":
		return slog.LevelError + 4, true
	case "error":
		return slog.LevelError, true
	case "warn", "warning":
		return slog.LevelWarn, true
	case "info":
		return slog.LevelInfo, true
	case "debug":
		return slog.LevelDebug, true
	}
	return 0, false
}
