package source_test

import (
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/reclosermesh/recloser/api/v1alpha1"
	"github.com/reclosermesh/recloser/internal/control/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func decode(doc string) source.Document {
	return (&source.Decoder{Source: "file", File: "x.yaml"}).Decode([]byte(doc), 1)
}

const head = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"

// TestProblems: each names the field, the value and the line, and the nearest
// name where there is one.
func TestProblems(t *testing.T) {
	for name, c := range map[string]struct {
		doc, code, field, value, mend string
		line                          int
		good                          bool // the object is used nevertheless
	}{
		"unknown field": {doc: head + "spec:\n  slector: {a: b}\n", code: "unknown-field", field: "spec.slector", mend: "did you mean selector?", line: 5, good: true},
		"unknown top":   {doc: head + "sepc: {}\n", code: "unknown-field", field: "sepc", mend: "did you mean spec?", line: 4, good: true},
		"wrong case":    {doc: head + "spec: {clusterip: 10.0.0.1}\n", code: "unknown-field", field: "spec.clusterip", mend: "did you mean clusterIP?", line: 4, good: true},
		"no name like it": {
			doc: head + "spec: {zzz: 1}\n", code: "unknown-field", field: "spec.zzz", line: 4, good: true,
		},
		"text for number":   {doc: head + "spec: {ports: [{port: http}]}\n", code: "wrong-type", field: "spec.ports[0].port", value: "http", line: 4},
		"number for text":   {doc: head + "spec: {selector: {a: 1}}\n", code: "wrong-type", field: `spec.selector["a"]`, value: "1", mend: `put it in quotes: "1"`, line: 4},
		"bool for text":     {doc: head + "spec: {selector: {a: true}}\n", code: "wrong-type", field: `spec.selector["a"]`, value: "true", mend: `put it in quotes: "true"`, line: 4},
		"list for object":   {doc: head + "spec: []\n", code: "wrong-type", field: "spec", value: "[…]", line: 4},
		"object for list":   {doc: head + "spec: {ports: {}}\n", code: "wrong-type", field: "spec.ports", value: "{…}", line: 4},
		"fraction":          {doc: head + "spec: {ports: [{port: 80.5}]}\n", code: "wrong-type", field: "spec.ports[0].port", value: "80.5", line: 4},
		"too large":         {doc: head + "spec: {ports: [{port: 9999999999}]}\n", code: "wrong-type", field: "spec.ports[0].port", value: "9999999999", line: 4},
		"int or string":     {doc: head + "spec: {ports: [{targetPort: 1.5}]}\n", code: "wrong-type", field: "spec.ports[0].targetPort", value: "1.5", line: 4},
		"text for bool":     {doc: head + "spec: {publishNotReadyAddresses: maybe}\n", code: "wrong-type", field: "spec.publishNotReadyAddresses", value: "maybe", line: 4},
		"twice":             {doc: head + "spec: {}\nspec: {}\n", code: "duplicate-key", field: "spec", line: 5},
		"no name":           {doc: "apiVersion: v1\nkind: Service\nmetadata: {}\n", code: "no-name", field: "metadata.name", line: 1},
		"not a name":        {doc: "apiVersion: v1\nkind: Service\nmetadata: {name: a_b}\n", code: "bad-name", field: "metadata.name", value: "a_b", line: 3},
		"not a namespace":   {doc: "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: b.c}\n", code: "bad-name", field: "metadata.namespace", value: "b.c", line: 3},
		"no kind":           {doc: "metadata: {name: a}\n", code: "no-kind", field: "kind", line: 1},
		"unknown kind":      {doc: "apiVersion: v1\nkind: Servce\n", code: "unknown-kind", field: "kind", value: "v1/Servce", mend: "did you mean Service?", line: 1},
		"other version":     {doc: "apiVersion: apps/v1beta2\nkind: Deployment\n", code: "unknown-kind", field: "kind", value: "apps/v1beta2/Deployment", mend: "write apiVersion: apps/v1", line: 1},
		"not an object":     {doc: "- 1\n", code: "not-an-object", value: "[…]", line: 1},
		"not YAML":          {doc: "a: 1\n b: 2\n", code: "syntax", line: 2},
		"tab":               {doc: "a:\n\tb: 1\n", code: "syntax", line: 2},
		"unknown anchor":    {doc: "a: *b\n", code: "syntax", line: 1},
		"merged in itself":  {doc: head + "spec: &s {<<: *s}\n", code: "too-large", field: "spec", line: 4},
		"invalid workload":  {doc: "apiVersion: recloser.io/v1alpha1\nkind: Workload\nmetadata: {name: w}\nspec:\n  command: [x]\n  ports:\n  - port: 0\n", code: "invalid-field", field: "spec.ports[0].port", value: "0", line: 7},
		"quantity":          {doc: "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{resources: {limits: {cpu: fast}}}]}\n", code: "wrong-type", field: `spec.containers[0].resources.limits["cpu"]`, value: "fast", line: 4},
		"workload list":     {doc: "apiVersion: v1\nkind: List\nitems:\n- 1\n", code: "not-an-object", value: "1", line: 4},
		"workload duration": {doc: "apiVersion: recloser.io/v1alpha1\nkind: Workload\nmetadata: {name: w}\nspec: {command: [x], replicas: two}\n", code: "wrong-type", field: "spec.replicas", value: "two", line: 4},
	} {
		t.Run(name, func(t *testing.T) {
			d := decode(c.doc)
			if len(d.Problems) != 1 {
				t.Fatalf("problems %v", d.Problems)
			}
			p := d.Problems[0]
			if p.Code != c.code || p.Field != c.field || p.Line != c.line || p.Mend != c.mend || p.File != "x.yaml" ||
				c.value != "" && p.Value != c.value {
				t.Errorf("problem %+v\nwant %+v", p, c)
			}
			if (len(d.Objects) == 1) != c.good {
				t.Errorf("objects %v", d.Objects)
			}
			if warning := strings.HasPrefix(c.code, "unknown-"); (p.Severity == source.Warning) != warning {
				t.Errorf("severity %s", p.Severity)
			}
		})
	}
}

