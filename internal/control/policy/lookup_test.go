package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	networkingv1 "istio.io/api/networking/v1"
	typev1beta1 "istio.io/api/type/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// drule is a DestinationRule of a namespace for a host. Its limit of connections
// tells which one holds.
func drule(namespace, name, host string, limit int32, change ...func(*networkingv1.DestinationRule)) source.Object {
	spec := &networkingv1.DestinationRule{Host: host}
	if limit > 0 {
		spec.TrafficPolicy = &networkingv1.TrafficPolicy{ConnectionPool: &networkingv1.ConnectionPoolSettings{
			Tcp: &networkingv1.ConnectionPoolSettings_TCPSettings{MaxConnections: limit},
		}}
	}
	for _, c := range change {
		c(spec)
	}
	return source.Object{
		Key:   source.Key{Kind: source.DestinationRule, Namespace: namespace, Name: name},
		Value: &source.IstioDestinationRule{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: spec},
	}
}

func aged(o source.Object, age time.Duration) source.Object {
	o.Value.(*source.IstioDestinationRule).CreationTimestamp = metav1.NewTime(time.Unix(1_000_000, 0).Add(-age))
	return o
}

func forLabel(value string) func(*networkingv1.DestinationRule) {
	return func(r *networkingv1.DestinationRule) {
		r.WorkloadSelector = &typev1beta1.WorkloadSelector{MatchLabels: map[string]string{"app": value}}
	}
}

func withSubset(name, version string, limit int32) func(*networkingv1.DestinationRule) {
	return func(r *networkingv1.DestinationRule) {
		s := &networkingv1.Subset{Name: name, Labels: map[string]string{"version": version}}
		if limit > 0 {
			s.TrafficPolicy = &networkingv1.TrafficPolicy{ConnectionPool: &networkingv1.ConnectionPoolSettings{
				Tcp: &networkingv1.ConnectionPoolSettings_TCPSettings{MaxConnections: limit},
			}}
		}
		r.Subsets = append(r.Subsets, s)
	}
}

func requests(n int32) func(*networkingv1.DestinationRule) {
	return func(r *networkingv1.DestinationRule) {
		if r.TrafficPolicy == nil {
			r.TrafficPolicy = &networkingv1.TrafficPolicy{}
		}
		if r.TrafficPolicy.ConnectionPool == nil {
			r.TrafficPolicy.ConnectionPool = &networkingv1.ConnectionPoolSettings{}
		}
		r.TrafficPolicy.ConnectionPool.Http = &networkingv1.ConnectionPoolSettings_HTTPSettings{Http2MaxRequests: n}
	}
}

func namespaced(name, inherits string) source.Object {
	v := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if inherits != "" {
		v.Annotations = map[string]string{model.InheritAnnotation: inherits}
	}
	return source.Object{Key: source.Key{Kind: source.Namespace, Name: name}, Value: v}
}

// caller is a workload of a namespace with the label app=NAME.
func caller(namespace, name string) (source.Object, model.Client) {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	d.Spec.Template.Labels = map[string]string{"app": name}
	return source.Object{Key: source.Key{Kind: source.Deployment, Namespace: namespace, Name: name}, Value: d},
		model.Client{Namespace: namespace, Workload: name, Kind: "Deployment"}
}

// limitFor is the limit of connections for a client, and "-" without any; a
// subset's after its name.
func limitFor(t *testing.T, tab *Table, client model.Client, subset string) string {
	t.Helper()
	e, err := tab.Effective(client, model.Name{Namespace: "shop", Name: "api"}, 80, subset)
	if err != nil {
		t.Fatal(err)
	}
	if e.Subset != nil && e.Subset.Unknown {
		return "unknown"
	}
	if e.Limits.MaxConnections.Value == Unlimited {
		return "-"
	}
	return fmt.Sprint(e.Limits.MaxConnections.Value)
}

