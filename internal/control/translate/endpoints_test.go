package translate_test

import (
	"fmt"
	"slices"
	"testing"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"
)

// standIns is a state in which "front" has "back" stand in for it, which has so
// many instances; below 0 there is no such service.
func standIns(old translate.View, instances int) translate.View {
	var objects []source.Object
	add := func(kind source.Kind, name string, o metav1.Object) {
		objects = append(objects, source.Object{Key: source.Key{Kind: kind, Namespace: "n", Name: name}, Value: o})
	}
	svc := func(name string, annotations map[string]string) {
		add(source.Service, name, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Annotations: annotations},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80}}},
		})
	}
	pod := func(name, app, ip string) {
		add(source.Pod, name, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Labels: map[string]string{"app": app}},
			Status: corev1.PodStatus{
				Phase: corev1.PodRunning, PodIP: ip,
				Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			},
		})
	}
	svc("front", map[string]string{policy.FailoverAnnotation: "back"})
	pod("f", "front", "10.0.0.1")
	if instances >= 0 {
		svc("back", nil)
	}
	for i := range instances {
		pod(fmt.Sprint("b", i), "back", fmt.Sprint("10.0.1.", i))
	}
	w := model.Build(old.World, objects)
	return translate.View{World: w, Policy: policy.Build(old.Policy, w)}
}

// A change of the endpoints of a service that stands in for another reaches that
// one's assignment, from before there is such a service.
func TestStandInsReachTheirAssignment(t *testing.T) {
	key := translate.KeyFor(translate.EndpointType, translate.ClusterName(model.Name{Namespace: "n", Name: "front"}, 80, ""), translate.Node{Client: model.Client{Namespace: "n"}})
	if key.Client != (model.Client{}) {
		t.Errorf("the key has a client, though no endpoint depends on it: %+v", key)
	}
	var v translate.View
	for i, n := range []int{-1, 0, 2, 1, -1} {
		before := v
		v = standIns(v, n)
		r := translate.Generate(v, key)
		if len(r.Resources) != 1 {
			t.Fatalf("%d assignments", len(r.Resources))
		}
		got := 0
		for _, l := range r.Resources[0].Message.(*endpointv3.ClusterLoadAssignment).GetEndpoints() {
			if l.GetPriority() == 1 {
				got += len(l.GetLbEndpoints())
			}
		}
		if got != max(n, 0) {
			t.Errorf("%d instances stand in, the assignment has %d", n, got)
		}
		if i == 0 {
			continue
		}
		changed := translate.Deps(before, v)
		if !slices.ContainsFunc(r.Deps, func(d translate.Dep) bool { return slices.Contains(changed, d) }) {
			t.Errorf("a change to %d instances does not reach the assignment: it has %v, changed are %v", n, r.Deps, changed)
		}
	}
}

// Subsets and places are the caller's own.
func TestKeysOfAssignments(t *testing.T) {
	client := model.Client{Namespace: "n", Workload: "w", Kind: "Deployment"}
	node := translate.Node{Client: client, Locality: model.Locality{Region: "r"}}
	for name, byCaller := range map[string]bool{
		"outbound|80||s.n.svc.cluster.local":     false,
		"outbound|80|v1|s.n.svc.cluster.local":   true,
		"outbound|80||s.n.svc.cluster.local@r/z": true,
		"outbound|80||s.n.svc.cluster.local@":    true,
	} {
		k := translate.KeyFor(translate.EndpointType, name, node)
		if (k.Client == client) != byCaller || k.Locality != (model.Locality{}) {
			t.Errorf("%s: %+v", name, k)
		}
	}
	if k := translate.KeyFor(translate.ClusterType, "outbound|80||s.n.svc.cluster.local", node); k.Locality != node.Locality {
		t.Errorf("the key of a cluster is without the caller's place: %+v", k)
	}
}
