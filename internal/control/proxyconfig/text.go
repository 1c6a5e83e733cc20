package proxyconfig

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/translate"
)

// WriteText writes a table with the columns that istioctl has. name is the part
// of names that was asked for: of routes, only the virtual hosts that have it
// are written.
func WriteText(w io.Writer, v translate.View, n translate.Node, list []proto.Message, name string) error {
	t := &table{tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)}
	for i, m := range list {
		switch m := m.(type) {
		case *listenerv3.Listener:
			t.head(i, "ADDRESSES", "PORT", "MATCH", "DESTINATION")
			t.listener(m)
		case *routev3.RouteConfiguration:
			t.head(i, "NAME", "VHOST NAME", "DOMAINS", "MATCH", "DESTINATION", "RULE")
			t.routes(m, name)
		case *clusterv3.Cluster:
			t.head(i, "SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE")
			t.cluster(v, n, m)
		case *endpointv3.ClusterLoadAssignment:
			t.head(i, "ENDPOINT", "STATUS", "PRIORITY", "WORKLOAD", "CLUSTER")
			t.endpoints(m)
		}
	}
	return t.Flush()
}

type table struct{ *tabwriter.Writer }

func (t *table) row(cells ...string) {
	for i := range cells {
		cells[i] = cmp.Or(cells[i], "-")
	}
	fmt.Fprintln(t, strings.Join(cells, "\t"))
}

func (t *table) head(i int, cells ...string) {
	if i == 0 {
		t.row(cells...)
	}
}

func (t *table) listener(l *listenerv3.Listener) {
	host, port, _ := net.SplitHostPort(address(l.GetAddress()))
	for _, c := range l.GetFilterChains() {
		match := "ALL"
		if p := c.GetFilterChainMatch().GetApplicationProtocols(); len(p) > 0 {
			match = "App: " + strings.Join(p, ",")
		}
		t.row(host, port, match, destination(l, c))
	}
	if c := l.GetDefaultFilterChain(); c != nil {
		t.row(host, port, "not HTTP", destination(l, c))
	}
}

// destination is where a chain leads.
func destination(l *listenerv3.Listener, c *listenerv3.FilterChain) string {
	if m := managers(&listenerv3.Listener{FilterChains: []*listenerv3.FilterChain{c}}); len(m) > 0 {
		if name := m[0].GetRds().GetRouteConfigName(); name != "" {
			return "Route: " + name
		}
		return "Inline Route: " + l.GetName()
	}
	for _, f := range c.GetFilters() {
		m := &tcpv3.TcpProxy{}
		if any := f.GetTypedConfig(); any == nil || any.UnmarshalTo(m) != nil {
			continue
		}
		if m.GetCluster() != "" {
			return "Cluster: " + m.GetCluster()
		}
		var list []string
		for _, w := range m.GetWeightedClusters().GetClusters() {
			list = append(list, fmt.Sprintf("%s %d", w.GetName(), w.GetWeight()))
		}
		return "Clusters: " + strings.Join(list, ", ")
	}
	return ""
}

func (t *table) routes(c *routev3.RouteConfiguration, name string) {
	whole := strings.Contains(c.GetName(), name)
	for _, h := range c.GetVirtualHosts() {
		if !whole && !hostHas(h, name) {
			continue
		}
		domains := h.GetDomains()
		shown := strings.Join(domains[:min(2, len(domains))], ", ")
		if more := len(domains) - 2; more > 0 {
			shown += fmt.Sprintf(" + %d more", more)
		}
		for _, r := range h.GetRoutes() {
			rule := r.GetMetadata().GetFilterMetadata()[translate.RouteMetadata].GetFields()["object"].GetStringValue()
			t.row(c.GetName(), h.GetName(), shown, matchText(r.GetMatch()), actionText(r), rule)
		}
	}
}

// matchText is a match in few words: the path, and how much more there is.
func matchText(m *routev3.RouteMatch) string {
	var out string
	switch p := m.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		out = p.Prefix + "*"
	case *routev3.RouteMatch_Path:
		out = p.Path
	case *routev3.RouteMatch_PathSeparatedPrefix:
		out = p.PathSeparatedPrefix + "/*"
	case *routev3.RouteMatch_SafeRegex:
		out = "~" + p.SafeRegex.GetRegex()
	}
	for _, h := range m.GetHeaders() {
		out += ", " + h.GetName()
	}
	for _, q := range m.GetQueryParameters() {
		out += ", ?" + q.GetName()
	}
	return out
}

func actionText(r *routev3.Route) string {
	switch a := r.GetAction().(type) {
	case *routev3.Route_Route:
		if w := a.Route.GetWeightedClusters().GetClusters(); len(w) > 0 {
			var list []string
			for _, c := range w {
				list = append(list, fmt.Sprintf("%s %d", c.GetName(), c.GetWeight().GetValue()))
			}
			return strings.Join(list, ", ")
		}
		return a.Route.GetCluster()
	case *routev3.Route_Redirect:
		return "redirect"
	case *routev3.Route_DirectResponse:
		return "answer " + strconv.Itoa(int(a.DirectResponse.GetStatus()))
	}
	return ""
}

func (t *table) cluster(v translate.View, n translate.Node, c *clusterv3.Cluster) {
	// The endpoints of one service under the breaker of another are a cluster of
	// their own.
	name, via, _ := strings.Cut(c.GetName(), "|via|")
	service, port, subset, ok := translate.ParseCluster(name)
	if !ok {
		part := strings.Split(c.GetName(), "|")
		if len(part) > 1 && part[0] == "inbound" {
			t.row("", part[1], "", "inbound", c.GetType().String(), "")
			return
		}
		t.row(c.GetName(), "", "", "outbound", c.GetType().String(), "")
		return
	}
	shown := subset
	if via != "" {
		shown = strings.TrimSpace(subset + " via " + via)
	}
	t.row(service.Host(), strconv.Itoa(int(port)), shown, "outbound", c.GetType().String(), rules(v, n, service, port, subset))
}

// rules are the DestinationRules that hold, as NAME.NAMESPACE.
func rules(v translate.View, n translate.Node, service model.Name, port uint16, subset string) string {
	e, err := v.Policy.Effective(n.Client, service, port, subset)
	if err != nil {
		return ""
	}
	var out []string
	for _, r := range e.Rules {
		name, ns, _ := strings.Cut(strings.TrimPrefix(r.Object, "destinationrule/"), " -n ")
		if full := name + "." + ns; !slices.Contains(out, full) {
			out = append(out, full)
		}
	}
	return strings.Join(out, ", ")
}

func (t *table) endpoints(a *endpointv3.ClusterLoadAssignment) {
	for _, l := range a.GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			status := e.GetHealthStatus()
			if status == corev3.HealthStatus_UNKNOWN {
				status = corev3.HealthStatus_HEALTHY // as Envoy takes it
			}
			f := e.GetMetadata().GetFilterMetadata()[translate.WorkloadMetadata].GetFields()
			workload := strings.ToLower(f["workload_kind"].GetStringValue()) + "/" + f["workload"].GetStringValue()
			t.row(address(e.GetEndpoint().GetAddress()), status.String(), strconv.Itoa(int(l.GetPriority())),
				strings.Trim(workload, "/"), a.GetClusterName())
		}
	}
}

func address(a *corev3.Address) string {
	s := a.GetSocketAddress()
	return net.JoinHostPort(s.GetAddress(), strconv.Itoa(int(s.GetPortValue())))
}
