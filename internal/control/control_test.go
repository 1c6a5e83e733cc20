package control_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	breakerv1 "github.com/reclosermesh/recloser/api/breaker/v1"
	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/source/file"
	"github.com/reclosermesh/recloser/internal/control/source/memory"
	"github.com/reclosermesh/recloser/internal/control/translate"
	"github.com/reclosermesh/recloser/internal/control/xds/xdstest"
)

const (
	demo      = "circuit-breaking-demo"
	bbCluster = "outbound|8080||bb.circuit-breaking-demo.svc.cluster.local"
)

// plane is a control plane over a copy of the tutorial's manifest.
type plane struct {
	*control.Control
	t        *testing.T
	ctx      context.Context
	manifest string
	pods     *memory.Source
	address  string
}

func start(t *testing.T) *plane {
	t.Helper()
	seed, err := os.ReadFile("testdata/seed/circuit-breaking.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{t: t, manifest: filepath.Join(t.TempDir(), "demo.yaml"), pods: memory.New("test")}
	if err := os.WriteFile(p.manifest, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.address = l.Addr().String()
	p.Control = control.New(control.Config{
		Sources:     []source.Source{file.New(file.Config{Paths: []string{p.manifest}, Debounce: 5 * time.Millisecond}), p.pods},
		XDSListener: l, Debounce: 5 * time.Millisecond,
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	p.ctx = ctx
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return p
}

// pod is an instance as `recloser up` publishes it.
func pod(name, workload, ip, app string, labels map[string]string, ready bool) source.Object {
	status := corev1.ConditionFalse
	phase := corev1.PodPending
	if ready {
		status, phase = corev1.ConditionTrue, corev1.PodRunning
	}
	return source.Object{
		Key: source.Key{Kind: source.Pod, Namespace: demo, Name: name},
		Value: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: demo, Name: name, Labels: labels,
				Annotations:     map[string]string{"recloser.io/app-address": app},
				OwnerReferences: []metav1.OwnerReference{{Kind: "Deployment", Name: workload}},
			},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}}},
			Status: corev1.PodStatus{
				PodIP: ip, Phase: phase,
				Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status}},
			},
		},
	}
}

func (p *plane) dial(name string) *xdstest.Client {
	p.t.Helper()
	return p.dialWith(name, map[string]string{"ADMIN": "127.0.0.1:4191"})
}

