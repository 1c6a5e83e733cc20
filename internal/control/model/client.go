package model

import (
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/reclosermesh/recloser/api/v1alpha1"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Client is who calls: a workload, whose instances are all alike to policy. An
// empty Workload is any of the namespace's, of which nothing more is known.
type Client struct {
	Namespace string
	// Workload is its name, Kind "Deployment", "Workload", "Pod" …
	Workload, Kind string
}

// String is how people write it: "deploy/web -n demo" without the abbreviation,
// or "namespace demo".
func (c Client) String() string {
	if c.Workload == "" {
		return "namespace " + c.Namespace
	}
	return source.Key{Kind: source.Kind(c.Kind), Namespace: c.Namespace, Name: c.Workload}.String()
}

// ClientOf is the client that a pod is an instance of.
func (w *World) ClientOf(pod Name) Client {
	if p := w.Pod(pod.Namespace, pod.Name); p != nil {
		return Client{Namespace: pod.Namespace, Workload: p.Workload, Kind: p.WorkloadKind}
	}
	return Client{Namespace: pod.Namespace}
}

// LabelsOf are the labels of a client's instances, as the template of its
// workload says them; nil where nothing is known of it.
func (w *World) LabelsOf(c Client) map[string]string {
	o, ok := w.Object(source.Key{Kind: source.Kind(c.Kind), Namespace: c.Namespace, Name: c.Workload})
	if !ok {
		return nil
	}
	return clientLabels(o)
}

// clientLabels are the labels of the instances of an object that may be a
// client.
func clientLabels(o source.Object) map[string]string {
	switch v := o.Value.(type) {
	case *appsv1.Deployment:
		return v.Spec.Template.Labels
	case *v1alpha1.Workload:
		return v.InstanceLabels()
	case *corev1.Pod:
		return v.Labels
	}
	return nil
}

// labelSet is a client's labels; it is another pointer when they are different.
type labelSet struct{ labels map[string]string }

// changeLabels takes over the labels of an object that may be a client. An
// object whose labels are the same touches nothing: a Deployment changes with
// each instance that becomes ready.
func (b *builder) changeLabels(o, old source.Object, exists bool) {
	key := old.Key
	if exists {
		key = o.Key
	}
	switch key.Kind {
	case source.Deployment, source.Workload, source.Pod:
	default:
		return
	}
	c := Client{Namespace: key.Namespace, Workload: key.Name, Kind: string(key.Kind)}
	had, now := isClient(old), exists && isClient(o)
	switch {
	case !now && !had:
	case !now:
		delete(b.namespace(key.Namespace).clients, c)
	case !had || !maps.Equal(clientLabels(old), clientLabels(o)):
		b.namespace(key.Namespace).clients[c] = &labelSet{clientLabels(o)}
	}
}

// isClient tells whether an object stands for a client itself: an instance of
// a workload does not.
func isClient(o source.Object) bool {
	if p, ok := o.Value.(*corev1.Pod); ok {
		return ownerOf(p) == Owner{p.Name, "Pod"}
	}
	return o.Value != nil
}
