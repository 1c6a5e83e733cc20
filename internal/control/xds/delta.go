package xds

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/reclosermesh/recloser/internal/control/translate"
)

// handleDelta takes one request: an ACK or NACK, a change of subscriptions, or
// both.
func (s *Server) handleDelta(st *stream, req *discoveryv3.DeltaDiscoveryRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	typeURL := req.GetTypeUrl()
	ts, first := st.of(typeURL)
	names := req.GetResourceNamesSubscribe()
	if first {
		maps.Copy(ts.sent, req.GetInitialResourceVersions())
		if len(names) == 0 && wildcards(typeURL) {
			names = []string{translate.All} // the old way to say "all"
		}
	}
	st.acknowledge(typeURL, ts, req.GetResponseNonce(), refusal(req.GetErrorDetail()))
	for _, name := range names {
		// A name that is subscribed again is sent again: the client asks because
		// it does not have it any more.
		_, has := req.GetInitialResourceVersions()[name]
		s.watch(st, ts, typeURL, name, !has)
	}
	for _, name := range req.GetResourceNamesUnsubscribe() {
		s.unwatch(st, ts, name)
	}
	st.wake()
}

// respondDelta is the next response for a proxy, false when it has everything.
func (s *Server) respondDelta(st *stream) (*discoveryv3.DeltaDiscoveryResponse, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view == nil {
		return nil, false
	}
	for _, typeURL := range order {
		ts := st.types[typeURL]
		if ts == nil || len(ts.outstanding) >= maxOutstanding || st.warming.holds(typeURL) {
			continue
		}
		if r := s.additions(st, ts, typeURL); r != nil {
			return r, true
		}
	}
	if st.busy() {
		return nil, false // what goes away may be in use until the rest is told
	}
	for _, typeURL := range slices.Backward(order) {
		if ts := st.types[typeURL]; ts != nil && len(ts.outstanding) < maxOutstanding {
			if r := s.removals(st, ts, typeURL); r != nil {
				return r, true
			}
		}
	}
	return nil, false
}

// additions are new and changed resources, and the answers to subscriptions of
// what does not exist. What goes away is kept for removals.
func (s *Server) additions(st *stream, ts *typeState, typeURL string) *discoveryv3.DeltaDiscoveryResponse {
	r := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: typeURL}
	size := 0
	for name := range ts.dirty {
		if size >= maxResponseBytes {
			break
		}
		delete(ts.dirty, name)
		t := ts.topics[name]
		if isSet(t.key) {
			continue
		}
		for _, res := range t.resources {
			delete(ts.gone, res.Name)
			if ts.sent[res.Name] == res.Version {
				continue
			}
			ts.sent[res.Name] = res.Version
			r.Resources = append(r.Resources, res)
			size += len(res.Resource.Value)
			st.told(t)
		}
		ts.missing(name, t, r)
	}
	for name := range ts.excess {
		r.RemovedResources = append(r.RemovedResources, name)
		delete(ts.excess, name)
	}
	if len(r.Resources) == 0 && len(r.RemovedResources) == 0 && !ts.answer {
		return nil
	}
	ts.answer = false
	return s.finish(st, ts, r)
}

// missing looks for what the proxy has of a topic and the topic has not.
func (ts *typeState) missing(name string, t *topic, r *discoveryv3.DeltaDiscoveryResponse) {
	if name == translate.All {
		for have, version := range ts.sent {
			if t.resources[have] == nil && ts.topics[have] == nil && version != absent {
				ts.gone[have] = struct{}{}
			}
		}
		return
	}
	if t.resources[name] != nil {
		return
	}
	_, implied := ts.implied[name]
	switch version, told := ts.sent[name]; {
	case !told && implied: // nobody asked for it by name
	case !told:
		ts.sent[name] = absent
		r.RemovedResources = append(r.RemovedResources, name)
	case version != absent:
		ts.gone[name] = struct{}{}
	}
}

func (s *Server) removals(st *stream, ts *typeState, typeURL string) *discoveryv3.DeltaDiscoveryResponse {
	if len(ts.gone) == 0 {
		return nil
	}
	r := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: typeURL}
	for name := range ts.gone {
		r.RemovedResources = append(r.RemovedResources, name)
		delete(ts.nacks, name)
		st.warming.over(name)
		if ts.topics[name] != nil {
			ts.sent[name] = absent
		} else {
			delete(ts.sent, name)
		}
	}
	clear(ts.gone)
	return s.finish(st, ts, r)
}

// finish gives a response its nonce and remembers it until it is acknowledged.
func (s *Server) finish(st *stream, ts *typeState, r *discoveryv3.DeltaDiscoveryResponse) *discoveryv3.DeltaDiscoveryResponse {
	slices.SortFunc(r.Resources, func(a, b *discoveryv3.Resource) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(r.RemovedResources)
	st.nonce++
	r.Nonce = strconv.FormatUint(st.nonce, 10)
	versions := make(map[string]string, len(r.Resources))
	for _, res := range r.Resources {
		versions[res.Name] = res.Version
	}
	ts.outstanding[r.Nonce] = versions
	s.stats.Responses++
	s.stats.Resources += uint64(len(r.Resources))
	s.stats.Removed += uint64(len(r.RemovedResources))
	return r
}
