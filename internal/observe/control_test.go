package observe_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/source/memory"
	"github.com/reclosermesh/recloser/internal/meshtest/fakecontrol"
	"github.com/reclosermesh/recloser/internal/observe"
	"github.com/reclosermesh/recloser/internal/observe/breakers"
	"github.com/reclosermesh/recloser/internal/observe/scrape"
	"github.com/reclosermesh/recloser/internal/observe/stat"
)

// runControl runs a real control plane over objects that a test gives, and
// gives a connection such as proxies make.
func runControl(t *testing.T, objects ...source.Object) (*control.Control, *grpc.ClientConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	src := memory.New("test")
	src.Set(objects)
	c := control.New(control.Config{Sources: []source.Source{src}, XDSListener: ln})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return c, conn
}

func object(kind source.Kind, value metav1.Object) source.Object {
	return source.Object{
		Key:   source.Key{Kind: kind, Namespace: value.GetNamespace(), Name: value.GetName()},
		Value: value, Origin: &source.Origin{Source: "test"},
	}
}

func meta(name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "demo", Name: name, Labels: labels}
}

func pod(name, deployment, ip string, ready corev1.ConditionStatus) source.Object {
	return owned(name, "Deployment", deployment, ip, ready)
}

func owned(name, kind, owner, ip string, ready corev1.ConditionStatus) source.Object {
	m := meta(name, map[string]string{"app": "bb"})
	m.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: owner}}
	return object(source.Pod, &corev1.Pod{ObjectMeta: m, Status: corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}},
	}})
}

func tutorialObjects() []source.Object {
	return []source.Object{
		object(source.Namespace, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}),
		object(source.Service, &corev1.Service{ObjectMeta: meta("bb", nil), Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "bb"}, Ports: []corev1.ServicePort{{Port: 8080}},
		}}),
		object(source.Deployment, &appsv1.Deployment{ObjectMeta: meta("good", map[string]string{"tier": "back"})}),
		object(source.Deployment, &appsv1.Deployment{ObjectMeta: meta("idle", nil)}),
		pod("good-1", "good", "127.0.1.2", corev1.ConditionTrue),
		pod("good-2", "good", "127.0.1.3", corev1.ConditionTrue),
		pod("good-3", "good", "127.0.1.4", corev1.ConditionFalse),
	}
}