// TestGood: what Kubernetes takes is taken.
func TestGood(t *testing.T) {
	d := decode(`
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata:
    name: p
    creationTimestamp: 2024-02-21T10:00:00Z
    labels: &l {app: p}
  spec:
    terminationGracePeriodSeconds: 5
    containers:
    - name: c
      image: i
      env: [{name: A, value: "1"}]
      resources: {limits: {cpu: 1, memory: 64Mi}}
      livenessProbe: {httpGet: {path: /, port: 8080}}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: d, labels: {<<: *l, b: c}, creationTimestamp: null}
  spec: {replicas: 2, selector: {matchLabels: *l}, template: {metadata: {labels: *l}, spec: {containers: []}}}
`)
	if len(d.Problems) != 0 || len(d.Objects) != 2 {
		t.Fatalf("%v %v", d.Problems, d.Objects)
	}
	p := d.Objects[0].Value.(*corev1.Pod)
	if p.Namespace != "default" || p.CreationTimestamp.Year() != 2024 || p.Spec.Containers[0].Resources.Limits.Memory().Value() != 64<<20 {
		t.Errorf("pod %+v", p)
	}
	dep := d.Objects[1].Value.(*appsv1.Deployment)
	if dep.Labels["app"] != "p" || dep.Labels["b"] != "c" || *dep.Spec.Replicas != 2 {
		t.Errorf("deployment %+v", dep)
	}
	if o := d.Objects[0].Origin; o.LineOf(`metadata.labels["app"]`) != 10 || o.LineOf("metadata.labels.nothing") != 10 || o.LineOf("zzz") != 5 || o.String() != "x.yaml:5" {
		t.Errorf("origin %+v", o)
	}
	w := decode("apiVersion: recloser.io/v1alpha1\nkind: Workload\nmetadata: {name: w}\nspec: {command: [./w], ports: [{port: 80}]}\n")
	if len(w.Problems) != 0 || w.Objects[0].Value.(*v1alpha1.Workload).Replicas() != 1 {
		t.Errorf("workload %v", w)
	}
}

func TestSplit(t *testing.T) {
	docs, lines := source.Split([]byte("# top\n---\na: |\n  x\n  ---y\n--- # c\nb: 1\n...\n\n---\n---\nc: 1"))
	var got []string
	for _, d := range docs {
		got = append(got, strings.TrimSpace(string(d)))
	}
	if want := []string{"# top", "a: |\n  x\n  ---y", "# c\nb: 1", "c: 1"}; !slices.Equal(got, want) {
		t.Errorf("documents %q, want %q", got, want)
	}
	if want := []int{1, 2, 6, 11}; !slices.Equal(lines, want) {
		t.Errorf("lines %v, want %v", lines, want)
	}
}

// TestManyAliases: a small document must not become a large one.
func TestManyAliases(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports: &a0 [{}, {}, {}, {}, {}, {}, {}, {}, {}]\nx0: &b [*a0]\n")
	b.WriteString("y: &y1 {k: v}\n")
	prev := "y1"
	for i := range 30 {
		name := "z" + strings.Repeat("i", i)
		b.WriteString(name + ": &" + name + " [*" + prev + ", *" + prev + ", *" + prev + ", *" + prev + "]\n")
		prev = name
	}
	b.WriteString("status: {loadBalancer: {ingress: *" + prev + "}}\n")
	d := decode(b.String())
	if len(d.Objects) != 0 || len(d.Problems) == 0 || len(d.Problems) > 100 {
		t.Errorf("%d objects, %d problems", len(d.Objects), len(d.Problems))
	}
}

func TestNearest(t *testing.T) {
	names := []string{"selector", "ports", "clusterIP"}
	for s, want := range map[string]string{"slector": "selector", "SELECTOR": "selector", "port": "ports", "zzz": "", "": ""} {
		if got := source.Nearest(s, names); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(head + "spec: {ports: [{port: 80, targetPort: web}]}\n"))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod, metadata: {name: a}}]\n"))
	f.Add([]byte(ruleHead + "spec: {host: a, trafficPolicy: {tls: {mode: SIMPLE}, connectionPool: {tcp: {connectTimeout: 1s}}}}\n"))
	f.Add([]byte(ruleHead))
	f.Add([]byte("a: &a [*a]\n---\n<<: {<<: 1}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, lines := source.Split(data)
		for i, doc := range docs {
			d := (&source.Decoder{Source: "file", File: "f"}).Decode(doc, lines[i])
			for _, o := range d.Objects {
				if o.Meta().GetName() != o.Name || o.Meta().GetNamespace() != o.Namespace {
					t.Fatalf("%v is named %s/%s", o.Key, o.Meta().GetNamespace(), o.Meta().GetName())
				}
			}
		}
	})
}
