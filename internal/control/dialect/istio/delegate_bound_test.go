package istio

import (
	"fmt"
	"testing"

	networkingv1alpha3 "istio.io/api/networking/v1alpha3"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reclosermesh/recloser/internal/control/source"
)

// The matches of a rule and those of its delegate multiply.
func TestMergeIsBounded(t *testing.T) {
	rule := func(name, header string, n int) written {
		r := &httpRoute{}
		for i := range n {
			r.Match = append(r.Match, &httpMatch{Headers: map[string]*textMatch{
				fmt.Sprintf("%s-%d", header, i): {MatchType: &networkingv1alpha3.StringMatch_Exact{Exact: "x"}},
			}})
		}
		o := &source.IstioVirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}}
		return written{source.Object{Key: source.Key{Kind: source.VirtualService, Namespace: "n", Name: name}, Value: o}, "spec.http[0]", r}
	}
	q := &question{}
	if got, ok := q.merge(rule("root", "a", 300), rule("leaf", "b", 300)); ok || len(q.losers) != 1 {
		t.Errorf("%d matches, losers %v", len(got), q.losers)
	}
	q = &question{}
	if got, ok := q.merge(rule("root", "a", 30), rule("leaf", "b", 30)); !ok || len(got) != 900 || len(q.losers) != 0 {
		t.Errorf("%d matches, losers %v", len(got), q.losers)
	}
}
