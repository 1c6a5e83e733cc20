package cli

import (
	"fmt"
	"io"
	"runtime/debug"
	"slices"

	"github.com/spf13/cobra"

	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/source"
)

func newLintCommand() *cobra.Command {
	var world worldFlags
	var output, explain string
	var strict bool
	cmd := &cobra.Command{
		Use:   "lint [-f PATH...]",
		Short: "Tell what is wrong with a configuration",
		Long: `Tells what is wrong with the manifests in files and folders, or, without -f,
with the configuration of the mesh that runs: unknown fields, wrong values,
rules that never get a request, hosts that resolve to nothing, retries that
repeat what is unsafe, breakers that never open. Each finding names the object,
the field, the value, what is allowed, what to do, and the line; its code, in
brackets, is explained by --explain CODE and in docs/lint.md.

The exit status is 1 if there is an error, with --strict also if there is a
warning. -o sarif is for code hosts.`,
		Example: `  recloser lint -f manifests/
  recloser lint -f mesh.yaml -o sarif > lint.sarif
  recloser lint --strict --control http://127.0.0.1:8084
  recloser lint --explain shadowed-rule`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if explain != "" {
				return explainCode(cmd.OutOrStdout(), explain)
			}
			write, err := lintWriter(output)
			if err != nil {
				return err
			}
			o, err := world.open(cmd.Context())
			if err != nil {
				return err
			}
			if err := write(cmd.OutOrStdout(), o.Findings); err != nil {
				return err
			}
			if lint.Count(o.Findings, lint.Error) > 0 || strict && lint.Count(o.Findings, lint.Warning) > 0 {
				return errReported
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "text", "text, json or sarif")
	f.BoolVar(&strict, "strict", false, "exit with 1 for warnings too")
	f.StringVar(&explain, "explain", "", "explain a code, and do nothing else")
	addWorldFlags(cmd, &world)
	return cmd
}

// lintWriter prints findings in a form.
func lintWriter(output string) (func(io.Writer, []lint.Finding) error, error) {
	switch output {
	case "text":
		return lint.WriteText, nil
	case "json":
		return lint.WriteJSON, nil
	case "sarif":
		return func(w io.Writer, f []lint.Finding) error {
			bi, _ := debug.ReadBuildInfo()
			return lint.WriteSARIF(w, f, readVersion(bi).Version)
		}, nil
	}
	return nil, usagef("--output %q: allowed are text, json and sarif", output)
}

// explainCode prints what a code means.
func explainCode(w io.Writer, code string) error {
	if c, ok := lint.Explain(code); ok {
		_, err := fmt.Fprintf(w, "%s (%s)\n\nWhat: %s.\nMend: %s.\n", c.Code, c.Severity, c.What, c.Mend)
		return err
	}
	var names []string
	for _, s := range lint.Codes() {
		for _, c := range s.Codes {
			names = append(names, c.Code)
		}
	}
	slices.Sort(names)
	if near := source.Nearest(code, names); near != "" {
		return usagef("--explain %q: there is no such code; did you mean %s?", code, near)
	}
	return usagef("--explain %q: there is no such code; docs/lint.md lists all", code)
}
