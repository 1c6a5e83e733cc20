package xds_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"
	"github.com/reclosermesh/recloser/internal/control/xds"
	"github.com/reclosermesh/recloser/internal/control/xds/xdstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mesh is a server and the objects that it tells of.
type mesh struct {
	t       testing.TB
	ctx     context.Context
	server  *xds.Server
	address string
	objects map[source.Key]source.Object
	view    translate.View
}

func start(t testing.TB, cfg xds.Config) *mesh {
	t.Helper()
	if cfg.Debounce == 0 {
		cfg.Debounce = -1
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	m := &mesh{t: t, ctx: ctx, server: xds.New(cfg), address: l.Addr().String(), objects: map[source.Key]source.Object{}}
	g := grpc.NewServer(grpc.WaitForHandlers(true))
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, m.server)
	done := make(chan struct{}, 2)
	go func() { _ = m.server.Run(ctx); done <- struct{}{} }()
	go func() { _ = g.Serve(l); done <- struct{}{} }()
	t.Cleanup(func() { cancel(); g.Stop(); <-done; <-done })
	return m
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func service(name string, annotations map[string]string) source.Object {
	return source.Object{Key: source.Key{Kind: source.Service, Namespace: "n", Name: name}, Value: &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Annotations: annotations},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80}}},
	}}
}

func instance(svc, ip string) source.Object {
	name := svc + "-" + ip
	return source.Object{Key: source.Key{Kind: source.Pod, Namespace: "n", Name: name}, Value: &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Labels: map[string]string{"app": svc}, Annotations: map[string]string{model.AppAddressAnnotation: "127.9.9.9"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 80}}}}},
		Status: corev1.PodStatus{
			PodIP: ip, Phase: corev1.PodRunning,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}}
}

// set changes objects and tells the server.
func (m *mesh) set(objects ...source.Object) {
	for _, o := range objects {
		m.objects[o.Key] = o
	}
	m.tell()
}

func (m *mesh) remove(kind source.Kind, name string) {
	delete(m.objects, source.Key{Kind: kind, Namespace: "n", Name: name})
	m.tell()
}

func (m *mesh) tell() {
	list := make([]source.Object, 0, len(m.objects))
	for _, o := range m.objects {
		list = append(list, o)
	}
	m.view.World = model.Build(m.view.World, list)
	m.view.Policy = policy.Build(m.view.Policy, m.view.World)
	m.server.Update(m.view)
}

func (m *mesh) dial(name string, refuse func(*discoveryv3.DeltaDiscoveryResponse) string) *xdstest.Client {
	m.t.Helper()
	c, err := xdstest.Dial(m.ctx, m.address, xdstest.Node(name, "n", nil), refuse)
	must(m.t, err)
	m.t.Cleanup(c.Close)
	return c
}

func cluster(svc string) string { return "outbound|80||" + svc + ".n.svc.cluster.local" }

func (m *mesh) get(c *xdstest.Client, typeURL, name string) *discoveryv3.Resource {
	m.t.Helper()
	r, err := c.Get(m.ctx, typeURL, name)
	must(m.t, err)
	return r
}

// other waits until the client has another version of a resource.
func (m *mesh) other(c *xdstest.Client, typeURL, name, version string) *discoveryv3.Resource {
	m.t.Helper()
	var out *discoveryv3.Resource
	must(m.t, c.Await(m.ctx, func(have func(string, string) (*discoveryv3.Resource, bool)) bool {
		out, _ = have(typeURL, name)
		return out != nil && out.Version != version
	}))
	return out
}

func (m *mesh) gone(c *xdstest.Client, typeURL, name string) {
	m.t.Helper()
	must(m.t, c.Await(m.ctx, func(have func(string, string) (*discoveryv3.Resource, bool)) bool {
		_, removed := have(typeURL, name)
		return removed
	}))
}

// TestNothingBeforeTheFirstState: a proxy that comes early is not told that
// its hosts do not exist.
func TestNothingBeforeTheFirstState(t *testing.T) {
	m := start(t, xds.Config{})
	c := m.dial("p", nil)
	must(t, c.Subscribe(translate.HostType, "outbound/a"))
	eventually(t, m, func() bool { n := m.server.Nodes(); return len(n) == 1 && n[0].Subscriptions == 1 })
	m.set(service("a", nil))
	m.get(c, translate.HostType, "outbound/a")
	for _, r := range c.Responses() {
		if len(r.RemovedResources) > 0 {
			t.Errorf("removed %v", r.RemovedResources)
		}
	}
}

