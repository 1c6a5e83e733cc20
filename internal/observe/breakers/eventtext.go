package breakers

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// EventWriter writes events as lines whose columns align as well as can be
// while more are to come: a column only ever grows.
type EventWriter struct {
	W     io.Writer
	Style Style
	// Wide adds the last requests before each opening, one line each.
	Wide bool
	// Location is the time zone of times. Default: UTC.
	Location *time.Location

	widths []int
}

// minWidths keep the columns of a stream quiet from its first line on.
var minWidths = [...]int{12, 12, 14, 26, 19}

// Fit makes the columns wide enough for events that are to come.
func (e *EventWriter) Fit(events ...Event) {
	for _, ev := range events {
		e.fit(e.cells(ev))
	}
}

func (e *EventWriter) fit(l []cell) {
	if e.widths == nil {
		e.widths = append(e.widths, minWidths[:]...)
	}
	e.widths = widthsOf([][]cell{l}, e.widths)
}

func (e *EventWriter) line(l []cell) error {
	e.fit(l)
	return writeLines(e.W, [][]cell{l}, e.widths, e.Style)
}

// Header writes the names of the columns.
func (e *EventWriter) Header() error {
	return e.line([]cell{{text: "TIME"}, {text: "CLIENT"}, {text: "SERVICE"}, {text: "ENDPOINT"}, {text: "CHANGE"}, {text: "CAUSE"}})
}

// Event writes one event.
func (e *EventWriter) Event(ev Event) error {
	err := e.line(e.cells(ev))
	if err != nil || !e.Wide || ev.To != Open {
		return err
	}
	for _, r := range ev.Requests {
		if _, err := fmt.Fprintf(e.W, "    %s\n", clean(r.text(ev.Time))); err != nil {
			return err
		}
	}
	return nil
}

func (e *EventWriter) cells(ev Event) []cell {
	at := ev.Time
	if e.Location != nil {
		at = at.In(e.Location)
	}
	change := string(ev.From) + " -> " + string(ev.To)
	if ev.Refused {
		change = "stays " + string(ev.From)
	}
	cause := ev.Detail
	if cause == "" {
		cause = ev.Cause
	}
	// A probe that failed tells its back-off in its own words.
	if ev.From == Closed && ev.To == Open && ev.Until != nil && !ev.Refused {
		cause += fmt.Sprintf("; next probe in %s", ev.Until.Sub(ev.Time).Round(100*time.Millisecond))
	}
	return []cell{
		{text: at.Format("15:04:05.000")},
		{text: ev.Client.text(false)},
		{text: e.Style.service(ev.Service)},
		{text: ev.Endpoint.text()},
		{text: change, state: ev.To},
		{text: cause},
	}
}

// text tells a request by how long before the event it ended.
func (r Request) text(event time.Time) string {
	parts := []string{fmt.Sprintf("%8s before:", max(0, event.Sub(r.Time)).Round(time.Millisecond))}
	if r.Status != 0 {
		parts = append(parts, "status "+strconv.FormatUint(uint64(r.Status), 10))
	}
	if r.GRPC != nil {
		parts = append(parts, fmt.Sprintf("grpc-status %d (%s)", *r.GRPC, codes.Code(*r.GRPC))) //nolint:gosec // of a report, positive
	}
	if r.Outcome != "" {
		parts = append(parts, r.Outcome)
	}
	return strings.Join(append(parts, "after "+r.Latency.Round(10*time.Microsecond).String()), " ")
}

// Lost writes that events are missing here.
func (e *EventWriter) Lost(n uint64) error {
	_, err := fmt.Fprintf(e.W, "    (%d events were lost here)\n", n)
	return err
}
