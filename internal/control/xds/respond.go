package xds

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/translate"
)

// respond is the next response for a proxy, nil when it has everything.
func (s *Server) respond(st *stream) *discoveryv3.DeltaDiscoveryResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view == nil {
		return nil
	}
	for _, typeURL := range order {
		if ts := st.types[typeURL]; ts != nil && len(ts.outstanding) < maxOutstanding {
			if r := s.additions(st, ts, typeURL); r != nil {
				return r
			}
		}
	}
	for _, typeURL := range slices.Backward(order) {
		if ts := st.types[typeURL]; ts != nil && len(ts.outstanding) < maxOutstanding {
			if r := s.removals(st, ts, typeURL); r != nil {
				return r
			}
		}
	}
	return nil
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
		for _, res := range t.resources {
			delete(ts.gone, res.Name)
			if ts.sent[res.Name] == res.Version {
				continue
			}
			ts.sent[res.Name] = res.Version
			r.Resources = append(r.Resources, res)
			size += len(res.Resource.Value)
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
	if name == translate.AllListeners {
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
	switch version, told := ts.sent[name]; {
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

// Nodes are the connected proxies, by id.
func (s *Server) Nodes() []Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Node, 0, len(s.streams))
	for st := range s.streams {
		n := st.node
		n.Metadata = maps.Clone(n.Metadata)
		n.Subscriptions = st.subscriptions
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b Node) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Findings are the resources that proxies have refused and still have not
// taken in a newer version.
func (s *Server) Findings() []lint.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []lint.Finding
	for st := range s.streams {
		for typeURL, ts := range st.types {
			for name, n := range ts.nacks {
				out = append(out, lint.Finding{
					Code: "refused-by-proxy", Severity: lint.Error, Object: "proxy/" + st.node.ID,
					Field: typeURL[strings.LastIndexByte(typeURL, '.')+1:], Value: name,
					Reason: "the proxy refused this and keeps what it had: " + n.message,
					Mend:   mendOf(n.message),
				})
			}
		}
	}
	return out
}

// mendOf says what to do about a refusal. A file that a proxy cannot read is
// the user's: the control plane passes names of files on as they are.
func mendOf(message string) string {
	for _, e := range []error{syscall.ENOENT, syscall.EACCES, syscall.EISDIR, syscall.ENOTDIR} {
		if strings.Contains(message, e.Error()) {
			return "files are read where the proxy runs: put it there, or mend the object that names it; until then calls go on as before, without TLS where they were without"
		}
	}
	return "this is a fault of Recloser or a proxy of another version; please report it"
}