// TestLifeOfAService: it appears, changes, and goes, for a proxy that asked
// before it was there.
func TestLifeOfAService(t *testing.T) {
	m := start(t, xds.Config{})
	m.set()
	c := m.dial("p", nil)
	must(t, c.Subscribe(translate.HostType, "outbound/a"))
	must(t, c.Subscribe(translate.ClusterType, cluster("a")))
	must(t, c.Subscribe(translate.EndpointType, cluster("a")))
	m.gone(c, translate.HostType, "outbound/a")
	m.gone(c, translate.ClusterType, cluster("a"))
	m.gone(c, translate.EndpointType, cluster("a"))
	before := len(c.Responses())

	m.set(service("a", nil), instance("a", "10.0.0.1"))
	m.get(c, translate.HostType, "outbound/a")
	first := m.get(c, translate.ClusterType, cluster("a"))
	m.get(c, translate.EndpointType, cluster("a"))
	if got := types(c.Responses()[before:]); !slices.Equal(got, []string{translate.ClusterType, translate.EndpointType, translate.HostType}) {
		t.Errorf("made in the order %v", got)
	}

	m.set(service("a", map[string]string{"balancer.linkerd.io/failure-accrual": "consecutive"}))
	m.other(c, translate.ClusterType, cluster("a"), first.Version)
	before = len(c.Responses())

	m.remove(source.Service, "a")
	m.gone(c, translate.ClusterType, cluster("a"))
	if got := types(c.Responses()[before:]); !slices.Equal(got, []string{translate.HostType, translate.EndpointType, translate.ClusterType}) {
		t.Errorf("broken in the order %v", got)
	}
	m.set(service("a", nil))
	m.get(c, translate.HostType, "outbound/a")
}

func types(rs []*discoveryv3.DeltaDiscoveryResponse) []string {
	var out []string
	for _, r := range rs {
		out = append(out, r.TypeUrl)
	}
	return out
}

// TestOnlyWhatChanged: a new endpoint is told to the proxies that use the
// service, and nothing else is told or even made again.
func TestOnlyWhatChanged(t *testing.T) {
	m := start(t, xds.Config{})
	m.set(service("a", nil), service("b", nil), instance("a", "10.0.0.1"))
	user, other := m.dial("user", nil), m.dial("other", nil)
	for c, svc := range map[*xdstest.Client]string{user: "a", other: "b"} {
		must(t, c.Subscribe(translate.ListenerType))
		must(t, c.Subscribe(translate.HostType, "outbound/"+svc))
		must(t, c.Subscribe(translate.ClusterType, cluster(svc)))
		must(t, c.Subscribe(translate.EndpointType, cluster(svc)))
		m.get(c, translate.ListenerType, "outbound")
		m.get(c, translate.HostType, "outbound/"+svc)
		m.get(c, translate.ClusterType, cluster(svc))
	}
	had := m.get(user, translate.EndpointType, cluster("a"))
	m.get(other, translate.EndpointType, cluster("b"))
	before := m.server.Stats()
	m.set(instance("a", "10.0.0.2"))
	m.other(user, translate.EndpointType, cluster("a"), had.Version)
	// A second change of b's own shows that everything before it was sent.
	hadB := m.get(other, translate.EndpointType, cluster("b"))
	m.set(instance("b", "10.0.0.3"))
	m.other(other, translate.EndpointType, cluster("b"), hadB.Version)
	after := m.server.Stats()
	if after.Generated-before.Generated != 2 || after.Resources-before.Resources != 2 || after.Responses-before.Responses != 2 {
		t.Errorf("two changes of endpoints cost %+v, before %+v", after, before)
	}
	// And a pod that belongs to no service, or a World that is equal, nothing.
	m.set(instance("nobody", "10.0.0.9"))
	m.set(service("a", nil))
	m.set(service("c", nil))
	must(t, user.Subscribe(translate.HostType, "outbound/c"))
	m.get(user, translate.HostType, "outbound/c")
	if last := m.server.Stats(); last.Resources-after.Resources != 1 {
		t.Errorf("changes that concern nobody were sent: %+v, before %+v", last, after)
	}
}

