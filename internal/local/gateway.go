package local

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/reclosermesh/recloser/internal/control/model"
)

// Gateway is a port of this machine that leads to a service of the mesh,
// through a proxy of its own.
type Gateway struct {
	// Listen is where the port is opened.
	Listen netip.AddrPort
	// Service and Namespace name the service. An empty Namespace is the only
	// one that has a service of that name.
	Service, Namespace string
	// Port of the service.
	Port uint16
}

// ParseGateway reads "[IP:]PORT=SERVICE[.NAMESPACE][:PORT]". The IP defaults to
// 127.0.0.1 and the service's port to 80.
func ParseGateway(s string) (Gateway, error) {
	g := Gateway{Port: 80}
	listen, service, ok := strings.Cut(s, "=")
	if !ok {
		return g, fmt.Errorf("%q: want [IP:]PORT=SERVICE[.NAMESPACE][:PORT]", s)
	}
	if !strings.Contains(listen, ":") {
		listen = net.JoinHostPort("127.0.0.1", listen)
	}
	var err error
	if g.Listen, err = netip.ParseAddrPort(listen); err != nil || g.Listen.Port() == 0 {
		return g, fmt.Errorf("%q: the part before = must be a PORT or an IP:PORT", s)
	}
	host, port, ok := strings.Cut(service, ":")
	if ok {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return g, fmt.Errorf("%q: the service's port must be 1 to 65535", s)
		}
		g.Port = uint16(n)
	}
	host = strings.TrimSuffix(strings.TrimSuffix(host, ".cluster.local"), ".svc")
	g.Service, g.Namespace, _ = strings.Cut(host, ".")
	if g.Service == "" || strings.Contains(g.Namespace, ".") {
		return g, fmt.Errorf("%q: the service must be NAME or NAME.NAMESPACE", s)
	}
	return g, nil
}

func (g Gateway) String() string {
	host := g.Service
	if g.Namespace != "" {
		host += "." + g.Namespace
	}
	return fmt.Sprintf("%s -> %s:%d", g.Listen, host, g.Port)
}

// Published says of each gateway where it leads, as a URL where a browser could
// go there, else with what is spoken.
func (m *Mesh) Published() []string {
	w := m.cfg.Worlds.World()
	var out []string
	for _, g := range m.cfg.Gateways {
		line, p := g.String(), model.Detect
		if g.resolve(w) {
			if s := w.Service(g.Namespace, g.Service); s != nil && s.Port(g.Port) != nil {
				p = s.Port(g.Port).Protocol.Protocol
			}
		}
		if p == model.Detect || p == model.HTTP1 {
			line = "http://" + line
		} else {
			line += " (" + p.String() + ")"
		}
		out = append(out, line)
	}
	return out
}

// resolve fills in the namespace, false if it cannot be known yet.
func (g *Gateway) resolve(w *model.World) bool {
	if g.Namespace != "" {
		return true
	}
	found := ""
	for _, s := range w.Services() {
		if s.Name.Name == g.Service {
			if found != "" {
				return false
			}
			found = s.Namespace
		}
	}
	g.Namespace = found
	return found != ""
}

// checkGateways finds ports that are taken before anything is started.
func (m *Mesh) checkGateways(ctx context.Context) error {
	for _, g := range m.cfg.Gateways {
		if !canListen(ctx, g.Listen.Addr(), g.Listen.Port()) {
			return fmt.Errorf("publish %s: %s cannot be listened on; is something else there?", g, g.Listen)
		}
	}
	return nil
}

// startGateways runs a proxy for each gateway until the mesh ends.
func (m *Mesh) startGateways(ctx context.Context, wg *sync.WaitGroup) error {
	for _, g := range m.cfg.Gateways {
		at, slot, err := m.places.take(ctx, nil)
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer m.places.release(slot)
			m.runGateway(ctx, g, at)
		})
	}
	return nil
}

func (m *Mesh) runGateway(ctx context.Context, g Gateway, at *place) {
	if !m.awaitService(ctx, &g) {
		return
	}
	name := fmt.Sprintf("publish-%d", g.Listen.Port())
	id := identity{pod: name, namespace: g.Namespace, workload: name, workloadKind: "Gateway"}
	c := &child{
		name: name, launcher: m.host.launcher,
		command: m.proxyCommand(filepath.Join(m.cfg.State, "bin"), id, at,
			"--node-metadata", fmt.Sprintf("PUBLISH=%s=%s.%s:%d", g.Listen, g.Service, g.Namespace, g.Port)),
		out:   &output{console: m.host.console, prefix: "[" + name + "] "},
		again: func(bool) bool { return true },
		grace: func() time.Duration { return m.cfg.HurryTime },
		changed: func(s childState) {
			if !s.running {
				m.cfg.Notify(Event{
					Kind: Crashed, Instance: name, Owner: g.String(), Part: "proxy",
					Detail: s.status, Lines: s.lastSaid, Restart: s.restart, OK: s.ok,
				})
			}
		},
	}
	c.run(ctx)
}

// awaitService waits until the namespace of the service is known, false if ctx
// ends before.
func (m *Mesh) awaitService(ctx context.Context, g *Gateway) bool {
	changed, stop := m.cfg.Worlds.Watch()
	defer stop()
	told := false
	for {
		w := m.cfg.Worlds.World()
		if g.resolve(w) {
			return true
		}
		if !told && len(w.Services()) > 0 {
			told = true
			m.cfg.Notify(Event{
				Kind: Refused, Owner: "publish " + g.String(),
				Detail: fmt.Sprintf("there is not exactly one service %q; name it as SERVICE.NAMESPACE, or add it", g.Service),
			})
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
