package control_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/control/dialect/gateway"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// status shows what a route's status says of each of its parents.
func status(t *testing.T, w *bytes.Buffer, off *control.Offline, k source.Key) {
	t.Helper()
	o, ok := off.World.Object(k)
	if !ok {
		fmt.Fprintln(w, "(there is no such object)")
		return
	}
	for _, p := range gateway.Status(off.World, o) {
		fmt.Fprintf(w, "%s", p.ParentRef.Name)
		if p.ParentRef.Port != nil {
			fmt.Fprintf(w, ":%d", *p.ParentRef.Port)
		}
		fmt.Fprintln(w)
		for _, c := range p.Conditions {
			fmt.Fprintf(w, "  %s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
		}
	}
}

// budget shows the retry budget of a service.
func budget(t *testing.T, w *bytes.Buffer, off *control.Offline, service model.Name) {
	t.Helper()
	b, _, ok := gateway.Budget(off.World, service)
	if !ok {
		fmt.Fprintln(w, "(no budget)")
		return
	}
	fmt.Fprintf(w, "percent %v  # %s\ninterval %v  # %s\nminPerSecond %v  # %s\n",
		b.Percent.Value, b.Percent.Origin, b.Interval.Value, b.Interval.Origin, b.MinPerSecond.Value, b.MinPerSecond.Origin)
}