func (p *plane) dialWith(name string, metadata map[string]string) *xdstest.Client {
	p.t.Helper()
	c, err := xdstest.Dial(p.ctx, p.address, xdstest.Node(name, demo, metadata), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(c.Close)
	return c
}

func get[T any, P interface {
	*T
	unmarshaler
}](p *plane, c *xdstest.Client, typeURL, name string,
) P {
	p.t.Helper()
	r, err := c.Get(p.ctx, typeURL, name)
	if err != nil {
		p.t.Fatal(err)
	}
	out := P(new(T))
	if err := r.Resource.UnmarshalTo(out); err != nil {
		p.t.Fatal(err)
	}
	return out
}

// TestTutorial follows a call of the tutorial's slow cooker to bb through all
// that its sidecar asks for, and a breaker that is switched on by the file.
func TestTutorial(t *testing.T) {
	p := start(t)
	app := map[string]string{"app": "bb"}
	p.pods.Set([]source.Object{
		pod("good-1", "good", "127.0.1.1", "127.1.1.1", app, true),
		pod("bad-1", "bad", "127.0.1.2", "127.1.1.2", app, true),
		pod("slow-cooker-1", "slow-cooker", "127.0.1.3", "127.1.1.3", map[string]string{"app": "slow-cooker"}, false),
	})
	c := p.dial("slow-cooker-1")
	must(t, c.Subscribe(translate.ListenerType))
	if _, err := c.Get(p.ctx, translate.ListenerType, "inbound|8080"); err != nil {
		t.Fatal("the sidecar starts before its program is ready:", err)
	}
	if _, err := c.Get(p.ctx, translate.ListenerType, "outbound"); err != nil {
		t.Fatal(err)
	}
	must(t, c.Subscribe(translate.RouteType, "outbound"))
	must(t, c.Subscribe(translate.HostType, "outbound/bb:8080", "outbound/nobody"))
	host := get[routev3.VirtualHost](p, c, translate.HostType, "outbound/bb:8080")
	if got := host.Routes[0].GetRoute().GetCluster(); got != bbCluster {
		t.Fatalf("cluster %q, want %q", got, bbCluster)
	}
	must(t, c.Await(p.ctx, func(have func(string, string) (*discoveryv3.Resource, bool)) bool {
		_, removed := have(translate.HostType, "outbound/nobody")
		return removed
	}))
	must(t, c.Subscribe(translate.ClusterType, bbCluster, "inbound|8080||"))
	must(t, c.Subscribe(translate.EndpointType, bbCluster))
	must(t, c.Await(p.ctx, func(have func(string, string) (*discoveryv3.Resource, bool)) bool {
		r, _ := have(translate.EndpointType, bbCluster)
		if r == nil {
			return false
		}
		var a endpointv3.ClusterLoadAssignment
		return r.Resource.UnmarshalTo(&a) == nil && len(a.Endpoints) == 1 && len(a.Endpoints[0].LbEndpoints) == 2
	}))
	if b := breakerOf(t, get[clusterv3.Cluster](p, c, translate.ClusterType, bbCluster)); len(b.Detectors) != 0 {
		t.Errorf("a breaker without an annotation: %v", b)
	}
	in := get[clusterv3.Cluster](p, c, translate.ClusterType, "inbound|8080||")
	if a := in.LoadAssignment.Endpoints[0].LbEndpoints[0].GetEndpoint().Address.GetSocketAddress(); a.Address != "127.1.1.3" || a.GetPortValue() != 8080 {
		t.Errorf("inbound leads to %v", a)
	}

	p.edit("  name: bb\n  namespace: circuit-breaking-demo\n",
		"  name: bb\n  namespace: circuit-breaking-demo\n  annotations:\n    balancer.linkerd.io/failure-accrual: consecutive\n")
	must(t, c.Await(p.ctx, func(have func(string, string) (*discoveryv3.Resource, bool)) bool {
		r, _ := have(translate.ClusterType, bbCluster)
		var cl clusterv3.Cluster
		must(t, r.Resource.UnmarshalTo(&cl))
		b := breakerOf(t, &cl)
		return len(b.Detectors) == 1 && b.Detectors[0].GetConsecutive().GetFailures() == 7
	}))
	e, err := p.Policy(demo, "bb", 8080)
	if err != nil || e.Breaker == nil || e.Breaker.MaxFailures.Value != 7 {
		t.Errorf("policy %+v, %v", e, err)
	}
	if n := p.Nodes(); len(n) != 1 || n[0].ID != "slow-cooker-1."+demo || n[0].Admin != "127.0.0.1:4191" {
		t.Errorf("nodes %+v", n)
	}
	if f := p.Problems(); lint.Count(f, lint.Error) != 0 {
		t.Errorf("findings %v", f)
	}
}

func breakerOf(t *testing.T, c *clusterv3.Cluster) *breakerv1.Breaker {
	t.Helper()
	var b breakerv1.Breaker
	must(t, c.Metadata.TypedFilterMetadata[translate.BreakerMetadata].UnmarshalTo(&b))
	return &b
}

// edit replaces text in the manifest, as an editor does: by rename.
func (p *plane) edit(old, new string) {
	p.t.Helper()
	b, err := os.ReadFile(p.manifest)
	must(p.t, err)
	if !strings.Contains(string(b), old) {
		p.t.Fatalf("the manifest has no %q", old)
	}
	tmp := p.manifest + "~"
	must(p.t, os.WriteFile(tmp, []byte(strings.Replace(string(b), old, new, 1)), 0o600))
	must(p.t, os.Rename(tmp, p.manifest))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// unmarshaler is a proto message, for get.
type unmarshaler = proto.Message
