package translate_test

import (
	"slices"
	"testing"

	networkingv1 "istio.io/api/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"
)

// view is a state with a service of one instance; annotations are the
// Namespace's.
func view(old translate.View, annotations map[string]string, svc *corev1.Service, pods ...*corev1.Pod) translate.View {
	objects := []source.Object{
		{Key: source.Key{Kind: source.Namespace, Name: "n"}, Value: &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: "n", Annotations: annotations},
		}},
		{Key: source.Key{Kind: source.Service, Namespace: "n", Name: svc.Name}, Value: svc},
	}
	for _, p := range pods {
		objects = append(objects, source.Object{Key: source.Key{Kind: source.Pod, Namespace: "n", Name: p.Name}, Value: p})
	}
	w := model.Build(old.World, objects)
	return translate.View{World: w, Policy: policy.Build(old.Policy, w)}
}

// TestProtocolReaches: a change of what is spoken on a port reaches the
// clusters of its callers, and the listeners of the instances that serve it;
// a change of endpoints alone reaches neither.
func TestProtocolReaches(t *testing.T) {
	svc := func(name string) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "s"},
			Spec:       corev1.ServiceSpec{Selector: map[string]string{"a": "b"}, Ports: []corev1.ServicePort{{Name: name, Port: 80}}},
		}
	}
	pod := func(name string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Labels: map[string]string{"a": "b"}}}
	}
	onService := translate.Dep{Kind: translate.OnService, Name: model.Name{Namespace: "n", Name: "s"}}
	onPod := translate.Dep{Kind: translate.OnPod, Name: model.Name{Namespace: "n", Name: "p"}}

	s, p := svc("x"), pod("p")
	first := view(translate.View{}, nil, s, p)
	for _, tt := range []struct {
		name             string
		next             translate.View
		onService, onPod bool
	}{
		{"the same", view(first, nil, s, p), false, false},
		{"another instance", view(first, nil, s, p, pod("q")), false, false},
		{"namespace", view(first, map[string]string{model.OpaquePortsAnnotation: "80"}, s, p), true, true},
		{"service", view(first, nil, svc("http"), p), true, true},
	} {
		deps := translate.Deps(first, tt.next)
		if got := slices.Contains(deps, onService); got != tt.onService {
			t.Errorf("%s: reaches callers: %t", tt.name, got)
		}
		if got := slices.Contains(deps, onPod); got != tt.onPod {
			t.Errorf("%s: reaches instances: %t", tt.name, got)
		}
	}
}

// TestDependencies: what rules look at beside the services that they are for
// reaches those who go by them: a backend that was missing, and the labels of a
// client.
func TestDependencies(t *testing.T) {
	svc := func(name string) source.Object {
		return source.Object{Key: source.Key{Kind: source.Service, Namespace: "n", Name: name}, Value: &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
		}}
	}
	deployment := func(version string) source.Object {
		return source.Object{Key: source.Key{Kind: source.Deployment, Namespace: "n", Name: "web"}, Value: &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "web"},
			Spec:       appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"version": version}}}},
		}}
	}
	to := func(host string) []*networkingv1.HTTPRouteDestination {
		return []*networkingv1.HTTPRouteDestination{{Destination: &networkingv1.Destination{Host: host}}}
	}
	rule := source.Object{Key: source.Key{Kind: source.VirtualService, Namespace: "n", Name: "s"}, Value: &source.IstioVirtualService{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "s"},
		Spec: &networkingv1.VirtualService{Hosts: []string{"s"}, Http: []*networkingv1.HTTPRoute{
			{Match: []*networkingv1.HTTPMatchRequest{{SourceLabels: map[string]string{"version": "2"}}}, Route: to("late")},
			{Route: to("s")},
		}},
	}}
	build := func(old translate.View, objects ...source.Object) translate.View {
		w := model.Build(old.World, objects)
		return translate.View{World: w, Policy: policy.Build(old.Policy, w)}
	}
	s := svc("s")
	node := translate.Node{Client: model.Client{Namespace: "n", Workload: "web", Kind: "Deployment"}}
	for _, shape := range []translate.Shape{translate.Recloser, translate.Envoy, translate.GRPC} {
		node.Shape = shape
		key := translate.KeyFor(translate.HostType, "outbound/s", node)
		switch shape {
		case translate.Envoy:
			key = translate.KeyFor(translate.RouteType, "outbound", node)
		case translate.GRPC:
			key = translate.KeyFor(translate.RouteType, "s:80", node)
		}
		reached := func(old, next translate.View) bool {
			deps := translate.Generate(old, key).Deps
			return slices.ContainsFunc(translate.Deps(old, next), func(d translate.Dep) bool { return slices.Contains(deps, d) })
		}
		first := build(translate.View{}, s, rule, deployment("1"))
		two := build(first, s, rule, deployment("2"))
		if !reached(first, two) {
			t.Errorf("%v: other labels of the client do not reach it", shape)
		}
		if routes := len(translate.Generate(first, key).Resources); routes != 1 {
			t.Errorf("%v: %d resources", shape, routes)
		}
		if third := build(two, s, rule, deployment("2"), svc("late")); !reached(two, third) {
			t.Errorf("%v: a backend that was missing does not reach it", shape)
		}
		if again := build(two, s, rule, deployment("2")); reached(two, again) {
			t.Errorf("%v: another Deployment with the same labels reaches it", shape)
		}
	}
}

func TestShapeOf(t *testing.T) {
	for _, tt := range []struct {
		agent, version string
		want           translate.Shape
	}{
		{"recloser-proxy", "1.0", translate.Recloser},
		{"", "", translate.Recloser},
		{"envoy", "", translate.Envoy},
		{"gRPC Go", "1.85.0", translate.GRPCGo},
		{"gRPC Go", "1.84.2", translate.GRPC},
		{"gRPC Go", "2.0.0", translate.GRPCGo},
		{"gRPC Go", "", translate.GRPC},
		{"gRPC Java", "1.90.0", translate.GRPC},
		{"gRPC C-core", "", translate.GRPC},
	} {
		if got := translate.ShapeOf(tt.agent, tt.version); got != tt.want {
			t.Errorf("%q %q: %v, want %v", tt.agent, tt.version, got, tt.want)
		}
	}
}
