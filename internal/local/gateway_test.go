package local

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

func TestParseGateway(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Gateway
	}{
		{"8200=checkout:8080", Gateway{netip.MustParseAddrPort("127.0.0.1:8200"), "checkout", "", 8080}},
		{"8200=checkout", Gateway{netip.MustParseAddrPort("127.0.0.1:8200"), "checkout", "", 0}},
		{"127.0.0.9:1=a.shop:2", Gateway{netip.MustParseAddrPort("127.0.0.9:1"), "a", "shop", 2}},
		{"1=a.shop.svc.cluster.local", Gateway{netip.MustParseAddrPort("127.0.0.1:1"), "a", "shop", 0}},
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
}

// worldOf is the World of a manifest with some Services.
func worldOf(t *testing.T, services ...string) *model.World {
	t.Helper()
	d := &source.Decoder{Source: "test"}
	var objects []source.Object
	for _, s := range services {
		out := d.Decode([]byte("apiVersion: v1\nkind: Service\n"+s), 1)
		if len(out.Problems) > 0 {
			t.Fatal(out.Problems)
		}
		objects = append(objects, out.Objects...)
	}
	return model.Build(nil, objects)
}

const (
	redisService = "metadata: {name: redis, namespace: one}\nspec: {ports: [{port: 6379}]}\n"
	redisOfTwo   = "metadata: {name: redis, namespace: two}\nspec: {ports: [{port: 6379}]}\n"
	webService   = "metadata: {name: web, namespace: one}\nspec: {ports: [{name: admin, port: 9000}, {name: http, port: 80}]}\n"
	wordsService = "metadata: {name: words, namespace: one}\nspec: {ports: [{name: grpc, port: 9090}, {port: 9091}]}\n"
)

func TestGatewayResolves(t *testing.T) {
	w := worldOf(t, redisService, webService, wordsService)
	for in, want := range map[string]string{
		"1=redis":          "redis.one:6379",
		"1=redis.one:6379": "redis.one:6379",
		"1=web":            "web.one:80",
		"1=web:9000":       "web.one:9000",
		"1=words":          "service words has several ports; name one of 9090 (grpc), 9091",
		"1=words:91":       "service words has no port 91; it has 9090 (grpc), 9091",
		"1=redis:80":       "service redis has no port 80; it has 6379",
		"1=nobody":         "there is no service nobody",
		"1=redis.two":      "there is no service redis in namespace two",
	} {
		g := must(ParseGateway(in))
		_, err := g.resolve(w)
		got := fmt.Sprintf("%s.%s:%d", g.Service, g.Namespace, g.Port)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s; want %s", in, got, want)
		}
	}
	g := must(ParseGateway("1=redis"))
	_, err := g.resolve(worldOf(t, redisService, redisOfTwo))
	if err == nil || err.Error() != "there are several services redis; name one of redis.one, redis.two" {
		t.Errorf("two services of the name: %v", err)
	}
}

func TestGatewayToAPortThatIsNotThereIsRefusedAtTheStart(t *testing.T) {
	r := newRig(t, "---\napiVersion: v1\nkind: Service\n"+redisService, nil)
	for service, want := range map[string]string{
		"redis":    "",
		"nobody":   "", // it may come
		"redis:80": "service redis has no port 80; it has 6379",
	} {
		m := New(Config{Worlds: r, Gateways: []Gateway{must(ParseGateway(strings.TrimPrefix(freePortOf(t), "127.0.0.1:") + "=" + service))}})
		err := m.checkGateways(t.Context())
		if (want == "") != (err == nil) || err != nil && !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", service, err)
		}
	}
}

func TestGatewayTellsWhatItWaitsFor(t *testing.T) {
	r := newRig(t, "", func(c *Config) {
		c.Gateways = []Gateway{must(ParseGateway(strings.TrimPrefix(freePortOf(t), "127.0.0.1:") + "=redis"))}
	})
	told := func(reason string) {
		t.Helper()
		r.await("told "+reason, func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return slices.ContainsFunc(r.events, func(e Event) bool {
				return e.Kind == Unpublished && strings.HasPrefix(e.String(), "publish 127.0.0.1:") && strings.HasSuffix(e.String(), "-> redis waits: "+reason)
			})
		})
	}
	told("there is no service redis")
	r.apply("---\napiVersion: v1\nkind: Service\nmetadata: {name: redis}\nspec: {ports: [{port: 1}, {port: 2}]}\n")
	told("service redis has several ports; name one of 1, 2")
	if lines := r.mesh.Published(); len(lines) != 1 || !strings.HasSuffix(lines[0], "-> redis (waits: service redis has several ports; name one of 1, 2)") {
		t.Errorf("published %q", lines)
	}
	r.apply("---\napiVersion: v1\nkind: Service\nmetadata: {name: redis}\nspec: {ports: [{port: 6379}]}\n")
	r.await("its proxy runs", func() bool { return strings.Contains(r.lines(), "=redis.default:6379") })
	if lines := r.mesh.Published(); len(lines) != 1 || !strings.HasSuffix(lines[0], "-> redis.default:6379 (tcp)") {
		t.Errorf("published %q", lines)
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
