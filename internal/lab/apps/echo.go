package apps

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// echoConfig is what the arguments of echo say. The flags, and the ports
// without any, are those of the server of gateway-api/echo-advanced, as far as
// its manifests use them.
type echoConfig struct {
	http    []int // ports of HTTP, of both versions
	grpc    []int
	tcp     []int
	tls     []int // which of the ports of HTTP speak TLS
	cert    string
	key     string
	version string
	cluster string
}

// runEcho is echo: it answers every request with what it was asked and who it
// is, a line for each thing.
func runEcho(ctx context.Context, args []string, env Env) error {
	cfg := &echoConfig{}
	started := false
	cmd := &cobra.Command{
		Use: "echo", Short: "Answer with what was asked, and by whom it was answered",
		Args: cobra.NoArgs, SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.validate(); err != nil {
				return err
			}
			started = true
			return serveEcho(cmd.Context(), cfg, env)
		},
	}
	f := cmd.Flags()
	f.IntSliceVar(&cfg.http, "port", []int{8080}, "port of HTTP/1.1 and HTTP/2 (repeatable)")
	f.IntSliceVar(&cfg.grpc, "grpc", []int{7070}, "port of gRPC (repeatable)")
	f.IntSliceVar(&cfg.tcp, "tcp", []int{9090}, "port on which bytes come back as they are (repeatable)")
	f.IntSliceVar(&cfg.tls, "tls", nil, "which ports of HTTP speak TLS (repeatable)")
	f.StringVar(&cfg.cert, "crt", "", "file of the certificate for TLS (one that the image would have is made here)")
	f.StringVar(&cfg.key, "key", "", "file of its key")
	f.StringVar(&cfg.version, "version", "", "version that answers name")
	f.StringVar(&cfg.cluster, "cluster", "", "cluster that answers name")
	cmd.SetIn(env.Stdin)
	cmd.SetOut(env.Stdout)
	cmd.SetErr(env.Stderr)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	switch {
	case err != nil && !started:
		return &UsageError{"echo", err}
	case err != nil:
		return fmt.Errorf("echo: %w", err)
	}
	return nil
}

func (c *echoConfig) validate() error {
	all := slices.Concat(c.http, c.grpc, c.tcp)
	for _, p := range slices.Concat(all, c.tls) {
		if p < 1 || p > 65535 {
			return fmt.Errorf("port %d: must be 1 to 65535", p)
		}
	}
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != len(all) {
		return fmt.Errorf("ports %v: each may stand once", all)
	}
	for _, p := range c.tls {
		if !slices.Contains(c.http, p) {
			return fmt.Errorf("--tls %d: it must be one of --port", p)
		}
	}
	return nil
}

// echo is one running server.
type echo struct {
	cfg      *echoConfig
	hostname string // of the instance
	logger   *slog.Logger
}

// serveEcho serves all ports until ctx ends.
func serveEcho(ctx context.Context, cfg *echoConfig, env Env) error {
	e := &echo{cfg: cfg, hostname: env.Getenv("HOSTNAME"), logger: slog.New(slog.NewTextHandler(env.Stderr, nil))}
	if e.hostname == "" {
		var err error
		if e.hostname, err = os.Hostname(); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := e.open(ctx, g, env)
	if err != nil {
		cancel() // what is open already ends again
	}
	return errors.Join(err, g.Wait())
}

// open starts a server on each port.
func (e *echo) open(ctx context.Context, g *errgroup.Group, env Env) error {
	start := func(ports []int, serve func(net.Listener, int) error) error {
		for _, port := range ports {
			address, err := listenAddress(env.Getenv, port)
			if err != nil {
				return err
			}
			var lc net.ListenConfig
			ln, err := lc.Listen(ctx, "tcp", address)
			if err != nil {
				return err
			}
			g.Go(func() error { return serve(ln, port) })
		}
		return nil
	}
	secure, err := e.certificate()
	if err != nil {
		return err
	}
	return errors.Join(
		start(e.cfg.http, func(ln net.Listener, port int) error {
			if slices.Contains(e.cfg.tls, port) {
				ln = secure(ln)
			}
			return e.serveHTTP(ctx, ln, port)
		}),
		start(e.cfg.grpc, func(ln net.Listener, port int) error { return e.serveGRPC(ctx, ln, port) }),
		start(e.cfg.tcp, func(ln net.Listener, _ int) error { return serveBytes(ctx, ln) }),
	)
}

// answer is what is told of a request: a line "Name=value" for each thing.
type echoAnswer struct{ strings.Builder }

func (a *echoAnswer) add(name, value string) {
	// A value with a line end would look like another thing.
	a.WriteString(name + "=" + strings.NewReplacer("\r", " ", "\n", " ").Replace(value) + "\n")
}

// begin adds what is told of every request.
func (e *echo) begin(a *echoAnswer, port int, host string) {
	a.add("ServiceVersion", e.cfg.version)
	a.add("ServicePort", fmt.Sprint(port))
	a.add("Host", host)
	a.add("Hostname", e.hostname)
	a.add("Cluster", e.cfg.cluster)
}
