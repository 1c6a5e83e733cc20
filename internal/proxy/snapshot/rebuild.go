package snapshot

import (
	"fmt"
	"maps"
	"slices"

	"github.com/reclosermesh/recloser/internal/proxy/upstream"
	"github.com/reclosermesh/recloser/internal/proxy/xds"
)

// rebuild brings everything in step after a change: what is warm goes live,
// what is named is subscribed, what is no longer named is dropped, and the
// result is published. mu is held.
func (s *Store) rebuild() {
	s.promoteClusters()
	s.promoteRoutes()
	s.follow()
	s.applyClusters()
	s.publish()
}

func (s *Store) promoteClusters() {
	for _, c := range s.clusters {
		if c.answered && (c.newest == nil || s.endpointsOf(c.newest) != nil) {
			c.live, c.settled = c.newest, true
		}
	}
}

// endpointsOf gives a cluster's endpoints, nil while they have not come.
func (s *Store) endpointsOf(c *clusterSpec) *endpointList {
	if c.static != nil {
		return c.static
	}
	if e := s.endpoints[c.endpoints]; e != nil && e.answered {
		return e.list
	}
	return nil
}

// warm tells whether all clusters of a definition are settled.
func (s *Store) warm(cfg *hostSpec) (waitsFor string, ok bool) {
	for _, name := range cfg.Clusters() {
		if c := s.clusters[name]; c == nil || !c.settled {
			return name, false
		}
	}
	return "", true
}

func (s *Store) promoteRoutes() {
	for _, h := range s.hosts {
		if !h.answered {
			continue
		}
		if h.newest != nil {
			if _, ok := s.warm(h.newest); !ok {
				continue
			}
		}
		h.live, h.settled = h.newest, true
	}
	for _, r := range s.routes {
		if r.answered && (r.newest == nil || s.warmRoutes(r.newest)) {
			r.live = r.newest
			if r.live == nil {
				r.live = &routeSpec{} // it does not exist: every request gets 404
			}
		}
	}
	for _, l := range s.listeners {
		if s.warmListener(l.newest) {
			l.live = l.newest
		}
	}
}

func (s *Store) warmListener(spec *listenerSpec) bool {
	if spec.bytes != nil {
		if _, ok := s.warm(spec.bytes); !ok {
			return false
		}
	}
	switch {
	case spec.inline != nil:
		return s.warmRoutes(spec.inline)
	case spec.routes != "":
		r := s.routes[spec.routes]
		return r != nil && r.live != nil
	}
	return true
}

func (s *Store) warmRoutes(r *routeSpec) bool {
	for _, v := range r.hosts {
		if _, ok := s.warm(v.cfg); !ok {
			return false
		}
	}
	return true
}

// follow subscribes what is named, by what is newest and by what is still in
// use, and drops the rest.
func (s *Store) follow() {
	routes := make(map[string]bool)
	clusters := make(map[string]bool)
	nameAll := func(cfg *hostSpec) {
		if cfg == nil {
			return
		}
		for _, c := range cfg.Clusters() {
			clusters[c] = true
		}
	}
	nameRoutes := func(r *routeSpec) {
		if r == nil {
			return
		}
		for _, v := range r.hosts {
			nameAll(v.cfg)
		}
	}
	for _, l := range s.listeners {
		for _, spec := range []*listenerSpec{l.newest, l.live} {
			if spec == nil {
				continue
			}
			nameAll(spec.bytes)
			nameRoutes(spec.inline)
			if spec.routes != "" {
				routes[spec.routes] = true
			}
		}
	}
	follow(s, xds.RouteConfig, s.routes, routes, func(string) *routeState { return &routeState{} })
	for _, r := range s.routes {
		nameRoutes(r.newest)
		nameRoutes(r.live)
	}
	for key, h := range s.hosts {
		if r := s.routes[key.route]; r == nil || r.live != nil && !r.live.onDemand {
			s.dropHost(key)
			h.settle()
			continue
		}
		nameAll(h.newest)
		nameAll(h.live)
	}
	follow(s, xds.Cluster, s.clusters, clusters, func(string) *clusterState { return &clusterState{} })
	endpoints := make(map[string]bool)
	for _, c := range s.clusters {
		for _, spec := range []*clusterSpec{c.newest, c.live} {
			if spec != nil && spec.static == nil {
				endpoints[spec.endpoints] = true
			}
		}
	}
	follow(s, xds.Endpoints, s.endpoints, endpoints, func(string) *endpointsState { return &endpointsState{} })
}

// follow makes the keys of have those of wanted, and the subscriptions with it.
func follow[T any](s *Store, t xds.Type, have map[string]T, wanted map[string]bool, make func(string) T) {
	var come, gone []string
	for name := range wanted {
		if _, ok := have[name]; !ok {
			have[name] = make(name)
			come = append(come, name)
		}
	}
	for name := range have {
		if !wanted[name] {
			delete(have, name)
			delete(s.raw[t], name)
			gone = append(gone, name)
		}
	}
	if len(come) > 0 {
		slices.Sort(come)
		s.subs.Subscribe(t, come...)
	}
	if len(gone) > 0 {
		slices.Sort(gone)
		s.subs.Unsubscribe(t, gone...)
	}
}

