package local

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
)

// Ports of a sidecar.
const (
	outboundPort = 4140
	adminPort    = 4191
)

// portPair says on which ports an instance is found in place of one that its
// container or Workload declares.
type portPair struct{ public, app uint16 }

// place is where one instance lives.
type place struct {
	public netip.Addr // callers reach the instance here, through its sidecar
	app    netip.Addr // the program itself
	// moved are the declared ports that are served on others: all of them
	// where there is only one loopback address, otherwise only those that
	// somebody else holds on every address of this machine.
	moved    map[uint16]portPair
	outbound netip.AddrPort // of the sidecar
	admin    netip.AddrPort // of the sidecar
}

// publicPort is where callers find a declared port.
func (p *place) publicPort(declared uint16) uint16 {
	if m, ok := p.moved[declared]; ok {
		return m.public
	}
	return declared
}

// appPort is where the program serves a declared port.
func (p *place) appPort(declared uint16) uint16 {
	if m, ok := p.moved[declared]; ok {
		return m.app
	}
	return declared
}

// places gives out places. Each mesh on a machine has a network 127.N.0.0/16 of
// its own, which it holds by listening on one address of it, so two meshes do
// not meet; an instance has two addresses of that network. Where only 127.0.0.1
// exists, all live there, on ports that the system chooses.
type places struct {
	lock   net.Listener // holds the network; nil with one address
	prefix [2]byte      // 127.N

	mu   sync.Mutex
	next int          // slot to look at next; slots go round, so that an address rests before it is used again
	used map[int]bool // by slot
}

const (
	slots    = 32_000 // two addresses each, of the 65,536
	lockPort = 4199
	networks = 223 // 127.16 to 127.238
)

// newPlaces takes a network of this machine. onlyOne makes it use 127.0.0.1
// alone, as it also does where there is nothing else.
func newPlaces(ctx context.Context, onlyOne bool) (*places, error) {
	p := &places{used: make(map[int]bool)}
	var lc net.ListenConfig
	if onlyOne {
		return p, nil
	}
	var last error
	for _, n := range rand.Perm(networks)[:32] {
		prefix := [2]byte{127, byte(16 + n)}
		lock := netip.AddrPortFrom(netip.AddrFrom4([4]byte{prefix[0], prefix[1], 255, 254}), lockPort)
		ln, err := lc.Listen(ctx, "tcp", lock.String())
		if err == nil {
			p.lock, p.prefix = ln, prefix
			return p, nil
		}
		last = err
	}
	// Not one of 127.16.0.0 ... could be had: a system that has 127.0.0.1 only
	// says "can't assign requested address" to all of them.
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("no loopback address to run instances on: %w", errors.Join(last, err))
	}
	return p, ln.Close()
}

// close gives the network back.
func (p *places) close() {
	if p.lock != nil {
		p.lock.Close()
	}
}

// take gives out a place for an instance with the declared ports; slot gives it
// back by release.
func (p *places) take(ctx context.Context, declared []uint16) (pl *place, slot int, err error) {
	if p.lock == nil {
		pl, err = onePlace(ctx, declared)
		return pl, -1, err
	}
	slot, err = p.freeSlot()
	if err != nil {
		return nil, 0, err
	}
	pl = &place{public: p.address(2*slot + 1), app: p.address(2*slot + 2), moved: map[uint16]portPair{}}
	for _, d := range declared {
		if canListen(ctx, pl.public, d) && canListen(ctx, pl.app, d) {
			continue
		}
		if pl.moved[d], err = freePair(ctx, pl); err != nil {
			p.release(slot)
			return nil, 0, err
		}
	}
	if pl.outbound, err = portAt(ctx, pl.public, outboundPort, declared); err == nil {
		pl.admin, err = portAt(ctx, pl.public, adminPort, declared)
	}
	if err != nil {
		p.release(slot)
		return nil, 0, err
	}
	return pl, slot, nil
}

// address is number n of the network.
func (p *places) address(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{p.prefix[0], p.prefix[1], byte(n >> 8), byte(n)})
}

// release gives a slot back.
func (p *places) release(slot int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, slot) // -1, of a place without one, is never there
}

func (p *places) freeSlot() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range slots {
		slot := p.next
		p.next = (p.next + 1) % slots
		if !p.used[slot] {
			p.used[slot] = true
			return slot, nil
		}
	}
	return 0, fmt.Errorf("all %d places for instances are in use", slots)
}

// onePlace is a place on the one loopback address, with chosen ports.
func onePlace(ctx context.Context, declared []uint16) (*place, error) {
	one := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	pl := &place{public: one, app: one, moved: map[uint16]portPair{}}
	for _, d := range declared {
		pair, err := freePair(ctx, pl)
		if err != nil {
			return nil, err
		}
		pl.moved[d] = pair
	}
	out, err := freePort(ctx, one)
	if err != nil {
		return nil, err
	}
	admin, err := freePort(ctx, one)
	if err != nil {
		return nil, err
	}
	pl.outbound, pl.admin = netip.AddrPortFrom(one, out), netip.AddrPortFrom(one, admin)
	return pl, nil
}

// portAt is the wanted port of a, or another where the instance declares that
// port itself or somebody holds it.
func portAt(ctx context.Context, a netip.Addr, want uint16, declared []uint16) (netip.AddrPort, error) {
	for _, d := range declared {
		if d == want {
			want = 0
		}
	}
	if want == 0 || !canListen(ctx, a, want) {
		var err error
		if want, err = freePort(ctx, a); err != nil {
			return netip.AddrPort{}, err
		}
	}
	return netip.AddrPortFrom(a, want), nil
}

func freePair(ctx context.Context, pl *place) (portPair, error) {
	public, err := freePort(ctx, pl.public)
	if err != nil {
		return portPair{}, err
	}
	app, err := freePort(ctx, pl.app)
	return portPair{public, app}, err
}

// canListen tells whether a port of an address is free. Somebody who listens on
// a port of all addresses (0.0.0.0) holds it on each.
func canListen(ctx context.Context, a netip.Addr, port uint16) bool {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(a.String(), strconv.Itoa(int(port))))
	if err != nil {
		return false
	}
	ln.Close()
	return true
}

// freePort finds a port that nobody holds. It is free when this returns; that
// it still is when the program binds it is likely, since the system gives each
// out in turn, and a program that finds it taken is started again.
func freePort(ctx context.Context, a netip.Addr) (uint16, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(a.String(), "0"))
	if err != nil {
		return 0, fmt.Errorf("a free port on %s: %w", a, err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).AddrPort().Port(), nil
}
