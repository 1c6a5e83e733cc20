package lint

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/reclosermesh/recloser/api/v1alpha1"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// checkProtocols looks at what a Service says of the protocols of its ports.
func checkProtocols(s *model.Service, add adder) {
	for i := range s.Spec.Spec.Ports {
		sp := &s.Spec.Spec.Ports[i]
		if sp.Port < 1 || sp.Port > 65535 {
			continue
		}
		port := s.Port(uint16(sp.Port))
		if port == nil || port.Name != sp.Name {
			continue // UDP, or the second of its number
		}
		checkAppProtocol(s, i, port, add)
		checkGRPC(i, sp, port, add)
		if d := &port.Protocol; d.Protocol == model.Detect && !d.Declared() && slices.Contains(model.DefaultOpaquePorts(), port.Number) {
			add(Info, "default-opaque-replaced", fmt.Sprintf("spec.ports[%d].port", i), fmt.Sprint(port.Number), "",
				"a list of opaque ports takes the place of the well-known ones, of which this is one: what a client says first is waited for here",
				"add it to "+model.OpaquePortsAnnotation+", or set appProtocol: tcp")
		}
	}
}

// checkAppProtocol tells values that nobody knows, and what stands against
// them.
func checkAppProtocol(s *model.Service, i int, port *model.Port, add adder) {
	sp := &s.Spec.Spec.Ports[i]
	field := fmt.Sprintf("spec.ports[%d].appProtocol", i)
	byName, named := model.ParsePortName(sp.Name)
	if sp.AppProtocol == nil || *sp.AppProtocol == "" {
		if named && byName.HTTP() && port.Protocol.Protocol.Opaque() {
			add(Warning, "conflicting-protocol", fmt.Sprintf("spec.ports[%d].name", i), sp.Name, "",
				fmt.Sprintf("the name says %s, but %s says that the port is opaque, which decides", byName, decider(&port.Protocol)), "")
		}
		return
	}
	value := *sp.AppProtocol
	said, known := model.ParseAppProtocol(value)
	switch {
	case !known:
		unknownAppProtocol(field, value, port.Protocol.Protocol, add)
	case named && byName != said:
		add(Warning, "conflicting-protocol", field, value, "",
			fmt.Sprintf("it says %s and the port's name %q says %s; appProtocol decides", said, sp.Name, byName), "")
	case !said.Opaque() && listed(s, sp):
		add(Warning, "conflicting-protocol", field, value, "",
			fmt.Sprintf("it says %s and %s says that the port is opaque; appProtocol decides here, the list does in Linkerd", said, model.OpaquePortsAnnotation), "")
	}
}

// decider is the field that decided, and its object.
func decider(p *model.PortProtocol) string {
	return p.Field + " of " + p.Object.String()
}

func unknownAppProtocol(field, value string, holds model.Protocol, add adder) {
	severity := Warning
	prefix, _, prefixed := strings.Cut(value, "/")
	if prefixed && prefix != "kubernetes.io" && prefix != "linkerd.io" {
		severity = Info // somebody else's, as Kubernetes allows
	}
	add(severity, "unknown-app-protocol", field, value, strings.Join(model.AppProtocols(), ", ")+", and IANA names of TCP services",
		"this protocol is not known here; what holds is "+holds.String(), source.Meant(value, model.AppProtocols()))
}

// checkWorkload looks at what a Workload says of the protocols of its ports.
func checkWorkload(o source.Object, add adder) {
	for i, p := range o.Value.(*v1alpha1.Workload).Spec.Ports {
		if _, known := model.ParseAppProtocol(p.AppProtocol); !known && p.AppProtocol != "" {
			unknownAppProtocol(fmt.Sprintf("spec.ports[%d].appProtocol", i), p.AppProtocol, model.Detect, add)
		}
	}
}

// listed says whether the Service's own list of opaque ports has the port.
func listed(s *model.Service, sp *corev1.ServicePort) bool {
	set, _ := model.ParsePorts(s.Spec.Annotations[model.OpaquePortsAnnotation])
	return set.Has(uint16(sp.Port), sp.Name)
}

