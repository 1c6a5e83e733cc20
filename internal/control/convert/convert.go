// Package convert writes the policy of a mesh in another dialect: what holds,
// not what was written. It begins with policy.Routes and policy.Effective, in
// which all dialects are one, so it leads from every dialect to every other,
// and what several objects say together becomes one object each.
//
// What the other dialect has no words for is left out and listed, each with the
// object and field that said it: a conversion never changes anything in
// silence. A rule whose match cannot be said is left out as a whole, because
// its requests would otherwise not be the same ones.
//
//   - gateway-api: HTTPRoutes with their own retries and timeouts, GRPCRoutes
//     where rules come of such, an XBackendTrafficPolicy for retry budgets, and Linkerd's annotations of
//     Services for breakers, for which Gateway API has nothing.
//   - istio: VirtualServices and DestinationRules.
//   - linkerd: HTTPRoutes with what Linkerd does of them, one for each rule,
//     because its annotations for retries and timeouts hold for a whole route;
//     and annotations of Services.
//   - recloser: what this mesh reads and others may not: HTTPRoutes with all
//     filters and Linkerd's annotations, XBackendTrafficPolicies, and
//     annotations of Services, our own ones among them.
//
// The result takes the place of all routes and policies that were read. Of
// Services those are in it whose annotations change. Everything is a pure
// function of its input.
package convert

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Dialect is what can be converted to.
type Dialect string

// The dialects.
const (
	GatewayAPI Dialect = "gateway-api"
	Istio      Dialect = "istio"
	Linkerd    Dialect = "linkerd"
	Recloser   Dialect = "recloser"
)

// Dialects are all of them.
func Dialects() []Dialect { return []Dialect{GatewayAPI, Istio, Linkerd, Recloser} }

// Loss is something that holds now and that the other dialect cannot say.
type Loss struct {
	// Object and Field that said it; where nobody wrote it, whose default it is.
	Object string `json:"object,omitempty"`
	Field  string `json:"field,omitempty"`
	// Where it was written: "file:line".
	Where string `json:"where,omitempty"`
	// Setting is what it is called here: "retry.on", "limits.maxRequests".
	Setting string `json:"setting"`
	Value   string `json:"value,omitempty"`
	// Why is a whole sentence without a final dot.
	Why string `json:"why"`
}

// String is the loss on one line.
func (l *Loss) String() string {
	o := origin.Origin{Object: l.Object, Field: l.Field}
	s := strings.TrimSpace(o.String())
	if l.Where != "" {
		s = l.Where + ": " + s
	}
	if s != "" {
		s += ": "
	}
	s += l.Setting
	if l.Value != "" {
		s += fmt.Sprintf(" %q", l.Value)
	}
	return s + ": " + l.Why
}

// Manifest is one object as it is written.
type Manifest map[string]any

// Result is a policy in another dialect.
type Result struct {
	// Manifests in the order of namespace, kind and name.
	Manifests []Manifest `json:"manifests"`
	// Lost, in the order of object and field; never null in JSON.
	Lost []Loss `json:"lost"`
}

// Options are what to convert.
type Options struct {
	To Dialect
	// All adds everything that is not policy: Services, workloads, endpoints.
	All bool
}

// Convert gives the policy of a whole mesh.
func Convert(w *model.World, t *policy.Table, o Options) (*Result, error) {
	if !slices.Contains(Dialects(), o.To) {
		return nil, fmt.Errorf("dialect %q: allowed are %s", o.To, dialectNames())
	}
	c := &converter{world: w, table: t, to: o.To, out: &Result{Manifests: []Manifest{}, Lost: []Loss{}}, annotations: map[model.Name]map[string]string{}, views: map[viewKey]portView{}}
	for _, s := range w.Services() {
		if len(s.Ports) > 0 {
			c.service(s)
		}
	}
	c.hosts()
	c.services(o.All)
	if o.All {
		c.passThrough()
	}
	c.out.sort()
	return c.out, nil
}

func dialectNames() string {
	var out []string
	for _, d := range Dialects() {
		out = append(out, string(d))
	}
	return strings.Join(out, ", ")
}

