package gateway_test

import (
	"regexp"
	"slices"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/dialect/gateway"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/routing"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// FuzzRoutes holds rules to what everybody after them relies on, whatever the
// routes are: they do one thing, their names are their own, their regular
// expressions compile, and a proxy can make their edits.
func FuzzRoutes(f *testing.F) {
	f.Add(httpRoute("a", "", "  hostnames: [\"*.b.com\"]\n", precedence[0], precedence[5], precedence[12]))
	f.Add(grpc(of("shop", "g", "", "  - {matches: [{method: {method: A}}], backendRefs: [{name: web, port: 80, weight: 0}]}\n")))
	f.Add(of("shop", "r", "", "  - {filters: [{type: RequestRedirect, requestRedirect: {port: 80}}, {type: ExtensionRef}]}\n"+
		"  - name: a\n    matches: [{path: {type: RegularExpression, value: a(}}]\n    timeouts: {request: 1s}\n    retry: {codes: [500]}\n"))
	f.Add("apiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XBackendTrafficPolicy\nmetadata: {name: p, namespace: shop}\n" +
		"spec: {targetRefs: [{group: \"\", kind: Service, name: web}], retryConstraint: {budget: {percent: 3}, minRetryRate: {count: 1, interval: 1h}}}\n")
	f.Fuzz(func(t *testing.T, doc string) {
		var objects []source.Object
		seen := map[source.Key]bool{}
		for _, text := range []string{services, doc} {
			parts, lines := source.Split([]byte(text))
			for i := range parts {
				for _, o := range (&source.Decoder{}).Decode(parts[i], lines[i]).Objects {
					if !seen[o.Key] {
						objects, seen[o.Key] = append(objects, o), true
					}
				}
			}
		}
		w := model.Build(nil, objects)
		for _, o := range objects {
			gateway.Check(w, o)
			for _, s := range gateway.Status(w, o) {
				if len(s.Conditions) < 2 {
					t.Errorf("%s has the conditions %v only", o, s.Conditions)
				}
			}
		}
		if b, _, ok := gateway.Budget(w, model.Name{Namespace: "shop", Name: "web"}); ok && (b.Percent.Value < 0 || b.Percent.Value > 100 || b.Interval.Value <= 0) {
			t.Errorf("budget %+v", b)
		}
		if w.Service("shop", "web") == nil || w.Service("shop", "web").Port(80) == nil {
			return // it has been written over
		}
		a := ask(w, "shop", 80)
		if a.Speaks != (len(a.Rules) > 0) {
			t.Errorf("it speaks: %v, with %d rules", a.Speaks, len(a.Rules))
		}
		var names []string
		for i := range a.Rules {
			checkRule(t, &a.Rules[i])
			if slices.Contains(names, a.Rules[i].Name) {
				t.Errorf("two rules have the name %s", a.Rules[i].Name)
			}
			names = append(names, a.Rules[i].Name)
		}
	})
}

func checkRule(t *testing.T, r *routing.Rule) {
	t.Helper()
	n := 0
	for _, there := range []bool{len(r.Backends) > 0, r.Redirect != nil, r.Direct != nil} {
		if there {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%s does %d things", r.Name, n)
	}
	for _, p := range r.Match.Paths {
		if p.Kind == routing.PathRegex {
			regexp.MustCompile(p.Value)
		}
	}
	for _, h := range r.Match.Headers {
		if h.Kind == routing.Regex {
			regexp.MustCompile(h.Value)
		}
	}
	for i := range r.RequestHeaders {
		if why := r.RequestHeaders[i].Refused(false); why != "" {
			t.Errorf("%s: %s", r.Name, why)
		}
	}
	if r.Redirect != nil && (r.Redirect.Status.Value < 301 || r.Redirect.Status.Value > 308) {
		t.Errorf("%s: status %d", r.Name, r.Redirect.Status.Value)
	}
	for i := range r.Mirrors {
		if p := r.Mirrors[i].Percent.Value; p < 0 || p > 100 || r.Mirrors[i].Invalid != "" {
			t.Errorf("%s: mirror %+v", r.Name, r.Mirrors[i])
		}
	}
}
