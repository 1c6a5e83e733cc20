package local

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestParseGateway(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Gateway
	}{
		{"8200=checkout:8080", Gateway{netip.MustParseAddrPort("127.0.0.1:8200"), "checkout", "", 8080}},
		{"8200=checkout", Gateway{netip.MustParseAddrPort("127.0.0.1:8200"), "checkout", "", 80}},
		{"127.0.0.9:1=a.shop:2", Gateway{netip.MustParseAddrPort("127.0.0.9:1"), "a", "shop", 2}},
		{"1=a.shop.svc.cluster.local", Gateway{netip.MustParseAddrPort("127.0.0.1:1"), "a", "shop", 80}},
		{"1=a.shop.svc:3", Gateway{netip.MustParseAddrPort("127.0.0.1:1"), "a", "shop", 3}},
	} {
		if got, err := ParseGateway(c.in); got != c.want || err != nil {
			t.Errorf("ParseGateway(%q) = %v, %v; want %v", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{"", "8200", "x=a", "0=a", "8200=", "8200=a:0", "8200=a:x", "8200=a.b.c", "70000=a", "localhost:1=a"} {
		if got, err := ParseGateway(in); err == nil {
			t.Errorf("ParseGateway(%q) = %v, want an error", in, got)
		}
	}
}

func TestGatewayTakesItsNamespaceFromTheOnlyService(t *testing.T) {
	service := func(ns string) string {
		return "---\napiVersion: v1\nkind: Service\nmetadata: {name: bb, namespace: " + ns + "}\nspec: {ports: [{port: 80}]}\n"
	}
	r := newRig(t, service("one"), func(c *Config) {
		c.Gateways = []Gateway{must(ParseGateway(strings.TrimPrefix(freePortOf(t), "127.0.0.1:") + "=bb"))}
	})
	r.await("its proxy runs", func() bool { return strings.Contains(r.lines(), "PUBLISH=") })
	if !strings.Contains(r.lines(), "=bb.one:80") {
		t.Errorf("told\n%s", r.lines())
	}
	two := r.World()
	g := Gateway{Service: "bb"}
	if !g.resolve(two) || g.Namespace != "one" {
		t.Errorf("resolved to %q", g.Namespace)
	}
	r.apply(service("one") + service("two"))
	g = Gateway{Service: "bb"}
	if g.resolve(r.World()) {
		t.Errorf("two services of the name, resolved to %q", g.Namespace)
	}
}

func freePortOf(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestTakenGatewayPortIsToldBeforeAnythingStarts(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	m := New(Config{Gateways: []Gateway{{Listen: ln.Addr().(*net.TCPAddr).AddrPort(), Service: "a"}}})
	if err := m.checkGateways(t.Context()); err == nil || !strings.Contains(err.Error(), ln.Addr().String()) {
		t.Errorf("%v", err)
	}
}
