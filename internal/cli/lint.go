package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/observe/client"
)

func newLintCommand() *cobra.Command {
	var paths []string
	var address, output string
	cmd := &cobra.Command{
		Use:   "lint [-f PATH...]",
		Short: "Tell what is wrong with a configuration",
		Long: `Tells what is wrong with the manifests in files and folders, or, without -f,
with the configuration of the mesh that runs: unknown fields, wrong types and
values, annotations that do nothing, Services that select nothing. Each finding
names the object, the field, the value, what is allowed, and the line.

The exit status is 1 if there is an error; warnings leave it at 0.`,
		Example: `  recloser lint -f manifests/
  recloser lint -f mesh.yaml -o json
  recloser lint --control http://127.0.0.1:8084`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return usagef("--output %q: allowed are text and json", output)
			}
			findings, err := findings(cmd.Context(), paths, address)
			if err != nil {
				return err
			}
			write := lint.WriteText
			if output == "json" {
				write = lint.WriteJSON
			}
			if err := write(cmd.OutOrStdout(), findings); err != nil {
				return err
			}
			if lint.Count(findings, lint.Error) > 0 {
				return errReported
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&paths, "filename", "f", nil, "manifest file or folder; may be given several times")
	f.StringVarP(&output, "output", "o", "text", "text or json")
	addControlFlag(cmd, &address)
	cmd.MarkFlagsMutuallyExclusive("filename", "control")
	return cmd
}

// findings are those of manifests, or of the mesh that runs.
func findings(ctx context.Context, paths []string, address string) ([]lint.Finding, error) {
	if len(paths) > 0 {
		o, err := control.Read(paths)
		if err != nil {
			return nil, usagef("%w", err)
		}
		return o.Findings, nil
	}
	c, err := client.New(address)
	if err != nil {
		return nil, usagef("%w", err)
	}
	defer c.Close()
	return c.Lint(ctx)
}
