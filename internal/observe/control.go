package observe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/observe/breakers"
	"github.com/reclosermesh/recloser/internal/observe/scrape"
	"github.com/reclosermesh/recloser/internal/observe/stat"
)

// Of returns a Config whose Mesh, Reports and Configuration are those of a
// control plane in this process.
func Of(c *control.Control) Config {
	p := plane{c}
	return Config{Mesh: p, Reports: p, Configuration: p}
}

// plane reads a control plane. Each answer is made of one World, the newest.
type plane struct{ c *control.Control }

// Targets implements Mesh.
func (p plane) Targets() []scrape.Target {
	var out []scrape.Target
	for _, n := range p.c.Nodes() {
		if n.Admin == "" {
			continue
		}
		labels := map[string]string{"namespace": n.Metadata["NAMESPACE"], "pod": n.Metadata["POD"]}
		// deployment="good", as Linkerd has it; any other kind likewise. A pod
		// that stands for itself has its label already.
		kind := strings.ToLower(cmp.Or(n.Metadata["WORKLOAD_KIND"], "workload"))
		if w := n.Metadata["WORKLOAD"]; w != "" && labels[kind] == "" {
			labels[kind] = w
		}
		out = append(out, scrape.Target{ID: n.ID, Address: n.Admin, Labels: labels})
	}
	return out
}

// tally counts instances.
type tally struct{ all, meshed int }

func (t *tally) add(o tally) { t.all += o.all; t.meshed += o.meshed }

// Resources implements stat.Mesh.
func (p plane) Resources() []stat.Resource {
	w := p.c.World()
	connected := make(map[model.Name]bool)
	for _, n := range p.c.Nodes() {
		connected[model.Name{Namespace: n.Metadata["NAMESPACE"], Name: n.Metadata["POD"]}] = true
	}
	var out []stat.Resource
	put := func(kind stat.Kind, name model.Name, labels map[string]string, t tally) {
		out = append(out, stat.Resource{Kind: kind, Namespace: name.Namespace, Name: name.Name, Labels: labels, Instances: t.all, Meshed: t.meshed})
	}
	one := func(pod *model.Pod) tally {
		t := tally{all: 1}
		if pod.Ready && connected[pod.Name] {
			t.meshed = 1
		}
		return t
	}
	type owner struct {
		namespace string
		model.Owner
	}
	owned, namespaced := map[owner]tally{}, map[string]tally{}
	pods := w.Pods()
	// On a laptop the instances of a Pod are Pods that it owns, and the Pod
	// itself runs nowhere.
	templates := map[model.Name]bool{}
	for _, pod := range pods {
		if pod.WorkloadKind == string(source.Pod) && pod.Workload != pod.Name.Name {
			templates[model.Name{Namespace: pod.Namespace, Name: pod.Workload}] = true
		}
	}
	for _, pod := range pods {
		if templates[pod.Name] {
			continue
		}
		t := one(pod)
		put(stat.Pod, pod.Name, pod.Spec.Labels, t)
		o := owned[owner{pod.Namespace, pod.Owner}]
		o.add(t)
		owned[owner{pod.Namespace, pod.Owner}] = o
		n := namespaced[pod.Namespace]
		n.add(t)
		namespaced[pod.Namespace] = n
	}
	workload := func(kind stat.Kind, sourceKind source.Kind, o metav1.Object) {
		name := model.Name{Namespace: o.GetNamespace(), Name: o.GetName()}
		put(kind, name, o.GetLabels(), owned[owner{name.Namespace, model.Owner{Workload: name.Name, WorkloadKind: string(sourceKind)}}])
	}
	for _, d := range w.Deployments() {
		workload(stat.Deployment, source.Deployment, d)
	}
	for _, d := range w.Workloads() {
		workload(stat.Workload, source.Workload, d)
	}
	for _, s := range w.Services() {
		var t tally
		for _, pod := range s.Selects {
			if !templates[pod.Name] {
				t.add(one(pod))
			}
		}
		put(stat.Service, s.Name, s.Spec.Labels, t)
	}
	for _, name := range namespaces(w) {
		put(stat.Namespace, model.Name{Name: name}, nil, namespaced[name])
	}
	return out
}

