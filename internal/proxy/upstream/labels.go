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

// Level is one priority of a cluster as requests are spread over them now.
type Level struct {
	// Endpoints of the priority, and those of them that are ready.
	Endpoints, Ready int
	// Share of the requests, in percent.
	Share uint32
	// Panic: so few are ready that all are used.
	Panic bool
}

// Levels are the priorities of the cluster, the first first. One that has no
// endpoints any more, behind the last that has, is left out.
func (c *Cluster) Levels() []Level {
	var out []Level
	last := 0
	for i, t := range c.group.Tiers() {
		out = append(out, Level{Endpoints: t.Endpoints, Ready: t.Closed, Share: t.Load, Panic: t.Panic})
		if t.Endpoints > 0 {
			last = i + 1
		}
	}
	return out[:last]
}

// EndpointPlace says where an address of the cluster stands among the others;
// the zero Place for one that is not there. It takes no lock.
func (c *Cluster) EndpointPlace(address string) Place {
	if e := (*c.byName.Load())[address]; e != nil {
		return e.Place()
	}
	return Place{}
}
