package telemetry

import "sync/atomic"

// closings counts connections of opaque bytes by what ended them. The zero value
// is ready.
type closings struct {
	by [reasonCount]atomic.Uint64
}

// TCPClosed counts the end of a caller's connection of opaque bytes: ViaUpstream
// where both sides ended in order, else what broke it or kept it from being
// made.
func (c *closings) TCPClosed(r Reason) { c.by[min(r, reasonCount-1)].Add(1) }

var tcpClosedTotal = Descriptor{
	Name: "recloser_tcp_closed_total", Type: "counter", Unit: "connections",
	Outbound: with([]string{"direction", "cluster"}, with(serviceLabels, "flag", "reason")...),
	Inbound:  []string{"direction", "cluster", "port", "flag", "reason"},
	Why:      "How callers' connections of opaque bytes (TCP, TLS that is passed through) end, by response flag and details. Without a cluster when none was known yet.",
}

// closings adds the counts of one cluster, or of none.
func (s *series) closings(dir Direction, c *closings, where []string) {
	for r := range c.by {
		if n := c.by[r].Load(); n > 0 {
			a := Reason(r).Answer()
			s.add(&tcpClosedTotal, labelsFor(&tcpClosedTotal, dir), float64(n),
				with(where, a.Flag, a.Details)...)
		}
	}
}
