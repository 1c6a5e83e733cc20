package snapshot

import (
	"strings"
	"sync/atomic"

	"github.com/reclosermesh/recloser/internal/proxy/route"
	"github.com/reclosermesh/recloser/internal/proxy/upstream"
)

// The states below each have a newest version, which is good, and a live one,
// which is in use. Live follows newest as soon as all that newest names is
// there. "Answered" means that the control plane has spoken, be it to say that
// there is no such resource (newest is then nil).

type listenerState struct {
	newest, live *listenerSpec
	listener     *Listener      // of live
	hosts        *Hosts         // what its server looks at, as long as the listener lives
	compiled     []compiledHost // of live's inline routes
	bytes        *Bytes         // as hosts
	to           compiledHost   // of live's bytes
}

type routeState struct {
	answered     bool
	newest, live *routeSpec
	compiled     []compiledHost // of live
}

type hostKey struct{ route, authority string }

// resource is the name under which VHDS knows the host.
func (k hostKey) resource() string { return k.route + "/" + k.authority }

func keyOf(resource string) hostKey {
	r, authority, _ := strings.Cut(resource, "/")
	return hostKey{route: r, authority: authority}
}

type hostState struct {
	answered     bool
	newest, live *hostSpec
	settled      bool // live is what newest says, or was before a change
	compiled     compiledHost
	ready        chan struct{} // closed when settled first becomes true
	used         atomic.Bool
}

type clusterState struct {
	answered     bool
	newest, live *clusterSpec
	settled      bool // as for hosts
}

type endpointsState struct {
	answered bool
	list     *endpointList
}

// appliedCluster is what the Set was last given for a cluster.
type appliedCluster struct {
	spec *clusterSpec
	list *endpointList
}

// compiledHost is a table with what it was made from, to be kept while neither
// the definition nor the clusters are others.
type compiledHost struct {
	cfg      *hostSpec
	common   *route.Common
	clusters []*upstream.Cluster
	table    *route.Table
}

// compile gives the table of cfg, the one that is there if nothing changed.
// common is what holds for all hosts around it.
func (c *compiledHost) compile(cfg *hostSpec, common *route.Common, live map[string]*upstream.Cluster) *route.Table {
	names := cfg.Clusters()
	same := c.cfg == cfg && c.common == common
	for i := 0; same && i < len(names); i++ {
		same = live[names[i]] == c.clusters[i]
	}
	if !same {
		c.cfg, c.common, c.clusters = cfg, common, make([]*upstream.Cluster, len(names))
		for i, name := range names {
			c.clusters[i] = live[name]
		}
		c.table = route.New(cfg.Config, common, func(name string) *upstream.Cluster { return live[name] })
	}
	return c.table
}
