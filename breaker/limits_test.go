package breaker

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestLimitsDefaults(t *testing.T) {
	if got, want := EnvoyLimits(), (LimitsConfig{MaxConnections: 1024, MaxPending: 1024, MaxRequests: 1024, MaxRetries: 3}); got != want {
		t.Errorf("Envoy's limits: %+v", got)
	}
	u := UnlimitedLimits()
	for _, n := range []uint32{u.MaxConnections, u.MaxPending, u.MaxRequests, u.MaxRetries} {
		if n != 4294967295 {
			t.Errorf("unlimited: %+v", u)
		}
	}
}

func TestLimits(t *testing.T) {
	cfg := LimitsConfig{MaxConnections: 1, MaxPending: 2, MaxRequests: 3, MaxRetries: 0}
	kinds := []struct {
		name    string
		try     func(*Limits) bool
		release func(*Limits)
		count   func(LimitCounts) uint64
		want    int
	}{
		{"connections", (*Limits).TryConnection, (*Limits).ReleaseConnection, func(c LimitCounts) uint64 { return c.Connections }, 1},
		{"pending", (*Limits).TryPending, (*Limits).ReleasePending, func(c LimitCounts) uint64 { return c.Pending }, 2},
		{"requests", (*Limits).TryRequest, (*Limits).ReleaseRequest, func(c LimitCounts) uint64 { return c.Requests }, 3},
		{"retries", (*Limits).TryRetry, (*Limits).ReleaseRetry, func(c LimitCounts) uint64 { return c.Retries }, 0},
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			l := NewLimits(cfg)
			fill := func() (n int) {
				for n < 100 && k.try(l) {
					n++
				}
				return n
			}
			if got := fill(); got != k.want {
				t.Errorf("%d taken, want %d", got, k.want)
			}
			if got := k.count(l.Overflows()); got != 1 {
				t.Errorf("%d overflows, want 1", got)
			}
			if got := k.count(l.InFlight()); got != uint64(k.want) {
				t.Errorf("%d in flight, want %d", got, k.want)
			}
			if k.want > 0 {
				k.release(l)
				if !k.try(l) || k.try(l) {
					t.Error("a release makes room for one")
				}
			}
			scaled := cfg
			scaled.PerEndpoint = true
			l.Update(scaled)
			l.SetEndpoints(4)
			if got := fill(); got != 3*k.want {
				t.Errorf("%d more with 4 endpoints, want %d", got, 3*k.want)
			}
			l.SetEndpoints(0) // counts as one; what is above may end
			if k.try(l) {
				t.Error("room above the limit")
			}
			for range 4 * k.want {
				k.release(l)
			}
			l.Update(UnlimitedLimits())
			if got := fill(); got != 100 {
				t.Errorf("%d taken without limits", got)
			}
		})
	}
}

func TestRequestsPerConnection(t *testing.T) {
	for set, want := range map[uint32]uint32{0: Unlimited, 1: 1, 7: 7, Unlimited: Unlimited} {
		if got := NewLimits(LimitsConfig{MaxRequestsPerConnection: set}).RequestsPerConnection(); got != want {
			t.Errorf("%d means %d, want %d", set, got, want)
		}
	}
}

// Envoy: max(20% x (active + pending), 3).
func TestRetryConcurrency(t *testing.T) {
	cfg := UnlimitedLimits()
	cfg.MaxRetries = 0
	cfg.RetryBudget = &RetryConcurrency{Percent: 20, MinConcurrency: 3}
	for _, tt := range []struct{ active, pending, want int }{{0, 0, 3}, {15, 0, 3}, {19, 0, 3}, {20, 0, 4}, {60, 40, 20}} {
		l := NewLimits(cfg)
		for range tt.active {
			l.TryRequest()
		}
		for range tt.pending {
			l.TryPending()
		}
		got := 0
		for l.TryRetry() {
			got++
		}
		if got != tt.want {
			t.Errorf("%d active and %d pending allow %d retries, want %d", tt.active, tt.pending, got, tt.want)
		}
	}
	cfg.RetryBudget.Percent = 101
	if cfg.Validate() == nil {
		t.Error("101% is allowed")
	}
}

func TestReleaseWithoutTryPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	NewLimits(EnvoyLimits()).ReleaseRequest()
}

// The limit holds at every instant, and nobody is refused while there is room.
func TestLimitsConcurrently(t *testing.T) {
	const workers, limit = 8, 8
	l := NewLimits(LimitsConfig{MaxRequests: limit})
	var in, most atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range 2000 {
				if !l.TryRequest() {
					t.Error("refused with room for all")
					return
				}
				if n := in.Add(1); n > most.Load() {
					most.Store(n)
				}
				in.Add(-1)
				l.ReleaseRequest()
			}
		})
	}
	wg.Wait()
	if most.Load() > limit || l.InFlight().Requests != 0 {
		t.Errorf("%d at a time, %d left", most.Load(), l.InFlight().Requests)
	}
}

// The one connection that an endpoint may have in any case is counted, but not
// refused.
func TestAddConnection(t *testing.T) {
	l := NewLimits(LimitsConfig{MaxConnections: 1})
	l.AddConnection()
	l.AddConnection()
	if l.TryConnection() || l.InFlight().Connections != 2 {
		t.Errorf("in flight: %+v", l.InFlight())
	}
	l.ReleaseConnection()
	if l.TryConnection() {
		t.Error("room at the limit")
	}
	l.ReleaseConnection()
	if !l.TryConnection() {
		t.Error("no room under the limit")
	}
}
