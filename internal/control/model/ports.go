package model

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/reclosermesh/recloser/api/v1alpha1"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// PortProtocol is the protocol of a port, and what decided it.
type PortProtocol struct {
	Protocol Protocol
	// Object and Field say it. Without a Field it is a default.
	Object source.Object
	Field  string
	// Default says whose default it is.
	Default string
	// Stale is set when the object says something else by now that cannot be
	// read, and the last good value is used.
	Stale bool
}

// Declared says that somebody decided it, and not a default.
func (p *PortProtocol) Declared() bool { return p.Field != "" }

// Defaults of a port of which nothing is said.
const (
	wellKnownDefault = "Linkerd: a well-known port where the server speaks first"
	detectDefault    = "Recloser: each connection is looked at"
	disagreeDefault  = "Recloser: the services that lead here disagree, so each connection is looked at"
)

// declaredPorts is what OpaquePortsAnnotation of one object says.
type declaredPorts struct {
	object source.Object
	there  bool // the annotation is there, if only to take the defaults away
	stale  bool
	set    PortSet
}

// declare reads the annotation of an object. Where an item of it is wrong the
// whole last good list stays; where there is none, what is good of this one.
func declare(o source.Object, old declaredPorts) declaredPorts {
	meta := o.Meta()
	if meta == nil {
		return declaredPorts{}
	}
	value, ok := meta.GetAnnotations()[OpaquePortsAnnotation]
	if !ok {
		return declaredPorts{}
	}
	set, errs := ParsePorts(value)
	if len(errs) > 0 && old.there {
		old.object, old.stale = o, true
		return old
	}
	return declaredPorts{object: o, there: true, set: set}
}

func annotation(o source.Object) string {
	if meta := o.Meta(); meta != nil {
		if value, ok := meta.GetAnnotations()[OpaquePortsAnnotation]; ok {
			return "=" + value
		}
	}
	return ""
}

// opaque is the answer when the list has the port.
func (d *declaredPorts) opaque(number uint16, name string) (PortProtocol, bool) {
	return PortProtocol{
		Protocol: TCP, Object: d.object, Field: source.AnnotationPath(OpaquePortsAnnotation), Stale: d.stale,
	}, d.there && d.set.Has(number, name)
}

// servicePort decides what callers speak to port i of a service. The first that
// says something decides: the port's appProtocol; the service's list of opaque
// ports; the instances; where the service has no list, the namespace's; the
// port's name; and where there is no list at all, Linkerd's of well-known ports.
func (n *namespaceBuilder) servicePort(s *Service, sp *corev1.ServicePort, i int) PortProtocol {
	number := uint16(sp.Port)
	if p, ok := ParseAppProtocol(deref(sp.AppProtocol)); ok {
		return PortProtocol{Protocol: p, Object: s.Object, Field: fmt.Sprintf("spec.ports[%d].appProtocol", i)}
	}
	if p, ok := s.opaque.opaque(number, sp.Name); ok {
		return p
	}
	if p, ok := n.instancePort(s, sp); ok {
		return p
	}
	if p, ok := n.opaque.opaque(number, sp.Name); ok && !s.opaque.there {
		return p
	}
	if p, ok := ParsePortName(sp.Name); ok {
		return PortProtocol{Protocol: p, Object: s.Object, Field: fmt.Sprintf("spec.ports[%d].name", i)}
	}
	if !s.opaque.there && !n.opaque.there && slices.Contains(DefaultOpaquePorts(), number) {
		return PortProtocol{Protocol: TCP, Default: wellKnownDefault}
	}
	return PortProtocol{Default: detectDefault}
}

