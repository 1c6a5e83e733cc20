package snapshot

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/reclosermesh/recloser/internal/proxy/domains"
	"github.com/reclosermesh/recloser/internal/proxy/route"
)

// ErrNoHost says that the control plane knows no such host.
var ErrNoHost = errors.New("no such host")

// ErrTooManyHosts says that the bound on hosts that are subscribed at a time
// was reached.
var ErrTooManyHosts = errors.New("too many hosts")

// Hosts tells which routes serve an authority on one listener.
type Hosts struct {
	store *Store
	route string // name of the route configuration; guarded by Store.mu
	set   atomic.Pointer[hostSet]
}

// hostSet is immutable but for the marks of use.
type hostSet struct {
	static   domains.Table[*route.Table]
	onDemand bool
	dynamic  map[string]dynamicHost // by authority in lower case
}

type dynamicHost struct {
	table *route.Table // nil: there is no such host
	used  *atomic.Bool // since the last sweep
}

// Lookup gives the routes of an authority, whatever its case. known is false
// where the control plane has to be asked first; a nil table with known true
// says that there is no such host.
func (h *Hosts) Lookup(authority []byte) (table *route.Table, known bool) {
	return h.set.Load().lookup(authority)
}

func (s *hostSet) lookup(authority []byte) (table *route.Table, known bool) {
	if table, ok := s.static.Match(authority); ok {
		return table, true
	}
	if !s.onDemand || len(authority) == 0 {
		return nil, true
	}
	var space [domains.MaxName]byte
	name, ok := domains.Lower(space[:], authority)
	if !ok {
		return nil, true
	}
	host, known := s.dynamic[string(name)]
	if known && !host.used.Load() { // a load is cheaper than a store to a shared line
		host.used.Store(true)
	}
	return host.table, known
}

// Await is Lookup that asks the control plane and waits for its answer until
// ctx ends. Any number of callers share one question. Errors are ErrNoHost,
// ErrTooManyHosts, and ctx's.
func (h *Hosts) Await(ctx context.Context, authority string) (*route.Table, error) {
	lower, ok := domains.Lower(make([]byte, domains.MaxName), []byte(authority))
	if !ok {
		return nil, ErrNoHost
	}
	for {
		answered, err := h.store.ask(h, string(lower))
		if err != nil {
			return nil, err
		}
		if answered != nil {
			select {
			case <-answered:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if table, known := h.Lookup(lower); known {
			if table == nil {
				return nil, ErrNoHost
			}
			return table, nil
		}
		// Idle for so long meanwhile that it was dropped again: ask anew.
	}
}
