package snapshot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/reclosermesh/recloser/internal/proxy/xds"
)

// ready gives a rig whose outbound listener asks for hosts on demand.
func ready(t *testing.T, cfg Config) (*rig, *Listener) {
	t.Helper()
	r := newRig(t, cfg)
	r.apply(xds.Listener, "outbound", outbound())
	r.apply(xds.RouteConfig, "outbound", onDemand())
	return r, r.listener("outbound")
}

func take(t *testing.T, got <-chan answer) answer {
	t.Helper()
	select {
	case a := <-got:
		return a
	case <-time.After(10 * time.Second):
		t.Fatal("Await does not return")
		return answer{}
	}
}

func TestHostOnDemandIsKnownWhenWarm(t *testing.T) {
	r, l := ready(t, Config{})
	if got := r.goesTo(l, "bb:8080"); got != "?" {
		t.Errorf("an authority that nobody asked for: %s", got)
	}
	waiters := []<-chan answer{r.await(l, "bb:8080"), r.await(l, "BB:8080"), r.await(l, "bb:8080")}
	r.asked("VirtualHost outbound/bb:8080")
	r.apply(xds.VirtualHost, "outbound/bb:8080", hostOf("c", "bb:8080"))
	r.asked("Cluster c")
	if got := r.goesTo(l, "bb:8080"); got != "?" {
		t.Errorf("before its cluster came: %s", got)
	}
	r.apply(xds.Cluster, "c", eds("c"))
	r.asked("ClusterLoadAssignment c")
	if got := r.goesTo(l, "bb:8080"); got != "?" {
		t.Errorf("before its endpoints came: %s", got)
	}
	snap, _ := r.Current()
	if diff := cmp.Diff([]string{"host bb:8080: cluster c or its endpoints"}, snap.Warming); diff != "" {
		t.Error(diff)
	}
	r.apply(xds.Endpoints, "c", assignment("c", "10.0.0.1", "10.0.0.2"))
	for _, w := range waiters {
		if a := take(t, w); a.err != nil || a.goes != "c=10.0.0.1:80,10.0.0.2:80" {
			t.Errorf("Await gave %+v", a)
		}
	}
	if n := r.wanted.count("VirtualHost outbound/bb:8080"); n != 1 {
		t.Errorf("three waiters asked %d times", n)
	}
	if got := r.goesTo(l, "Bb:8080"); got != "c=10.0.0.1:80,10.0.0.2:80" {
		t.Errorf("in other letters: %s", got)
	}
	r.apply(xds.Endpoints, "c", assignment("c", "10.0.0.2", "10.0.0.3"))
	if got := r.goesTo(l, "bb:8080"); got != "c=10.0.0.2:80,10.0.0.3:80" {
		t.Errorf("after its endpoints changed: %s", got)
	}
}

func TestHostThatDoesNotExistAppearsLater(t *testing.T) {
	r, l := ready(t, Config{})
	got := r.await(l, "nope")
	r.asked("VirtualHost outbound/nope")
	r.removed(xds.VirtualHost, "outbound/nope")
	if a := take(t, got); !errors.Is(a.err, ErrNoHost) {
		t.Errorf("Await gave %+v", a)
	}
	if got := r.goesTo(l, "nope"); got != "404" {
		t.Errorf("goes to %s", got)
	}
	r.apply(xds.VirtualHost, "outbound/nope", hostOf("c", "nope"))
	r.apply(xds.Cluster, "c", static("c", "10.0.0.1"))
	if got := r.goesTo(l, "nope"); got != "c=10.0.0.1:80" {
		t.Errorf("after the service came: %s", got)
	}
	r.removed(xds.VirtualHost, "outbound/nope")
	if got := r.goesTo(l, "nope"); got != "404" {
		t.Errorf("after the service went: %s", got)
	}
	if n := r.wanted.count("Cluster c"); n != 0 {
		t.Error("the cluster of a host that is gone stays subscribed")
	}
	if n := len(r.set.Clusters()); n != 0 {
		t.Errorf("%d live clusters stay", n)
	}
}