// instancePort is what the instances that a service selects say of the port
// that it leads to: Pods by their annotation, Workloads by theirs and by the
// appProtocol of their ports.
func (n *namespaceBuilder) instancePort(s *Service, sp *corev1.ServicePort) (PortProtocol, bool) {
	port := &Port{Name: sp.Name, Number: uint16(sp.Port), Target: sp.TargetPort}
	for _, p := range s.Selects {
		target, ok := p.target(port)
		if !ok {
			continue
		}
		if pp, ok := p.opaque.opaque(target, p.portName(target)); ok {
			return pp, true
		}
	}
	for _, o := range n.selectedWorkloads(s) {
		w := workloadOf(o)
		target, ok := workloadTarget(w, port)
		if !ok {
			continue
		}
		if pp, ok := workloadPort(o, w, target); ok {
			return pp, true
		}
	}
	return PortProtocol{}, false
}

// selectedWorkloads are those whose instances a service selects, by name.
func (n *namespaceBuilder) selectedWorkloads(s *Service) []source.Object {
	var out []source.Object
	for _, o := range n.workloads {
		if selects(s.Spec.Spec.Selector, workloadOf(*o).InstanceLabels()) {
			out = append(out, *o)
		}
	}
	slices.SortFunc(out, func(a, b source.Object) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// workloadPort is what a Workload says of one of its ports.
func workloadPort(o source.Object, w *v1alpha1.Workload, number uint16) (PortProtocol, bool) {
	name, at := "", -1
	for i := range w.Spec.Ports {
		if w.Spec.Ports[i].Port == int32(number) {
			name, at = w.Spec.Ports[i].Name, i
			break
		}
	}
	if at >= 0 {
		if p, ok := ParseAppProtocol(w.Spec.Ports[at].AppProtocol); ok {
			return PortProtocol{Protocol: p, Object: o, Field: fmt.Sprintf("spec.ports[%d].appProtocol", at)}, true
		}
	}
	set, _ := ParsePorts(w.InstanceAnnotations()[OpaquePortsAnnotation])
	return PortProtocol{
		Protocol: TCP, Object: o, Field: "spec.template." + source.AnnotationPath(OpaquePortsAnnotation),
	}, set.Has(number, name)
}

// portName is the name of a container port.
func (p *Pod) portName(number uint16) string {
	for _, c := range p.Spec.Spec.Containers {
		for _, cp := range c.Ports {
			if uint16(cp.ContainerPort) == number {
				return cp.Name
			}
		}
	}
	return ""
}

// InstancePort decides what callers speak to a container port of an instance:
// its own list of opaque ports, its Workload, the services that lead there, the
// namespace's list, Linkerd's.
func (w *World) InstancePort(p *Pod, number uint16) PortProtocol {
	name := p.portName(number)
	if pp, ok := p.opaque.opaque(number, name); ok {
		return pp
	}
	if p.WorkloadKind == string(source.Workload) {
		if o, ok := w.objects[source.Key{Kind: source.Workload, Namespace: p.Namespace, Name: p.Workload}]; ok {
			if pp, ok := workloadPort(o, workloadOf(o), number); ok {
				return pp
			}
		}
	}
	if pp, ok := w.servedPort(p, number); ok {
		return pp
	}
	var opaque declaredPorts
	if n := w.namespaces[p.Namespace]; n != nil {
		opaque = n.opaque
	}
	if pp, ok := opaque.opaque(number, name); ok && !p.opaque.there {
		return pp
	}
	if !p.opaque.there && !opaque.there && slices.Contains(DefaultOpaquePorts(), number) {
		return PortProtocol{Protocol: TCP, Default: wellKnownDefault}
	}
	return PortProtocol{Default: detectDefault}
}

// servedPort is what the services that lead to a port of an instance say of it,
// as far as they agree.
func (w *World) servedPort(p *Pod, number uint16) (PortProtocol, bool) {
	var said PortProtocol
	for _, s := range w.SelectedBy(p) {
		for i := range s.Ports {
			port := &s.Ports[i]
			if target, ok := p.target(port); !ok || target != number || port.Protocol.Protocol == Detect {
				continue
			}
			switch {
			case said.Protocol == Detect:
				said = port.Protocol
			case said.Protocol != port.Protocol.Protocol:
				return PortProtocol{Default: disagreeDefault}, true
			}
		}
	}
	return said, said.Protocol != Detect
}
