package policy

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/reclosermesh/recloser/internal/control/model"
)

// Leaf is one setting as people read it.
type Leaf struct {
	// Path is what it is called: "breaker.maxFailures".
	Path   string `json:"path"`
	Value  string `json:"value"`
	Origin Origin `json:"origin"`
}

// where names the subset, if there is one.
func (d *Destination) where() string {
	if d.Subset == nil {
		return ""
	}
	return ", subset " + d.Subset.Name
}

// Leaves are all settings in a fixed order.
func (e *Effective) Leaves() []Leaf {
	out := []Leaf{
		leaf("protocol", e.Protocol, model.Protocol.String),
		leaf("balancer", e.Balancer, func(b Balancer) string { return string(b) }),
		leaf("connectTimeout", e.ConnectTimeout, text),
		leaf("failFast", e.FailFast, text),
		leaf("maxWaiting", e.MaxWaiting, limit),
		leaf("limits.maxConnections", e.Limits.MaxConnections, limit),
		leaf("limits.maxPending", e.Limits.MaxPending, limit),
		leaf("limits.maxRequests", e.Limits.MaxRequests, limit),
		leaf("limits.maxRetries", e.Limits.MaxRetries, limit),
	}
	out = append(out, e.Destination.leaves()...)
	out = append(out, e.failoverLeaves()...)
	out = append(out, e.TLS.leaves()...)
	if e.Outlier != nil {
		return append(out, e.Outlier.leaves()...)
	}
	b := e.Breaker
	if b == nil {
		return append(out, Leaf{Path: "breaker", Value: "off", Origin: e.BreakerOff})
	}
	out = append(out,
		leaf("breaker.mode", b.Mode, func(s string) string { return s }),
		leaf("breaker.maxFailures", b.MaxFailures, neverAtZero),
	)
	if s := b.SuccessRate; s != nil {
		out = append(out,
			leaf("breaker.successRate.threshold", s.Threshold, decimal),
			leaf("breaker.successRate.window", s.Window, text),
			leaf("breaker.successRate.minRequests", s.MinRequests, limit),
		)
	}
	return append(out,
		leaf("breaker.minPenalty", b.MinPenalty, text),
		leaf("breaker.maxPenalty", b.MaxPenalty, text),
		leaf("breaker.jitter", b.Jitter, decimal),
		leaf("breaker.probeTimeout", b.ProbeTimeout, text),
	)
}

func leaf[T any](path string, v Value[T], show func(T) string) Leaf {
	return Leaf{Path: path, Value: show(v.Value), Origin: v.Origin}
}

func limit(n uint32) string {
	if n == Unlimited {
		return "unlimited"
	}
	return strconv.FormatUint(uint64(n), 10)
}

func neverAtZero(n uint32) string {
	if n == 0 {
		return "0 (never)"
	}
	return limit(n)
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// WriteText prints the settings as a table, each with where it comes from, and
// below it what is wrong.
func (e *Effective) WriteText(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "service/%s -n %s, port %d%s, for callers in namespace %s\n\n", e.Service, e.Namespace, e.Port, e.Destination.where(), e.Client); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "SETTING\tVALUE\tORIGIN")
	for _, l := range e.Leaves() {
		fmt.Fprintf(t, "%s\t%s\t%s\n", l.Path, l.Value, l.Origin)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if err := e.writeLosers(w); err != nil || len(e.Findings) == 0 {
		return err
	}
	fmt.Fprintln(w)
	for i := range e.Findings {
		if _, err := fmt.Fprintln(w, e.Findings[i].String()); err != nil {
			return err
		}
	}
	return nil
}

// writeLosers prints what was written for these requests in vain.
func (e *Effective) writeLosers(w io.Writer) error {
	if len(e.Losers) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w, "\nNo effect here:"); err != nil {
		return err
	}
	for _, l := range e.Losers {
		if _, err := fmt.Fprintf(w, "  %s: %s\n", l.Origin, l.Reason); err != nil {
			return err
		}
	}
	return nil
}
