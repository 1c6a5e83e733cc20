package policy

import (
	"slices"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// A service or port that is not there is told, and not found out by the first
// request.
func TestRouteToFindings(t *testing.T) {
	for _, tt := range []struct {
		to   string
		want []string
	}{
		{"api", nil}, // itself is a service too
		{"api.shop:80", nil},
		{"nobody", []string{"no-such-backend: there is no service nobody in namespace shop; all requests are answered with 500"}},
		{"apo", []string{"no-such-backend: there is no service apo in namespace shop; all requests are answered with 500; did you mean api?"}},
		{"api:99", []string{"no-such-port: service api in namespace shop has no port 99; it has 80; all requests are answered with 500"}},
	} {
		table := Build(nil, model.Build(nil, []source.Object{service(map[string]string{RouteToAnnotation: tt.to})}))
		var got []string
		for _, f := range table.Findings() {
			text := f.Code + ": " + f.Reason
			if f.Mend != "" {
				text += "; " + f.Mend
			}
			got = append(got, text)
			if f.Field != source.AnnotationPath(RouteToAnnotation) || f.Value != tt.to || f.Severity != source.Error {
				t.Errorf("%s: %+v", tt.to, f)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.to, got, tt.want)
		}
	}
}
