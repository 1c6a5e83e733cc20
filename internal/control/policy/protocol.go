package policy

import (
	"slices"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Linkerd's annotations that keep ports away from its proxy.
const (
	skipInbound  = "config.linkerd.io/skip-inbound-ports"
	skipOutbound = "config.linkerd.io/skip-outbound-ports"
)

// protocol is what is spoken to a port, with what decided it.
func protocol(p *model.Port) Value[model.Protocol] {
	pp := &p.Protocol
	if !pp.Declared() {
		return Value[model.Protocol]{Value: pp.Protocol, Origin: Origin{Default: pp.Default}}
	}
	o := origin.Of(pp.Object, pp.Field)
	o.Stale = pp.Stale
	return Value[model.Protocol]{Value: pp.Protocol, Origin: o}
}

// portLists are Linkerd's annotations with lists of ports, of a Service, an
// instance, or a Namespace.
func (r *reader) portLists() {
	r.misspelt()
	if value, ok := r.values[model.OpaquePortsAnnotation]; ok {
		_, errs := model.ParsePorts(value)
		for _, err := range errs {
			r.find(model.OpaquePortsAnnotation, source.Error, "bad-opaque-ports", err.Error()+"; the last good list stays, or else what is good of this one",
				model.AllowedOpaquePorts, "")
		}
	}
	for _, name := range []string{skipInbound, skipOutbound} {
		if _, ok := r.values[name]; ok {
			r.find(name, source.Info, "not-applicable", "nothing is captured on this machine, so there is nothing to skip: a program calls what it wants to", "", "")
		}
	}
}

// misspelt tells of annotations that are nearly one of those lists. Linkerd has
// many more of this family, which are not looked at.
func (r *reader) misspelt() {
	const family = "config.linkerd.io/"
	lists := []string{model.OpaquePortsAnnotation, skipInbound, skipOutbound}
	var short []string
	for _, name := range lists {
		short = append(short, strings.TrimPrefix(name, family))
	}
	for name := range r.values {
		own, ok := strings.CutPrefix(name, family)
		if !ok || slices.Contains(lists, name) {
			continue
		}
		if near := source.Nearest(own, short); near != "" {
			r.find(name, source.Warning, "unknown-annotation", "this is not read, and looks like an annotation that is", "", "did you mean "+family+near+"?")
		}
	}
}

// onTemplate reads the annotations that instances get from a template. Those of
// the object around it are not theirs.
func (r *reader) onTemplate(annotations map[string]string) {
	for _, name := range []string{model.OpaquePortsAnnotation, skipInbound, skipOutbound} {
		if _, ok := r.values[name]; ok {
			r.find(name, source.Warning, "wrong-object", "this is read from the instances, which get their annotations from the template", "", "move it to spec.template.metadata.annotations")
		}
	}
	t := &reader{object: r.object, values: annotations, prefix: "spec.template."}
	t.portLists()
	r.findings = append(r.findings, t.findings...)
}
