package lint_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/lint"
)

// BenchmarkCheckPolicy: services of which nothing is said cost nothing; one with
// very many rules costs their comparisons, up to a bound.
func BenchmarkCheckPolicy(b *testing.B) {
	many := func(n int, f func(int) string) string {
		var s strings.Builder
		for i := range n {
			s.WriteString(f(i))
		}
		return s.String()
	}
	service := func(i int) string {
		return fmt.Sprintf("---\napiVersion: v1\nkind: Service\nmetadata: {name: s%d, namespace: demo}\nspec: {ports: [{name: http, port: 80}], selector: {app: s%d}}\n", i, i)
	}
	for _, bb := range []struct{ name, manifests string }{
		{"services=2000,routes=0", many(2000, service)},
		{"services=2000,routes=2000", many(2000, service) + many(2000, func(i int) string {
			return route(fmt.Sprintf("r%d", i), fmt.Sprintf("s%d", i), `{matches: [{path: {value: /x}}], backendRefs: [{name: s0, port: 80}]}`)
		})},
		{"services=1,rules=1000", service(0) + many(100, func(i int) string {
			return route(fmt.Sprintf("r%d", i), "s0", strings.Join(strings.Split(strings.TrimSuffix(many(10, func(j int) string {
				return fmt.Sprintf("{matches: [{path: {value: /x/%d/%d}}], backendRefs: [{name: s0, port: 80}]},", i, j)
			}), ","), ";"), ","))
		})},
	} {
		b.Run(bb.name, func(b *testing.B) {
			w, table := read(b, bb.manifests)
			for b.Loop() {
				lint.CheckPolicy(w, table, nil)
			}
		})
	}
}
