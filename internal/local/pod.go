package local

import (
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/reclosermesh/recloser/internal/control/model"
)

// publication is the Pod that stands for the instance in the mesh's World, and
// nil once it has ended. It is the same pointer as long as nothing about it
// changes.
func (in *instance) publication() *corev1.Pod {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.phase == ended {
		return nil
	}
	if in.pod == nil {
		in.pod = in.newPod()
	}
	return in.pod
}

func (in *instance) newPod() *corev1.Pod {
	t := in.template
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: in.name, Namespace: in.owner.namespace,
			UID:               types.UID(in.owner.namespace + "." + in.name),
			Labels:            maps.Clone(t.labels),
			Annotations:       in.podAnnotations(),
			CreationTimestamp: metav1.NewTime(in.created),
		},
		Spec: t.spec,
		Status: corev1.PodStatus{
			Phase: in.podPhase(), PodIP: in.place.public.String(), HostIP: "127.0.0.1",
			StartTime: new(metav1.NewTime(in.created)), Message: in.reason,
		},
	}
	pod.OwnerReferences = []metav1.OwnerReference{{
		Kind: in.owner.kind, Name: in.owner.name, Controller: new(true),
	}}
	if in.phase >= draining {
		pod.DeletionTimestamp = new(metav1.Now())
	}
	ready := corev1.ConditionFalse
	if in.readyLocked() {
		ready = corev1.ConditionTrue
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	for i, p := range t.programs {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, in.containerStatus(i, p.name))
	}
	return pod
}

// podAnnotations are the template's, and where the program is found behind the
// sidecar.
func (in *instance) podAnnotations() map[string]string {
	a := maps.Clone(in.template.annotations)
	if a == nil {
		a = make(map[string]string, 2)
	}
	a[model.AppAddressAnnotation] = in.place.app.String()
	if in.address != "" {
		a[model.AppAddressAnnotation] = in.address
	}
	var moved []string
	for _, p := range in.ports {
		if m, ok := in.place.moved[p]; ok {
			app := m.app
			if in.address != "" {
				app = p // somebody else chose where that program listens
			}
			moved = append(moved, fmt.Sprintf("%d=%d:%d", p, m.public, app))
		}
	}
	if len(moved) > 0 {
		a[model.PortMapAnnotation] = strings.Join(moved, ",")
	}
	return a
}

// podPhase is Running as soon as all programs have been started, and a final
// phase only where none of them is to be started again.
func (in *instance) podPhase() corev1.PodPhase {
	if len(in.programs) < len(in.template.programs) || in.reason != "" {
		return corev1.PodPending
	}
	over, failed := len(in.programs) > 0, false
	for _, s := range in.programs {
		if s.starts == 0 {
			return corev1.PodPending
		}
		over = over && !s.running && s.restart == 0
		failed = failed || !s.ok
	}
	switch {
	case !over:
		return corev1.PodRunning
	case failed:
		return corev1.PodFailed
	default:
		return corev1.PodSucceeded
	}
}

func (in *instance) containerStatus(i int, name string) corev1.ContainerStatus {
	cs := corev1.ContainerStatus{Name: name}
	if i >= len(in.programs) {
		return cs
	}
	s := in.programs[i]
	cs.Ready = s.running && in.passing
	cs.RestartCount = int32(max(0, s.starts-1)) //nolint:gosec // starts are seconds apart
	switch {
	case s.running:
		cs.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(in.created)}
	case s.restart > 0:
		cs.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: s.status}
	case s.starts > 0:
		cs.State.Terminated = &corev1.ContainerStateTerminated{Reason: s.status}
	}
	return cs
}
