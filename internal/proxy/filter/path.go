package filter

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// PathKind is what of a path is replaced.
type PathKind uint8

const (
	// ReplaceFull replaces all of the path.
	ReplaceFull PathKind = iota
	// ReplaceText replaces the first characters, as many as Matched has: what
	// Envoy's prefix_rewrite does.
	ReplaceText
	// ReplaceSegments replaces the first segments, those of Matched, and leaves
	// one slash where it joins the rest (Gateway API, ReplacePrefixMatch).
	ReplaceSegments
	// ReplaceRegex replaces each match of Pattern (Envoy's regex_rewrite).
	ReplaceRegex
)

// PathConfig replaces a path or a part of it. The query stays.
type PathConfig struct {
	Kind PathKind
	// Value is what is put in. \0 to \9 are the groups of a ReplaceRegex, \\ is
	// a backslash there. That of a ReplaceFull may have a query, which takes the
	// place of the request's.
	Value string
	// Matched is what the route's match has matched.
	Matched string
	// Pattern (RE2) of a ReplaceRegex.
	Pattern string
}

// Validate says everything that is wrong with c.
func (c *PathConfig) Validate(at string) error {
	if c.Kind > ReplaceRegex {
		return fmt.Errorf("%s: kind %d is not known", at, c.Kind)
	}
	if c.Kind == ReplaceRegex {
		re, err := regexp.Compile(c.Pattern)
		if err != nil {
			return fmt.Errorf("%s: pattern %q: %w", at, c.Pattern, err)
		}
		if _, err := parseSubstitution(c.Value, re.NumSubexp()); err != nil {
			return fmt.Errorf("%s: substitution %q: %w", at, c.Value, err)
		}
		return nil
	}
	path := "/" + strings.TrimPrefix(c.Value, "/")
	if !http1.ValidPath([]byte(path)) || c.Kind != ReplaceFull && strings.Contains(path, "?") {
		return fmt.Errorf("%s %q: is no path", at, c.Value)
	}
	return nil
}

// Path is a compiled rewrite of paths.
type Path struct {
	kind    PathKind
	value   string
	asks    bool   // value has a query
	trimmed string // value without a slash at its end
	cut     int    // as many characters are replaced
	regex   *regexp.Regexp
	pieces  []piece
}

// NewPath compiles a valid definition; nil for nil.
func NewPath(c *PathConfig) *Path {
	if c == nil {
		return nil
	}
	p := &Path{kind: c.Kind, value: c.Value, trimmed: strings.TrimRight(c.Value, "/"), cut: len(c.Matched)}
	switch c.Kind {
	case ReplaceFull:
		p.asks = strings.Contains(c.Value, "?")
	case ReplaceSegments:
		p.cut = len(strings.TrimRight(c.Matched, "/"))
	case ReplaceRegex:
		p.regex = regexp.MustCompile(c.Pattern) // Validate has seen it
		p.pieces, _ = parseSubstitution(c.Value, p.regex.NumSubexp())
		if value, ok := whole(c.Pattern, p.pieces); ok {
			p.kind, p.value = ReplaceFull, value
		}
	}
	return p
}

// whole gives what all of a path is replaced by, where that is what a pattern
// says: there is no need of a regular expression then.
func whole(pattern string, pieces []piece) (value string, ok bool) {
	switch {
	case pattern != "^.*$" && pattern != "^/.*$":
		return "", false
	case len(pieces) == 0:
		return "", true
	}
	return pieces[0].text, len(pieces) == 1 && pieces[0].group < 0
}

// Append appends the path and query of a request as they are rewritten. False:
// what comes out is no path, so that the request cannot be sent on.
func (p *Path) Append(dst, pathAndQuery []byte) ([]byte, bool) {
	path, query := pathAndQuery, []byte(nil)
	if i := bytes.IndexByte(pathAndQuery, '?'); i >= 0 {
		path, query = pathAndQuery[:i], pathAndQuery[i:]
	}
	from := len(dst)
	dst = p.replace(dst, path)
	if len(dst) == from || dst[from] != '/' {
		dst = append(dst, 0)
		copy(dst[from+1:], dst[from:])
		dst[from] = '/'
	}
	if !p.asks {
		dst = append(dst, query...)
	}
	return dst, http1.ValidPath(dst[from:])
}

func (p *Path) replace(dst, path []byte) []byte {
	switch p.kind {
	case ReplaceFull:
		return append(dst, p.value...)
	case ReplaceText:
		return append(append(dst, p.value...), path[min(p.cut, len(path)):]...)
	case ReplaceSegments:
		rest := path[min(p.cut, len(path)):]
		if len(rest) == 0 {
			return append(dst, p.value...)
		}
		return append(append(dst, p.trimmed...), rest...)
	default:
		return p.substitute(dst, path)
	}
}

// substitute replaces all matches, as RE2's GlobalReplace does.
func (p *Path) substitute(dst, path []byte) []byte {
	at := 0
	for _, m := range p.regex.FindAllSubmatchIndex(path, -1) {
		dst = append(dst, path[at:m[0]]...)
		for _, one := range p.pieces {
			dst = append(dst, one.text...)
			if g := one.group; g >= 0 && m[2*g] >= 0 {
				dst = append(dst, path[m[2*g]:m[2*g+1]]...)
			}
		}
		at = m[1]
	}
	return append(dst, path[at:]...)
}

// piece is text and then a group; group -1: none.
type piece struct {
	text  string
	group int
}

func parseSubstitution(s string, groups int) ([]piece, error) {
	var pieces []piece
	var text strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			text.WriteByte(s[i])
			continue
		}
		i++
		switch {
		case i == len(s):
			return nil, errors.New("ends with a single backslash")
		case s[i] == '\\':
			text.WriteByte('\\')
		case s[i] >= '0' && s[i] <= '9':
			g := int(s[i] - '0')
			if g > groups {
				return nil, fmt.Errorf(`\%d: the pattern has %d groups`, g, groups)
			}
			pieces = append(pieces, piece{text.String(), g})
			text.Reset()
		default:
			return nil, fmt.Errorf(`\%c: only \0 to \9 and \\ are known`, s[i])
		}
	}
	if text.Len() > 0 {
		pieces = append(pieces, piece{text.String(), -1})
	}
	return pieces, nil
}

// ValidHost says what is wrong with a host that requests are rewritten to.
func ValidHost(at, host string) error {
	if host == "" || !http1.ValidAuthority([]byte(host)) {
		return fmt.Errorf("%s %q: is no host", at, host)
	}
	return nil
}
