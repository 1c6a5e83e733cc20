package lint

import (
	"fmt"
	"slices"
	"strings"

	networkingv1 "istio.io/api/networking/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// DestinationRules looks at all DestinationRules of a mesh, and at what decides
// how they inherit. What Istio itself refuses of a rule is found by source, and
// routes to subsets that no rule has by dialect/istio.
func DestinationRules(w *model.World, t *policy.Table) []Finding {
	var out []Finding
	shared := newRuleWorld(w, t)
	for _, o := range w.Objects(source.DestinationRule) {
		r := &rule{ruleWorld: shared, object: o, add: adderFor(o, &out)}
		r.spec = o.Value.(*source.IstioDestinationRule).Spec
		r.check()
	}
	for _, o := range w.Objects(source.Namespace) {
		checkInheritance(o, adderFor(o, &out))
	}
	return out
}

// ruleWorld is what the checks of all rules need.
type ruleWorld struct {
	world     *model.World
	table     *policy.Table
	templates map[string]*templates
	sizes     map[string][]size
}

// rule is one DestinationRule under check.
type rule struct {
	*ruleWorld
	object source.Object
	spec   *networkingv1.DestinationRule
	add    adder
	// services whose host it fits, by namespace and name.
	services []*model.Service
}

func (r *rule) check() {
	r.services = r.fitting()
	r.host()
	r.audience()
	r.selector()
	r.shadowed()
	r.subsets()
	r.policy(r.spec.GetTrafficPolicy(), "spec.trafficPolicy")
	for i, s := range r.spec.GetSubsets() {
		r.policy(s.GetTrafficPolicy(), fmt.Sprintf("spec.subsets[%d].trafficPolicy", i))
	}
}

func (r *rule) fitting() []*model.Service {
	if name, ok := model.RuleHost(r.spec.GetHost(), r.object.Namespace); ok {
		if s := r.world.Service(name.Namespace, name.Name); s != nil {
			return []*model.Service{s}
		}
		return nil
	}
	var out []*model.Service
	for _, s := range r.world.Services() {
		if _, ok := model.MatchHost(r.spec.GetHost(), r.object.Namespace, s.Name); ok {
			out = append(out, s)
		}
	}
	return out
}

// host tells a host that is no service's.
func (r *rule) host() {
	const field = "spec.host"
	host := r.spec.GetHost()
	name, exact := model.RuleHost(host, r.object.Namespace)
	switch {
	case host == "" && r.table.Inherits(r.object.Namespace):
		if len(r.spec.GetSubsets()) > 0 {
			r.add(Warning, "no-effect", "spec.subsets", "", "", "a rule without a host is for others to inherit from, and subsets are not inherited", "")
		}
	case host == "":
		r.add(Error, "no-host", field, "", "", "a rule without a host has no effect where nothing is inherited",
			"write the host, or annotate the Namespace with "+model.InheritAnnotation+`: "true"`)
	case len(r.services) > 0:
	case strings.Contains(host, "*"):
		r.add(Warning, "unknown-host", field, host, `"*", or "*" and the end of a host name`, "no Service fits this, so the rule has no effect", "")
	case !exact:
		mend := ""
		if a, ok := model.ParseAuthority(host, ""); ok && a.Service != (model.Name{}) {
			mend = "write " + a.Service.Host()
		}
		r.add(Warning, "unknown-host", field, host, "the name of a Service of this namespace, or NAME.NAMESPACE.svc."+model.Domain,
			"no Service has this host, so the rule has no effect", mend)
	default:
		r.add(Warning, "unknown-host", field, host, "", fmt.Sprintf("there is no Service %s in namespace %s, so the rule has no effect", name.Name, name.Namespace), r.nearService(name))
	}
}

// nearService is a mend for a name that no service has: one that is alike, or
// the same name elsewhere.
func (r *rule) nearService(name model.Name) string {
	for _, s := range r.world.Services() {
		if s.Name.Name == name.Name {
			return "did you mean " + s.Host() + "?"
		}
	}
	return r.world.NearService(name)
}

// audience tells a rule that no caller sees: one of a namespace that is neither
// the services' nor the root holds for callers of its own namespace alone.
func (r *rule) audience() {
	own, to := r.object.Namespace, r.spec.GetExportTo()
	mine := len(to) == 0 || slices.Contains(to, "*") || slices.Contains(to, ".") || slices.Contains(to, own)
	if own == r.table.RootNamespace() || len(r.services) == 0 ||
		slices.ContainsFunc(r.services, func(s *model.Service) bool { return s.Namespace == own }) {
		return
	}
	home := r.services[0].Namespace
	switch {
	case !mine:
		r.add(Warning, "nobody-sees", "spec.exportTo", strings.Join(to, ", "), "",
			fmt.Sprintf("only rules of the service's namespace (%s) and of %s are seen elsewhere, and this one is not seen in its own", home, r.table.RootNamespace()),
			"move the rule to namespace "+home)
	case r.templates[own] == nil:
		r.add(Warning, "nobody-sees", "metadata.namespace", own, "",
			fmt.Sprintf("here the rule is for callers of namespace %s only, and no workload is there", own),
			fmt.Sprintf("move it to the service's namespace (%s), or for the whole mesh to %s", home, r.table.RootNamespace()))
	case len(to) > 0 && !slices.Equal(to, []string{"."}) && !slices.Equal(to, []string{own}):
		r.add(Info, "no-effect", "spec.exportTo", strings.Join(to, ", "), "",
			fmt.Sprintf("only callers of namespace %s see this rule: it is neither in the service's namespace (%s) nor in %s", own, home, r.table.RootNamespace()), "")
	}
}

// selector tells a workloadSelector that no workload has the labels of.
func (r *rule) selector() {
	s := r.spec.GetWorkloadSelector()
	if s == nil {
		return
	}
	const field = "spec.workloadSelector"
	in := r.templates[r.object.Namespace]
	if in == nil {
		in = &templates{}
	}
	if labels := s.GetMatchLabels(); len(labels) > 0 && !in.index.Any(labels) {
		r.add(Warning, "selects-nothing", field+".matchLabels", selector(labels), "",
			"no workload of namespace "+r.object.Namespace+" has these labels, so the rule has no effect", nearLabels(labels, in.list))
	}
	if slices.ContainsFunc(r.spec.GetExportTo(), func(to string) bool { return to != "." && to != r.object.Namespace }) {
		r.add(Warning, "no-effect", "spec.exportTo", strings.Join(r.spec.GetExportTo(), ", "), "",
			"a rule with a workloadSelector is for its own namespace only", "")
	}
}

// checkInheritance looks at what a Namespace says of it.
func checkInheritance(o source.Object, add adder) {
	v, ok := o.Meta().GetAnnotations()[model.InheritAnnotation]
	if ok && v != "true" && v != "false" {
		add(Error, "wrong-value", `metadata.annotations["`+model.InheritAnnotation+`"]`, v, `"true" or "false"`, "rules inherit as if this was not written", "")
	}
}
