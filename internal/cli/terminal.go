package cli

import (
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// terminal is w as a terminal, or nil when it is a file, a pipe or a buffer.
func terminal(w io.Writer) *os.File {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// colored tells whether w should get colours: a terminal that has them, whose
// user did not ask for none (https://no-color.org).
func colored(w io.Writer) bool {
	return terminal(w) != nil && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// columns gives the width of w as a terminal, nil when it is none that can be
// drawn on.
func columns(w io.Writer) func() int {
	f := terminal(w)
	if f == nil || !colored(w) {
		return nil
	}
	return func() int {
		width, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 80
		}
		return width
	}
}

// writeJSON writes a document for people and programs.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// screen draws a text again and again at the same place of a terminal. Only
// what changes is written over, line by line, in one write: no flicker.
type screen struct {
	w      io.Writer
	lines  int // that the last drawing left on the terminal, above the cursor
	height int // of the terminal; 0: unknown
}

// The sequences are ECMA-48's (and DEC's for the cursor), which every terminal
// of today has.
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	clearLine  = "\x1b[K" // from the cursor to the end of the line
	clearBelow = "\x1b[J" // from the cursor to the end of the screen
)

// draw writes text over the last drawing.
func (s *screen) draw(text string) error {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if s.height > 1 && len(lines) >= s.height {
		lines = append(lines[:s.height-2], "…")
	}
	var b strings.Builder
	if s.lines == 0 {
		b.WriteString(hideCursor)
	} else {
		b.WriteString("\x1b[" + strconv.Itoa(s.lines) + "F") // up, to the first column
	}
	for _, l := range lines {
		b.WriteString(l + clearLine + "\n")
	}
	b.WriteString(clearBelow)
	s.lines = len(lines)
	_, err := io.WriteString(s.w, b.String())
	return err
}

// end gives the cursor back. What was drawn last stays.
func (s *screen) end() {
	_, _ = io.WriteString(s.w, showCursor) // a terminal that is gone needs none
}
