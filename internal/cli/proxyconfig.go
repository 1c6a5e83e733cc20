package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/proxyconfig"
	"github.com/reclosermesh/recloser/internal/control/translate"
)

func newProxyConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "proxy-config",
		Aliases: []string{"pc"},
		Short:   "Show the xDS that a workload's proxy gets: listeners, routes, clusters, endpoints",
		Long: `Shows what the proxy of a workload gets from the control plane, in Envoy's own
words, as 'istioctl proxy-config' does. Our proxies ask for hosts and clusters when
they are used first; here is all that the workload could use.

It asks the mesh that runs; with -f it reads manifests. What the manifests do not
say, a file cannot: without the Pods of a workload there is no inbound side.`,
	}
	for _, sub := range []struct {
		kind    proxyconfig.Kind
		aliases []string
		short   string
	}{
		{proxyconfig.Listeners, []string{"listeners", "l"}, "Where the proxy accepts connections"},
		{proxyconfig.Routes, []string{"routes", "r"}, "Which requests go where"},
		{proxyconfig.Clusters, []string{"clusters", "c"}, "Groups of endpoints, each with its policy"},
		{proxyconfig.Endpoints, []string{"endpoints", "ep"}, "The addresses of clusters"},
	} {
		cmd.AddCommand(newProxyConfigOf(sub.kind, sub.aliases, sub.short))
	}
	return cmd
}

func newProxyConfigOf(kind proxyconfig.Kind, aliases []string, short string) *cobra.Command {
	var world worldFlags
	var namespace, name, output, shape string
	cmd := &cobra.Command{
		Use:     string(kind) + " deploy/NAME",
		Aliases: aliases,
		Short:   short,
		Example: fmt.Sprintf(`  recloser proxy-config %[1]s deploy/web -n demo
  recloser pc %[1]s deploy/web -n demo --name bb -o yaml
  recloser pc %[1]s deploy/web -f mesh.yaml`, kind),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("name one workload: deploy/NAME, workload/NAME or pod/NAME")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" && output != "yaml" {
				return usagef("--output %q: allowed are text, json and yaml", output)
			}
			if shape != "recloser" && shape != "envoy" {
				return usagef("--proxy %q: allowed are recloser and envoy", shape)
			}
			o, err := world.open(cmd.Context())
			if err != nil {
				return err
			}
			client, err := workload(o, args[0], namespace)
			if err != nil {
				return usagef("%w", err)
			}
			node := proxyconfig.NodeOf(o.World, client)
			if shape == "envoy" {
				node.Shape = translate.Envoy
			}
			v := translate.View{World: o.World, Policy: o.Policy}
			list := proxyconfig.Named(proxyconfig.Of(v, node, kind), name)
			switch output {
			case "json":
				return proxyconfig.WriteJSON(cmd.OutOrStdout(), list)
			case "yaml":
				return proxyconfig.WriteYAML(cmd.OutOrStdout(), list)
			}
			return proxyconfig.WriteText(cmd.OutOrStdout(), v, node, list, name)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&namespace, "namespace", "n", "", "namespace of the workload; may be left out when it is clear")
	f.StringVar(&name, "name", "", "only what has this in its name")
	f.StringVarP(&output, "output", "o", "text", "text, json or yaml")
	f.StringVar(&shape, "proxy", "recloser", "as it is for a recloser or an envoy proxy")
	addWorldFlags(cmd, &world)
	return cmd
}

// workload is a workload by its name, in the only namespace that has it where
// none is given.
func workload(o *control.Offline, name, namespace string) (model.Client, error) {
	if namespace != "" {
		return o.ClientOf(name, namespace)
	}
	var found []model.Client
	for _, ns := range o.World.NamespaceNames() {
		if c, err := o.ClientOf(name, ns); err == nil && c.Workload != "" {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		return o.ClientOf(name, "default")
	case 1:
		return found[0], nil
	}
	var in []string
	for _, c := range found {
		in = append(in, c.Namespace)
	}
	return model.Client{}, fmt.Errorf("%s is in the namespaces %s; choose one with -n", name, strings.Join(in, ", "))
}
