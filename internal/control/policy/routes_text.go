package policy

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/reclosermesh/recloser/internal/control/routing"
)

// WriteText prints the rules in their order as a table, and below it what has
// no effect here and why.
func (r *Routes) WriteText(w io.Writer) error {
	fmt.Fprintf(w, "Routes, by %s; the first that matches wins:\n\n", r.Dialect)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "RULE\tMATCH\tTO\tTREATMENT\tORIGIN")
	for i := range r.Rules {
		rule := &r.Rules[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", rule.Name, rule.Match, rule.Does(), treatment(rule), rule.Origin)
	}
	if err := t.Flush(); err != nil || len(r.Losers) == 0 {
		return err
	}
	fmt.Fprintln(w, "\nNo effect here:")
	for _, l := range r.Losers {
		if _, err := fmt.Fprintf(w, "  %s: %s\n", l.Origin, l.Reason); err != nil {
			return err
		}
	}
	return nil
}

// treatment says in short what else is done with a rule's requests.
func treatment(r *routing.Rule) string {
	var parts []string
	bound := func(what string, v Value[time.Duration]) {
		if v.IsSet() {
			parts = append(parts, what+" "+text(v.Value))
		}
	}
	bound("timeout", r.Timeouts.Request)
	bound("per try", r.Timeouts.Backend)
	bound("response", r.Timeouts.Response)
	bound("idle", r.Timeouts.Idle)
	if r.Retry != nil {
		parts = append(parts, fmt.Sprintf("%d retries", r.Retry.Attempts.Value))
	}
	count := func(n int, what string) {
		if n > 0 {
			parts = append(parts, what)
		}
	}
	count(len(r.RequestHeaders)+len(r.ResponseHeaders), "edits headers")
	if r.Rewrite != nil {
		parts = append(parts, "rewrites")
	}
	count(len(r.Mirrors), "mirrored")
	if r.CORS != nil {
		parts = append(parts, "CORS")
	}
	if r.Fault != nil {
		parts = append(parts, "faults")
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}
