package route

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

func splitPath(target []byte) (path, query []byte) {
	path, query, _ = bytes.Cut(target, []byte{'?'})
	return path, query
}

type pathMatcher struct {
	kind       PathKind
	value      string
	ignoreCase bool
	regex      *regexp.Regexp
}

func newPathMatcher(m PathMatch) pathMatcher {
	p := pathMatcher{kind: m.Kind, value: m.Value, ignoreCase: m.IgnoreCase}
	if m.Kind == PathRegex {
		p.regex, _ = compileRegex(m.Value) // Validate has seen it
	}
	return p
}

func (m *pathMatcher) match(path []byte) bool {
	switch m.kind {
	case PathPrefix:
		return hasPrefix(path, m.value, m.ignoreCase)
	case PathExact:
		return len(path) == len(m.value) && hasPrefix(path, m.value, m.ignoreCase)
	case PathSeparatedPrefix:
		return hasPrefix(path, m.value, m.ignoreCase) && (len(path) == len(m.value) || path[len(m.value)] == '/')
	default:
		return m.regex.Match(path)
	}
}

type valueMatcher struct {
	kind       ValueKind
	value      string
	ignoreCase bool
	low, high  int64
	regex      *regexp.Regexp
}

func newValueMatcher(m ValueMatch) valueMatcher {
	v := valueMatcher{kind: m.Kind, value: m.Value, ignoreCase: m.IgnoreCase, low: m.Low, high: m.High}
	if m.Kind == ValueRegex {
		v.regex, _ = compileRegex(m.Value) // Validate has seen it
	}
	return v
}

func (m *valueMatcher) matchValue(v []byte) bool {
	switch m.kind {
	case ValuePresent:
		return true
	case ValueExact:
		return len(v) == len(m.value) && hasPrefix(v, m.value, m.ignoreCase)
	case ValuePrefix:
		return hasPrefix(v, m.value, m.ignoreCase)
	case ValueSuffix:
		return len(v) >= len(m.value) && hasPrefix(v[len(v)-len(m.value):], m.value, m.ignoreCase)
	case ValueContains:
		return contains(v, m.value, m.ignoreCase)
	case ValueRange:
		n, ok := parseInt(v)
		return ok && m.low <= n && n < m.high
	default:
		return m.regex.Match(v)
	}
}

type headerMatcher struct {
	name           string // lower case
	invert         bool
	missingAsEmpty bool
	valueMatcher
}

func newHeaderMatcher(m HeaderMatch) headerMatcher {
	return headerMatcher{
		name: strings.ToLower(m.Name), invert: m.Invert, missingAsEmpty: m.MissingAsEmpty,
		valueMatcher: newValueMatcher(m.ValueMatch),
	}
}

func (m *headerMatcher) match(r *http1.Request) bool {
	value, present := m.find(r)
	return m.judge(value, present)
}

var schemeHTTP, schemeHTTPS = []byte("http"), []byte("https")

// schemeOf is how a request came.
func schemeOf(r *http1.Request) []byte {
	if r.Secure {
		return schemeHTTPS
	}
	return schemeHTTP
}

// matchAnswer is match for the head of an answer.
func (m *headerMatcher) matchAnswer(head []http1.Header) bool {
	value, present := m.findIn(head)
	return m.judge(value, present)
}

func (m *headerMatcher) judge(value []byte, present bool) bool {
	if !present && !m.missingAsEmpty {
		return m.invert
	}
	return m.matchValue(value) != m.invert
}

// find gives the header's value. Only repeated headers are joined, in new space.
func (m *headerMatcher) find(r *http1.Request) (value []byte, present bool) {
	switch m.name {
	case ":method":
		return r.Method, true
	case ":path":
		return r.Path, true
	case ":scheme":
		return schemeOf(r), true
	case ":authority", "host":
		return r.Host, len(r.Host) > 0
	}
	return m.findIn(r.Headers)
}

func (m *headerMatcher) findIn(hs []http1.Header) (value []byte, present bool) {
	var joined []byte
	for i := range hs {
		h := &hs[i]
		if len(h.Name) != len(m.name) || !hasPrefix(h.Name, m.name, true) {
			continue
		}
		if !present {
			value, present = h.Value, true
			continue
		}
		if joined == nil {
			joined = append(joined, value...)
		}
		joined = append(append(joined, ','), h.Value...)
		value = joined
	}
	return value, present
}

type queryMatcher struct {
	name string
	valueMatcher
}

func (m *queryMatcher) match(query []byte) bool {
	value, ok := parameter(query, m.name)
	return ok && m.matchValue(value)
}

// parameter finds the first query parameter of a name, as it was sent.
func parameter(query []byte, name string) (value []byte, ok bool) {
	for len(query) > 0 {
		var pair []byte
		pair, query = cut(query, '&')
		key, value, _ := bytes.Cut(pair, []byte{'='})
		if string(key) == name {
			return value, true
		}
	}
	return nil, false
}

// cut takes a list apart at its first separator.
func cut(list []byte, separator byte) (first, rest []byte) {
	if i := bytes.IndexByte(list, separator); i >= 0 {
		return list[:i], list[i+1:]
	}
	return list, nil
}

// hasPrefix compares bytes, or ASCII letters without their case.
func hasPrefix(v []byte, prefix string, ignoreCase bool) bool {
	if len(v) < len(prefix) {
		return false
	}
	if !ignoreCase {
		return string(v[:len(prefix)]) == prefix
	}
	for i := range len(prefix) {
		if lower(v[i]) != lower(prefix[i]) {
			return false
		}
	}
	return true
}

func contains(v []byte, part string, ignoreCase bool) bool {
	for i := 0; i+len(part) <= len(v); i++ {
		if hasPrefix(v[i:], part, ignoreCase) {
			return true
		}
	}
	return false
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

func parseInt(v []byte) (int64, bool) {
	if len(v) > 20 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	return n, err == nil
}
