package control_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"
)

// TestAnnotate: as kubectl annotate, but the file stays; a proxy is told, what
// cannot be is refused.
func TestAnnotate(t *testing.T) {
	const accrual, failures = "balancer.linkerd.io/failure-accrual", "balancer.linkerd.io/failure-accrual-consecutive-max-failures"
	p := start(t)
	c := p.dial("slow-cooker-1")
	must(t, c.Subscribe(translate.ClusterType, bbCluster))
	version := ""
	next := func() *clusterv3.Cluster {
		t.Helper()
		var cl clusterv3.Cluster
		must(t, c.Await(p.ctx, func(have func(string, string) (*discoveryv3.Resource, bool)) bool {
			r, _ := have(translate.ClusterType, bbCluster)
			if r == nil || r.Version == version {
				return false
			}
			version = r.Version
			return r.Resource.UnmarshalTo(&cl) == nil
		}))
		return &cl
	}
	next()
	before, err := os.ReadFile(p.manifest)
	must(t, err)

	must(t, p.Annotate("svc", demo, "bb", map[string]*string{accrual: new("consecutive"), failures: new("3")}))
	if b := breakerOf(t, next()); b.Detectors[0].GetConsecutive().GetFailures() != 3 {
		t.Errorf("breaker %v", b)
	}
	e, err := p.Policy(demo, "bb", 8080)
	must(t, err)
	if o := e.Breaker.MaxFailures.Origin; o.Object != "service/bb -n "+demo || o.Where != "recloser annotate" {
		t.Errorf("origin %+v", o)
	}
	must(t, p.Annotate("service", demo, "bb", map[string]*string{failures: nil}))
	if b := breakerOf(t, next()); b.Detectors[0].GetConsecutive().GetFailures() != 7 {
		t.Errorf("breaker %v", b)
	}
	// What the file says elsewhere still comes through under it.
	p.edit("  name: bb\n", "  name: bb\n  annotations:\n    recloser.io/load-balancer: random\n")
	if cl := next(); cl.LbPolicy != clusterv3.Cluster_RANDOM || len(breakerOf(t, cl).Detectors) != 1 {
		t.Errorf("cluster %v", cl)
	}
	// Its own word on an annotation that was set here is the last one.
	p.edit("    recloser.io/load-balancer: random\n", "    recloser.io/load-balancer: random\n    "+accrual+": unified\n")
	if b := breakerOf(t, next()); len(b.Detectors) != 2 {
		t.Errorf("breaker %v", b)
	}
	must(t, p.Annotate("svc", demo, "bb", map[string]*string{accrual: new("consecutive")}))
	if b := breakerOf(t, next()); len(b.Detectors) != 1 {
		t.Errorf("breaker %v", b)
	}
	p.edit("    "+accrual+": unified\n", "")
	if b := breakerOf(t, next()); len(b.Detectors) != 0 {
		t.Errorf("breaker %v", b)
	}
	must(t, p.Annotate("svc", demo, "bb", map[string]*string{accrual: new("consecutive")}))
	next()
	after, err := os.ReadFile(p.manifest)
	must(t, err)
	if strings.Contains(string(after), accrual) || !strings.Contains(string(before), "name: bb") {
		t.Error("the file was changed")
	}

	for what, err := range map[string]error{
		"there is no service/nobody": p.Annotate("svc", demo, "nobody", nil),
		`kind "cow"`:                 p.Annotate("cow", demo, "bb", nil),
		"allowed: a whole number":    p.Annotate("svc", demo, "bb", map[string]*string{failures: new("many")}),
		"did you mean consecutive":   p.Annotate("svc", demo, "bb", map[string]*string{accrual: new("consecutve")}),
		"; nothing was changed; ":    p.Annotate("svc", demo, "bb", map[string]*string{accrual: new("none")}),
		`annotation "a b"`:           p.Annotate("svc", demo, "bb", map[string]*string{"a b": new("x")}),
	} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("error %v, want %s", err, what)
		}
	}
	if lint.Count(p.Problems(), lint.Error) != 0 {
		t.Errorf("findings %v", p.Problems())
	}
}

// TestTwoSources: an object that two sources have is told, and the first is
// used.
func TestTwoSources(t *testing.T) {
	p := start(t)
	changed, stop := p.Watch()
	defer stop()
	p.pods.Set([]source.Object{{Key: source.Key{Kind: source.Service, Namespace: demo, Name: "bb"}, Value: &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: demo, Name: "bb"},
	}}})
	for lint.Count(p.Problems(), lint.Error) == 0 {
		select {
		case <-changed:
		case <-p.ctx.Done():
			t.Fatal("no finding")
		}
	}
	f := p.Problems()[0]
	if f.Code != "duplicate-object" || !strings.Contains(f.Reason, filepath.Base(p.manifest)) {
		t.Errorf("finding %+v", f)
	}
	if len(p.World().Service(demo, "bb").Ports) != 1 {
		t.Error("the second one is used")
	}
}

// TestPublish: a proxy that publishes a service has a listener for it, with
// and without the service.
func TestPublish(t *testing.T) {
	p := start(t)
	c := p.dialWith("gate-1", map[string]string{"PUBLISH": "127.0.0.1:8200=bb." + demo + ":8080, 127.0.0.1:8201=later." + demo + ":80", "OUTBOUND": "127.0.9.9:4140"})
	must(t, c.Subscribe(translate.ListenerType))
	has := func(name, text string) {
		t.Helper()
		must(t, c.Await(p.ctx, func(have func(string, string) (*discoveryv3.Resource, bool)) bool {
			r, _ := have(translate.ListenerType, name)
			return r != nil && strings.Contains(string(r.Resource.Value), text)
		}))
	}
	has("outbound", "127.0.9.9")
	has("publish|127.0.0.1:8200", "publish|bb."+demo+":8080")
	has("publish|127.0.0.1:8201", "127.0.0.1")
	p.pods.Set([]source.Object{{Key: source.Key{Kind: source.Service, Namespace: demo, Name: "later"}, Value: &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: demo, Name: "later"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}}})
	has("publish|127.0.0.1:8201", "outbound|80||later."+demo)
}

// TestPolicyOfRefused: the policy tells of what the source refused, whether
// there is a last good version of the service or none.
func TestPolicyOfRefused(t *testing.T) {
	p := start(t)
	p.edit("  name: bb\n", "  name: bb\n  annotations:\n    balancer.linkerd.io/failure-accrual: 7\n")
	changed, stop := p.Watch()
	defer stop()
	for lint.Count(p.Problems(), lint.Error) == 0 {
		select {
		case <-changed:
		case <-p.ctx.Done():
			t.Fatal("no finding")
		}
	}
	e, err := p.Policy(demo, "bb", 8080)
	must(t, err)
	if len(e.Findings) != 1 || e.Findings[0].Code != "wrong-type" || !strings.Contains(e.Findings[0].Reason, "last good version stays") {
		t.Errorf("findings %v", e.Findings)
	}
	o, err := control.Read([]string{p.manifest})
	must(t, err)
	if _, err := o.Effective(model.Client{Namespace: demo}, model.Name{Namespace: demo, Name: "bb"}, 8080); err == nil || !strings.Contains(err.Error(), "wrong type") {
		t.Errorf("error %v", err)
	}
}
