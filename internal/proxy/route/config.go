// Package route decides where a request goes: a Config is the definition of one
// virtual host's routes, a Table its compiled form.
//
// The first rule that matches wins, as in Envoy; the order is the control
// plane's business. A Table is immutable and may be read by any goroutine.
// Match and Pick do not allocate, but for a header that is matched and that the
// request repeats.
//
// The package changes nothing in a request and knows no timeouts but as values
// that it hands on.
package route

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"
)

// Config is the routes of one virtual host.
type Config struct {
	// Name is the virtual host's name, for people.
	Name string
	// Rules in the order of their precedence.
	Rules []Rule
}

// Rule sends the requests that match to backends.
type Rule struct {
	// Name is the route's name in the access log.
	Name  string
	Match Match
	// Backends share the requests by weight. None, or none above weight 0: the
	// request is answered as if its cluster did not exist.
	Backends []WeightedCluster
	// Timeout bounds the whole exchange, waiting and retries included. 0: none.
	Timeout time.Duration
}

// WeightedCluster is one cluster that a rule sends to.
type WeightedCluster struct {
	Cluster string
	// Weight is the share beside the others; 0: never used. The sum over a rule
	// is at most 4294967295, as in Envoy.
	Weight uint32
}

// Match is satisfied when all of its parts are.
type Match struct {
	Path    PathMatch
	Headers []HeaderMatch
	Query   []QueryMatch
}

// PathKind is how a path is compared. The query is never part of it.
type PathKind uint8

const (
	// PathPrefix matches a path that begins with Value, be it within a segment.
	// An empty Value matches any path.
	PathPrefix PathKind = iota
	// PathExact matches the whole path.
	PathExact
	// PathSeparatedPrefix matches Value and what continues it after a slash.
	PathSeparatedPrefix
	// PathRegex matches the whole path with a regular expression (RE2).
	PathRegex
)

// PathMatch compares the path.
type PathMatch struct {
	Kind       PathKind
	Value      string
	IgnoreCase bool // not for PathRegex
}

// ValueKind is how a header's or query parameter's value is compared.
type ValueKind uint8

const (
	// ValuePresent matches any value, also an empty one.
	ValuePresent ValueKind = iota
	// ValueExact matches the whole value.
	ValueExact
	// ValuePrefix matches its begin.
	ValuePrefix
	// ValueSuffix matches its end.
	ValueSuffix
	// ValueContains matches a part.
	ValueContains
	// ValueRegex matches the whole value with a regular expression (RE2).
	ValueRegex
	// ValueRange matches a decimal integer in [Low, High).
	ValueRange
)

// ValueMatch compares a value.
type ValueMatch struct {
	Kind       ValueKind
	Value      string
	IgnoreCase bool // not for ValueRegex and ValueRange
	Low, High  int64
}

// HeaderMatch compares a header. The names ":method", ":path" (with the query)
// and ":authority" stand for what HTTP/2 calls so. Repeated headers are
// compared as one value, joined by commas (RFC 9110 section 5.2).
type HeaderMatch struct {
	Name string
	ValueMatch
	// Invert matches when the comparison does not.
	Invert bool
	// MissingAsEmpty compares an absent header as an empty one; else absence
	// never matches, and always does with Invert.
	MissingAsEmpty bool
}

// QueryMatch compares the first query parameter of a name, as it was sent:
// percent-encoding is not resolved (Envoy).
type QueryMatch struct {
	Name string
	ValueMatch
}

// Validate says everything that is wrong with c.
func (c *Config) Validate() error {
	var errs []error
	for i := range c.Rules {
		r := &c.Rules[i]
		at := fmt.Sprintf("routes[%d]", i)
		if r.Timeout < 0 {
			errs = append(errs, fmt.Errorf("%s.timeout %v: must not be negative", at, r.Timeout))
		}
		errs = append(errs, r.Match.validate(at+".match"))
		total := uint64(0)
		for j, b := range r.Backends {
			if b.Cluster == "" {
				errs = append(errs, fmt.Errorf("%s.backends[%d].cluster: must not be empty", at, j))
			}
			total += uint64(b.Weight)
		}
		if total > math.MaxUint32 {
			errs = append(errs, fmt.Errorf("%s.backends: weights sum to %d: at most %d", at, total, uint32(math.MaxUint32)))
		}
	}
	return errors.Join(errs...)
}

func (m *Match) validate(at string) error {
	var errs []error
	if m.Path.Kind > PathRegex {
		errs = append(errs, fmt.Errorf("%s.path: kind %d is not known", at, m.Path.Kind))
	}
	if v := m.Path.Value; m.Path.Kind == PathSeparatedPrefix && (v == "" || v[0] != '/' || v[len(v)-1] == '/') {
		errs = append(errs, fmt.Errorf("%s.path_separated_prefix %q: must begin with a slash and not end with one", at, v))
	}
	if m.Path.Kind == PathRegex {
		errs = append(errs, validRegex(at+".safe_regex", m.Path.Value))
	}
	for i := range m.Headers {
		errs = append(errs, m.Headers[i].validate(fmt.Sprintf("%s.headers[%d]", at, i), m.Headers[i].Name))
	}
	for i := range m.Query {
		errs = append(errs, m.Query[i].validate(fmt.Sprintf("%s.query_parameters[%d]", at, i), m.Query[i].Name))
	}
	return errors.Join(errs...)
}

func (v *ValueMatch) validate(at, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s.name: must not be empty", at)
	case v.Kind > ValueRange:
		return fmt.Errorf("%s: kind %d is not known", at, v.Kind)
	case v.Kind == ValueRegex:
		return validRegex(at, v.Value)
	}
	return nil
}

func validRegex(at, text string) error {
	if _, err := compileRegex(text); err != nil {
		return fmt.Errorf("%s %q: %w", at, text, err)
	}
	return nil
}

func compileRegex(text string) (*regexp.Regexp, error) {
	// Checked by itself first: "a)|(b" would be closed by the group around it.
	if _, err := regexp.Compile(text); err != nil {
		return nil, err
	}
	return regexp.Compile(`^(?:` + text + `)$`)
}

// Clusters lists the clusters that the rules name, each once, in order.
func (c *Config) Clusters() []string {
	var names []string
	for i := range c.Rules {
		for _, b := range c.Rules[i].Backends {
			if !slices.Contains(names, b.Cluster) {
				names = append(names, b.Cluster)
			}
		}
	}
	return names
}
