package breakers

import (
	"time"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
)

// Event is a breaker's change of state, or one that a guard refused.
type Event struct {
	Time     time.Time `json:"time"`
	Client   Client    `json:"client"`
	Service  Service   `json:"service"`
	Cluster  string    `json:"cluster"`
	Endpoint Endpoint  `json:"endpoint"`
	From     State     `json:"from"`
	To       State     `json:"to"`
	// Cause is a short stable name, Detail the same in words with its numbers.
	Cause  string `json:"cause"`
	Detail string `json:"detail,omitempty"`
	// Until is when the next probe may go, after an opening.
	Until *time.Time `json:"until,omitempty"`
	// Refused tells that a guard kept the breaker as it was: From equals To.
	Refused bool `json:"refused,omitempty"`
	// Requests are the last ones before the change, the oldest first.
	Requests []Request `json:"last_requests,omitempty"`
}

// Request is one request before an event.
type Request struct {
	Time    time.Time     `json:"time"`
	Status  uint32        `json:"status,omitempty"` // HTTP; 0: none came
	GRPC    *int32        `json:"grpc_status,omitempty"`
	Latency time.Duration `json:"latency"` // nanoseconds
	Outcome string        `json:"outcome"` // how it ended, in a word or two
}

// EventOf makes the document of an event. It returns false for one that the
// filter leaves out.
func EventOf(client Client, e *reportv1.Event, f Filter) (Event, bool) {
	service := ServiceOf(e.GetCluster())
	if !f.match(service) {
		return Event{}, false
	}
	out := Event{
		Time: e.GetTime().AsTime(), Client: client, Service: service, Cluster: e.GetCluster(),
		Endpoint: endpointOf(e.GetEndpoint(), e.GetLabels()),
		From:     stateOf(e.GetFrom()), To: stateOf(e.GetTo()),
		Cause: e.GetCause(), Detail: e.GetDetail(), Until: instant(e.GetUntil()), Refused: e.GetRefused(),
	}
	for _, r := range e.GetLastRequests() {
		req := Request{Time: r.GetTime().AsTime(), Status: r.GetStatus(), Latency: r.GetLatency().AsDuration(), Outcome: r.GetOutcome()}
		if g := r.GetGrpcStatus(); g > 0 {
			req.GRPC = &g
		}
		out.Requests = append(out.Requests, req)
	}
	return out, true
}

// Line is one line of a stream of events: exactly one field is set.
type Line struct {
	Event *Event `json:"event,omitempty"`
	// Heartbeat is the server's time. It comes when there was nothing to tell
	// for a while, so that a reader can tell silence from a dead connection.
	Heartbeat *time.Time `json:"heartbeat,omitempty"`
	// Lost counts events that were dropped at this place, because the reader
	// was too slow or a proxy could not deliver them.
	Lost uint64 `json:"lost,omitempty"`
	// End is the last line of a stream that is complete, with the reason in
	// words. A stream without it was cut.
	End string `json:"end,omitempty"`
}
