// Package report keeps what proxies say of their breakers: the state of every
// endpoint as each proxy sees it, and the last events. Both are bounded; what
// a proxy said is forgotten when its stream ends.
package report

import (
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	reportv1 "github.com/reclosermesh/recloser/api/report/v1"
)

// Defaults of Config.
const (
	DefaultEvents   = 4096
	DefaultClusters = 20_000
	DefaultInterval = time.Second
)

// Config of a Store.
type Config struct {
	Logger *slog.Logger
	// Events are how many are kept. Default 4096.
	Events int
	// Clusters are how many one proxy may report. Default 20,000.
	Clusters int
	// Interval at which proxies are asked to report. Default 1s.
	Interval time.Duration
}

// Event is something that a breaker did, and whose breaker it was.
type Event struct {
	// Seq counts events from 1 since the control plane started.
	Seq uint64
	// Node is the id of the proxy: the caller whose breaker it is.
	Node string
	*reportv1.Event
}

// Cluster is the state of one cluster's breakers in one proxy. The message is
// not changed after it was stored.
type Cluster struct {
	Node string
	*reportv1.ClusterState
}

// Store implements the ReportService and answers what was reported. It is safe
// for concurrent use.
type Store struct {
	reportv1.UnimplementedReportServiceServer

	cfg Config

	mu      sync.Mutex
	nodes   map[string]*node
	ring    []Event // the oldest at seq % len
	seq     uint64
	subs    map[*Subscription]struct{}
	dropped uint64
}

type node struct {
	stream   int // which stream holds it: a new one takes it over
	clusters map[string]*reportv1.ClusterState
}

// New makes an empty Store.
func New(cfg Config) *Store {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Events <= 0 {
		cfg.Events = DefaultEvents
	}
	if cfg.Clusters <= 0 {
		cfg.Clusters = DefaultClusters
	}
	if cfg.Interval <= 0 {
		cfg.Interval = DefaultInterval
	}
	return &Store{cfg: cfg, nodes: map[string]*node{}, subs: map[*Subscription]struct{}{}}
}

// Stream takes the reports of one proxy until it goes.
func (s *Store) Stream(conn reportv1.ReportService_StreamServer) error {
	var id string
	var mine int
	defer func() { s.leave(id, mine) }()
	for {
		r, err := conn.Recv()
		if errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled {
			return nil
		}
		if err != nil {
			return err
		}
		if id == "" {
			if r.GetNode() == "" {
				return status.Error(codes.InvalidArgument, "the first report must name its node")
			}
			id = r.GetNode()
			mine = s.enter(id)
			if err := conn.Send(&reportv1.Ack{Interval: durationpb.New(s.cfg.Interval)}); err != nil {
				return err
			}
		}
		s.take(id, mine, r)
	}
}

func (s *Store) enter(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := &node{clusters: map[string]*reportv1.ClusterState{}, stream: 1}
	if old := s.nodes[id]; old != nil {
		n.stream = old.stream + 1
	}
	s.nodes[id] = n
	return n.stream
}

func (s *Store) leave(id string, mine int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.nodes[id]; n != nil && n.stream == mine {
		delete(s.nodes, id)
	}
}

func (s *Store) take(id string, mine int, r *reportv1.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[id]
	if n == nil || n.stream != mine {
		return // a newer stream of the same proxy speaks for it
	}
	for _, c := range r.GetRemovedClusters() {
		delete(n.clusters, c)
	}
	for _, c := range r.GetClusters() {
		if _, known := n.clusters[c.GetCluster()]; known || len(n.clusters) < s.cfg.Clusters {
			n.clusters[c.GetCluster()] = c
		}
	}
	s.dropped += r.GetDroppedEvents()
	for _, e := range r.GetEvents() {
		s.add(id, e)
	}
}

// add stores an event and hands it to the subscribers.
func (s *Store) add(id string, e *reportv1.Event) {
	s.seq++
	ev := Event{Seq: s.seq, Node: id, Event: e}
	if len(s.ring) < s.cfg.Events {
		s.ring = append(s.ring, ev)
	} else {
		s.ring[int((s.seq-1)%uint64(len(s.ring)))] = ev
	}
	s.cfg.Logger.Info("breaker", "node", id, "cluster", e.GetCluster(), "endpoint", e.GetEndpoint(),
		"from", e.GetFrom().String(), "to", e.GetTo().String(), "cause", e.GetCause(), "detail", e.GetDetail(), "refused", e.GetRefused())
	for sub := range s.subs {
		select {
		case sub.events <- ev:
		default:
			sub.dropped++
		}
	}
}

// Clusters are the states of all clusters in all proxies, by node and cluster.
func (s *Store) Clusters() []Cluster {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Cluster
	for _, id := range slices.Sorted(maps.Keys(s.nodes)) {
		at := len(out)
		for _, c := range s.nodes[id].clusters {
			out = append(out, Cluster{Node: id, ClusterState: c})
		}
		slices.SortFunc(out[at:], func(a, b Cluster) int { return strings.Compare(a.GetCluster(), b.GetCluster()) })
	}
	return out
}

// Events are the kept events after the one with number since, oldest first.
func (s *Store) Events(since uint64) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.after(since)
}

func (s *Store) after(since uint64) []Event {
	var out []Event
	oldest := s.seq - uint64(len(s.ring)) // the number before the oldest
	for seq := max(since, oldest) + 1; seq <= s.seq; seq++ {
		out = append(out, s.ring[int((seq-1)%uint64(s.cfg.Events))])
	}
	return out
}

// Dropped counts events that proxies had to drop before they could report.
func (s *Store) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Subscription is a stream of events.
type Subscription struct {
	// C has the events. It is closed by Close.
	C <-chan Event

	store   *Store
	events  chan Event
	dropped uint64 // guarded by store.mu
}

// Subscribe gives the kept events after number since, and a subscription that
// goes on where they end. At most buffer events wait for a slow reader; what
// is more is dropped and counted.
func (s *Store) Subscribe(since uint64, buffer int) ([]Event, *Subscription) {
	sub := &Subscription{store: s, events: make(chan Event, max(buffer, 1))}
	sub.C = sub.events
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs[sub] = struct{}{}
	return s.after(since), sub
}

// Dropped is how many events were lost since it was last asked.
func (s *Subscription) Dropped() uint64 {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	n := s.dropped
	s.dropped = 0
	return n
}

// Close ends the subscription and closes C. It may be called twice.
func (s *Subscription) Close() {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if _, ok := s.store.subs[s]; ok {
		delete(s.store.subs, s)
		close(s.events)
	}
}
