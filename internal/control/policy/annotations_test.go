package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// service is shop/api with annotations and one port.
func service(annotations map[string]string) source.Object {
	return source.Object{
		Key: source.Key{Kind: source.Service, Namespace: "shop", Name: "api"},
		Value: &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "api", Annotations: annotations},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
		},
		Origin: &source.Origin{Source: "file", File: "api.yaml", Line: 1, Fields: map[string]int{}},
	}
}

func effective(t *testing.T, tab *Table) *Effective {
	t.Helper()
	e, err := tab.Effective(model.Client{Namespace: "shop"}, model.Name{Namespace: "shop", Name: "api"}, 80, "")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func on(mode string, more ...string) map[string]string {
	m := map[string]string{accrual: mode}
	for i := 0; i < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return m
}

// TestDefaults are those of reference: 7, 1s, 1m, 0.5; 0.8, 10s, 5; 3s.
func TestDefaults(t *testing.T) {
	for _, mode := range []string{ModeConsecutive, ModeUnified} {
		e := effective(t, Build(nil, model.Build(nil, []source.Object{service(on(mode))})))
		b := e.Breaker
		if b.MaxFailures.Value != 7 || b.MinPenalty.Value != time.Second || b.MaxPenalty.Value != time.Minute || b.Jitter.Value != 0.5 {
			t.Errorf("%s: %+v", mode, b)
		}
		if e.FailFast.Value != 3*time.Second || e.MaxWaiting.Value != 10_000 || e.Balancer.Value != PeakEWMA {
			t.Errorf("%s: %+v", mode, e)
		}
		if b.MaxFailures.Origin.Default != "Linkerd" || b.Mode.Origin.Field != source.AnnotationPath(accrual) {
			t.Errorf("%s: origins %+v, %+v", mode, b.MaxFailures.Origin, b.Mode.Origin)
		}
		if (b.SuccessRate != nil) != (mode == ModeUnified) || b.RateOnly != (mode == ModeUnified) {
			t.Fatalf("%s: success rate %+v", mode, b.SuccessRate)
		}
		if s := b.SuccessRate; s != nil && (s.Threshold.Value != 0.8 || s.Window.Value != 10*time.Second || s.MinRequests.Value != 5) {
			t.Errorf("%s: %+v", mode, s)
		}
	}
	if e := effective(t, Build(nil, model.Build(nil, []source.Object{service(nil)}))); e.Breaker != nil || e.BreakerOff.Default == "" {
		t.Errorf("without an annotation: %+v", e)
	}
}

// TestValues has every annotation with what it may and may not be. A wrong one
// names the annotation, the value, and what is allowed.
func TestValues(t *testing.T) {
	for _, c := range []struct {
		annotations map[string]string
		code        string // "": no finding
		annotation  string // that the finding names
		warning     bool
	}{
		{on("consecutive"), "", "", false},
		{on("unified"), "", "", false},
		{on(""), "unknown-mode", accrual, false},
		{on("Consecutive"), "unknown-mode", accrual, false},
		{on("sometimes"), "unknown-mode", accrual, false},

		{on("consecutive", maxFailures, "1"), "", "", false},
		{on("consecutive", maxFailures, " 9 "), "", "", false}, // Linkerd trims
		{on("consecutive", maxFailures, "4294967295"), "", "", false},
		{on("consecutive", maxFailures, "4294967296"), "bad-number", maxFailures, false},
		{on("consecutive", maxFailures, "-1"), "bad-number", maxFailures, false},
		{on("consecutive", maxFailures, "7.0"), "bad-number", maxFailures, false},
		{on("consecutive", maxFailures, ""), "bad-number", maxFailures, false},
		{on("consecutive", maxFailures, "0"), "never-trips", maxFailures, true},
		{on("unified", maxFailures, "0"), "", "", false},
		{on("unified", maxFailures, "0", rate, "0"), "never-trips", maxFailures, true},

		{on("consecutive", minPenalty, "60s"), "", "", false},
		{on("consecutive", minPenalty, "61s"), "min-over-max", minPenalty, false},
		{on("consecutive", minPenalty, "0"), "zero-penalty", minPenalty, false},
		{on("consecutive", minPenalty, "1.5s"), "bad-duration", minPenalty, false},
		{on("consecutive", minPenalty, "5"), "bad-duration", minPenalty, false},
		{on("consecutive", minPenalty, "-5s"), "bad-duration", minPenalty, false},
		{on("consecutive", minPenalty, "1m30s"), "bad-duration", minPenalty, false},
		{on("consecutive", minPenalty, "1w"), "bad-duration", minPenalty, false},
		{on("consecutive", minPenalty, "s"), "bad-duration", minPenalty, false},
		{on("consecutive", minPenalty, "999999999999999999d"), "bad-duration", minPenalty, false},
		{on("consecutive", maxPenalty, "500ms"), "min-over-max", maxPenalty, false},
		{on("consecutive", maxPenalty, "0s"), "zero-penalty", maxPenalty, false},
		{on("consecutive", minPenalty, "2h", maxPenalty, "1d"), "", "", false},

		{on("consecutive", jitterRatio, "0"), "", "", false},
		{on("consecutive", jitterRatio, "100"), "", "", false},
		{on("consecutive", jitterRatio, "100.1"), "bad-number", jitterRatio, false},
		{on("consecutive", jitterRatio, "-0.1"), "bad-number", jitterRatio, false},
		{on("consecutive", jitterRatio, "NaN"), "bad-number", jitterRatio, false},
		{on("consecutive", jitterRatio, "inf"), "bad-number", jitterRatio, false},
		{on("consecutive", jitterRatio, "half"), "bad-number", jitterRatio, false},

		{on("unified", rate, "0"), "", "", false},
		{on("unified", rate, "1.0"), "", "", false},
		{on("unified", rate, "1.1"), "bad-number", rate, false},
		{on("unified", rate, "80%"), "bad-number", rate, false},
		{on("unified", rateWindow, "10ms"), "", "", false},
		{on("unified", rateWindow, "9ms"), "window-too-short", rateWindow, false},
		{on("unified", rateWindow, "9ms", rate, "0"), "", "", false},
		{on("unified", rateWindow, "0", rate, "0"), "window-too-short", rateWindow, false},
		{on("unified", rateMin, "1000000"), "", "", false},
		{on("unified", rateMin, "1000001"), "too-many-requests", rateMin, false},
		{on("unified", rateMin, "1000001", rate, "0"), "", "", false},
		{on("consecutive", rate, "0.9"), "no-effect", rate, true},
		{map[string]string{maxFailures: "3"}, "no-effect", maxFailures, true},

		{map[string]string{failFast: "0"}, "", "", false},
		{map[string]string{failFast: "250ms"}, "", "", false},
		{map[string]string{failFast: "fast"}, "bad-duration", failFast, false},
		{map[string]string{maxWaiting: "0"}, "", "", false},
		{map[string]string{maxWaiting: "many"}, "bad-number", maxWaiting, false},
		{map[string]string{loadBalancer: "random"}, "", "", false},
		{map[string]string{loadBalancer: "peak-ewma"}, "", "", false},
		{map[string]string{loadBalancer: "round-robin"}, "", "", false},
		{map[string]string{loadBalancer: "least-request"}, "", "", false},
		{map[string]string{loadBalancer: "least-requests"}, "unknown-balancer", loadBalancer, false},
		{map[string]string{"balancer.linkerd.io/failure-acrual": "consecutive"}, "unknown-annotation", "balancer.linkerd.io/failure-acrual", true},
		{map[string]string{"balancer.alpha.linkerd.io/penalize-failures": "1s"}, "not-supported", "balancer.alpha.linkerd.io/penalize-failures", true},
		{map[string]string{"config.linkerd.io/opaque-port": "80"}, "unknown-annotation", "config.linkerd.io/opaque-port", true},
		{map[string]string{"config.linkerd.io/admin-port": "80", "config.linkerd.io/inbound-port": "1", "config.linkerd.io/skip-subnets": "x", "config.linkerd.io/proxy-cpu-limit": "1"}, "", "", false},
		{map[string]string{"example.com/anything": "x"}, "", "", false},
	} {
		f := CheckAnnotations(service(c.annotations))
		if c.code == "" {
			if len(f) > 0 {
				t.Errorf("%v: findings %v", c.annotations, f)
			}
			continue
		}
		if len(f) != 1 || f[0].Code != c.code || f[0].Field != source.AnnotationPath(c.annotation) ||
			f[0].Value != c.annotations[c.annotation] || (f[0].Severity == source.Warning) != c.warning {
			t.Errorf("%v: findings %v, want %s of %s", c.annotations, f, c.code, c.annotation)
			continue
		}
		if f[0].Object != "service/api -n shop" || f[0].File != "api.yaml" || !c.warning && f[0].Allowed == "" {
			t.Errorf("%v: the finding does not say enough: %+v", c.annotations, f[0])
		}
	}
}

// TestAllAtOnce: a wrong mode does not hide the other wrong values.
func TestAllAtOnce(t *testing.T) {
	var got []string
	for _, f := range CheckAnnotations(service(on("sometimes", maxFailures, "-3", jitterRatio, "101", rate, "2"))) {
		got = append(got, f.Field)
	}
	for _, a := range []string{accrual, maxFailures, jitterRatio, rate} {
		if !slices.Contains(got, source.AnnotationPath(a)) {
			t.Errorf("%s is not among the findings %v", a, got)
		}
	}
}

// TestLastGood: a bad value keeps the last good policy of that service, and
// says so; a good one later replaces it.
func TestLastGood(t *testing.T) {
	world := model.Build(nil, []source.Object{service(on("consecutive", maxFailures, "4", failFast, "1s", loadBalancer, "random"))})
	table := Build(nil, world)
	step := func(annotations map[string]string) *Effective {
		world = model.Build(world, []source.Object{service(annotations)})
		table = Build(table, world)
		return effective(t, table)
	}
	for range 2 { // the second bad one must not forget the good one
		e := step(on("consecutive", maxFailures, "many", failFast, "x", loadBalancer, "x"))
		if e.Breaker == nil || e.Breaker.MaxFailures.Value != 4 || !e.Breaker.MaxFailures.Origin.Stale || e.Breaker.MinPenalty.Origin.Stale {
			t.Fatalf("breaker %+v", e.Breaker)
		}
		if e.FailFast.Value != time.Second || !e.FailFast.Origin.Stale || e.Balancer.Value != Random {
			t.Errorf("fail-fast %+v, balancer %+v", e.FailFast, e.Balancer)
		}
		if len(e.Findings) != 3 || !strings.Contains(e.Findings[0].Reason, "the last good breaker stays") {
			t.Errorf("findings %v", e.Findings)
		}
	}
	if e := step(on("consecutive", maxFailures, "9")); e.Breaker.MaxFailures.Value != 9 || e.Breaker.MaxFailures.Origin.Stale || len(table.Findings()) != 0 {
		t.Errorf("after it was mended: %+v, %v", e.Breaker, table.Findings())
	}
	if e := step(nil); e.Breaker != nil {
		t.Errorf("after it was taken away: %+v", e.Breaker)
	}
	e := step(on("consecutive", maxFailures, "many"))
	if e.Breaker != nil || !e.BreakerOff.Refused || !strings.Contains(e.Findings[0].Reason, "stays off") {
		t.Errorf("a first bad value: %+v, %v", e, e.Findings)
	}
}

// TestReuse: what did not change is the same pointer, whatever else did.
func TestReuse(t *testing.T) {
	api := service(on("consecutive"))
	world := model.Build(nil, []source.Object{api})
	table := Build(nil, world)
	pod := source.Object{
		Key:   source.Key{Kind: source.Pod, Namespace: "shop", Name: "p"},
		Value: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p"}},
	}
	next := Build(table, model.Build(world, []source.Object{api, pod}))
	if len(Changed(table, next, []model.Name{{Namespace: "shop", Name: "api"}})) != 0 {
		t.Error("a new pod changed a policy")
	}
	if effective(t, table).Breaker != effective(t, next).Breaker {
		t.Error("the breaker was made again")
	}
}
