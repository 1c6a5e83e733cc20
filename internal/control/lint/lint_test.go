package lint_test

import (
	"bytes"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/lint"
)

// TestOrder: by file, line, object and field, each once, whatever the order in
// which they were found.
func TestOrder(t *testing.T) {
	f := lint.Sort([]lint.Finding{
		{File: "b", Line: 1, Reason: "3"},
		{File: "a", Line: 10, Reason: "2"},
		{File: "a", Line: 9, Reason: "1"},
		{File: "b", Line: 1, Reason: "3"},
		{Object: "proxy/x", Reason: "0"},
	})
	got := ""
	for i := range f {
		got += f[i].Reason
	}
	if got != "0123" {
		t.Errorf("order %s", got)
	}
}

func TestWrite(t *testing.T) {
	f := []lint.Finding{{
		Code: "bad-port", Severity: lint.Error, Object: "service/a -n n", Field: "spec.ports[0].port", Value: "0",
		Allowed: "1 to 65535", Reason: "this port is passed over", Mend: "choose another", File: "x.yaml", Line: 3,
	}, {Code: "c", Severity: lint.Info, Reason: "good to know"}}
	var b bytes.Buffer
	if err := lint.WriteText(&b, f); err != nil {
		t.Fatal(err)
	}
	want := `x.yaml:3: error: service/a -n n: spec.ports[0].port: "0": this port is passed over; allowed: 1 to 65535; choose another [bad-port]
info: good to know [c]
1 error, 0 warnings
`
	if b.String() != want {
		t.Errorf("text:\n%s\nwant:\n%s", b.String(), want)
	}
	b.Reset()
	if err := lint.WriteJSON(&b, nil); err != nil {
		t.Fatal(err)
	}
	if b.String() != "{\n  \"findings\": []\n}\n" {
		t.Errorf("JSON of nothing: %s", b.String())
	}
}
