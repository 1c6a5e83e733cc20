package stat

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Options of WriteTable.
type Options struct {
	// Namespaces adds the column NAMESPACE in front.
	Namespaces bool
	// Wide adds the byte rates. They are also there when a row has bytes and no
	// responses: TCP, or streams that go on.
	Wide bool
}

// WriteTable writes the rows in Linkerd's columns: the name on the left, all
// other cells right-aligned, three spaces between. "-" is what does not exist.
func (t *Table) WriteTable(w io.Writer, o Options) error {
	wide := o.Wide || slices.ContainsFunc(t.Rows, Row.bytesOnly)
	var lines [][]string
	line := func(namespace string, cells ...string) {
		if o.Namespaces {
			cells = append([]string{namespace}, cells...)
		}
		if !wide {
			cells = cells[:len(cells)-2]
		}
		lines = append(lines, cells)
	}
	line("NAMESPACE", "NAME", "MESHED", "SUCCESS", "RPS", "LATENCY_P50", "LATENCY_P95", "LATENCY_P99", "TCP_CONN", "READ_BYTES/SEC", "WRITE_BYTES/SEC")
	for _, r := range t.Rows {
		line(r.Namespace, r.Name, r.Meshed, percent(r.Success), rps(r.RPS), ms(r.P50), ms(r.P95), ms(r.P99),
			count(r.TCPConns), bytesPerSecond(r.ReadRate), bytesPerSecond(r.WriteRate))
	}
	left := 1
	if o.Namespaces {
		left = 2
	}
	return writeAligned(w, lines, left)
}

// bytesOnly says that there was traffic and that it was no requests.
func (r Row) bytesOnly() bool {
	return r.RPS == nil && r.ReadRate != nil && r.WriteRate != nil && *r.ReadRate+*r.WriteRate > 0
}

// writeAligned pads cells so that columns align: the first `left` columns on
// the left, the others on the right.
func writeAligned(w io.Writer, lines [][]string, left int) error {
	widths := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, c := range l {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for _, l := range lines {
		for i, c := range l {
			if i > 0 {
				b.WriteString("   ")
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			switch {
			case i >= left:
				b.WriteString(pad + c)
			case i < len(l)-1:
				b.WriteString(c + pad)
			default:
				b.WriteString(c)
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

const none = "-"

func percent(v *float64) string {
	if v == nil {
		return none
	}
	return fmt.Sprintf("%.2f%%", *v*100)
}

func rps(v *float64) string {
	if v == nil {
		return none
	}
	return fmt.Sprintf("%.1frps", *v)
}

func ms(v *uint64) string {
	if v == nil {
		return none
	}
	return strconv.FormatUint(*v, 10) + "ms"
}

func count(v *uint64) string {
	if v == nil {
		return none
	}
	return strconv.FormatUint(*v, 10)
}

func bytesPerSecond(v *float64) string {
	if v == nil {
		return none
	}
	return fmt.Sprintf("%.1fB/s", *v)
}
