package local

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/reclosermesh/recloser/internal/control/model"
)

// door is where an instance finds one service: an address of this machine on
// which its own sidecar listens for it.
type door struct {
	service model.Name
	address netip.Addr
	ports   []doorPort // in the order of the Service
	slot    int        // for places.release
}

// doorPort is one port of a service.
type doorPort struct {
	name   string
	number uint16 // of the service
	listen uint16 // on the door's address
}

// maxDoors bounds the doors of an instance: each is an address with listeners,
// and a subscription of the sidecar to the service's endpoints.
const maxDoors = 100

// needsDoor tells whether a service has a port to which HTTP_PROXY does not
// lead: what is spoken there is opaque, or it is HTTP/2 without TLS, for which
// clients do not ask a proxy.
func needsDoor(s *model.Service) bool {
	for i := range s.Ports {
		if p := s.Ports[i].Protocol.Protocol; p.Opaque() || p == model.HTTP2 {
			return true
		}
	}
	return false
}

// openDoors takes addresses for the services of a namespace that need them.
// What could not be had is left out, and told by the error.
func (p *places) openDoors(ctx context.Context, w *model.World, namespace string) ([]door, error) {
	var doors []door
	for _, s := range w.Services() {
		if s.Namespace != namespace || !needsDoor(s) {
			continue
		}
		if len(doors) == maxDoors {
			return doors, fmt.Errorf("namespace %s has more than %d services that HTTP_PROXY does not lead to; %s and those after it are left out",
				namespace, maxDoors, s.Name.Name)
		}
		d, err := p.openDoor(ctx, s)
		if err != nil {
			return doors, fmt.Errorf("an address for service %s: %w", s.Name, err)
		}
		doors = append(doors, d)
	}
	return doors, nil
}

// openDoor takes an address for one service: of its own, with the service's own
// ports, where there is more than one loopback address, else chosen ports.
func (p *places) openDoor(ctx context.Context, s *model.Service) (door, error) {
	d := door{service: s.Name, address: netip.AddrFrom4([4]byte{127, 0, 0, 1}), slot: -1}
	if p.lock != nil {
		slot, err := p.freeSlot()
		if err != nil {
			return door{}, err
		}
		d.slot, d.address = slot, p.address(2*slot+1)
	}
	for i := range s.Ports {
		port := doorPort{name: s.Ports[i].Name, number: s.Ports[i].Number, listen: s.Ports[i].Number}
		if p.lock == nil || !canListen(ctx, d.address, port.listen) {
			var err error
			if port.listen, err = freePort(ctx, d.address); err != nil {
				p.release(d.slot)
				return door{}, err
			}
		}
		d.ports = append(d.ports, port)
	}
	return d, nil
}

// closeDoors gives the addresses back.
func (p *places) closeDoors(doors []door) {
	for i := range doors {
		p.release(doors[i].slot)
	}
}

// published is what a sidecar tells the control plane of its doors: the value
// of PUBLISH in its node's metadata.
func published(doors []door) string {
	var items []string
	for i := range doors {
		d := &doors[i]
		for _, p := range d.ports {
			items = append(items, fmt.Sprintf("%s=%s.%s:%d", netip.AddrPortFrom(d.address, p.listen), d.service.Name, d.service.Namespace, p.number))
		}
	}
	return strings.Join(items, ",")
}

// serviceVariables are those that Kubernetes sets for a service:
// NAME_SERVICE_HOST, NAME_SERVICE_PORT of its first port, and
// NAME_SERVICE_PORT_PORTNAME.
func serviceVariables(doors []door) [][2]string {
	var out [][2]string
	for i := range doors {
		d := &doors[i]
		name := variableName(d.service.Name)
		out = append(out, [2]string{name + "_SERVICE_HOST", d.address.String()})
		for j, p := range d.ports {
			port := strconv.Itoa(int(p.listen))
			if j == 0 {
				out = append(out, [2]string{name + "_SERVICE_PORT", port})
			}
			if p.name != "" {
				out = append(out, [2]string{name + "_SERVICE_PORT_" + variableName(p.name), port})
			}
		}
	}
	return out
}

// variableName is a name as Kubernetes writes it in a variable's.
func variableName(s string) string {
	return strings.ToUpper(strings.ReplaceAll(s, "-", "_"))
}

// noProxy lists the doors' addresses, so that HTTP clients do not ask a proxy
// for what is a proxy.
func noProxy(doors []door) string {
	var addresses []string
	for i := range doors {
		if a := doors[i].address.String(); i == 0 || a != addresses[0] {
			addresses = append(addresses, a)
		}
	}
	return strings.Join(addresses, ",")
}
