package upstream

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/balance"
	"github.com/reclosermesh/recloser/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubbleClock is a clock on synctest's time.
func bubbleClock() breaker.Clock {
	start := time.Now()
	return func() time.Duration { return time.Since(start) + time.Second }
}

func newSet(clock breaker.Clock) *Set {
	return NewSet(SetOptions{
		Clock:   clock,
		Metrics: telemetry.NewProxy(telemetry.Options{}),
		Logger:  slog.New(slog.DiscardHandler),
	})
}

func config(addresses ...string) Config {
	cfg := Config{
		Name:       "outbound|8080||bb.demo.svc.cluster.local",
		Breaker:    breaker.LinkerdConsecutive(),
		Limits:     breaker.UnlimitedLimits(),
		FailFast:   DefaultFailFast,
		MaxWaiting: DefaultMaxWaiting,
	}
	for _, a := range addresses {
		cfg.Endpoints = append(cfg.Endpoints, EndpointConfig{Address: a})
	}
	return cfg
}

var failed = breaker.Result{Status: 500, GRPCStatus: -1}

// trip fails an endpoint until its breaker opens.
func trip(t *testing.T, c *Cluster, address string, now time.Duration) {
	t.Helper()
	for range 100_000 {
		e, p, ok := c.Pick(now, Key{})
		if !ok {
			return
		}
		if e.Address() == address {
			p.Done(now, failed)
		} else {
			p.Done(now, breaker.Result{Status: 200, GRPCStatus: -1})
		}
		for _, s := range c.States() {
			if s.Name == address && s.State == breaker.Open {
				return
			}
		}
	}
	t.Fatalf("endpoint %s did not open", address)
}

func TestOpenEndpointIsNotPicked(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	cfg := config("a:1", "b:1")
	c := s.Apply([]Config{cfg})[cfg.Name]
	trip(t, c, "a:1", now)
	for range 200 {
		e, p, ok := c.Pick(now, Key{})
		if !ok || e.Address() != "b:1" {
			t.Fatalf("picked %v, %v while a is open", e, ok)
		}
		p.Done(now, breaker.Result{Status: 200, GRPCStatus: -1})
	}
}

func TestDueProbeIsTakenByTheNextRequest(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	cfg := config("a:1", "b:1")
	c := s.Apply([]Config{cfg})[cfg.Name]
	trip(t, c, "a:1", now)
	now += time.Minute // beyond every back-off
	e, p, ok := c.Pick(now, Key{})
	if !ok || e.Address() != "a:1" || !p.Probe() {
		t.Fatalf("the first request after the back-off went to %v (probe %v), want the probe of a", e, p.Probe())
	}
	for range 50 {
		if e, q, ok := c.Pick(now, Key{}); !ok || e.Address() != "b:1" || q.Probe() {
			t.Fatal("a second probe, or no endpoint, while one probe is out")
		}
	}
	p.Done(now, breaker.Result{Status: 200, GRPCStatus: -1})
	seen := map[string]bool{}
	for range 200 {
		e, _, _ := c.Pick(now, Key{})
		seen[e.Address()] = true
	}
	if !seen["a:1"] || !seen["b:1"] {
		t.Errorf("after the probe succeeded only %v got requests", seen)
	}
}

func TestLiveStateOutlivesConfiguration(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	cfg := config("a:1", "b:1")
	c := s.Apply([]Config{cfg})[cfg.Name]
	trip(t, c, "a:1", now)
	cfg.LB = balance.Random
	cfg.Endpoints = append(cfg.Endpoints, EndpointConfig{Address: "c:1", Weight: 3})
	if again := s.Apply([]Config{cfg})[cfg.Name]; again != c {
		t.Fatal("the cluster was made anew")
	}
	if got := c.States()[0]; got.Name != "a:1" || got.State != breaker.Open {
		t.Errorf("after the change a is %v, want still open", got.State)
	}
	if got := len(s.Apply(nil)); got != 0 {
		t.Errorf("%d clusters after all were removed", got)
	}
	s.sweep(now + leaveAfter)
	if _, _, ok := c.Pick(now, Key{}); ok {
		t.Error("a removed cluster still gives endpoints")
	}
}

func TestFailFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := bubbleClock()
		s := newSet(clock)
		cfg := config("a:1")
		cfg.Breaker.Recovery.Min, cfg.Breaker.Recovery.Max = time.Hour, time.Hour
		c := s.Apply([]Config{cfg})[cfg.Name]
		trip(t, c, "a:1", clock())

		begin := clock()
		_, _, err := c.Await(clock(), 0, nil, Key{})
		if !errors.Is(err, ErrNoHealthyUpstream) || clock()-begin != DefaultFailFast {
			t.Errorf("first: %v after %v, want %v after %v", err, clock()-begin, ErrNoHealthyUpstream, DefaultFailFast)
		}
		begin = clock()
		if _, _, err = c.Await(clock(), 0, nil, Key{}); !errors.Is(err, ErrNoHealthyUpstream) || clock() != begin {
			t.Errorf("later: %v after %v, want %v at once", err, clock()-begin, ErrNoHealthyUpstream)
		}
	})
}

func TestWaitingEndsWithTheFirstUsableEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := bubbleClock()
		s := newSet(clock)
		cfg := config("a:1")
		cfg.Breaker.Recovery.Jitter = 0
		c := s.Apply([]Config{cfg})[cfg.Name]
		trip(t, c, "a:1", clock())

		// The back-off is 1 s: the first waiter becomes the probe then.
		begin := clock()
		e, p, err := c.Await(clock(), 0, nil, Key{})
		if err != nil || !p.Probe() || clock()-begin != time.Second {
			t.Fatalf("got %v, %v after %v, want the probe after 1s", e, err, clock()-begin)
		}
		// The second waits for what the probe finds.
		got := make(chan error)
		go func() {
			_, p, err := c.Await(clock(), 0, nil, Key{})
			if err == nil && p.Probe() {
				err = errors.New("a second probe")
			}
			got <- err
		}()
		synctest.Wait()
		if c.Waiting() != 1 {
			t.Fatalf("%d waiting, want 1", c.Waiting())
		}
		p.Done(clock(), breaker.Result{Status: 200, GRPCStatus: -1})
		if err := <-got; err != nil {
			t.Errorf("the waiter got %v after the probe had succeeded", err)
		}
	})
}

func TestWaitingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := bubbleClock()
		s := newSet(clock)
		cfg := config()
		cfg.MaxWaiting = 2
		c := s.Apply([]Config{cfg})[cfg.Name]
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if _, _, err := c.Await(clock(), 0, nil, Key{}); !errors.Is(err, ErrNoHealthyUpstream) {
					t.Errorf("waiter: %v", err)
				}
			})
		}
		synctest.Wait()
		if _, _, err := c.Await(clock(), 0, nil, Key{}); !errors.Is(err, ErrOverflow) {
			t.Errorf("third: %v, want %v", err, ErrOverflow)
		}
		wg.Wait()
		if c.Waiting() != 0 {
			t.Errorf("%d waiting at the end", c.Waiting())
		}
	})
}

func TestWaitingEndsWithDeadlineAndCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := bubbleClock()
		cfg := config()
		c := newSet(clock).Apply([]Config{cfg})[cfg.Name]
		begin := clock()
		if _, _, err := c.Await(begin, begin+time.Second, nil, Key{}); !errors.Is(err, context.DeadlineExceeded) || clock()-begin != time.Second {
			t.Errorf("%v after %v, want the deadline's error after 1s", err, clock()-begin)
		}
		gone := make(chan struct{})
		close(gone)
		if _, _, err := c.Await(clock(), 0, gone, Key{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want the caller's going away", err)
		}
	})
}

func TestNewEndpointEndsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := bubbleClock()
		s := newSet(clock)
		cfg := config()
		c := s.Apply([]Config{cfg})[cfg.Name]
		got := make(chan *Endpoint)
		go func() {
			e, _, _ := c.Await(clock(), 0, nil, Key{})
			got <- e
		}()
		synctest.Wait()
		s.Apply([]Config{config("a:1")})
		if e := <-got; e == nil || e.Address() != "a:1" {
			t.Errorf("got %v, want the endpoint that was added", e)
		}
	})
}

// echo is a server whose connections the test can close.
type echo struct {
	ln    net.Listener
	mu    sync.Mutex
	conns []net.Conn
	wg    sync.WaitGroup
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &echo{ln: ln}
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			s.wg.Go(func() { _, _ = io.Copy(c, c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.closeAll()
		s.wg.Wait()
	})
	return s
}

func (s *echo) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
}

func (s *echo) accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// echoOnce proves that the connection works.
func echoOnce(t *testing.T, c *Conn) {
	t.Helper()
	b := []byte("x")
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
}

