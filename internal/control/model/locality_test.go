package model_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

func node(name, region, zone string) source.Object {
	return source.Object{Key: source.Key{Kind: source.Node, Name: name}, Value: &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels{model.RegionLabel: region, model.ZoneLabel: zone}},
	}}
}

// An endpoint is where its slice, its labels or its Node say.
func TestLocalityOfEndpoints(t *testing.T) {
	app := labels{"app": "a"}
	placed := labels{"app": "a", model.RegionLabel: "r1", model.ZoneLabel: "z1", model.SubZoneLabel: "s1"}
	on := func(node string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = node } }
	inSlice := func(zone, node string) source.Object {
		o := slice("d", "s-1", "s", "10.0.0.9")
		e := &o.Value.(*discoveryv1.EndpointSlice).Endpoints[0]
		if zone != "" {
			e.Zone = &zone
		}
		if node != "" {
			e.NodeName = &node
		}
		return o
	}
	svc := service("d", "s", app, intstr.FromString("http"))
	for name, tt := range map[string]struct {
		objects []source.Object
		want    string
	}{
		"nothing known":        {[]source.Object{pod("d", "p", "10.0.0.1", app, true)}, ""},
		"the instance's label": {[]source.Object{pod("d", "p", "10.0.0.1", placed, true)}, "r1/z1/s1"},
		"its Node":             {[]source.Object{pod("d", "p", "10.0.0.1", app, true, on("n")), node("n", "r2", "z2")}, "r2/z2"},
		"a Node not known":     {[]source.Object{pod("d", "p", "10.0.0.1", app, true, on("n"))}, ""},
		"label before Node":    {[]source.Object{pod("d", "p", "10.0.0.1", placed, true, on("n")), node("n", "r2", "z2")}, "r1/z1/s1"},
		"slice before both":    {[]source.Object{pod("d", "p0", "10.0.0.1", placed, true), inSlice("z9", "")}, "r1/z9/s1"},
		"slice with its Node":  {[]source.Object{inSlice("z9", "n"), node("n", "r2", "z2")}, "r2/z9"},
		"workload":             {[]source.Object{workload("d", "w", "10.0.0.1", placed)}, "r1/z1/s1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := model.Build(nil, append(tt.objects, svc))
			list := w.Service("d", "s").Ports[0].Endpoints
			if len(list) != 1 || list[0].Locality.String() != tt.want {
				t.Errorf("endpoints %+v, want one in %q", list, tt.want)
			}
		})
	}
}

// A Node that moves takes its endpoints along; one whose status alone changes
// leaves services as they are.
func TestNodesMove(t *testing.T) {
	objects := []source.Object{
		service("d", "s", labels{"app": "a"}, intstr.FromString("http")),
		pod("d", "p", "10.0.0.1", labels{"app": "a"}, true, func(p *corev1.Pod) { p.Spec.NodeName = "n" }), node("n", "r", "z"),
	}
	before := model.Build(nil, objects)
	same := node("n", "r", "z")
	same.Value.(*corev1.Node).Status.Phase = "Running"
	after := model.Build(before, []source.Object{objects[0], objects[1], same})
	if before.Service("d", "s") != after.Service("d", "s") {
		t.Error("a service was made anew though its endpoints are where they were")
	}
	moved := model.Build(after, []source.Object{objects[0], objects[1], node("n", "r", "other")})
	if got := moved.Service("d", "s").Ports[0].Endpoints[0].Locality.String(); got != "r/other" {
		t.Errorf("after its Node has moved the endpoint is in %q", got)
	}
}

func TestParseLocality(t *testing.T) {
	for _, s := range []string{"", "r", "r/z", "r/z/s", "/z", "r//s"} {
		if got := model.ParseLocality(s).String(); got != s {
			t.Errorf("%q is read as %q", s, got)
		}
	}
}