// TestLookup is Istio's: three namespaces, the most specific host, several rules
// for one host, rules for some workloads.
func TestLookup(t *testing.T) {
	const host = "api.shop.svc.cluster.local"
	for name, tt := range map[string]struct {
		rules []source.Object
		want  string // of web's client "a", of web's "b", of shop's, of istio-system's
		lost  string // names of the rules that lose for web's "a"
	}{
		"none":                     {nil, "- - - -", ""},
		"short name":               {[]source.Object{drule("shop", "x", "api", 1)}, "1 1 1 1", ""},
		"short name elsewhere":     {[]source.Object{drule("web", "x", "api", 1)}, "- - - -", ""},
		"a final dot and capitals": {[]source.Object{drule("shop", "x", "API.shop.svc.cluster.local.", 1)}, "1 1 1 1", ""},
		"exact before wildcard": {[]source.Object{
			drule("shop", "a", "*", 1), drule("shop", "b", "*.shop.svc.cluster.local", 2), drule("shop", "c", host, 3),
		}, "3 3 3 3", "a b"},
		"the longer wildcard":       {[]source.Object{drule("shop", "a", "*.local", 1), drule("shop", "b", "*.cluster.local", 2)}, "2 2 2 2", "a"},
		"a wildcard of others":      {[]source.Object{drule("shop", "a", "*.example.com", 1)}, "- - - -", ""},
		"client's wildcard first":   {[]source.Object{drule("web", "a", "*", 1), drule("shop", "b", host, 2)}, "1 1 2 2", "b"},
		"service's before root's":   {[]source.Object{drule(RootNamespace, "a", host, 1), drule("shop", "b", "*", 2)}, "2 2 2 2", "a"},
		"root's for all":            {[]source.Object{drule(RootNamespace, "a", "*.local", 1)}, "1 1 1 1", ""},
		"root's private":            {[]source.Object{drule(RootNamespace, "a", "*.local", 1, exportTo(".")), drule("shop", "b", host, 2)}, "2 2 2 1", "a"},
		"service's private":         {[]source.Object{drule("shop", "a", host, 1, exportTo("."))}, "- - 1 -", "a"},
		"client's, exported away":   {[]source.Object{drule("web", "a", host, 1, exportTo("other")), drule("shop", "b", host, 2)}, "2 2 2 2", "a"},
		"for one workload":          {[]source.Object{drule("web", "a", host, 1, forLabel("a")), drule("web", "b", host, 2)}, "1 2 - -", "b"},
		"for one workload, no rest": {[]source.Object{drule("web", "a", host, 1, forLabel("a")), drule("shop", "b", host, 2)}, "1 2 2 2", "b"},
		"for workloads elsewhere":   {[]source.Object{drule("shop", "a", host, 1, forLabel("a"))}, "- - - -", "a"},
		"the older of two for one":  {[]source.Object{aged(drule("web", "b", host, 1, forLabel("a")), time.Hour), aged(drule("web", "a", host, 2, forLabel("a")), 0)}, "1 - - -", "a"},
		"the older first":           {[]source.Object{aged(drule("shop", "b", host, 1), time.Hour), aged(drule("shop", "a", host, 2), time.Minute)}, "1 1 1 1", "a"},
		"files by name":             {[]source.Object{drule("shop", "b", host, 1), drule("shop", "a", host, 2)}, "2 2 2 2", "b"},
		"one without a policy":      {[]source.Object{drule("shop", "a", host, 0), drule("shop", "b", host, 2)}, "2 2 2 2", ""},
		"a rule without a host":     {[]source.Object{drule("shop", "a", "", 1)}, "- - - -", "a"},
	} {
		a, clientA := caller("web", "a")
		b, clientB := caller("web", "b")
		tab := Build(nil, model.Build(nil, append(tt.rules, service(nil), a, b)))
		var got []string
		for _, c := range []model.Client{clientA, clientB, {Namespace: "shop"}, {Namespace: RootNamespace}} {
			got = append(got, limitFor(t, tab, c, ""))
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s: %s, want %s", name, text, tt.want)
		}
		if lost := losers(t, tab, clientA); lost != tt.lost {
			t.Errorf("%s: lost: %q, want %q", name, lost, tt.lost)
		}
	}
}