// checkGRPC looks for gRPC of which nothing is said.
func checkGRPC(i int, sp *corev1.ServicePort, port *model.Port, add adder) {
	const wellKnown = 50051 // of gRPC's own examples
	looks := strings.Contains(sp.Name, "grpc") || strings.Contains(sp.TargetPort.StrVal, "grpc") ||
		sp.Port == wellKnown || sp.TargetPort.IntVal == wellKnown
	if !looks {
		return
	}
	field, value := fmt.Sprintf("spec.ports[%d].name", i), sp.Name
	switch port.Protocol.Protocol {
	case model.Detect:
		add(Info, "undeclared-grpc", field, value, "",
			"this looks like gRPC, which is found by looking at each connection and works", "appProtocol: grpc says it for every mesh")
	case model.HTTP1:
		if sp.AppProtocol == nil && !strings.HasPrefix(sp.Name, "grpc-web") {
			add(Info, "grpc-as-http1", field, value, "",
				"this looks like gRPC, and a name that begins with http says HTTP/1.1: calls of gRPC go on by HTTP/2 all the same, but in Istio they would not",
				"appProtocol: grpc says it for every mesh")
		}
	default:
	}
}

// checkOpaquePorts looks for ports in a Service's own list that it does not
// have.
func checkOpaquePorts(s *model.Service, add adder) {
	value, ok := s.Spec.Annotations[model.OpaquePortsAnnotation]
	if !ok {
		return
	}
	for item := range strings.SplitSeq(value, ",") {
		set, errs := model.ParsePorts(item)
		if len(errs) > 0 || strings.TrimSpace(item) == "" || slices.ContainsFunc(s.Ports, func(p model.Port) bool { return set.Has(p.Number, p.Name) }) {
			continue
		}
		have := make([]string, 0, len(s.Ports))
		for i := range s.Ports {
			have = append(have, fmt.Sprint(s.Ports[i].Number))
		}
		add(Warning, "no-such-port", source.AnnotationPath(model.OpaquePortsAnnotation), strings.TrimSpace(item), strings.Join(have, ", "),
			"the Service has no such port; the numbers are those of spec.ports[].port", "")
	}
}

// targets are what services have said of the ports of instances.
type targets map[target]*model.Service

type target struct {
	namespace string
	template  int
	port      string // number or name
}

// check tells when two ports of services lead to one port of an instance and
// say different things of it.
func (t targets) check(s *model.Service, template int, add adder) {
	for i := range s.Ports {
		port := &s.Ports[i]
		if port.Protocol.Protocol == model.Detect {
			continue
		}
		key := target{s.Namespace, template, targetOf(port)}
		first := t[key]
		if first == nil {
			t[key] = s
			continue
		}
		for j := range first.Ports {
			other := &first.Ports[j]
			if targetOf(other) == key.port && other.Protocol.Protocol != model.Detect && other.Protocol.Protocol != port.Protocol.Protocol {
				disagree(s, i, first, other, key.port, add)
			}
		}
	}
}

// targetOf is the port of the instances that a port leads to: its own number
// where it does not say.
func targetOf(p *model.Port) string {
	if t := p.Target.String(); t != "0" && t != "" {
		return t
	}
	return fmt.Sprint(p.Number)
}

// disagree tells of one such pair. Where both ports are of one Service it is
// meant so, as with Istio's origination of TLS, and matters only to a server
// that speaks first.
func disagree(s *model.Service, i int, first *model.Service, other *model.Port, at string, add adder) {
	port := &s.Ports[i]
	field, says := fmt.Sprintf("spec.ports[%d]", i), port.Protocol.Protocol
	if first != s {
		add(Warning, "services-disagree", field, says.String(), "",
			fmt.Sprintf("it leads to port %s of the same instances as service %s, which says %s; so each connection is looked at there", at, first.Name.Name, other.Protocol.Protocol),
			"have both say the same")
		return
	}
	if j := slices.IndexFunc(s.Ports, func(p model.Port) bool { return p.Number == other.Number }); j > i {
		return // told of the later one
	}
	severity, follows, mend := Info, "so each connection is looked at there, which works for both", ""
	if says == model.TCP || other.Protocol.Protocol == model.TCP {
		severity, mend = Warning, "have both say the same, or lead to ports of their own"
		follows = "so each connection is looked at there, and a server that speaks first is kept waiting"
	}
	add(severity, "services-disagree", field, says.String(), "",
		fmt.Sprintf("it leads to the same port %s of the instances as port %d, which says %s; %s", at, other.Number, other.Protocol.Protocol, follows), mend)
}
