package breakers

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Style says how text is written.
type Style struct {
	// Color adds the colours of terminals to states.
	Color bool
	// Namespace leaves out the namespace of services in it: the asker named it.
	Namespace string
	// All shows endpoints of services without a breaker too, where there are
	// others: without it they are counted in the last line.
	All bool
	// Width bounds lines, in characters. A table that is wider leaves out
	// addresses, then shortens causes, and is cut at last. 0: no bound.
	Width int
}

func (s Style) state(st State, text string) string {
	if !s.Color {
		return text
	}
	switch st {
	case Open:
		return "\x1b[31m" + text + "\x1b[0m"
	case HalfOpen:
		return "\x1b[33m" + text + "\x1b[0m"
	case Closed:
		return "\x1b[32m" + text + "\x1b[0m"
	case Off, Unknown:
	}
	return text
}

func (s Style) service(v Service) string {
	out := v.Name
	if v.Namespace != "" && v.Namespace != s.Namespace {
		out += "." + v.Namespace
	}
	if v.Port != "" {
		out += ":" + v.Port
	}
	if v.Subset != "" {
		out += " subset " + v.Subset
	}
	if v.Via != "" {
		name, namespace, _ := strings.Cut(v.Via, ".")
		out += " via " + s.service(Service{Namespace: namespace, Name: name})
	}
	return out
}

func (v Endpoint) text() string {
	if v.Pod == "" {
		return v.Address
	}
	return v.Pod + " (" + v.Address + ")"
}

// place is the priority and the locality, where there is something to tell.
func (v Endpoint) place() string {
	switch {
	case v.Priority != "" && v.Locality != "":
		return " [" + v.Priority + ", " + v.Locality + "]"
	case v.Priority != "" || v.Locality != "":
		return " [" + v.Priority + v.Locality + "]"
	}
	return ""
}

// text names the client by its workload, or by its pod where the workload has
// more than one in what is shown.
func (v Client) text(many bool) string {
	switch {
	case v.Workload == "" && v.Pod == "":
		return v.Node
	case v.Workload == "" || (many && v.Pod != ""):
		return v.Pod
	default:
		return v.Workload
	}
}

func workloadsWithMany(clients []Client) map[[2]string]bool {
	first, many := map[[2]string]string{}, map[[2]string]bool{}
	for _, c := range clients {
		k := [2]string{c.Namespace, c.Workload}
		if node, ok := first[k]; ok && node != c.Node {
			many[k] = true
		}
		first[k] = c.Node
	}
	return many
}

// cell is a piece of a line: its text, and how it is shown.
type cell struct {
	text  string
	state State // coloured when set
	right bool
}

// WriteTable writes the breakers as a table, or a sentence when there are none.
func (l List) WriteTable(w io.Writer, s Style) error {
	if len(l.Breakers) == 0 {
		lines := [][]cell{{{text: "No breakers: no proxy has called a service yet."}}}
		return writeLines(w, lines, []int{0}, s)
	}
	off := 0
	if !s.All {
		l.Breakers, off = withBreaker(l.Breakers)
	}
	lines := l.lines(s, false)
	widths := widthsOf(lines, nil)
	if s.Width > 0 && total(widths) > s.Width {
		lines = l.lines(s, true)
		widths = widthsOf(lines, nil)
	}
	if s.Width > 0 {
		shrink(lines, widths, s.Width)
	}
	if err := writeLines(w, lines, widths, s); err != nil || off == 0 {
		return err
	}
	_, err := fmt.Fprintf(w, "%d more without a breaker (--all)\n", off)
	return err
}

// withBreaker leaves out the endpoints of services without a breaker, unless
// there are no others: each sidecar knows those of each opaque service.
func withBreaker(all []Breaker) (list []Breaker, off int) {
	for i := range all {
		if all[i].State != Off {
			list = append(list, all[i])
		}
	}
	if len(list) == 0 {
		return all, 0
	}
	return list, len(all) - len(list)
}

// The columns that give way in a narrow terminal, one after the other, and how
// far each: what is due when, and how much is kept out, stay whole.
var givesWay = [...]struct{ column, least int }{
	{causeColumn, 8}, {0, 8}, {1, 7}, {2, 10}, {causeColumn, 1},
}

const causeColumn = 4

