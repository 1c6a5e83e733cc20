package snapshot

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
)

// problems gathers what is wrong with one resource.
type problems struct{ errs []error }

func (p *problems) add(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf(format, args...))
}

func (p *problems) err() error { return errors.Join(p.errs...) }

// unsupported adds a problem for each of the fields that is set: what cannot be
// done must not be ignored where requests would then go wrong.
func (p *problems) unsupported(at string, m proto.Message, fields ...protoreflect.Name) {
	r := m.ProtoReflect()
	for _, name := range fields {
		if f := r.Descriptor().Fields().ByName(name); f != nil && r.Has(f) {
			p.add("%s%s: is not supported", at, name)
		}
	}
}

// only adds a problem for each field that is set and is none of these, and for
// what this version of the message does not know: where a field left out makes
// a connection less safe than was asked for, none may be.
func (p *problems) only(at string, m proto.Message, fields ...protoreflect.Name) {
	r := m.ProtoReflect()
	var others []string
	r.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if !slices.Contains(fields, f.Name()) {
			others = append(others, string(f.Name()))
		}
		return true
	})
	slices.Sort(others)
	for _, name := range others {
		p.add("%s%s: is not supported", at, name)
	}
	if len(r.GetUnknown()) > 0 {
		p.add("%s has fields that are not known", strings.TrimSuffix(at, "."))
	}
}

// duration reads a duration that must not be negative; unset gives def.
func (p *problems) duration(field string, d *durationpb.Duration, def time.Duration) time.Duration {
	if d == nil {
		return def
	}
	if err := d.CheckValid(); err != nil {
		p.add("%s: %w", field, err)
		return def
	}
	if v := d.AsDuration(); v >= 0 {
		return v
	}
	p.add("%s %v: must not be negative", field, d.AsDuration())
	return def
}

// orNone reads a duration of which zero means that there is no such bound:
// NoTimeout. Unset gives zero.
func (p *problems) orNone(field string, d *durationpb.Duration) time.Duration {
	if v := p.duration(field, d, 0); v > 0 || d == nil {
		return v
	}
	return NoTimeout
}

// wrapped reads an optional number.
func wrapped[N any](w interface{ GetValue() N }, isNil bool, def N) N {
	if isNil {
		return def
	}
	return w.GetValue()
}
