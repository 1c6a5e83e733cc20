package lint

import (
	"fmt"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
)

// size is how many instances of one kind there will be, and their labels.
type size struct {
	labels map[string]string
	count  int
}

// instances are the labels of the instances of a service, those that run where
// some do, and else those that its workloads ask for. known is false where
// nothing can be said.
func (r *ruleWorld) instances(s *model.Service) (list []size, known bool) {
	running := map[string]bool{}
	for i := range s.Ports {
		for _, e := range s.Ports[i].Endpoints {
			host := e.Address[:strings.LastIndexByte(e.Address, ':')]
			if !running[host] {
				running[host] = true
				list = append(list, size{e.Labels, 1})
			}
		}
	}
	if len(list) > 0 {
		return list, true
	}
	chosen := s.Spec.Spec.Selector
	if len(chosen) == 0 {
		return nil, false
	}
	for _, z := range r.sizes[s.Namespace] {
		if fits(chosen, z.labels) {
			list = append(list, z)
		}
	}
	return list, len(list) > 0
}

func fits(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// count is how many instances have the labels of a subset.
func count(list []size, labels map[string]string) int {
	n := 0
	for _, z := range list {
		if fits(labels, z.labels) {
			n += z.count
		}
	}
	return n
}

func newRuleWorld(w *model.World, t *policy.Table) *ruleWorld {
	r := &ruleWorld{world: w, table: t, templates: templatesOf(w), sizes: map[string][]size{}}
	for _, d := range w.Deployments() {
		n := 1
		if d.Spec.Replicas != nil {
			n = int(*d.Spec.Replicas)
		}
		r.sizes[d.Namespace] = append(r.sizes[d.Namespace], size{d.Spec.Template.Labels, n})
	}
	for _, x := range w.Workloads() {
		r.sizes[x.Namespace] = append(r.sizes[x.Namespace], size{x.InstanceLabels(), max(1, len(x.Spec.Addresses))})
	}
	return r
}

// subsets tells those that no endpoint is in.
func (r *rule) subsets() {
	for i, s := range r.spec.GetSubsets() {
		field := fmt.Sprintf("spec.subsets[%d].labels", i)
		if len(s.GetLabels()) == 0 {
			r.add(Info, "whole-subset", field, "", "", "a subset without labels has all endpoints of the service", "")
			continue
		}
		empty, some := "", false
		for _, service := range r.services {
			list, known := r.instances(service)
			if !known || count(list, s.GetLabels()) > 0 {
				some = true
				break
			}
			empty = service.Object.String()
		}
		if some || empty == "" {
			continue
		}
		r.add(Warning, "empty-subset", field, selector(s.GetLabels()), "",
			"no endpoint of "+empty+" has these labels, so requests to the subset are answered with 503",
			nearLabels(s.GetLabels(), r.templatesIn(r.services[0].Namespace)))
	}
}

func (r *ruleWorld) templatesIn(namespace string) []template {
	if t := r.templates[namespace]; t != nil {
		return t.list
	}
	return nil
}
