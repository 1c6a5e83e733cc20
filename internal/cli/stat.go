package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/reclosermesh/recloser/internal/observe/client"
	"github.com/reclosermesh/recloser/internal/observe/stat"
)

func newStatCommand() *cobra.Command {
	var (
		req             stat.Request
		to, from        string
		output, address string
	)
	cmd := &cobra.Command{
		Use:   "stat RESOURCE [NAME]",
		Short: "Show success rate, request rate, latencies and connections",
		Long: `Shows success rate, requests per second, latencies and open connections over
the last seconds, one row per resource. RESOURCE is a kind or KIND/NAME; kinds
are deploy, po, svc, workload and ns.

A deployment's row shows what its instances received. With --to it shows what
they sent to that place, as they saw it: refusals by a breaker included. With
--from, and for services, it shows what the callers' proxies saw.

Without -n the mesh's only namespace is taken or, if there are several,
"default".`,
		Example: `  recloser stat -n circuit-breaking-demo deploy
  recloser stat -n circuit-breaking-demo deploy/slow-cooker --to svc/bb
  recloser stat -A svc -t 1m -o json`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if len(args) == 2 {
				name += "/" + args[1]
			}
			for given, into := range map[string]*stat.Ref{name: &req.Resource, to: &req.To, from: &req.From} {
				if given == "" {
					continue
				}
				ref, err := stat.ParseRef(given)
				if err != nil {
					return usagef("%w", err)
				}
				*into = ref
			}
			if cmd.Flags().Changed("time-window") && req.Window == 0 {
				return usagef("--time-window 0s: give 1s to 720h")
			}
			if output != "table" && output != "wide" && output != "json" {
				return usagef("--output %q: allowed are table, wide and json", output)
			}
			c, err := client.New(address)
			if err != nil {
				return usagef("%w", err)
			}
			defer c.Close()
			t, err := c.Stat(cmd.Context(), req)
			if err != nil {
				return err
			}
			return writeStat(cmd, t, req, output)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&req.Namespace, "namespace", "n", "", "namespace of the resource")
	f.BoolVarP(&req.AllNamespaces, "all-namespaces", "A", false, "resources of all namespaces")
	f.DurationVarP(&req.Window, "time-window", "t", stat.DefaultWindow, "time over which rates and latencies are taken: 1s to 720h")
	f.StringVar(&to, "to", "", "only calls to this resource")
	f.StringVar(&req.ToNamespace, "to-namespace", "", "namespace of --to (default: that of the resource)")
	f.StringVar(&from, "from", "", "only calls from this resource")
	f.StringVar(&req.FromNamespace, "from-namespace", "", "namespace of --from (default: that of the resource)")
	f.StringVarP(&req.Selector, "selector", "l", "", "only resources with these labels")
	f.StringVarP(&output, "output", "o", "table", "table, wide or json")
	addControlFlag(cmd, &address)
	cmd.MarkFlagsMutuallyExclusive("namespace", "all-namespaces")
	cmd.MarkFlagsMutuallyExclusive("to", "from")
	cmd.MarkFlagsMutuallyExclusive("to", "from-namespace")
	cmd.MarkFlagsMutuallyExclusive("from", "to-namespace")
	return cmd
}

func writeStat(cmd *cobra.Command, t *stat.Table, req stat.Request, output string) error {
	if output == "json" {
		return writeJSON(cmd.OutOrStdout(), t.Rows)
	}
	if len(t.Rows) == 0 {
		_, err := fmt.Fprintf(cmd.ErrOrStderr(), "There is no %s to show.\n", req.Resource.Kind)
		return err
	}
	return t.WriteTable(cmd.OutOrStdout(), stat.Options{Namespaces: req.AllNamespaces && req.Resource.Kind != stat.Namespace, Wide: output == "wide"})
}
