package source_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/reclosermesh/recloser/internal/control/source"
)

// TestEncode: an object says what it is, whoever made it, and comes back as it
// was.
func TestEncode(t *testing.T) {
	d := (&source.Decoder{Source: "file", File: "x.yaml"}).Decode([]byte(`
apiVersion: policy.linkerd.io/v1beta3
kind: HTTPRoute
metadata: {name: r, namespace: n}
spec: {rules: [{timeouts: {request: 1s}}]}
`), 1)
	made := source.Object{
		Key:   source.Key{Kind: source.Pod, Namespace: "n", Name: "p"},
		Value: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}},
	}
	for _, o := range append(d.Objects, made) {
		raw, err := source.Encode(&o)
		if err != nil || !strings.Contains(string(raw), `"apiVersion":`) || !strings.Contains(string(raw), `"kind":`) {
			t.Fatalf("%s is %s, %v", o.Key, raw, err)
		}
		back, err := source.Restore(raw, o.Origin)
		if err != nil || back.Key != o.Key || back.Origin != o.Origin {
			t.Errorf("%s came back as %+v, %v", o.Key, back, err)
		}
		again, err := source.Encode(&back)
		if err != nil || string(again) != string(raw) {
			t.Errorf("%s is written as\n%s\nand then, %v, as\n%s", o.Key, raw, err, again)
		}
	}
	for what, value := range map[string]any{
		"no object":           "text",
		"needs both or none":  &corev1.Pod{TypeMeta: metav1.TypeMeta{Kind: "Pod"}},
		"needs both or none ": &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1"}},
	} {
		_, err := source.Encode(&source.Object{Value: value})
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(what)) {
			t.Errorf("%v: error %v, want %s", value, err, what)
		}
	}
	for _, raw := range []string{"", "[]", `{"apiVersion":"v1","kind":"Secret"}`, `{"apiVersion":"v1","kind":"Pod","spec":3}`} {
		if o, err := source.Restore([]byte(raw), nil); err == nil {
			t.Errorf("%q is %+v", raw, o)
		}
	}
}
