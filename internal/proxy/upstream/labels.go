package upstream

import "github.com/reclosermesh/recloser/internal/telemetry"

// EndpointLabels says what runs at an address of the cluster; empty for one
// that is not there. It takes no lock, so it may be called from OnEvent.
func (c *Cluster) EndpointLabels(address string) telemetry.Labels {
	if e := (*c.byName.Load())[address]; e != nil {
		return e.Labels()
	}
	return telemetry.Labels{}
}
