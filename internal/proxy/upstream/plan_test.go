package upstream

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/balance"
)

var answered = breaker.Result{Status: 200, GRPCStatus: -1}

// shape is how many endpoints a cluster has by priority, and in what zones.
type shape []struct {
	priority uint32
	zone     string
	weight   uint32 // of the zone
	n        int
}

func (s shape) config() Config {
	cfg := config()
	cfg.LB = balance.Random
	cfg.Breaker.Detectors.Consecutive.Failures = 1
	for _, p := range s {
		for i := range p.n {
			cfg.Endpoints = append(cfg.Endpoints, EndpointConfig{
				Address: fmt.Sprintf("p%d%s%d:1", p.priority, p.zone, i),
				Place:   Place{Priority: p.priority, Locality: Locality{Zone: p.zone}, LocalityWeight: p.weight},
			})
		}
	}
	return cfg
}

// fail opens the first n endpoints whose address begins so.
func fail(t *testing.T, c *Cluster, prefix string, n int, now time.Duration) {
	t.Helper()
	for _, e := range c.Endpoints() {
		if n > 0 && len(e.address) >= len(prefix) && e.address[:len(prefix)] == prefix {
			p, ok := e.breaker.Acquire(now)
			if !ok {
				t.Fatalf("%s gives no permit", e.address)
			}
			p.Done(now, failed)
			n--
		}
	}
	if n > 0 {
		t.Fatalf("%d too few endpoints begin with %s", n, prefix)
	}
}

// shares are what those whose addresses begin alike got of many picks.
func shares(t *testing.T, c *Cluster, now time.Duration, prefix int, keyed bool) map[string]float64 {
	t.Helper()
	const picks = 20_000
	rng := rand.New(rand.NewPCG(1, 1))
	out := map[string]float64{}
	for range picks {
		e, p, ok := c.Pick(now, Key{Hash: rng.Uint64(), Hashed: keyed})
		if !ok {
			t.Fatal("no endpoint")
		}
		p.Done(now, answered)
		out[e.address[:prefix]] += 1.0 / picks
	}
	return out
}

func wantShares(t *testing.T, what string, got, want map[string]float64) {
	t.Helper()
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s: %s got %.3f, want nothing", what, k, got[k])
		}
	}
	for k, w := range want {
		if math.Abs(got[k]-w) > 0.02 {
			t.Errorf("%s: %s got %.3f, want about %.3f", what, k, got[k], w)
		}
	}
}

// Requests overflow to the next priorities as their endpoints open, in Envoy's
// shares, and come back as these recover. With hashes it is the same.
func TestFailover(t *testing.T) {
	for _, policy := range []balance.Policy{balance.Random, balance.RingHash, balance.Maglev} {
		now := time.Second
		s := newSet(func() time.Duration { return now })
		cfg := shape{{0, "a", 0, 10}, {1, "b", 0, 10}, {2, "c", 0, 10}}.config()
		cfg.LB = policy
		cfg.Breaker.Recovery.Jitter = 0
		c := s.Apply([]Config{cfg})[cfg.Name]
		look := func(what string, want map[string]float64) {
			t.Helper()
			wantShares(t, fmt.Sprintf("%v, %s", policy, what), shares(t, c, now, 2, policy.Hashes()), want)
		}
		look("all are closed", map[string]float64{"p0": 1})
		fail(t, c, "p0", 2, now)
		look("8 of 10 closed", map[string]float64{"p0": 1})
		for _, e := range c.Endpoints()[2:5] {
			p, _ := e.breaker.Acquire(now)
			p.Done(now, failed)
		}
		look("5 of 10 closed", map[string]float64{"p0": 0.7, "p1": 0.3})
		fail(t, c, "p1", 10, now)
		look("none of the second", map[string]float64{"p0": 0.7, "p2": 0.3})
		for _, e := range c.Endpoints()[5:10] {
			p, _ := e.breaker.Acquire(now)
			p.Done(now, failed)
		}
		look("none of the first two", map[string]float64{"p2": 1})

		// Each request that comes after a back-off is a probe first, of the
		// best priority as long as it is not whole; the second is not needed then.
		now += 2 * time.Second
		probes := map[string]int{}
		for range 10 {
			e, p, ok := c.Pick(now, Key{})
			if !ok || !p.Probe() {
				t.Fatalf("%v: the %dth request after the back-off was no probe", policy, len(probes))
			}
			probes[e.address[:2]]++
			p.Done(now, answered)
		}
		if probes["p0"] != 10 {
			t.Errorf("%v: probes went to %v, want all 10 to p0", policy, probes)
		}
		look("the first have recovered", map[string]float64{"p0": 1})
	}
}

