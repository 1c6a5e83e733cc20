package lint

import (
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/reclosermesh/recloser/api/v1alpha1"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// CallsAnnotation names the services that a workload calls, with commas between
// them: NAME or NAME.NAMESPACE. It is set on the Deployment, Workload or Pod, or
// on the template. It says nothing to proxies; lint follows retries along it.
const CallsAnnotation = "recloser.io/calls"

// runner is a workload, as far as checks look at it.
type runner struct {
	object    *source.Object
	name      string // "deployment/web -n demo"
	namespace string
	labels    map[string]string
	// probe is how soon a readiness probe takes an instance away; 0: none.
	probe time.Duration
	// calls is the value of CallsAnnotation.
	calls string
	// texts are arguments and values of the environment.
	texts []string
}

// runners are all workloads.
type runners struct {
	list   []runner
	byName map[string]*namespaceRunners
}

type namespaceRunners struct {
	of    []int
	index model.LabelIndex
}

// runners finds the workloads, once.
func (e *effective) runners() *runners {
	if e.run != nil {
		return e.run
	}
	r := &runners{byName: map[string]*namespaceRunners{}}
	for _, kind := range []source.Kind{source.Deployment, source.Workload, source.Pod} {
		for _, o := range e.world.Objects(kind) {
			if one, ok := runnerOf(&o); ok {
				r.list = append(r.list, one)
			}
		}
	}
	for i := range r.list {
		n := r.byName[r.list[i].namespace]
		if n == nil {
			n = &namespaceRunners{}
			r.byName[r.list[i].namespace] = n
		}
		n.of = append(n.of, i)
	}
	for _, n := range r.byName {
		labels := make([]map[string]string, 0, len(n.of))
		for _, i := range n.of {
			labels = append(labels, r.list[i].labels)
		}
		n.index = model.NewLabelIndex(labels)
	}
	e.run = r
	return r
}

// behind are the workloads whose instances a service selects.
func (r *runners) behind(s *model.Service) []*runner {
	n := r.byName[s.Namespace]
	if n == nil {
		return nil
	}
	var out []*runner
	for i := range n.index.Matches(s.Spec.Spec.Selector) {
		out = append(out, &r.list[n.of[i]])
	}
	return out
}

// runnerOf reads a workload. A Pod that has an owner is its owner's.
func runnerOf(o *source.Object) (runner, bool) {
	r := runner{object: o, name: o.String(), namespace: o.Namespace}
	switch v := o.Value.(type) {
	case *appsv1.Deployment:
		t := &v.Spec.Template
		r.labels, r.calls = t.Labels, callsOf(v.Annotations, t.Annotations)
		r.containers(t.Spec.Containers)
	case *corev1.Pod:
		if len(v.OwnerReferences) > 0 {
			return runner{}, false
		}
		r.labels, r.calls = v.Labels, v.Annotations[CallsAnnotation]
		r.containers(v.Spec.Containers)
	case *v1alpha1.Workload:
		r.labels, r.calls = v.InstanceLabels(), callsOf(v.Annotations, v.InstanceAnnotations())
		r.texts = append(append(r.texts, v.Spec.Command...), v.Spec.Args...)
		for _, env := range v.Spec.Env {
			r.texts = append(r.texts, env.Value)
		}
		if p := v.Spec.Readiness; p != nil {
			r.probe = probeTime(p.PeriodSeconds, p.FailureThreshold, 1)
		}
	default:
		return runner{}, false
	}
	return r, true
}

func callsOf(object, template map[string]string) string {
	return strings.Trim(object[CallsAnnotation]+","+template[CallsAnnotation], ",")
}

func (r *runner) containers(list []corev1.Container) {
	r.probe = containersProbe(list)
	for i := range list {
		r.texts = append(append(r.texts, list[i].Command...), list[i].Args...)
		for _, env := range list[i].Env {
			r.texts = append(r.texts, env.Value)
		}
	}
}
