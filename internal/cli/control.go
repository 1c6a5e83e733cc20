package cli

import (
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/source/file"
	"github.com/reclosermesh/recloser/internal/observe"
	"github.com/reclosermesh/recloser/internal/plane"
)

func newControlCommand() *cobra.Command {
	var cfg plane.Config
	var paths []string
	var level string
	cmd := &cobra.Command{
		Use:   "control -f PATH...",
		Short: "Run the control plane",
		Long: `Runs the control plane: follows manifests in files and folders, tells proxies
over xDS what concerns them, collects their metrics and breaker reports, and
answers the HTTP API that the other commands ask.

It runs no workloads and no proxies; 'recloser up' does.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLogger(cmd.ErrOrStderr(), level)
			if err != nil {
				return err
			}
			if err := file.Check(paths); err != nil {
				return usagef("%w", err)
			}
			cfg.Control.Sources = []source.Source{file.New(file.Config{Paths: paths})}
			cfg.Control.Logger = log
			bi, _ := debug.ReadBuildInfo()
			cfg.Observe.Version = readVersion(bi)
			p, err := plane.New(cfg)
			if err != nil {
				return usagef("%w", err)
			}
			return p.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&paths, "filename", "f", nil, "manifest file or folder; may be given several times")
	f.StringVar(&cfg.Control.XDSAddress, "xds-address", control.DefaultXDSAddress, "where proxies connect")
	f.StringVar(&cfg.Control.RootNamespace, "root-namespace", policy.RootNamespace, "namespace of the DestinationRules for the whole mesh")
	f.StringVar(&cfg.Observe.Address, "http-address", observe.DefaultAddress, "where the HTTP API listens")
	f.BoolVar(&cfg.Observe.AllowRemote, "http-allow-remote", false, "let other machines use the HTTP API, which has no authentication yet")
	f.StringVar(&cfg.Observe.Store.Dir, "data-dir", "", "folder for metrics; without it they are temporary")
	f.StringVar(&cfg.Observe.Prometheus, "prometheus", "", "URL of a Prometheus that scrapes the proxies, instead of the embedded one")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	if err := cmd.MarkFlagRequired("filename"); err != nil {
		panic(err) // the flag stands a few lines above
	}
	return cmd
}

// newLogger writes text lines of a level and above.
func newLogger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	switch level {
	case "debug", "info", "warn", "error":
		if err := l.UnmarshalText([]byte(level)); err != nil {
			return nil, fmt.Errorf("log level: %w", err)
		}
	default:
		return nil, usagef("--log-level %q: allowed are debug, info, warn and error", level)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}
