package model_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

func annotated(kind source.Kind, ns, name, opaque string, ports ...corev1.ServicePort) source.Object {
	meta := metav1.ObjectMeta{Namespace: ns, Name: name}
	if opaque != "-" {
		meta.Annotations = labels{model.OpaquePortsAnnotation: opaque}
	}
	o := source.Object{Key: source.Key{Kind: kind, Namespace: ns, Name: name}}
	if kind == source.Namespace {
		o.Value = &corev1.Namespace{ObjectMeta: meta}
		return o
	}
	o.Value = &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Selector: labels{"a": "b"}, Ports: ports}}
	return o
}

// TestPortProtocol: who decides what is spoken on a port. "-" is no list.
func TestPortProtocol(t *testing.T) {
	tests := []struct {
		namespace, service, instance string // lists of opaque ports
		port                         int32
		name, app                    string
		want                         model.Protocol
	}{
		{"-", "-", "-", 80, "", "", model.Detect},
		{"-", "-", "-", 80, "http", "", model.HTTP1},
		{"-", "-", "-", 80, "HTTP-x", "", model.HTTP1},
		{"-", "-", "-", 80, "httpx", "", model.Detect},
		{"-", "-", "-", 80, "grpc-x", "", model.HTTP2},
		{"-", "-", "-", 80, "grpc-web-x", "", model.HTTP1},
		{"-", "-", "-", 80, "https-x", "", model.TLS},
		{"-", "-", "-", 80, "mongo", "", model.TCP},
		{"-", "-", "-", 80, "http", "kubernetes.io/h2c", model.HTTP2},
		{"-", "-", "-", 80, "", "GRPC", model.HTTP2},
		{"-", "-", "-", 80, "", "postgresql", model.TCP},
		{"-", "-", "-", 80, "", "linkerd.io/opaque", model.TCP},
		{"-", "-", "-", 80, "tcp", "nobody/knows", model.TCP},
		{"-", "80", "-", 80, "http", "", model.TCP},
		{"-", "80", "-", 80, "", "http", model.HTTP1},
		{"-", "70-90", "-", 80, "", "", model.TCP},
		{"-", "web", "-", 80, "web", "", model.TCP},
		{"-", "81", "-", 80, "", "", model.Detect},
		{"-", "-", "8080", 80, "", "", model.TCP}, // the port that it leads to
		{"-", "-", "80", 80, "", "", model.Detect},
		{"-", "-", "http", 80, "", "", model.TCP}, // by the container port's name
		{"80", "-", "-", 80, "http", "", model.TCP},
		{"80", "1", "-", 80, "http", "", model.HTTP1}, // the service's list takes its place
		{"-", "-", "-", 5432, "", "", model.TCP},
		{"-", "-", "-", 5432, "http-x", "", model.HTTP1},
		{"-", "", "-", 5432, "", "", model.Detect},
		{"1", "-", "-", 5432, "", "", model.Detect},
	}
	for _, tt := range tests {
		t.Run(strings.ReplaceAll(fmt.Sprint(tt), "/", "|"), func(t *testing.T) {
			sp := corev1.ServicePort{Port: tt.port, Name: tt.name, TargetPort: intstr.FromInt32(8080)}
			if tt.app != "" {
				sp.AppProtocol = &tt.app
			}
			objects := []source.Object{
				annotated(source.Namespace, "", "n", tt.namespace),
				annotated(source.Service, "n", "s", tt.service, sp),
				pod("n", "p", "1.1.1.1", labels{"a": "b"}, true, func(p *corev1.Pod) {
					if tt.instance != "-" {
						p.Annotations = labels{model.OpaquePortsAnnotation: tt.instance}
					}
				}),
			}
			w := model.Build(nil, objects)
			got := w.Service("n", "s").Ports[0].Protocol
			if got.Protocol != tt.want {
				t.Errorf("%v by %s %s %s, want %v", got.Protocol, got.Object, got.Field, got.Default, tt.want)
			}
			if got.Declared() == (got.Default != "") {
				t.Errorf("neither a field nor a default, or both: %+v", got)
			}
			// An instance is spoken to as the service says.
			if in := w.InstancePort(w.Pod("n", "p"), 8080); in.Protocol != tt.want {
				t.Errorf("instance: %v, want %v", in.Protocol, tt.want)
			}
		})
	}
}

