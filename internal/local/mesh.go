// Package local is the laptop mesh: it runs the workloads of manifests on this
// machine, each instance with a sidecar and addresses of its own, without a
// container engine and without root.
//
// A Mesh follows a World. From its Deployments, bare Pods and Workloads it
// plans what should run (plan.go), decides the next steps for each of them
// (rollout.go), and carries them out as instances (instance.go), whose
// processes are supervised (supervise.go, process.go). What runs is published
// as Pods, so that the control plane finds endpoints here in the way in which
// it finds them in a cluster.
//
// One goroutine, Mesh.Run, owns the plan and the set of instances. Each
// instance has goroutines of its own and tells the loop of its changes. Nothing
// here is on the path of a request.
package local

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
)

// Worlds is where a Mesh reads what should run.
type Worlds interface {
	// World is the present World; empty, not nil, before there is one.
	World() *model.World
	// Watch gives a channel that gets a value after changes; several in a short
	// time may be one value. stop ends it.
	Watch() (changed <-chan struct{}, stop func())
}

// Config is how a Mesh runs.
type Config struct {
	Worlds Worlds
	// Publish replaces the Pods that the mesh has published before.
	Publish func([]source.Object)
	// XDSAddress is where sidecars find the control plane.
	XDSAddress string
	// ProxyPath is the recloser-proxy program, an absolute path.
	ProxyPath string
	// RecloserPath is the recloser program, an absolute path, which runs the
	// built-in sample programs.
	RecloserPath string
	// State is a folder that the mesh may fill; it must exist, and its absolute
	// path must consist of letters, digits and "/._-".
	State string
	// OneAddress makes all instances live on 127.0.0.1 with chosen ports, as
	// they do where there is no other loopback address.
	OneAddress bool
	// Settle is how long an instance that goes still takes requests, so that
	// all callers have heard of it. Default 1s.
	Settle time.Duration
	// HurryTime is how long programs have to end when the whole mesh ends.
	// Default 5s.
	HurryTime time.Duration
	// Kill is closed when the mesh, which ends already, shall not wait for its
	// programs. Nil: never.
	Kill <-chan struct{}
	// Patience is how long an instance may be on its way up before the user is
	// told what it waits for. Default 10s.
	Patience time.Duration
	// Gateways open ports of this machine to services.
	Gateways []Gateway
	// Output shows what the programs print, a line at a time with the name of
	// the instance before it. Nil: it is not shown.
	Output io.Writer
	// Notify hears of events; it must not block. Nil: nobody does.
	Notify func(Event)
	// Environ is the environment that programs inherit, as os.Environ gives it.
	Environ []string
	Logger  *slog.Logger
}

// Mesh runs instances on this machine.
type Mesh struct {
	cfg     Config
	host    host
	places  *places
	listens func(ctx context.Context, addresses []string) bool // acceptsAll
	origin  *source.Origin                                     // of all Pods that the mesh publishes
	changed chan struct{}                                      // capacity 1: something to look at for the loop
	hurry   chan struct{}                                      // closed when all instances are to end at once

	// Owned by the loop.
	numbers   map[owner]int
	problems  map[Problem]bool
	published []*corev1.Pod
	knobs     int
	running   sync.WaitGroup

	planned   atomic.Bool // the manifests have been looked at
	mu        sync.Mutex
	instances []*instance // in the order of their start
}

// New makes a Mesh. It starts nothing.
func New(cfg Config) *Mesh {
	if cfg.Settle == 0 {
		cfg.Settle = time.Second
	}
	if cfg.HurryTime == 0 {
		cfg.HurryTime = 5 * time.Second
	}
	if cfg.Patience == 0 {
		cfg.Patience = 10 * time.Second
	}
	if cfg.Notify == nil {
		cfg.Notify = func(Event) {}
	}
	return &Mesh{
		cfg: cfg, origin: &source.Origin{Source: "recloser up"},
		listens: acceptsAll, changed: make(chan struct{}, 1), hurry: make(chan struct{}),
		numbers: make(map[owner]int), problems: make(map[Problem]bool),
	}
}

