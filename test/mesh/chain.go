package mesh

import "testing"

// TLSName is what a certificate for the way between proxies must be for.
const TLSName = "workload.test"

// Chain is proxies in a row before endpoints: the last one is the inbound side
// of a workload, and those before it are outbound sides.
type Chain struct {
	Address string   // of the first, or of the endpoint where there is none
	Proxies []*Proxy // in the order of the way
}

// StartChain starts n proxies before the endpoints of a cluster. Only the last
// one has its endpoints; to each other the proxies speak between. Where the
// listener has TLS, it is the last one's: that of the way between the proxies if
// there are several.
func StartChain(t testing.TB, n int, between Protocol, cluster Cluster, listener Listener, args ...string) Chain {
	t.Helper()
	c := Chain{Address: cluster.Endpoints[0]}
	hop := cluster
	hop.Name = "inbound|80||"
	if n < 2 {
		hop.Name = cluster.Name
	}
	for i := n; i > 0; i-- {
		l := listener
		l.Name, l.Inbound, l.Address = "outbound", false, FreeAddress(t)
		if i == n && n > 1 {
			l.Name, l.Inbound = "inbound", true
		}
		if l.TCP == "" {
			l.Routes = []Route{{Cluster: hop.Name, Retry: listener.Retry}}
		}
		if i < n {
			l.TLS = nil
		}
		p := Start(t, Config{Listeners: []Listener{l}, Clusters: []Cluster{hop}}, args...)
		c.Address = l.Address
		c.Proxies = append([]*Proxy{p}, c.Proxies...)
		hop.Name, hop.Endpoints, hop.Protocol = cluster.Name, []string{l.Address}, between
		if hop.CA, hop.Names = "", nil; l.TLS != nil {
			hop.CA, hop.Names = l.TLS.Cert, []string{TLSName}
		}
	}
	return c
}
