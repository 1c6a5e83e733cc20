package local

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/reclosermesh/recloser/internal/control/model"
)

// Instance describes a running instance.
type Instance struct {
	Name      string `json:"name"` // of its Pod
	Namespace string `json:"namespace"`
	Kind      string `json:"kind"`     // of its owner: Deployment, Workload or Pod
	Workload  string `json:"workload"` // name of its owner
	Ready     bool   `json:"ready"`
	Draining  bool   `json:"draining"`
	// Public is where callers find it, through its sidecar; Outbound is where
	// its own calls go; Admin is its sidecar's.
	Public   []netip.AddrPort `json:"public"`
	Outbound netip.AddrPort   `json:"outbound"`
	Admin    netip.AddrPort   `json:"admin"`
	// Knobs is the address for apps.TurnKnob, where the program has knobs.
	Knobs string `json:"knobs"`
	// PIDs of its programs and its sidecar, those that run.
	PIDs []int `json:"pids"`
}

// Instances lists all instances in the order of their start. It may be called
// at any time, from any goroutine.
func (m *Mesh) Instances() []Instance {
	list := m.list()
	out := make([]Instance, 0, len(list))
	for _, in := range list {
		out = append(out, in.describe())
	}
	return out
}

func (in *instance) describe() Instance {
	in.mu.Lock()
	defer in.mu.Unlock()
	d := Instance{
		Name: in.name, Namespace: in.owner.namespace, Kind: in.owner.kind, Workload: in.owner.name,
		Ready: in.readyLocked(), Draining: in.phase >= draining,
		Outbound: in.place.outbound, Admin: in.place.admin, Knobs: in.knobs,
	}
	for _, p := range in.ports {
		d.Public = append(d.Public, netip.AddrPortFrom(in.place.public, in.place.publicPort(p)))
	}
	for _, s := range in.programs {
		if s.running {
			d.PIDs = append(d.PIDs, s.pid)
		}
	}
	if in.sidecar.running {
		d.PIDs = append(d.PIDs, in.sidecar.pid)
	}
	return d
}

// ExampleCall is a command line that calls a service of the mesh as one of its
// instances would, or empty where there is nothing to call.
func (m *Mesh) ExampleCall() string {
	best, call := 0, ""
	for _, s := range m.cfg.Worlds.World().Services() {
		for i := range s.Ports {
			likely := speaksHTTP(&s.Ports[i])
			if likely <= best {
				continue
			}
			if from := m.callerOf(s); from != nil {
				best, call = likely, fmt.Sprintf("curl -x http://%s http://%s:%d/", from.place.outbound, s.Name.Name, s.Ports[i].Number)
			}
		}
	}
	return call
}

// speaksHTTP is how likely it is that curl can speak to a port: 0 is never.
func speaksHTTP(p *model.Port) int {
	usual := p.Number == 80 || p.Number == 8080
	switch {
	case p.Protocol.Protocol == model.HTTP1:
		return 3
	case p.Protocol.Protocol == model.Detect && usual:
		return 2
	case p.Protocol.Protocol == model.Detect:
		return 1
	default:
		return 0
	}
}

// callerOf is an instance that may call a service and is none of its own.
func (m *Mesh) callerOf(s *model.Service) *instance {
	for _, in := range m.list() {
		if in.owner.namespace == s.Namespace && !in.isDraining() && !selects(s.Spec.Spec.Selector, in.template.labels) {
			return in
		}
	}
	return nil
}

// AwaitReady waits until every instance that the manifests ask for has been
// ready, or cannot become ready by itself, and returns false if ctx ends before.
func (m *Mesh) AwaitReady(ctx context.Context) bool {
	for {
		if m.settled() {
			return true
		}
		if !sleep(ctx, eagerPeriod) {
			return false
		}
	}
}

// settled tells whether the loop has looked at the manifests and nothing that
// it has started is still on its way up.
func (m *Mesh) settled() bool {
	if !m.planned.Load() {
		return false
	}
	for _, in := range m.list() {
		in.mu.Lock()
		onItsWay := in.phase == starting && in.reason == ""
		for _, s := range in.programs {
			// A program that has ended is its own matter: it is told of.
			onItsWay = onItsWay && (s.running || s.starts == 0)
		}
		in.mu.Unlock()
		if onItsWay {
			return false
		}
	}
	return true
}
