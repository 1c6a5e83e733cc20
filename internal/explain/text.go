package explain

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/reclosermesh/recloser/internal/control/origin"
	"github.com/reclosermesh/recloser/internal/control/routing"
)

// shownLater is how many of the rules after the one that holds are printed.
const shownLater = 3

// WriteText prints an answer for people.
func (a *Answer) WriteText(w io.Writer) error {
	t := &textWriter{}
	t.head(a)
	t.rules(a)
	t.outcome(a)
	for i := range a.Backends {
		t.backend(&a.Backends[i])
	}
	t.mirrors(a.Mirrors)
	t.settings("The rule", a.Settings)
	for i := range a.Backends {
		b := &a.Backends[i]
		t.settings("Towards "+b.name(), b.Settings)
		t.losers(b.Losers)
	}
	_, err := w.Write(t.Bytes())
	return err
}

type textWriter struct{ bytes.Buffer }

func (t *textWriter) line(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }

func (t *textWriter) head(a *Answer) {
	r := &a.Request
	scheme := r.Scheme
	if r.GRPC {
		scheme = "grpc"
	}
	t.line("%s %s://%s%s", r.Method, scheme, r.Authority, r.Path)
	t.line("from %s%s", a.Caller, optional(", in ", a.Locality))
	for _, h := range r.Headers {
		t.line("     %s: %s", h.Name, h.Value)
	}
	if a.Service == "" {
		return
	}
	t.line("")
	if a.Namespace == "" {
		t.line("Host      %s, port %d, which is no Service", a.Service, a.Port)
	} else {
		t.line("Host      service/%s -n %s, port %d", a.Service, a.Namespace, a.Port)
	}
	if p := a.Protocol; p != nil {
		t.line("Protocol  %s (%s)", p.Value, p.Origin)
	}
	t.line("Governed  by %s%s", a.Dialect, optional(": ", a.Governor))
	t.losers(a.Losers)
}

func (t *textWriter) losers(list []routing.Loser) {
	for _, l := range list {
		t.line("          without effect: %s: %s", l.Origin, l.Reason)
	}
}

func (t *textWriter) rules(a *Answer) {
	if len(a.Rules) == 0 {
		return
	}
	t.line("\nRules, of which the first that matches holds")
	later := 0
	for i := range a.Rules {
		r := &a.Rules[i]
		if a.Rule >= 0 && i > a.Rule {
			if later++; later > shownLater {
				continue
			}
		}
		t.line("%s %d. %s  %s", mark(r.Verdict), i+1, r.Name, parenthesized(r.Origin))
		t.verdict(r, a.Rule >= 0 && i > a.Rule)
		for _, o := range r.Also {
			t.line("       with %s", o)
		}
	}
	if more := later - shownLater; more > 0 {
		t.line("    … and %d more after it", more)
	}
}

func (t *textWriter) verdict(r *Rule, after bool) {
	switch r.Verdict {
	case Later:
		t.line("       matches too, but comes later")
	case Failed:
		have := "the request has none"
		if r.Got != nil {
			have = "the request has " + strconv.Quote(*r.Got)
		}
		more := ""
		if after {
			more = ", and it comes later"
		}
		t.line("       %s: must be: %s; %s%s", r.Part, r.Want, have, more)
	}
}

func mark(v Verdict) string {
	if v == Chosen {
		return "  →"
	}
	return "   "
}

func (t *textWriter) outcome(a *Answer) {
	o := &a.Outcome
	t.line("\nOutcome   %s", o.sentence())
	for _, h := range o.Headers {
		t.line("          %s: %s", h.Name, h.Value)
	}
	if o.Body != "" {
		t.line("          body %s", strconv.Quote(o.Body))
	}
	if len(o.Near) > 0 {
		t.line("          did you mean %s?", strings.Join(o.Near, ", "))
	}
	t.edits("request ", a.RequestHeaders)
	t.edits("answer  ", a.ResponseHeaders)
}