// What is not needed is left in peace: requests are no probes of priorities
// that get none.
func TestSparePrioritiesAreNotProbed(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	cfg := shape{{0, "a", 0, 2}, {1, "b", 0, 2}}.config()
	c := s.Apply([]Config{cfg})[cfg.Name]
	fail(t, c, "p1", 1, now)
	now += time.Minute
	wantShares(t, "a spare one is open", shares(t, c, now, 2, false), map[string]float64{"p0": 1})
	// As soon as it is needed, it is.
	fail(t, c, "p0", 2, now)
	if e, p, ok := c.Pick(now, Key{}); !ok || e.address != "p1b0:1" || !p.Probe() {
		t.Errorf("picked %v, probe %v; want the probe of p1b0", e, p.Probe())
	}
}

// With nothing else left, all are probed.
func TestAllAreProbedWhenAllAreOpen(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	cfg := shape{{0, "a", 0, 1}, {1, "b", 0, 1}}.config()
	c := s.Apply([]Config{cfg})[cfg.Name]
	fail(t, c, "p", 2, now)
	if _, _, ok := c.Pick(now, Key{}); ok {
		t.Fatal("picked one of none")
	}
	now += time.Minute
	for range 2 {
		if _, p, ok := c.Pick(now, Key{}); !ok || !p.Probe() {
			t.Fatal("no probe is admitted")
		}
	}
}

func TestPrioritiesMayChange(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	cfg := shape{{0, "a", 0, 1}, {1, "b", 0, 1}}.config()
	c := s.Apply([]Config{cfg})[cfg.Name]
	next := cfg
	next.Endpoints = slices.Clone(cfg.Endpoints)
	next.Endpoints[0].Place.Priority, next.Endpoints[1].Place.Priority = 1, 0
	s.Apply([]Config{next})
	wantShares(t, "turned round", shares(t, c, now, 2, false), map[string]float64{"p1": 1})
}

// The factor of the assignment: 100 is none, so that requests overflow with the
// first endpoint that opens.
func TestOverprovisioningFactor(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	cfg := shape{{0, "a", 0, 10}, {1, "b", 0, 10}}.config()
	cfg.Overprovision = 100
	c := s.Apply([]Config{cfg})[cfg.Name]
	fail(t, c, "p0", 1, now)
	wantShares(t, "1 of 10 open, factor 100", shares(t, c, now, 2, false), map[string]float64{"p0": 0.9, "p1": 0.1})
}

// Panic uses a priority whole when all together have too little.
func TestPanicByPriority(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	cfg := shape{{0, "a", 0, 4}, {1, "b", 0, 4}}.config()
	cfg.Breaker.Guards.PanicThreshold = 50
	c := s.Apply([]Config{cfg})[cfg.Name]
	fail(t, c, "p0", 4, now)
	wantShares(t, "the second can take all", shares(t, c, now, 2, false), map[string]float64{"p1": 1})
	fail(t, c, "p1", 3, now)
	want := map[string]float64{}
	for _, e := range c.Endpoints() {
		want[e.address[:4]] = 1.0 / 8
	}
	wantShares(t, "1 of 8 left: all are used", shares(t, c, now, 4, false), want)
}

