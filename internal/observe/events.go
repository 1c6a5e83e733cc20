package observe

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
	"github.com/reclosermesh/recloser/internal/observe/breakers"
)

// Event is what a proxy told: an event, or that some were lost.
type Event struct {
	Client breakers.Client
	Event  *reportv1.Event // nil when only Lost says something
	Lost   uint64          // events that are missing before this one
}

// writeTime bounds the writing of one line to a slow reader.
const writeTime = 10 * time.Second

// events answers namespace, service and follow with one JSON document per line
// (breakers.Line). With follow it goes on until the reader leaves or we end,
// and says so in the last line; in silence it sends heartbeats.
func (o *Observer) events(w http.ResponseWriter, r *http.Request) {
	follow, err := boolParam(r, "follow")
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() { // ends with the handler: `ended` is closed by its return
		select {
		case <-o.closing:
			cancel()
		case <-ended:
		}
	}()

	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	wrote := time.Now()
	put := func(l breakers.Line) bool {
		wrote = time.Now()
		_ = control.SetWriteDeadline(wrote.Add(writeTime))
		return enc.Encode(l) == nil && control.Flush() == nil
	}
	// The server's bound on reading a request would end a stream that lasts.
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(wrote.Add(writeTime))
	if control.Flush() != nil { // the reader sees at once that it is connected
		return
	}
	f := filter(r)
	alive := true
	idle := func() bool {
		alive = put(breakers.Line{Heartbeat: new(time.Now())})
		return alive
	}
	event := func(e Event) bool {
		if e.Lost > 0 {
			alive = put(breakers.Line{Lost: e.Lost})
		}
		if e.Event != nil && alive {
			if doc, ok := breakers.EventOf(e.Client, e.Event, f); ok {
				alive = put(breakers.Line{Event: &doc})
			}
		}
		if alive && time.Since(wrote) > o.cfg.Heartbeat {
			return idle() // only what the filter leaves out came
		}
		return alive
	}
	o.cfg.Reports.Events(ctx, follow, event, o.cfg.Heartbeat, idle)
	if !alive || r.Context().Err() != nil {
		return
	}
	end := "these are all that are kept"
	if follow {
		end = "the control plane ends"
	}
	put(breakers.Line{End: end})
}
