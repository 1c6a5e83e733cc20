package policy

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Services that stack upon each other in layers, each with a route to both of
// the next layer, are as many paths as two to the power of their depth.
func TestStackedLayersAreBounded(t *testing.T) {
	const depth = 40
	var objects []source.Object
	port := gwv1.PortNumber(80)
	for layer := range depth {
		for side := range 2 {
			name := fmt.Sprintf("s%d-%d", layer, side)
			objects = append(objects, source.Object{Key: source.Key{Kind: source.Service, Namespace: "n", Name: name}, Value: &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Annotations: map[string]string{StackAnnotation: "true"}},
				Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
			}})
			if layer+1 == depth {
				continue
			}
			r := &source.GatewayHTTPRoute{}
			r.Namespace, r.Name = "n", name
			kind, group := gwv1.Kind("Service"), gwv1.Group("")
			r.Spec.ParentRefs = []gwv1.ParentReference{{Group: &group, Kind: &kind, Name: gwv1.ObjectName(name), Port: &port}}
			rule := gwv1.HTTPRouteRule{}
			for next := range 2 {
				b := gwv1.HTTPBackendRef{}
				b.Name, b.Port = gwv1.ObjectName(fmt.Sprintf("s%d-%d", layer+1, next)), &port
				rule.BackendRefs = append(rule.BackendRefs, b)
			}
			r.Spec.Rules = append(r.Spec.Rules, rule)
			objects = append(objects, source.Object{Key: source.Key{Kind: source.HTTPRoute, Namespace: "n", Name: name}, Value: r})
		}
	}
	w := model.Build(nil, objects)
	tab := Build(New(""), w)
	done := make(chan *Routes, 1)
	go func() {
		r, err := tab.Routes(model.Client{Namespace: "n"}, model.Name{Namespace: "n", Name: "s0-0"}, 80)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	select {
	case r := <-done:
		if len(r.Rules) != 1 || len(r.Rules[0].Backends) > maxLookUps+1 || len(r.Losers) != 1 {
			t.Errorf("%d rules, %d backends, losers %v", len(r.Rules), len(r.Rules[0].Backends), r.Losers)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("there is no end of it")
	}
}