func TestClusterThatDoesNotExist(t *testing.T) {
	r, l := ready(t, Config{})
	got := r.await(l, "bb")
	r.asked("VirtualHost outbound/bb")
	r.apply(xds.VirtualHost, "outbound/bb", hostOf("c", "bb"))
	r.removed(xds.Cluster, "c")
	if a := take(t, got); a.goes != "500" {
		t.Errorf("Await gave %+v", a)
	}
	r.apply(xds.Cluster, "c", static("c", "10.0.0.1"))
	if got := r.goesTo(l, "bb"); got != "c=10.0.0.1:80" {
		t.Errorf("after the cluster came: %s", got)
	}
}

func TestChangeIsMadeBeforeTheOldIsBroken(t *testing.T) {
	r, l := ready(t, Config{})
	got := r.await(l, "bb")
	r.asked("VirtualHost outbound/bb")
	r.apply(xds.VirtualHost, "outbound/bb", hostOf("old", "bb"))
	r.apply(xds.Cluster, "old", static("old", "10.0.0.1"))
	take(t, got)
	r.apply(xds.VirtualHost, "outbound/bb", hostOf("new", "bb"))
	if got := r.goesTo(l, "bb"); got != "old=10.0.0.1:80" {
		t.Errorf("while the new cluster is on its way: %s", got)
	}
	if r.wanted.count("Cluster old") == 0 {
		t.Error("the cluster in use was dropped")
	}
	r.apply(xds.Cluster, "new", eds("new"))
	r.apply(xds.Endpoints, "new", assignment("new", "10.0.0.2"))
	if got := r.goesTo(l, "bb"); got != "new=10.0.0.2:80" {
		t.Errorf("when the new cluster is there: %s", got)
	}
	r.apply(xds.Cluster, "new", eds("new")) // anything makes it look again
	if r.wanted.count("Cluster old") != 0 {
		t.Error("the old cluster stays subscribed")
	}
}

func TestLiveClustersOutliveSnapshots(t *testing.T) {
	r, l := ready(t, Config{})
	got := r.await(l, "bb")
	r.asked("VirtualHost outbound/bb")
	r.apply(xds.VirtualHost, "outbound/bb", hostOf("c", "bb"))
	r.apply(xds.Cluster, "c", eds("c"))
	r.apply(xds.Endpoints, "c", assignment("c", "10.0.0.1"))
	take(t, got)
	table, _ := l.Hosts.Lookup([]byte("bb"))
	before := r.set.Clusters()[0]
	endpoint := before.Endpoints()[0]
	changed := eds("c")
	changed.ConnectTimeout = durationpb.New(3 * time.Second)
	r.apply(xds.Cluster, "c", changed)
	r.apply(xds.Endpoints, "c", assignment("c", "10.0.0.2", "10.0.0.1"))
	after := r.set.Clusters()[0]
	if after != before || after.Endpoints()[1] != endpoint {
		t.Error("a change of configuration made the live cluster or endpoint anew")
	}
	if got := after.Config().ConnectTimeout; got != 3*time.Second {
		t.Errorf("connect timeout %v", got)
	}
	if again, _ := l.Hosts.Lookup([]byte("bb")); again != table {
		t.Error("a table was compiled again though its routes and clusters are the same")
	}
}