func (o *Outcome) sentence() string {
	switch o.Kind {
	case Forwarded:
		if o.Reason != "" {
			return "sent to a backend; " + o.Reason
		}
		return "sent to a backend"
	case Redirected:
		return fmt.Sprintf("redirected with %d to %s", o.Status, o.Location)
	case Direct:
		if o.GRPCStatus != nil {
			return fmt.Sprintf("answered with grpc-status %d (HTTP %d) by the route itself", *o.GRPCStatus, o.Status)
		}
		return fmt.Sprintf("answered with %d by the route itself", o.Status)
	case Preflight:
		return fmt.Sprintf("answered with %d by the route's policy of CORS", o.Status)
	case Aborted:
		if o.GRPCStatus != nil {
			return fmt.Sprintf("answered with grpc-status %d: %s", *o.GRPCStatus, o.Reason)
		}
		return fmt.Sprintf("answered with %d: %s", o.Status, o.Reason)
	case Bytes:
		return o.Reason
	default:
		if o.Status == 0 {
			return o.Reason
		}
		if o.GRPCStatus != nil {
			return fmt.Sprintf("refused with grpc-status %d: %s", *o.GRPCStatus, o.Reason)
		}
		return fmt.Sprintf("refused with %d: %s", o.Status, o.Reason)
	}
}

func (t *textWriter) edits(side string, list []routing.HeaderEdit) {
	for i := range list {
		e := &list[i]
		text := string(e.Op) + " " + e.Name
		if e.Op != routing.Remove {
			text += ": " + e.Value
		}
		t.line("          %s %s  %s", side, text, parenthesized(e.Origin))
	}
}

// name is the backend as people write it.
func (b *Backend) name() string {
	s := fmt.Sprintf("service/%s -n %s, port %d", b.Service, b.Namespace, b.Port)
	return s + optional(", subset ", b.Subset)
}

func (t *textWriter) backend(b *Backend) {
	t.line("\n  %5.1f%%  %s", b.Share*100, b.name())
	t.line("          weight %d %s", b.Weight.Value, parenthesized(b.Weight.Origin))
	if b.Via != "" {
		t.line("          under the breaker of %s", b.Via)
	}
	if b.Invalid != "" {
		t.line("          invalid: %s", b.Invalid)
		return
	}
	t.edits("request ", b.Edits)
	t.edits("answer  ", b.Answers)
	if s := b.Sent; s != nil {
		t.line("          sent as %s%s", s.Authority, s.Path)
		for _, h := range s.Headers {
			t.line("            %s: %s", h.Name, h.Value)
		}
		for _, h := range s.Answer {
			t.line("          the answer is given %s: %s", h.Name, h.Value)
		}
	}
	if len(b.Endpoints) == 0 {
		t.line("          no endpoint is ready")
		return
	}
	tab := tabwriter.NewWriter(t, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "          ENDPOINT\tPOD\tLOCALITY\tPRIORITY\tBREAKER")
	for i := range b.Endpoints {
		e := &b.Endpoints[i]
		fmt.Fprintf(tab, "          %s\t%s\t%s\t%d\t%s\n", e.Address, dash(e.Pod), dash(e.Locality), e.Priority, e.Breaker+optional(": ", e.Cause))
	}
	_ = tab.Flush() // to memory
}

func (t *textWriter) mirrors(list []Mirror) {
	for i := range list {
		m := &list[i]
		t.line("\n  copies of %s of the requests to service/%s -n %s, port %d%s %s%s", percent(m.Percent.Value), m.Service, m.Namespace, m.Port,
			optional(", subset ", m.Subset), parenthesized(m.Origin), optional("; invalid: ", m.Invalid))
	}
}

func (t *textWriter) settings(title string, list []Setting) {
	if len(list) == 0 {
		return
	}
	t.line("\n%s", title)
	tab := tabwriter.NewWriter(t, 0, 0, 3, ' ', 0)
	for _, s := range list {
		fmt.Fprintf(tab, "  %s\t%s\t%s\n", s.Name, s.Value, s.Origin)
	}
	_ = tab.Flush() // to memory
}

// parenthesized is an origin behind what it is of.
func parenthesized(o origin.Origin) string {
	if o == (origin.Origin{}) {
		return ""
	}
	return "[" + o.String() + "]"
}

func optional(before, s string) string {
	if s == "" {
		return ""
	}
	return before + s
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
