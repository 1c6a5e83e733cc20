package source

import "errors"

// refusal is a problem that makes an object not valid.
type refusal struct{ Problem }

func (r *refusal) Error() string { return r.String() }

// refusals collects what is wrong with one object.
type refusals []error

// add refuses a field, with what is allowed, and what follows from it.
func (r *refusals) add(code, field, value, allowed, reason string) {
	*r = append(*r, &refusal{Problem{Code: code, Field: field, Value: value, Allowed: allowed, Reason: reason}})
}

func (r refusals) err() error { return errors.Join(r...) }
