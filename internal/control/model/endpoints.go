package model

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/reclosermesh/recloser/api/v1alpha1"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Annotations of a Pod that `recloser up` writes.
const (
	// AppAddressAnnotation is the IP address, or IP:PORT for an instance with
	// one port, of the program behind the sidecar.
	AppAddressAnnotation = "recloser.io/app-address"
	// PortMapAnnotation is "8080=41001:41002,…": container port, the port of
	// the sidecar, the port of the program.
	PortMapAnnotation = "recloser.io/port-map"
)

// newPod reads what the mesh needs from a Pod.
func newPod(o source.Object) *Pod {
	spec := o.Value.(*corev1.Pod)
	p := &Pod{
		Name:   Name{o.Namespace, o.Name},
		Object: o, Spec: spec,
		Owner: ownerOf(spec),
		App:   spec.Annotations[AppAddressAnnotation],

		opaque: declare(o, declaredPorts{}),
	}
	p.PortMap = parsePortMap(spec.Annotations[PortMapAnnotation])
	if spec.Status.Phase == corev1.PodRunning && spec.Status.PodIP != "" && spec.DeletionTimestamp == nil {
		for _, c := range spec.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				p.Ready = true
			}
		}
	}
	return p
}

// ownerOf follows the controller reference. A ReplicaSet stands for the
// Deployment that it was made by: its name ends in the pod-template-hash.
func ownerOf(p *corev1.Pod) Owner {
	ref := metav1.GetControllerOf(p)
	if ref == nil && len(p.OwnerReferences) > 0 {
		ref = &p.OwnerReferences[0]
	}
	if ref == nil {
		return Owner{p.Name, "Pod"}
	}
	if hash := p.Labels["pod-template-hash"]; ref.Kind == "ReplicaSet" && hash != "" {
		if name, ok := strings.CutSuffix(ref.Name, "-"+hash); ok {
			return Owner{name, "Deployment"}
		}
	}
	return Owner{ref.Name, ref.Kind}
}

// parsePortMap passes over what it cannot read: the annotation is written by
// a program, and a port that is missing is seen where it is used.
func parsePortMap(s string) map[uint16]MappedPort {
	if s == "" {
		return nil
	}
	out := map[uint16]MappedPort{}
	for item := range strings.SplitSeq(s, ",") {
		from, to, ok1 := strings.Cut(strings.TrimSpace(item), "=")
		public, app, ok2 := strings.Cut(to, ":")
		f, err1 := strconv.ParseUint(from, 10, 16)
		p, err2 := strconv.ParseUint(public, 10, 16)
		a, err3 := strconv.ParseUint(app, 10, 16)
		if ok1 && ok2 && err1 == nil && err2 == nil && err3 == nil {
			out[uint16(f)] = MappedPort{uint16(p), uint16(a)}
		}
	}
	return out
}

