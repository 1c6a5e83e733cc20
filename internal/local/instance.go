package local

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// phase is where an instance is in its life. It only goes forward.
type phase int

const (
	starting phase = iota // sidecar and program are being started, or are not ready yet
	serving               // it was ready once
	draining              // no new requests; what is under way is finished
	ended                 // nothing of it is left
)

// instance is one running copy of a workload: its programs, its sidecar, its
// addresses. Its goroutine is run; the mesh's loop hears of every change.
type instance struct {
	// Immutable after start.
	name     string
	owner    owner
	template *template
	address  string // of a program that runs already; empty: we run it
	host     host
	place    *place
	slot     int
	ports    []uint16
	doors    []door // where its programs find services
	folder   string
	knobs    string
	created  time.Time

	changed func()        // tells the mesh that state or publication is different
	drained chan struct{} // closed by drain
	once    sync.Once

	mu       sync.Mutex
	phase    phase
	programs []childState // by template.programs
	sidecar  childState
	meshed   bool // the sidecar says that it is ready
	passing  bool // the programs pass their probe
	reason   string
	pod      *corev1.Pod // as published; nil: to be made anew
}

// host is what instances need of the mesh around them.
type host struct {
	launcher  *launcher
	console   *console
	recloser  string // path of the recloser program
	programs  string // folder of the stand-ins
	node      string
	environ   []string
	sidecar   func(*instance) command
	ready     func(ctx context.Context, admin netip.AddrPort) bool                                // asks a sidecar
	listens   func(ctx context.Context, addresses []string) bool                                  // something accepts connections on all of them
	opaque    func(in *instance, port uint16) bool                                                // bytes of a declared port are passed on as they are
	idle      func(ctx context.Context, admin netip.AddrPort, opaque func(port uint16) bool) bool // nothing is under way towards the program
	settle    time.Duration                                                                       // until callers have heard that an instance goes
	hurry     <-chan struct{}                                                                     // closed: end all at once
	hurryTime time.Duration                                                                       // grace of an end in a hurry
	patience  time.Duration                                                                       // until an instance that is not ready is told of
	notify    func(Event)
}

// drain asks the instance to finish what it has and to end. It may be called
// more than once.
func (in *instance) drain() { in.once.Do(func() { close(in.drained) }) }

// run starts everything of the instance, keeps it running, and ends it in good
// order once drain was called or the mesh ends. It returns when nothing is left.
func (in *instance) run(ctx context.Context) {
	defer func() {
		_ = os.RemoveAll(in.folder) // what a program left locked goes with the mesh's folder
		in.set(func() { in.phase = ended })
		in.host.notify(Event{Kind: Ended, Instance: in.name, Owner: in.owner.String()})
	}()
	sidecarCtx, stopSidecar := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSidecar()
	programCtx, stopPrograms := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPrograms()

	var sidecar, programs, watch sync.WaitGroup
	sidecar.Go(func() { in.keepSidecar(sidecarCtx) })
	watchCtx, stopWatch := context.WithCancel(programCtx)
	defer stopWatch()
	watch.Go(func() {
		// The program's first call may be to another service, so the way out
		// has to be open before it starts.
		if in.awaitSidecar(watchCtx) {
			in.startPrograms(programCtx, &programs)
			in.watch(watchCtx)
		}
	})

	select {
	case <-in.drained:
	case <-in.host.hurry:
	}
	stopWatch()
	watch.Wait()
	in.set(func() { in.phase, in.passing = draining, false })
	in.host.notify(Event{Kind: Draining, Instance: in.name, Owner: in.owner.String()})
	in.awaitIdle(ctx)
	stopPrograms()
	programs.Wait()
	stopSidecar()
	sidecar.Wait()
}

// set changes state under the lock and tells the mesh.
func (in *instance) set(change func()) {
	in.mu.Lock()
	change()
	in.pod = nil
	in.mu.Unlock()
	in.changed()
}

// grace is the time that a program or the sidecar has between SIGTERM and
// SIGKILL.
func (in *instance) grace() time.Duration {
	select {
	case <-in.host.hurry:
		return in.host.hurryTime
	default:
		return in.template.grace
	}
}

