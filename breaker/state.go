package breaker

import (
	"slices"
	"strings"
	"time"
)

// EndpointState is what is known about one endpoint.
type EndpointState struct {
	Name  string
	State State
	Since time.Duration // instant when the state began
	// Until is as in Event: the next probe or end of the ejection time, or the
	// deadline of the probe that is out. 0 while closed.
	Until time.Duration
	// Reason and Detail of the last trip; Detail is "" if there was none.
	Reason Reason
	Detail string
	// Failures in a row, up to now or up to the trip and its probes.
	Failures uint32
	// Attempt counts back-offs since the trip (Probe), or is the multiplier of
	// the ejection time (Timed).
	Attempt uint32
	// Trips, and ejections that a guard refused, since the endpoint was added.
	Trips, Refused uint64
	// OpenTime is how long the endpoint was not closed, in sum.
	OpenTime time.Duration
	// SuccessRate of the last requests, 0 to 1; -1 without any.
	SuccessRate float64
	Last        []Record
}

// States lists the endpoints by name.
func (g *Group) States() []EndpointState {
	now := g.clock()
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]EndpointState, 0, len(g.endpoints))
	for _, e := range g.endpoints {
		s := EndpointState{
			Name: e.name, State: stateOf(e.word.Load()), Since: e.since, Until: e.until,
			Reason: e.reason, Detail: e.detail, Attempt: e.attempt,
			Trips: e.trips, Refused: e.refused, OpenTime: e.openTime,
		}
		if s.State != Closed {
			s.OpenTime += max(now-e.opened, 0)
		}
		e.mu.Lock()
		s.Failures, s.SuccessRate, s.Last = e.det.row, e.last.successRate(), e.last.records()
		e.mu.Unlock()
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b EndpointState) int { return strings.Compare(a.Name, b.Name) })
	return out
}
