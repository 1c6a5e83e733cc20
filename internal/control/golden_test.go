package control_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"
)

var update = flag.Bool("update", false, "write what the goldens should be")

// TestGolden reads the manifests of each testdata/*.txtar, asks what its file
// "ask" asks, line by line, and compares the answers with its file "want".
func TestGolden(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	must(t, err)
	if len(names) == 0 {
		t.Fatal("no goldens")
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			must(t, err)
			dir := t.TempDir()
			var ask, want *txtar.File
			for i := range a.Files {
				switch f := &a.Files[i]; f.Name {
				case "ask":
					ask = f
				case "want":
					want = f
				default:
					must(t, os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600))
				}
			}
			t.Chdir(dir) // so that paths in answers are short
			off, err := control.Read([]string{"."})
			must(t, err)
			var got bytes.Buffer
			for line := range strings.Lines(string(ask.Data)) {
				line = strings.TrimSpace(line)
				fmt.Fprintf(&got, "## %s\n", line)
				answer(t, &got, off, strings.Fields(line))
			}
			if diff := cmp.Diff(string(want.Data), got.String()); diff != "" && !*update {
				t.Errorf("%s (-want +got; -update to accept):\n%s", name, diff)
			}
			want.Data = got.Bytes()
			updated[name] = txtar.Format(a)
		})
	}
	if *update {
		for name, data := range updated {
			must(t, os.WriteFile(name, data, 0o644))
		}
	}
}

var updated = map[string][]byte{}

func answer(t *testing.T, w *bytes.Buffer, off *control.Offline, ask []string) {
	t.Helper()
	view := translate.View{World: off.World, Policy: off.Policy}
	resources := func(k translate.Key) { resources(t, w, view, k) }
	switch ask[0] {
	case "lint":
		must(t, lint.WriteText(w, off.Findings))
	case "policy", "linkerd":
		onePolicy(t, w, off, ask[1], ask[2], ask[3], ask[0] == "linkerd")
	case "routes":
		routes(t, w, off, ask[1], ask[2], ask[3])
	case "effective":
		effective(t, w, off, ask[1:])
	case "places":
		places(t, w, off, ask[1], ask[2], ask[3:])
	case "outlier":
		outliers(t, w, off, ask[1], ask[2:])
	case "protocols":
		protocols(t, w, off, model.Name{Namespace: ask[1], Name: ask[2]})
	case "listeners":
		n := nodeOf(ask[1])
		if len(ask) > 2 {
			n.Publish = ask[2]
		}
		if len(ask) > 3 && ask[3] == "envoy" {
			n.Shape = translate.Envoy
		}
		resources(translate.KeyFor(translate.ListenerType, "*", n))
	case "host":
		resources(translate.KeyFor(translate.HostType, ask[2], nodeOf("x."+ask[1])))
	case "cluster":
		resources(translate.KeyFor(translate.ClusterType, ask[2], nodeOf(ask[1])))
	case "endpoints":
		resources(translate.KeyFor(translate.EndpointType, ask[1], translate.Node{}))
	case "status":
		status(t, w, off, source.Key{Kind: source.Kind(ask[1]), Namespace: ask[2], Name: ask[3]})
	case "budget":
		budget(t, w, off, model.Name{Namespace: ask[1], Name: ask[2]})
	default:
		t.Fatalf("unknown question %q", ask)
	}
}

// nodeOf is a proxy by its id, POD.NAMESPACE.
func nodeOf(id string) translate.Node {
	pod, ns, _ := strings.Cut(id, ".")
	return translate.Node{Pod: model.Name{Namespace: ns, Name: pod}, Client: model.Client{Namespace: ns}}
}

// resources writes what a key stands for, as YAML, and has Envoy's rules say
// whether it would take it.
func resources(t *testing.T, w *bytes.Buffer, view translate.View, k translate.Key) {
	t.Helper()
	r := translate.Generate(view, k)
	if len(r.Resources) == 0 {
		fmt.Fprintln(w, "(none)")
	}
	for _, res := range r.Resources {
		if err := validate(res.Message); err != nil {
			t.Errorf("%s: Envoy would refuse it: %v", res.Name, err)
		}
		raw, err := protojson.Marshal(res.Message)
		must(t, err)
		y, err := yaml.JSONToYAML(raw)
		must(t, err)
		fmt.Fprintf(w, "%s:\n", res.Name)
		for line := range strings.Lines(string(y)) {
			w.WriteString("  " + line)
		}
	}
}

