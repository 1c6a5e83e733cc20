package translate

import (
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
)

// The endpoints of a service's port are the same for everybody, and are named as
// its cluster is. Two things make them depend on who asks: a subset, which the
// DestinationRules of the caller define, and the caller's place, where a rule
// says that it matters. The second is in the name too, as CLUSTER@LOCALITY, so
// that a proxy that is moved asks for others.
//
// Services that stand in for this one (policy.FailoverAnnotation) follow with
// the next priorities.

// placeMark parts the name of a cluster from the place of who asks.
const placeMark = "@"

// endpointsName is the name of an assignment for a caller in a place.
func endpointsName(cluster string, e *policy.Effective, from model.Locality) string {
	if e.Locality == nil || !e.Locality.Enabled.Value {
		return cluster
	}
	if from.IsZero() && !e.Locality.FailoverPriority.IsSet() {
		return cluster // nothing is nearer than anything else
	}
	return cluster + placeMark + from.String()
}

// byCaller tells whether an assignment depends on who asks.
func byCaller(name string) bool {
	cluster, _, placed := strings.Cut(name, placeMark)
	_, _, subset, ok := ParseCluster(cluster)
	return ok && (placed || subset != "")
}

// group is endpoints of one priority in one place.
type group struct {
	priority int
	locality model.Locality
	weight   uint32 // of the locality; 0: none
	list     []*model.Endpoint
}

// endpoints of a service's port, and of those that stand in for it.
func endpoints(v View, k Key) Result {
	cluster, from, placed := strings.Cut(k.Name, placeMark)
	service, port, subset, ok := ParseCluster(cluster)
	if !ok {
		return Result{}
	}
	r := Result{Deps: []Dep{{Kind: OnEndpoints, Name: service}}}
	s := v.World.Service(service.Namespace, service.Name)
	if s == nil || s.Port(port) == nil {
		return r
	}
	list := pointers(s.Port(port).Endpoints)
	var groups []group
	if placed || subset != "" {
		e, err := v.Policy.Effective(k.Client, service, port, subset)
		if err != nil {
			return r
		}
		list = inSubset(list, e.Subset)
		if placed {
			groups = byLocality(list, e, caller{at: model.ParseLocality(from), labels: v.World.LabelsOf(k.Client)})
		}
	}
	if groups == nil {
		groups = together(list)
	}
	targets, overflow := v.Policy.Failover(service, port)
	for _, f := range targets {
		r.Deps = append(r.Deps, Dep{Kind: OnEndpoints, Name: f.Service})
		if f.Invalid == "" {
			next := together(pointers(v.World.Service(f.Service.Namespace, f.Service.Name).Port(f.Port).Endpoints))
			groups = append(groups, behind(groups, next)...)
		}
	}
	weighAll(groups)
	a := &endpointv3.ClusterLoadAssignment{ClusterName: k.Name}
	for i := range groups {
		a.Endpoints = append(a.Endpoints, groups[i].message())
	}
	if len(targets) > 0 && overflow.Value != policy.DefaultOverflow {
		a.Policy = &endpointv3.ClusterLoadAssignment_Policy{OverprovisioningFactor: wrapperspb.UInt32(overflow.Value)}
	}
	r.Resources = one(k.Name, a)
	return r
}

func pointers(list []model.Endpoint) []*model.Endpoint {
	out := make([]*model.Endpoint, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

// inSubset are those that have all labels of a subset; nil has all.
func inSubset(list []*model.Endpoint, s *policy.Subset) []*model.Endpoint {
	if s == nil {
		return list
	}
	return slices.DeleteFunc(list, func(e *model.Endpoint) bool {
		if s.Unknown {
			return true
		}
		for k, v := range s.Labels.Value {
			if got, ok := e.Labels[k]; !ok || got != v {
				return true
			}
		}
		return false
	})
}

// together are all in one priority, place by place.
func together(list []*model.Endpoint) []group {
	return collect(list, func(*model.Endpoint) int { return 0 })
}

// collect puts endpoints into groups by the priority that each is to have.
// Priorities follow each other without gaps: Envoy wants no empty ones.
func collect(list []*model.Endpoint, priority func(*model.Endpoint) int) []group {
	var out []group
	for _, e := range list {
		p := priority(e)
		i := slices.IndexFunc(out, func(g group) bool { return g.priority == p && g.locality == e.Locality })
		if i < 0 {
			i = len(out)
			out = append(out, group{priority: p, locality: e.Locality})
		}
		out[i].list = append(out[i].list, e)
	}
	slices.SortStableFunc(out, func(a, b group) int {
		if a.priority != b.priority {
			return a.priority - b.priority
		}
		return strings.Compare(a.locality.String(), b.locality.String())
	})
	last, next := -1, -1
	for i := range out {
		if out[i].priority != last {
			last = out[i].priority
			next++
		}
		out[i].priority = next
	}
	return out
}

// behind gives groups the priorities after those that there are.
func behind(before, groups []group) []group {
	next := 0
	if len(before) > 0 {
		next = before[len(before)-1].priority + 1
	}
	for i := range groups {
		groups[i].priority += next
	}
	return groups
}

// weighAll gives each place a weight if any has one: an Envoy sends nothing to
// those without, in other priorities too.
func weighAll(groups []group) {
	if !slices.ContainsFunc(groups, func(g group) bool { return g.weight > 0 }) {
		return
	}
	for i := range groups {
		if g := &groups[i]; g.weight == 0 {
			g.weight = uint32(len(g.list))
		}
	}
}

func (g *group) message() *endpointv3.LocalityLbEndpoints {
	l := &endpointv3.LocalityLbEndpoints{Priority: uint32(g.priority), LbEndpoints: make([]*endpointv3.LbEndpoint, 0, len(g.list))}
	if !g.locality.IsZero() {
		l.Locality = &corev3.Locality{Region: g.locality.Region, Zone: g.locality.Zone, SubZone: g.locality.SubZone}
	}
	if g.weight > 0 {
		l.LoadBalancingWeight = wrapperspb.UInt32(g.weight)
	}
	for _, e := range g.list {
		l.LbEndpoints = append(l.LbEndpoints, lbEndpoint(e.Address, workload(e)))
	}
	return l
}

func workload(e *model.Endpoint) *corev3.Metadata {
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{WorkloadMetadata: fields(
		"namespace", e.Namespace, "pod", e.Pod, "workload", e.Workload, "workload_kind", e.WorkloadKind,
	)}}
}

func lbEndpoint(address string, m *corev3.Metadata) *endpointv3.LbEndpoint {
	return &endpointv3.LbEndpoint{
		Metadata: m,
		HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: socketAddress(address),
		}},
	}
}