// Run runs the mesh until ctx ends, then ends everything that it has started.
func (m *Mesh) Run(ctx context.Context) error {
	if err := m.prepare(ctx); err != nil {
		return err
	}
	defer m.places.close()

	// The launcher ends last: its children may not outlive it.
	launcherCtx, stopLauncher := context.WithCancel(context.WithoutCancel(ctx))
	var launching sync.WaitGroup
	launching.Go(func() { m.host.launcher.run(launcherCtx) })
	defer launching.Wait()
	defer stopLauncher()

	worlds, stop := m.cfg.Worlds.Watch()
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := m.startGateways(ctx, &m.running); err != nil {
		cancel()
		m.running.Wait()
		return err
	}
	for {
		m.reconcile(ctx)
		select {
		case <-worlds:
		case <-m.changed:
		case <-ctx.Done():
			close(m.hurry)
			m.running.Wait()
			m.publish()
			return nil
		}
	}
}

// prepare makes the folders and takes the addresses.
func (m *Mesh) prepare(ctx context.Context) error {
	programs := filepath.Join(m.cfg.State, "bin")
	if err := checkState(programs); err != nil {
		return err
	}
	if err := writeStandIns(programs, m.cfg.RecloserPath); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	if err := executable(m.cfg.ProxyPath); err != nil {
		return fmt.Errorf("recloser-proxy at %s: %w", m.cfg.ProxyPath, err)
	}
	if err := m.checkGateways(ctx); err != nil {
		return err
	}
	node, err := os.Hostname()
	if err != nil {
		node = "localhost"
	}
	if m.places, err = newPlaces(ctx, m.cfg.OneAddress); err != nil {
		return err
	}
	m.host = host{
		launcher: newLauncher(m.cfg.Kill), console: &console{out: m.cfg.Output},
		recloser: m.cfg.RecloserPath, programs: programs, node: node, environ: m.cfg.Environ,
		sidecar: m.sidecarCommand, ready: sidecarReady, idle: sidecarIdle, opaque: m.opaque, listens: m.listens,
		settle: m.cfg.Settle, hurry: m.hurry, hurryTime: m.cfg.HurryTime, patience: m.cfg.Patience,
		notify: m.cfg.Notify,
	}
	return nil
}

// checkState refuses a folder whose name would have to be quoted inside of
// users' shell scripts, where the paths of stand-ins are put.
func checkState(folder string) error {
	if !filepath.IsAbs(folder) {
		return fmt.Errorf("state folder %q: want an absolute path", folder)
	}
	for i := range len(folder) {
		if !isPathByte(folder[i]) {
			return fmt.Errorf("state folder %q: the path may have letters, digits and /._-~ only", folder)
		}
	}
	return nil
}

// wake has the loop look at everything again, soon.
func (m *Mesh) wake() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// reconcile takes the next steps towards what the World wants.
func (m *Mesh) reconcile(ctx context.Context) {
	world := m.cfg.Worlds.World()
	wants, problems := plan(world)
	m.tell(problems)

	byOwner := m.members()
	for i := range wants {
		w := &wants[i]
		m.carryOut(ctx, world, w, rollout(w, byOwner[w.owner]))
		delete(byOwner, w.owner)
	}
	for o, members := range byOwner {
		// An object that has become wrong leaves its instances as they are; one
		// that is gone takes them along.
		if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Object == o.String() }) {
			m.carryOut(ctx, world, nil, rollout(nil, members))
		}
	}
	m.planned.Store(true)
	m.publish()
}

// tell notifies of problems that were not there before.
func (m *Mesh) tell(problems []Problem) {
	now := make(map[Problem]bool, len(problems))
	for _, p := range problems {
		now[p] = true
		if !m.problems[p] {
			m.cfg.Notify(Event{Kind: Refused, Owner: p.Object, Detail: p.Reason, Where: p.Where})
			m.cfg.Logger.Info("object is not run", "object", p.Object, "at", p.Where, "reason", p.Reason)
		}
	}
	m.problems = now
}

