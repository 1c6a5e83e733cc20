package local

import (
	"bytes"
	"io"
	"slices"
	"sync"
)

// Bounds of what is kept of a program's output.
const (
	keptLines   = 200  // of each program
	maxLineLen  = 4096 // bytes; a longer line is cut into several
	shownLines  = 10   // of a crashed program
	outputPatch = 32 << 10
)

// console is where the output of all programs comes together: whole lines,
// each with the name of its instance.
type console struct {
	mu  sync.Mutex
	out io.Writer // may be nil: then nothing is shown and lines are only kept
}

// show prints lines that belong together without another's line in between.
func (c *console) show(prefix string, lines []string) {
	if c.out == nil || len(lines) == 0 {
		return
	}
	var b bytes.Buffer
	for _, l := range lines {
		b.WriteString(prefix)
		b.WriteString(l)
		b.WriteByte('\n')
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// The console is the user's terminal: when it is gone there is nobody to
	// tell, and the programs go on.
	_, _ = c.out.Write(b.Bytes())
}

// output takes what one program prints, shows it on the console line by line,
// and keeps the last lines. It is safe for concurrent use.
type output struct {
	console *console
	prefix  string

	mu   sync.Mutex
	part []byte   // of a line that has not ended
	ring []string // up to keptLines lines; next is the oldest once it is full
	next int
}

// Write implements io.Writer. It never fails.
func (o *output) Write(p []byte) (int, error) {
	n := len(p)
	o.mu.Lock()
	var lines []string
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		switch room := maxLineLen - len(o.part); {
		case end >= 0 && end <= room:
			o.part = append(o.part, p[:end]...)
			p = p[end+1:]
		case len(p) >= room:
			o.part = append(o.part, p[:room]...)
			p = p[room:]
		default:
			o.part = append(o.part, p...)
			p = nil
			continue
		}
		lines = append(lines, o.endLine())
	}
	o.mu.Unlock()
	o.console.show(o.prefix, lines)
	return n, nil
}

// flush ends a line that its program left unfinished.
func (o *output) flush() {
	o.mu.Lock()
	var lines []string
	if len(o.part) > 0 {
		lines = append(lines, o.endLine())
	}
	o.mu.Unlock()
	o.console.show(o.prefix, lines)
}

// endLine keeps the line that was collected in part.
func (o *output) endLine() string {
	line := string(bytes.TrimSuffix(o.part, []byte("\r")))
	o.part = o.part[:0]
	if len(o.ring) < keptLines {
		o.ring = append(o.ring, line)
	} else {
		o.ring[o.next] = line
		o.next = (o.next + 1) % keptLines
	}
	return line
}

// forget drops the lines that are kept: the program starts anew.
func (o *output) forget() {
	o.mu.Lock()
	o.ring, o.next = nil, 0
	o.mu.Unlock()
}

// last returns up to n of the last lines, oldest first.
func (o *output) last(n int) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := slices.Concat(o.ring[o.next:], o.ring[:o.next])
	return lines[max(0, len(lines)-n):]
}
