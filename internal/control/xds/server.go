// Package xds serves resources to proxies over Envoy's aggregated discovery
// service, in both variants: delta for our own proxies and Envoys, state of the
// world for proxyless gRPC and Envoys. Who knows only one gets that one; what
// is sent is the same (delta.go, sotw.go).
//
// A resource is made when the first proxy subscribes to it, kept while any
// does, and made again only when something that it was made from has changed
// (a topic, topic.go). What a proxy is still to be told is kept as names, not
// as messages: a slow proxy costs its subscriptions and no more, and gets the
// newest state when it can take it. Nothing is sent whose content the proxy
// has.
//
// One mutex guards everything; it is held for looking up and comparing, never
// while something is sent.
package xds

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/translate"
)

// Defaults of Config.
const (
	DefaultDebounce         = 50 * time.Millisecond
	DefaultMaxDebounce      = 500 * time.Millisecond
	DefaultMaxSubscriptions = 100_000
	DefaultMaxStreams       = 20_000
)

// Config of a Server.
type Config struct {
	Logger *slog.Logger
	// Debounce is how long it must be quiet after a change of the World before
	// proxies are told. Default 50ms; negative: none. Subscriptions are
	// answered at once.
	Debounce time.Duration
	// MaxDebounce bounds the wait when changes do not end. Default 500ms.
	MaxDebounce time.Duration
	// MaxSubscriptions of one proxy, all types together; what it asks for
	// beyond is answered as not existing. Default 100,000.
	MaxSubscriptions int
	// MaxStreams at a time; who comes beyond is refused with RESOURCE_EXHAUSTED
	// and comes again later. Default 20,000.
	MaxStreams int
}

// Server is the discovery service. Make it with New, register it with a gRPC
// server, and let Run run.
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	cfg  Config // immutable after New
	news chan struct{}

	mu      sync.Mutex
	next    *translate.View // set by Update, taken by Run
	view    *translate.View // nil until the first state is known
	topics  map[translate.Key]*topic
	deps    map[translate.Dep]map[*topic]struct{}
	stale   map[*topic]struct{} // of which a part has changed
	streams map[*stream]struct{}
	stats   Stats
}

// Stats count what a Server has done since it was made.
type Stats struct {
	// Generated counts resources made, Responses and Resources what was sent.
	Generated, Responses, Resources, Removed uint64
	// Topics and Subscriptions are there now.
	Topics, Subscriptions int
}

// New makes a server that knows nothing yet.
func New(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Debounce == 0 {
		cfg.Debounce = DefaultDebounce
	}
	if cfg.MaxDebounce == 0 {
		cfg.MaxDebounce = DefaultMaxDebounce
	}
	if cfg.MaxSubscriptions == 0 {
		cfg.MaxSubscriptions = DefaultMaxSubscriptions
	}
	if cfg.MaxStreams == 0 {
		cfg.MaxStreams = DefaultMaxStreams
	}
	return &Server{
		cfg:     cfg,
		news:    make(chan struct{}, 1),
		topics:  map[translate.Key]*topic{},
		deps:    map[translate.Dep]map[*topic]struct{}{},
		stale:   map[*topic]struct{}{},
		streams: map[*stream]struct{}{},
	}
}

// Update hands over a new state. It does not block; of several in a short time
// only the last is told.
func (s *Server) Update(v translate.View) {
	s.mu.Lock()
	s.next = &v
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// Run tells proxies about new states until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.news:
		}
		s.mu.Lock()
		first := s.view == nil
		s.mu.Unlock()
		if !first && !s.settle(ctx) {
			return nil
		}
		s.push()
	}
}

// settle waits until it is quiet. It returns false when ctx has ended.
func (s *Server) settle(ctx context.Context) bool {
	if s.cfg.Debounce < 0 {
		return true
	}
	deadline := time.Now().Add(s.cfg.MaxDebounce)
	timer := time.NewTimer(s.cfg.Debounce)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-s.news:
			timer.Reset(min(s.cfg.Debounce, time.Until(deadline)))
		}
	}
}

// push makes the newest state the current one, and marks for each proxy what
// is different for it. Its cost is that of what changed and of who uses it.
func (s *Server) push() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		return
	}
	old, view := s.view, s.next
	s.view, s.next = view, nil
	if old == nil {
		s.renew(slices.Collect(maps.Values(s.topics)))
		for st := range s.streams {
			st.wake()
		}
		return
	}
	again := map[*topic]struct{}{}
	for _, d := range translate.Deps(*old, *view) {
		for t := range s.deps[d] {
			again[t] = struct{}{}
		}
	}
	s.renew(slices.Collect(maps.Keys(again)))
}

// renew makes topics anew, and then those that they are parts of.
func (s *Server) renew(topics []*topic) {
	for _, t := range topics {
		if s.topics[t.key] != t {
			continue // the last who had it went by another topic's change
		}
		if s.list(t) {
			s.stale[t] = struct{}{}
		} else {
			s.regenerate(t)
		}
	}
	for t := range s.stale {
		s.assemble(t)
	}
}

// Stats are the counts so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.Topics = len(s.topics)
	for st := range s.streams {
		out.Subscriptions += st.subscriptions
	}
	return out
}

// Node is a connected proxy.
type Node struct {
	// ID is POD.NAMESPACE, Cluster WORKLOAD.NAMESPACE.
	ID, Cluster string
	// Name of its instance.
	model.Name
	// Metadata are the texts in its metadata: NAMESPACE, POD, WORKLOAD,
	// WORKLOAD_KIND, ADMIN, SERVICE_ACCOUNT.
	Metadata map[string]string
	// Admin is where its /metrics are, "IP:PORT".
	Admin string
	// Since it is connected.
	Since time.Time
	// Subscriptions are how many names it watches.
	Subscriptions int
	// Shape is what kind of client it is: "recloser", "envoy" or "grpc".
	Shape string
}
