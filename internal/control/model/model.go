// Package model is the World: everything that the mesh knows, as one immutable
// value with indexes. A change makes a new World that shares with the old one
// whatever did not change, so that a difference is found by comparing pointers
// and costs what has changed, not what there is.
//
// The model says what is: which instances a Service selects, under which
// addresses, and what a host name stands for. What should be done with a
// request is policy.
package model

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/reclosermesh/recloser/api/v1alpha1"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// World is immutable. The zero World is empty; nil is not a World.
type World struct {
	objects    map[source.Key]source.Object
	namespaces map[string]*Namespace
	clusterIPs map[string]Name
	rules      map[Name][]source.Object   // by the service that they are for
	anyRules   []source.Object            // that may be for any
	hostRules  map[string][]source.Object // by host that is no service
}

// Namespace is what is in one namespace. It is immutable.
type Namespace struct {
	Name string

	services  map[string]*Service
	pods      map[string]*Pod
	slices    map[string]*source.Object // EndpointSlices by name
	workloads map[string]*source.Object
	clients   map[Client]*labelSet
	opaque    declaredPorts // of the Namespace's own annotation

	// selecting are the services that select each pod; see SelectedBy.
	selecting func() map[string][]*Service
}

// Name of something in a namespace.
type Name struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String is namespace/name.
func (n Name) String() string { return n.Namespace + "/" + n.Name }

// Service is a Service and who answers for it. It is immutable.
type Service struct {
	Name
	Object source.Object
	Spec   *corev1.Service
	// Ports in the order of the Service; TCP only.
	Ports []Port
	// Selects are the Pods that the selector matches, ready or not, by name.
	Selects []*Pod

	opaque declaredPorts // of its own annotation
}

// Port is one port of a Service.
type Port struct {
	Name   string
	Number uint16
	// Protocol is what callers speak to the port.
	Protocol PortProtocol
	Target   intstr.IntOrString
	// Endpoints that are ready, by address.
	Endpoints []Endpoint
	// NotReady counts endpoints that exist and get no traffic.
	NotReady int
}

// Port is the port with a number, or nil.
func (s *Service) Port(number uint16) *Port {
	for i := range s.Ports {
		if s.Ports[i].Number == number {
			return &s.Ports[i]
		}
	}
	return nil
}

// PortList is the Service's ports as a message names them: "80 (http), 443".
func (s *Service) PortList() string {
	var list []string
	for i := range s.Ports {
		item := strconv.Itoa(int(s.Ports[i].Number))
		if s.Ports[i].Name != "" {
			item += " (" + s.Ports[i].Name + ")"
		}
		list = append(list, item)
	}
	return strings.Join(list, ", ")
}

// Endpoint is one address that answers for a Service's port.
type Endpoint struct {
	// Address is IP:PORT.
	Address string
	Owner
	Pod       string
	Namespace string
	// Labels are those of the instance, nil where nothing is known of it. They
	// are not to be changed.
	Labels map[string]string
	// Locality is where it runs, as far as it is known.
	Locality Locality
}

// Owner is the workload that an instance belongs to.
type Owner struct {
	// Workload is its name, WorkloadKind "Deployment", "Workload", "Pod" …
	Workload, WorkloadKind string
}

// Pod is one instance. It is immutable.
type Pod struct {
	Name
	Owner
	Object source.Object
	Spec   *corev1.Pod
	// Ready: it runs, its Ready condition holds, it has an address, and it is
	// not being deleted.
	Ready bool
	// App is where the program itself listens, when the sidecar listens in its
	// stead (annotation recloser.io/app-address). Empty: nothing is known.
	App string
	// PortMap is by container port, for machines with one address only.
	PortMap map[uint16]MappedPort

	opaque declaredPorts // of its own annotation
}

// MappedPort says on which ports an instance's sidecar and its program listen
// in place of a container port.
type MappedPort struct{ Public, App uint16 }

// Service is a service by name, or nil.
func (w *World) Service(namespace, name string) *Service {
	if n := w.namespaces[namespace]; n != nil {
		return n.services[name]
	}
	return nil
}

// Pod is a pod by name, or nil.
func (w *World) Pod(namespace, name string) *Pod {
	if n := w.namespaces[namespace]; n != nil {
		return n.pods[name]
	}
	return nil
}

// Object is any object by key.
func (w *World) Object(k source.Key) (source.Object, bool) {
	o, ok := w.objects[k]
	return o, ok
}

// Objects are all objects of a kind, by namespace and name.
func (w *World) Objects(kind source.Kind) []source.Object {
	var out []source.Object
	for k, o := range w.objects {
		if k.Kind == kind {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b source.Object) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// Services are all services, by namespace and name.
func (w *World) Services() []*Service {
	var out []*Service
	for _, n := range w.namespaces {
		for _, s := range n.services {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *Service) int { return compareNames(a.Name, b.Name) })
	return out
}

// Pods are all pods, by namespace and name.
func (w *World) Pods() []*Pod {
	var out []*Pod
	for _, n := range w.namespaces {
		for _, p := range n.pods {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *Pod) int { return compareNames(a.Name, b.Name) })
	return out
}

// Deployments are all Deployments, by namespace and name.
func (w *World) Deployments() []*appsv1.Deployment {
	return values[*appsv1.Deployment](w, source.Deployment)
}

// Workloads are all Workloads, by namespace and name.
func (w *World) Workloads() []*v1alpha1.Workload {
	return values[*v1alpha1.Workload](w, source.Workload)
}

// NamespaceNames are the names of all namespaces in which there is something.
func (w *World) NamespaceNames() []string { return slices.Sorted(maps.Keys(w.namespaces)) }

// SelectedBy are the services of its namespace that select a pod, by name.
func (w *World) SelectedBy(p *Pod) []*Service {
	n := w.namespaces[p.Namespace]
	if n == nil {
		return nil
	}
	return n.selecting()[p.Name.Name]
}

// selectors finds the services that select each pod, by name.
func (n *Namespace) selectors() map[string][]*Service {
	out := map[string][]*Service{}
	for _, s := range n.services {
		for _, p := range s.Selects {
			out[p.Name.Name] = append(out[p.Name.Name], s)
		}
	}
	for _, list := range out {
		slices.SortFunc(list, func(a, b *Service) int { return compareNames(a.Name, b.Name) })
	}
	return out
}

func values[T any](w *World, kind source.Kind) []T {
	objects := w.Objects(kind)
	out := make([]T, 0, len(objects))
	for _, o := range objects {
		out = append(out, o.Value.(T))
	}
	return out
}

func compareNames(a, b Name) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

func selects(selector, labels map[string]string) bool {
	if len(selector) == 0 {
		return false
	}
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}
