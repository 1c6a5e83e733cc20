// Package route decides where a request goes: a Config is the definition of one
// virtual host's routes, a Table its compiled form.
//
// The first rule that matches wins, as in Envoy; the order is the control
// plane's business. A Table is immutable and may be read by any goroutine.
// Match and Pick do not allocate, but for a header that is matched and that the
// request repeats.
//
// The package changes nothing in a request: what is to be done is handed on as
// the compiled forms of package filter, timeouts and retries as values.
package route

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/reclosermesh/recloser/breaker"
	"github.com/reclosermesh/recloser/internal/proxy/filter"
)

// Config is the routes of one virtual host.
type Config struct {
	// Name is the virtual host's name, for people.
	Name string
	// Rules in the order of their precedence.
	Rules []Rule
	// Common holds for all rules, beside what they say themselves.
	Common Common
}

// Common is what a virtual host, or the RouteConfiguration around it, says for
// all of its rules.
type Common struct {
	RequestHeaders, ResponseHeaders []filter.Edit
	// CORS and Fault hold where nothing further in says something else.
	CORS  *CORS
	Fault *filter.Fault
	// InnerLast lets the edits of headers that are further in be done last, so
	// that they win: a backend's after its rule's, a rule's after its host's.
	// Else it is the other way round, as is Envoy's default. Of a
	// RouteConfiguration only (most_specific_header_mutations_wins).
	InnerLast bool
}

// NoTimeout stands for a timeout that is switched off, where zero stands for
// one that is not said.
const NoTimeout time.Duration = -1

// Rule sends the requests that match to backends, or answers them. Of Backends,
// Redirect and Direct one is set.
type Rule struct {
	// Name is the route's name in the access log.
	Name string
	// Origin says who wrote it, as far as the control plane tells.
	Origin Origin
	Match  Match
	// Backends share the requests by weight. None, or none above weight 0: the
	// request is answered as if its cluster did not exist.
	Backends []WeightedCluster
	Redirect *filter.RedirectConfig
	Direct   *Direct
	// RequestHeaders and ResponseHeaders are edited for whatever backend is
	// chosen; the latter also of Redirect and Direct.
	RequestHeaders, ResponseHeaders []filter.Edit
	// Path is rewritten for all backends, nil: it stays. Host takes the place of
	// the request's authority, empty: it stays.
	Path *filter.PathConfig
	Host string
	// MissingStatus is answered where the chosen backend does not exist: 404, 500
	// or 503. 0: the proxy's own.
	MissingStatus int
	// Mirrors get copies of requests.
	Mirrors []MirrorConfig
	CORS    *CORS
	Fault   *filter.Fault
	// Timeout bounds the whole exchange, waiting and retries included. 0: none.
	Timeout time.Duration
	// IdleTimeout bounds the time without a byte in either direction. 0: as the
	// listener has it; NoTimeout: none.
	IdleTimeout time.Duration
	// ResponseTimeout bounds the time from when the request was sent to the end
	// of its answer. 0: none.
	ResponseTimeout time.Duration
	// MaxStream bounds the time of a stream from its begin to its end, as
	// Timeout does; 0: none.
	MaxStream time.Duration
	Retry     *Retry
	// Failures are the statuses that are failures to the breaker, in place of the
	// cluster's own; none: those.
	Failures []breaker.StatusRange
	// Hash says what of a request chooses its endpoint, where the cluster's
	// balancer asks for that.
	Hash []HashConfig
}

// Origin is who wrote a rule: what the control plane sends along as metadata
// "recloser.route".
type Origin struct {
	// Object and its Field that say it, as people write them.
	Object, Field string
	Dialect       string
}

// WeightedCluster is one cluster that a rule sends to.
type WeightedCluster struct {
	Cluster string
	// Weight is the share beside the others; 0: never used. The sum over a rule
	// is at most 4294967295, as in Envoy.
	Weight uint32
	// RequestHeaders and ResponseHeaders are edited for this backend alone.
	RequestHeaders, ResponseHeaders []filter.Edit
	// Host takes the place of the request's authority, and of the rule's Host.
	Host string
}

// MirrorConfig is the definition of a Mirror.
type MirrorConfig struct {
	Cluster string
	// Fraction of the requests, in millionths.
	Fraction   uint32
	ShadowHost bool
}

// CORS is a policy with the origins that it lets in.
type CORS struct {
	// Origins, one of which must match, as a browser sends them. An exact "*" is
	// any.
	Origins []ValueMatch
	filter.CORSConfig
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

// HeaderMatch compares a header. The names ":method", ":path" (with the query),
// ":authority" and ":scheme" stand for what HTTP/2 calls so; the scheme is that
// of the caller's connection, whatever the caller says. Repeated headers are
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
