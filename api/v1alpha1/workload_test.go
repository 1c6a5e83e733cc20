package v1alpha1_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/reclosermesh/recloser/api/v1alpha1"
)

func parse(t *testing.T, spec string) *v1alpha1.Workload {
	t.Helper()
	w := &v1alpha1.Workload{}
	if err := yaml.UnmarshalStrict([]byte("metadata: {name: w}\nspec: "+spec), w); err != nil {
		t.Fatal(err)
	}
	return w
}

// TestValidate: each mistake is told by its field, all of them at once.
func TestValidate(t *testing.T) {
	for spec, want := range map[string][]string{
		`{command: [./w]}`: nil,
		`{command: [./w], ports: [{port: 80}], replicas: 0, readiness: {httpGet: {path: /x}}}`:                                 nil,
		`{command: [./w], ports: [{name: a, port: 80, appProtocol: grpc}, {name: b-1, port: 81}], env: [{name: A, value: x}]}`: nil,
		`{addresses: [10.0.0.1, "10.0.0.2:99"], ports: [{port: 80}]}`:                                                          nil,
		`{addresses: ["[fd00::1]:80"]}`: nil,

		`{}`:              {"spec.command"},
		`{command: [""]}`: {"spec.command[0]"},
		`{command: [a], addresses: ["10.0.0.1:1"]}`:                                                   {"spec.addresses"},
		`{addresses: ["10.0.0.1:1"], args: [a], env: [{name: A}], workingDir: /, replicas: 1}`:        {"spec.args", "spec.env", "spec.workingDir", "spec.replicas"},
		`{command: [a], replicas: -1}`:                                                                {"spec.replicas"},
		`{command: [a], replicas: 1001}`:                                                              {"spec.replicas"},
		`{command: [a], ports: [{port: 0}, {name: b, port: 65536}]}`:                                  {"spec.ports[0].port", "spec.ports[0].name", "spec.ports[1].port"},
		`{command: [a], ports: [{name: a, port: 1}, {name: a, port: 1}]}`:                             {"spec.ports[1].port", "spec.ports[1].name"},
		`{command: [a], ports: [{name: A, port: 1}]}`:                                                 {"spec.ports[0].name"},
		`{command: [a], ports: [{name: "1", port: 1}]}`:                                               {"spec.ports[0].name"},
		`{command: [a], ports: [{name: a--b, port: 1}]}`:                                              {"spec.ports[0].name"},
		`{command: [a], ports: [{port: 1, appProtocol: s mtp}]}`:                                      {"spec.ports[0].appProtocol"},
		`{addresses: [10.0.0.1]}`:                                                                     {"spec.ports"},
		`{addresses: [example.com], ports: [{port: 1}]}`:                                              {"spec.addresses[0]"},
		`{addresses: ["0.0.0.0", "224.0.0.1:1"], ports: [{port: 1}]}`:                                 {"spec.addresses[0]", "spec.addresses[1]"},
		`{addresses: ["10.0.0.1:0"]}`:                                                                 {"spec.addresses[0]"},
		`{addresses: ["10.0.0.1:1", "10.0.0.1:1"]}`:                                                   {"spec.addresses[1]"},
		`{addresses: ["10.0.0.1:1"], ports: [{name: a, port: 1}, {name: b, port: 2}]}`:                {"spec.addresses[0]"},
		`{command: [a], env: [{name: "1A"}, {name: A=B}]}`:                                            {"spec.env[0].name", "spec.env[1].name"},
		`{command: [a], ports: [{port: 1}], readiness: {httpGet: {port: 2, path: x}, tcpSocket: {}}}`: {"spec.readiness", "spec.readiness.httpGet.port", "spec.readiness.httpGet.path"},
		`{command: [a], readiness: {tcpSocket: {}, periodSeconds: -1, timeoutSeconds: 3601, initialDelaySeconds: -1, failureThreshold: 1001}}`: {
			"spec.readiness.tcpSocket.port", "spec.readiness.initialDelaySeconds", "spec.readiness.periodSeconds", "spec.readiness.timeoutSeconds", "spec.readiness.failureThreshold",
		},
	} {
		var got []string
		err := parse(t, spec).Validate()
		if j, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range j.Unwrap() {
				var fe *v1alpha1.FieldError
				if !errors.As(e, &fe) || fe.Allowed == "" {
					t.Errorf("%s: %v does not say what is allowed", spec, e)
					continue
				}
				got = append(got, fe.Field)
			}
		} else if err != nil {
			t.Errorf("%s: %v", spec, err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", spec, got, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	w := parse(t, `{command: [./w, "--at=$(LISTEN_ADDR)"], args: ["$(HELLO)", "$$(PORT)", "$(NONE)", "5$"],
		ports: [{name: http, port: 80}, {name: grpc-web, port: 90}],
		env: [{name: HELLO, value: "$(ADDRESS) $(PORT_GRPC_WEB)"}, {name: PORT, value: "x$(PORT)"}, {name: SELF, value: "$(SELF)$(PORT)"}]}`)
	l := v1alpha1.Listen{Address: "127.1.2.3", Ports: []int32{80, 90}}
	if diff := cmp.Diff([]string{
		"ADDRESS=127.1.2.3", "PORT=x80", "LISTEN_ADDR=127.1.2.3:80", "PORT_HTTP=80", "PORT_GRPC_WEB=90",
		"HELLO=127.1.2.3 90", "SELF=$(SELF)x80",
	}, w.Environment(l)); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"./w", "--at=127.1.2.3:80", "127.1.2.3 90", "$(PORT)", "$(NONE)", "5$"}, w.CommandLine(l)); diff != "" {
		t.Errorf("command line (-want +got):\n%s", diff)
	}
	if got := parse(t, `{command: [a]}`).Environment(v1alpha1.Listen{Address: "::1"}); !slices.Equal(got, []string{"ADDRESS=::1"}) {
		t.Errorf("without ports: %v", got)
	}
	if got := parse(t, `{command: [a], ports: [{port: 1}]}`).Environment(v1alpha1.Listen{Address: "::1", Ports: []int32{1}}); !slices.Contains(got, "LISTEN_ADDR=[::1]:1") {
		t.Errorf("IPv6: %v", got)
	}
	db := v1alpha1.Listen{Address: "::1", Services: []v1alpha1.EnvVar{{Name: "DB_SERVICE_HOST", Value: "127.0.0.9"}, {Name: "DB_SERVICE_PORT", Value: "5432"}}}
	w = parse(t, `{command: [a, "$(DB_SERVICE_PORT)"], env: [{name: DB, value: "$(DB_SERVICE_HOST)"}, {name: DB_SERVICE_PORT, value: "1"}]}`)
	if got := w.Environment(db); !slices.Equal(got, []string{"ADDRESS=::1", "DB_SERVICE_HOST=127.0.0.9", "DB_SERVICE_PORT=1", "DB=127.0.0.9"}) {
		t.Errorf("services: %v", got)
	}
	if got := w.CommandLine(db); !slices.Equal(got, []string{"a", "1"}) {
		t.Errorf("services: %v", got)
	}
}

func TestInstances(t *testing.T) {
	w := parse(t, `{command: [a], template: {metadata: {labels: {app: a, own: template}, annotations: {x: z}}}}`)
	w.Labels = map[string]string{"own": "workload", "more": "m"}
	if diff := cmp.Diff(map[string]string{"app": "a", "own": "template", "more": "m"}, w.InstanceLabels()); diff != "" {
		t.Error(diff)
	}
	if w.InstanceAnnotations()["x"] != "z" || w.Replicas() != 1 {
		t.Errorf("%v, %d", w.InstanceAnnotations(), w.Replicas())
	}
	if n := parse(t, `{addresses: ["1.1.1.1:1", "1.1.1.2:1"]}`).Replicas(); n != 2 {
		t.Errorf("%d replicas", n)
	}
	if n := parse(t, `{command: [a], replicas: 0}`).Replicas(); n != 0 {
		t.Errorf("%d replicas", n)
	}
}

func TestDeepCopy(t *testing.T) {
	w := parse(t, `{command: [a], args: [b], env: [{name: A}], ports: [{port: 1}], replicas: 2, template: {metadata: {labels: {a: b}, annotations: {c: d}}}, readiness: {httpGet: {path: /}}}`)
	c := w.DeepCopy()
	if diff := cmp.Diff(w, c); diff != "" {
		t.Fatal(diff)
	}
	c.Spec.Command[0], c.Spec.Args[0], c.Spec.Env[0].Name, c.Spec.Ports[0].Port, *c.Spec.Replicas = "x", "x", "X", 9, 9
	c.Spec.Template.Metadata.Labels["a"], c.Spec.Template.Metadata.Annotations["c"], c.Spec.Readiness.HTTPGet.Path = "x", "x", "/x"
	if again := parse(t, `{command: [a], args: [b], env: [{name: A}], ports: [{port: 1}], replicas: 2, template: {metadata: {labels: {a: b}, annotations: {c: d}}}, readiness: {httpGet: {path: /}}}`); !cmp.Equal(w, again) {
		t.Error("the copy shares something with the original:", cmp.Diff(again, w))
	}
}

// TestCRD: the schema of the CRD has the fields of the Go type, no more and no
// less, with the same kinds of values.
func TestCRD(t *testing.T) {
	raw, err := os.ReadFile("../crds/recloser.io_workloads.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Metadata struct{ Name string }
		Spec     struct {
			Group    string
			Names    struct{ Kind, Plural string }
			Scope    string
			Versions []struct {
				Name   string
				Schema struct{ OpenAPIV3Schema schema }
			}
		}
	}
	if err := yaml.Unmarshal(raw, &crd); err != nil {
		t.Fatal(err)
	}
	s := crd.Spec
	if s.Group != v1alpha1.Group || s.Names.Kind != v1alpha1.KindWorkload || crd.Metadata.Name != s.Names.Plural+"."+s.Group ||
		s.Scope != "Namespaced" || len(s.Versions) != 1 || s.Versions[0].Name != v1alpha1.Version {
		t.Fatalf("%+v", crd)
	}
	var want, got []string
	fields(reflect.TypeFor[v1alpha1.WorkloadSpec](), "spec", &want)
	spec := s.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	spec.fields("spec", &got)
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-type +CRD:\n%s", diff)
	}
}

type schema struct {
	Type                 string
	Properties           map[string]schema
	Items                *schema
	AdditionalProperties *schema
}

func (s schema) fields(path string, out *[]string) {
	*out = append(*out, path+" "+s.Type)
	for name, p := range s.Properties {
		p.fields(path+"."+name, out)
	}
	if s.Items != nil {
		s.Items.fields(path+"[]", out)
	}
	if s.AdditionalProperties != nil {
		s.AdditionalProperties.fields(path+"{}", out)
	}
}

func fields(t reflect.Type, path string, out *[]string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	names := map[reflect.Kind]string{reflect.Struct: "object", reflect.Map: "object", reflect.Slice: "array", reflect.String: "string", reflect.Int32: "integer"}
	*out = append(*out, fmt.Sprint(path, " ", names[t.Kind()]))
	switch t.Kind() {
	case reflect.Struct:
		for field := range t.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			fields(field.Type, path+"."+name, out)
		}
	case reflect.Slice:
		fields(t.Elem(), path+"[]", out)
	case reflect.Map:
		fields(t.Elem(), path+"{}", out)
	}
}
