package breaker

import (
	"testing"
	"time"
)

// A call allocates nothing, whatever the policy, whether it succeeds, fails or
// is refused.
func TestCallsDoNotAllocate(t *testing.T) {
	for _, bb := range benchmarks {
		t.Run(bb.name, func(t *testing.T) {
			g := NewGroup(bb.cfg, Options{OnEvent: func(Event) {}})
			e := g.Add("a")
			g.Add("b")
			now, n := time.Duration(0), 0
			call := func() {
				now += time.Millisecond
				n++
				r := Result{Status: 200, GRPCStatus: -1}
				if n%20 == 0 {
					r.Status = 503
				}
				p, ok := e.Acquire(now)
				if !ok {
					t.Fatal("opened")
				}
				p.Done(now, r)
			}
			call()
			if got := testing.AllocsPerRun(1000, call); got != 0 {
				t.Errorf("%v allocations for each call", got)
			}
		})
	}
	r := newRig(t, guarded(Guards{}), 1)
	r.call(0, bad, 1)
	if got := testing.AllocsPerRun(1000, func() {
		r.e[0].Ready(0)
		r.e[0].Acquire(0)
	}); got != 0 {
		t.Errorf("%v allocations for each refusal", got)
	}
	l, b := NewLimits(EnvoyLimits()), NewRetryBudget(DefaultRetryBudget())
	if got := testing.AllocsPerRun(1000, func() {
		l.TryRequest()
		b.Deposit(0)
		b.TryWithdraw(0)
		l.ReleaseRequest()
	}); got != 0 {
		t.Errorf("%v allocations for limits and budget", got)
	}
}
