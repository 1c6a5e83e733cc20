package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/dialect/gateway"
	"github.com/reclosermesh/recloser/internal/control/source"
)

func newRoutesCommand() *cobra.Command {
	var world worldFlags
	var namespace, output string
	cmd := &cobra.Command{
		Use:   "routes [KIND/NAME]",
		Short: "Show the status of HTTPRoutes and GRPCRoutes, for each parent",
		Long: `Shows for each HTTPRoute and GRPCRoute whether its parents have accepted it and
whether its references lead somewhere, with the reason and what it means. It asks
the mesh that runs; with -f it reads manifests.

KIND is httproute, grpcroute, or httproute.policy.linkerd.io for those of
Linkerd's group alone; a KIND without a NAME shows all of the kind.

With -o json or -o yaml it prints the status as Kubernetes stores it.`,
		Example: `  recloser routes
  recloser routes -n shop httproute/cart
  recloser routes -f manifests/ -o yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%q: nothing comes after KIND/NAME", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" && output != "yaml" {
				return usagef("--output %q: allowed are text, json and yaml", output)
			}
			pick := routePick{namespace: namespace, kinds: gateway.RouteKinds()}
			if len(args) > 0 {
				if err := pick.parse(args[0]); err != nil {
					return err
				}
			}
			o, err := world.open(cmd.Context())
			if err != nil {
				return err
			}
			return pick.show(cmd.OutOrStdout(), o, output)
		},
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "namespace of the routes (default: all)")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json or yaml")
	addWorldFlags(cmd, &world)
	return cmd
}

// routePick says which routes are shown.
type routePick struct {
	namespace, name string
	kinds           []source.Kind
}

// parse reads KIND, or KIND/NAME.
func (p *routePick) parse(arg string) error {
	kind, name, named := strings.Cut(arg, "/")
	switch strings.ToLower(kind) {
	case "httproute", "httproutes":
		p.kinds = []source.Kind{source.HTTPRoute, source.LinkerdHTTPRoute}
	case "grpcroute", "grpcroutes":
		p.kinds = []source.Kind{source.GRPCRoute}
	case "httproute.gateway.networking.k8s.io", "httproutes.gateway.networking.k8s.io":
		p.kinds = []source.Kind{source.HTTPRoute}
	case "grpcroute.gateway.networking.k8s.io", "grpcroutes.gateway.networking.k8s.io":
		p.kinds = []source.Kind{source.GRPCRoute}
	case "httproute.policy.linkerd.io", "httproutes.policy.linkerd.io":
		p.kinds = []source.Kind{source.LinkerdHTTPRoute}
	default:
		return usagef("%q: name a route as httproute/NAME or grpcroute/NAME", arg)
	}
	if named && name == "" {
		return usagef("%q: the name is missing", arg)
	}
	p.name = name
	return nil
}

func (p *routePick) picks(k source.Key) bool {
	return slices.Contains(p.kinds, k.Kind) && (p.namespace == "" || p.namespace == k.Namespace) && (p.name == "" || p.name == k.Name)
}

// show prints the routes. One that is named and is not there is an error.
func (p *routePick) show(w io.Writer, o *control.Offline, output string) error {
	var objects []source.Object
	for _, kind := range p.kinds {
		for _, object := range o.World.Objects(kind) {
			if p.picks(object.Key) {
				objects = append(objects, object)
			}
		}
	}
	refused := p.refused(o)
	if p.name != "" && len(objects)+len(refused) == 0 {
		in := ""
		if p.namespace != "" {
			in = " in namespace " + p.namespace
		}
		return fmt.Errorf("there is no route %s%s", p.name, in)
	}
	if output == "text" {
		return p.table(w, o, objects, refused)
	}
	return p.document(w, o, objects, output)
}

// refused are routes that cannot be used at all, each with its first finding
// and how many there are.
func (p *routePick) refused(o *control.Offline) []refusedRoute {
	var out []refusedRoute
	at := map[string]int{}
	for i := range o.Findings {
		f := &o.Findings[i]
		kind, rest, _ := strings.Cut(f.Object, "/")
		name, namespace, _ := strings.Cut(rest, " -n ")
		for _, k := range p.kinds {
			key := source.Key{Kind: k, Namespace: namespace, Name: name}
			if f.Severity != source.Error || strings.ToLower(string(k)) != kind || !p.picks(key) {
				continue
			}
			if _, there := o.World.Object(key); there {
				continue
			}
			if n, seen := at[f.Object]; seen {
				out[n].count++
				continue
			}
			at[f.Object] = len(out)
			out = append(out, refusedRoute{key, f, 1})
		}
	}
	return out
}

type refusedRoute struct {
	source.Key
	first *source.Problem
	count int
}

func (p *routePick) table(w io.Writer, o *control.Offline, objects []source.Object, refused []refusedRoute) error {
	if len(objects)+len(refused) == 0 {
		_, err := fmt.Fprintln(w, "There are no routes.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	row := func(k source.Key, cells ...string) {
		all := append([]string{strings.ToLower(string(k.Kind)) + "/" + k.Name}, cells...)
		if p.namespace == "" {
			all = append([]string{k.Namespace}, all...)
		}
		fmt.Fprintln(t, strings.Join(all, "\t"))
	}
	head := "ROUTE\tPARENT\tACCEPTED\tRESOLVEDREFS\tREASON\tMESSAGE"
	if p.namespace == "" {
		head = "NAMESPACE\t" + head
	}
	fmt.Fprintln(t, head)
	for _, object := range objects {
		parents := gateway.Status(o.World, object)
		for i := range parents {
			s := &parents[i]
			name := gateway.ParentName(&s.ParentRef, object.Namespace)
			for _, told := range toTell(s.Conditions) {
				row(object.Key, name, statusOf(s.Conditions, gatewayv1.RouteConditionAccepted),
					statusOf(s.Conditions, gatewayv1.RouteConditionResolvedRefs), told.Reason, told.Message)
			}
		}
		others := gateway.OtherParents(object)
		for _, other := range others {
			row(object.Key, other, "-", "-", "-", "the parent is no Service, so another controller decides")
		}
		if len(parents)+len(others) == 0 {
			row(object.Key, "-", "-", "-", "-", "the route has no parent, so it has no effect")
		}
	}
	for _, r := range refused {
		message := r.first.Field + ": " + r.first.Reason
		if r.count > 1 {
			message += fmt.Sprintf(" (and %d more: see recloser lint)", r.count-1)
		}
		row(r.Key, "-", "-", "-", "Refused", message)
	}
	return t.Flush()
}

// toTell are the conditions that something is to be said about: those that are
// not as they should be, else that the route is accepted.
func toTell(conditions []metav1.Condition) []metav1.Condition {
	var out []metav1.Condition
	for _, c := range conditions {
		if good := c.Type != string(gatewayv1.RouteConditionPartiallyInvalid); (c.Status == metav1.ConditionTrue) != good {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return conditions[:1]
	}
	return out
}

func statusOf(conditions []metav1.Condition, t gatewayv1.RouteConditionType) string {
	for _, c := range conditions {
		if c.Type == string(t) {
			return string(c.Status)
		}
	}
	return "-"
}

// document prints the statuses: of a named route alone, else as a List.
func (p *routePick) document(w io.Writer, o *control.Offline, objects []source.Object, output string) error {
	items := []gateway.RouteStatus{}
	for _, object := range objects {
		if s, ok := gateway.Report(o.World, object, time.Now()); ok {
			items = append(items, s)
		}
	}
	var doc any = struct {
		metav1.TypeMeta `json:",inline"`

		Items []gateway.RouteStatus `json:"items"`
	}{metav1.TypeMeta{APIVersion: "v1", Kind: "List"}, items}
	if p.name != "" && len(items) == 1 {
		doc = items[0]
	}
	raw, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	raw = append(raw, '\n')
	if output == "yaml" {
		if raw, err = yaml.JSONToYAML(raw); err != nil {
			return err
		}
	}
	_, err = w.Write(raw)
	return err
}
