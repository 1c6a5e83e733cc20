package policy

import (
	"fmt"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// BenchmarkEffective is the policy of one port where so many rules of other
// services are around, of which some fit all.
func BenchmarkEffective(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		objects := []source.Object{
			service(nil), drule(RootNamespace, "wide", "*.local", 1), drule("shop", "api", "api", 2, withSubset("v1", "1", 3)),
		}
		for i := range n {
			objects = append(objects, drule("other", fmt.Sprint("r", i), fmt.Sprint("s", i), 4))
		}
		tab := Build(nil, model.Build(nil, objects))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tab.Effective(model.Client{Namespace: "web"}, model.Name{Namespace: "shop", Name: "api"}, 80, "v1"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
