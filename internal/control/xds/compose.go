package xds

import (
	"maps"
	"slices"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/reclosermesh/recloser/internal/control/translate"
)

// An Envoy has one resource with the routes of the whole mesh, and one set of
// all clusters. Made anew for each change they would keep everybody waiting, so
// they are put together from parts, one for each host, which are topics like
// others: a change of a rule makes one part, and the bytes of the rest are
// copied.

// list finds the parts of a topic, and makes those that are new. It is false for
// a topic that has none, or that is not known yet.
func (s *Server) list(t *topic) bool {
	if s.view == nil {
		return false
	}
	keys, own, ok := translate.Parts(*s.view, t.key)
	if !ok {
		return false
	}
	s.setDeps(t, own.Deps)
	old := t.parts
	t.own, t.parts = own.Names, make([]*topic, len(keys))
	for i, k := range keys {
		p := s.topic(k)
		p.parents[t] = struct{}{}
		t.parts[i] = p
	}
	current := make(map[*topic]struct{}, len(t.parts))
	for _, p := range t.parts {
		current[p] = struct{}{}
	}
	for _, p := range old {
		if _, still := current[p]; !still {
			delete(p.parents, t)
			s.drop(p)
		}
	}
	return true
}

// assemble puts a topic together from its parts as they are now.
func (s *Server) assemble(t *topic) {
	delete(s.stale, t)
	if t.key.Type == translate.RouteType {
		s.put(t, map[string]*discoveryv3.Resource{t.key.Name: routesOf(t)}, nil)
		return
	}
	names := make(map[string]struct{}, len(t.parts))
	for _, n := range t.own {
		names[n] = struct{}{}
	}
	for _, p := range t.parts {
		for _, n := range p.names {
			names[n] = struct{}{}
		}
	}
	s.put(t, nil, slices.Collect(maps.Keys(names)))
}

// virtualHosts is the number of that field in a RouteConfiguration.
var virtualHosts = (&routev3.RouteConfiguration{}).ProtoReflect().Descriptor().Fields().ByName("virtual_hosts").Number()

// routesOf is a route configuration of virtual hosts that are packed already: a
// message with a repeated field is its other fields and the items, in a row.
func routesOf(t *topic) *discoveryv3.Resource {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&routev3.RouteConfiguration{Name: t.key.Name})
	if err != nil {
		panic("xds: " + err.Error()) // the name is a constant
	}
	size := len(b)
	for _, p := range t.parts {
		for _, res := range p.resources {
			size += len(res.Resource.Value) + 2*protowire.SizeTag(virtualHosts) + protowire.SizeVarint(uint64(len(res.Resource.Value)))
		}
	}
	b = slices.Grow(b, size-len(b))
	for _, p := range t.parts {
		for _, res := range p.resources {
			b = protowire.AppendTag(b, virtualHosts, protowire.BytesType)
			b = protowire.AppendBytes(b, res.Resource.Value)
		}
	}
	return resource(t.key.Name, &anypb.Any{TypeUrl: t.key.Type, Value: b})
}
