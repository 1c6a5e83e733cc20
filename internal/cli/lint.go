package cli

import (
	"github.com/spf13/cobra"

	"github.com/reclosermesh/recloser/internal/control/lint"
)

func newLintCommand() *cobra.Command {
	var world worldFlags
	var output string
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
			o, err := world.open(cmd.Context())
			if err != nil {
				return err
			}
			write := lint.WriteText
			if output == "json" {
				write = lint.WriteJSON
			}
			if err := write(cmd.OutOrStdout(), o.Findings); err != nil {
				return err
			}
			if lint.Count(o.Findings, lint.Error) > 0 {
				return errReported
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	addWorldFlags(cmd, &world)
	return cmd
}
