package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
)

func newPolicyCommand() *cobra.Command {
	var q policyQuestion
	cmd := &cobra.Command{
		Use:   "policy svc/NAME [PORT]",
		Short: "Show the effective policy of a service's port, and where each value comes from",
		Long: `Shows what holds for requests to a port of a service: what is spoken there,
balancer, waiting, limits and breaker, each value with the object and line that it comes from, or
whose default it is. It asks the mesh that runs; with -f it reads manifests. PORT may
be left out where the service has one port.

With -o json or -o yaml it prints the document that 'linkerd diagnostics
policy' prints; the breaker is at .protocol.Kind.Detect.http1.failure_accrual,
and below Kind.Http1 or Kind.Http2 where the protocol is declared.`,
		Example: `  recloser policy -n demo svc/bb 8080
  recloser policy svc/bb -o json
  recloser policy svc/bb --client shop --from deploy/web
  recloser policy -f mesh.yaml svc/bb 8080`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usagef("svc/NAME is missing: whose policy?")
			case len(args) > 2:
				return usagef("%q: nothing comes after svc/NAME and PORT", args[2])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			service, port, err := policyArgs(args)
			if err != nil {
				return err
			}
			return q.show(cmd.Context(), cmd.OutOrStdout(), service, port)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&q.namespace, "namespace", "n", "", "namespace of the service; may be left out when it is clear")
	f.StringVarP(&q.output, "output", "o", "text", "text, json or yaml")
	addCallerFlags(cmd, &q.caller)
	addWorldFlags(cmd, &q.world)
	return cmd
}

// policyQuestion is whose policy is shown to whom, and how.
type policyQuestion struct {
	world  worldFlags
	caller callerFlags

	namespace, output string
}

// show prints the policy of a port of a service; port 0 is its only one.
func (q *policyQuestion) show(ctx context.Context, w io.Writer, service string, port uint16) error {
	if q.output != "text" && q.output != "json" && q.output != "yaml" {
		return usagef("--output %q: allowed are text, json and yaml", q.output)
	}
	o, err := q.world.open(ctx)
	if err != nil {
		return err
	}
	in := q.namespace
	if in == "" {
		if in, err = o.NamespaceOf(service); err != nil {
			return err
		}
	}
	client, err := q.caller.client(o, in)
	if err != nil {
		return err
	}
	e, err := o.Effective(client, model.Name{Namespace: in, Name: service}, port)
	if err != nil {
		return err
	}
	if q.output == "text" {
		return writePolicyText(w, o, client, e)
	}
	return writePolicy(w, q.output, e)
}

// policyArgs are the service and the port of `policy svc/NAME [PORT]`; the
// port is 0 when it is left out.
func policyArgs(args []string) (service string, port uint16, err error) {
	kind, name, ok := strings.Cut(args[0], "/")
	if !ok || name == "" || kind != "svc" && kind != "service" && kind != "services" {
		return "", 0, usagef("%q: name a service as svc/NAME", args[0])
	}
	if len(args) == 1 {
		return name, 0, nil
	}
	n, err := strconv.ParseUint(args[1], 10, 16)
	if err != nil || n == 0 {
		return "", 0, usagef("port %q: give a number from 1 to 65535", args[1])
	}
	return name, uint16(n), nil
}

// writePolicyText prints where requests go, and what holds for them there.
func writePolicyText(w io.Writer, o *control.Offline, client model.Client, e *policy.Effective) error {
	if err := e.WriteText(w); err != nil {
		return err
	}
	r, err := o.Policy.Routes(client, model.Name{Namespace: e.Namespace, Name: e.Service}, e.Port)
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	return r.WriteText(w)
}

func writePolicy(w io.Writer, output string, e *policy.Effective) error {
	raw, err := json.MarshalIndent(policy.LinkerdJSON(e), "", "  ")
	if err != nil {
		return err
	}
	if output == "yaml" {
		if raw, err = yaml.JSONToYAML(raw); err != nil {
			return err
		}
	} else {
		raw = append(raw, '\n')
	}
	_, err = w.Write(raw)
	return err
}
