package snapshot

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
)

// Defaults of a Config.
const (
	DefaultHostIdle = 10 * time.Minute
	DefaultMaxHosts = 10_000
)

// Config of a Store.
type Config struct {
	// Set holds the live clusters. Required.
	Set *upstream.Set
	// HostIdle is how long a host stays subscribed without a request; it may
	// stay up to twice as long. 0: DefaultHostIdle.
	HostIdle time.Duration
	// MaxHosts bounds the hosts that are subscribed at a time, those that do
	// not exist included. 0: DefaultMaxHosts.
	MaxHosts int
	Logger   *slog.Logger
}

// Store holds the resources and publishes what is compiled from them.
type Store struct {
	cfg     Config
	current atomic.Pointer[Snapshot]

	// All below is guarded by mu.
	mu        sync.Mutex
	subs      xds.Subscriptions
	listeners map[string]*listenerState
	routes    map[string]*routeState
	hosts     map[hostKey]*hostState
	clusters  map[string]*clusterState
	endpoints map[string]*endpointsState
	raw       map[xds.Type]map[string]proto.Message // for dumps
	heard     bool                                  // of listeners
	applied   map[string]*upstream.Cluster          // what the Set has
	appliedAs map[string]appliedCluster
	changed   chan struct{} // closed at the next publication
	version   uint64
}

// Snapshot is what is in force. Immutable.
type Snapshot struct {
	// Version counts publications.
	Version uint64
	// Heard says whether the control plane has told its listeners, be it none.
	Heard bool
	// Listeners that are warm, by name.
	Listeners []*Listener
	// Warming names what waits, for what: "listener outbound: RouteConfiguration outbound".
	Warming []string
	// Hosts counts the hosts that are subscribed.
	Hosts int
}

// New makes an empty Store.
func New(cfg Config) *Store {
	if cfg.HostIdle == 0 {
		cfg.HostIdle = DefaultHostIdle
	}
	if cfg.MaxHosts == 0 {
		cfg.MaxHosts = DefaultMaxHosts
	}
	s := &Store{
		cfg:       cfg,
		listeners: make(map[string]*listenerState),
		routes:    make(map[string]*routeState),
		hosts:     make(map[hostKey]*hostState),
		clusters:  make(map[string]*clusterState),
		endpoints: make(map[string]*endpointsState),
		raw:       make(map[xds.Type]map[string]proto.Message),
		changed:   make(chan struct{}),
	}
	s.current.Store(&Snapshot{})
	return s
}

// Attach names the source of resources and asks it for listeners. It is called
// once, before all else.
func (s *Store) Attach(subs xds.Subscriptions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs = subs
	subs.Subscribe(xds.Listener, xds.Wildcard)
}

// Current gives what is in force, and a channel that is closed when something
// else is.
func (s *Store) Current() (*Snapshot, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.Load(), s.changed
}

// Resources gives the accepted resources by type and name, but for endpoints,
// which Set shows.
func (s *Store) Resources() map[xds.Type]map[string]proto.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	copied := make(map[xds.Type]map[string]proto.Message, len(s.raw))
	for t, resources := range s.raw {
		copied[t] = maps.Clone(resources)
	}
	return copied
}

// Run unsubscribes idle hosts until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.HostIdle)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.sweep()
		}
	}
}

// sweep drops the hosts that were not used since the sweep before.
func (s *Store) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped := 0
	for key, h := range s.hosts {
		if !h.used.Swap(false) {
			s.dropHost(key)
			dropped++
		}
	}
	if dropped > 0 {
		s.rebuild()
	}
}

func (s *Store) dropHost(key hostKey) {
	delete(s.hosts, key)
	delete(s.raw[xds.VirtualHost], key.resource())
	s.subs.Unsubscribe(xds.VirtualHost, key.resource())
}

