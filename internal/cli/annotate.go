package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/observe"
	"github.com/reclosermesh/recloser/internal/observe/client"
	"github.com/reclosermesh/recloser/internal/observe/stat"
)

func newAnnotateCommand() *cobra.Command {
	var (
		a       observe.Annotation
		address string
	)
	cmd := &cobra.Command{
		Use:   "annotate KIND/NAME KEY=VALUE... KEY-...",
		Short: "Set or remove annotations of an object while the mesh runs",
		Long: `Sets (KEY=VALUE) and removes (KEY-) annotations of an object of the mesh that
runs, as 'kubectl annotate' does in a cluster. The files that the mesh was
started with stay as they are. A value that cannot be is refused and changes
nothing.

An annotation that has another value already is only changed with --overwrite.`,
		Example: `  recloser annotate -n circuit-breaking-demo svc/bb balancer.linkerd.io/failure-accrual=consecutive
  recloser annotate svc/bb --overwrite balancer.linkerd.io/failure-accrual-consecutive-max-failures=3
  recloser annotate svc/bb balancer.linkerd.io/failure-accrual-`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := annotation(&a, args); err != nil {
				return usagef("%w", err)
			}
			c, err := client.New(address)
			if err != nil {
				return usagef("%w", err)
			}
			defer c.Close()
			done, err := c.Annotate(cmd.Context(), a)
			if err != nil {
				return err
			}
			for _, k := range done.Absent {
				fmt.Fprintf(cmd.OutOrStdout(), "annotation %q not found.\n", k)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s annotated\n", done.Object)
			return tellFindings(cmd, c, done, a.Annotations)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&a.Namespace, "namespace", "n", "", "namespace of the object; may be left out when it is clear")
	f.BoolVar(&a.Overwrite, "overwrite", false, "change annotations that have another value")
	addControlFlag(cmd, &address)
	return cmd
}

// tellFindings tells what is wrong with values that were accepted: a port that
// is not there, for instance.
func tellFindings(cmd *cobra.Command, c *client.Client, done *observe.Annotated, set map[string]*string) error {
	found, err := c.Lint(cmd.Context())
	if err != nil {
		return fmt.Errorf("it is annotated, but what lint says of it is not known: %w", err)
	}
	object := done.Object + " -n " + done.Namespace
	for i := range found {
		for key, value := range set {
			if value != nil && found[i].Object == object && found[i].Field == source.AnnotationPath(key) {
				fmt.Fprintln(cmd.ErrOrStderr(), found[i].String())
			}
		}
	}
	return nil
}

// annotation reads KIND/NAME or KIND NAME, and what follows it, as kubectl does.
func annotation(a *observe.Annotation, args []string) error {
	name, rest := args[0], args[1:]
	if !strings.Contains(name, "/") {
		name += "/" + rest[0]
		rest = rest[1:]
	}
	ref, err := stat.ParseRef(name)
	if err != nil {
		return err
	}
	a.Kind, a.Name = string(ref.Kind), ref.Name
	a.Annotations = map[string]*string{}
	for _, s := range rest {
		key, value, set := strings.Cut(s, "=")
		change := &value
		if !set {
			var remove bool
			if key, remove = strings.CutSuffix(s, "-"); !remove {
				return fmt.Errorf("annotation %q: give KEY=VALUE to set it or KEY- to remove it", s)
			}
			change = nil
		}
		if key == "" {
			return fmt.Errorf("annotation %q: the key is missing", s)
		}
		if _, twice := a.Annotations[key]; twice {
			return fmt.Errorf("annotation %q is given twice", key)
		}
		a.Annotations[key] = change
	}
	if len(a.Annotations) == 0 {
		return errors.New("no annotation is given: KEY=VALUE sets one and KEY- removes one")
	}
	return nil
}
