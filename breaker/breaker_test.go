package breaker

import (
	"testing"
	"time"
)

var (
	good = Result{Status: 200, GRPCStatus: -1}
	bad  = Result{Status: 500, GRPCStatus: -1}
)

func TestConsecutiveTripsProbesAndCloses(t *testing.T) {
	now := time.Duration(0)
	var events []Event
	g := NewGroup(LinkerdConsecutive(), Options{
		Clock:   func() time.Duration { return now },
		OnEvent: func(ev Event) { events = append(events, ev) },
		Rand:    func() float64 { return 0 },
	})
	e := g.Add("a")
	call := func(r Result) {
		t.Helper()
		p, ok := e.Acquire(now)
		if !ok {
			t.Fatalf("no permit at %v, state %v", now, e.State())
		}
		p.Done(now, r)
	}
	for range 7 {
		if e.State() != Closed {
			t.Fatal("opened before the seventh failure")
		}
		call(bad)
	}
	if e.State() != Open || e.Ready(now) {
		t.Fatalf("state %v after 7 failures", e.State())
	}
	now = time.Second
	call(bad) // probe
	if next, ok := g.NextAvailable(now); !ok || next != 3*time.Second {
		t.Fatalf("next probe at %v, want 3s: back-off doubles", next)
	}
	now = 3 * time.Second
	call(good)
	if e.State() != Closed {
		t.Fatalf("state %v after a good probe", e.State())
	}
	for _, ev := range events {
		t.Log(ev.At, ev.From, ev.To, ev.Reason, ev.Detail)
	}
}
