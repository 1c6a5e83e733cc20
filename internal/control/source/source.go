// Package source is where the configuration comes from: it turns what people
// write into typed objects, each with the place where it was written, and says
// what is wrong with what it could not read.
//
// The package itself holds the shared values and the strict decoder of one
// document; source/file and source/memory are the sources. Objects are never
// changed after they are published: everybody may read them at the same time,
// and an object whose pointer is the same as before is the same object.
//
// What objects mean together is not decided here but in model and policy.
package source

import (
	"context"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Kind names a kind of object that the mesh understands.
type Kind string

// The kinds that are understood today.
const (
	Service       Kind = "Service"
	Pod           Kind = "Pod"
	Namespace     Kind = "Namespace"
	Node          Kind = "Node"
	EndpointSlice Kind = "EndpointSlice"
	Deployment    Kind = "Deployment"
	Workload      Kind = "Workload"

	DestinationRule Kind = "DestinationRule"
	VirtualService  Kind = "VirtualService"
)

// Key names one object. Namespace is empty for kinds without one.
type Key struct {
	Kind      Kind
	Namespace string
	Name      string
}

// String is how people write it: "service/bb -n demo".
func (k Key) String() string {
	s := strings.ToLower(string(k.Kind)) + "/" + k.Name
	if k.Namespace != "" {
		s += " -n " + k.Namespace
	}
	return s
}

// Object is one object and where it came from. Value is one of *corev1.Service,
// *corev1.Pod, *corev1.Namespace, *appsv1.Deployment,
// *discoveryv1.EndpointSlice, *v1alpha1.Workload, *IstioDestinationRule,
// *IstioVirtualService, as Kind says. It is not changed after it is published.
type Object struct {
	Key
	Value  any
	Origin *Origin
}

// Meta is the object's metadata.
func (o *Object) Meta() metav1.Object {
	m, _ := o.Value.(metav1.Object)
	return m
}

// Origin is where an object was written. A nil Origin is nowhere.
type Origin struct {
	// Source is the name of the source: "file", "kubernetes", "recloser up".
	Source string `json:"source,omitempty"`
	// File is a path as the user named it, empty when there is none.
	File string `json:"file,omitempty"`
	// Line of the object's first line, from 1; 0 when there is none.
	Line int `json:"line,omitempty"`
	// Fields are lines by field path. Only the paths that findings name are
	// kept: the upper levels, annotations and labels.
	Fields map[string]int `json:"fields,omitempty"`
	// Set are fields that somebody has set or changed since, and who did, by
	// field path: they are not in the file.
	Set map[string]string `json:"set,omitempty"`
}

// Place is where a field was written: a file and a line (0 when it is not
// known), or who set it since.
func (o *Origin) Place(field string) (file string, line int, who string) {
	if o == nil {
		return "", 0, ""
	}
	if who = o.Set[field]; who != "" {
		return "", 0, who
	}
	return o.File, o.LineOf(field), ""
}

// LineOf is the line of a field, or of the nearest field around it that is
// known. It is 0 when the object has no lines.
func (o *Origin) LineOf(field string) int {
	if o == nil {
		return 0
	}
	for field != "" {
		if l, ok := o.Fields[field]; ok {
			return l
		}
		field = parentPath(field)
	}
	return o.Line
}

// String is "file:line", or the name of the source.
func (o *Origin) String() string {
	switch {
	case o == nil:
		return ""
	case o.File == "":
		return o.Source
	case o.Line == 0:
		return o.File
	default:
		return o.File + ":" + strconv.Itoa(o.Line)
	}
}

// parentPath cuts the last element off: a["b.c"] and a.b and a[0] become a.
func parentPath(p string) string {
	if strings.HasSuffix(p, "]") {
		if i := strings.LastIndexByte(p, '['); i >= 0 {
			return p[:i]
		}
	}
	if i := strings.LastIndexByte(p, '.'); i >= 0 {
		return p[:i]
	}
	return ""
}

// AnnotationPath is the field path of an annotation.
func AnnotationPath(name string) string { return `metadata.annotations["` + name + `"]` }

// Update is the full state of a source.
type Update struct {
	Objects  []Object
	Problems []Problem
}

// Source publishes its full state once at its start, and again after each
// change, until ctx ends. publish does not block for long and must not be
// called from two goroutines at a time.
type Source interface {
	Name() string
	Run(ctx context.Context, publish func(Update)) error
}
