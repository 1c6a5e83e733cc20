// Package journal keeps what the proxy's breakers did lately, for those who
// read it: the control plane by reports, and people by the admin port.
//
// A Journal is bounded: when it is full the oldest events give way, and each
// reader is told how many it missed. Add never waits and calls nobody, so it may
// be called under locks. All methods may be called from any goroutine.
package journal

import (
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// DefaultSize of a Journal, in events.
const DefaultSize = 1024

// Entry is one event with its number, which counts from 1.
type Entry struct {
	Seq   uint64
	Event *reportv1.Event
}

// Journal is a bounded list of events. Make one with New.
type Journal struct {
	wall Wall

	mu      sync.Mutex
	ring    []Entry // ring[seq % len] holds seq
	last    uint64
	changed chan struct{} // closed at the next Add, then replaced
}

// New makes a Journal of the last size events.
func New(size int, wall Wall) *Journal {
	if size <= 0 {
		size = DefaultSize
	}
	return &Journal{wall: wall, ring: make([]Entry, size), changed: make(chan struct{})}
}

// Add records an event of a breaker in a cluster.
func (j *Journal) Add(cluster string, labels telemetry.Labels, ev breaker.Event) {
	event := j.wall.event(cluster, labels, ev)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	j.ring[j.last%uint64(len(j.ring))] = Entry{j.last, event}
	close(j.changed)
	j.changed = make(chan struct{})
}

// Since gives the events after number seq, how many of those are no longer
// there, and a channel that is closed when there are more.
func (j *Journal) Since(seq uint64) (entries []Entry, missed uint64, more <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	first := seq + 1
	if size := uint64(len(j.ring)); j.last >= size && first <= j.last-size {
		missed = j.last - size + 1 - first
		first += missed
	}
	for n := first; n <= j.last; n++ {
		entries = append(entries, j.ring[n%uint64(len(j.ring))])
	}
	return entries, missed, j.changed
}

// Wall turns instants of the breaker's clock into times of day. It is fixed
// once, so that one instant always gives the same time.
type Wall struct{ start time.Time }

// NewWall fixes the relation of a clock with the time of day.
func NewWall(clock breaker.Clock) Wall { return Wall{start: time.Now().Round(0).Add(-clock())} }

// Time gives the time of day of an instant.
func (w Wall) Time(instant time.Duration) time.Time { return w.start.Add(instant) }

// Timestamp is Time for messages; nil for 0, which stands for no instant.
func (w Wall) Timestamp(instant time.Duration) *timestamppb.Timestamp {
	if instant == 0 {
		return nil
	}
	return timestamppb.New(w.Time(instant))
}

// State gives the report's word for a breaker's state.
func State(s breaker.State) reportv1.State {
	switch s {
	case breaker.Closed:
		return reportv1.State_CLOSED
	case breaker.HalfOpen:
		return reportv1.State_HALF_OPEN
	default:
		return reportv1.State_OPEN
	}
}

// Labels gives an endpoint's labels as reports have them, nil without any.
func Labels(l telemetry.Labels) map[string]string {
	m := make(map[string]string, 4)
	for _, pair := range [...][2]string{
		{"namespace", l.Namespace}, {"pod", l.Pod}, {"workload", l.Workload}, {"workload_kind", l.WorkloadKind},
	} {
		if pair[1] != "" {
			m[pair[0]] = pair[1]
		}
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

// Places adds where an endpoint stands to its labels, where that is not the same
// for all: its priority if several are in use, its locality if it has one.
func Places(labels map[string]string, priority uint32, several bool, locality string) map[string]string {
	if !several && locality == "" {
		return labels
	}
	if labels == nil {
		labels = make(map[string]string, 2)
	}
	if several {
		labels["priority"] = strconv.FormatUint(uint64(priority), 10)
	}
	if locality != "" {
		labels["locality"] = locality
	}
	return labels
}

func (w Wall) event(cluster string, labels telemetry.Labels, ev breaker.Event) *reportv1.Event {
	out := &reportv1.Event{
		Time:     timestamppb.New(w.Time(ev.At)),
		Cluster:  cluster,
		Endpoint: ev.Endpoint,
		From:     State(ev.From),
		To:       State(ev.To),
		Cause:    ev.Reason.String(),
		Detail:   ev.Detail,
		Until:    w.Timestamp(ev.Until),
		Labels:   Labels(labels),
		Refused:  ev.Kind == breaker.Refused || ev.Kind == breaker.NotEnforced,
	}
	for _, r := range ev.Last {
		out.LastRequests = append(out.LastRequests, &reportv1.Request{
			Time:       timestamppb.New(w.Time(r.At)),
			Status:     uint32(max(r.Status, 0)),
			GrpcStatus: int32(r.GRPC),
			Latency:    durationpb.New(r.Latency),
			Outcome:    r.Cause.String(),
		})
	}
	return out
}
