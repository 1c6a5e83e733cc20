package control

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// overlay are annotations that were set while the mesh runs. They lie over
// what the sources say and do not change it. Guarded by Control.mu.
//
// The last word counts, as with kubectl: an annotation that is changed at its
// source after it was set here is what the source says from then on.
type overlay struct {
	// set has nil for an annotation that is taken away.
	set map[source.Key]map[string]*string
	// under is what the source said when the annotation was set: it is noted
	// by the first apply after that.
	under map[source.Key]map[string]*string
	// made are the objects with the annotations on, so that the same object
	// gives the same pointer.
	made map[source.Key]overlaid
}

type overlaid struct{ from, to source.Object }

func newOverlay() overlay {
	return overlay{
		set: map[source.Key]map[string]*string{}, under: map[source.Key]map[string]*string{},
		made: map[source.Key]overlaid{},
	}
}

// apply puts the annotations on the objects, in place.
func (o *overlay) apply(objects []source.Object) {
	if len(o.set) == 0 {
		return
	}
	for i := range objects {
		o.giveWay(&objects[i])
		set := o.set[objects[i].Key]
		if len(set) == 0 {
			continue
		}
		m, ok := o.made[objects[i].Key]
		if !ok || m.from != objects[i] {
			m = overlaid{objects[i], annotated(objects[i], set)}
			o.made[objects[i].Key] = m
		}
		objects[i] = m.to
	}
}

// giveWay drops the annotations that the source has changed since they were
// set here.
func (o *overlay) giveWay(object *source.Object) {
	set := o.set[object.Key]
	if len(set) == 0 || object.Meta() == nil {
		return
	}
	under := o.under[object.Key]
	if under == nil {
		under = map[string]*string{}
		o.under[object.Key] = under
	}
	says := object.Meta().GetAnnotations()
	for k := range set {
		var now *string
		if v, ok := says[k]; ok {
			now = &v
		}
		before, noted := under[k]
		switch {
		case !noted:
			under[k] = now
		case (before == nil) != (now == nil) || now != nil && *before != *now:
			delete(set, k)
			delete(under, k)
			delete(o.made, object.Key)
		}
	}
}

// annotated is a copy of an object with annotations changed.
func annotated(o source.Object, set map[string]*string) source.Object {
	v, ok := o.Value.(runtime.Object)
	if !ok {
		return o
	}
	o.Value = v.DeepCopyObject()
	meta := o.Value.(metav1.Object)
	a := maps.Clone(meta.GetAnnotations())
	if a == nil {
		a = map[string]string{}
	}
	origin := source.Origin{Source: "annotate"}
	if o.Origin != nil {
		origin = *o.Origin
		origin.Fields, origin.Set = maps.Clone(origin.Fields), maps.Clone(origin.Set)
	}
	if origin.Set == nil {
		origin.Set = map[string]string{}
	}
	for k, value := range set {
		delete(origin.Fields, source.AnnotationPath(k))
		if value == nil {
			delete(a, k)
			continue
		}
		a[k] = *value
		origin.Set[source.AnnotationPath(k)] = "recloser annotate"
	}
	meta.SetAnnotations(a)
	o.Origin = &origin
	return o
}

// Annotate sets annotations of an object while the mesh runs, as kubectl
// annotate does; nil takes one away. The files stay as they are. A value that
// cannot be is refused and changes nothing, as is an object that does not
// exist.
func (c *Control) Annotate(kind, namespace, name string, annotations map[string]*string) error {
	key, err := keyOf(kind, namespace, name)
	if err != nil {
		return err
	}
	for k := range annotations {
		if msgs := validation.IsQualifiedName(strings.ToLower(k)); len(msgs) > 0 {
			return fmt.Errorf("annotation %q: %s", k, msgs[0])
		}
	}
	o, ok := c.World().Object(key)
	if !ok {
		return fmt.Errorf("there is no %s", key)
	}
	if err := check(o, annotations); err != nil {
		return err
	}
	c.mu.Lock()
	set := maps.Clone(c.overlay.set[key])
	if set == nil {
		set = map[string]*string{}
	}
	maps.Copy(set, annotations)
	c.overlay.set[key] = set
	for k := range annotations {
		delete(c.overlay.under[key], k)
	}
	delete(c.overlay.made, key)
	c.mu.Unlock()
	c.poke()
	return nil
}

// check refuses annotations that would be errors. Errors that the object has
// anyway do not stand in the way.
func check(o source.Object, annotations map[string]*string) error {
	before := map[lint.Finding]bool{}
	for _, f := range policy.CheckAnnotations(o) {
		before[bare(f)] = true
	}
	var errs []error
	for _, f := range policy.CheckAnnotations(annotated(o, annotations)) {
		if f.Severity == lint.Error && !before[bare(f)] {
			f.File, f.Line = "", 0
			// The policy that is in force stays, whatever it is.
			f.Reason = strings.TrimSuffix(f.Reason, "; "+policy.StaysOff) + "; nothing was changed"
			errs = append(errs, errors.New(strings.TrimPrefix(f.String(), "error: ")))
		}
	}
	return errors.Join(errs...)
}

// bare is a finding without its place, which changes with the annotations.
func bare(f lint.Finding) lint.Finding {
	f.File, f.Line = "", 0
	return f
}

// keyOf reads "svc", "service", "services" and so on.
func keyOf(kind, namespace, name string) (source.Key, error) {
	k := map[string]source.Kind{
		"svc": source.Service, "service": source.Service, "services": source.Service,
		"po": source.Pod, "pod": source.Pod, "pods": source.Pod,
		"ns": source.Namespace, "namespace": source.Namespace, "namespaces": source.Namespace,
		"deploy": source.Deployment, "deployment": source.Deployment, "deployments": source.Deployment,
		"workload": source.Workload, "workloads": source.Workload,
	}[strings.ToLower(kind)]
	switch {
	case k == "":
		return source.Key{}, fmt.Errorf("kind %q: must be service, deployment, pod, namespace or workload", kind)
	case name == "":
		return source.Key{}, fmt.Errorf("%s: a name is missing", kind)
	case k == source.Namespace:
		namespace = ""
	case namespace == "":
		namespace = metav1.NamespaceDefault
	}
	return source.Key{Kind: k, Namespace: namespace, Name: name}, nil
}
