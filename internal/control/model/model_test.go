package model_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	networkingv1 "istio.io/api/networking/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/reclosermesh/recloser/api/v1alpha1"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type labels = map[string]string

func service(ns, name string, selector labels, target intstr.IntOrString) source.Object {
	return source.Object{Key: source.Key{Kind: source.Service, Namespace: ns, Name: name}, Value: &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: corev1.ServiceSpec{Selector: selector, Ports: []corev1.ServicePort{
			{Name: "web", Port: 80, TargetPort: target}, {Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
		}},
	}}
}

func pod(ns, name, ip string, l labels, ready bool, change ...func(*corev1.Pod)) source.Object {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: l},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}},
		Status:     corev1.PodStatus{PodIP: ip, Phase: corev1.PodRunning},
	}
	if ready {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	for _, f := range change {
		f(p)
	}
	return source.Object{Key: source.Key{Kind: source.Pod, Namespace: ns, Name: name}, Value: p}
}

func slice(ns, name, svc, ip string) source.Object {
	return source.Object{Key: source.Key{Kind: source.EndpointSlice, Namespace: ns, Name: name}, Value: &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: labels{discoveryv1.LabelServiceName: svc}},
		Ports:      []discoveryv1.EndpointPort{{Name: new("web"), Port: new(int32(9090))}},
		Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{ip}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "p0"}}},
	}}
}

func workload(ns, name, ip string, l labels) source.Object {
	return source.Object{Key: source.Key{Kind: source.Workload, Namespace: ns, Name: name}, Value: &v1alpha1.Workload{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: l},
		Spec:       v1alpha1.WorkloadSpec{Addresses: []string{ip}, Ports: []v1alpha1.Port{{Name: "http", Port: 7070}}},
	}}
}

func addresses(s *model.Service) string {
	if s == nil {
		return "(no service)"
	}
	out := ""
	for _, e := range s.Ports[0].Endpoints {
		out += fmt.Sprintf("%s %s/%s; ", e.Address, e.WorkloadKind, e.Workload)
	}
	return out + fmt.Sprint(s.Ports[0].NotReady)
}