// Localities get requests by their weights, lowered where too few of their
// endpoints are ready.
func TestLocalityWeights(t *testing.T) {
	for _, policy := range []balance.Policy{balance.Random, balance.RoundRobin} {
		now := time.Second
		s := newSet(func() time.Duration { return now })
		cfg := shape{{0, "a", 3, 2}, {0, "b", 1, 6}, {0, "c", 0, 4}}.config()
		cfg.LB, cfg.LocalityWeighted = policy, true
		c := s.Apply([]Config{cfg})[cfg.Name]
		wantShares(t, policy.String(), shares(t, c, now, 3, false), map[string]float64{"p0a": 0.75, "p0b": 0.25})
		fail(t, c, "p0a", 1, now) // 1.4 x 1/2 of weight 3
		wantShares(t, policy.String()+", half of a is open", shares(t, c, now, 3, false), map[string]float64{"p0a": 2.1 / 3.1, "p0b": 1 / 3.1})
		cfg.LocalityWeighted = false
		s.Apply([]Config{cfg})
		wantShares(t, policy.String()+", without weights", shares(t, c, now, 3, false), map[string]float64{"p0a": 1.0 / 11, "p0b": 6.0 / 11, "p0c": 4.0 / 11})
	}
}

// While a breaker is open, the keys of its endpoint go to others and no other
// key moves; when it closes they come back.
func TestKeysStayWhileABreakerIsOpen(t *testing.T) {
	for _, policy := range []balance.Policy{balance.RingHash, balance.Maglev} {
		now := time.Second
		s := newSet(func() time.Duration { return now })
		cfg := shape{{0, "a", 0, 10}}.config()
		cfg.LB = policy
		cfg.Breaker.Recovery.Jitter = 0
		c := s.Apply([]Config{cfg})[cfg.Name]
		place := func() []string {
			out := make([]string, 5000)
			for i := range out {
				e, p, ok := c.Pick(now, Key{Hash: uint64(i) * 0x9E3779B97F4A7C15, Hashed: true})
				if !ok {
					t.Fatal("no endpoint")
				}
				p.Done(now, answered)
				out[i] = e.address
			}
			return out
		}
		before := place()
		fail(t, c, "p0a3", 1, now)
		heirs := map[string]int{}
		for i, during := range place() {
			if before[i] == "p0a3:1" {
				heirs[during]++
			} else if during != before[i] {
				t.Fatalf("%v: key %d moved from %s to %s, neither of which is open", policy, i, before[i], during)
			}
		}
		if len(heirs) < 7 || heirs["p0a3:1"] != 0 {
			t.Errorf("%v: the keys of the open one went to %v, want most of the others", policy, heirs)
		}
		now += 2 * time.Second
		_, p, ok := c.Pick(now, Key{})
		if !ok || !p.Probe() {
			t.Fatalf("%v: no probe after the back-off", policy)
		}
		p.Done(now, answered)
		if after := place(); !slices.Equal(before, after) {
			t.Errorf("%v: after recovery some keys are elsewhere", policy)
		}
	}
}

// Where almost all are open, what is left is found all the same.
func TestHashingWithOneEndpointLeft(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	cfg := shape{{0, "a", 0, 300}}.config()
	cfg.LB = balance.RingHash
	c := s.Apply([]Config{cfg})[cfg.Name]
	fail(t, c, "p0a", 299, now)
	wantShares(t, "one is left", shares(t, c, now, 4, true), map[string]float64{"p0a2": 1})
}

func TestWithoutAHashAnyEndpoint(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	cfg := shape{{0, "a", 0, 4}}.config()
	cfg.LB = balance.Maglev
	c := s.Apply([]Config{cfg})[cfg.Name]
	wantShares(t, "no hash", shares(t, c, now, 4, false), map[string]float64{"p0a0": 0.25, "p0a1": 0.25, "p0a2": 0.25, "p0a3": 0.25})
}