// namespaces are those that have an object of their own or anything in them.
func namespaces(w *model.World) []string {
	names := w.NamespaceNames()
	for _, o := range w.Objects(source.Namespace) {
		names = append(names, o.Name)
	}
	for _, d := range w.Deployments() {
		names = append(names, d.Namespace)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// client names a proxy by its node id, POD.NAMESPACE. Events outlive the
// proxies that told them, so it does not ask whether the proxy is connected.
func client(w *model.World, node string) breakers.Client {
	c := breakers.Client{Node: node, Pod: node}
	if i := strings.LastIndexByte(node, '.'); i > 0 { // a namespace has no dots
		c.Pod, c.Namespace = node[:i], node[i+1:]
	}
	if pod := w.Pod(c.Namespace, c.Pod); pod != nil {
		c.Workload, c.Kind = pod.Workload, pod.WorkloadKind
	}
	return c
}

// Breakers implements Reports.
func (p plane) Breakers() []breakers.Report {
	w := p.c.World()
	var out []breakers.Report
	for _, c := range p.c.Reports().Clusters() {
		if last := len(out) - 1; last < 0 || out[last].Client.Node != c.Node {
			out = append(out, breakers.Report{Client: client(w, c.Node), Off: map[string]bool{}})
		}
		r := &out[len(out)-1]
		r.Clusters = append(r.Clusters, c.ClusterState)
		has, known := p.c.HasBreaker(model.Client{
			Namespace: r.Client.Namespace, Workload: r.Client.Workload, Kind: r.Client.Kind,
		}, c.GetCluster())
		r.Off[c.GetCluster()] = known && !has
	}
	return out
}

// waiting is the number of events that may wait for a slow reader.
const waiting = 1024

// Events implements Reports.
func (p plane) Events(ctx context.Context, follow bool, put func(Event) bool, every time.Duration, idle func() bool) {
	kept, sub := p.c.Reports().Subscribe(0, waiting)
	defer sub.Close()
	for _, e := range kept {
		if ctx.Err() != nil || !put(Event{Client: client(p.c.World(), e.Node), Event: e.Event}) {
			return
		}
	}
	if !follow {
		return
	}
	quiet := time.NewTicker(every)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-quiet.C:
			if lost := sub.Dropped(); lost > 0 && !put(Event{Lost: lost}) {
				return
			}
			if !idle() {
				return
			}
		case e, ok := <-sub.C:
			if !ok || !put(Event{Client: client(p.c.World(), e.Node), Event: e.Event, Lost: sub.Dropped()}) {
				return
			}
			quiet.Reset(every)
		}
	}
}

// Policy implements Configuration.
func (p plane) Policy(r PolicyRequest) (Policy, error) {
	// Routes that hold for one namespace's clients only do not exist yet, so
	// the client's namespace changes nothing.
	e, err := p.c.Policy(r.Namespace, r.Service, r.Port)
	if _, ok := errors.AsType[*policy.PortNeededError](err); ok {
		return Policy{}, badRequest{err}
	}
	if err != nil {
		return Policy{}, &NotFoundError{err}
	}
	return Policy{Effective: e, Linkerd: policy.LinkerdJSON(e)}, nil
}

// Findings implements Configuration.
func (p plane) Findings() []lint.Finding { return p.c.Problems() }

// Reading implements Configuration.
func (p plane) Reading() (*control.Reading, error) { return p.c.Reading() }

// sourceKind reads one of the kinds whose annotations can be changed.
func sourceKind(kind string) (source.Kind, bool) {
	switch stat.Kind(kind) {
	case stat.Service:
		return source.Service, true
	case stat.Deployment:
		return source.Deployment, true
	case stat.Pod:
		return source.Pod, true
	case stat.Workload:
		return source.Workload, true
	case stat.Namespace:
		return source.Namespace, true
	}
	return "", false
}

// Annotations implements Configuration.
func (p plane) Annotations(kind, namespace, name string) (map[string]string, bool) {
	k, ok := sourceKind(kind)
	if !ok {
		return nil, false
	}
	if k == source.Namespace {
		namespace = ""
	}
	o, ok := p.c.World().Object(source.Key{Kind: k, Namespace: namespace, Name: name})
	if !ok {
		return nil, false
	}
	meta, ok := o.Value.(metav1.Object)
	if !ok {
		return nil, false
	}
	return meta.GetAnnotations(), true
}

// settle is how long Annotate waits for the World to show what it changed.
const settle = 5 * time.Second

// Annotate implements Configuration. It returns when the World shows the
// change, so that the next question is answered by it.
func (p plane) Annotate(kind, namespace, name string, change map[string]*string) error {
	changed, stop := p.c.Watch()
	defer stop()
	if err := p.c.Annotate(kind, namespace, name, change); err != nil {
		return err
	}
	late := time.NewTimer(settle)
	defer late.Stop()
	for !p.shows(kind, namespace, name, change) {
		select {
		case <-changed:
		case <-late.C:
			return fmt.Errorf("the change of %s/%s is accepted, and not in force after %s: look at the control plane's log", kind, name, settle)
		}
	}
	return nil
}

func (p plane) shows(kind, namespace, name string, change map[string]*string) bool {
	have, ok := p.Annotations(kind, namespace, name)
	if !ok {
		return true // it went meanwhile: there is nothing to wait for
	}
	for k, want := range change {
		value, exists := have[k]
		if exists != (want != nil) || (exists && value != *want) {
			return false
		}
	}
	return true
}
