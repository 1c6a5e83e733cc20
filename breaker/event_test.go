package breaker

import (
	"reflect"
	"testing"
	"time"
)

func TestEventHasTheLastRequests(t *testing.T) {
	r := newRig(t, LinkerdConsecutive(), 2)
	r.call(0, good, 20)
	for i := range 7 {
		r.now += time.Millisecond
		r.call(0, Result{Status: 500 + i, GRPCStatus: 13, Latency: time.Duration(i + 1)}, 1)
	}
	ev := r.last()
	if len(ev.Last) != 8 {
		t.Fatalf("%d requests, want 8", len(ev.Last))
	}
	if got := ev.Last[0]; got.Status != 200 || got.Class != Success {
		t.Errorf("first is %+v", got)
	}
	want := Record{At: 7 * time.Millisecond, Latency: 7, Status: 506, GRPC: 13, Cause: Response, Class: Failure}
	if got := ev.Last[7]; got != want {
		t.Errorf("last is %+v, want %+v", got, want)
	}
	if ev.Seq != 1 || ev.At != r.now || ev.Endpoint != "a" || ev.From != Closed || ev.To != Open ||
		ev.Reason != ConsecutiveFailures || ev.Until != r.now+time.Second || ev.Ejected != 1 || ev.Endpoints != 2 {
		t.Errorf("event: %+v", ev)
	}
	r.now += time.Second
	r.call(0, good, 1)
	if got := r.last().Last[7]; !got.Probe {
		t.Errorf("the probe is not marked: %+v", got)
	}
}

func TestStates(t *testing.T) {
	r := newRig(t, LinkerdConsecutive(), 2)
	r.call(1, good, 3)
	r.call(1, bad, 1)
	r.now = time.Second
	r.call(0, bad, 7)
	r.now = 2500 * time.Millisecond
	got := r.g.States()
	for i := range got {
		if len(got[i].Last) == 0 {
			t.Error("no last requests")
		}
		got[i].Last = nil
	}
	want := []EndpointState{
		{
			Name: "a", State: Open, Since: time.Second, Until: 2 * time.Second,
			Reason: ConsecutiveFailures, Detail: "7 failures in a row, limit 7", Failures: 7, Trips: 1,
			OpenTime: 1500 * time.Millisecond,
		},
		{Name: "b", Failures: 1, SuccessRate: 0.75},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("states:\n%+v\nwant:\n%+v", got, want)
	}
	r.call(0, bad, 1) // the probe
	if got := r.g.States()[0].Failures; got != 8 {
		t.Errorf("%d failures in a row after a failed probe, want 8", got)
	}
	r.now = 4500 * time.Millisecond
	r.call(0, good, 1)
	s := r.g.States()[0]
	if s.State != Closed || s.OpenTime != 3500*time.Millisecond || s.Failures != 0 || s.Detail == "" || s.Until != 0 {
		t.Errorf("state: %+v", s)
	}
	if fresh := newRig(t, Config{}, 1).g.States()[0]; fresh.SuccessRate != -1 || fresh.Last != nil {
		t.Errorf("state: %+v", fresh)
	}
}

// OnEvent may use the group; what that causes follows in order.
func TestOnEventMayCallTheGroup(t *testing.T) {
	var g *Group
	var seq []uint64
	g = NewGroup(guarded(Guards{}), Options{
		Clock: func() time.Duration { return 0 },
		OnEvent: func(ev Event) {
			seq = append(seq, ev.Seq)
			g.States()
			if ev.Seq == 1 {
				p, _ := g.Add("second").Acquire(0)
				p.Done(0, bad)
				if len(seq) != 1 {
					t.Error("an event was delivered inside another")
				}
			}
		},
	})
	p, _ := g.Add("first").Acquire(0)
	p.Done(0, bad)
	if !reflect.DeepEqual(seq, []uint64{1, 2}) {
		t.Errorf("events %v, want 1 2", seq)
	}
}

// A panic of OnEvent loses that event and no other.
func TestOnEventMayPanic(t *testing.T) {
	n := 0
	g := NewGroup(guarded(Guards{}), Options{OnEvent: func(Event) {
		if n++; n == 1 {
			panic("first")
		}
	}})
	a, b := g.Add("a"), g.Add("b")
	func() {
		defer func() { _ = recover() }()
		p, _ := a.Acquire(0)
		p.Done(0, bad)
	}()
	p, _ := b.Acquire(0)
	p.Done(0, bad)
	if n != 2 || a.State() != Open || b.State() != Open {
		t.Errorf("%d events, states %v %v", n, a.State(), b.State())
	}
}