// TestOpaquePortsOfNamespace: a Namespace's list reaches its services and
// instances when it changes, and a list that cannot be read changes nothing.
func TestOpaquePortsOfNamespace(t *testing.T) {
	svc := annotated(source.Service, "n", "s", "-", corev1.ServicePort{Port: 80, Name: "x"})
	p := pod("n", "p", "1.1.1.1", labels{"a": "b"}, true)
	var w *model.World
	for _, step := range []struct {
		list  string
		want  model.Protocol
		stale bool
		moved bool // services and pods are others than before
	}{
		{"-", model.Detect, false, true},
		{"80", model.TCP, false, true},
		{"80", model.TCP, false, false},
		{"80,x-", model.TCP, true, true},
		{"81,9-8", model.TCP, true, true},
		{"81", model.Detect, false, true},
	} {
		prev := w
		w = model.Build(prev, []source.Object{annotated(source.Namespace, "", "n", step.list), svc, p})
		got := w.Service("n", "s").Ports[0].Protocol
		if got.Protocol != step.want || got.Stale != step.stale {
			t.Errorf("list %q: %v, stale %t; want %v, %t", step.list, got.Protocol, got.Stale, step.want, step.stale)
		}
		if prev == nil {
			continue
		}
		c := model.Diff(prev, w)
		if moved := len(c.Services) == 1 && len(c.Pods) == 1; moved != step.moved {
			t.Errorf("list %q: changed %v", step.list, c)
		}
	}
}

// TestDisagreement: what services say of an instance's port counts when they
// agree.
func TestDisagreement(t *testing.T) {
	a := annotated(source.Service, "n", "a", "-", corev1.ServicePort{Port: 80, Name: "http", TargetPort: intstr.FromInt32(8080)})
	b := annotated(source.Service, "n", "b", "-", corev1.ServicePort{Port: 80, TargetPort: intstr.FromInt32(8080)})
	c := annotated(source.Service, "n", "c", "-", corev1.ServicePort{Port: 81, Name: "grpc", TargetPort: intstr.FromString("http")})
	p := pod("n", "p", "1.1.1.1", labels{"a": "b"}, true)
	w := model.Build(nil, []source.Object{a, b, p})
	if got := w.InstancePort(w.Pod("n", "p"), 8080); got.Protocol != model.HTTP1 {
		t.Errorf("one says http: %+v", got)
	}
	w = model.Build(w, []source.Object{a, b, c, p})
	if got := w.InstancePort(w.Pod("n", "p"), 8080); got.Protocol != model.Detect {
		t.Errorf("http and grpc: %+v", got)
	}
}

func FuzzParsePorts(f *testing.F) {
	for _, s := range []string{"", "25", "25, 80-90", "web", "0", "1-", "-1", "65535", "65536", "9-8", ",", "a-b,1-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		set, errs := model.ParsePorts(s)
		items := 0
		if strings.TrimSpace(s) != "" {
			items = strings.Count(s, ",") + 1
		}
		if len(errs)+len(set.Names()) > items {
			t.Fatalf("%q: %d items, %d names, %d errors", s, items, len(set.Names()), len(errs))
		}
		// Each item by itself says the same as all together.
		for item := range strings.SplitSeq(s, ",") {
			one, _ := model.ParsePorts(item)
			for _, port := range []uint16{0, 1, 25, 80, 85, 65535} {
				if one.Has(port, "") && !set.Has(port, "") {
					t.Fatalf("%q has %d, %q has not", item, port, s)
				}
			}
		}
		if set.Has(0, "") {
			t.Fatalf("%q has port 0", s)
		}
	})
}
