package control

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/dialect/gateway"
	"github.com/reclosermesh/recloser/internal/control/dialect/istio"
	"github.com/reclosermesh/recloser/internal/control/dialect/linkerd"
	"github.com/reclosermesh/recloser/internal/control/dialect/smi"
	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/source/file"
)

// Offline is what manifests say, without a mesh that runs.
type Offline struct {
	World    *model.World
	Policy   *policy.Table
	Findings []lint.Finding
}

// Read reads files and folders once. The error is of paths that cannot be
// read; what is wrong inside is in the findings.
func Read(paths []string) (*Offline, error) { return ReadFor("", paths) }

// ReadFor is Read for a mesh whose rules for the whole mesh are in another
// namespace than policy.RootNamespace; an empty one is that.
func ReadFor(rootNamespace string, paths []string) (*Offline, error) {
	if err := file.Check(paths); err != nil {
		return nil, err
	}
	u := file.Load(paths)
	o := &Offline{World: model.Build(nil, u.Objects)}
	o.Policy = policy.Build(policy.New(rootNamespace), o.World)
	o.Findings = findings(u.Problems, o.World, o.Policy)
	return o, nil
}

// Effective is what holds for requests from a client to a service's port.
func (o *Offline) Effective(client model.Client, service model.Name, port uint16) (*policy.Effective, error) {
	return effective(o.Policy, o.Findings, client, service, port)
}

// findings is everything that is wrong, in order.
func findings(problems []lint.Finding, w *model.World, t *policy.Table) []lint.Finding {
	out := slices.Concat(problems, t.Findings())
	for _, kind := range []source.Kind{source.Namespace, source.Deployment, source.Workload} {
		for _, o := range w.Objects(kind) {
			out = append(out, policy.CheckAnnotations(o)...)
		}
	}
	for _, d := range []struct {
		check func(*model.World, source.Object) []source.Problem
		kinds []source.Kind
	}{
		{gateway.Check, []source.Kind{source.HTTPRoute, source.GRPCRoute, source.LinkerdHTTPRoute, source.BackendTrafficPolicy}},
		{smi.Check, []source.Kind{source.TrafficSplit, source.HTTPRouteGroup}},
		{linkerd.Check, []source.Kind{source.ServiceProfile, source.HTTPRoute, source.GRPCRoute, source.LinkerdHTTPRoute}},
	} {
		for _, kind := range d.kinds {
			for _, o := range w.Objects(kind) {
				out = append(out, d.check(w, o)...)
			}
		}
	}
	out = append(out, istio.CheckAll(w)...)
	for _, p := range w.Pods() {
		if len(p.Spec.OwnerReferences) == 0 { // else the finding is its owner's
			out = append(out, policy.CheckAnnotations(p.Object)...)
		}
	}
	out = append(out, lint.DestinationRules(w, t)...)
	out = append(out, lint.Check(w)...)
	return lint.Sort(append(out, lint.CheckPolicy(w, t, out)...))
}

// NamespaceOf is the namespace of a service that is named without one: the
// only one that has it.
func (o *Offline) NamespaceOf(service string) (string, error) {
	var in []string
	for _, s := range o.World.Services() {
		if s.Name.Name == service {
			in = append(in, s.Namespace)
		}
	}
	switch len(in) {
	case 0:
		return "", fmt.Errorf("there is no service %s", service)
	case 1:
		return in[0], nil
	}
	slices.Sort(in)
	return "", fmt.Errorf("service %s is in the namespaces %s; choose one with -n", service, strings.Join(in, ", "))
}
