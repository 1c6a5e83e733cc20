package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/reclosermesh/recloser/internal/local"
	"github.com/reclosermesh/recloser/internal/local/demo"
)

func newDemoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the mesh at work on this machine",
	}
	cmd.AddCommand(newCircuitBreakingCommand())
	return cmd
}

func newCircuitBreakingCommand() *cobra.Command {
	var up local.UpConfig
	var fast, asJSON bool
	var window time.Duration
	cmd := &cobra.Command{
		Use:   "circuit-breaking",
		Short: "Play Linkerd's circuit-breaking tutorial and compare the figures",
		Long: `Runs the manifest of Linkerd's circuit-breaking tutorial, word for word, on this
machine: a client that calls a Service with one good endpoint and one that
always fails. Shows the success rate without a breaker, switches the breaker on
by its annotation, shows it open, heals the endpoint, shows the probe and the
recovery, then makes every endpoint fail and shows how callers are refused.

Ends with the figures beside the tutorial's own; the exit status is 1 if they
are not met. While it runs, the other commands work on its mesh.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pace := demo.Normal()
			if fast {
				pace = demo.Fast()
			}
			if cmd.Flags().Changed("window") {
				if window < time.Second || window > time.Hour {
					return usagef("--window %s: allowed are 1s to 1h", window)
				}
				pace.Quiet = window
			}
			out := cmd.OutOrStdout()
			if asJSON {
				out = cmd.ErrOrStderr()
			}
			show := demo.NewShow(out, columns(out))
			defer show.Close()
			up.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelError}))
			result, err := demo.Play(cmd.Context(), up, pace, show)
			if err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			if asJSON {
				err = result.WriteJSON(cmd.OutOrStdout())
			} else {
				show.Part("The figures", "")
				err = result.Write(out)
			}
			if err == nil && !result.Met {
				err = errors.New("the tutorial's figures are not met")
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&fast, "fast", false, "shorter looks and back-offs: about half a minute")
	f.DurationVar(&window, "window", demo.Normal().Quiet, "window of the figures with the breaker; 1m is the tutorial's")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON; what happens goes to standard error")
	f.StringVar(&up.HTTPAddress, "http-address", "", "where the HTTP API of the mesh listens (default 127.0.0.1:8084)")
	f.StringVar(&up.ProxyPath, "proxy", "", "the recloser-proxy program (default: beside recloser, then in PATH)")
	return cmd
}
