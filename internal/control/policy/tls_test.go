package policy

import (
	"strings"
	"testing"

	networkingv1 "istio.io/api/networking/v1"
	typev1beta1 "istio.io/api/type/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// rule is a DestinationRule for shop/api whose SNI tells who it is.
func rule(namespace, name string, change ...func(*networkingv1.DestinationRule)) source.Object {
	spec := &networkingv1.DestinationRule{
		Host: "api.shop.svc.cluster.local",
		TrafficPolicy: &networkingv1.TrafficPolicy{Tls: &networkingv1.ClientTLSSettings{
			Mode: networkingv1.ClientTLSSettings_SIMPLE, Sni: namespace + "-" + name,
		}},
	}
	for _, c := range change {
		c(spec)
	}
	return source.Object{
		Key:    source.Key{Kind: source.DestinationRule, Namespace: namespace, Name: name},
		Value:  &source.IstioDestinationRule{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: spec},
		Origin: &source.Origin{Source: "file", File: "rule.yaml", Line: 1, Fields: map[string]int{}},
	}
}

func exportTo(to ...string) func(*networkingv1.DestinationRule) {
	return func(r *networkingv1.DestinationRule) { r.ExportTo = to }
}

func bare(r *networkingv1.DestinationRule) { r.TrafficPolicy = nil }

func forSome(r *networkingv1.DestinationRule) {
	r.WorkloadSelector = &typev1beta1.WorkloadSelector{MatchLabels: map[string]string{"a": "b"}}
}

// TestGoverning follows Istio's order of namespaces.
func TestGoverning(t *testing.T) {
	for name, tt := range map[string]struct {
		rules []source.Object
		want  string // client=SNI, for clients web, shop and other
	}{
		"none":                        {nil, "web= shop= other="},
		"the service's namespace":     {[]source.Object{rule("shop", "a")}, "web=shop-a shop=shop-a other=shop-a"},
		"the client's before it":      {[]source.Object{rule("shop", "a"), rule("web", "b")}, "web=web-b shop=shop-a other=shop-a"},
		"the root last":               {[]source.Object{rule(RootNamespace, "a"), rule("web", "b")}, "web=web-b shop=istio-system-a other=istio-system-a"},
		"private to its namespace":    {[]source.Object{rule("shop", "a", exportTo("."))}, "web= shop=shop-a other="},
		"exported to some only":       {[]source.Object{rule("shop", "a", exportTo("web"))}, "web=shop-a shop= other="},
		"exported to all":             {[]source.Object{rule("shop", "a", exportTo("*"))}, "web=shop-a shop=shop-a other=shop-a"},
		"a third's is nobody's":       {[]source.Object{rule("third", "a")}, "web= shop= other="},
		"the first with a policy":     {[]source.Object{rule("shop", "b"), rule("shop", "c"), rule("shop", "a", bare)}, "web=shop-b shop=shop-b other=shop-b"},
		"one without a policy":        {[]source.Object{rule("web", "a", bare), rule("shop", "b")}, "web= shop=shop-b other=shop-b"},
		"for some workloads only":     {[]source.Object{rule("web", "a", forSome), rule("shop", "b")}, "web=shop-b shop=shop-b other=shop-b"},
		"a private one of the root's": {[]source.Object{rule(RootNamespace, "a", exportTo("."))}, "web= shop= other="},
	} {
		tab := Build(nil, model.Build(nil, append(tt.rules, service(nil))))
		var got []string
		for _, client := range []string{"web", "shop", "other"} {
			e, err := tab.Effective(model.Client{Namespace: client}, model.Name{Namespace: "shop", Name: "api"}, 80, "")
			if err != nil {
				t.Fatal(err)
			}
			sni := ""
			if e.TLS != nil {
				sni = e.TLS.SNI.Value
			}
			got = append(got, client+"="+sni)
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s: %s, want %s", name, text, tt.want)
		}
	}
}

// TestRuleChanges wants a change of a rule to be one of its service, and of no
// other.
func TestRuleChanges(t *testing.T) {
	other := service(nil)
	other.Key.Name = "other"
	objects := []source.Object{service(nil), other}
	names := []model.Name{{Namespace: "shop", Name: "api"}, {Namespace: "shop", Name: "other"}}
	w := model.Build(nil, objects)
	tab := Build(nil, w)
	for step, o := range []source.Object{rule("web", "a"), rule("web", "a", bare), rule("web", "a")} {
		w = model.Build(w, append([]source.Object{o}, objects...))
		next := Build(tab, w)
		if changed := Changed(tab, next, names); len(changed) != 1 || changed[0].Name != "api" {
			t.Errorf("step %d: changed %v", step, changed)
		}
		tab = next
	}
	gone := Build(tab, model.Build(w, objects))
	if changed := Changed(tab, gone, names); len(changed) != 1 {
		t.Errorf("gone: changed %v", changed)
	}
	if e := effective(t, gone); e.TLS != nil {
		t.Errorf("gone: %+v", e.TLS)
	}
}

func TestTLSDefaults(t *testing.T) {
	with := func(tls *networkingv1.ClientTLSSettings) *TLS {
		o := rule("shop", "a", func(r *networkingv1.DestinationRule) { r.TrafficPolicy.Tls = tls })
		return effective(t, Build(nil, model.Build(nil, []source.Object{o, service(nil)}))).TLS
	}
	simple := with(&networkingv1.ClientTLSSettings{Mode: networkingv1.ClientTLSSettings_SIMPLE, SubjectAltNames: []string{""}})
	if simple.SNI.Value != "api.shop.svc.cluster.local" || len(simple.SubjectAltNames.Value) != 1 || simple.SubjectAltNames.Value[0] != simple.SNI.Value {
		t.Errorf("without names the one that is sent must be verified: %+v", simple)
	}
	if simple.SubjectAltNames.Origin.Default == "" || simple.CACertificates.Value != "" || simple.Insecure.Value || simple.PrivateKey.Value != "" {
		t.Errorf("%+v", simple)
	}
	for _, mode := range []networkingv1.ClientTLSSettings_TLSmode{networkingv1.ClientTLSSettings_DISABLE, networkingv1.ClientTLSSettings_ISTIO_MUTUAL} {
		off := with(&networkingv1.ClientTLSSettings{Mode: mode, Sni: "x"})
		if off.On() || string(off.Mode.Value) != mode.String() || off.Mode.Origin.Where != "rule.yaml:1" || len(off.leaves()) != 1 {
			t.Errorf("%s: %+v", mode, off)
		}
	}
	if with(nil) != nil {
		t.Error("a policy without TLS says something of it")
	}
}