// shrink cuts cells until lines fit, or no column can give more.
func shrink(lines [][]cell, widths []int, width int) {
	for _, g := range givesWay {
		over := total(widths) - width
		if over <= 0 {
			return
		}
		if widths[g.column] <= g.least {
			continue
		}
		widths[g.column] = max(g.least, widths[g.column]-over)
		for _, line := range lines {
			c := &line[g.column]
			if utf8.RuneCountInString(c.text) > widths[g.column] {
				c.text = cut(c.text, widths[g.column]-1) + "…"
			}
		}
	}
}

// total is the width of a line.
func total(widths []int) int {
	sum := 3 * (len(widths) - 1)
	for _, w := range widths {
		sum += w
	}
	return sum
}

// lines are the cells of the table. short leaves out what a reader can do
// without: addresses of pods, the namespace of services if it is one, words of
// the heading.
func (l List) lines(s Style, short bool) [][]cell {
	lines := [][]cell{{
		{text: "CLIENT"},
		{text: "SERVICE"},
		{text: "ENDPOINT"},
		{text: "STATE"},
		{text: "CAUSE"},
		{text: "FAILURES", right: true},
		{text: "NEXT PROBE IN", right: true},
		{text: "EJECTED", right: true},
	}}
	if short {
		lines[0][5].text, lines[0][6].text = "FAIL", "PROBE IN"
	}
	clients := make([]Client, len(l.Breakers))
	one := l.Breakers[0].Service.Namespace
	for i, b := range l.Breakers {
		clients[i] = b.Client
		if b.Service.Namespace != one {
			one = ""
		}
	}
	if short && one != "" {
		s.Namespace = one
	}
	many := workloadsWithMany(clients)
	for _, b := range l.Breakers {
		endpoint := b.Endpoint.text()
		if short && b.Endpoint.Pod != "" {
			endpoint = b.Endpoint.Pod
		}
		endpoint += b.Endpoint.place()
		lines = append(lines, []cell{
			{text: b.Client.text(many[[2]string{b.Client.Namespace, b.Client.Workload}])},
			{text: s.service(b.Service)},
			{text: endpoint},
			{text: string(b.State), state: b.State},
			{text: b.cause()},
			{text: strconv.FormatUint(uint64(b.Failures), 10), right: true},
			{text: b.nextProbe(l.At), right: true},
			{text: strconv.FormatFloat(b.EjectedPercent, 'f', 0, 64) + "%", right: true},
		})
	}
	return lines
}

func (b Breaker) cause() string {
	if b.State == Closed || b.State == Off || b.Cause == "" {
		return "-"
	}
	return b.Cause
}

// nextProbe tells when an endpoint that is kept out is tried. "now" is due, or
// under way.
func (b Breaker) nextProbe(at time.Time) string {
	switch {
	case b.State == HalfOpen:
		return "now"
	case b.State != Open || b.Until == nil:
		return "-"
	}
	left := b.Until.Sub(at)
	switch {
	case left <= 0:
		return "now"
	case left < 10*time.Second:
		return fmt.Sprintf("%.1fs", left.Seconds())
	default:
		return left.Round(time.Second).String()
	}
}

func widthsOf(lines [][]cell, widths []int) []int {
	for _, l := range lines {
		for i, c := range l {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	return widths
}

func writeLines(w io.Writer, lines [][]cell, widths []int, s Style) error {
	var out strings.Builder
	for _, l := range lines {
		var b strings.Builder
		used := 0
		for i, c := range l {
			gap := ""
			if i > 0 {
				gap = "   "
			}
			pad := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(c.text)))
			before, after := gap, pad
			if c.right {
				before, after = gap+pad, ""
			}
			if i == len(l)-1 {
				after = ""
			}
			text := clean(c.text)
			if s.Width > 0 {
				before = cut(before, s.Width-used)
				used += utf8.RuneCountInString(before)
				text = cut(text, s.Width-used)
				used += utf8.RuneCountInString(text)
				after = cut(after, s.Width-used)
				used += utf8.RuneCountInString(after)
			}
			if c.state != "" {
				text = s.state(c.state, text)
			}
			b.WriteString(before + text + after)
		}
		out.WriteString(strings.TrimRight(b.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// clean takes control characters out: names and causes come from proxies and
// must not be able to write to a terminal what they like.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

func cut(s string, width int) string {
	if width <= 0 {
		return ""
	}
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width])
}
