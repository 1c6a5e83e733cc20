package cli

import (
	"cmp"
	"os"

	"github.com/spf13/cobra"

	"github.com/reclosermesh/recloser/internal/observe/client"
)

// addControlFlag adds --control, which names the control plane that a command
// asks. RECLOSER_CONTROL is its default when that is set.
func addControlFlag(cmd *cobra.Command, into *string) {
	cmd.Flags().StringVar(into, "control", cmp.Or(os.Getenv("RECLOSER_CONTROL"), client.DefaultURL),
		"URL of the control plane (RECLOSER_CONTROL)")
}
