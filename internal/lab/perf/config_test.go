package perf

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	_ "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"                                     // named by the resources
	_ "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"                                    // named by the resources
	_ "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"                                    // named by the resources
	_ "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"                                       // named by the resources
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"                     // named by the resources
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3" // named by the resources
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"                          // named by the resources

	_ "github.com/reclosermesh/recloser/api/breaker/v1" // named by the resources
)

// testParams are params of a subject that speaks what t does.
func testParams(tr *traffic, dir string) params {
	return params{
		Dir: dir, Listen: "127.0.0.1:8000", Port: "8000", Admin: "127.0.0.1:8001",
		Upstreams: []string{"127.0.0.1:9000", "127.0.0.2:9000"}, UpstreamPort: "9000",
		Authority: authority, Connections: 128, FrontHTTP2: tr.front == http2, BackHTTP2: tr.back == http2,
	}
}

// TestConfigurations fills every subject's configuration for every traffic.
func TestConfigurations(t *testing.T) {
	for _, tr := range traffics {
		for _, name := range tr.subjects {
			s, p := named(subjects, name), testParams(&tr, t.TempDir())
			args, err := s.prepare(p)
			if err != nil {
				t.Errorf("%s, %s: %v", tr.name, s.name, err)
				continue
			}
			text := strings.Join(args, " ")
			if s.config != "" {
				b, err := os.ReadFile(filepath.Join(p.Dir, s.file))
				if err != nil {
					t.Fatal(err)
				}
				text += string(b)
			}
			for _, want := range []string{"8000", "127.0.0.2", "9000"} {
				if !strings.Contains(text, want) {
					t.Errorf("%s, %s: %s is nowhere in\n%s", tr.name, s.name, want, text)
				}
			}
			if strings.Contains(text, "<no value>") {
				t.Errorf("%s, %s: unfilled: %s", tr.name, s.name, text)
			}
		}
	}
}

// TestResources reads what recloser and Envoy get as the protos that they are.
func TestResources(t *testing.T) {
	for _, tr := range traffics {
		p := testParams(&tr, "")
		text, err := named(subjects, "recloser").configuration(p)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Resources []map[string]any `json:"resources"`
		}
		if err := yaml.Unmarshal([]byte(text), &file); err != nil {
			t.Fatal(err)
		}
		if len(file.Resources) != 4 {
			t.Errorf("%d resources, want a listener, a route configuration, a cluster and its endpoints", len(file.Resources))
		}
		for _, r := range file.Resources {
			b, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if err := protojson.Unmarshal(b, new(anypb.Any)); err != nil {
				t.Errorf("%s, %v: %v", tr.name, r["@type"], err)
			}
		}

		if text, err = named(subjects, "envoy").configuration(p); err != nil {
			t.Fatal(err)
		}
		b, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var envoy bootstrapv3.Bootstrap
		if err := protojson.Unmarshal(b, &envoy); err != nil {
			t.Fatalf("%s, envoy: %v", tr.name, err)
		}
		options := envoy.GetStaticResources().GetClusters()[0].GetTypedExtensionProtocolOptions()
		if (len(options) > 0) != (tr.front == http2) {
			t.Errorf("%s, envoy: protocol options %v", tr.name, options)
		}
	}
}

func TestFillRefuses(t *testing.T) {
	for _, bad := range []string{"{{.Nothing}}", "{{"} {
		if _, err := fill(bad, params{}); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v, want an error that names it", bad, err)
		}
	}
}

func TestFillFunctions(t *testing.T) {
	got, err := fill("{{host .Listen}}|{{indent 2 .Answer}}|{{join .Upstreams \",\"}}", params{Listen: "[::1]:80", Answer: "a\n\nb", Upstreams: []string{"c", "d"}})
	if want := "::1|  a\n\n  b|c,d"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := fill("{{host .Listen}}", params{Listen: "nowhere"}); err == nil {
		t.Error("an address without a port: no error")
	}
}
