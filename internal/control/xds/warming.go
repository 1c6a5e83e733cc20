package xds

import (
	"time"

	"github.com/reclosermesh/recloser/internal/control/translate"
)

// maxWarming bounds how long an Envoy's listeners and routes wait for its
// clusters.
const maxWarming = 5 * time.Second

// warming are the clusters that an Envoy has been told of and for which it has
// no endpoints yet: until then it does not use them, and a route to one answers
// 503. It asks for endpoints only after it has the cluster, so routes wait. The
// zero warming is of a client that does not do so. Guarded by Server.mu.
type warming struct {
	endpoints map[string]struct{} // names of assignments
	until     time.Time
}

// told notes a new version of a cluster. Its endpoints are to be sent again even
// if they are the same: an Envoy begins anew with each version.
func (st *stream) told(t *topic) {
	if st.self.Shape != translate.Envoy || t.endpoints == "" {
		return
	}
	w := &st.warming
	if len(w.endpoints) == 0 {
		w.endpoints, w.until = map[string]struct{}{}, time.Now().Add(maxWarming)
	}
	w.endpoints[t.endpoints] = struct{}{}
	if ts := st.types[translate.EndpointType]; ts != nil && ts.topics[t.endpoints] != nil {
		delete(ts.sent, t.endpoints)
		ts.dirty[t.endpoints] = struct{}{}
	}
}

// acknowledged takes the end of a response: endpoints that came, or clusters
// that were refused and will not be asked about.
func (w *warming) acknowledged(typeURL string, versions map[string]string, refused bool) {
	switch typeURL {
	case translate.EndpointType:
		for name := range versions {
			delete(w.endpoints, name)
		}
	case translate.ClusterType:
		if refused {
			clear(w.endpoints)
		}
	}
}

// over takes a cluster that is gone.
func (w *warming) over(name string) { delete(w.endpoints, name) }

// holds tells whether a type has to wait.
func (w *warming) holds(typeURL string) bool {
	if len(w.endpoints) == 0 || typeURL == translate.ClusterType || typeURL == translate.EndpointType {
		return false
	}
	if time.Now().After(w.until) {
		clear(w.endpoints)
		return false
	}
	return true
}

// heldFor is after how long a stream has to be looked at again, 0 for when
// something happens.
func (s *Server) heldFor(st *stream) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(st.warming.endpoints) == 0 {
		return 0
	}
	return max(time.Until(st.warming.until), time.Millisecond)
}