func TestEndpoints(t *testing.T) {
	app := labels{"app": "a"}
	web := intstr.FromString("http")
	for name, c := range map[string]struct {
		objects []source.Object
		want    string
	}{
		"by name":   {[]source.Object{service("n", "s", app, web), pod("n", "p", "10.0.0.1", app, true)}, "10.0.0.1:8080 Pod/p; 0"},
		"by number": {[]source.Object{service("n", "s", app, intstr.FromInt32(1234)), pod("n", "p", "10.0.0.1", app, true)}, "10.0.0.1:1234 Pod/p; 0"},
		"the same":  {[]source.Object{service("n", "s", app, intstr.IntOrString{}), pod("n", "p", "10.0.0.1", app, true)}, "10.0.0.1:80 Pod/p; 0"},
		"IPv6":      {[]source.Object{service("n", "s", app, web), pod("n", "p", "fd00::1", app, true)}, "[fd00::1]:8080 Pod/p; 0"},
		"no such port name": {
			[]source.Object{service("n", "s", app, intstr.FromString("grpc")), pod("n", "p", "10.0.0.1", app, true)}, "0",
		},
		"not ready":       {[]source.Object{service("n", "s", app, web), pod("n", "p", "10.0.0.1", app, false)}, "1"},
		"other namespace": {[]source.Object{service("n", "s", app, web), pod("m", "p", "10.0.0.1", app, true)}, "0"},
		"other labels":    {[]source.Object{service("n", "s", app, web), pod("n", "p", "10.0.0.1", labels{"app": "b"}, true)}, "0"},
		"no selector":     {[]source.Object{service("n", "s", nil, web), pod("n", "p", "10.0.0.1", app, true)}, "0"},
		"being deleted": {[]source.Object{service("n", "s", app, web), pod("n", "p", "10.0.0.1", app, true, func(p *corev1.Pod) {
			p.DeletionTimestamp = new(metav1.Now())
		})}, "1"},
		"deployment": {[]source.Object{service("n", "s", app, web), pod("n", "p", "10.0.0.1", labels{"app": "a", "pod-template-hash": "x1"}, true, func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "good-x1", Controller: new(true)}}
		})}, "10.0.0.1:8080 Deployment/good; 0"},
		"port map": {[]source.Object{service("n", "s", app, web), pod("n", "p", "127.0.0.1", app, true, func(p *corev1.Pod) {
			p.Annotations = labels{model.PortMapAnnotation: "8080=41001:41002, 9=1:2"}
		})}, "127.0.0.1:41001 Pod/p; 0"},
		"slices first": {[]source.Object{service("n", "s", app, web), pod("n", "p0", "10.0.0.1", app, true), slice("n", "s-1", "s", "10.0.0.9")}, "10.0.0.9:9090 Pod/p0; 0"},
		"addresses":    {[]source.Object{service("n", "s", app, web), workload("n", "w", "192.0.2.1", app)}, "192.0.2.1:7070 Workload/w; 0"},
		"addresses with instances": {[]source.Object{service("n", "s", app, web), workload("n", "w", "192.0.2.1", app), pod("n", "w-1", "127.1.0.1", app, true, func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: "Workload", Name: "w"}}
		})}, "127.1.0.1:8080 Workload/w; 0"},
	} {
		if got := addresses(model.Build(nil, c.objects).Service("n", "s")); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestIncremental: a World that was changed step by step is like one that is
// made at once, and shares what did not change.
func TestIncremental(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	app := func() labels { return labels{"app": fmt.Sprint(r.IntN(3)), "tier": fmt.Sprint(r.IntN(2))} }
	random := func() source.Object {
		ns := fmt.Sprintf("n%d", r.IntN(2))
		ip := fmt.Sprintf("10.0.0.%d", r.IntN(200))
		switch r.IntN(7) {
		case 6:
			host := fmt.Sprintf("s%d", r.IntN(20))
			if r.IntN(2) == 0 {
				host = model.Name{Namespace: fmt.Sprintf("n%d", r.IntN(2)), Name: host}.Host()
			}
			return rule(ns, fmt.Sprintf("r%d", r.IntN(9)), host)
		case 0, 1:
			return service(ns, fmt.Sprintf("s%d", r.IntN(20)), labels{"app": fmt.Sprint(r.IntN(3))}, intstr.FromString("http"))
		case 2:
			return slice(ns, fmt.Sprintf("e%d", r.IntN(5)), fmt.Sprintf("s%d", r.IntN(20)), ip)
		case 3:
			return workload(ns, fmt.Sprintf("w%d", r.IntN(3)), ip, app())
		default:
			return pod(ns, fmt.Sprintf("p%d", r.IntN(20)), ip, app(), r.IntN(3) > 0, func(p *corev1.Pod) {
				if r.IntN(4) == 0 {
					p.OwnerReferences = []metav1.OwnerReference{{Kind: "Workload", Name: fmt.Sprintf("w%d", r.IntN(3))}}
				}
			})
		}
	}
	objects := map[source.Key]source.Object{}
	world := model.Build(nil, nil)
	for step := range 300 {
		for range 1 + r.IntN(12) {
			if o := random(); r.IntN(4) == 0 {
				delete(objects, o.Key)
			} else {
				objects[o.Key] = o
			}
		}
		var list []source.Object
		for _, o := range objects {
			list = append(list, o)
		}
		next, fresh := model.Build(world, list), model.Build(nil, list)
		if diff := cmp.Diff(describe(fresh), describe(next)); diff != "" {
			t.Fatalf("step %d (-at once +step by step):\n%s", step, diff)
		}
		changed := map[model.Name]bool{}
		for _, n := range model.Diff(world, next).Services {
			changed[n] = true
		}
		before, after := describe(world), describe(next)
		for name, s := range after {
			if before[name] != s && !changed[name] {
				t.Fatalf("step %d: %v changed and is not in the difference", step, name)
			}
		}
		world = next
	}
	if d := model.Diff(world, model.Build(world, values(objects))); len(d.Services)+len(d.Pods) != 0 {
		t.Errorf("nothing changed, and the difference is %v", d)
	}
}

func rule(ns, name, host string) source.Object {
	return source.Object{
		Key: source.Key{Kind: source.DestinationRule, Namespace: ns, Name: name},
		Value: &source.IstioDestinationRule{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: &networkingv1.DestinationRule{Host: host},
		},
	}
}

func TestRuleHost(t *testing.T) {
	for host, want := range map[string]string{
		"bb": "ns/bb", "BB.": "ns/bb", "bb.demo.svc.cluster.local": "demo/bb", "bb.demo.svc.cluster.local.": "demo/bb",
		"": "", "*": "", "*.demo.svc.cluster.local": "", "bb.demo": "", "bb.demo.svc": "", "a.bb.demo.svc.cluster.local": "",
		".demo.svc.cluster.local": "", "bb..svc.cluster.local": "", "bb:80": "", "example.com": "",
	} {
		got, ok := model.RuleHost(host, "ns")
		if text := got.String(); ok != (want != "") || ok && text != want {
			t.Errorf("%q: %q, %v, want %q", host, text, ok, want)
		}
	}
}

func describe(w *model.World) map[model.Name]string {
	out := map[model.Name]string{}
	for _, s := range w.Services() {
		out[s.Name] = addresses(s)
		for _, r := range w.Rules(s.Name) {
			out[s.Name] += " " + r.Namespace + "/" + r.Name
		}
	}
	return out
}

func values(m map[source.Key]source.Object) []source.Object {
	var out []source.Object
	for _, o := range m {
		out = append(out, o)
	}
	return out
}

func TestParseAuthority(t *testing.T) {
	bb := model.Name{Namespace: "n", Name: "bb"}
	for in, want := range map[string]model.Authority{
		"bb":                            {Service: bb, Port: 80},
		"BB:8080":                       {Service: bb, Port: 8080},
		"bb.:1":                         {Service: bb, Port: 1},
		"bb.m":                          {Service: model.Name{Namespace: "m", Name: "bb"}, Port: 80},
		"bb.m.svc":                      {Service: model.Name{Namespace: "m", Name: "bb"}, Port: 80},
		"bb.m.svc.cluster.local:65535":  {Service: model.Name{Namespace: "m", Name: "bb"}, Port: 65535},
		"bb.m.svc.cluster.local.:65535": {Service: model.Name{Namespace: "m", Name: "bb"}, Port: 65535},
		"10.0.0.1":                      {IP: "10.0.0.1", Port: 80},
		"10.0.0.1:8080":                 {IP: "10.0.0.1", Port: 8080},
		"[fd00::1]":                     {IP: "fd00::1", Port: 80},
		"[fd00:0::1]:81":                {IP: "fd00::1", Port: 81},
	} {
		if got, ok := model.ParseAuthority(in, "n"); !ok || got != want {
			t.Errorf("%q: %+v %v, want %+v", in, got, ok, want)
		}
	}
	for _, in := range []string{"", ":80", "bb:", "bb:0", "bb:99999", "bb:http", "a.b.c", "a.b.svc.example.com", "a..svc", ".b", ".", "example.com.uk.x"} {
		if got, ok := model.ParseAuthority(in, "n"); ok {
			t.Errorf("%q: %+v", in, got)
		}
	}
	if _, ok := model.ParseAuthority("bb", ""); ok {
		t.Error("a short name without a namespace of the client means something")
	}
}