func TestTableIsKeptWhileEndpointsAre(t *testing.T) {
	s := newSet(func() time.Duration { return time.Second })
	cfg := shape{{0, "a", 0, 4}}.config()
	cfg.LB = balance.Maglev
	c := s.Apply([]Config{cfg})[cfg.Name]
	table := c.hashes[0].table
	cfg.FailFast++
	s.Apply([]Config{cfg})
	if c.hashes[0].table != table {
		t.Error("the table was made again though no endpoint changed")
	}
	cfg.TableSize = 251
	s.Apply([]Config{cfg})
	if c.hashes[0].table == table {
		t.Error("a table of another size is the one from before")
	}
}

// A new endpoint gets its share little by little, beside those that are there.
func TestNewEndpointsStartSlowly(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	cfg := shape{{0, "a", 0, 4}}.config()
	cfg.Breaker.SlowStart, cfg.Breaker.Ramp = 100*time.Second, breaker.Ramp{Added: true}
	c := s.Apply([]Config{cfg})[cfg.Name]
	quarter := map[string]float64{"p0a0": 0.25, "p0a1": 0.25, "p0a2": 0.25, "p0a3": 0.25}
	wantShares(t, "all are new", shares(t, c, now, 4, false), quarter)
	now += 200 * time.Second
	cfg.Endpoints = append(cfg.Endpoints, EndpointConfig{Address: "p1new:1"})
	s.Apply([]Config{cfg})
	for after, part := range map[time.Duration]float64{0: 0.1, 30 * time.Second: 0.3, 100 * time.Second: 1} {
		got := shares(t, c, now+after, 2, false)
		wantShares(t, fmt.Sprint("after ", after), got, map[string]float64{"p0": 4 / (4 + part), "p1": part / (4 + part)})
	}
}

// A retry goes to another endpoint: with a hash to the next of its key, and to
// none when all were tried.
func TestPickOther(t *testing.T) {
	for _, policy := range []balance.Policy{balance.RoundRobin, balance.PeakEWMA, balance.RingHash} {
		now := time.Second
		s := newSet(func() time.Duration { return now })
		cfg := shape{{0, "a", 0, 3}}.config()
		cfg.LB = policy
		c := s.Apply([]Config{cfg})[cfg.Name]
		for i := range 500 {
			key := Key{Hash: uint64(i) << 55, Hashed: true}
			var tried []*Endpoint
			for range 3 {
				e, p, ok := c.PickOther(now, key, tried)
				if !ok || slices.Contains(tried, e) {
					t.Fatalf("%v: after %d tries: %v, %v", policy, len(tried), e, ok)
				}
				p.Done(now, answered)
				tried = append(tried, e)
			}
			if e, _, ok := c.PickOther(now, key, tried); ok {
				t.Fatalf("%v: %s was tried before", policy, e.address)
			}
		}
	}
}

// Nothing is allocated, whatever decides.
func TestPickAllocatesNothing(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	for p := balance.PeakEWMA; p <= balance.Maglev; p++ {
		cfg := shape{{0, "a", 2, 20}, {0, "b", 1, 20}, {1, "c", 1, 9}}.config()
		cfg.LB, cfg.LocalityWeighted = p, true
		cfg.Endpoints[0].Weight = 5
		c := s.Apply([]Config{cfg})[cfg.Name]
		fail(t, c, "p0a", 15, now)
		hash := uint64(1)
		if n := testing.AllocsPerRun(1000, func() {
			hash *= 0x9E3779B97F4A7C15
			_, p, _ := c.Pick(now, Key{Hash: hash, Hashed: true})
			p.Done(now, answered)
		}); n != 0 {
			t.Errorf("%v: %v allocations for a pick", p, n)
		}
		s.Apply(nil)
		s.emptyLeaving(now, 0)
	}
}

