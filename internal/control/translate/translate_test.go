package translate_test

import (
	"slices"
	"testing"

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