// Apply takes an update. It is xds.Sink's method.
func (s *Store) Apply(u xds.Update) []xds.Rejection {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rejected []xds.Rejection
	for _, r := range u.Set {
		if err := s.set(u.Type, r); err != nil {
			rejected = append(rejected, xds.Rejection{Name: r.Name, Err: err})
			continue
		}
		if u.Type == xds.Endpoints {
			continue
		}
		if s.raw[u.Type] == nil {
			s.raw[u.Type] = make(map[string]proto.Message)
		}
		s.raw[u.Type][r.Name] = withoutSecrets(r.Message)
	}
	for _, name := range u.Removed {
		s.remove(u.Type, name)
		delete(s.raw[u.Type], name)
	}
	s.heard = s.heard || u.Type == xds.Listener
	s.rebuild()
	return rejected
}

// set compiles one resource and keeps it as the newest of its name.
func (s *Store) set(t xds.Type, r xds.Resource) error {
	switch t {
	case xds.Listener:
		spec, err := compileListener(r)
		if err != nil {
			return err
		}
		l := s.listeners[r.Name]
		var before *listenerSpec
		if l != nil {
			before = l.newest
		}
		if err := spec.openTransport(before, s.cfg.Logger); err != nil {
			return err
		}
		if l == nil {
			l = &listenerState{}
			s.listeners[r.Name] = l
		}
		l.newest = spec
	case xds.RouteConfig:
		spec, err := compileRouteConfig(r)
		if err != nil {
			return err
		}
		if st := s.routes[r.Name]; st != nil {
			st.newest, st.answered = spec, true
		}
	case xds.VirtualHost:
		return s.setHost(r)
	case xds.Cluster:
		spec, err := compileCluster(r)
		if err != nil {
			return err
		}
		if st := s.clusters[r.Name]; st != nil {
			if err := spec.openTransport(st.newest, s.cfg.Logger); err != nil {
				return err
			}
			st.newest, st.answered = spec, true
		}
	case xds.Endpoints:
		list, err := compileEndpoints(r)
		if err != nil {
			return err
		}
		if st := s.endpoints[r.Name]; st != nil {
			st.list, st.answered = list, true
		}
	default:
		return fmt.Errorf("type %q is not used", string(t))
	}
	return nil
}

func (s *Store) setHost(r xds.Resource) error {
	cfg, err := compileVirtualHost(r)
	if err != nil {
		return err
	}
	for _, name := range append([]string{r.Name}, r.Aliases...) {
		if h := s.hosts[keyOf(name)]; h != nil {
			h.newest, h.answered = cfg, true
		}
	}
	return nil
}

// remove makes a resource one that does not exist.
func (s *Store) remove(t xds.Type, name string) {
	switch t {
	case xds.Listener:
		delete(s.listeners, name)
	case xds.RouteConfig:
		if st := s.routes[name]; st != nil {
			st.newest, st.answered = nil, true
		}
	case xds.VirtualHost:
		if h := s.hosts[keyOf(name)]; h != nil {
			h.newest, h.answered = nil, true
		}
	case xds.Cluster:
		if st := s.clusters[name]; st != nil {
			st.newest, st.answered = nil, true
		}
	case xds.Endpoints:
		if st := s.endpoints[name]; st != nil {
			st.list, st.answered = &endpointList{}, true
		}
	}
}

// ask subscribes a host unless it is. answered is closed when the control plane
// has answered; nil: it has already.
func (s *Store) ask(h *Hosts, authority string) (answered <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := h.Lookup([]byte(authority)); known {
		return nil, nil
	}
	key := hostKey{route: h.route, authority: authority}
	host := s.hosts[key]
	if host == nil {
		if len(s.hosts) >= s.cfg.MaxHosts {
			return nil, fmt.Errorf("%w: %d are subscribed, host %q is not", ErrTooManyHosts, len(s.hosts), authority)
		}
		host = &hostState{ready: make(chan struct{})}
		s.hosts[key] = host
		s.subs.Subscribe(xds.VirtualHost, key.resource())
	}
	host.used.Store(true)
	return host.ready, nil
}