// Requests pick while breakers open and close and the configuration changes, and
// always get an endpoint that was there a moment ago.
func TestPickWhileAllChanges(t *testing.T) {
	var now atomic.Int64
	now.Store(int64(time.Second))
	clock := func() time.Duration { return time.Duration(now.Load()) }
	s := newSet(clock)
	shapes := []shape{
		{{0, "a", 2, 5}, {0, "b", 1, 5}, {1, "c", 1, 3}},
		{{0, "a", 2, 2}, {1, "b", 0, 5}},
		{{0, "b", 0, 4}, {3, "a", 0, 5}},
	}
	cfg := shapes[0].config()
	c := s.Apply([]Config{cfg})[cfg.Name]
	var wg sync.WaitGroup
	done := make(chan struct{})
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 9))
			for {
				select {
				case <-done:
					return
				default:
				}
				at := clock()
				e, p, ok := c.PickOther(at, Key{Hash: rng.Uint64(), Hashed: rng.IntN(2) == 0}, nil)
				if !ok {
					continue
				}
				_ = e.Place()
				if rng.IntN(5) == 0 {
					p.Done(at, failed)
				} else {
					p.Done(at, answered)
				}
			}
		})
	}
	for i := range 200 {
		next := shapes[i%len(shapes)].config()
		next.LB = balance.Policy(i % 6)
		next.LocalityWeighted = i%2 == 0
		next.Breaker.Guards.PanicThreshold = float64(i % 3 * 25)
		next.TableSize = 251
		s.Apply([]Config{next})
		now.Add(int64(200 * time.Millisecond))
		c.sweep(clock())
	}
	close(done)
	wg.Wait()
	now.Add(int64(time.Hour))
	for range 200 { // probes first
		if _, p, ok := c.Pick(clock(), Key{}); ok {
			p.Done(clock(), answered)
		}
	}
	for _, st := range c.States() {
		if st.State != breaker.Closed && c.EndpointPlace(st.Name).Priority == 0 {
			t.Errorf("%s is %v an hour later, with all answers good", st.Name, st.State)
		}
	}
}

// Picks cost the same for ten endpoints and for ten thousand.
func BenchmarkPick(b *testing.B) {
	for p := balance.PeakEWMA; p <= balance.Maglev; p++ {
		for _, n := range []int{10, 1000, 10_000} {
			b.Run(fmt.Sprintf("%v/%d", p, n), func(b *testing.B) {
				now := time.Second
				s := newSet(func() time.Duration { return now })
				cfg := shape{{0, "a", 0, n}}.config()
				cfg.LB = p
				benchmarkPicks(b, s.Apply([]Config{cfg})[cfg.Name], now)
			})
		}
	}
	b.Run("priorities and localities", func(b *testing.B) {
		now := time.Second
		s := newSet(func() time.Duration { return now })
		cfg := shape{{0, "a", 2, 400}, {0, "b", 1, 400}, {1, "c", 1, 400}}.config()
		cfg.LocalityWeighted = true
		c := s.Apply([]Config{cfg})[cfg.Name]
		for _, e := range c.Endpoints()[:400] {
			p, _ := e.breaker.Acquire(now)
			p.Done(now, failed)
		}
		benchmarkPicks(b, c, now)
	})
}

func benchmarkPicks(b *testing.B, c *Cluster, now time.Duration) {
	hash := uint64(1)
	b.ReportAllocs()
	for b.Loop() {
		hash *= 0x9E3779B97F4A7C15
		_, p, _ := c.Pick(now, Key{Hash: hash, Hashed: true})
		p.Done(now, answered)
	}
}

// What a breaker's transition costs whoever picks next.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		for _, weight := range []uint32{1, 3} {
			b.Run(fmt.Sprintf("weight %d/%d", weight, n), func(b *testing.B) {
				now := time.Second
				s := newSet(func() time.Duration { return now })
				cfg := shape{{0, "a", 0, n / 2}, {1, "b", 0, n / 2}}.config()
				cfg.Endpoints[0].Weight = weight
				c := s.Apply([]Config{cfg})[cfg.Name]
				for b.Loop() {
					c.rebuild(now)
				}
			})
		}
	}
}
