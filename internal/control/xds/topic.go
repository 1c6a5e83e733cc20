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
// their own. Guarded by Server.mu.
type topic struct {
	key         translate.Key
	resources   map[string]*discoveryv3.Resource
	names       []string // sorted
	endpoints   string   // of a cluster: the name of its assignment, "" for none
	deps        []translate.Dep
	subscribers map[*stream]struct{}
}

// subscribe gives a stream the topic of a key, which is made if there is none.
func (s *Server) subscribe(st *stream, k translate.Key) *topic {
	t := s.topics[k]
	if t == nil {
		t = &topic{key: k, subscribers: map[*stream]struct{}{}}
		s.topics[k] = t
		s.regenerate(t)
	}
	t.subscribers[st] = struct{}{}
	return t
}

// unsubscribe forgets a topic with its last subscriber.
func (s *Server) unsubscribe(st *stream, t *topic) {
	delete(t.subscribers, st)
	if len(t.subscribers) > 0 {
		return
	}
	delete(s.topics, t.key)
	s.setDeps(t, nil)
}

// regenerate makes a topic's resources from the current view, and marks it for
// its subscribers if something is different.
func (s *Server) regenerate(t *topic) {
	if s.view == nil {
		return
	}
	r := translate.Generate(*s.view, t.key)
	s.setDeps(t, r.Deps)
	slices.Sort(r.Names)
	next := make(map[string]*discoveryv3.Resource, len(r.Resources))
	changed := len(r.Resources) != len(t.resources) || !slices.Equal(t.names, r.Names)
	t.names = r.Names
	for _, res := range r.Resources {
		packed := pack(res)
		s.stats.Generated++
		t.endpoints = endpointsOf(res.Message)
		if have := t.resources[res.Name]; have != nil && have.Version == packed.Version {
			packed = have
		} else {
			changed = true
		}
		next[res.Name] = packed
	}
	t.resources = next
	if !changed {
		return
	}
	for st := range t.subscribers {
		s.mark(st, t)
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
	sum := sha256.Sum256(a.Value)
	return &discoveryv3.Resource{Name: r.Name, Version: hex.EncodeToString(sum[:8]), Resource: a}
}
