package model_test

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

func deployment(name string, l labels, ready int32) source.Object {
	return source.Object{Key: source.Key{Kind: source.Deployment, Namespace: "n", Name: name}, Value: &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name},
		Spec:       appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: l}}},
		Status:     appsv1.DeploymentStatus{ReadyReplicas: ready},
	}}
}

// TestDiffOfClients: labels of a client that change are seen, and nothing else
// of a client is.
func TestDiffOfClients(t *testing.T) {
	web := model.Client{Namespace: "n", Workload: "web", Kind: "Deployment"}
	own := model.Client{Namespace: "n", Workload: "p", Kind: "Pod"}
	owned := func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{Kind: "Deployment", Name: "web"}}
	}
	tests := map[string]struct {
		before, after []source.Object
		want          []model.Client
	}{
		"new":             {nil, []source.Object{deployment("web", labels{"a": "1"}, 0)}, []model.Client{web}},
		"gone":            {[]source.Object{deployment("web", nil, 0)}, nil, []model.Client{web}},
		"other labels":    {[]source.Object{deployment("web", labels{"a": "1"}, 0)}, []source.Object{deployment("web", labels{"a": "2"}, 0)}, []model.Client{web}},
		"other status":    {[]source.Object{deployment("web", labels{"a": "1"}, 0)}, []source.Object{deployment("web", labels{"a": "1"}, 1)}, nil},
		"pod of its own":  {[]source.Object{pod("n", "p", "10.0.0.1", labels{"a": "1"}, true)}, []source.Object{pod("n", "p", "10.0.0.1", labels{"a": "2"}, true)}, []model.Client{own}},
		"pod of an owner": {nil, []source.Object{pod("n", "p", "10.0.0.1", labels{"a": "1"}, true, owned)}, nil},
		"workload":        {nil, []source.Object{workload("n", "w", "10.0.0.1", labels{"a": "1"})}, []model.Client{{Namespace: "n", Workload: "w", Kind: "Workload"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			old := model.Build(nil, tt.before)
			next := model.Build(old, tt.after)
			if got := model.Diff(old, next).Clients; !slices.Equal(got, tt.want) {
				t.Errorf("changed %v, want %v", got, tt.want)
			}
			for _, c := range tt.want {
				if got := next.LabelsOf(c); len(tt.after) > 0 && got == nil {
					t.Errorf("%v has no labels", c)
				}
			}
		})
	}
}