// TestRefused: a refused resource is told as a finding, is not sent again
// until it is different, and the finding goes when it is taken.
func TestRefused(t *testing.T) {
	m := start(t, xds.Config{})
	m.set(service("a", nil), service("b", nil))
	bad := ""
	c := m.dial("p", func(r *discoveryv3.DeltaDiscoveryResponse) string {
		for _, res := range r.Resources {
			if res.Name == cluster("a") && (bad == "" || bad == res.Version) {
				bad = res.Version
				return "I do not like it"
			}
		}
		return ""
	})
	must(t, c.Subscribe(translate.ClusterType, cluster("a")))
	eventually(t, m, func() bool { return len(m.server.Findings()) == 1 })
	// Only now: what comes with a refused resource is refused along with it.
	must(t, c.Subscribe(translate.ClusterType, cluster("b")))
	m.get(c, translate.ClusterType, cluster("b"))
	f := m.server.Findings()[0]
	if f.Code != "refused-by-proxy" {
		t.Errorf("its code is %s", f.Code)
	}
	if f.Value != cluster("a") || f.Object != "proxy/p.n" || f.Field != "Cluster" {
		t.Errorf("finding %+v", f)
	}
	sent := m.server.Stats().Resources
	m.set(service("c", nil)) // a push that does not concern it
	must(t, c.Subscribe(translate.ClusterType, cluster("c")))
	m.get(c, translate.ClusterType, cluster("c"))
	if got := m.server.Stats().Resources; got != sent+1 {
		t.Errorf("%d resources were sent, want 1", got-sent)
	}
	m.set(service("a", map[string]string{"recloser.io/load-balancer": "random"}))
	m.get(c, translate.ClusterType, cluster("a"))
	eventually(t, m, func() bool { return len(m.server.Findings()) == 0 })
}

// TestRefusedForAFile: a file that is not there is no fault of ours.
func TestRefusedForAFile(t *testing.T) {
	m := start(t, xds.Config{})
	m.set(service("a", nil), service("b", nil))
	c := m.dial("p", func(r *discoveryv3.DeltaDiscoveryResponse) string {
		if slices.ContainsFunc(r.Resources, func(res *discoveryv3.Resource) bool { return res.Name == cluster("a") }) {
			return "trusted CA /nope.pem: no such file or directory"
		}
		return "I do not like it"
	})
	for name, want := range map[string]string{cluster("a"): "files are read where the proxy runs", cluster("b"): "please report it"} {
		must(t, c.Subscribe(translate.ClusterType, name))
		eventually(t, m, func() bool {
			return slices.ContainsFunc(m.server.Findings(), func(f lint.Finding) bool { return f.Value == name && strings.Contains(f.Mend, want) })
		})
	}
}

func eventually(t *testing.T, m *mesh, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-m.ctx.Done():
			t.Fatal("the condition did not come true")
		}
	}
}

// TestReconnect: a proxy that comes back says what it has, and is sent what is
// different and told what is gone.
func TestReconnect(t *testing.T) {
	m := start(t, xds.Config{})
	m.set(service("a", nil), service("b", nil), service("c", nil), instance("p", "10.0.0.1"))
	c := m.dial("p-10.0.0.1", nil)
	names := []string{cluster("a"), cluster("b"), cluster("c")}
	must(t, c.Subscribe(translate.ClusterType, names...))
	must(t, c.Subscribe(translate.ListenerType))
	versions := map[string]string{}
	for _, n := range names {
		versions[n] = m.get(c, translate.ClusterType, n).Version
	}
	listeners := map[string]string{
		"outbound":   m.get(c, translate.ListenerType, "outbound").Version,
		"inbound|80": m.get(c, translate.ListenerType, "inbound|80").Version,
		"inbound|81": "of a port that is no more",
	}
	c.Close()
	m.set(service("b", map[string]string{"recloser.io/load-balancer": "random"}))
	m.remove(source.Service, "c")

	again := m.dial("p-10.0.0.1", nil)
	must(t, again.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: translate.ClusterType, ResourceNamesSubscribe: names, InitialResourceVersions: versions}))
	must(t, again.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: translate.ListenerType, ResourceNamesSubscribe: []string{"*"}, InitialResourceVersions: listeners}))
	m.get(again, translate.ClusterType, cluster("b"))
	m.gone(again, translate.ClusterType, cluster("c"))
	m.gone(again, translate.ListenerType, "inbound|81")
	var sent []string
	for _, r := range again.Responses() {
		for _, res := range r.Resources {
			sent = append(sent, res.Name)
		}
	}
	if !slices.Equal(sent, []string{cluster("b")}) {
		t.Errorf("sent again: %v", sent)
	}
}

