package proxy

import (
	"math"

	"google.golang.org/protobuf/proto"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/journal"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// reporter tells the control plane of breakers: each event once, and the states
// of clusters that look other than when they were last told. Its methods are
// called from one goroutine.
type reporter struct {
	set    *upstream.Set
	events *journal.Journal
	wall   journal.Wall

	seq     uint64                            // of the last event that was told
	more    <-chan struct{}                   // closed when there are later ones
	told    map[string]*reportv1.ClusterState // by cluster
	unsent  []*reportv1.Event
	dropped uint64
}

func newReporter(set *upstream.Set, events *journal.Journal, wall journal.Wall) *reporter {
	r := &reporter{set: set, events: events, wall: wall, told: make(map[string]*reportv1.ClusterState)}
	_, _, r.more = events.Since(0)
	return r
}

// Wake is closed when there are new events.
func (r *reporter) Wake() <-chan struct{} { return r.more }

// Collect gives what is new; nil: nothing is.
func (r *reporter) Collect(all bool) *reportv1.Report {
	report := &reportv1.Report{Events: r.unsent, DroppedEvents: r.dropped}
	r.unsent, r.dropped = nil, 0
	entries, missed, more := r.events.Since(r.seq)
	r.more = more
	report.DroppedEvents += missed
	for _, e := range entries {
		report.Events = append(report.Events, e.Event)
		r.seq = e.Seq
	}
	if all {
		clear(r.told)
	}
	live := make(map[string]bool)
	for _, c := range r.set.Clusters() {
		if c.Config().Direction != telemetry.Outbound {
			continue
		}
		live[c.Name()] = true
		if state := r.state(c); !proto.Equal(state, r.told[c.Name()]) {
			r.told[c.Name()] = state
			report.Clusters = append(report.Clusters, state)
		}
	}
	for name := range r.told {
		if !live[name] {
			delete(r.told, name)
			report.RemovedClusters = append(report.RemovedClusters, name)
		}
	}
	if len(report.Events)+len(report.Clusters)+len(report.RemovedClusters) == 0 && report.DroppedEvents == 0 {
		return nil
	}
	return report
}

// Return keeps the events of a report that did not go out. The states are told
// anew on the next stream anyway.
func (r *reporter) Return(report *reportv1.Report) {
	r.unsent = append(report.GetEvents(), r.unsent...)
	r.dropped += report.GetDroppedEvents()
}

func (r *reporter) state(c *upstream.Cluster) *reportv1.ClusterState {
	out := &reportv1.ClusterState{Cluster: c.Name(), Waiting: uint32(c.Waiting())}
	open := 0
	states := c.States()
	several := len(c.Levels()) > 1
	for _, s := range states {
		place := c.EndpointPlace(s.Name)
		if s.State != breaker.Closed {
			open++
		}
		out.Endpoints = append(out.Endpoints, &reportv1.EndpointState{
			Address:             s.Name,
			State:               journal.State(s.State),
			Cause:               s.Detail,
			ConsecutiveFailures: s.Failures,
			Since:               r.wall.Timestamp(s.Since),
			Until:               r.wall.Timestamp(s.Until),
			Ejections:           s.Trips,
			// In hundredths: not every request shall be news.
			SuccessRate: math.Round(s.SuccessRate*100) / 100,
			Labels:      journal.Places(journal.Labels(c.EndpointLabels(s.Name)), place.Priority, several, place.Locality.String()),
		})
	}
	if len(states) > 0 {
		out.EjectedPercent = 100 * float64(open) / float64(len(states))
	}
	return out
}
