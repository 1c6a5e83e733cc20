package routing_test

import (
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/control/routing"
)

func TestRefusedEdits(t *testing.T) {
	tests := []struct {
		name, value  string
		plain        bool
		remove       bool
		request, any string // part of the reason, of a request and of an answer; "" is fine
	}{
		{name: "x-a", value: "b"},
		{name: "x-a", value: "100%", plain: true},
		{name: "x-a", value: "100%", request: "single", any: "single"},
		{name: "x-a", value: "100%%"},
		{name: "x-a", value: "%PROTOCOL%-%REQ(:path?x-b):20%"},
		{name: "x-a", value: "%RESPONSE_CODE%", request: "not known"},
		{name: "x-a", value: "%RESP(server)%", request: "not known"},
		{name: "x-a", value: "%NOBODY%", request: "not known", any: "not known"},
		{name: "x-a", value: "%NOBODY%", remove: true},
		{name: "Content-Length", value: "1", request: "carries", any: "carries"},
		{name: "host", remove: true, request: "carries", any: "carries"},
		{name: ":path", value: "/", request: "carries", any: "carries"},
	}
	for _, tt := range tests {
		e := routing.HeaderEdit{Op: routing.Set, Name: tt.name, Value: tt.value, Format: !tt.plain}
		if tt.remove {
			e.Op = routing.Remove
		}
		for answer, want := range map[bool]string{false: tt.request, true: tt.any} {
			if got := e.Refused(answer); (got == "") != (want == "") || !strings.Contains(got, want) {
				t.Errorf("%s: %q, answer %v: %q, want %q", tt.name, tt.value, answer, got, want)
			}
		}
	}
}
