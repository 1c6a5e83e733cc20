package convert

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkConvert is a mesh of 500 services in 10 namespaces, every tenth with
// a VirtualService: what a conversion costs grows with services times
// namespaces.
func BenchmarkConvert(b *testing.B) {
	var m strings.Builder
	for i := range 500 {
		ns := fmt.Sprintf("n%d", i%10)
		fmt.Fprintf(&m, "---\napiVersion: v1\nkind: Service\nmetadata: {name: s%d, namespace: %s}\nspec: {ports: [{name: http, port: 80}]}\n", i, ns)
		if i%10 == 0 {
			fmt.Fprintf(&m, "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: s%d, namespace: %s}\nspec: {hosts: [s%d], http: [{match: [{uri: {prefix: /a}}], timeout: 1s, route: [{destination: {host: s%d}}]}]}\n", i, ns, i, i)
		}
	}
	w, table, _ := read(b, m.String())
	for b.Loop() {
		if _, err := Convert(w, table, Options{To: GatewayAPI}); err != nil {
			b.Fatal(err)
		}
	}
}
