package local

import (
	"fmt"
	"strings"
	"time"
)

// EventKind is what happened to an instance.
type EventKind string

// The kinds of events.
const (
	Started  EventKind = "started"   // it was given its addresses and its sidecar is being started
	Ready    EventKind = "ready"     // it gets requests
	NotReady EventKind = "not-ready" // it gets no requests any more
	Waiting  EventKind = "waiting"   // it runs for a while and is still not ready (Detail)
	Crashed  EventKind = "crashed"   // a program or the sidecar ended without being asked to
	Failed   EventKind = "failed"    // a program cannot be started at all
	Draining EventKind = "draining"  // it gets no new requests and finishes what it has
	Ended    EventKind = "ended"     // nothing of it is left
	Refused  EventKind = "refused"   // an object that cannot be run (Problem)

	// Unpublished is of a Gateway, its Owner, that waits for its service or
	// for a port of it (Detail).
	Unpublished EventKind = "unpublished"
)

// Event is something that people may want to hear of.
type Event struct {
	Kind     EventKind
	Instance string // name of the Pod; empty for Refused and Unpublished
	Owner    string // "deployment/good -n demo"
	// Part is the program that an event is about: the container's name or
	// "sidecar".
	Part      string
	Detail    string        // status of an end, or a reason
	Where     string        // Refused: file and line, where they are known
	OK        bool          // Crashed: it ended with status 0
	Lines     []string      // Crashed: the last lines that it printed
	Restart   time.Duration // Crashed: until it is started again; 0: never
	Addresses []string      // Ready: where callers find it
}

// String is the event on one line.
func (e Event) String() string {
	switch e.Kind {
	case Ready:
		if len(e.Addresses) == 0 {
			return e.Instance + " is ready"
		}
		return fmt.Sprintf("%s is ready on %s", e.Instance, strings.Join(e.Addresses, ", "))
	case NotReady:
		return e.Instance + " is not ready any more and gets no requests"
	case Waiting:
		return e.Instance + " runs but is not ready: " + e.Detail
	case Crashed:
		what := fmt.Sprintf("%s: %s ended (%s)", e.Instance, e.Part, e.Detail)
		if e.Restart > 0 {
			return fmt.Sprintf("%s; next start in %v", what, e.Restart)
		}
		return what
	case Failed:
		return fmt.Sprintf("%s: %s cannot be started: %s", e.Instance, e.Part, e.Detail)
	case Refused:
		if e.Where != "" {
			return fmt.Sprintf("%s (%s) is not run: %s", e.Owner, e.Where, e.Detail)
		}
		return fmt.Sprintf("%s is not run: %s", e.Owner, e.Detail)
	case Unpublished:
		return fmt.Sprintf("publish %s waits: %s", e.Owner, e.Detail)
	case Draining:
		return e.Instance + " finishes what it has and ends"
	default:
		return e.Instance + " " + string(e.Kind)
	}
}
