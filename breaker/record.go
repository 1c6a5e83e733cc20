package breaker

import "time"

// lastRequests is how many past requests an endpoint remembers; a power of two.
const lastRequests = 8

// ring is the memory of an endpoint's last requests.
type ring struct {
	n    uint // how many were ever added
	slot [lastRequests]entry
}

// entry is a Record in as few bytes as it needs.
type entry struct {
	at, latency time.Duration
	status      int16
	grpc        int16
	cause       Cause
	class       Class
	probe       bool
}

func (g *ring) add(now time.Duration, r *Result, class Class, probe bool) {
	s := &g.slot[g.n%lastRequests]
	s.at, s.latency = now, r.Latency
	s.status, s.grpc = int16(r.Status), int16(r.GRPCStatus) //nolint:gosec // three digits; -1 to 16
	s.cause, s.class, s.probe = r.Cause, class, probe
	g.n++
}

// records lists what is remembered, oldest first.
func (g *ring) records() []Record {
	n := min(g.n, lastRequests)
	if n == 0 {
		return nil
	}
	out := make([]Record, 0, n)
	for i := g.n - n; i < g.n; i++ {
		s := &g.slot[i%lastRequests]
		out = append(out, Record{
			At: s.at, Latency: s.latency, Status: int(s.status), GRPC: int(s.grpc),
			Cause: s.cause, Class: s.class, Probe: s.probe,
		})
	}
	return out
}

// successRate is the share of successes among the remembered requests with a
// verdict; -1 without any.
func (g *ring) successRate() float64 {
	good, all := 0, 0
	for i := range min(g.n, lastRequests) {
		switch g.slot[i].class {
		case Success:
			good++
			all++
		case Failure, RateOnly:
			all++
		case Ignored:
		}
	}
	if all == 0 {
		return -1
	}
	return float64(good) / float64(all)
}
