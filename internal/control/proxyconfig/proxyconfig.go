// Package proxyconfig is what the proxy of a workload gets, or would get once it
// asked for it: all listeners, and the routes, clusters and endpoints of every
// service that its program could call. It is computed by the code that serves
// proxies, from manifests or from a mesh that runs, and changes nothing.
package proxyconfig

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/translate"
)

// Kind is one type of configuration.
type Kind string

// The kinds, as istioctl names them.
const (
	Listeners Kind = "listener"
	Routes    Kind = "route"
	Clusters  Kind = "cluster"
	Endpoints Kind = "endpoint"
)

// NodeOf is the proxy of a client's first instance, by name. Where no instance
// is known it has no inbound side.
func NodeOf(w *model.World, c model.Client) translate.Node {
	n := translate.Node{Client: c, Pod: model.Name{Namespace: c.Namespace}, Locality: model.LocalityOf(w.LabelsOf(c))}
	for _, p := range w.Pods() {
		if p.Namespace == c.Namespace && p.Workload == c.Workload && p.WorkloadKind == c.Kind {
			n.Pod = p.Name
			n.Locality = model.LocalityOf(p.Spec.Labels)
			break
		}
	}
	return n
}

// Of is all configuration of a kind for a proxy, by name.
func Of(v translate.View, n translate.Node, kind Kind) []proto.Message {
	switch kind {
	case Listeners:
		return messages(translate.Generate(v, translate.KeyFor(translate.ListenerType, translate.All, n)))
	case Routes:
		return routes(v, n)
	case Clusters:
		return clusters(v, n)
	default:
		return endpoints(v, n)
	}
}

func messages(r translate.Result) []proto.Message {
	out := make([]proto.Message, len(r.Resources))
	for i := range r.Resources {
		out[i] = r.Resources[i].Message
	}
	return out
}

// routes are those that are asked for by listeners, with all of their virtual
// hosts, of which our own proxies ask for those that are used; and those that
// are part of a listener.
func routes(v translate.View, n translate.Node) []proto.Message {
	whole := n
	whole.Shape = translate.Envoy
	var out []proto.Message
	for _, m := range Of(v, n, Listeners) {
		for _, manager := range managers(m.(*listenerv3.Listener)) {
			if c := manager.GetRouteConfig(); c != nil {
				out = append(out, c)
			}
			if name := manager.GetRds().GetRouteConfigName(); name != "" {
				out = append(out, messages(translate.Generate(v, translate.KeyFor(translate.RouteType, name, whole)))...)
			}
		}
	}
	return out
}

// managers are the parts of a listener that read HTTP.
func managers(l *listenerv3.Listener) []*hcmv3.HttpConnectionManager {
	var out []*hcmv3.HttpConnectionManager
	for _, c := range append(slices.Clone(l.GetFilterChains()), l.GetDefaultFilterChain()) {
		for _, f := range c.GetFilters() {
			m := &hcmv3.HttpConnectionManager{}
			if any := f.GetTypedConfig(); any != nil && any.UnmarshalTo(m) == nil {
				out = append(out, m)
			}
		}
	}
	return out
}

func clusters(v translate.View, n translate.Node) []proto.Message {
	whole := n
	whole.Shape = translate.Envoy
	var out []proto.Message
	for _, name := range translate.Generate(v, translate.KeyFor(translate.ClusterType, translate.All, whole)).Names {
		out = append(out, messages(translate.Generate(v, translate.KeyFor(translate.ClusterType, name, n)))...)
	}
	return out
}

func endpoints(v translate.View, n translate.Node) []proto.Message {
	var out []proto.Message
	seen := map[string]bool{}
	for _, m := range clusters(v, n) {
		c := m.(*clusterv3.Cluster)
		name := c.GetName()
		if s := c.GetEdsClusterConfig().GetServiceName(); s != "" {
			name = s
		}
		if a := c.GetLoadAssignment(); a != nil {
			out = append(out, a)
		} else if !seen[name] {
			seen[name] = true
			out = append(out, messages(translate.Generate(v, translate.KeyFor(translate.EndpointType, name, n)))...)
		}
	}
	return out
}

// Named are those messages whose name, or that of a virtual host in it, has a
// part; "" is part of every name.
func Named(list []proto.Message, part string) []proto.Message {
	return slices.DeleteFunc(slices.Clone(list), func(m proto.Message) bool { return !hasName(m, part) })
}

func hasName(m proto.Message, part string) bool {
	if strings.Contains(nameOf(m), part) {
		return true
	}
	c, ok := m.(*routev3.RouteConfiguration)
	return ok && slices.ContainsFunc(c.GetVirtualHosts(), func(h *routev3.VirtualHost) bool { return hostHas(h, part) })
}

// hostHas tells whether a virtual host goes by a name that has a part.
func hostHas(h *routev3.VirtualHost, part string) bool {
	return strings.Contains(h.GetName(), part) ||
		slices.ContainsFunc(h.GetDomains(), func(d string) bool { return strings.Contains(d, part) })
}

func nameOf(m proto.Message) string {
	switch v := m.(type) {
	case interface{ GetClusterName() string }:
		return v.GetClusterName()
	case interface{ GetName() string }:
		return v.GetName()
	}
	return ""
}

// WriteJSON writes a list of messages as istioctl does: camelCase names, in
// order.
func WriteJSON(w io.Writer, list []proto.Message) error {
	raw, err := marshal(list)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", raw)
	return err
}

// WriteYAML writes the same as YAML.
func WriteYAML(w io.Writer, list []proto.Message) error {
	raw, err := marshal(list)
	if err != nil {
		return err
	}
	if raw, err = yaml.JSONToYAML(raw); err != nil {
		return err
	}
	_, err = w.Write(raw)
	return err
}

func marshal(list []proto.Message) ([]byte, error) {
	items := make([]json.RawMessage, len(list))
	for i, m := range list {
		raw, err := protojson.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", nameOf(m), err)
		}
		items[i] = raw
	}
	return json.MarshalIndent(items, "", "  ")
}
