package translate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/model"
)

// Names of resources, as Istio writes them where it has such a name.
const (
	// OutboundListener is the listener that programs send their calls to, and
	// its route configuration.
	OutboundListener = "outbound"
	// publishedPrefix begins the names of what opens one service, and of its
	// route configuration: "publish|svc.ns:PORT".
	publishedPrefix = "publish|"
	// invalidPrefix begins the names of clusters that do not exist.
	invalidPrefix = "invalid|"
	// All stands for all listeners or clusters of a node.
	All = "*"
	// AllListeners is All of that type.
	AllListeners = All
)

// ClusterName of a service's port.
func ClusterName(service model.Name, port uint16, subset string) string {
	return fmt.Sprintf("outbound|%d|%s|%s", port, subset, service.Host())
}

// viaPart parts the name of a cluster from the Service by way of which its
// requests come, where that one's breaker holds for them.
const viaPart = "|via|"

// cutVia takes the name apart: via is zero where a cluster is all by itself.
func cutVia(name string) (cluster string, via model.Name) {
	cluster, by, ok := strings.Cut(name, viaPart)
	if !ok {
		return name, model.Name{}
	}
	svc, ns, _ := strings.Cut(by, ".")
	return cluster, model.Name{Namespace: ns, Name: svc}
}

// InboundCluster is the name of the cluster that leads to the program itself.
func InboundCluster(port uint16) string { return fmt.Sprintf("inbound|%d||", port) }

// InboundListener is the name of the listener for an instance's port.
func InboundListener(port uint16) string { return fmt.Sprintf("inbound|%d", port) }

// ParseCluster is the other way of ClusterName.
func ParseCluster(name string) (service model.Name, port uint16, subset string, ok bool) {
	parts := strings.Split(name, "|")
	if len(parts) != 4 || parts[0] != "outbound" {
		return model.Name{}, 0, "", false
	}
	n, err := strconv.ParseUint(parts[1], 10, 16)
	host, cut := strings.CutSuffix(parts[3], ".svc."+model.Domain)
	svc, ns, dot := strings.Cut(host, ".")
	if err != nil || !cut || !dot || svc == "" || ns == "" || strings.Contains(ns, ".") {
		return model.Name{}, 0, "", false
	}
	return model.Name{Namespace: ns, Name: svc}, uint16(n), parts[2], true
}

func parseInbound(name string) (port uint16, ok bool) {
	s, cut := strings.CutPrefix(name, "inbound|")
	s, end := strings.CutSuffix(s, "||")
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), cut && end && err == nil
}

// hostName reads a VHDS name: what a client wrote, and the service that it is
// for. On the outbound listener that is what the client wrote; where one service
// is published it is that one, whatever the client writes.
func hostName(name string) (authority, service string, ok bool) {
	config, authority, ok := strings.Cut(name, "/")
	if !ok || config == OutboundListener {
		return authority, authority, ok
	}
	service, ok = strings.CutPrefix(config, publishedPrefix)
	return authority, service, ok
}
