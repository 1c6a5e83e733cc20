package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reclosermesh/recloser/internal/control/convert"
)

func newConvertCommand() *cobra.Command {
	var world worldFlags
	var to, output string
	var all bool
	cmd := &cobra.Command{
		Use:   "convert --to DIALECT",
		Short: "Write the same policy in another dialect, and list what it cannot carry",
		Long: `Writes the policy that holds, whoever wrote it, as manifests of another dialect:

  gateway-api   HTTPRoutes, XBackendTrafficPolicies, Linkerd's annotations for breakers
  istio         VirtualServices and DestinationRules
  linkerd       HTTPRoutes and annotations as Linkerd has them
  recloser      HTTPRoutes with all filters, Linkerd's annotations and Recloser's own

The manifests go to standard output and take the place of all routes and
policies that were read. Services are among them where their annotations change;
with --all everything else is, too. What the other dialect has no words for goes
to standard error, one line each, with the object and field that says it, and
why. It asks the mesh that runs; with -f it reads manifests.

With -o json one document has both: "manifests" and "lost".`,
		Example: `  recloser convert --to gateway-api -f mesh/ > routes.yaml
  recloser convert --to istio -f mesh.yaml -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(convert.Dialects(), convert.Dialect(to)) {
				return usagef("--to %q: allowed are %s", to, dialectList())
			}
			if output != "yaml" && output != "json" {
				return usagef("--output %q: allowed are yaml and json", output)
			}
			o, err := world.open(cmd.Context())
			if err != nil {
				return err
			}
			r, err := convert.Convert(o.World, o.Policy, convert.Options{To: convert.Dialect(to), All: all})
			if err != nil {
				return err
			}
			if output == "json" {
				return writeJSON(cmd.OutOrStdout(), r)
			}
			if err := r.WriteYAML(cmd.OutOrStdout()); err != nil {
				return err
			}
			return r.WriteLost(cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&to, "to", "", "the dialect to write: "+dialectList())
	f.StringVarP(&output, "output", "o", "yaml", "yaml or json")
	f.BoolVar(&all, "all", false, "write Services, workloads and endpoints too")
	addWorldFlags(cmd, &world)
	return cmd
}

func dialectList() string {
	var out []string
	for _, d := range convert.Dialects() {
		out = append(out, string(d))
	}
	return strings.Join(out, ", ")
}
