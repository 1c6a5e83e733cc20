// Package fakecontrol is a control plane for tests of what stands on one: it
// has whatever mesh, breakers and events a test gives it. It implements the
// interfaces of package observe and is safe for concurrent use.
package fakecontrol

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/observe"
	"github.com/reclosermesh/recloser/internal/observe/breakers"
	"github.com/reclosermesh/recloser/internal/observe/scrape"
	"github.com/reclosermesh/recloser/internal/observe/stat"
)

// Control is the fake. Its zero value is an empty mesh.
type Control struct {
	mu          sync.Mutex
	targets     []scrape.Target
	resources   []stat.Resource
	reports     []breakers.Report
	kept        []observe.Event
	followers   map[chan observe.Event]bool
	annotations map[string]map[string]string
	findings    []lint.Finding
	refuse      error
}

// Tutorial is the mesh of the circuit-breaking tutorial, its breaker tripped.
func Tutorial(now time.Time) *Control {
	c := &Control{annotations: map[string]map[string]string{"service/demo/bb": {"owner": "team-a"}}}
	for _, name := range []string{"bad", "good", "slow-cooker"} {
		c.resources = append(c.resources,
			stat.Resource{Kind: stat.Deployment, Namespace: "demo", Name: name, Instances: 1, Meshed: 1},
			stat.Resource{Kind: stat.Pod, Namespace: "demo", Name: name + "-1", Instances: 1, Meshed: 1})
	}
	c.resources = append(c.resources,
		stat.Resource{Kind: stat.Service, Namespace: "demo", Name: "bb", Instances: 2, Meshed: 2},
		stat.Resource{Kind: stat.Namespace, Name: "demo", Instances: 3, Meshed: 3})
	c.reports = []breakers.Report{{Client: Cooker(), Clusters: []*reportv1.ClusterState{{
		Cluster: Cluster, EjectedPercent: 50, Endpoints: []*reportv1.EndpointState{
			{Address: "127.0.1.3:8080", State: reportv1.State_CLOSED, SuccessRate: 1, Labels: Labels("good")},
			{
				Address: "127.0.1.2:8080", State: reportv1.State_OPEN, Cause: "7 failures in a row", ConsecutiveFailures: 7,
				Until: timestamppb.New(now.Add(time.Hour)), Ejections: 1, SuccessRate: 0, Labels: Labels("bad"),
			},
		},
	}}}}
	c.kept = []observe.Event{{Client: Cooker(), Event: Opening(now)}}
	return c
}

// Cluster is the tutorial's one.
const Cluster = "outbound|8080||bb.demo.svc.cluster.local"

// Cooker is the tutorial's client.
func Cooker() breakers.Client {
	return breakers.Client{Node: "slow-cooker-1.demo", Namespace: "demo", Workload: "slow-cooker", Kind: "Deployment", Pod: "slow-cooker-1"}
}

// Labels are those of the endpoint of a workload.
func Labels(workload string) map[string]string {
	return map[string]string{"namespace": "demo", "workload": workload, "pod": workload + "-1"}
}

// Opening is an event of the tutorial's bad endpoint.
func Opening(at time.Time) *reportv1.Event {
	return &reportv1.Event{
		Time: timestamppb.New(at), Cluster: Cluster, Endpoint: "127.0.1.2:8080", Labels: Labels("bad"),
		From: reportv1.State_CLOSED, To: reportv1.State_OPEN, Cause: "consecutive_failures", Detail: "7 failures in a row",
		Until:        timestamppb.New(at.Add(1300 * time.Millisecond)),
		LastRequests: []*reportv1.Request{{Time: timestamppb.New(at), Status: 500, Outcome: "response"}},
	}
}

// SetTargets replaces the proxies that are scraped.
func (c *Control) SetTargets(t ...scrape.Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.targets = t
}

// AddResource adds an object that a row can be about.
func (c *Control) AddResource(r stat.Resource) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resources = append(c.resources, r)
}

// SetFindings replaces what is wrong.
func (c *Control) SetFindings(f ...lint.Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.findings = f
}

// Refuse makes Annotate fail with err.
func (c *Control) Refuse(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = err
}

// Tell adds an event and hands it to all that follow.
func (c *Control) Tell(e observe.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, e)
	for f := range c.followers {
		f <- e
	}
}

// Followers is the number of event streams that wait for more.
func (c *Control) Followers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.followers)
}

// Targets implements observe.Mesh.
func (c *Control) Targets() []scrape.Target {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.targets
}

// Resources implements observe.Mesh.
func (c *Control) Resources() []stat.Resource {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resources
}

// Breakers implements observe.Reports.
func (c *Control) Breakers() []breakers.Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reports
}

// Events implements observe.Reports.
func (c *Control) Events(ctx context.Context, follow bool, put func(observe.Event) bool, every time.Duration, idle func() bool) {
	c.mu.Lock()
	kept := append([]observe.Event(nil), c.kept...)
	more := make(chan observe.Event, 100)
	if follow {
		if c.followers == nil {
			c.followers = map[chan observe.Event]bool{}
		}
		c.followers[more] = true
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.followers, more)
	}()
	for _, e := range kept {
		if !put(e) {
			return
		}
	}
	for follow {
		select {
		case <-ctx.Done():
			return
		case e := <-more:
			if !put(e) {
				return
			}
		case <-time.After(every):
			if !idle() {
				return
			}
		}
	}
}

// Policy implements observe.Configuration: it knows bb.demo:8080.
func (c *Control) Policy(r observe.PolicyRequest) (observe.Policy, error) {
	if r.Namespace != "demo" || r.Service != "bb" || r.Port != 8080 {
		return observe.Policy{}, &observe.NotFoundError{Err: fmt.Errorf("there is no service %s with port %d in namespace %s", r.Service, r.Port, r.Namespace)}
	}
	return observe.Policy{Effective: map[string]any{"service": "bb", "client": r.Client}, Linkerd: map[string]any{"protocol": map[string]any{}}}, nil
}

// Findings implements observe.Configuration.
func (c *Control) Findings() []lint.Finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.findings
}

// Reading implements observe.Configuration: it has read nothing, and has the
// findings.
func (c *Control) Reading() (*control.Reading, error) {
	return &control.Reading{Objects: []control.ReadObject{}, Problems: c.Findings()}, nil
}

func key(kind, namespace, name string) string { return kind + "/" + namespace + "/" + name }

// Annotations implements observe.Configuration.
func (c *Control) Annotations(kind, namespace, name string) (map[string]string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.annotations[key(kind, namespace, name)]
	return maps.Clone(a), ok
}

// Annotate implements observe.Configuration.
func (c *Control) Annotate(kind, namespace, name string, change map[string]*string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse != nil {
		return c.refuse
	}
	have := c.annotations[key(kind, namespace, name)]
	for k, v := range change {
		if v == nil {
			delete(have, k)
		} else {
			have[k] = *v
		}
	}
	return nil
}
