package local

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/reclosermesh/recloser/api/v1alpha1"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// owner is the object that instances belong to: a Deployment, a Workload, or a
// bare Pod.
type owner struct{ kind, namespace, name string }

func (o owner) String() string {
	return source.Key{Kind: source.Kind(o.kind), Namespace: o.namespace, Name: o.name}.String()
}

// want is what should run for one owner.
type want struct {
	owner    owner
	replicas int
	// recreate: the old instances end before new ones start (the strategy
	// Recreate of Deployments).
	recreate bool
	template *template
}

// template is what the instances of an owner have in common. It is immutable.
type template struct {
	hash        string // changes when the instances must be replaced
	labels      map[string]string
	annotations map[string]string
	// spec is published as the Pod's, so that ports and names are found in it.
	spec     corev1.PodSpec
	programs []program
	probe    *probe        // nil: a TCP connect to each port
	restart  restartPolicy // of programs that end
	grace    time.Duration // between SIGTERM and SIGKILL
	// addresses are of programs that run already, one per instance: IP, or
	// IP:PORT.
	addresses []string
}

// program is one process of an instance.
type program struct {
	name string
	// command makes the command line for an instance at a place.
	command func(*setting) (command, error)
}

type restartPolicy corev1.RestartPolicy

// again tells whether a program is started again after an end.
func (r restartPolicy) again(ok bool) bool {
	switch corev1.RestartPolicy(r) {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return !ok
	default:
		return true
	}
}

// Problem is an object that cannot be run. The rest of the mesh runs.
type Problem struct {
	Object string // "deployment/web -n shop"
	Where  string // file and line, where they are known
	Reason string
}

func (p Problem) String() string {
	if p.Where == "" {
		return p.Object + ": " + p.Reason
	}
	return p.Where + ": " + p.Object + ": " + p.Reason
}

// plan reads what should run from a World.
func plan(w *model.World) ([]want, []Problem) {
	p := &planner{world: w}
	for _, d := range w.Deployments() {
		p.deployment(d)
	}
	for _, wl := range w.Workloads() {
		p.workload(wl)
	}
	for _, pod := range w.Pods() {
		// A Pod with an address runs somewhere already, and one with an owner is
		// its owner's business: both are true of the Pods that stand for our
		// own instances.
		if pod.Spec.Status.PodIP == "" && len(pod.Spec.OwnerReferences) == 0 {
			p.pod(pod.Spec)
		}
	}
	return p.wants, p.problems
}

type planner struct {
	world    *model.World
	wants    []want
	problems []Problem
}

func (p *planner) problem(o owner, err error) {
	where := ""
	key := source.Key{Kind: source.Kind(o.kind), Namespace: o.namespace, Name: o.name}
	if obj, ok := p.world.Object(key); ok && obj.Origin != nil {
		where = obj.Origin.String()
	}
	p.problems = append(p.problems, Problem{Object: o.String(), Where: where, Reason: err.Error()})
}

func (p *planner) deployment(d *appsv1.Deployment) {
	o := owner{"Deployment", d.Namespace, d.Name}
	t, err := podTemplate(d.Spec.Template.Labels, d.Spec.Template.Annotations, d.Spec.Template.Spec)
	if err != nil {
		p.problem(o, err)
		return
	}
	replicas := 1
	if d.Spec.Replicas != nil {
		replicas = int(*d.Spec.Replicas)
	}
	p.wants = append(p.wants, want{
		owner: o, replicas: max(0, replicas), template: t,
		recreate: d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType,
	})
}

func (p *planner) pod(pod *corev1.Pod) {
	o := owner{"Pod", pod.Namespace, pod.Name}
	t, err := podTemplate(pod.Labels, pod.Annotations, pod.Spec)
	if err != nil {
		p.problem(o, err)
		return
	}
	p.wants = append(p.wants, want{owner: o, replicas: 1, template: t})
}