// losers are the names of the rules that lose, each with a reason.
func losers(t *testing.T, tab *Table, client model.Client) string {
	t.Helper()
	e, err := tab.Effective(client, model.Name{Namespace: "shop", Name: "api"}, 80, "")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range e.Losers {
		name := strings.TrimPrefix(l.Origin.Object, "destinationrule/")
		name, _, _ = strings.Cut(name, " ")
		out = append(out, name)
		if l.Reason == "" {
			t.Errorf("%s loses without a reason", name)
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

// TestSubsets: those of several rules add up, and the first of a name counts.
func TestSubsets(t *testing.T) {
	const host = "api.shop.svc.cluster.local"
	tab := Build(nil, model.Build(nil, []source.Object{
		service(nil),
		drule("shop", "a", host, 1, withSubset("v1", "1", 0), withSubset("v2", "2", 20)),
		drule("shop", "b", host, 2, withSubset("v2", "other", 99), withSubset("v3", "3", 30)),
	}))
	client := model.Client{Namespace: "web"}
	for subset, want := range map[string]string{"": "1", "v1": "1", "v2": "20", "v3": "30", "v4": "unknown"} {
		if got := limitFor(t, tab, client, subset); got != want {
			t.Errorf("subset %q: %s, want %s", subset, got, want)
		}
	}
	e, err := tab.Effective(client, model.Name{Namespace: "shop", Name: "api"}, 80, "v2")
	if err != nil || e.Subset.Labels.Value["version"] != "2" || e.Subset.Labels.Origin.Field != "spec.subsets[1].labels" {
		t.Errorf("%+v %v", e.Subset, err)
	}
	e, err = tab.Effective(client, model.Name{Namespace: "shop", Name: "api"}, 80, "v4")
	if err != nil || e.FailFast.Value != 0 {
		t.Errorf("requests to a subset that there is not wait %v: %v", e.FailFast.Value, err)
	}
}

// TestInherit: mesh, namespace, service, client, field by field, where asked for.
func TestInherit(t *testing.T) {
	const host = "api.shop.svc.cluster.local"
	rules := []source.Object{
		drule(RootNamespace, "mesh", "", 1, requests(10)),
		drule(RootNamespace, "wide", "*.local", 2),
		drule("shop", "shop", "", 3, requests(30)),
		drule("shop", "api", host, 4),
		drule("web", "web", host, 0, requests(50)),
	}
	for name, tt := range map[string]struct {
		namespaces []source.Object
		want       string // connections and requests for web's client, and for another's
	}{
		"nowhere":              {nil, "- 50 | 4 -"},
		"for the whole mesh":   {[]source.Object{namespaced(RootNamespace, "true")}, "4 50 | 4 30"},
		"in the client's":      {[]source.Object{namespaced("web", "true")}, "4 50 | 4 -"},
		"in the service's":     {[]source.Object{namespaced("shop", "true")}, "- 50 | 4 30"},
		"but for the client's": {[]source.Object{namespaced(RootNamespace, "true"), namespaced("web", "false")}, "- 50 | 4 30"},
		"but for the service's": {
			[]source.Object{namespaced(RootNamespace, "true"), namespaced("shop", "false")},
			"4 50 | 4 -",
		},
		"said wrongly": {[]source.Object{namespaced(RootNamespace, "yes")}, "- 50 | 4 -"},
	} {
		tab := Build(nil, model.Build(nil, slices.Concat(rules, tt.namespaces, []source.Object{service(nil)})))
		var got []string
		for _, client := range []string{"web", "other"} {
			e, err := tab.Effective(model.Client{Namespace: client}, model.Name{Namespace: "shop", Name: "api"}, 80, "")
			if err != nil {
				t.Fatal(err)
			}
			n := limitFor(t, tab, model.Client{Namespace: client}, "")
			m := "-"
			if e.Limits.MaxRequests.Value != Unlimited {
				m = fmt.Sprint(e.Limits.MaxRequests.Value)
			}
			got = append(got, n+" "+m)
		}
		if text := strings.Join(got, " | "); text != tt.want {
			t.Errorf("%s: %s, want %s", name, text, tt.want)
		}
	}
}

// TestWideRuleChanges: a rule of the root namespace, and a namespace that begins to
// inherit, change the policy of services that they do not name.
func TestWideRuleChanges(t *testing.T) {
	base := []source.Object{service(nil), drule("shop", "api", "api", 0, requests(5)), namespaced(RootNamespace, "")}
	w := model.Build(nil, base)
	tab := Build(nil, w)
	api := model.Name{Namespace: "shop", Name: "api"}
	step := func(what string, objects []source.Object, want string) {
		t.Helper()
		nextWorld := model.Build(w, objects)
		next := Build(tab, nextWorld)
		changed := Changed(tab, next, model.Diff(w, nextWorld).Services)
		if !slices.Contains(changed, api) {
			t.Errorf("%s: changed %v", what, changed)
		}
		if got := limitFor(t, next, model.Client{Namespace: "web"}, ""); got != want {
			t.Errorf("%s: limit %s, want %s", what, got, want)
		}
		w, tab = nextWorld, next
	}
	wide := drule(RootNamespace, "wide", "*.local", 7)
	step("a rule for all", append(slices.Clone(base), wide), "-") // the service's own comes first
	inherits := append(slices.Clone(base[:2]), namespaced(RootNamespace, "true"), wide)
	step("inheritance", inherits, "7")
	step("no inheritance any more", append(slices.Clone(base), wide), "-")
	step("no rule of its own", []source.Object{base[0], base[2], wide}, "7")
	step("none at all", []source.Object{base[0], base[2]}, "-")
}

// TestAnnotationsFirst: what a Service says of itself comes before rules, and
// the rule is told to have lost.
func TestAnnotationsFirst(t *testing.T) {
	both := func(r *networkingv1.DestinationRule) {
		r.TrafficPolicy.OutlierDetection = &networkingv1.OutlierDetection{MaxEjectionPercent: 50}
		r.TrafficPolicy.LoadBalancer = &networkingv1.LoadBalancerSettings{LbPolicy: &networkingv1.LoadBalancerSettings_ConsistentHash{
			ConsistentHash: &networkingv1.LoadBalancerSettings_ConsistentHashLB{
				HashKey: &networkingv1.LoadBalancerSettings_ConsistentHashLB_UseSourceIp{UseSourceIp: true},
			},
		}}
	}
	for name, tt := range map[string]struct {
		annotations map[string]string
		breaker     bool
		outlier     bool
		balancer    Balancer
		lost        int
	}{
		"rule alone":         {nil, false, true, RingHash, 0},
		"a breaker":          {map[string]string{accrual: ModeConsecutive}, true, false, RingHash, 1},
		"a refused breaker":  {map[string]string{accrual: "consecutiv"}, false, false, RingHash, 1},
		"a balancer":         {map[string]string{loadBalancer: "random"}, false, true, Random, 1},
		"both":               {map[string]string{accrual: ModeUnified, loadBalancer: "random"}, true, false, Random, 2},
		"a fail-fast of its": {map[string]string{failFast: "7s"}, false, true, RingHash, 0},
	} {
		e := effective(t, Build(nil, model.Build(nil, []source.Object{service(tt.annotations), drule("shop", "r", "api", 1, both)})))
		if (e.Breaker != nil) != tt.breaker || (e.Outlier != nil) != tt.outlier || e.Balancer.Value != tt.balancer || (e.Hash != nil) != (tt.balancer == RingHash) {
			t.Errorf("%s: breaker %v, outlier %v, balancer %s, hash %v", name, e.Breaker, e.Outlier, e.Balancer.Value, e.Hash)
		}
		if len(e.Losers) != tt.lost {
			t.Errorf("%s: losers %+v", name, e.Losers)
		}
		if want := tt.annotations[failFast]; want != "" && e.FailFast.Value != 7*time.Second {
			t.Errorf("%s: %v", name, e.FailFast)
		}
	}
}
