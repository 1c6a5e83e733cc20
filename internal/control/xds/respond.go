package xds

import (
	"slices"
	"strconv"
	"strings"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/reclosermesh/recloser/internal/control/translate"
)

// This file is what both variants of the protocol do to answer a client: which
// type is next, what of it is new or gone, and what is under way.

// respond is the next response for a client, false when it has everything: what
// is new in the order of make-before-break, and then, in the opposite one, what
// is gone. Less than most responses of a type are under way before one is added.
// additions and removals are the response of one type, nil for none.
func respond[R any](s *Server, st *stream, most int, additions, removals func(*stream, *typeState, string) *R) (*R, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view == nil {
		return nil, false
	}
	for _, typeURL := range order {
		ts := st.types[typeURL]
		if ts == nil || len(ts.outstanding) >= most || st.warming.holds(typeURL) {
			continue
		}
		if r := additions(st, ts, typeURL); r != nil {
			return r, true
		}
	}
	if st.busy() {
		return nil, false // what goes away may be in use until the rest is told
	}
	for _, typeURL := range slices.Backward(order) {
		if ts := st.types[typeURL]; ts != nil && len(ts.outstanding) < most && len(ts.gone) > 0 {
			if r := removals(st, ts, typeURL); r != nil {
				return r, true
			}
		}
	}
	return nil, false
}

// news are new and changed resources of a type, until they have a number of
// bytes, and the subscribed names that do not exist. What goes away is kept in
// ts.gone.
func (st *stream) news(ts *typeState, most int) (changed []*discoveryv3.Resource, none []string) {
	size := 0
	for name := range ts.dirty {
		if size >= most {
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
			changed = append(changed, res)
			size += len(res.Resource.Value)
			st.told(t)
		}
		if ts.missing(name, t) {
			none = append(none, name)
		}
	}
	return changed, none
}

// missing looks for what the client has of a topic and the topic has not. It
// tells whether the client is still to hear that name does not exist.
func (ts *typeState) missing(name string, t *topic) bool {
	if name == translate.All {
		for have, version := range ts.sent {
			if t.resources[have] == nil && ts.topics[have] == nil && version != absent {
				ts.gone[have] = struct{}{}
			}
		}
		return false
	}
	if t.resources[name] != nil {
		return false
	}
	_, implied := ts.implied[name]
	switch version, told := ts.sent[name]; {
	case !told && implied: // nobody asked for it by name
	case !told:
		ts.sent[name] = absent
		return true
	case version != absent:
		ts.gone[name] = struct{}{}
	}
	return false
}

// takeGone gives the names of what is gone; the client is told of it now.
func (st *stream) takeGone(ts *typeState) []string {
	names := make([]string, 0, len(ts.gone))
	for name := range ts.gone {
		names = append(names, name)
		delete(ts.full, name)
		delete(ts.nacks, name)
		st.warming.over(name)
		if ts.topics[name] != nil {
			ts.sent[name] = absent
		} else {
			delete(ts.sent, name)
		}
	}
	clear(ts.gone)
	return names
}

// begin gives a response its nonce, and remembers what is changed by it until it
// is acknowledged.
func (s *Server) begin(st *stream, ts *typeState, changed []*discoveryv3.Resource) (nonce string) {
	st.nonce++
	nonce = strconv.FormatUint(st.nonce, 10)
	versions := make(map[string]string, len(changed))
	for _, res := range changed {
		versions[res.Name] = res.Version
	}
	ts.outstanding[nonce] = versions
	s.stats.Responses++
	s.stats.Resources += uint64(len(changed))
	return nonce
}

func sortByName(list []*discoveryv3.Resource) {
	slices.SortFunc(list, func(a, b *discoveryv3.Resource) int { return strings.Compare(a.Name, b.Name) })
}
