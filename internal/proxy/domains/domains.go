// Package domains finds the entry whose domain pattern matches an authority, as
// Envoy's VirtualHost.domains is defined: an exact name first, then the longest
// suffix pattern ("*.example.com"), then the longest prefix pattern
// ("example.*"), then "*". Names are compared without regard to case.
//
// A Table is immutable after New and may be read by any goroutine; Match does
// not allocate.
package domains

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// MaxName is the longest authority that is looked up, in bytes: 253 of a DNS
// name, brackets, a zone and a port fit well. Longer ones match only "*".
const MaxName = 512

// Table maps patterns to values.
type Table[T any] struct {
	exact    map[string]T
	suffixes []wild[T] // longest first
	prefixes []wild[T] // longest first
	any      T
	hasAny   bool
}

type wild[T any] struct {
	part  []byte
	value T
}

// Add enters a value under a pattern. It is for making a Table; a pattern that
// is there already or is none is an error.
func (t *Table[T]) Add(pattern string, value T) error {
	p := strings.ToLower(pattern)
	switch {
	case p == "":
		return fmt.Errorf("domain %q: must not be empty", pattern)
	case p == "*":
		if t.hasAny {
			return fmt.Errorf("domain %q: is there twice", pattern)
		}
		t.any, t.hasAny = value, true
		return nil
	case strings.Count(p, "*") > 1 || strings.Contains(strings.Trim(p, "*"), "*"):
		return fmt.Errorf("domain %q: one \"*\" is allowed, at the begin or the end", pattern)
	case p[0] == '*':
		return addWild(&t.suffixes, pattern, p[1:], value)
	case p[len(p)-1] == '*':
		return addWild(&t.prefixes, pattern, p[:len(p)-1], value)
	}
	if _, dup := t.exact[p]; dup {
		return fmt.Errorf("domain %q: is there twice", pattern)
	}
	if t.exact == nil {
		t.exact = make(map[string]T)
	}
	t.exact[p] = value
	return nil
}

func addWild[T any](list *[]wild[T], pattern, part string, value T) error {
	at, dup := slices.BinarySearchFunc(*list, part, func(w wild[T], part string) int {
		if d := len(part) - len(w.part); d != 0 {
			return d
		}
		return strings.Compare(string(w.part), part)
	})
	if dup {
		return fmt.Errorf("domain %q: is there twice", pattern)
	}
	*list = slices.Insert(*list, at, wild[T]{[]byte(part), value})
	return nil
}

// Match gives the value of the most specific pattern that matches authority.
func (t *Table[T]) Match(authority []byte) (value T, ok bool) {
	var space [MaxName]byte
	name, ok := Lower(space[:], authority)
	if ok {
		if v, found := t.exact[string(name)]; found {
			return v, true
		}
		for i := range t.suffixes {
			// Envoy: the wildcard stands for at least one character.
			if w := &t.suffixes[i]; len(name) > len(w.part) && bytes.HasSuffix(name, w.part) {
				return w.value, true
			}
		}
		for i := range t.prefixes {
			if w := &t.prefixes[i]; len(name) > len(w.part) && bytes.HasPrefix(name, w.part) {
				return w.value, true
			}
		}
	}
	return t.any, t.hasAny
}

// Lower gives name in lower case: name itself when it is so already, else a
// copy in space. ok is false when name is longer than space.
func Lower(space, name []byte) (lower []byte, ok bool) {
	if len(name) > len(space) {
		return nil, false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			n := copy(space, name)
			for j := i; j < n; j++ {
				if c := space[j]; 'A' <= c && c <= 'Z' {
					space[j] = c + ('a' - 'A')
				}
			}
			return space[:n], true
		}
	}
	return name, true
}