// TestUnsubscribe: what nobody watches is not kept, and a name that is watched
// again is sent again.
func TestUnsubscribe(t *testing.T) {
	m := start(t, xds.Config{})
	m.set(service("a", nil))
	c := m.dial("p", nil)
	must(t, c.Subscribe(translate.HostType, "outbound/a"))
	m.get(c, translate.HostType, "outbound/a")
	must(t, c.Unsubscribe(translate.HostType, "outbound/a", "outbound/never"))
	eventually(t, m, func() bool { s := m.server.Stats(); return s.Topics == 0 && s.Subscriptions == 0 })
	before := len(c.Responses())
	must(t, c.Subscribe(translate.HostType, "outbound/a"))
	eventually(t, m, func() bool { return len(c.Responses()) == before+1 })
	must(t, c.Subscribe(translate.HostType, "outbound/a")) // once more: it lost it
	eventually(t, m, func() bool { return len(c.Responses()) == before+2 })
	c.Close()
	eventually(t, m, func() bool { return m.server.Stats().Topics == 0 && len(m.server.Nodes()) == 0 })
}

// TestBounded: beyond its limit a proxy is told that there is no such thing,
// and what it has stays.
func TestBounded(t *testing.T) {
	m := start(t, xds.Config{MaxSubscriptions: 2})
	m.set(service("a", nil), service("b", nil), service("c", nil))
	c := m.dial("p", nil)
	must(t, c.Subscribe(translate.HostType, "outbound/a", "outbound/b", "outbound/c"))
	m.get(c, translate.HostType, "outbound/a")
	m.gone(c, translate.HostType, "outbound/c")
	if s := m.server.Stats(); s.Subscriptions != 2 {
		t.Errorf("%+v", s)
	}
}

// TestSlow: a proxy that does not acknowledge is not sent more than the bound,
// and then the newest state.
func TestSlow(t *testing.T) {
	m := start(t, xds.Config{})
	m.set(service("a", nil))
	conn, err := grpc.NewClient(m.address, insecureOption())
	must(t, err)
	defer conn.Close()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(m.ctx)
	must(t, err)
	must(t, stream.Send(&discoveryv3.DeltaDiscoveryRequest{
		Node: xdstest.Node("p", "n", nil), TypeUrl: translate.EndpointType, ResourceNamesSubscribe: []string{cluster("a")},
	}))
	var last *discoveryv3.DeltaDiscoveryResponse
	receive := func() {
		t.Helper()
		r, err := stream.Recv()
		must(t, err)
		last = r
	}
	receive()
	const bound = 32
	for i := range bound - 1 {
		m.set(instance("a", fmt.Sprintf("10.0.0.%d", i)))
		receive()
	}
	sent := m.server.Stats().Responses
	for i := range 20 {
		m.set(instance("a", fmt.Sprintf("10.0.1.%d", i)))
	}
	// Another stream that has the newest state shows that it was pushed.
	c := m.dial("q", nil)
	must(t, c.Subscribe(translate.EndpointType, cluster("a")))
	m.get(c, translate.EndpointType, cluster("a"))
	if got := m.server.Stats().Responses - sent; got > 21 {
		t.Errorf("%d responses", got)
	}
	must(t, stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: translate.EndpointType, ResponseNonce: last.Nonce}))
	receive()
	eventually(t, m, func() bool {
		now, err := c.Get(m.ctx, translate.EndpointType, cluster("a"))
		return err == nil && now.Version == last.Resources[0].Version
	})
}

// TestWildcard: everything but listeners is named; who asks for all gets an
// answer, and it is empty.
func TestWildcard(t *testing.T) {
	m := start(t, xds.Config{})
	m.set(service("a", nil))
	c := m.dial("p", nil)
	must(t, c.Subscribe(translate.ClusterType))
	eventually(t, m, func() bool { return len(c.Responses()) == 1 })
	if r := c.Responses()[0]; len(r.Resources)+len(r.RemovedResources) != 0 || r.TypeUrl != translate.ClusterType {
		t.Errorf("answer %v", r)
	}
}

func TestNodeWithoutID(t *testing.T) {
	m := start(t, xds.Config{})
	c, err := xdstest.Dial(m.ctx, m.address, nil, nil)
	must(t, err)
	defer c.Close()
	must(t, c.Subscribe(translate.ListenerType))
	if err := c.Await(m.ctx, func(func(string, string) (*discoveryv3.Resource, bool)) bool { return false }); err == nil || m.ctx.Err() != nil {
		t.Errorf("error %v", err)
	}
}
