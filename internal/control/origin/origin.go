// Package origin says where a value comes from: an object and its field, with
// the file and line that it was written in, or whose default it is. Every leaf
// of an effective policy carries one, so that nobody has to guess which of
// several objects won.
//
// The package holds values only, and decides nothing.
package origin

import (
	"strconv"

	"github.com/reclosermesh/recloser/internal/control/source"
)

// Value is a setting with where it comes from. The zero Value is unset, which
// is not the same as a zero that somebody wrote.
type Value[T any] struct {
	Value  T      `json:"value"`
	Origin Origin `json:"origin"`
}

// IsSet tells whether anybody, if only a default, has said something.
func (v Value[T]) IsSet() bool { return v.Origin != (Origin{}) }

// Or is v, or another one where v is unset.
func (v Value[T]) Or(other Value[T]) Value[T] {
	if v.IsSet() {
		return v
	}
	return other
}

// Said is a value that a field of an object has.
func Said[T any](value T, o source.Object, field string) Value[T] {
	return Value[T]{value, Of(o, field)}
}

// Default is a value that nobody has set, and whose it is.
func Default[T any](value T, whose string) Value[T] {
	return Value[T]{value, Origin{Default: whose}}
}

// Origin is where a value comes from. The zero Origin is nowhere.
type Origin struct {
	// Object is "service/bb -n demo".
	Object string `json:"object,omitempty"`
	// Field is the path in the object.
	Field string `json:"field,omitempty"`
	// Where is "file:line" if the object is from a file, else its source, or
	// who has set the field since.
	Where string `json:"where,omitempty"`
	// Default says whose default it is, when nobody set the value.
	Default string `json:"default,omitempty"`
	// Stale is set when the object says something else by now that is not
	// valid, and the last good value is used.
	Stale bool `json:"stale,omitempty"`
	// Refused is set when the object says something that is not valid and
	// there is no good value from before.
	Refused bool `json:"refused,omitempty"`
}

// Of is a field of an object, and where it was written. An empty field is the
// whole object.
func Of(object source.Object, field string) Origin {
	o := Origin{Object: object.String(), Field: field}
	from := object.Origin
	if from == nil {
		return o
	}
	o.Where = from.Source
	switch file, line, who := from.Place(field); {
	case who != "":
		o.Where = who
	case file != "":
		o.Where = file + ":" + strconv.Itoa(line)
	}
	return o
}

// String is how people read it.
func (o Origin) String() string {
	s := o.Object
	if o.Field != "" {
		s += " " + o.Field
	}
	if o.Default != "" {
		s = "default of " + o.Default
	}
	if o.Where != "" {
		s += " (" + o.Where + ")"
	}
	switch {
	case o.Stale:
		s += ", the last good version"
	case o.Refused:
		s += ", which is refused"
	}
	return s
}
