package local

import (
	"strings"
	"testing"
)

func TestExampleCallIsOfAServiceThatSpeaksHTTP(t *testing.T) {
	service := func(name, port string) string {
		return "---\napiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: shop}\nspec: {ports: [" + port + "]}\n"
	}
	opaque, raw := service("aaa", "{port: 5432}"), service("bbb", "{name: raw, port: 7001}")
	usual, named := service("ccc", "{port: 8080}"), service("ddd", "{name: tls, port: 443}, {name: http, port: 7002}")
	r := newRig(t, deployment(1, "x")+opaque, nil)
	r.await("ready", r.ready("web", 1))
	for _, c := range []struct{ services, want string }{
		{opaque, ""},
		{opaque + raw, " http://bbb:7001/"},
		{opaque + raw + usual, " http://ccc:8080/"},
		{opaque + raw + usual + named, " http://ddd:7002/"},
	} {
		r.apply(deployment(1, "x") + c.services)
		if got := r.mesh.ExampleCall(); (c.want == "") != (got == "") || !strings.HasSuffix(got, c.want) {
			t.Errorf("%q, want it to end with %q", got, c.want)
		}
	}
}