// keepSidecar keeps the sidecar running until ctx ends.
func (in *instance) keepSidecar(ctx context.Context) {
	c := &child{
		name: "sidecar", launcher: in.host.launcher, command: in.host.sidecar(in),
		out:   &output{console: in.host.console, prefix: "[" + in.name + " sidecar] "},
		again: func(bool) bool { return true },
		grace: in.grace,
		changed: func(s childState) {
			in.set(func() {
				in.sidecar = s
				in.meshed = in.meshed && s.running
			})
			in.report("sidecar", s)
		},
	}
	c.run(ctx)
}

// startPrograms starts the instance's programs and keeps them running until ctx
// ends.
func (in *instance) startPrograms(ctx context.Context, wg *sync.WaitGroup) {
	in.set(func() { in.programs = make([]childState, len(in.template.programs)) })
	for i, p := range in.template.programs {
		cmd, err := p.command(in.setting())
		if err != nil {
			in.fail(p.name, err)
			continue
		}
		prefix := "[" + in.name + "] "
		if len(in.template.programs) > 1 {
			prefix = "[" + in.name + " " + p.name + "] "
		}
		c := &child{
			name: p.name, launcher: in.host.launcher, command: cmd,
			out:   &output{console: in.host.console, prefix: prefix},
			again: in.template.restart.again,
			grace: in.grace,
			changed: func(s childState) {
				in.set(func() {
					in.programs[i] = s
					in.passing = in.passing && s.running
				})
				in.report(p.name, s)
			},
		}
		wg.Go(func() { c.run(ctx) })
	}
}

func (in *instance) setting() *setting {
	return &setting{
		pod: in.name, namespace: in.owner.namespace, node: in.host.node,
		serviceAccount: in.template.serviceAccount(),
		labels:         in.template.labels, annotations: in.template.annotations,
		place: in.place, ports: in.ports, doors: in.doors, knobs: in.knobs,
		programs: in.host.programs, folder: in.folder, recloser: in.host.recloser,
		environ: in.host.environ,
	}
}

// fail says why a part of the instance cannot be started at all. Nothing is
// tried again: only another manifest helps.
func (in *instance) fail(part string, err error) {
	in.set(func() { in.reason = fmt.Sprintf("%s: %v", part, err) })
	in.host.notify(Event{
		Kind: Failed, Instance: in.name, Owner: in.owner.String(), Part: part, Detail: err.Error(),
	})
}

// report tells the user of the end of a child that nobody asked for.
func (in *instance) report(part string, s childState) {
	if s.running {
		return
	}
	in.host.notify(Event{
		Kind: Crashed, Instance: in.name, Owner: in.owner.String(), Part: part,
		Detail: s.status, Lines: s.lastSaid, Restart: s.restart, OK: s.ok,
	})
}

// awaitSidecar returns when the sidecar is ready, false if ctx ends before.
func (in *instance) awaitSidecar(ctx context.Context) bool {
	for {
		if in.host.ready(ctx, in.place.admin) {
			in.set(func() { in.meshed = true })
			return true
		}
		if !sleep(ctx, eagerPeriod) {
			return false
		}
	}
}

// watch keeps the instance's readiness up to date until ctx ends: it is ready
// while the sidecar is and all programs run and pass their probe.
func (in *instance) watch(ctx context.Context) {
	p := newProber(in)
	defer p.leaving.Wait()
	if !sleep(ctx, p.delay) {
		return
	}
	failures, told, listens := 0, false, false
	waiting := time.NewTimer(in.host.patience)
	defer waiting.Stop()
	for {
		in.mu.Lock()
		// A sidecar is ready with what it has been told, and it may be told of
		// its instance's ports after that, at first and after each start.
		listens = listens && in.meshed
		in.mu.Unlock()
		meshed := in.host.ready(ctx, in.place.admin)
		if listens = meshed && (listens || in.host.listens(ctx, in.publicAddresses())); !listens {
			meshed = false
		}
		running, starts := in.startsOf()
		passing := running && p.check(ctx, starts)
		if ctx.Err() != nil {
			return
		}
		in.mu.Lock()
		// Those that were tried may have ended since.
		passing = passing && in.runningLocked() && in.startsLocked() == starts
		if passing {
			failures = 0
		} else {
			failures++
		}
		now := passing || (in.passing && in.runningLocked() && failures < p.threshold)
		different := in.meshed != meshed || in.passing != now
		in.mu.Unlock()
		if different {
			in.set(func() {
				in.meshed, in.passing = meshed, now
				if meshed && now {
					in.phase = max(in.phase, serving)
				}
			})
		}
		// Readiness may also have gone in between, with a program or the sidecar.
		if is := in.isReady(); is != told {
			in.announce(is)
			told = is
			waiting.Stop()
		}
		select {
		case <-waiting.C:
			if in.running() { // else its end was told
				in.host.notify(Event{Kind: Waiting, Instance: in.name, Owner: in.owner.String(), Detail: in.lacks(p, passing)})
			}
		default:
		}
		period := p.period
		switch {
		case !in.isReady():
			period = min(period, eagerPeriod)
		case failures > 0 && p.again > 0:
			period = p.again
		}
		if !sleep(ctx, period) {
			return
		}
	}
}

