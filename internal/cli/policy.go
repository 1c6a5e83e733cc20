package cli

import (
	"context"
	"encoding/json"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/observe"
	"github.com/reclosermesh/recloser/internal/observe/client"
)

func newPolicyCommand() *cobra.Command {
	var paths []string
	var address, output string
	var req observe.PolicyRequest
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
			kind, name, ok := strings.Cut(args[0], "/")
			if !ok || name == "" || kind != "svc" && kind != "service" && kind != "services" {
				return usagef("%q: name a service as svc/NAME", args[0])
			}
			req.Service = name
			if len(args) > 1 {
				port, err := strconv.ParseUint(args[1], 10, 16)
				if err != nil || port == 0 {
					return usagef("port %q: give a number from 1 to 65535", args[1])
				}
				req.Port = uint16(port)
			}
			if output != "text" && output != "json" && output != "yaml" {
				return usagef("--output %q: allowed are text, json and yaml", output)
			}
			e, err := effective(cmd.Context(), paths, address, req)
			if err != nil {
				return err
			}
			return writePolicy(cmd.OutOrStdout(), output, e)
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&paths, "filename", "f", nil, "manifest file or folder; may be given several times")
	f.StringVarP(&req.Namespace, "namespace", "n", "", "namespace of the service; may be left out when it is clear")
	f.StringVar(&req.Client, "client", "", "namespace of the caller (default: the service's)")
	f.StringVarP(&output, "output", "o", "text", "text, json or yaml")
	addControlFlag(cmd, &address)
	cmd.MarkFlagsMutuallyExclusive("filename", "control")
	return cmd
}

// effective is the policy as manifests say it, or of the mesh that runs.
func effective(ctx context.Context, paths []string, address string, r observe.PolicyRequest) (*policy.Effective, error) {
	if len(paths) > 0 {
		o, err := control.Read(paths)
		if err != nil {
			return nil, usagef("%w", err)
		}
		if r.Namespace == "" {
			if r.Namespace, err = o.NamespaceOf(r.Service); err != nil {
				return nil, err
			}
		}
		if r.Client == "" {
			r.Client = r.Namespace
		}
		return o.Effective(model.Client{Namespace: r.Client}, model.Name{Namespace: r.Namespace, Name: r.Service}, r.Port)
	}
	c, err := client.New(address)
	if err != nil {
		return nil, usagef("%w", err)
	}
	defer c.Close()
	raw, _, err := c.Policy(ctx, r)
	if err != nil {
		return nil, err
	}
	e := &policy.Effective{}
	return e, json.Unmarshal(raw, e)
}

func writePolicy(w io.Writer, output string, e *policy.Effective) error {
	if output == "text" {
		return e.WriteText(w)
	}
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
