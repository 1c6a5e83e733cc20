package v1alpha1

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
)

// DeepCopyObject makes a Workload a runtime.Object.
func (w *Workload) DeepCopyObject() runtime.Object { return w.DeepCopy() }

// DeepCopy shares nothing with the original.
func (w *Workload) DeepCopy() *Workload {
	if w == nil {
		return nil
	}
	out := &Workload{TypeMeta: w.TypeMeta, Spec: w.Spec}
	w.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	s := &out.Spec
	s.Template.Metadata.Labels = maps.Clone(s.Template.Metadata.Labels)
	s.Template.Metadata.Annotations = maps.Clone(s.Template.Metadata.Annotations)
	s.Command, s.Args = slices.Clone(s.Command), slices.Clone(s.Args)
	s.Env, s.Ports = slices.Clone(s.Env), slices.Clone(s.Ports)
	s.Addresses = slices.Clone(s.Addresses)
	s.Replicas = clone(s.Replicas)
	if s.Readiness = clone(s.Readiness); s.Readiness != nil {
		s.Readiness.HTTPGet = clone(s.Readiness.HTTPGet)
		s.Readiness.TCPSocket = clone(s.Readiness.TCPSocket)
	}
	return out
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
