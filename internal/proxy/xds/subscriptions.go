package xds

import (
	"maps"
	"slices"
	"sync"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// subscriptions is what is wanted, what of it has arrived in which version, and
// what the stream has not been told yet.
type subscriptions struct {
	wake chan struct{} // holds one token while there is something to send

	mu      sync.Mutex
	wanted  map[Type]map[string]struct{}
	version map[Type]map[string]string // accepted versions by name
	pending map[Type]map[string]bool   // true: subscribe, false: unsubscribe
}

func newSubscriptions() *subscriptions {
	s := &subscriptions{wake: make(chan struct{}, 1)}
	s.wanted = make(map[Type]map[string]struct{})
	s.version = make(map[Type]map[string]string)
	s.pending = make(map[Type]map[string]bool)
	for _, t := range types {
		s.wanted[t] = make(map[string]struct{})
		s.version[t] = make(map[string]string)
		s.pending[t] = make(map[string]bool)
	}
	return s
}

func (s *subscriptions) subscribe(t Type, names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range names {
		s.wanted[t][n] = struct{}{}
		s.pending[t][n] = true
	}
	s.signal()
}

func (s *subscriptions) unsubscribe(t Type, names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range names {
		delete(s.wanted[t], n)
		delete(s.version[t], n)
		s.pending[t][n] = false
	}
	s.signal()
}

func (s *subscriptions) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// first gives the first requests of a new stream: everything wanted, with the
// versions that we hold, so that only what changed is sent again.
func (s *subscriptions) first() []*discoveryv3.DeltaDiscoveryRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	var requests []*discoveryv3.DeltaDiscoveryRequest
	for _, t := range types {
		clear(s.pending[t])
		if len(s.wanted[t]) == 0 {
			continue
		}
		requests = append(requests, &discoveryv3.DeltaDiscoveryRequest{
			TypeUrl:                 string(t),
			ResourceNamesSubscribe:  slices.Sorted(maps.Keys(s.wanted[t])),
			InitialResourceVersions: maps.Clone(s.version[t]),
		})
	}
	return requests
}

// changes gives the requests for what changed since the last call.
func (s *subscriptions) changes() []*discoveryv3.DeltaDiscoveryRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	var requests []*discoveryv3.DeltaDiscoveryRequest
	for _, t := range types {
		if len(s.pending[t]) == 0 {
			continue
		}
		r := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: string(t)}
		for _, n := range slices.Sorted(maps.Keys(s.pending[t])) {
			if s.pending[t][n] {
				r.ResourceNamesSubscribe = append(r.ResourceNamesSubscribe, n)
			} else {
				r.ResourceNamesUnsubscribe = append(r.ResourceNamesUnsubscribe, n)
			}
		}
		clear(s.pending[t])
		requests = append(requests, r)
	}
	return requests
}

// wants tells whether a resource was asked for under one of its names. An
// answer may cross an unsubscription on its way.
func (s *subscriptions) wants(t Type, name string, aliases []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has(t, Wildcard) || s.has(t, name) {
		return true
	}
	return slices.ContainsFunc(aliases, func(a string) bool { return s.has(t, a) })
}

func (s *subscriptions) has(t Type, name string) bool {
	_, ok := s.wanted[t][name]
	return ok
}

// took records what of an update was taken.
func (s *subscriptions) took(u Update, rejected []Rejection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range u.Set {
		if !slices.ContainsFunc(rejected, func(x Rejection) bool { return x.Name == r.Name }) {
			s.version[u.Type][r.Name] = r.Version
		}
	}
	for _, n := range u.Removed {
		delete(s.version[u.Type], n)
	}
}
