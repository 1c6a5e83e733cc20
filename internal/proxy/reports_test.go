package proxy

import (
	"log/slog"
	"testing"
	"time"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/journal"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

// reportRig is a reporter over one cluster, whose endpoint's breaker can be tripped.
type reportRig struct {
	t   *testing.T
	set *upstream.Set
	now time.Duration
	*reporter
}

func newReportRig(t *testing.T, size int) *reportRig {
	t.Helper()
	r := &reportRig{t: t, now: time.Second}
	wall := journal.NewWall(breaker.Monotonic)
	events := journal.New(size, wall)
	r.set = upstream.NewSet(upstream.SetOptions{
		Clock: func() time.Duration { return r.now }, Metrics: telemetry.NewProxy(telemetry.Options{}), Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(c *upstream.Cluster, ev breaker.Event) {
			events.Add(c.Name(), c.EndpointLabels(ev.Endpoint), ev)
		},
	})
	r.apply("c")
	r.reporter = newReporter(r.set, events, wall)
	return r
}

func (r *reportRig) apply(names ...string) {
	var cfgs []upstream.Config
	for _, name := range names {
		cfgs = append(cfgs, upstream.Config{
			Name: name, Breaker: breaker.LinkerdConsecutive(), Limits: breaker.UnlimitedLimits(),
			Endpoints: []upstream.EndpointConfig{{Address: "10.0.0.1:80", Labels: telemetry.Labels{Pod: "p"}}},
		})
	}
	r.set.Apply(append(cfgs, upstream.Config{Name: "inbound|1||", Direction: telemetry.Inbound}))
}

// fail makes n requests fail.
func (r *reportRig) fail(n int) {
	r.t.Helper()
	for range n {
		for _, c := range r.set.Clusters() {
			if c.Name() != "c" {
				continue
			}
			_, permit, ok := c.Pick(r.now, upstream.Key{})
			if !ok {
				r.t.Fatal("no endpoint")
			}
			permit.Done(r.now, breaker.Result{Status: 500, GRPCStatus: -1})
		}
	}
}

func TestReportsSayWhatChanged(t *testing.T) {
	r := newReportRig(t, 0)
	first := r.Collect(true)
	if len(first.GetClusters()) != 1 || first.GetClusters()[0].GetEndpoints()[0].GetState() != reportv1.State_CLOSED {
		t.Fatalf("first report: %v", first)
	}
	if again := r.Collect(false); again != nil {
		t.Errorf("nothing changed, and yet: %v", again)
	}
	wake := r.Wake()
	r.fail(7)
	select {
	case <-wake:
	default:
		t.Error("an event wakes nobody")
	}
	report := r.Collect(false)
	if len(report.GetEvents()) != 1 || report.GetEvents()[0].GetCause() != "consecutive_failures" || report.GetEvents()[0].GetLabels()["pod"] != "p" {
		t.Errorf("events %v", report.GetEvents())
	}
	state := report.GetClusters()[0]
	e := state.GetEndpoints()[0]
	if state.GetEjectedPercent() != 100 || e.GetState() != reportv1.State_OPEN || e.GetUntil() == nil || e.GetConsecutiveFailures() != 7 {
		t.Errorf("state %v", state)
	}
	if all := r.Collect(true); len(all.GetClusters()) != 1 || len(all.GetEvents()) != 0 {
		t.Errorf("on a new stream: %v", all)
	}
	r.apply()
	if report := r.Collect(false); len(report.GetRemovedClusters()) != 1 || report.GetRemovedClusters()[0] != "c" {
		t.Errorf("after the cluster went: %v", report)
	}
}

func TestReportsReturnedAreSentAgain(t *testing.T) {
	r := newReportRig(t, 0)
	r.Collect(true)
	r.fail(7)
	r.Return(r.Collect(false))
	if again := r.Collect(true); len(again.GetEvents()) != 1 {
		t.Errorf("%v", again)
	}
	if again := r.Collect(false); len(again.GetEvents()) != 0 {
		t.Errorf("told twice: %v", again)
	}
}

func TestReportsSayWhatWasDropped(t *testing.T) {
	r := newReportRig(t, 2)
	r.Collect(true)
	r.fail(7)
	for range 3 {
		r.now += time.Hour // a probe is due
		r.fail(1)
	}
	report := r.Collect(false)
	if len(report.GetEvents()) != 2 || report.GetDroppedEvents() != 5 { // one trip, three times two
		t.Errorf("%d events, %d dropped", len(report.GetEvents()), report.GetDroppedEvents())
	}
}
