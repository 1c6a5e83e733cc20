package admin

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// Priorities and localities are shown where there are several, or any.
func TestPlaces(t *testing.T) {
	r := newRig(t)
	for _, c := range r.set.Clusters() {
		if c.Name() != clusterName {
			continue
		}
		cfg := *c.Config()
		cfg.Endpoints = append([]upstream.EndpointConfig(nil), cfg.Endpoints...)
		cfg.Endpoints[1].Place = upstream.Place{Priority: 1, Locality: upstream.Locality{Region: "us", Zone: "us-1"}}
		r.set.Apply([]upstream.Config{cfg})
	}
	r.trip()
	var got struct{ Clusters []Cluster }
	_, body := r.get("/clusters")
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	c := got.Clusters[0]
	want := []Priority{{Endpoints: 1, Ready: 0, Share: 0}, {Endpoints: 1, Ready: 1, Share: 100}}
	if len(c.Priorities) != 2 || c.Priorities[0] != want[0] || c.Priorities[1] != want[1] {
		t.Errorf("priorities %+v, want %+v", c.Priorities, want)
	}
	if e := c.Endpoints[1]; e.Priority != 1 || e.Locality != "us/us-1" {
		t.Errorf("endpoint %+v", e)
	}
	_, body = r.get("/breakers")
	if !strings.Contains(body, "PLACE") || !strings.Contains(body, "bad-1  0          open") || !strings.Contains(body, "1 us/us-1  closed") {
		t.Errorf("table:\n%s", body)
	}
}