func TestBadResourceLeavesTheLastGoodOne(t *testing.T) {
	r, l := ready(t, Config{})
	got := r.await(l, "bb")
	r.asked("VirtualHost outbound/bb")
	r.apply(xds.VirtualHost, "outbound/bb", hostOf("c", "bb"))
	r.apply(xds.Cluster, "c", static("c", "10.0.0.1"))
	take(t, got)

	badCluster := static("c", "not an address")
	badCluster.ConnectTimeout = durationpb.New(-time.Second)
	badHost := hostOf("c", "bb")
	badHost.Routes[0].Action = &routev3.Route_FilterAction{FilterAction: &routev3.FilterAction{}}
	badListener := outbound()
	badListener.Address = address("localhost", 4140)
	for _, tt := range []struct {
		t     xds.Type
		name  string
		tries func() []xds.Rejection
		want  []string
	}{
		{xds.Cluster, "c", func() []xds.Rejection { return r.try(xds.Cluster, "c", badCluster) }, []string{"connect_timeout -1s", `"not an address"`}},
		{xds.VirtualHost, "outbound/bb", func() []xds.Rejection { return r.try(xds.VirtualHost, "outbound/bb", badHost) }, []string{"routes[0].filter_action: is not supported"}},
		{xds.Listener, "outbound", func() []xds.Rejection { return r.try(xds.Listener, "outbound", badListener) }, []string{`"localhost": must be an IP`}},
	} {
		rejected := tt.tries()
		for _, want := range tt.want {
			if len(rejected) != 1 || rejected[0].Name != tt.name || !strings.Contains(rejected[0].Err.Error(), want) {
				t.Errorf("%s: rejections %v do not say %q", tt.t, rejected, want)
			}
		}
		if got := r.goesTo(l, "bb"); got != "c=10.0.0.1:80" {
			t.Errorf("after a bad %s: %s", tt.t, got)
		}
	}
	// Good ones beside a bad one are taken.
	rejected := r.Apply(xds.Update{Type: xds.Cluster, Set: []xds.Resource{
		{Name: "bad", Message: badCluster}, {Name: "c", Message: static("c", "10.0.0.9")},
	}})
	if got := r.goesTo(l, "bb"); len(rejected) != 1 || got != "c=10.0.0.9:80" {
		t.Errorf("rejected %v, goes to %s", rejected, got)
	}
}

func TestInboundListener(t *testing.T) {
	r := newRig(t, Config{})
	r.apply(xds.Listener, "inbound|8080", inbound(8080, "inbound|8080||"))
	if names := r.names(); len(names) != 0 {
		t.Errorf("listens before its cluster is there: %v", names)
	}
	r.apply(xds.Cluster, "inbound|8080||", static("inbound|8080||", "127.1.1.5"))
	l := r.listener("inbound|8080")
	if l.Address != "127.0.1.5:8080" || l.Port != "8080" || l.Direction.String() != "inbound" {
		t.Errorf("listener %+v", l)
	}
	if got := r.goesTo(l, "whatever.it.is:99"); got != "inbound|8080||=127.1.1.5:80" {
		t.Errorf("goes to %s", got)
	}
	hosts := l.Hosts
	r.apply(xds.Listener, "inbound|8080", inbound(8081, "inbound|8080||"))
	if l = r.listener("inbound|8080"); l.Address != "127.0.1.5:8081" || l.Hosts != hosts {
		t.Errorf("after its address changed: %+v", l)
	}
	if cfg := r.set.Clusters()[0].Config(); cfg.Direction.String() != "inbound" || cfg.Service.Port != "8080" {
		t.Errorf("cluster config %+v", cfg)
	}
	r.removed(xds.Listener, "inbound|8080")
	if names, left := r.names(), r.wanted.list(); len(names) != 0 || len(left) != 1 {
		t.Errorf("after its removal: listeners %v, subscribed %v", names, left)
	}
}

