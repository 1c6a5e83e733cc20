package explain

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestDocsNameEachField holds docs/explain.md to what the JSON has.
func TestDocsNameEachField(t *testing.T) {
	raw, err := os.ReadFile("../../docs/explain.md")
	if err != nil {
		t.Fatal(err)
	}
	_, doc, ok := strings.Cut(string(raw), "## JSON")
	if !ok {
		t.Fatal("there is no part about JSON")
	}
	for _, v := range []any{Answer{}, Request{}, Header{}, Rule{}, Outcome{}, Backend{}, Sent{}, Mirror{}, Endpoint{}, Setting{}} {
		typ := reflect.TypeOf(v)
		for f := range typ.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !strings.Contains(doc, "`"+name+"`") {
				t.Errorf("%s.%s: `%s` is not there", typ.Name(), f.Name, name)
			}
		}
	}
	for _, word := range []string{
		string(Chosen), string(Failed), string(Later), string(Forwarded), string(Redirected), string(Direct), string(Preflight),
		string(Aborted), string(Refused), string(Bytes),
	} {
		if !strings.Contains(doc, "`"+word+"`") {
			t.Errorf("`%s` is not there", word)
		}
	}
}