func endpointOf(t *testing.T, cfg Config) (*Set, *Endpoint) {
	t.Helper()
	s := newSet(breaker.Monotonic)
	c := s.Apply([]Config{cfg})[cfg.Name]
	t.Cleanup(func() { s.Apply(nil) })
	return s, c.Endpoints()[0]
}

func TestPoolReusesAndReplacesTheDead(t *testing.T) {
	server := newEcho(t)
	_, e := endpointOf(t, config(server.ln.Addr().String()))
	c, err := e.Get(0, never, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	echoOnce(t, c)
	e.Put(c, 0)
	again, err := e.Get(time.Minute, never, false, nil)
	if err != nil || again != c || !again.Reused() {
		t.Fatalf("got %p, %v, want the pooled connection %p", again, err, c)
	}
	echoOnce(t, again)
	e.Put(again, 0)

	server.closeAll()
	for c.checkAlive() { // until the FIN has come through
		runtime.Gosched()
	}
	fresh, err := e.Get(time.Minute, never, false, nil)
	if err != nil || fresh == c || fresh.Reused() {
		t.Fatalf("got %p (reused %v), %v, want a new connection", fresh, fresh.Reused(), err)
	}
	e.Discard(fresh)
}

func TestConnectionLimitQueuesThenOverflows(t *testing.T) {
	server := newEcho(t)
	cfg := config(server.ln.Addr().String())
	cfg.Limits.MaxConnections, cfg.Limits.MaxPending = 1, 1
	_, e := endpointOf(t, cfg)
	first, err := e.Get(0, never, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *Conn)
	go func() {
		c, err := e.Get(0, never, false, nil)
		if err != nil {
			t.Error(err)
		}
		got <- c
	}()
	for e.cluster.limits.Load().InFlight().Pending == 0 {
		runtime.Gosched()
	}
	if _, err := e.Get(0, never, false, nil); !errors.Is(err, ErrOverflow) {
		t.Errorf("third: %v, want %v", err, ErrOverflow)
	}
	e.Put(first, 0)
	if c := <-got; c != first {
		t.Errorf("the waiter got %p, want the connection %p that came back", c, first)
	}
	e.Discard(first)
	if n := e.cluster.limits.Load().InFlight(); n.Connections != 0 || n.Pending != 0 {
		t.Errorf("left in flight: %+v", n)
	}
}

func TestWaitForAConnectionEnds(t *testing.T) {
	server := newEcho(t)
	cfg := config(server.ln.Addr().String())
	cfg.Limits.MaxConnections = 1
	_, e := endpointOf(t, cfg)
	c, err := e.Get(0, never, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Discard(c)
	if _, err := e.Get(0, breaker.Monotonic(), false, nil); !errors.Is(err, ErrPendingTimeout) {
		t.Errorf("%v, want %v", err, ErrPendingTimeout)
	}
}

func TestWaiterLeavesTheQueue(t *testing.T) {
	server := newEcho(t)
	cfg := config(server.ln.Addr().String())
	cfg.Limits.MaxConnections = 1
	_, e := endpointOf(t, cfg)
	c, err := e.Get(0, never, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	close(gone)
	if _, err := e.Get(0, never, false, gone); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	e.Put(c, 0)
	if c2, err := e.Get(0, never, false, nil); err != nil || c2 != c {
		t.Errorf("%p, %v: the connection was lost with the waiter", c2, err)
	}
	e.Discard(c)
}

func TestRequestsPerConnection(t *testing.T) {
	server := newEcho(t)
	cfg := config(server.ln.Addr().String())
	cfg.Limits.MaxRequestsPerConnection = 1
	_, e := endpointOf(t, cfg)
	for range 3 {
		c, err := e.Get(0, never, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		echoOnce(t, c)
		e.Put(c, 0)
	}
	if got := server.accepted(); got != 3 {
		t.Errorf("%d connections for 3 requests, want 3", got)
	}
}

func TestIdleConnectionsExpire(t *testing.T) {
	server := newEcho(t)
	cfg := config(server.ln.Addr().String())
	cfg.IdleTimeout = time.Second
	_, e := endpointOf(t, cfg)
	c, err := e.Get(0, never, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	echoOnce(t, c)
	e.Put(c, time.Minute)
	e.cluster.closeIdle(time.Minute + time.Second/2)
	if e.cluster.limits.Load().InFlight().Connections != 1 {
		t.Fatal("closed before its time")
	}
	e.cluster.closeIdle(time.Minute + 2*time.Second)
	if e.cluster.limits.Load().InFlight().Connections != 0 {
		t.Error("still open after its idle timeout")
	}
}

func TestValidate(t *testing.T) {
	cfg := config("nonsense", "a:1", "a:1")
	cfg.Name, cfg.ConnectTimeout = "", -time.Second
	err := cfg.Validate()
	for _, want := range []string{"name", "connect timeout -1s", "endpoint nonsense", "a:1: is there twice"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

func TestAnEndpointThatRecoversGetsItsShare(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	cfg := config("a:1", "b:1")
	c := s.Apply([]Config{cfg})[cfg.Name]
	ok := breaker.Result{Status: 200, GRPCStatus: -1}
	for range 50 { // b is fast; a was slow before it failed
		for _, e := range c.Endpoints() {
			rtt := time.Millisecond
			if e.Address() == "a:1" {
				rtt = 50 * time.Millisecond
			}
			e.Begin()
			e.Observe(now, rtt)
		}
	}
	trip(t, c, "a:1", now)
	now += 2 * time.Second
	e, p, _ := c.Pick(now, Key{})
	if !p.Probe() {
		t.Fatal("no probe")
	}
	e.Begin()
	p.Done(now, ok)
	e.Abandon()
	got := 0
	for range 1000 {
		e, p, _ := c.Pick(now, Key{})
		p.Done(now, ok)
		if e.Address() == "a:1" {
			got++
		}
	}
	if got < 200 {
		t.Errorf("of 1000 requests after its recovery a got %d", got)
	}
}

// A weight far below the heaviest is a small share, not none: a cost divided by
// none would be infinite, and compare with nothing.
func TestALightEndpointGetsLittle(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	cfg := config("heavy:1", "light:1")
	cfg.Endpoints[0].Weight, cfg.Endpoints[1].Weight = 5000, 1
	c := s.Apply([]Config{cfg})[cfg.Name]
	light := 0
	for range 1000 {
		e, p, ok := c.Pick(now, Key{})
		if !ok {
			t.Fatal("no endpoint")
		}
		if e.Address() == "light:1" {
			light++
		}
		p.Done(now, breaker.Result{Status: 200, GRPCStatus: -1})
	}
	if light > 50 {
		t.Errorf("%d of 1000 requests went to an endpoint of 1/5000 of the other's weight", light)
	}
}

// A request that comes to wait just when an endpoint is back must not leave
// behind that all are down: the next outage would be refused at once.
func TestFailFastCountsFromTheLastOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := bubbleClock()
		s := newSet(clock)
		cfg := config("a:1")
		c := s.Apply([]Config{cfg})[cfg.Name]
		_, p, err := c.Await(clock(), 0, nil, Key{}) // nothing is down
		if err != nil {
			t.Fatal(err)
		}
		p.Done(clock(), breaker.Result{Status: 200, GRPCStatus: -1})
		<-time.After(time.Minute)
		cfg.Endpoints = nil
		s.Apply([]Config{cfg})
		start := clock()
		if _, _, err := c.Await(start, 0, nil, Key{}); !errors.Is(err, ErrNoHealthyUpstream) {
			t.Fatal(err)
		}
		if waited := clock() - start; waited != DefaultFailFast {
			t.Errorf("waited %v, want %v", waited, DefaultFailFast)
		}
	})
}

// A pooled connection whose peer has closed holds a place of the limit that
// others need.
func TestDeadIdleConnectionsAreClosed(t *testing.T) {
	server := newEcho(t)
	_, e := endpointOf(t, config(server.ln.Addr().String()))
	c, err := e.Get(0, never, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	echoOnce(t, c)
	e.Put(c, time.Minute)
	e.cluster.closeIdle(time.Minute + time.Second)
	if got := e.cluster.limits.Load().InFlight().Connections; got != 1 {
		t.Fatalf("%d connections, want the one that lives", got)
	}
	server.closeAll()
	for c.checkAlive() {
		runtime.Gosched()
	}
	e.cluster.closeIdle(time.Minute + time.Second)
	if got := e.cluster.limits.Load().InFlight().Connections; got != 0 {
		t.Errorf("%d connections still count after their peer closed", got)
	}
}

// Those who wait hear of a recovery also when word of it comes late, because an
// earlier event is still being told.
func TestWaitersNeedNoEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := bubbleClock()
		hold := make(chan struct{})
		s := NewSet(SetOptions{
			Clock: clock, Metrics: telemetry.NewProxy(telemetry.Options{}), Logger: slog.New(slog.DiscardHandler),
			OnEvent: func(_ *Cluster, ev breaker.Event) {
				if ev.To == breaker.HalfOpen {
					<-hold
				}
			},
		})
		cfg := config("a:1")
		c := s.Apply([]Config{cfg})[cfg.Name]
		trip(t, c, "a:1", clock())
		c.sweep(clock())
		e := c.Endpoints()[0]
		<-time.After(2 * time.Second)
		go func() { // the probe's start is told while the lock of the cluster is not held
			if p, ok := e.breaker.Acquire(clock()); ok {
				p.Done(clock(), breaker.Result{Status: 200, GRPCStatus: -1})
			}
		}()
		synctest.Wait()
		answered := make(chan error, 1)
		go func() {
			_, _, err := c.Await(clock(), 0, nil, Key{})
			answered <- err
		}()
		synctest.Wait()
		c.group.Update(breaker.Config{}) // recloses, with the event behind the one that is held
		synctest.Wait()
		select {
		case err := <-answered:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("the request still waits though the endpoint is closed")
		}
		close(hold)
	})
}

// A connection that was handed to a waiter who has left has served nobody.
func TestAConnectionHandedInVainIsNotUsed(t *testing.T) {
	server := newEcho(t)
	cfg := config(server.ln.Addr().String())
	cfg.Limits.MaxRequestsPerConnection = 2
	_, e := endpointOf(t, cfg)
	c, err := e.Get(0, never, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	ticket := make(chan *Conn, 1)
	e.http1.mu.Lock()
	e.http1.waiters = append(e.http1.waiters, ticket)
	e.http1.mu.Unlock()
	e.Put(c, 0)
	e.http1.leaveQueue(ticket)
	if again, err := e.Get(0, never, false, nil); err != nil || again != c {
		t.Errorf("%p, %v, want %p, which has served one request of two", again, err, c)
	}
	e.Discard(c)
}

// A request that looked up its route an instant before the cluster went still
// finds an endpoint; and a cluster that comes back at once is the same.
func TestARemovedClusterServesWhoHasIt(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	cfg := config("a:1", "b:1")
	c := s.Apply([]Config{cfg})[cfg.Name]
	trip(t, c, "a:1", now)
	s.Apply(nil)
	if e, p, ok := c.Pick(now, Key{}); !ok || e.Address() != "b:1" {
		t.Error("a request that has its route already is lost")
	} else {
		p.Done(now, breaker.Result{Status: 200, GRPCStatus: -1})
	}
	now += leaveAfter / 2
	s.sweep(now)
	if again := s.Apply([]Config{cfg})[cfg.Name]; again != c || again.States()[0].State != breaker.Open {
		t.Error("the cluster that came back has forgotten its breakers")
	}
	now += leaveAfter
	s.sweep(now)
	if _, _, ok := c.Pick(now, Key{}); !ok {
		t.Error("the cluster that came back was emptied")
	}
}

// A connection that is too old takes no new request, used or not.
func TestConnectionsGrowOld(t *testing.T) {
	server := newEcho(t)
	cfg := config(server.ln.Addr().String())
	cfg.MaxConnectionDuration, cfg.IdleTimeout = time.Minute, NoTimeout
	s, e := endpointOf(t, cfg)
	made := s.opts.Clock()
	open := func() uint64 { return e.cluster.limits.Load().InFlight().Connections }
	use := func(back time.Duration) {
		t.Helper()
		c, err := e.Get(back, never, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		echoOnce(t, c)
		e.Put(c, back)
	}
	use(made + 30*time.Second)
	e.cluster.closeIdle(made + 50*time.Second)
	if open() != 1 {
		t.Fatal("closed before its time")
	}
	use(made + 2*time.Minute) // given back too late to be kept
	if open() != 0 {
		t.Error("an old connection is kept when it is given back")
	}
	use(made + time.Second)
	e.cluster.closeIdle(made + time.Hour)
	if open() != 0 {
		t.Error("an old connection is kept while it is idle")
	}
}

// Without an idle timeout a connection stays as long as its peer keeps it.
func TestNoIdleTimeout(t *testing.T) {
	server := newEcho(t)
	cfg := config(server.ln.Addr().String())
	cfg.IdleTimeout = NoTimeout
	_, e := endpointOf(t, cfg)
	c, err := e.Get(0, never, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	echoOnce(t, c)
	e.Put(c, 0)
	e.cluster.closeIdle(1000 * time.Hour)
	if e.cluster.limits.Load().InFlight().Connections != 1 {
		t.Error("closed all the same")
	}
}
