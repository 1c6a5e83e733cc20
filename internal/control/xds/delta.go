package xds

import (
	"maps"
	"slices"

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
	return respond(s, st, maxOutstanding, s.additions, s.removals)
}

// additions are new and changed resources, and the answers to subscriptions of
// what does not exist.
func (s *Server) additions(st *stream, ts *typeState, typeURL string) *discoveryv3.DeltaDiscoveryResponse {
	changed, removed := st.news(ts, maxResponseBytes)
	removed = slices.AppendSeq(removed, maps.Keys(ts.excess))
	clear(ts.excess)
	if len(changed) == 0 && len(removed) == 0 && !ts.answer {
		return nil
	}
	ts.answer = false
	return s.finish(st, ts, typeURL, changed, removed)
}

func (s *Server) removals(st *stream, ts *typeState, typeURL string) *discoveryv3.DeltaDiscoveryResponse {
	return s.finish(st, ts, typeURL, nil, st.takeGone(ts))
}

// finish makes a response.
func (s *Server) finish(st *stream, ts *typeState, typeURL string, changed []*discoveryv3.Resource, removed []string) *discoveryv3.DeltaDiscoveryResponse {
	sortByName(changed)
	slices.Sort(removed)
	s.stats.Removed += uint64(len(removed))
	return &discoveryv3.DeltaDiscoveryResponse{
		TypeUrl: typeURL, Nonce: s.begin(st, ts, changed), Resources: changed, RemovedResources: removed,
	}
}