// lacks says what an instance that runs waits for.
func (in *instance) lacks(p *prober, passing bool) string {
	if passing {
		return "its sidecar is not"
	}
	var at []string
	for _, port := range p.targets(in.ports) {
		at = append(at, in.programAddress(port))
	}
	where := strings.Join(at, ", ")
	switch {
	case p.path != "" && len(at) > 0:
		return "its probe GET http://" + where + p.path + " does not succeed"
	case in.address != "":
		return "nothing accepts connections on " + where
	default:
		return "nothing accepts connections on " + where + ", where its program is told to listen (ADDRESS, PORT, LISTEN_ADDR)"
	}
}

func (in *instance) announce(ready bool) {
	e := Event{Kind: NotReady, Instance: in.name, Owner: in.owner.String()}
	if ready {
		e.Kind = Ready
		e.Addresses = in.publicAddresses()
	}
	in.host.notify(e)
}

// publicAddresses are where callers find the instance.
func (in *instance) publicAddresses() []string {
	var out []string
	for _, p := range in.ports {
		out = append(out, hostPort(in.place.public.String(), in.place.publicPort(p)))
	}
	return out
}

// isReady tells whether the instance may get requests.
func (in *instance) isReady() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.readyLocked()
}

func (in *instance) readyLocked() bool {
	return in.phase < draining && in.meshed && in.passing
}

// running tells whether all programs run.
func (in *instance) running() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.runningLocked()
}

func (in *instance) runningLocked() bool {
	for _, s := range in.programs {
		if !s.running {
			return false
		}
	}
	return in.reason == "" && len(in.programs) == len(in.template.programs)
}

// startsOf tells whether all programs run, and how often they were started.
func (in *instance) startsOf() (running bool, starts int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.runningLocked(), in.startsLocked()
}

func (in *instance) startsLocked() int {
	n := 0
	for _, s := range in.programs {
		n += s.starts
	}
	return n
}

// programAddress is where the program serves a declared port.
func (in *instance) programAddress(declared uint16) string {
	if ap, err := netip.ParseAddrPort(in.address); err == nil {
		return ap.String()
	}
	if in.address != "" {
		return hostPort(in.address, declared)
	}
	return hostPort(in.place.app.String(), in.place.appPort(declared))
}

// awaitIdle waits until callers have heard that the instance goes and nothing
// is under way towards its programs. In a hurry it does not wait.
func (in *instance) awaitIdle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, in.host.settle+in.template.grace)
	defer cancel()
	hurried := make(chan struct{})
	defer close(hurried)
	go func() {
		select {
		case <-in.host.hurry:
			cancel()
		case <-hurried:
		}
	}()
	if !sleep(ctx, in.host.settle) {
		return
	}
	for in.sidecarRuns() && !in.host.idle(ctx, in.place.admin, func(port uint16) bool { return in.host.opaque(in, port) }) {
		if !sleep(ctx, eagerPeriod) {
			return
		}
	}
}

func (in *instance) sidecarRuns() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.sidecar.running
}

// makeFolder makes the instance's own folder.
func (in *instance) makeFolder(state string) error {
	in.folder = filepath.Join(state, "instances", in.owner.namespace+"."+in.name)
	return os.MkdirAll(in.folder, 0o700)
}
