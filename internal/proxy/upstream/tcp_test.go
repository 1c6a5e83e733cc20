package upstream

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/reclosermesh/recloser/breaker"
)

// switchable dials net.Pipe while up, and is refused else.
type switchable struct {
	up    atomic.Bool
	dials atomic.Int32
	hang  atomic.Bool // until the context ends
}

func (s *switchable) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	s.dials.Add(1)
	if s.hang.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if !s.up.Load() {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	ours, theirs := net.Pipe()
	_ = theirs.Close()
	return ours, nil
}

// connectUntilOpen makes callers' connections, which are refused, until the
// only endpoint is open.
func connectUntilOpen(t *testing.T, c *Cluster, now time.Duration) {
	t.Helper()
	for range 100 {
		e, p, ok := c.PickTCP(now, Key{}, nil)
		if !ok {
			return
		}
		_, err := e.Connect(now + time.Minute)
		if err == nil {
			t.Fatal("connected to an endpoint that refuses")
		}
		p.Done(now, DialResult(err))
	}
	t.Fatal("refused connections do not open the breaker")
}

func TestRefusedConnectionsOpenAndABackgroundDialCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := bubbleClock()
		s := newSet(clock)
		var peer switchable
		cfg := config("a:1")
		cfg.Dial = peer.dial
		c := s.Apply([]Config{cfg})[cfg.Name]
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = s.Run(ctx) }()
		defer func() { cancel(); <-ended }()

		connectUntilOpen(t, c, clock())
		before := peer.dials.Load()
		time.Sleep(10 * time.Second) //nolint:forbidigo // the bubble's clock
		if peer.dials.Load() == before {
			t.Error("nobody dialled in the background")
		}
		if _, _, ok := c.PickTCP(clock(), Key{}, nil); ok {
			t.Fatal("a caller got an endpoint that cannot be connected to")
		}
		peer.up.Store(true)
		before = peer.dials.Load()
		time.Sleep(2 * time.Minute) //nolint:forbidigo // the bubble's clock
		if got := peer.dials.Load() - before; got != 1 {
			t.Errorf("%d dials once it was up, want 1", got)
		}
		_, p, ok := c.PickTCP(clock(), Key{}, nil)
		if !ok || p.Probe() {
			t.Errorf("after the dial: endpoint %v, probe %v; want an ordinary connection", ok, p.Probe())
		}
		p.Done(clock(), breaker.Result{})
	})
}

func TestAwaitTCPWaitsForTheBackgroundDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := bubbleClock()
		s := newSet(clock)
		var peer switchable
		cfg := config("a:1")
		cfg.FailFast = time.Minute
		cfg.Dial = peer.dial
		c := s.Apply([]Config{cfg})[cfg.Name]
		connectUntilOpen(t, c, clock())
		peer.up.Store(true)
		e, p, err := c.AwaitTCP(clock(), 0, nil, Key{}) // nothing sweeps: the wait itself starts the dial
		if err != nil || p.Probe() {
			t.Fatalf("%v, probe %v", err, p.Probe())
		}
		p.Done(clock(), breaker.Result{})
		if e.dialFailed.Load() {
			t.Error("the dial that was made counts as failed")
		}
		s.dials.end()
	})
}

func TestProbeOfWhatFailedOtherwiseIsACaller(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	var peer switchable
	cfg := config("a:1")
	cfg.Dial = peer.dial
	c := s.Apply([]Config{cfg})[cfg.Name]
	trip(t, c, "a:1", now)
	now += time.Minute
	_, p, ok := c.PickTCP(now, Key{}, nil)
	if !ok || !p.Probe() || peer.dials.Load() != 0 {
		t.Errorf("endpoint %v, probe %v, %d dials; want the caller's connection as the probe", ok, p.Probe(), peer.dials.Load())
	}
	p.Done(now, breaker.Result{})
}

func TestBackgroundDialsEndWithTheSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := bubbleClock()
		s := newSet(clock)
		var peer switchable
		cfg := config("a:1")
		cfg.Dial = peer.dial
		c := s.Apply([]Config{cfg})[cfg.Name]
		connectUntilOpen(t, c, clock())
		peer.hang.Store(true)
		time.Sleep(3 * time.Second) //nolint:forbidigo // the bubble's clock
		before := peer.dials.Load()
		c.sweep(clock())
		synctest.Wait()
		if peer.dials.Load() != before+1 {
			t.Fatal("the probe is not under way")
		}
		start := time.Now()
		s.dials.end()
		if time.Since(start) != 0 {
			t.Error("a dial outlived its set")
		}
		if s.dials.start(func(context.Context) { t.Error("dialled after the end") }) {
			t.Error("a dial was started after the end")
		}
	})
}

func TestPickTCPGoesToOthersThanTried(t *testing.T) {
	now := time.Second
	s := newSet(func() time.Duration { return now })
	cfg := config("a:1", "b:1", "c:1")
	c := s.Apply([]Config{cfg})[cfg.Name]
	for range 100 {
		var tried []*Endpoint
		for range 3 {
			e, p, ok := c.PickTCP(now, Key{}, tried)
			if !ok {
				t.Fatalf("none after %d", len(tried))
			}
			p.Done(now, breaker.Result{})
			for _, before := range tried {
				if before == e {
					t.Fatalf("%s twice while others are there", e.Address())
				}
			}
			tried = append(tried, e)
		}
		if e, p, ok := c.PickTCP(now, Key{}, tried); ok {
			p.Done(now, breaker.Result{})
			t.Fatalf("all were tried, and %s again", e.Address())
		}
	}
}

func TestConnectIsLimitedAndNeverPooled(t *testing.T) {
	var peer switchable
	peer.up.Store(true)
	cfg := config("a:1")
	cfg.Limits.MaxConnections = 1
	cfg.Dial = peer.dial
	_, e := endpointOf(t, cfg)
	c, err := e.Connect(e.cluster.opts.Clock() + time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Connect(e.cluster.opts.Clock() + time.Minute); !errors.Is(err, ErrOverflow) {
		t.Errorf("a second connection: %v, want %v", err, ErrOverflow)
	}
	e.Discard(c)
	if c, err = e.Connect(e.cluster.opts.Clock() + time.Minute); err != nil {
		t.Fatalf("after the first ended: %v", err)
	}
	e.Discard(c)
	if n := peer.dials.Load(); n != 2 {
		t.Errorf("%d dials for 2 connections", n)
	}
}

func TestDialResults(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want breaker.Cause
	}{
		{nil, breaker.Response},
		{ErrOverflow, breaker.Overflow},
		{context.DeadlineExceeded, breaker.ConnectTimeout},
		{&net.OpError{Op: "dial", Err: context.DeadlineExceeded}, breaker.ConnectTimeout},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, breaker.ConnectFailure},
	} {
		if got := DialResult(tt.err).Cause; got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}
