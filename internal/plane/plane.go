// Package plane runs the control plane and the observer of one mesh together:
// what `recloser control` is, and the core of `recloser up`.
package plane

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/reclosermesh/recloser/internal/control"
	"github.com/reclosermesh/recloser/internal/observe"
)

// Config of a Plane.
type Config struct {
	Control control.Config
	// Observe needs no Mesh, Reports and Configuration: they are those of the
	// control plane.
	Observe observe.Config
}

// Plane is a control plane with its observer.
type Plane struct {
	Control  *control.Control
	Observer *observe.Observer
}

// New makes both. It does no I/O.
func New(cfg Config) (*Plane, error) {
	c := control.New(cfg.Control)
	of := observe.Of(c)
	cfg.Observe.Mesh, cfg.Observe.Reports, cfg.Observe.Configuration = of.Mesh, of.Reports, of.Configuration
	if cfg.Observe.Logger == nil {
		cfg.Observe.Logger = cfg.Control.Logger
	}
	o, err := observe.New(cfg.Observe)
	if err != nil {
		return nil, err
	}
	return &Plane{Control: c, Observer: o}, nil
}

// Run runs both until ctx ends or one of them fails.
func (p *Plane) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := p.Control.Run(ctx); err != nil {
			return fmt.Errorf("control plane: %w", err)
		}
		return nil
	})
	g.Go(func() error { return p.Observer.Run(ctx) })
	return g.Wait()
}