func TestInlineHostsComeFirst(t *testing.T) {
	r := newRig(t, Config{})
	r.apply(xds.Listener, "outbound", outbound())
	rc := onDemand()
	rc.VirtualHosts = []*routev3.VirtualHost{hostOf("static", "a.b", "*.c")}
	r.apply(xds.RouteConfig, "outbound", rc)
	r.apply(xds.Cluster, "static", static("static", "10.0.0.1"))
	l := r.listener("outbound")
	for authority, want := range map[string]string{"a.b": "static=10.0.0.1:80", "x.c": "static=10.0.0.1:80", "other": "?"} {
		if got := r.goesTo(l, authority); got != want {
			t.Errorf("%s goes to %s, want %s", authority, got, want)
		}
	}
	// Without VHDS nothing is asked for.
	rc = &routev3.RouteConfiguration{VirtualHosts: rc.VirtualHosts}
	r.apply(xds.RouteConfig, "outbound", rc)
	if got := r.goesTo(l, "other"); got != "404" {
		t.Errorf("other goes to %s", got)
	}
}

func TestListenersWithoutRoutes(t *testing.T) {
	r := newRig(t, Config{})
	r.apply(xds.Listener, "publish|127.0.0.1:8200", listenerOf("publish|127.0.0.1:8200", "127.0.0.1", 8200, &hcmv3.HttpConnectionManager{
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{}},
	}))
	if got := r.goesTo(r.listener("publish|127.0.0.1:8200"), "x"); got != "404" {
		t.Errorf("goes to %s", got)
	}
	r.apply(xds.Listener, "outbound", outbound())
	r.removed(xds.RouteConfig, "outbound")
	if got := r.goesTo(r.listener("outbound"), "x"); got != "404" {
		t.Errorf("a route configuration that does not exist: %s", got)
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	r, l := ready(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Hosts.Await(ctx, "bb"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	for _, authority := range []string{"", strings.Repeat("x", 600)} {
		if _, err := l.Hosts.Await(t.Context(), authority); !errors.Is(err, ErrNoHost) {
			t.Errorf("%d bytes: error %v", len(authority), err)
		}
	}
	_ = r
}

func TestHostsAreBounded(t *testing.T) {
	r, l := ready(t, Config{MaxHosts: 3})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 3 {
		_, _ = l.Hosts.Await(ctx, fmt.Sprint("h", i))
	}
	if _, err := l.Hosts.Await(ctx, "h3"); !errors.Is(err, ErrTooManyHosts) {
		t.Errorf("error %v", err)
	}
	if n := r.wanted.count("VirtualHost outbound/h3"); n != 0 {
		t.Error("a host above the bound was subscribed")
	}
}

func TestIdleHostsAreUnsubscribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := ready(t, Config{HostIdle: time.Minute})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		for _, host := range []string{"busy", "idle"} {
			got := r.await(l, host)
			synctest.Wait()
			r.apply(xds.VirtualHost, "outbound/"+host, hostOf("c-"+host, host))
			r.apply(xds.Cluster, "c-"+host, static("c-"+host, "10.0.0.1"))
			<-got
		}
		for range 4 {
			time.Sleep(40 * time.Second) //nolint:forbidigo // the bubble's clock
			r.goesTo(l, "busy")
		}
		synctest.Wait()
		want := []string{"Cluster c-busy", "Listener *", "RouteConfiguration outbound", "VirtualHost outbound/busy"}
		if diff := cmp.Diff(want, r.wanted.list()); diff != "" {
			t.Error(diff)
		}
		if got := r.goesTo(l, "idle"); got != "?" {
			t.Errorf("idle goes to %s", got)
		}
		if n := len(r.set.Clusters()); n != 1 {
			t.Errorf("%d live clusters", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestLookupDoesNotAllocate(t *testing.T) {
	r, l := ready(t, Config{})
	got := r.await(l, "bb:8080")
	r.asked("VirtualHost outbound/bb:8080")
	r.apply(xds.VirtualHost, "outbound/bb:8080", hostOf("c", "bb:8080"))
	r.apply(xds.Cluster, "c", static("c", "10.0.0.1"))
	take(t, got)
	for _, name := range []string{"bb:8080", "BB:8080"} {
		authority := []byte(name)
		if n := testing.AllocsPerRun(100, func() { l.Hosts.Lookup(authority) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
