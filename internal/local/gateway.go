package local

import (
	"context"
	"errors"
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
	// Port of the service. 0 is its only one or, of several, 80.
	Port uint16
}

// defaultPort is taken of several ports of a service where none is named.
const defaultPort = 80

// ParseGateway reads "[IP:]PORT=SERVICE[.NAMESPACE][:PORT]". The IP defaults to
// 127.0.0.1, and the service's port to its only one or, of several, to 80.
func ParseGateway(s string) (Gateway, error) {
	var g Gateway
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
	if g.Port != 0 {
		host += ":" + strconv.Itoa(int(g.Port))
	}
	return fmt.Sprintf("%s -> %s", g.Listen, host)
}

// Published says of each gateway where it leads, as a URL where a browser could
// go there, else with what is spoken.
func (m *Mesh) Published() []string {
	w := m.cfg.Worlds.World()
	var out []string
	for _, g := range m.cfg.Gateways {
		port, err := g.resolve(w)
		switch {
		case err != nil:
			out = append(out, g.String()+" (waits: "+err.Error()+")")
		case port.Protocol.Protocol == model.Detect || port.Protocol.Protocol == model.HTTP1:
			out = append(out, "http://"+g.String())
		default:
			out = append(out, g.String()+" ("+port.Protocol.Protocol.String()+")")
		}
	}
	return out
}

// portError says that a service is there and the port that is wanted of it is
// not.
type portError struct{ text string }

func (e *portError) Error() string { return e.text }

// resolve finds the port that the gateway leads to, and fills in its number and
// namespace. The error says what is missing yet.
func (g *Gateway) resolve(w *model.World) (*model.Port, error) {
	s, err := g.find(w)
	if err != nil {
		return nil, err
	}
	port := s.Port(g.Port)
	if g.Port == 0 {
		if port = s.Port(defaultPort); len(s.Ports) == 1 {
			port = &s.Ports[0]
		}
	}
	switch {
	case port != nil:
		g.Namespace, g.Port = s.Namespace, port.Number
		return port, nil
	case len(s.Ports) == 0:
		return nil, &portError{fmt.Sprintf("service %s has no ports", s.Name.Name)}
	case g.Port == 0:
		return nil, &portError{fmt.Sprintf("service %s has several ports; name one of %s", s.Name.Name, s.PortList())}
	default:
		return nil, &portError{fmt.Sprintf("service %s has no port %d; it has %s", s.Name.Name, g.Port, s.PortList())}
	}
}

// find is the service of the gateway's name.
func (g *Gateway) find(w *model.World) (*model.Service, error) {
	if g.Namespace != "" {
		if s := w.Service(g.Namespace, g.Service); s != nil {
			return s, nil
		}
		return nil, fmt.Errorf("there is no service %s in namespace %s", g.Service, g.Namespace)
	}
	var found []*model.Service
	var named []string
	for _, s := range w.Services() {
		if s.Name.Name == g.Service {
			found = append(found, s)
			named = append(named, s.Name.Name+"."+s.Namespace)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("there is no service %s", g.Service)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("there are several services %s; name one of %s", g.Service, strings.Join(named, ", "))
}

// checkGateways finds, before anything is started, ports that are taken, and
// services that do not have the port that is wanted.
func (m *Mesh) checkGateways(ctx context.Context) error {
	for _, g := range m.cfg.Gateways {
		if !canListen(ctx, g.Listen.Addr(), g.Listen.Port()) {
			return fmt.Errorf("publish %s: %s cannot be listened on; is something else there?", g, g.Listen)
		}
		var wrong *portError
		if _, err := g.resolve(m.cfg.Worlds.World()); errors.As(err, &wrong) {
			return fmt.Errorf("publish %s: %w", g, err)
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

// awaitService waits until there is the service with its port, and tells what is
// missing. It is false if ctx ends before.
func (m *Mesh) awaitService(ctx context.Context, g *Gateway) bool {
	changed, stop := m.cfg.Worlds.Watch()
	defer stop()
	told := ""
	for {
		_, err := g.resolve(m.cfg.Worlds.World())
		if err == nil {
			return true
		}
		if reason := err.Error(); reason != told {
			told = reason
			m.cfg.Notify(Event{Kind: Unpublished, Owner: g.String(), Detail: reason})
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