// podTemplate reads a Pod template as Deployments and bare Pods have it.
func podTemplate(labels, annotations map[string]string, spec corev1.PodSpec) (*template, error) {
	if len(spec.InitContainers) > 0 {
		return nil, fmt.Errorf("spec.initContainers[0] %q: init containers are not run on a laptop mesh", spec.InitContainers[0].Name)
	}
	t := &template{
		labels: maps.Clone(labels), annotations: maps.Clone(annotations), spec: spec,
		restart: restartPolicy(spec.RestartPolicy),
		grace:   30 * time.Second, // Kubernetes' default of terminationGracePeriodSeconds
		hash:    hashOf(labels, annotations, spec),
	}
	if s := spec.TerminationGracePeriodSeconds; s != nil {
		t.grace = time.Duration(*s) * time.Second
	}
	for i := range spec.Containers {
		c := &spec.Containers[i]
		program, err := containerProgram(c)
		if err != nil {
			return nil, fmt.Errorf("container %q: %w", c.Name, err)
		}
		t.programs = append(t.programs, program)
		if t.probe == nil {
			t.probe = containerProbe(c)
		}
	}
	if len(t.programs) == 0 {
		return nil, fmt.Errorf("spec.containers: there is none")
	}
	return t, nil
}

func (p *planner) workload(w *v1alpha1.Workload) {
	o := owner{"Workload", w.Namespace, w.Name}
	if err := w.Validate(); err != nil {
		p.problem(o, err)
		return
	}
	t := &template{
		labels: w.InstanceLabels(), annotations: w.InstanceAnnotations(),
		grace:     10 * time.Second,
		probe:     workloadProbe(w),
		addresses: w.Spec.Addresses,
	}
	c := corev1.Container{Name: w.Name}
	for _, wp := range w.Spec.Ports {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: wp.Name, ContainerPort: wp.Port, Protocol: corev1.ProtocolTCP})
	}
	t.spec = corev1.PodSpec{Containers: []corev1.Container{c}}
	if len(w.Spec.Addresses) == 0 {
		folder := ""
		if obj, ok := p.world.Object(source.Key{Kind: source.Workload, Namespace: w.Namespace, Name: w.Name}); ok && obj.Origin != nil {
			folder = obj.Origin.File
		}
		t.programs = []program{workloadProgram(w, folder)}
	}
	s := w.Spec
	s.Replicas = nil // more or fewer instances are the same instances
	if len(s.Addresses) > 0 {
		s.Addresses = nil // each instance has its own in its name
	}
	t.hash = hashOf(t.labels, t.annotations, s)
	p.wants = append(p.wants, want{owner: o, replicas: w.Replicas(), template: t})
}

// hashOf is a short name for what makes instances different from each other.
func hashOf(parts ...any) string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	for _, part := range parts {
		// The parts are API types of Kubernetes and ours, which always encode.
		_ = enc.Encode(part)
	}
	const letters = "bcdfghjklmnpqrstvwxz2456789" // no vowels, so that no words come out, as in Kubernetes
	sum := h.Sum(nil)
	var b strings.Builder
	for _, c := range sum[:5] {
		b.WriteByte(letters[int(c)%len(letters)])
	}
	return b.String()
}

// serviceAccount is the account that instances of t act as.
func (t *template) serviceAccount() string {
	if a := t.spec.ServiceAccountName; a != "" {
		return a
	}
	return "default"
}

// serviceLinks tells whether there are programs that are told of services by
// environment (enableServiceLinks of Pods, which is true by default).
func (t *template) serviceLinks() bool {
	return len(t.programs) > 0 && (t.spec.EnableServiceLinks == nil || *t.spec.EnableServiceLinks)
}

// ports are the TCP ports that instances of t serve: those that its containers
// declare, or else those that Services lead to.
func (t *template) ports(w *model.World, namespace string) []uint16 {
	var ports []uint16
	for _, c := range t.spec.Containers {
		for _, cp := range c.Ports {
			if cp.Protocol == "" || cp.Protocol == corev1.ProtocolTCP {
				ports = append(ports, uint16(cp.ContainerPort)) //nolint:gosec // a port number
			}
		}
	}
	if len(ports) == 0 && w != nil {
		ports = servicePorts(w, namespace, t.labels)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// servicePorts are the numeric target ports of the Services that select labels.
func servicePorts(w *model.World, namespace string, labels map[string]string) []uint16 {
	var ports []uint16
	for _, s := range w.Services() {
		if s.Namespace != namespace || !selects(s.Spec.Spec.Selector, labels) {
			continue
		}
		for i := range s.Ports {
			target := s.Ports[i].Target
			switch {
			case target.StrVal != "":
				// A name leads nowhere without a declared port.
			case target.IntVal == 0:
				ports = append(ports, s.Ports[i].Number)
			default:
				ports = append(ports, uint16(target.IntVal)) //nolint:gosec // a port number
			}
		}
	}
	return ports
}

// selects tells whether a Service's selector matches; an empty one matches
// nothing.
func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if have, ok := labels[k]; !ok || have != v {
			return false
		}
	}
	return len(selector) > 0
}
