// Package translate makes Envoy resources of what the mesh knows: listeners,
// routes, clusters and endpoints. Everything here is a pure function of a View
// and a Key, and gets nothing but these, so that a result may be kept and
// shared by all who ask with the same Key.
//
// Each result names what it was made from (Dep), so that a change of the World
// reaches exactly the results that it concerns.
//
// What Envoy's fields cannot say travels in metadata under our own names, with
// the nearest of Envoy's fields set beside it; see cluster.go.
package translate

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
)

// Type URLs of the resources.
const (
	ListenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	RouteType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	HostType     = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
	ClusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	EndpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
)

// View is one state of the mesh.
type View struct {
	World  *model.World
	Policy *policy.Table
}

// Node is what a proxy says of itself, as far as resources depend on it.
type Node struct {
	// Pod is the instance that the proxy belongs to.
	Pod model.Name
	// Client is what it is an instance of.
	Client model.Client
	// Outbound is the address of its outbound listener, "IP:PORT".
	Outbound string
	// Publish lists services to open to the host: "IP:PORT=svc.ns:PORT,…".
	Publish string
	// Shape is what kind of xDS client it is.
	Shape Shape
	// Locality is where it runs, as it says itself.
	Locality model.Locality
}

// Key names a resource, or for listeners the set of them, together with all
// that it depends on beside the View. Fields that a resource does not depend
// on are zero, so that one result serves many nodes.
type Key struct {
	Type string
	// Name of the resource; "*" for all listeners or clusters of a node.
	Name string
	// Client is who calls, for what depends on it.
	Client model.Client
	// Node for what belongs to one proxy.
	Node Node
	// Shape for what depends on it.
	Shape Shape
	// Locality of the caller, for what depends on it.
	Locality model.Locality
}

// KeyFor is the key of a resource for a node.
func KeyFor(typeURL, name string, n Node) Key {
	k := Key{Type: typeURL, Name: name}
	proxyless := n.Shape.Proxyless()
	switch typeURL {
	case ListenerType:
		if proxyless {
			k.Client, k.Shape = n.Client, GRPC
		} else {
			k.Node, k.Shape = n, n.Shape
		}
	case RouteType:
		if n.Shape != Recloser {
			k.Client, k.Shape = n.Client, n.Shape
		}
		if proxyless {
			k.Shape = GRPC
		}
	case HostType:
		k.Client = n.Client
	case ClusterType:
		switch _, inbound := parseInbound(name); {
		case inbound:
			k.Node = Node{Pod: n.Pod}
		case name == All:
			k.Client, k.Node, k.Shape = n.Client, Node{Pod: n.Pod}, n.Shape
		default:
			k.Client, k.Locality, k.Shape = n.Client, n.Locality, n.Shape
		}
	case EndpointType:
		if byCaller(name) {
			k.Client = n.Client
		}
		if proxyless {
			k.Shape = GRPC
		}
	}
	return k
}

// Dep is something that a result was made from.
type Dep struct {
	Kind DepKind
	Name model.Name
	// IP for OnIP.
	IP string
	// Client for OnClient.
	Client model.Client
}

// DepKind is the kind of a Dep.
type DepKind uint8

// Kinds of dependencies.
const (
	// OnService: a service and its policy, without its endpoints.
	OnService DepKind = iota
	// OnEndpoints of a service.
	OnEndpoints
	// OnIP: which service has a cluster IP.
	OnIP
	// OnPod: one instance, and the services that lead to it without their
	// endpoints.
	OnPod
	// OnClient: the labels of a client, which rules may ask for.
	OnClient
	// OnMesh: which services and other hosts there are, with their ports.
	OnMesh
)

// Resource is one xDS resource.
type Resource struct {
	Name    string
	Message proto.Message
}

// Result is what there is for a key: nothing, one resource, or the listeners
// of a node.
type Result struct {
	Resources []Resource
	// Names are what a key of all clusters stands for, each of which is a
	// resource with a key of its own.
	Names []string
	Deps  []Dep
}

// Generate makes the resources of a key.
func Generate(v View, k Key) Result {
	r := generate(v, k)
	for _, c := range []model.Client{k.Client, k.Node.Client} {
		if c != (model.Client{}) {
			r.Deps = append(r.Deps, Dep{Kind: OnClient, Client: c})
		}
	}
	return r
}

func generate(v View, k Key) Result {
	if k.Shape.Proxyless() {
		return proxyless(v, k)
	}
	if keys, own, ok := Parts(v, k); ok {
		return allParts(v, k, keys, own)
	}
	switch k.Type {
	case ListenerType:
		return listeners(v, k)
	case RouteType:
		if k.Shape == Envoy {
			return publishedRoutes(v, k)
		}
		return routeConfiguration(k)
	case HostType:
		return virtualHost(v, k)
	case ClusterType:
		if k.Shape == Envoy {
			return envoyCluster(v, k)
		}
		return cluster(v, k)
	case EndpointType:
		return endpoints(v, k)
	case PartType:
		return part(v, k)
	default:
		return Result{}
	}
}

// Deps of a change: what results may be different now.
func Deps(old, new View) []Dep {
	var out []Dep
	seen := map[Dep]bool{}
	add := func(d Dep) {
		if !seen[d] {
			seen[d] = true
			out = append(out, d)
		}
	}
	changes := model.Diff(old.World, new.World)
	for _, n := range policy.Changed(old.Policy, new.Policy, changes.Services) {
		add(Dep{Kind: OnService, Name: n})
	}
	for _, n := range changes.Services {
		add(Dep{Kind: OnEndpoints, Name: n})
		a, b := old.World.Service(n.Namespace, n.Name), new.World.Service(n.Namespace, n.Name)
		same := a != nil && b != nil && a.Object == b.Object
		if same && sameProtocols(a, b) {
			continue
		}
		add(Dep{Kind: OnService, Name: n})
		add(Dep{Kind: OnMesh})
		for _, s := range []*model.Service{a, b} {
			if s == nil {
				continue
			}
			for _, p := range s.Selects {
				add(Dep{Kind: OnPod, Name: p.Name})
			}
			for _, ip := range s.ClusterIPs() {
				if !same {
					add(Dep{Kind: OnIP, IP: ip})
				}
			}
		}
	}
	for _, n := range changes.Pods {
		add(Dep{Kind: OnPod, Name: n})
	}
	for _, c := range changes.Clients {
		add(Dep{Kind: OnClient, Client: c})
	}
	return out
}

// sameProtocols compares what is spoken on the ports of two states of one
// Service object: instances and the namespace have a say in it.
func sameProtocols(a, b *model.Service) bool {
	return slices.EqualFunc(a.Ports, b.Ports, func(a, b model.Port) bool {
		return a.Protocol.Protocol == b.Protocol.Protocol
	})
}

func one(name string, m proto.Message) []Resource { return []Resource{{Name: name, Message: m}} }