// members lists the instances by owner and forgets those that have ended.
func (m *Mesh) members() map[owner][]member {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.instances = slices.DeleteFunc(m.instances, func(in *instance) bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		if in.phase == ended {
			m.places.release(in.slot)
			m.places.closeDoors(in.doors)
		}
		return in.phase == ended
	})
	out := make(map[owner][]member)
	for i, in := range m.instances {
		in.mu.Lock()
		leaving := in.phase >= draining || in.isDraining()
		out[in.owner] = append(out[in.owner], member{
			name: in.name, hash: in.template.hash, address: in.address,
			number: i, ready: in.readyLocked(), leaving: leaving,
		})
		in.mu.Unlock()
	}
	return out
}

// opaque tells whether what is spoken on an instance's port is not looked at.
func (m *Mesh) opaque(in *instance, port uint16) bool {
	w := m.cfg.Worlds.World()
	p := w.Pod(in.owner.namespace, in.name)
	return p != nil && w.InstancePort(p, port).Protocol.Opaque()
}

// isDraining tells whether drain was called.
func (in *instance) isDraining() bool {
	select {
	case <-in.drained:
		return true
	default:
		return false
	}
}

func (m *Mesh) carryOut(ctx context.Context, world *model.World, w *want, s steps) {
	for _, name := range s.drain {
		for _, in := range m.list() {
			if in.name == name {
				in.drain()
			}
		}
	}
	for _, address := range s.start {
		if err := m.start(ctx, world, w, address); err != nil {
			m.cfg.Logger.Error("an instance could not be started", "object", w.owner.String(), "error", err)
		}
	}
}

// start makes an instance and sets it going.
func (m *Mesh) start(ctx context.Context, world *model.World, w *want, address string) error {
	in := &instance{
		owner: w.owner, template: w.template, address: address, host: m.host,
		ports:   w.template.ports(world, w.owner.namespace),
		created: time.Now(), changed: m.wake, drained: make(chan struct{}),
	}
	m.numbers[w.owner]++
	in.name = fmt.Sprintf("%s-%s-%d", w.owner.name, w.template.hash, m.numbers[w.owner])
	var err error
	if in.place, in.slot, err = m.places.take(ctx, in.ports); err != nil {
		return err
	}
	if err := in.makeFolder(m.cfg.State); err != nil {
		m.places.release(in.slot)
		return err
	}
	if w.template.serviceLinks() {
		if in.doors, err = m.places.openDoors(ctx, world, w.owner.namespace); err != nil {
			m.cfg.Logger.Warn("a program is not told of all services", "instance", in.name, "error", err)
		}
	}
	m.knobs++
	in.knobs = filepath.Join(m.cfg.State, "k"+strconv.Itoa(m.knobs))
	m.mu.Lock()
	m.instances = append(m.instances, in)
	m.mu.Unlock()
	m.cfg.Notify(Event{Kind: Started, Instance: in.name, Owner: in.owner.String()})
	m.running.Go(func() { in.run(ctx) })
	return nil
}

func (m *Mesh) list() []*instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.instances)
}

// publish hands the Pods of all instances on, if any has changed.
func (m *Mesh) publish() {
	var pods []*corev1.Pod
	for _, in := range m.list() {
		if p := in.publication(); p != nil {
			pods = append(pods, p)
		}
	}
	if slices.Equal(pods, m.published) {
		return
	}
	m.published = pods
	objects := make([]source.Object, len(pods))
	for i, p := range pods {
		objects[i] = source.Object{
			Key:    source.Key{Kind: source.Pod, Namespace: p.Namespace, Name: p.Name},
			Value:  p,
			Origin: m.origin,
		}
	}
	m.cfg.Publish(objects)
}
