package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/translate"
	"github.com/reclosermesh/recloser/internal/explain"
	"github.com/reclosermesh/recloser/internal/observe/breakers"
	"github.com/reclosermesh/recloser/internal/observe/client"
)

func newExplainCommand() *cobra.Command {
	var e explanation
	cmd := &cobra.Command{
		Use:   "explain 'METHOD URL'",
		Short: "Follow a request without sending it: which rule holds, why no other does, and every value on its way",
		Long: `Follows one request through the mesh without sending it, with the code that a
proxy runs: the service that its host means, the dialect that governs there and
what has no effect, each rule and which part of it does not match, what is done
to the request, its backends with weights, their endpoints with the state of
their breakers, and every timeout, retry, limit and breaker value with the
object and line that it comes from.

The request is a method and a URL, a URL alone (GET), grpc://HOST/SERVICE/METHOD,
or SERVICE/METHOD of gRPC with -H 'Host: …'. The caller is --from, in the
namespace of -n; without it, any caller of the service's namespace.

It asks the mesh that runs; with -f it reads manifests, and knows no breakers.`,
		Example: `  recloser explain 'GET http://bb:8080/x?y=1' --from deploy/web -n demo -H 'x-user: alice'
  recloser explain -f mesh.yaml http://bb.demo:8080/
  recloser explain grpc://catalog:9000/shop.v1.Catalog/Get -o json
  recloser explain shop.v1.Catalog/Get -H 'Host: catalog.shop:9000'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) > 2 {
				return usagef("give one request, in quotes: 'GET http://bb:8080/x'")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.show(cmd.Context(), cmd.OutOrStdout(), strings.Join(args, " "))
		},
	}
	f := cmd.Flags()
	f.StringVar(&e.caller.from, "from", "", "the caller: deploy/NAME, workload/NAME or pod/NAME")
	f.StringVarP(&e.caller.namespace, "namespace", "n", "", "namespace of the caller (default: the service's)")
	f.StringVar(&e.locality, "locality", "", "where the caller runs, as REGION/ZONE/SUBZONE (default: as the labels of its instances say)")
	f.StringArrayVarP(&e.headers, "header", "H", nil, "header of the request, 'name: value'; may be given several times")
	f.StringVarP(&e.output, "output", "o", "text", "text or json")
	addWorldFlags(cmd, &e.world)
	return cmd
}

// explanation is what to follow, and how to print it.
type explanation struct {
	world   worldFlags
	caller  callerFlags
	headers []string

	locality, output string
}

// show follows a request.
func (e *explanation) show(ctx context.Context, w io.Writer, request string) error {
	if e.output != "text" && e.output != "json" {
		return usagef("--output %q: allowed are text and json", e.output)
	}
	r, err := explain.ParseRequest(request, e.headers)
	if err != nil {
		return usagef("%w", err)
	}
	o, err := e.world.open(ctx)
	if err != nil {
		return err
	}
	from, err := e.caller.client(o, callerNamespace(o, r))
	if err != nil {
		return err
	}
	states, err := e.world.breakers(ctx, from)
	if err != nil {
		return err
	}
	at := explain.Caller{Client: from, Locality: model.ParseLocality(e.locality)}
	a := explain.Explain(translate.View{World: o.World, Policy: o.Policy}, at, r, states)
	if e.output == "json" {
		return writeJSON(w, a)
	}
	return a.WriteText(w)
}

// callerNamespace is that of the service that a request names: one that is
// written, or the only one that has such a service.
func callerNamespace(o *control.Offline, r *explain.Request) string {
	const nobody = "default"
	to, ok := model.ParseAuthority(r.Authority, nobody)
	if !ok {
		return nobody
	}
	if s, _ := o.World.Resolve(to); s != nil {
		return s.Namespace
	}
	if ns, err := o.NamespaceOf(to.Service.Name); err == nil {
		return ns
	}
	return to.Service.Namespace
}

// breakers are the states that the proxies of a caller tell of; nil where
// manifests are read.
func (w *worldFlags) breakers(ctx context.Context, from model.Client) (explain.Breakers, error) {
	if !w.live() {
		return nil, nil
	}
	c, err := client.New(w.address)
	if err != nil {
		return nil, usagef("%w", err)
	}
	defer c.Close()
	list, err := c.Breakers(ctx, breakers.Filter{})
	if err != nil {
		return nil, err
	}
	return statesOf(list, from), nil
}

// statesOf are the breakers of one caller. Where several of its proxies differ,
// the one that keeps an endpoint out is told.
func statesOf(list *breakers.List, from model.Client) explain.Breakers {
	type key struct{ cluster, address string }
	worst := map[key]*breakers.Breaker{}
	for i := range list.Breakers {
		b := &list.Breakers[i]
		if b.Client.Namespace != from.Namespace || from.Workload != "" && (b.Client.Workload != from.Workload || b.Client.Kind != from.Kind) {
			continue
		}
		k := key{b.Cluster, b.Endpoint.Address}
		if have := worst[k]; have == nil || have.State == breakers.Closed || have.State == breakers.Off {
			worst[k] = b
		}
	}
	return func(cluster, address string) (state, cause string, ok bool) {
		b := worst[key{cluster, address}]
		if b == nil {
			return "", "", false
		}
		return string(b.State), b.Cause, true
	}
}