// connect opens a proxy's stream to the control plane.
func connect(t *testing.T, conn *grpc.ClientConn, pod, kind, workload string) {
	t.Helper()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	metadata, err := structpb.NewStruct(map[string]any{
		"NAMESPACE": "demo", "POD": pod, "WORKLOAD": workload, "WORKLOAD_KIND": kind, "ADMIN": "127.0.1.2:4191",
	})
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&discoveryv3.DeltaDiscoveryRequest{
		Node:    &corev3.Node{Id: pod + ".demo", Cluster: workload + ".demo", Metadata: metadata},
		TypeUrl: "type.googleapis.com/envoy.config.listener.v3.Listener",
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
}

func TestResourcesOfControl(t *testing.T) {
	c, conn := runControl(t, tutorialObjects()...)
	connect(t, conn, "good-1", "Deployment", "good")
	connect(t, conn, "good-3", "Pod", "good-3")
	o := observe.Of(c)
	got := map[string][2]int{}
	for _, r := range o.Mesh.Resources() {
		got[string(r.Kind)+"/"+r.Namespace+"/"+r.Name] = [2]int{r.Meshed, r.Instances}
		if r.Kind == stat.Deployment && r.Name == "good" && r.Labels["tier"] != "back" {
			t.Errorf("the labels of a deployment are lost: %v", r.Labels)
		}
	}
	want := map[string][2]int{
		"deployment/demo/good": {1, 3}, "deployment/demo/idle": {0, 0}, "service/demo/bb": {1, 3}, "namespace//demo": {1, 3},
		"pod/demo/good-1": {1, 1}, "pod/demo/good-2": {0, 1}, "pod/demo/good-3": {0, 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	targets := o.Mesh.Targets()
	slices.SortFunc(targets, func(a, b scrape.Target) int { return strings.Compare(a.ID, b.ID) })
	if diff := cmp.Diff([]scrape.Target{
		{ID: "good-1.demo", Address: "127.0.1.2:4191", Labels: map[string]string{"namespace": "demo", "pod": "good-1", "deployment": "good"}},
		{ID: "good-3.demo", Address: "127.0.1.2:4191", Labels: map[string]string{"namespace": "demo", "pod": "good-3"}},
	}, targets); diff != "" {
		t.Error(diff)
	}
}

// A Pod of a manifest that runs as Pods that it owns is not an instance.
func TestResourcesOfAPodTemplate(t *testing.T) {
	c, _ := runControl(t, append(tutorialObjects()[:2],
		object(source.Pod, &corev1.Pod{ObjectMeta: meta("single", map[string]string{"app": "bb"})}),
		owned("single-x-1", "Pod", "single", "127.0.1.9", corev1.ConditionTrue))...)
	for _, r := range observe.Of(c).Mesh.Resources() {
		if r.Name == "single" || r.Instances != 1 {
			t.Errorf("%s %s has %d instances, want the one that runs", r.Kind, r.Name, r.Instances)
		}
	}
}

// An annotation is in force when Annotate returns.
func TestAnnotateControl(t *testing.T) {
	c, _ := runControl(t, tutorialObjects()...)
	cfg := observe.Of(c).Configuration
	const accrual = "balancer.linkerd.io/failure-accrual"
	policyJSON := func() string {
		p, err := cfg.Policy(observe.PolicyRequest{Client: "demo", Namespace: "demo", Service: "bb", Port: 8080})
		if err != nil {
			t.Fatal(err)
		}
		return toJSON(t, p.Linkerd)
	}
	if got := policyJSON(); strings.Contains(got, "failure_accrual") {
		t.Errorf("without an annotation: %s", got)
	}
	if err := cfg.Annotate("service", "demo", "bb", map[string]*string{accrual: new("consecutive")}); err != nil {
		t.Fatal(err)
	}
	if got := policyJSON(); !strings.Contains(got, `"max_failures":7`) {
		t.Errorf("with it: %s", got)
	}
	if have, ok := cfg.Annotations("service", "demo", "bb"); !ok || have[accrual] != "consecutive" {
		t.Errorf("annotations %v, %v", have, ok)
	}
	if err := cfg.Annotate("service", "demo", "bb", map[string]*string{accrual: new("sometimes")}); err == nil || !strings.Contains(err.Error(), "sometimes") {
		t.Errorf("a wrong value gave %v", err)
	}
	if err := cfg.Annotate("service", "demo", "bb", map[string]*string{accrual: nil}); err != nil {
		t.Fatal(err)
	}
	if got := policyJSON(); strings.Contains(got, "failure_accrual") {
		t.Errorf("without it again: %s", got)
	}
	for _, kind := range []string{"service", "deployment", "pod", "workload", "job"} {
		if _, ok := cfg.Annotations(kind, "demo", "none"); ok {
			t.Errorf("a %s that is not has annotations", kind)
		}
	}
	if _, ok := cfg.Annotations("namespace", "demo", "demo"); !ok {
		t.Error("the namespace is not found")
	}
	var missing *observe.NotFoundError
	if _, err := cfg.Policy(observe.PolicyRequest{Namespace: "demo", Service: "bb", Port: 1}); !errors.As(err, &missing) {
		t.Errorf("a port that is not gave %v", err)
	}
}

// What a proxy reports is what people see.
func TestReportsOfControl(t *testing.T) {
	c, conn := runControl(t, tutorialObjects()...)
	stream, err := reportv1.NewReportServiceClient(conn).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&reportv1.Report{
		Node:     "good-1.demo",
		Clusters: []*reportv1.ClusterState{{Cluster: fakecontrol.Cluster, Endpoints: []*reportv1.EndpointState{{Address: "127.0.1.3:8080", State: reportv1.State_OPEN}}}},
		Events:   []*reportv1.Event{fakecontrol.Opening(now)},
	})
	if err != nil {
		t.Fatal(err)
	}
	reports := observe.Of(c).Reports
	seen := make(chan observe.Event)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		reports.Events(ctx, true, func(e observe.Event) bool { seen <- e; return true }, 1<<40, func() bool { return true })
	}()
	want := breakers.Client{Node: "good-1.demo", Namespace: "demo", Pod: "good-1", Workload: "good", Kind: "Deployment"}
	if e := <-seen; e.Client != want || e.Event.GetDetail() != "7 failures in a row" {
		t.Errorf("the event is %+v", e)
	}
	if got := reports.Breakers(); len(got) != 1 || got[0].Client != want || len(got[0].Clusters) != 1 || !got[0].Off[fakecontrol.Cluster] {
		t.Errorf("the breakers are %+v", got)
	}
	if err := stream.Send(&reportv1.Report{Events: []*reportv1.Event{fakecontrol.Opening(now)}}); err != nil {
		t.Fatal(err)
	}
	<-seen
	cancel()
	<-ended
	n := 0
	reports.Events(t.Context(), false, func(observe.Event) bool { n++; return true }, 1, func() bool { return true })
	if n != 2 {
		t.Errorf("%d events are kept, want 2", n)
	}
}
