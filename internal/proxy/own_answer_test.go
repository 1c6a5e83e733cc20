package proxy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/filter"
	"github.com/reclosermesh/recloser/internal/proxy/route"
)

// The type of an answer of a route's own is the route's to say (Istio's example
// of a directResponse does), and answers without content have none.
func TestOwnAnswersAreWhole(t *testing.T) {
	set := func(name, value string) []filter.Edit {
		return []filter.Edit{{Op: filter.Set, Name: name, Value: value}}
	}
	rules := []route.Rule{
		{Name: "json", Match: prefix("/json"), Direct: &route.Direct{Status: 503, Body: []byte("{}")}, ResponseHeaders: set("Content-Type", "application/json")},
		{Name: "none", Match: prefix("/none"), Direct: &route.Direct{Status: 204, Body: []byte("never sent")}},
		{Name: "plain", Match: prefix("/plain"), Direct: &route.Direct{Status: 200, Body: []byte("text")}},
	}
	treated(t, seen, rules, func(t *testing.T, r *rig, hc *http.Client) {
		for _, tt := range []struct{ path, contentType, body string }{
			{"/json", "application/json", "{}"},
			{"/none", "", ""},
			{"/plain", "text/plain; charset=utf-8", "text"},
		} {
			q, _ := http.NewRequest(http.MethodGet, r.url(tt.path), nil)
			resp, body := do(t, hc, q)
			if got := strings.Join(resp.Header.Values("Content-Type"), " and "); got != tt.contentType || body != tt.body {
				t.Errorf("%s: content-type %q, body %q; want %q, %q", tt.path, got, body, tt.contentType, tt.body)
			}
		}
	})
}

// A caller that has been tried before itself, such as a program that hands on
// the fields it got, does not have its count beside ours.
func TestAttemptCountIsOne(t *testing.T) {
	counts := func(w http.ResponseWriter, q *http.Request) {
		_, _ = w.Write([]byte(strings.Join(q.Header.Values("X-Envoy-Attempt-Count"), ",")))
	}
	rules := []route.Rule{{Name: "again", Match: prefix("/"), Backends: to("test"), Retry: &route.Retry{On: route.On5xx, Attempts: 1}}}
	treated(t, counts, rules, func(t *testing.T, r *rig, hc *http.Client) {
		q, _ := http.NewRequest(http.MethodGet, r.url("/"), nil)
		q.Header.Set("X-Envoy-Attempt-Count", "7")
		if _, body := do(t, hc, q); body != "1" {
			t.Errorf("the endpoint got x-envoy-attempt-count %s, want 1", body)
		}
	})
}
