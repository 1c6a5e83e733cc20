// Package control is the control plane: it follows the sources, keeps the
// World and its policy, and tells proxies over xDS what concerns them.
//
//	sources ─► merge ─► model.World ─► policy.Table ─► xds.Server ══► proxies
//	                                                   report.Store ◄══ breakers
//
// One goroutine, that of Run's loop, makes each new state; everybody else
// reads the last one through an atomic pointer.
package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/report"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"
	"github.com/reclosermesh/recloser/internal/control/xds"
)

// DefaultXDSAddress is where proxies find the control plane.
const DefaultXDSAddress = "127.0.0.1:8086"

// gRPC bounds: a proxy that is gone without a word is found within half a
// minute, and one that waits to be served does not hold the others' memory.
const (
	keepaliveTime    = 15 * time.Second
	keepaliveTimeout = 10 * time.Second
	minClientPing    = 5 * time.Second
	stopTimeout      = 2 * time.Second
)

// Config of a control plane.
type Config struct {
	// Sources of objects. Where two have the same object, the earlier is used
	// and a finding tells so; of a Pod, the one that has an address.
	Sources []source.Source
	// XDSListener is where proxies connect. If nil, XDSAddress is listened on.
	XDSListener net.Listener
	// XDSAddress defaults to 127.0.0.1:8086.
	XDSAddress string
	// RootNamespace is where the DestinationRules for the whole mesh are. It
	// defaults to policy.RootNamespace.
	RootNamespace string
	// Debounce and MaxDebounce of pushes: see xds.Config.
	Debounce, MaxDebounce time.Duration
	Logger                *slog.Logger
}

// Control is a control plane. New makes it, Run runs it.
type Control struct {
	cfg     Config // immutable after New
	log     *slog.Logger
	xds     *xds.Server
	reports *report.Store

	state atomic.Pointer[state]

	mu       sync.Mutex
	updates  []*source.Update // by source; nil: nothing published yet
	overlay  overlay
	watchers map[chan struct{}]struct{}
	changed  chan struct{} // capacity 1
	judged   chan struct{} // capacity 1: a state that nobody has judged yet
	ready    chan struct{} // closed with the first state
	address  net.Addr
	bound    chan struct{} // closed when address is set
}

// state is everything that is derived from the objects. It is immutable.
type state struct {
	view     translate.View
	problems []lint.Finding        // of the sources
	findings func() []lint.Finding // computed once, when first asked
}

// New makes a control plane. It does no I/O.
func New(cfg Config) *Control {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.XDSAddress == "" {
		cfg.XDSAddress = DefaultXDSAddress
	}
	c := &Control{
		cfg:      cfg,
		log:      cfg.Logger,
		xds:      xds.New(xds.Config{Logger: cfg.Logger, Debounce: cfg.Debounce, MaxDebounce: cfg.MaxDebounce}),
		reports:  report.New(report.Config{Logger: cfg.Logger}),
		updates:  make([]*source.Update, len(cfg.Sources)),
		overlay:  newOverlay(),
		watchers: map[chan struct{}]struct{}{},
		changed:  make(chan struct{}, 1),
		judged:   make(chan struct{}, 1),
		ready:    make(chan struct{}),
		bound:    make(chan struct{}),
	}
	world := model.Build(nil, nil)
	c.state.Store(newState(world, policy.Build(policy.New(cfg.RootNamespace), world), nil))
	return c
}

// Run serves until ctx ends or a part fails, and returns when everything that
// it started has ended.
func (c *Control) Run(ctx context.Context) error {
	listener, err := c.listen()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range c.cfg.Sources {
		g.Go(func() error {
			if err := s.Run(ctx, func(u source.Update) { c.publish(i, u) }); err != nil {
				return fmt.Errorf("source %s: %w", s.Name(), err)
			}
			return nil
		})
	}
	g.Go(func() error { return c.loop(ctx) })
	g.Go(func() error { return c.judge(ctx) })
	g.Go(func() error { return c.xds.Run(ctx) })
	g.Go(func() error { return c.serve(ctx, listener) })
	return g.Wait()
}

func (c *Control) listen() (net.Listener, error) {
	l := c.cfg.XDSListener
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", c.cfg.XDSAddress); err != nil {
			return nil, fmt.Errorf("xDS address: %w", err)
		}
	}
	c.address = l.Addr()
	close(c.bound)
	return l, nil
}

// serve answers proxies. Streams do not end by themselves, so there is little
// to wait for at the end.
func (c *Control) serve(ctx context.Context, l net.Listener) error {
	server := grpc.NewServer(
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minClientPing, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, c.xds)
	reportv1.RegisterReportServiceServer(server, c.reports)
	c.log.Info("control plane listens", "xds", l.Addr().String())
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	err := server.Serve(l)
	server.Stop()
	if ctx.Err() != nil || errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

func (c *Control) publish(i int, u source.Update) {
	c.mu.Lock()
	c.updates[i] = &u
	c.mu.Unlock()
	c.poke()
}

func (c *Control) poke() { poke(c.changed) }

// poke wakes whoever waits for a channel of capacity 1.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// loop makes a new state after each change. It waits with the first one until
// every source has spoken, so that no proxy is told half of the mesh.
func (c *Control) loop(ctx context.Context) error {
	first := true
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.changed:
		}
		objects, problems, ok := c.merge()
		if !ok {
			continue
		}
		c.advance(objects, problems)
		if first {
			close(c.ready)
			first = false
		}
	}
}

// advance replaces the state and tells everybody.
func (c *Control) advance(objects []source.Object, problems []lint.Finding) {
	old := c.state.Load()
	world := model.Build(old.view.World, objects)
	table := policy.Build(old.view.Policy, world)
	next := newState(world, table, problems)
	c.state.Store(next)
	c.xds.Update(next.view)
	c.notify()
	poke(c.judged)
}

func newState(w *model.World, t *policy.Table, problems []lint.Finding) *state {
	return &state{
		view:     translate.View{World: w, Policy: t},
		problems: problems,
		findings: sync.OnceValue(func() []lint.Finding { return findings(problems, w, t) }),
	}
}

func (c *Control) notify() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for w := range c.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}
