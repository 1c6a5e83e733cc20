package demo

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/reclosermesh/recloser/internal/observe/breakers"
	"github.com/reclosermesh/recloser/internal/observe/stat"
)

// Show presents a demo: as lines, and on a terminal also with figures that move
// below the last line.
type Show struct {
	w     io.Writer
	width func() int // of the terminal; nil: it is none
	below int        // lines of moving figures on the screen
	start time.Time
}

// NewShow presents on w. width gives the columns of w as a terminal, asked at
// each drawing; nil: w is none.
func NewShow(w io.Writer, width func() int) *Show {
	return &Show{w: w, width: width, start: time.Now()}
}

// Live tells whether Redraw shows anything.
func (s *Show) Live() bool { return s.width != nil }

// Part begins a part of the demo.
func (s *Show) Part(title, explained string) {
	s.clear()
	fmt.Fprintf(s.w, "\n%s\n", s.bold("── "+title))
	if explained != "" {
		s.Note(explained)
	}
}

// Note writes a line.
func (s *Show) Note(text string) {
	s.clear()
	fmt.Fprintf(s.w, "%s  %s\n", s.stamp(), text)
}

// Command shows what a user would type for what the demo does.
func (s *Show) Command(format string, args ...any) {
	s.clear()
	fmt.Fprintf(s.w, "%s  $ %s\n", s.stamp(), fmt.Sprintf(format, args...))
}

// Event writes a breaker's transition.
func (s *Show) Event(e breakers.Event) {
	line := fmt.Sprintf("%s: %s → %s", e.Endpoint.Workload, e.From, e.To)
	if e.Detail != "" {
		line += ": " + e.Detail
	}
	if e.To == breakers.Open && e.Until != nil {
		line += fmt.Sprintf("; next probe in %s", e.Until.Sub(e.Time).Round(100*time.Millisecond))
	}
	s.Note(line)
}

// Figures writes the tutorial's two tables.
func (s *Show) Figures(f Figures) {
	s.clear()
	s.Command("recloser stat -n %s -t %s deploy", Namespace, f.Window)
	_ = f.Deployments.WriteTable(s.w, stat.Options{})
	s.Command("recloser stat -n %s -t %s deploy/%s --to svc/bb", Namespace, f.Window, caller)
	_ = f.Caller.WriteTable(s.w, stat.Options{})
}

// Redraw shows moving figures: on a terminal only.
func (s *Show) Redraw(doing string, table *stat.Table) {
	if s.width == nil {
		return
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s  … %s\n", s.stamp(), doing)
	if table != nil {
		_ = table.WriteTable(&b, stat.Options{})
	}
	s.clear()
	s.below = strings.Count(b.String(), "\n")
	_, _ = io.WriteString(s.w, cut(b.String(), s.width()))
}

// cut shortens each line to the terminal's width: one that went on in the next
// row could not be taken away by its number of lines.
func cut(text string, width int) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if r := []rune(l); width > 0 && len(r) > width {
			lines[i] = string(r[:width])
		}
	}
	return strings.Join(lines, "\n")
}

// Status is Redraw without figures.
func (s *Show) Status(doing string) { s.Redraw(doing, nil) }

// clear takes the moving figures away.
func (s *Show) clear() {
	if s.below > 0 {
		fmt.Fprintf(s.w, "\x1b[%dA\x1b[J", s.below)
		s.below = 0
	}
}

// Close leaves the screen as it should be.
func (s *Show) Close() { s.clear() }

func (s *Show) stamp() string { return fmt.Sprintf("%5.1fs", time.Since(s.start).Seconds()) }

func (s *Show) bold(text string) string {
	if s.width == nil {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}
