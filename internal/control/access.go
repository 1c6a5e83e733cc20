package control

import (
	"context"
	"fmt"
	"net"
	"slices"

	"github.com/reclosermesh/recloser/internal/control/lint"
	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/policy"
	"github.com/reclosermesh/recloser/internal/control/report"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/control/translate"
	"github.com/reclosermesh/recloser/internal/control/xds"
)

// Ready waits until the first whole state is there, or ctx ends.
func (c *Control) Ready(ctx context.Context) error {
	select {
	case <-c.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// XDSAddress is where proxies connect. It waits until Run listens, or ctx ends
// and it is nil.
func (c *Control) XDSAddress(ctx context.Context) net.Addr {
	select {
	case <-c.bound:
		return c.address
	case <-ctx.Done():
		return nil
	}
}

// World is the newest World. It is empty, not nil, at the start.
func (c *Control) World() *model.World { return c.state.Load().view.World }

// Watch gives a channel that gets a value after each new World; several in a
// short time may be one value. stop ends it; the channel is not closed.
func (c *Control) Watch() (changed <-chan struct{}, stop func()) {
	w := make(chan struct{}, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers[w] = struct{}{}
	return w, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, w)
	}
}

// Nodes are the connected proxies.
func (c *Control) Nodes() []xds.Node { return c.xds.Nodes() }

// Reports are what proxies say of their breakers.
func (c *Control) Reports() *report.Store { return c.reports }

// Problems is everything that is wrong with the configuration now, and what
// proxies refused, in order.
func (c *Control) Problems() []lint.Finding {
	// A copy: Sort works in place, and the state is everybody's.
	return lint.Sort(slices.Concat(c.state.Load().findings(), c.xds.Findings()))
}

// Policy is what holds for requests from the service's own namespace.
func (c *Control) Policy(namespace, service string, port uint16) (*policy.Effective, error) {
	s := c.state.Load()
	return effective(s.view.Policy, s.findings(), model.Client{Namespace: namespace}, model.Name{Namespace: namespace, Name: service}, port)
}

// HasBreaker tells whether the endpoints of a client's cluster have breakers.
// It is not known of clusters that are of no service in the World.
func (c *Control) HasBreaker(client model.Client, cluster string) (has, known bool) {
	e, known := translate.EffectiveOf(c.state.Load().view, client, cluster)
	return known && (e.Breaker != nil || e.Outlier != nil), known
}

// effective is a policy with all that is wrong with its service, also what the
// source refused: the last good version of the service knows nothing of that.
func effective(t *policy.Table, findings []lint.Finding, client model.Client, service model.Name, port uint16) (*policy.Effective, error) {
	e, err := t.Effective(client, service, port, "")
	object := source.Key{Kind: source.Service, Namespace: service.Namespace, Name: service.Name}.String()
	var about []lint.Finding
	for i := range findings {
		if findings[i].Object == object {
			about = append(about, findings[i])
		}
	}
	if err != nil {
		for i := range about {
			if about[i].Severity == lint.Error {
				err = fmt.Errorf("%w\n%s", err, about[i].String())
			}
		}
		return nil, err
	}
	e.Findings = about
	return e, nil
}
