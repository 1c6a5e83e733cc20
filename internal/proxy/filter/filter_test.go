package filter

import (
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// request reads a head whose lines end with LF.
func request(t testing.TB, head string) *http1.Request {
	t.Helper()
	r := new(http1.Request)
	if _, err := r.Parse([]byte(strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\n"), nil); err != nil {
		t.Fatalf("%q: %v", head, err)
	}
	return r
}

// fields reads "name: value" lines.
func fields(lines string) []http1.Header {
	var hs []http1.Header
	for line := range strings.Lines(lines) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		hs = append(hs, http1.Header{Name: []byte(name), Value: []byte(value)})
	}
	return hs
}

func lines(hs []http1.Header) string {
	var b strings.Builder
	for _, h := range hs {
		b.WriteString(string(h.Name) + ": " + string(h.Value) + "\n")
	}
	return b.String()
}