// onePolicy writes the policy of a port of a service for callers of its
// namespace, as text, or what Linkerd would show of it.
func onePolicy(t *testing.T, w *bytes.Buffer, off *control.Offline, namespace, service, number string, asLinkerd bool) {
	t.Helper()
	port, err := strconv.ParseUint(number, 10, 16)
	must(t, err)
	e, err := off.Policy.Effective(model.Client{Namespace: namespace}, model.Name{Namespace: namespace, Name: service}, uint16(port), "")
	if err != nil {
		fmt.Fprintln(w, err)
		return
	}
	if !asLinkerd {
		must(t, e.WriteText(w))
		return
	}
	raw, err := json.Marshal(policy.LinkerdJSON(e))
	must(t, err)
	kind, accruals := linkerdKind(t, raw)
	fmt.Fprintln(w, "protocol "+kind)
	if len(accruals) == 2 && !bytes.Equal(accruals[0], accruals[1]) {
		t.Error("the accruals of HTTP/1 and HTTP/2 differ")
	}
	if len(accruals) == 0 || accruals[0] == nil {
		fmt.Fprintln(w, "(no failure_accrual)")
		return
	}
	must(t, json.Indent(w, accruals[0], "", "  "))
	w.WriteByte('\n')
}

// linkerdKind is the kind of protocol in a policy as Linkerd shows it, and the
// accruals in it.
func linkerdKind(t *testing.T, raw []byte) (kind string, accruals []json.RawMessage) {
	t.Helper()
	type http struct {
		A json.RawMessage `json:"failure_accrual"`
	}
	var doc struct {
		Protocol struct {
			Kind struct {
				Opaque *struct{}
				H1     *http `json:"Http1"`
				H2     *http `json:"Http2"`
				Detect *struct{ HTTP1, HTTP2 http }
			}
		}
	}
	must(t, json.Unmarshal(raw, &doc))
	switch k := doc.Protocol.Kind; {
	case k.Opaque != nil:
		return "Opaque", nil
	case k.H1 != nil:
		return "Http1", []json.RawMessage{k.H1.A}
	case k.H2 != nil:
		return "Http2", []json.RawMessage{k.H2.A}
	default:
		return "Detect", []json.RawMessage{k.Detect.HTTP1.A, k.Detect.HTTP2.A}
	}
}

// protocols shows what is spoken on each port of a service.
func protocols(t *testing.T, w *bytes.Buffer, off *control.Offline, service model.Name) {
	t.Helper()
	s := off.World.Service(service.Namespace, service.Name)
	for i := range s.Ports {
		e, err := off.Policy.Effective(model.Client{Namespace: service.Namespace}, service, s.Ports[i].Number, "")
		must(t, err)
		fmt.Fprintf(w, "%d: %s, %s\n", s.Ports[i].Number, e.Protocol.Value, e.Protocol.Origin)
	}
}

// validate applies the rules that Envoy's protos carry, also inside of what is
// packed into an Any, which ValidateAll leaves out.
func validate(m proto.Message) error {
	if a, ok := m.(*anypb.Any); ok {
		inner, err := a.UnmarshalNew()
		if err != nil {
			return err
		}
		return validate(inner)
	}
	var errs []error
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		errs = append(errs, v.ValidateAll())
	}
	visit := func(v protoreflect.Value) {
		errs = append(errs, validate(v.Message().Interface()))
	}
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				visit(v)
				return true
			})
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				visit(v.List().Get(i))
			}
		default:
			visit(v)
		}
		return true
	})
	return errors.Join(errs...)
}

// TestValidateLooksInside holds the check above to what it is for.
func TestValidateLooksInside(t *testing.T) {
	wrong, err := anypb.New(&tcpv3.TcpProxy{}) // without stat_prefix and cluster
	must(t, err)
	l := &listenerv3.Listener{DefaultFilterChain: &listenerv3.FilterChain{Filters: []*listenerv3.Filter{{
		Name: "tcp", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: wrong},
	}}}}
	if err := l.ValidateAll(); err != nil {
		t.Fatalf("the outside is right: %v", err)
	}
	if validate(l) == nil {
		t.Error("a wrong filter inside of a listener is not seen")
	}
}
