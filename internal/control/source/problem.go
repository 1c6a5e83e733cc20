package source

import (
	"fmt"
	"strings"
)

// Severity of a problem.
type Severity string

// Severities. An error is something that is refused or ignored although the
// user meant it; a warning is something that is likely not meant; an info is
// good to know.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Info    Severity = "info"
)

// Problem is one thing that is wrong, said so that it can be mended.
type Problem struct {
	// Code is short and stable: "unknown-field".
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	// Object is "service/bb -n demo"; empty when no object could be read.
	Object string `json:"object,omitempty"`
	// Field is the path from the top of the object.
	Field string `json:"field,omitempty"`
	// Value as it was given.
	Value string `json:"value,omitempty"`
	// Allowed says what would be right.
	Allowed string `json:"allowed,omitempty"`
	// Reason says what is wrong and what follows from it, in one sentence.
	Reason string `json:"reason"`
	// Mend says what to do, where that is known.
	Mend string `json:"mend,omitempty"`
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
}

// Where is "file:line", or what of it is known.
func (p *Problem) Where() string {
	switch {
	case p.File == "":
		return ""
	case p.Line == 0:
		return p.File
	default:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
}

// String is the problem on one line, as logs and lint print it.
func (p *Problem) String() string {
	var b strings.Builder
	if w := p.Where(); w != "" {
		b.WriteString(w + ": ")
	}
	fmt.Fprintf(&b, "%s: ", p.Severity)
	if p.Object != "" {
		b.WriteString(p.Object + ": ")
	}
	if p.Field != "" {
		b.WriteString(p.Field)
		if p.Value != "" {
			fmt.Fprintf(&b, ": %q", p.Value)
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Reason)
	if p.Allowed != "" {
		b.WriteString("; allowed: " + p.Allowed)
	}
	if p.Mend != "" {
		b.WriteString("; " + p.Mend)
	}
	b.WriteString(" [" + p.Code + "]")
	return b.String()
}

// Problem is p as one of an object: with the object's name, and the place where
// its field was written.
func (o *Object) Problem(p Problem) Problem {
	p.Object = o.String()
	p.File, p.Line, _ = o.Origin.Place(p.Field)
	return p
}

// Meant is the mend for a word that is not known: the candidate that is most
// like it, or "" when none is alike enough.
func Meant(s string, candidates []string) string {
	if near := Nearest(s, candidates); near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}

// Nearest is the candidate that is most like s, or "" when none is alike
// enough to be meant.
func Nearest(s string, candidates []string) string {
	best, bestDistance := "", len(s)/3+1
	for _, c := range candidates {
		if strings.EqualFold(s, c) {
			return c
		}
		if d := distance(s, c, bestDistance); d <= bestDistance && (best == "" || d < bestDistance) {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is Levenshtein's, given up above limit.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d > limit || -d > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal, least := row[0], i
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
			least = min(least, row[j])
		}
		if least > limit {
			return limit + 1
		}
	}
	return row[len(b)]
}
