package xds

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/reclosermesh/recloser/internal/control/translate"
)

// topic is what one subscription name stands for: one resource or none; with
// "*" the listeners of a node, or the names of its clusters, which are topics of
// their own. Some are put together from parts (compose.go). Guarded by
// Server.mu.
type topic struct {
	key         translate.Key
	resources   map[string]*discoveryv3.Resource
	names       []string // sorted
	endpoints   string   // of a cluster: the name of its assignment, "" for none
	deps        []translate.Dep
	subscribers map[*stream]struct{}

	parts   []*topic
	own     []string            // names beside those of parts
	parents map[*topic]struct{} // that this is a part of
}

// subscribe gives a stream the topic of a key.
func (s *Server) subscribe(st *stream, k translate.Key) *topic {
	t := s.topic(k)
	t.subscribers[st] = struct{}{}
	return t
}

// topic is the topic of a key, which is made if there is none.
func (s *Server) topic(k translate.Key) *topic {
	t := s.topics[k]
	if t == nil {
		t = &topic{key: k, subscribers: map[*stream]struct{}{}, parents: map[*topic]struct{}{}}
		s.topics[k] = t
		if s.list(t) {
			s.assemble(t)
		} else {
			s.regenerate(t)
		}
	}
	return t
}

// unsubscribe takes a topic from a stream.
func (s *Server) unsubscribe(st *stream, t *topic) {
	delete(t.subscribers, st)
	s.drop(t)
}

// drop forgets a topic that nobody has any more.
func (s *Server) drop(t *topic) {
	if len(t.subscribers)+len(t.parents) > 0 {
		return
	}
	delete(s.topics, t.key)
	delete(s.stale, t)
	s.setDeps(t, nil)
	for _, p := range t.parts {
		delete(p.parents, t)
		s.drop(p)
	}
}

// regenerate makes a topic's resources from the current view.
func (s *Server) regenerate(t *topic) {
	if s.view == nil {
		return
	}
	r := translate.Generate(*s.view, t.key)
	s.setDeps(t, r.Deps)
	next := make(map[string]*discoveryv3.Resource, len(r.Resources))
	for _, res := range r.Resources {
		next[res.Name] = pack(res)
		s.stats.Generated++
		t.endpoints = endpointsOf(res.Message)
	}
	s.put(t, next, r.Names)
}

// put gives a topic its resources and names, and marks it for those who have it
// if something is different.
func (s *Server) put(t *topic, next map[string]*discoveryv3.Resource, names []string) {
	slices.Sort(names)
	changed := len(next) != len(t.resources) || !slices.Equal(t.names, names)
	for name, res := range next {
		if have := t.resources[name]; have != nil && have.Version == res.Version {
			next[name] = have
		} else {
			changed = true
		}
	}
	t.resources, t.names = next, names
	if !changed {
		return
	}
	for st := range t.subscribers {
		s.mark(st, t)
	}
	for parent := range t.parents {
		s.stale[parent] = struct{}{}
	}
}

// endpointsOf is the name under which a cluster's endpoints are asked for.
func endpointsOf(m proto.Message) string {
	c, ok := m.(*clusterv3.Cluster)
	if !ok || c.GetType() != clusterv3.Cluster_EDS {
		return ""
	}
	return cmp.Or(c.GetEdsClusterConfig().GetServiceName(), c.GetName())
}

func (s *Server) setDeps(t *topic, deps []translate.Dep) {
	for _, d := range t.deps {
		delete(s.deps[d], t)
		if len(s.deps[d]) == 0 {
			delete(s.deps, d)
		}
	}
	t.deps = deps
	for _, d := range deps {
		if s.deps[d] == nil {
			s.deps[d] = map[*topic]struct{}{}
		}
		s.deps[d][t] = struct{}{}
	}
}

// pack gives a resource its bytes and its version, which is made of them: it
// is the same after a restart of the control plane, and in another replica.
func pack(r translate.Resource) *discoveryv3.Resource {
	a := &anypb.Any{}
	if err := anypb.MarshalFrom(a, r.Message, proto.MarshalOptions{Deterministic: true}); err != nil {
		panic("xds: " + err.Error()) // only for invalid UTF-8, which no World holds
	}
	return resource(r.Name, a)
}

// resource gives what is packed its version.
func resource(name string, a *anypb.Any) *discoveryv3.Resource {
	sum := sha256.Sum256(a.Value)
	return &discoveryv3.Resource{Name: name, Version: hex.EncodeToString(sum[:8]), Resource: a}
}
