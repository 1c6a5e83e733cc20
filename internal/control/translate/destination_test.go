package translate_test

import (
	"slices"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	networkingv1 "istio.io/api/networking/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	breakerv1 "github.com/reclosermesh/recloser/api/breaker/v1"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func plainService(namespace, name string) source.Object {
	return source.Object{
		Key: source.Key{Kind: source.Service, Namespace: namespace, Name: name},
		Value: &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}}},
		},
	}
}

func destinationRule(namespace, name, host string, p *networkingv1.TrafficPolicy) source.Object {
	return source.Object{
		Key: source.Key{Kind: source.DestinationRule, Namespace: namespace, Name: name},
		Value: &source.IstioDestinationRule{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec:       &networkingv1.DestinationRule{Host: host, TrafficPolicy: p},
		},
	}
}

// TestRootRuleReachesAll: a rule of the root namespace that comes, changes or
// goes makes the clusters of all services anew, for whoever has asked for them.
func TestRootRuleReachesAll(t *testing.T) {
	services := []source.Object{plainService("a", "one"), plainService("b", "two")}
	limit := func(n int32) *networkingv1.TrafficPolicy {
		return &networkingv1.TrafficPolicy{ConnectionPool: &networkingv1.ConnectionPoolSettings{
			Tcp: &networkingv1.ConnectionPoolSettings_TCPSettings{MaxConnections: n},
		}}
	}
	view := func(prev translate.View, objects ...source.Object) translate.View {
		w := model.Build(prev.World, append(slices.Clone(services), objects...))
		return translate.View{World: w, Policy: policy.Build(prev.Policy, w)}
	}
	v := view(translate.View{})
	for step, tt := range []struct {
		objects []source.Object
		want    uint32
	}{
		{[]source.Object{destinationRule(policy.RootNamespace, "all", "*", limit(7))}, 7},
		{[]source.Object{destinationRule(policy.RootNamespace, "all", "*.local", limit(8))}, 8},
		{nil, policy.Unlimited},
	} {
		next := view(v, tt.objects...)
		changed := translate.Deps(v, next)
		for _, s := range []model.Name{{Namespace: "a", Name: "one"}, {Namespace: "b", Name: "two"}} {
			k := translate.KeyFor(translate.ClusterType, translate.ClusterName(s, 80, ""), translate.Node{Client: model.Client{Namespace: "c"}})
			if r := translate.Generate(v, k); !slices.ContainsFunc(r.Deps, func(d translate.Dep) bool { return slices.Contains(changed, d) }) {
				t.Errorf("step %d: the cluster of %s is not made anew: it depends on %v, changed is %v", step, s, r.Deps, changed)
			}
			c := translate.Generate(next, k).Resources[0].Message.(*clusterv3.Cluster)
			if got := c.GetCircuitBreakers().GetThresholds()[0].GetMaxConnections().GetValue(); got != tt.want {
				t.Errorf("step %d: %s: %d connections, want %d", step, s, got, tt.want)
			}
		}
		v = next
	}
}

// TestRateBudget: a budget over a time is told in our words too, one at a time
// in Envoy's alone.
func TestRateBudget(t *testing.T) {
	e := &policy.Effective{Destination: policy.Destination{RetryBudget: &routing.Budget{
		Percent:      policy.Value[float64]{Value: 25, Origin: policy.Origin{Default: "x"}},
		MinPerSecond: policy.Value[uint32]{Value: 3, Origin: policy.Origin{Default: "x"}},
		Interval:     policy.Value[time.Duration]{Value: time.Hour, Origin: policy.Origin{Default: "x"}},
	}}}
	b := translate.Breaker(e).GetRetryBudget()
	if b.GetRatio() != 0.25 || b.GetMinPerSecond() != 3 || b.GetTtl().AsDuration() != time.Minute {
		t.Errorf("%v", b)
	}
	e.RetryBudget.MinPerSecond, e.RetryBudget.MinConcurrent = policy.Value[uint32]{}, policy.Value[uint32]{Value: 3, Origin: policy.Origin{Default: "x"}}
	if b := translate.Breaker(e).GetRetryBudget(); b != nil {
		t.Errorf("%v", b)
	}
}

// TestTimedBreaker: our proxies are told in our words of what Envoy is told in
// its own, defaults included.
func TestTimedBreaker(t *testing.T) {
	of := func(o *networkingv1.OutlierDetection) *breakerv1.Breaker {
		w := model.Build(nil, []source.Object{
			plainService("a", "one"), destinationRule("a", "r", "one", &networkingv1.TrafficPolicy{OutlierDetection: o}),
		})
		e, err := policy.Build(nil, w).Effective(model.Client{Namespace: "c"}, model.Name{Namespace: "a", Name: "one"}, 80, "")
		if err != nil {
			t.Fatal(err)
		}
		return translate.Breaker(e)
	}
	b := of(&networkingv1.OutlierDetection{})
	if len(b.GetDetectors()) != 1 || b.GetDetectors()[0].GetConsecutive().GetFailures() != 5 {
		t.Errorf("Envoy's default is 5 in a row: %v", b.GetDetectors())
	}
	r := b.GetRecovery()
	if r.GetMode() != breakerv1.Recovery_TIMED || r.GetBackoff() != breakerv1.Recovery_LINEAR ||
		r.GetMin().AsDuration() != 30*time.Second || r.GetMax().AsDuration() != 300*time.Second || r.GetJitter() != 0 {
		t.Errorf("recovery %v", r)
	}
	if b.GetSweepInterval().AsDuration() != 10*time.Second || b.GetGuards().GetMaxEjectionPercent().GetValue() != 10 ||
		b.GetGuards().GetPanicThreshold() != 0 || b.GetFailFast().AsDuration() != 0 ||
		!slices.Equal(b.GetClassification().GetGrpcFailures(), []uint32{2, 4, 12, 13, 14, 15}) || b.GetClassification().GetFailures() != nil {
		t.Errorf("%v", b)
	}
	for codes, want := range map[[2]uint32][]uint32{{503, 429}: {8, 14}, {418, 418}: {1}} {
		b := of(&networkingv1.OutlierDetection{OutlierDetectionHttpErrorCodes: codes[:]})
		if got := b.GetClassification().GetGrpcFailures(); !slices.Equal(got, want) {
			t.Errorf("%v: codes of gRPC %v, want %v", codes, got, want)
		}
	}
	b = of(&networkingv1.OutlierDetection{
		Consecutive_5XxErrors: wrapperspb.UInt32(0), ConsecutiveGatewayErrors: wrapperspb.UInt32(3),
		SplitExternalLocalOriginErrors: true, ConsecutiveLocalOriginFailures: wrapperspb.UInt32(0),
		BaseEjectionTime: durationpb.New(time.Hour), Interval: durationpb.New(time.Second), MaxEjectionPercent: 100, MinHealthPercent: 40,
	})
	if d := b.GetDetectors(); len(d) != 2 || d[0].GetConsecutiveGateway().GetFailures() != 3 || d[1].GetConsecutiveLocalOrigin().GetFailures() != 5 {
		t.Errorf("a 0 switches off, and of local failures is unset: %v", d)
	}
	if r := b.GetRecovery(); r.GetMax().AsDuration() != time.Hour || b.GetGuards().GetPanicThreshold() != 40 || !b.GetClassification().GetSplitLocalOrigin() {
		t.Errorf("%v", b)
	}
}
