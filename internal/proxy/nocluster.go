package proxy

import "strings"

// noCluster says to a caller what is missing where a route leads to a cluster
// that does not exist. The control plane of this mesh writes the reason behind
// the fourth bar of the name of a cluster that cannot be
// ("invalid|80||a.shop|there is no service a in namespace shop"); of the name of
// a service's cluster ("outbound|80||a.shop.svc.cluster.local") the service and
// its port count. Other names are as they are.
func noCluster(name string) string {
	parts := strings.SplitN(name, "|", 5)
	switch {
	case len(parts) == 5 && parts[0] == "invalid":
		return parts[4]
	case len(parts) >= 4 && parts[0] == "outbound" && parts[2] != "":
		return "nothing is known of subset " + parts[2] + " of " + parts[3] + ":" + parts[1]
	case len(parts) >= 4 && parts[0] == "outbound":
		return "nothing is known of " + parts[3] + ":" + parts[1]
	default:
		return "there is no cluster " + name
	}
}