// converter makes one Result.
type converter struct {
	world *model.World
	table *policy.Table
	to    Dialect
	out   *Result
	// grpc: the rules at hand are those of GRPCRoutes.
	grpc bool
	// annotations that Services get, by service.
	annotations map[model.Name]map[string]string
	// everybody and each are what namespaces gives, once it was asked.
	everybody string
	each      []string
	// views are those that were asked for.
	views map[viewKey]portView
	// subsetsFound are the subsets that rules lead to; see subsets.
	subsetsFound map[model.Name][]string
}

func (c *converter) lose(o origin.Origin, setting, value, why string) {
	l := Loss{Object: o.Object, Field: o.Field, Where: o.Where, Setting: setting, Value: value, Why: why}
	if o.Object == "" && o.Default != "" {
		l.Object = "default of " + o.Default
	}
	c.out.Lost = append(c.out.Lost, l)
}

func (c *converter) write(m Manifest) { c.out.Manifests = append(c.out.Manifests, m) }

// manifest begins an object.
func manifest(apiVersion, kind, namespace, name string, spec map[string]any) Manifest {
	return Manifest{
		"apiVersion": apiVersion, "kind": kind,
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"spec":     spec,
	}
}

func (m Manifest) meta(field string) string {
	meta, _ := m["metadata"].(map[string]any)
	s, _ := meta[field].(string)
	return s
}

func (m Manifest) kind() string {
	s, _ := m["kind"].(string)
	return s
}

func (r *Result) sort() {
	slices.SortStableFunc(r.Manifests, func(a, b Manifest) int {
		return cmp.Or(cmp.Compare(a.meta("namespace"), b.meta("namespace")), cmp.Compare(a.kind(), b.kind()), cmp.Compare(a.meta("name"), b.meta("name")))
	})
	slices.SortStableFunc(r.Lost, func(a, b Loss) int {
		return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Setting, b.Setting), cmp.Compare(a.Value, b.Value), cmp.Compare(a.Where, b.Where), cmp.Compare(a.Why, b.Why))
	})
	r.Lost = slices.Compact(r.Lost)
}

// WriteYAML prints the manifests as documents.
func (r *Result) WriteYAML(w io.Writer) error {
	for i, m := range r.Manifests {
		raw, err := yaml.Marshal(map[string]any(m))
		if err != nil {
			return fmt.Errorf("writing %s/%s: %w", m.kind(), m.meta("name"), err)
		}
		if i > 0 {
			raw = append([]byte("---\n"), raw...)
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
	}
	return nil
}

// WriteLost prints one line for each loss and a last line with their number.
func (r *Result) WriteLost(w io.Writer) error {
	for i := range r.Lost {
		if _, err := fmt.Fprintln(w, r.Lost[i].String()); err != nil {
			return err
		}
	}
	noun := "settings"
	if len(r.Lost) == 1 {
		noun = "setting"
	}
	_, err := fmt.Fprintf(w, "%d %s cannot be carried over\n", len(r.Lost), noun)
	return err
}

// passThrough adds what is not policy, as it was read.
func (c *converter) passThrough() {
	for _, k := range []source.Kind{source.Namespace, source.Deployment, source.Workload, source.Pod, source.EndpointSlice} {
		for _, o := range c.world.Objects(k) {
			if m, err := manifestOf(o); err == nil {
				c.write(m)
			}
		}
	}
}

// namespaces are those from which calls may come: one that stands for all of
// which nothing is known, and each of the mesh.
func (c *converter) namespaces() (everybody string, each []string) {
	if c.each == nil {
		c.everybody, c.each = c.findNamespaces()
	}
	return c.everybody, c.each
}

func (c *converter) findNamespaces() (everybody string, each []string) {
	each = c.world.NamespaceNames()
	known := map[string]bool{}
	for _, n := range each {
		known[n] = true
	}
	for _, o := range c.world.AllObjects() {
		if o.Namespace != "" && !known[o.Namespace] {
			known[o.Namespace] = true
			each = append(each, o.Namespace)
		}
	}
	slices.Sort(each)
	everybody = "any"
	for known[everybody] {
		everybody += "-other"
	}
	return everybody, each
}
