package xds

import (
	"maps"
	"math"
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/reclosermesh/recloser/internal/control/translate"
)

// world is what the state-of-the-world variant needs beside. A client says with
// each request all names that it wants, and gets of listeners and clusters all
// that there are each time, of other types what is different; only by missing
// in the former does it learn that something is gone. One response of a type is
// under way at a time: a request with an older nonce is stale.
type world struct {
	// full is what the last response of a type with full sets had.
	full map[string]*discoveryv3.Resource
	// nonce of the last response.
	nonce string
	// named: there were names once, so that none are none and not all.
	named bool
}

// wildcards are the types of which a client gets all if it names none, and
// those whose responses are full sets.
func wildcards(typeURL string) bool {
	return typeURL == translate.ListenerType || typeURL == translate.ClusterType
}

// refusal is the text of a NACK, nil for an ACK.
func refusal(e *rpcstatus.Status) *string {
	if e == nil {
		return nil
	}
	message := e.GetMessage()
	return &message
}

// handleWorld takes one request: the ACK or NACK of the last response, and all
// names that the client wants.
func (s *Server) handleWorld(st *stream, req *discoveryv3.DiscoveryRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	typeURL := req.GetTypeUrl()
	ts, first := st.of(typeURL)
	if first {
		ts.full = map[string]*discoveryv3.Resource{}
		ts.answer = wildcards(typeURL)
	}
	if req.GetResponseNonce() != ts.nonce && !first {
		return // the answer to what was sent since says all of it again
	}
	st.acknowledge(typeURL, ts, ts.nonce, refusal(req.GetErrorDetail()))
	names := req.GetResourceNames()
	if len(names) == 0 && !ts.named && wildcards(typeURL) {
		names = []string{translate.All}
	} else if len(names) > 0 {
		ts.named = true
	}
	s.watchExactly(st, ts, typeURL, names)
	st.wake()
}

// watchExactly makes names all that a stream watches of a type.
func (s *Server) watchExactly(st *stream, ts *typeState, typeURL string, names []string) {
	want := make(map[string]struct{}, len(names))
	for _, name := range names {
		want[name] = struct{}{}
	}
	for name := range ts.topics {
		if _, still := want[name]; !still {
			s.unwatch(st, ts, name)
		}
	}
	for name := range want {
		_, implied := ts.implied[name]
		if ts.topics[name] != nil && !implied {
			continue
		}
		if name == translate.All && typeURL == translate.ClusterType && st.self.Shape != translate.Envoy {
			continue // everything is named
		}
		s.watch(st, ts, typeURL, name, true)
		ts.answer = ts.answer || wildcards(typeURL)
	}
	clear(ts.excess) // by missing in the answer
}

// respondWorld is the next response for a client, false when it has everything.
func (s *Server) respondWorld(st *stream) (*discoveryv3.DiscoveryResponse, bool) {
	return respond(s, st, 1, s.worldAdditions, s.worldRemovals)
}

// worldAdditions are new and changed resources: alone, or with all others of
// their type. What goes away stays among them until worldRemovals.
func (s *Server) worldAdditions(st *stream, ts *typeState, typeURL string) *discoveryv3.DiscoveryResponse {
	most := maxResponseBytes
	if wildcards(typeURL) {
		most = math.MaxInt
	}
	changed, _ := st.news(ts, most)
	if len(changed) == 0 && !ts.answer {
		return nil
	}
	ts.answer = false
	if !wildcards(typeURL) {
		return s.finishWorld(st, ts, typeURL, changed, changed)
	}
	for _, res := range changed {
		ts.full[res.Name] = res
	}
	return s.finishWorld(st, ts, typeURL, ts.all(), changed)
}

// worldRemovals is a full set without what is gone. Of other types nothing is
// said: what named it is gone before.
func (s *Server) worldRemovals(st *stream, ts *typeState, typeURL string) *discoveryv3.DiscoveryResponse {
	s.stats.Removed += uint64(len(st.takeGone(ts)))
	if !wildcards(typeURL) {
		return nil
	}
	return s.finishWorld(st, ts, typeURL, ts.all(), nil)
}

// all is the full set.
func (ts *typeState) all() []*discoveryv3.Resource { return slices.Collect(maps.Values(ts.full)) }

// finishWorld makes a response of resources, some of which are changed.
func (s *Server) finishWorld(st *stream, ts *typeState, typeURL string, resources, changed []*discoveryv3.Resource) *discoveryv3.DiscoveryResponse {
	sortByName(resources)
	ts.nonce = s.begin(st, ts, changed)
	r := &discoveryv3.DiscoveryResponse{TypeUrl: typeURL, Nonce: ts.nonce, VersionInfo: ts.nonce}
	for _, res := range resources {
		r.Resources = append(r.Resources, &anypb.Any{TypeUrl: typeURL, Value: res.Resource.Value})
	}
	return r
}
