package lint

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Check looks at what objects mean together.
func Check(w *model.World) []Finding {
	templates := templatesOf(w)
	said := targets{}
	var out []Finding
	for _, s := range w.Services() {
		out = append(out, checkService(s, templates[s.Namespace], said)...)
	}
	for _, o := range w.Objects(source.Workload) {
		checkWorkload(o, adderFor(o, &out))
	}
	return out
}

// template is what instances of a workload are or will be like.
type template struct {
	labels map[string]string
	ports  []string // names
}

// templates are those of one namespace.
type templates struct {
	list  []template
	index model.LabelIndex
}

func templatesOf(w *model.World) map[string]*templates {
	out := map[string]*templates{}
	add := func(namespace string, t template) {
		if out[namespace] == nil {
			out[namespace] = &templates{}
		}
		out[namespace].list = append(out[namespace].list, t)
	}
	for _, d := range w.Deployments() {
		add(d.Namespace, template{d.Spec.Template.Labels, portNames(d.Spec.Template.Spec.Containers)})
	}
	for _, x := range w.Workloads() {
		t := template{labels: x.InstanceLabels()}
		for _, p := range x.Spec.Ports {
			t.ports = append(t.ports, p.Name)
		}
		add(x.Namespace, t)
	}
	for _, p := range w.Pods() {
		add(p.Namespace, template{p.Spec.Labels, portNames(p.Spec.Spec.Containers)})
	}
	for _, t := range out {
		labels := make([]map[string]string, 0, len(t.list))
		for i := range t.list {
			labels = append(labels, t.list[i].labels)
		}
		t.index = model.NewLabelIndex(labels)
	}
	return out
}

func portNames(containers []corev1.Container) []string {
	var out []string
	for _, c := range containers {
		for _, p := range c.Ports {
			out = append(out, p.Name)
		}
	}
	return out
}

func checkService(s *model.Service, in *templates, said targets) []Finding {
	if in == nil {
		in = &templates{}
	}
	var out []Finding
	add := adderFor(s.Object, &out)
	spec := &s.Spec.Spec
	if spec.Type == corev1.ServiceTypeExternalName {
		add(Warning, "not-supported", "spec.type", string(spec.Type), "", "a Service of this type has no endpoints here", "")
		return out
	}
	checkPorts(spec, add)
	checkProtocols(s, add)
	checkOpaquePorts(s, add)
	if len(spec.Selector) == 0 {
		return out // its EndpointSlices are written by somebody
	}
	var chosen []template
	for i := range in.index.Matches(spec.Selector) {
		chosen = append(chosen, in.list[i])
		said.check(s, i, add)
	}
	if len(chosen) == 0 {
		if !hasEndpoints(s) {
			add(Warning, "selects-nothing", "spec.selector", selector(spec.Selector), "",
				"no instance has these labels, so there are no endpoints", nearLabels(spec.Selector, in.list))
		}
		return out
	}
	checkTargets(spec, chosen, add)
	return out
}

type adder func(sev source.Severity, code, field, value, allowed, reason, mend string)

// adderFor adds findings about an object to a list.
func adderFor(o source.Object, to *[]Finding) adder {
	return func(sev source.Severity, code, field, value, allowed, reason, mend string) {
		*to = append(*to, o.Problem(Finding{
			Code: code, Severity: sev, Field: field, Value: value, Allowed: allowed, Reason: reason, Mend: mend,
		}))
	}
}

func checkPorts(spec *corev1.ServiceSpec, add adder) {
	if len(spec.Ports) == 0 && spec.ClusterIP != corev1.ClusterIPNone {
		add(Error, "no-ports", "spec.ports", "", "", "a Service without ports cannot be called", "")
	}
	seen := map[string]bool{}
	for i, p := range spec.Ports {
		field := fmt.Sprintf("spec.ports[%d].port", i)
		key := fmt.Sprintf("%s/%d", p.Protocol, p.Port)
		switch {
		case p.Port < 1 || p.Port > 65535:
			add(Error, "bad-port", field, fmt.Sprint(p.Port), "1 to 65535", "this port is passed over", "")
		case seen[key]:
			add(Error, "duplicate-port", field, fmt.Sprint(p.Port), "", "this port stands twice; the first is used", "")
		}
		seen[key] = true
	}
}

// checkTargets looks for target ports by a name that no instance has.
func checkTargets(spec *corev1.ServiceSpec, chosen []template, add adder) {
	for i, p := range spec.Ports {
		if p.TargetPort.Type != intstr.String || p.TargetPort.StrVal == "" {
			continue
		}
		var names []string
		found := false
		for _, t := range chosen {
			for _, n := range t.ports {
				found = found || n == p.TargetPort.StrVal
				if n != "" {
					names = append(names, n)
				}
			}
		}
		if !found {
			add(Warning, "unknown-target-port", fmt.Sprintf("spec.ports[%d].targetPort", i), p.TargetPort.StrVal,
				strings.Join(names, ", "), "no selected instance has a port of this name, so there are no endpoints", source.Meant(p.TargetPort.StrVal, names))
		}
	}
}

func hasEndpoints(s *model.Service) bool {
	for i := range s.Ports {
		if len(s.Ports[i].Endpoints)+s.Ports[i].NotReady > 0 {
			return true
		}
	}
	return false
}

func selector(s map[string]string) string {
	pairs := make([]string, 0, len(s))
	for k, v := range s {
		pairs = append(pairs, k+"="+v)
	}
	return strings.Join(sortedStrings(pairs), ",")
}

// nearLabels looks for the values that the selected labels do have.
func nearLabels(sel map[string]string, templates []template) string {
	var have []string
	for k := range sel {
		for _, t := range templates {
			if v, ok := t.labels[k]; ok {
				have = append(have, k+"="+v)
			}
		}
	}
	if len(have) == 0 {
		return ""
	}
	return "instances of this namespace have " + strings.Join(sortedStrings(have), ", ")
}
