// Package xds brings configuration to the proxy: from a control plane by delta
// ADS (Client), or from a file (File). Both feed one Sink and obey one set of
// subscriptions, so the rest of the proxy does not know which it is.
//
// The package knows the protocol and nothing of what resources mean: whether a
// resource is good is the Sink's word, and a bad one is answered with a NACK
// that carries the Sink's reasons. The last good state stays with the Sink,
// through rejections and through any time without a control plane.
//
// Concurrency: Subscribe and Unsubscribe may be called from any goroutine, also
// from within Sink.Apply; they never call the Sink. Apply is called from one
// goroutine, the one of Run.
package xds

import (
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Type is an xDS resource type URL.
type Type string

// The types that a proxy asks for.
const (
	Listener    Type = "type.googleapis.com/envoy.config.listener.v3.Listener"
	RouteConfig Type = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	VirtualHost Type = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
	Cluster     Type = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	Endpoints   Type = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
)

// Wildcard subscribes to all resources of a type that the server has for us.
const Wildcard = "*"

// types in the order of make before break: what others name comes first.
var types = [...]Type{Cluster, Endpoints, Listener, RouteConfig, VirtualHost}

// String gives the short name, such as "Cluster".
func (t Type) String() string {
	for i := len(t) - 1; i >= 0; i-- {
		if t[i] == '.' {
			return string(t[i+1:])
		}
	}
	return string(t)
}

// Resource is one decoded resource. Message is one of the types above and must
// not be changed.
type Resource struct {
	Name    string
	Aliases []string
	Version string
	Message proto.Message
}

// Update is one answer of the control plane.
type Update struct {
	Type    Type
	Set     []Resource
	Removed []string
}

// Rejection says why a resource of an Update was not taken.
type Rejection struct {
	Name string
	Err  error
}

// Sink takes updates. Resources that it rejects leave their last good version
// in force; the others of the same Update are taken.
type Sink interface {
	Apply(Update) []Rejection
}

// Subscriptions is what the Sink may ask of its source. Names that do not exist
// are answered with Update.Removed.
type Subscriptions interface {
	Subscribe(t Type, names ...string)
	Unsubscribe(t Type, names ...string)
}

// decode makes the message of type t.
func decode(t Type, body *anypb.Any) (proto.Message, error) {
	if body.GetTypeUrl() != string(t) {
		return nil, fmt.Errorf("type_url %q: %q was asked for", body.GetTypeUrl(), string(t))
	}
	m := newMessage(t)
	if m == nil {
		return nil, fmt.Errorf("type_url %q: not a type that a proxy asks for", string(t))
	}
	if err := proto.Unmarshal(body.GetValue(), m); err != nil {
		return nil, fmt.Errorf("%s cannot be decoded: %w", t, err)
	}
	return m, nil
}

func newMessage(t Type) proto.Message {
	switch t {
	case Listener:
		return new(listenerv3.Listener)
	case RouteConfig:
		return new(routev3.RouteConfiguration)
	case VirtualHost:
		return new(routev3.VirtualHost)
	case Cluster:
		return new(clusterv3.Cluster)
	case Endpoints:
		return new(endpointv3.ClusterLoadAssignment)
	}
	return nil
}

// resourceName gives the name that a resource carries within itself.
func resourceName(m proto.Message) string {
	switch m := m.(type) {
	case *endpointv3.ClusterLoadAssignment:
		return m.GetClusterName()
	case interface{ GetName() string }:
		return m.GetName()
	}
	return ""
}
