package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reclosermesh/recloser/internal/control/source"
)

// Remembered is what a World knows of an object that the object itself does not
// say any more: the last good value of OpaquePortsAnnotation.
type Remembered struct {
	Kind        source.Kind `json:"kind"`
	Namespace   string      `json:"namespace,omitempty"`
	Name        string      `json:"name"`
	OpaquePorts string      `json:"opaquePorts"`
}

// Memory is all that a World does not have from its objects as they are now, in
// no order. Restore takes it.
func (w *World) Memory() []Remembered {
	var out []Remembered
	remember := func(d *declaredPorts) {
		if d.stale {
			k := d.object.Key
			out = append(out, Remembered{k.Kind, k.Namespace, k.Name, d.set.String()})
		}
	}
	for _, n := range w.namespaces {
		remember(&n.opaque)
		for _, s := range n.services {
			remember(&s.opaque)
		}
	}
	return out
}

// Restore makes the World of objects and a memory that a World with the same
// objects had.
func Restore(objects []source.Object, memory []Remembered) *World {
	if len(memory) == 0 {
		return Build(nil, objects)
	}
	good := make(map[source.Key]string, len(memory))
	for _, m := range memory {
		good[source.Key{Kind: m.Kind, Namespace: m.Namespace, Name: m.Name}] = m.OpaquePorts
	}
	before := make([]source.Object, len(objects))
	for i, o := range objects {
		before[i] = o
		ports, ok := good[o.Key]
		v, copies := o.Value.(runtime.Object)
		if !ok || !copies {
			continue
		}
		before[i].Value = v.DeepCopyObject()
		meta := before[i].Value.(metav1.Object)
		annotations := meta.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[OpaquePortsAnnotation] = ports
		meta.SetAnnotations(annotations)
	}
	return Build(Build(nil, before), objects)
}

// String is the set as ParsePorts reads it.
func (s *PortSet) String() string {
	items := make([]string, 0, len(s.ranges)+len(s.names))
	for _, r := range s.ranges {
		if r[0] == r[1] {
			items = append(items, fmt.Sprint(r[0]))
		} else {
			items = append(items, fmt.Sprintf("%d-%d", r[0], r[1]))
		}
	}
	return strings.Join(append(items, s.names...), ",")
}

// AllObjects are all objects, by kind, namespace and name.
func (w *World) AllObjects() []source.Object {
	return slices.SortedFunc(maps.Values(w.objects), compareObjects)
}

// Has tells whether there is such an object.
func (w *World) Has(k source.Key) bool {
	_, ok := w.objects[k]
	return ok
}
