// Package memory is a source whose objects another part of the same program
// sets: `recloser up` publishes the Pods of the instances that it runs here.
package memory

import (
	"context"
	"slices"
	"sync"

	"github.com/reclosermesh/recloser/internal/control/source"
)

// Source holds objects in memory. It is safe for concurrent use.
type Source struct {
	name string

	mu      sync.Mutex
	update  source.Update
	changed chan struct{} // capacity 1: a change that Run has not seen
}

// New makes a source; name appears as the origin of objects that have none.
func New(name string) *Source {
	s := &Source{name: name, changed: make(chan struct{}, 1)}
	s.changed <- struct{}{}
	return s
}

// Name is the name given to New.
func (s *Source) Name() string { return s.name }

// Set replaces all objects. The values must not be changed afterwards; an
// object that is the same as before should be the same pointer, which spares
// the rest of the control plane from looking at it again.
func (s *Source) Set(objects []source.Object) {
	objects = slices.Clone(objects)
	for i := range objects {
		if objects[i].Origin == nil {
			objects[i].Origin = &source.Origin{Source: s.name}
		}
	}
	s.mu.Lock()
	s.update = source.Update{Objects: objects}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Run publishes the objects at its start and after each Set, until ctx ends.
func (s *Source) Run(ctx context.Context, publish func(source.Update)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
			s.mu.Lock()
			u := s.update
			s.mu.Unlock()
			publish(u)
		}
	}
}