// ContainerPorts are the TCP ports that the pod declares, in order, each once.
func (p *Pod) ContainerPorts() []uint16 {
	var out []uint16
	for _, c := range p.Spec.Spec.Containers {
		for _, cp := range c.Ports {
			n := uint16(cp.ContainerPort)
			if (cp.Protocol == "" || cp.Protocol == corev1.ProtocolTCP) && n != 0 && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}

// target is the container port that a Service's port leads to in this pod.
func (p *Pod) target(port *Port) (uint16, bool) {
	if port.Target.Type == intstr.Int {
		if port.Target.IntVal == 0 {
			return port.Number, true
		}
		return uint16(port.Target.IntVal), port.Target.IntVal > 0 && port.Target.IntVal < 1<<16
	}
	if port.Target.StrVal == "" {
		return port.Number, true
	}
	for _, c := range p.Spec.Spec.Containers {
		for _, cp := range c.Ports {
			if cp.Name == port.Target.StrVal {
				return uint16(cp.ContainerPort), true
			}
		}
	}
	return 0, false
}

// TargetPorts are the container ports that services lead to in this pod.
func (w *World) TargetPorts(p *Pod) []uint16 {
	var out []uint16
	for _, s := range w.SelectedBy(p) {
		for i := range s.Ports {
			if n, ok := p.target(&s.Ports[i]); ok && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Public is the port on which the instance is reached in place of a container
// port.
func (p *Pod) Public(containerPort uint16) uint16 {
	if m, ok := p.PortMap[containerPort]; ok {
		return m.Public
	}
	return containerPort
}

// AppAddress is where the program listens for a container port, or "" when no
// sidecar stands before it.
func (p *Pod) AppAddress(containerPort uint16) string {
	if p.App == "" {
		return ""
	}
	if ap, err := netip.ParseAddrPort(p.App); err == nil {
		return ap.String()
	}
	n := containerPort
	if m, ok := p.PortMap[containerPort]; ok {
		n = m.App
	}
	return hostPort(p.App, n)
}

// index prepares service: one pass over the namespace, where a search by each
// service would be services times pods. For few services it is not worth it.
func (n *namespaceBuilder) index() {
	n.byService = map[string][]*discoveryv1.EndpointSlice{}
	for _, o := range n.slices {
		if name := sliceService(*o); n.dirty[name] {
			n.byService[name] = append(n.byService[name], o.Value.(*discoveryv1.EndpointSlice))
		}
	}
	n.podList = make([]*Pod, 0, len(n.pods))
	labels := make([]map[string]string, 0, len(n.pods))
	for _, p := range n.pods {
		n.podList = append(n.podList, p)
		labels = append(labels, p.Spec.Labels)
	}
	n.podLabels = LabelIndex{sets: labels}
	if len(n.dirty) > fewSets {
		n.podLabels = NewLabelIndex(labels)
	}
}

// service computes a Service's ports and endpoints. old is what it was, or nil.
func (n *namespaceBuilder) service(o source.Object, old *Service) *Service {
	spec := o.Value.(*corev1.Service)
	s := &Service{Name: Name{o.Namespace, o.Name}, Object: o, Spec: spec}
	if old == nil {
		old = &Service{}
	}
	s.opaque = declare(o, old.opaque)
	for i := range n.podLabels.Matches(spec.Spec.Selector) {
		s.Selects = append(s.Selects, n.podList[i])
	}
	slices.SortFunc(s.Selects, func(a, b *Pod) int { return compareNames(a.Name, b.Name) })
	fromSlices := n.byService[o.Name]
	for i := range spec.Spec.Ports {
		sp := &spec.Spec.Ports[i]
		if sp.Protocol != "" && sp.Protocol != corev1.ProtocolTCP || sp.Port < 1 || sp.Port > 65535 {
			continue
		}
		p := Port{Name: sp.Name, Number: uint16(sp.Port), Target: sp.TargetPort}
		p.Protocol = n.servicePort(s, sp, i)
		if len(fromSlices) > 0 {
			n.sliceEndpoints(&p, fromSlices)
		} else {
			n.podEndpoints(&p, s.Selects)
			n.workloadEndpoints(&p, spec.Spec.Selector)
		}
		slices.SortFunc(p.Endpoints, func(a, b Endpoint) int { return cmp.Compare(a.Address, b.Address) })
		p.Endpoints = slices.CompactFunc(p.Endpoints, func(a, b Endpoint) bool { return a.Address == b.Address })
		s.Ports = append(s.Ports, p)
	}
	return s
}

// podEndpoints is for a Service without EndpointSlices: laptop mode.
func (n *namespaceBuilder) podEndpoints(p *Port, pods []*Pod) {
	for _, pod := range pods {
		target, ok := pod.target(p)
		if _, err := netip.ParseAddr(pod.Spec.Status.PodIP); !ok || err != nil {
			continue // without an address, or with what is none
		}
		if !pod.Ready {
			p.NotReady++
			continue
		}
		e := Endpoint{
			Address: hostPort(pod.Spec.Status.PodIP, pod.Public(target)),
			Owner:   pod.Owner, Pod: pod.Name.Name, Namespace: pod.Namespace, Labels: pod.Spec.Labels,
		}
		n.place(&e, "", "")
		p.Endpoints = append(p.Endpoints, e)
	}
}

// sliceEndpoints takes the ports of the same name. An endpoint whose readiness
// is not known counts as ready (the EndpointSlice API's own rule).
func (n *namespaceBuilder) sliceEndpoints(p *Port, fromSlices []*discoveryv1.EndpointSlice) {
	for _, s := range fromSlices {
		for _, sp := range s.Ports {
			if sp.Port == nil || deref(sp.Name) != p.Name || sp.Protocol != nil && *sp.Protocol != corev1.ProtocolTCP {
				continue
			}
			for _, e := range s.Endpoints {
				if e.Conditions.Ready != nil && !*e.Conditions.Ready {
					p.NotReady++
					continue
				}
				for _, a := range e.Addresses {
					if _, err := netip.ParseAddr(a); err != nil {
						continue // a name (addressType FQDN), which nobody in a cluster calls by
					}
					one := n.sliceEndpoint(a, uint16(*sp.Port), e.TargetRef)
					n.place(&one, deref(e.Zone), deref(e.NodeName))
					p.Endpoints = append(p.Endpoints, one)
				}
			}
		}
	}
}

func (n *Namespace) sliceEndpoint(address string, port uint16, ref *corev1.ObjectReference) Endpoint {
	e := Endpoint{Address: hostPort(address, port), Namespace: n.Name}
	if ref != nil && ref.Kind == "Pod" {
		e.Pod = ref.Name
		e.Owner = Owner{ref.Name, "Pod"}
		if p := n.pods[ref.Name]; p != nil {
			e.Owner, e.Labels = p.Owner, p.Spec.Labels
		}
	}
	return e
}

// workloadEndpoints are the addresses of Workloads for which no instance has
// been published: without `recloser up` they are called directly.
func (n *namespaceBuilder) workloadEndpoints(p *Port, selector map[string]string) {
	for _, o := range n.workloads {
		w := workloadOf(*o)
		if len(w.Spec.Addresses) == 0 || !selects(selector, w.InstanceLabels()) || n.hasInstances(w.Name) {
			continue
		}
		port, ok := workloadTarget(w, p)
		if !ok {
			continue
		}
		for _, a := range w.Spec.Addresses {
			if _, err := netip.ParseAddrPort(a); err != nil {
				a = hostPort(a, port)
			}
			e := Endpoint{Address: a, Owner: Owner{w.Name, "Workload"}, Namespace: n.Name, Labels: w.InstanceLabels()}
			n.place(&e, "", "")
			p.Endpoints = append(p.Endpoints, e)
		}
	}
}

func (n *Namespace) hasInstances(workload string) bool {
	for _, p := range n.pods {
		if p.Owner == (Owner{workload, "Workload"}) {
			return true
		}
	}
	return false
}

func workloadTarget(w *v1alpha1.Workload, p *Port) (uint16, bool) {
	if p.Target.Type == intstr.Int || p.Target.StrVal == "" {
		if p.Target.IntVal == 0 {
			return p.Number, true
		}
		return uint16(p.Target.IntVal), p.Target.IntVal > 0 && p.Target.IntVal < 1<<16
	}
	for _, wp := range w.Spec.Ports {
		if wp.Name == p.Target.StrVal {
			return uint16(wp.Port), true
		}
	}
	return 0, false
}

func workloadOf(o source.Object) *v1alpha1.Workload { return o.Value.(*v1alpha1.Workload) }

func hostPort(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
