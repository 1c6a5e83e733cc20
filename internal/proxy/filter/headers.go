package filter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/reclosermesh/recloser/internal/proxy/http1"
)

// Op is what is done to a header.
type Op uint8

const (
	// Remove takes all fields of the name away.
	Remove Op = iota
	// Set replaces all fields of the name by one (Envoy's
	// OVERWRITE_IF_EXISTS_OR_ADD).
	Set
	// Add adds a field beside those there are (APPEND_IF_EXISTS_OR_ADD).
	Add
	// AddIfAbsent adds a field where there is none (ADD_IF_ABSENT).
	AddIfAbsent
	// SetIfPresent replaces all fields of the name by one, where there are any
	// (OVERWRITE_IF_EXISTS).
	SetIfPresent
)

// Edit is one change of a header.
type Edit struct {
	Op Op
	// Name in any case.
	Name string
	// Value may have the variables of Format. Not for Remove.
	Value string
	// KeepEmpty puts the field in even where its value comes out empty; else
	// nothing is done then.
	KeepEmpty bool
}

// Side tells the edits of requests from those of answers.
type Side bool

// The two sides.
const (
	OfRequest Side = false
	OfAnswer  Side = true
)

// ValidateEdits says everything that is wrong with edits.
func ValidateEdits(at string, edits []Edit, side Side) error {
	var errs []error
	for i := range edits {
		e := &edits[i]
		if err := editable(e.Name); err != nil {
			errs = append(errs, fmt.Errorf("%s[%d] %q: %w", at, i, e.Name, err))
		}
		if e.Op > SetIfPresent {
			errs = append(errs, fmt.Errorf("%s[%d] %q: operation %d is not known", at, i, e.Name, e.Op))
		}
		if e.Op == Remove {
			continue
		}
		if _, err := parseFormat(e.Value, side); err != nil {
			errs = append(errs, fmt.Errorf("%s[%d] %q: value %q: %w", at, i, e.Name, e.Value, err))
		}
	}
	return errors.Join(errs...)
}

// editable refuses the names that no edit may touch.
func editable(name string) error {
	b := []byte(name)
	switch {
	case strings.HasPrefix(name, ":"):
		return errors.New("pseudo-fields cannot be edited; paths and hosts have rewrites")
	case !http1.ValidToken(b):
		return errors.New("is no header name")
	}
	switch (&http1.Header{Name: b}).Field() {
	case http1.FieldHost:
		return errors.New("the host cannot be edited but by a host rewrite")
	case http1.FieldContentLength, http1.FieldTransferEncoding, http1.FieldTrailer, http1.FieldExpect:
		return errors.New("belongs to the framing of the message and cannot be edited")
	case http1.FieldConnection, http1.FieldKeepAlive, http1.FieldProxyConnection, http1.FieldTE,
		http1.FieldUpgrade, http1.FieldHTTP2Settings:
		return errors.New("is about one connection and cannot be edited")
	default:
		return nil
	}
}

// Headers is compiled edits. A nil *Headers changes nothing.
type Headers struct {
	stages []stage
	vars   bool
}

// stage is one list of edits: removals are done before all else, as in Envoy.
type stage struct {
	removals []string // lower case
	puts     []put
}

type put struct {
	op        Op
	name      []byte // lower case
	lower     string // name again
	constant  []byte // the value, where format is nil
	format    format
	keepEmpty bool
}

// NewHeaders compiles valid lists of edits, which are done one after the other.
// nil where there are none.
func NewHeaders(side Side, lists ...[]Edit) *Headers {
	h := new(Headers)
	for _, edits := range lists {
		if len(edits) > 0 {
			h.add(edits, side)
		}
	}
	if len(h.stages) == 0 {
		return nil
	}
	return h
}

func (h *Headers) add(edits []Edit, side Side) {
	var s stage
	for _, e := range edits {
		name := strings.ToLower(e.Name)
		if e.Op == Remove {
			if !slices.Contains(s.removals, name) {
				s.removals = append(s.removals, name)
			}
			continue
		}
		f, _ := parseFormat(e.Value, side) // ValidateEdits has seen it
		p := put{op: e.Op, name: []byte(name), lower: name, keepEmpty: e.KeepEmpty}
		if text, ok := f.constant(); ok {
			p.constant = []byte(text)
		} else {
			p.format = f
			h.vars = true
		}
		s.puts = append(s.puts, p)
	}
	h.stages = append(h.stages, s)
}

// NeedsVars tells whether Apply looks at its Vars at all.
func (h *Headers) NeedsVars() bool { return h != nil && h.vars }

// Apply appends the fields of src as they are after the edits. dst must not
// share memory with src. arena is space for values; it grows as needed and must
// stay as it is while the result is in use. v may be nil where NeedsVars is
// false. A nil *Headers copies src.
func (h *Headers) Apply(dst []http1.Header, arena *[]byte, src []http1.Header, v *Vars) []http1.Header {
	from := len(dst)
	dst = append(dst, src...)
	if h == nil {
		return dst
	}
	for i := range h.stages {
		s := &h.stages[i]
		for _, name := range s.removals {
			dst = without(dst, from, name)
		}
		for j := range s.puts {
			dst = s.puts[j].apply(dst, from, arena, v)
		}
	}
	return dst
}

// apply does the edit to dst[from:].
func (p *put) apply(dst []http1.Header, from int, arena *[]byte, v *Vars) []http1.Header {
	value := p.constant
	if p.format != nil {
		value = p.format.append(arena, v)
	}
	if len(value) == 0 && !p.keepEmpty {
		return dst
	}
	first := -1
	if p.op != Add {
		first = indexOf(dst, from, p.lower)
	}
	field := http1.Header{Name: p.name, Value: value}
	switch {
	case first < 0 && p.op == SetIfPresent, first >= 0 && p.op == AddIfAbsent:
		return dst
	case first < 0:
		return append(dst, field)
	}
	dst[first] = field
	return without(dst, first+1, p.lower)
}

func indexOf(hs []http1.Header, from int, name string) int {
	for i := from; i < len(hs); i++ {
		if http1.EqualFold(hs[i].Name, name) {
			return i
		}
	}
	return -1
}

// without takes the fields of a name out of hs[from:].
func without(hs []http1.Header, from int, name string) []http1.Header {
	to := from
	for i := from; i < len(hs); i++ {
		if !http1.EqualFold(hs[i].Name, name) {
			hs[to] = hs[i]
			to++
		}
	}
	return hs[:to]
}
