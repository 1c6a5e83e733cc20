package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reclosermesh/recloser/internal/lab/apps"
)

// newAppCommand runs the built-in sample programs. What comes after the
// program's name belongs to the program, flags and --help included.
func newAppCommand() *cobra.Command {
	var list strings.Builder
	for _, p := range apps.Programs() {
		fmt.Fprintf(&list, "  %-12s %s\n", p.Name, p.Summary)
	}
	return &cobra.Command{
		Use:   "app PROGRAM [ARGUMENT...]",
		Short: "Run a built-in sample program",
		Long: "Run a built-in sample program with the flags of the original:\n\n" + list.String() +
			"\nrecloser up starts them for containers of the images that they stand for.",
		Example: "  recloser app bb terminus --h1-server-port=8080 --response-text=hello\n" +
			"  recloser app slow_cooker -qps 10 http://localhost:8080",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "-h" || args[0] == "--help" {
				return cmd.Help()
			}
			if err := apps.EndWithParent(os.Getenv); err != nil {
				return err
			}
			err := apps.Run(cmd.Context(), args[0], args[1:], apps.Env{
				Stdin:  cmd.InOrStdin(),
				Stdout: cmd.OutOrStdout(),
				Stderr: cmd.ErrOrStderr(),
				Getenv: os.Getenv,
			})
			if _, ok := errors.AsType[*apps.UsageError](err); ok {
				return usagef("%w", err)
			}
			return err
		},
	}
}