// applyClusters gives the live clusters to the Set if any is other than before.
func (s *Store) applyClusters() {
	next := make(map[string]appliedCluster)
	for name, c := range s.clusters {
		if c.live == nil {
			continue
		}
		next[name] = appliedCluster{c.live, s.endpointsOf(c.live)}
	}
	if s.applied != nil && maps.Equal(next, s.appliedAs) {
		return
	}
	cfgs := make([]upstream.Config, 0, len(next))
	for _, name := range slices.Sorted(maps.Keys(next)) {
		cfg := next[name].spec.cfg
		list := next[name].list
		cfg.Endpoints, cfg.Overprovision = list.endpoints, list.overprovision
		cfgs = append(cfgs, cfg)
	}
	s.applied, s.appliedAs = s.cfg.Set.Apply(cfgs), next
}

func (h *hostState) settle() {
	select {
	case <-h.ready:
	default:
		close(h.ready)
	}
}

// publish compiles what requests use and wakes those who wait for it.
func (s *Store) publish() {
	s.version++
	snap := &Snapshot{Version: s.version, Heard: s.heard, Hosts: len(s.hosts)}
	sets := make(map[string]*hostSet)
	for name, r := range s.routes {
		if r.live != nil {
			sets[name] = s.compileSet(r.live, &r.compiled)
		}
	}
	for key, h := range s.hosts {
		set := sets[key.route]
		if !h.settled || set == nil {
			snap.Warming = append(snap.Warming, s.hostWaits(key, h))
			continue
		}
		one := dynamicHost{used: &h.used}
		if h.live != nil {
			one.table = h.compiled.compile(h.live, s.routes[key.route].live.common, s.applied)
		}
		set.dynamic[key.authority] = one
	}
	for _, name := range slices.Sorted(maps.Keys(s.listeners)) {
		l := s.listeners[name]
		if l.live == nil {
			snap.Warming = append(snap.Warming, fmt.Sprintf("listener %s: its routes and their clusters", name))
			continue
		}
		snap.Listeners = append(snap.Listeners, s.publishListener(l, sets))
	}
	slices.Sort(snap.Warming)
	s.current.Store(snap)
	for _, h := range s.hosts {
		if h.settled {
			h.settle()
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Store) hostWaits(key hostKey, h *hostState) string {
	switch {
	case !h.answered:
		return fmt.Sprintf("host %s: VirtualHost", key.authority)
	case h.newest == nil:
		return fmt.Sprintf("host %s: RouteConfiguration %s", key.authority, key.route)
	}
	cluster, _ := s.warm(h.newest)
	return fmt.Sprintf("host %s: cluster %s or its endpoints", key.authority, cluster)
}

// compileSet makes the host set of inline virtual hosts, with their tables kept
// where nothing changed.
func (s *Store) compileSet(r *routeSpec, kept *[]compiledHost) *hostSet {
	set := &hostSet{onDemand: r.onDemand, dynamic: make(map[string]dynamicHost)}
	if len(*kept) != len(r.hosts) {
		*kept = make([]compiledHost, len(r.hosts))
	}
	for i, v := range r.hosts {
		table := (*kept)[i].compile(v.cfg, r.common, s.applied)
		for _, d := range v.domains {
			_ = set.static.Add(d, table) // compileRouteConfig has checked them
		}
	}
	return set
}

// publishListener gives the Listener of a state, the same one while its
// definition is, and shows its server the hosts.
func (s *Store) publishListener(l *listenerState, sets map[string]*hostSet) *Listener {
	spec := l.live
	if l.hosts == nil {
		l.hosts, l.bytes = &Hosts{store: s}, &Bytes{}
	}
	if l.listener == nil || l.listener.spec != spec {
		l.listener = &Listener{
			Name: spec.name, Address: spec.address, Direction: spec.direction, Port: spec.port,
			Protocol: spec.protocol, Hosts: l.hosts, Timeouts: spec.timeouts, MaxHeaders: spec.maxHeaders, MaxHeadBytes: spec.maxHeadBytes, HTTP2: spec.http2,
			TLS:  spec.server,
			spec: spec,
		}
		if spec.bytes != nil || spec.onlyHTTP {
			l.listener.Bytes = l.bytes
		}
	}
	l.hosts.route = spec.routes
	switch {
	case spec.inline != nil:
		l.hosts.set.Store(s.compileSet(spec.inline, &l.compiled))
	case spec.routes != "":
		l.hosts.set.Store(sets[spec.routes])
	default:
		l.hosts.set.Store(&hostSet{}) // there is no HTTP
	}
	if spec.bytes != nil {
		l.bytes.action.Store(l.to.compile(spec.bytes, nil, s.applied).TCP())
	} else {
		l.bytes.action.Store(nil)
	}
	return l.listener
}
