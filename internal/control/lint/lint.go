// Package lint holds what people are told about their configuration: findings
// of a stable shape, in a stable order, as text and JSON, and the checks that
// look at several objects at once. What is wrong with one document is found by
// source, what is wrong with an annotation by policy; all are Findings.
//
// A finding never stops the mesh: what is bad is left out or kept as it was,
// and everything else goes on.
package lint

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/reclosermesh/recloser/internal/control/source"
)

// Finding is one thing to be told.
type Finding = source.Problem

// Severities of findings.
const (
	Error   = source.Error
	Warning = source.Warning
	Info    = source.Info
)

// Sort orders findings by file, line, object, and field, and drops repetitions.
func Sort(f []Finding) []Finding {
	slices.SortFunc(f, compare)
	return slices.Compact(f)
}

func compare(a, b Finding) int {
	return cmp.Or(
		cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
		cmp.Compare(a.Object, b.Object), cmp.Compare(a.Field, b.Field),
		cmp.Compare(a.Code, b.Code), cmp.Compare(a.Value, b.Value), cmp.Compare(a.Reason, b.Reason),
	)
}

// Count is how many findings have a severity.
func Count(f []Finding, s source.Severity) int {
	n := 0
	for i := range f {
		if f[i].Severity == s {
			n++
		}
	}
	return n
}

// WriteText prints one line for each finding and a last line with the counts.
func WriteText(w io.Writer, f []Finding) error {
	for i := range f {
		if _, err := fmt.Fprintln(w, f[i].String()); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s, %s\n", plural(Count(f, Error), "error"), plural(Count(f, Warning), "warning"))
	return err
}

// WriteJSON prints an object with the list "findings", never null.
func WriteJSON(w io.Writer, f []Finding) error {
	if f == nil {
		f = []Finding{}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(struct {
		Findings []Finding `json:"findings"`
	}{f})
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func sortedStrings(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}
