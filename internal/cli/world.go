package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/observe/client"
)

// worldFlags say what a command about configuration looks at: manifests, or
// the mesh that runs.
type worldFlags struct {
	paths   []string
	address string
	// root is the namespace of the rules for the whole mesh, for manifests; the
	// mesh that runs says its own.
	root string
}

// addWorldFlags adds --filename and --control, of which one may be given, and
// --root-namespace.
func addWorldFlags(cmd *cobra.Command, into *worldFlags) {
	cmd.Flags().StringArrayVarP(&into.paths, "filename", "f", nil,
		"manifest file or folder, or - for the standard input; may be given several times (default: the mesh that runs)")
	cmd.Flags().StringVar(&into.root, "root-namespace", "",
		"with -f: namespace of the DestinationRules for the whole mesh (default "+policy.RootNamespace+")")
	addControlFlag(cmd, &into.address)
	cmd.MarkFlagsMutuallyExclusive("filename", "control")
}

// live tells whether the mesh that runs is looked at.
func (w *worldFlags) live() bool { return len(w.paths) == 0 }

// open reads the manifests, or asks the control plane for all that it has read.
// Either way the answer is made here, by the same code.
func (w *worldFlags) open(ctx context.Context) (*control.Offline, error) {
	if !w.live() {
		o, err := control.ReadFor(w.root, readable(w.paths))
		if err != nil {
			return nil, usagef("%w", err)
		}
		return o, nil
	}
	if w.root != "" {
		return nil, usagef("--root-namespace: it is for manifests (-f); the mesh that runs has its own")
	}
	c, err := client.New(w.address)
	if err != nil {
		return nil, usagef("%w", err)
	}
	defer c.Close()
	r, err := c.Objects(ctx)
	if err != nil {
		return nil, err
	}
	return control.Restore(r)
}

// callerFlags say whose calls a command asks about.
type callerFlags struct{ namespace, from string }

// addCallerFlags adds --client and --from.
func addCallerFlags(cmd *cobra.Command, into *callerFlags) {
	cmd.Flags().StringVar(&into.namespace, "client", "", "namespace of the caller (default: the service's)")
	cmd.Flags().StringVar(&into.from, "from", "", "the caller: deploy/NAME, workload/NAME or pod/NAME, in the namespace of --client")
}

// client is the caller, by default any of the given namespace.
func (c *callerFlags) client(o *control.Offline, namespace string) (model.Client, error) {
	if c.namespace != "" {
		namespace = c.namespace
	}
	m, err := o.ClientOf(c.from, namespace)
	if err != nil {
		return model.Client{}, usagef("--from: %w", err)
	}
	return m, nil
}

// readable are paths with the file that "-" stands for, the standard input, as
// in kubectl.
func readable(paths []string) []string {
	out := slices.Clone(paths)
	for i, p := range out {
		if p == "-" {
			out[i] = "/dev/stdin"
		}
	}
	return out
}
