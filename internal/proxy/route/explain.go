package route

import (
	"fmt"
	"strconv"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// Step says of one rule whether a request matches it.
type Step struct {
	// Name of the rule.
	Name string
	// Matches tells that all parts do. The first rule that matches is the one
	// that counts.
	Matches bool
	// Part that does not match, the first of them: "path", "header x-user",
	// "query parameter q". Empty where Matches is set.
	Part string
	// Want is what the part asks for, in words: `is "/a"`.
	Want string
	// Got is what the request has, Present whether it has any.
	Got     string
	Present bool
}

// Explain says of each rule, in their order, whether r matches it, by the same
// matchers as Match.
func (t *Table) Explain(r *http1.Request) []Step {
	path, query := splitPath(r.Path)
	steps := make([]Step, len(t.entries))
	for i := range t.entries {
		steps[i] = t.entries[i].explain(r, path, query)
	}
	return steps
}

func (e *entry) explain(r *http1.Request, path, query []byte) Step {
	s := Step{Name: e.name}
	if !e.path.match(path) {
		s.Part, s.Want, s.Got, s.Present = "path", e.path.String(), string(path), true
		return s
	}
	for i := range e.headers {
		h := &e.headers[i]
		if !h.match(r) {
			value, present := h.find(r)
			s.Part, s.Want, s.Got, s.Present = "header "+h.name, h.String(), string(value), present
			return s
		}
	}
	for i := range e.query {
		q := &e.query[i]
		if !q.match(query) {
			value, present := parameter(query, q.name)
			s.Part, s.Want, s.Got, s.Present = "query parameter "+q.name, q.String(), string(value), present
			return s
		}
	}
	s.Matches = true
	return s
}

// String is the comparison in words.
func (m *pathMatcher) String() string {
	words := [...]string{"begins with ", "is ", "is or is below ", "matches "}
	return words[m.kind] + strconv.Quote(m.value) + caseless(m.ignoreCase)
}

// String is the comparison in words.
func (m *valueMatcher) String() string {
	switch m.kind {
	case ValuePresent:
		return "is there"
	case ValueRange:
		return fmt.Sprintf("is a number from %d to below %d", m.low, m.high)
	}
	words := [...]string{ValueExact: "is ", ValuePrefix: "begins with ", ValueSuffix: "ends with ", ValueContains: "contains ", ValueRegex: "matches "}
	return words[m.kind] + strconv.Quote(m.value) + caseless(m.ignoreCase)
}

// String is the comparison in words.
func (m *headerMatcher) String() string {
	if m.invert {
		return "not: " + m.valueMatcher.String()
	}
	return m.valueMatcher.String()
}

func caseless(ignore bool) string {
	if ignore {
		return ", whatever its case"
	}
	return ""
}
