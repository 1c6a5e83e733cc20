package routing

import "slices"

// Match is satisfied when all of its parts are. An empty Match matches every
// request.
type Match struct {
	// Paths that the path, without its query, must all match. A rule of one
	// object has one at most; more come of rules that were put together.
	Paths []PathMatch `json:"paths,omitempty"`
	// Headers, all of which must match. The names ":method", ":authority" and
	// ":scheme" stand for what HTTP/2 calls so.
	Headers []HeaderMatch `json:"headers,omitempty"`
	// Query parameters, all of which must match.
	Query []QueryMatch `json:"query,omitempty"`
}

// PathKind is how a path is compared.
type PathKind string

// PathExact compares all of it, PathPrefix whole segments from its begin
// (Gateway API), PathText characters from its begin (Istio's prefix), PathRegex
// all of it with a regular expression (RE2).
const (
	PathExact  PathKind = "exact"
	PathPrefix PathKind = "prefix"
	PathText   PathKind = "text-prefix"
	PathRegex  PathKind = "regex"
)

// PathMatch compares the path.
type PathMatch struct {
	Kind       PathKind `json:"kind"`
	Value      string   `json:"value"`
	IgnoreCase bool     `json:"ignoreCase,omitempty"`
	// Invert matches when the comparison does not.
	Invert bool `json:"invert,omitempty"`
}

// TextKind is how a value is compared.
type TextKind string

// Present matches any value, also an empty one. Regex (RE2) compares all of
// the value.
const (
	Exact    TextKind = "exact"
	Prefix   TextKind = "prefix"
	Suffix   TextKind = "suffix"
	Contains TextKind = "contains"
	Regex    TextKind = "regex"
	Present  TextKind = "present"
)

// Text compares a value.
type Text struct {
	Kind       TextKind `json:"kind"`
	Value      string   `json:"value,omitempty"`
	IgnoreCase bool     `json:"ignoreCase,omitempty"`
}

// HeaderMatch compares a header, whose repetitions are one value, joined by
// commas (RFC 9110 section 5.2).
type HeaderMatch struct {
	// Name in lower case.
	Name string `json:"name"`
	Text
	// Invert matches when the comparison does not, also where there is no such
	// header.
	Invert bool `json:"invert,omitempty"`
}

// QueryMatch compares the first query parameter of a name.
type QueryMatch struct {
	Name string `json:"name"`
	Text
}

// And is the conjunction of two matches. Paths that any request has say nothing
// beside others.
func (m Match) And(o Match) Match {
	paths := append(append([]PathMatch(nil), m.Paths...), o.Paths...)
	said := slices.DeleteFunc(slices.Clone(paths), PathMatch.any)
	if len(said) == 0 && len(paths) > 0 {
		said = paths[:1]
	}
	return Match{
		Paths:   said,
		Headers: append(append([]HeaderMatch(nil), m.Headers...), o.Headers...),
		Query:   append(append([]QueryMatch(nil), m.Query...), o.Query...),
	}
}

// Led is m with the path of one of its parts in front, also where every path
// has it: it is the one that a ReplacePrefix of that part's rule replaces.
func (m Match) Led(part Match) Match {
	own := PathMatch{Kind: PathPrefix, Value: "/"}
	for _, p := range part.Paths {
		if !p.Invert {
			own = p
			break
		}
	}
	paths := []PathMatch{own}
	for _, p := range m.Paths {
		if p != own {
			paths = append(paths, p)
		}
	}
	m.Paths = paths
	return m
}

// All tells whether every request matches.
func (m Match) All() bool {
	return !slices.ContainsFunc(m.Paths, func(p PathMatch) bool { return !p.any() }) && len(m.Headers)+len(m.Query) == 0
}

// any tells whether every path matches.
func (p PathMatch) any() bool {
	return !p.Invert && (p.Kind == PathText && (p.Value == "" || p.Value == "/") || p.Kind == PathPrefix && p.Value == "/")
}
