package local

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/reclosermesh/recloser/internal/control/model"
	"github.com/reclosermesh/recloser/internal/control/source"
	"github.com/reclosermesh/recloser/internal/lab/apps"
)

// rig runs a Mesh over manifests that the test can change, with real
// processes; the sidecars are stand-ins (sidecar_test.go).
type rig struct {
	t    *testing.T
	mesh *Mesh
	end  func() // ends the mesh and waits for it; may be called again

	mu       sync.Mutex
	manifest []source.Object
	pods     []source.Object
	world    *model.World
	watchers []func()
	events   []Event
	printed  bytes.Buffer
	changed  chan struct{} // closed and replaced at each change of the above
}

func newRig(t *testing.T, manifest string, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, changed: make(chan struct{})}
	r.apply(manifest)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	state, err := os.MkdirTemp("", "recloser-test-")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Worlds: r, Publish: r.publish, XDSAddress: "127.0.0.1:1",
		ProxyPath: self, RecloserPath: self, State: state,
		Settle: time.Millisecond, HurryTime: 2 * time.Second,
		Output: r, Notify: r.notify, Environ: append(os.Environ(), "GORACE=atexit_sleep_ms=0"), Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	r.mesh = New(cfg)
	// The stand-ins for sidecars have no listeners but their admin port.
	r.mesh.listens = func(context.Context, []string) bool { return true }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.mesh.Run(ctx) }()
	r.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the mesh ended with %v", err)
		}
		if err := os.RemoveAll(state); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.end)
	return r
}

// apply replaces the manifest.
func (r *rig) apply(manifest string) {
	r.t.Helper()
	d := &source.Decoder{Source: "test", File: filepath.Join(must(os.Getwd()), "test.yaml")}
	docs, lines := source.Split([]byte(manifest))
	var objects []source.Object
	for i, doc := range docs {
		out := d.Decode(doc, lines[i])
		for _, p := range out.Problems {
			if p.Severity == source.Error {
				r.t.Fatalf("manifest: %s", p.String())
			}
		}
		objects = append(objects, out.Objects...)
	}
	r.mu.Lock()
	r.manifest = objects
	r.rebuild()
}

// rebuild makes a new World and unlocks.
func (r *rig) rebuild() {
	r.world = model.Build(r.world, slices.Concat(r.manifest, r.pods))
	watchers := slices.Clone(r.watchers)
	r.changedLocked()
	r.mu.Unlock()
	for _, f := range watchers {
		f()
	}
}

func (r *rig) changedLocked() {
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *rig) publish(pods []source.Object) {
	r.mu.Lock()
	r.pods = pods
	r.rebuild()
}

func (r *rig) World() *model.World {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.world
}

func (r *rig) Watch() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	r.onWorld(func() {
		select {
		case c <- struct{}{}:
		default:
		}
	})
	return c, func() {}
}

// onWorld calls f after each change.
func (r *rig) onWorld(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watchers = append(r.watchers, f)
}

func (r *rig) notify(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	r.changedLocked()
}

func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changedLocked()
	return r.printed.Write(p)
}

// await returns when what holds, which is asked after each change and, because
// processes end unseen, from time to time.
func (r *rig) await(what string, holds func() bool) {
	r.t.Helper()
	limit := time.After(60 * time.Second)
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if holds() {
			return
		}
		select {
		case <-changed:
		case <-time.After(20 * time.Millisecond):
		case <-limit:
			r.t.Fatalf("not reached: %s\n%s", what, r.state())
		}
	}
}

func (r *rig) state() string {
	var b strings.Builder
	for _, p := range r.World().Pods() {
		fmt.Fprintf(&b, "%s ready=%v %s\n", p.Name, p.Ready, p.Spec.Status.Phase)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		fmt.Fprintf(&b, "%s %s\n", e.String(), strings.Join(e.Lines, " | "))
	}
	return b.String() + r.printed.String()
}

// of are the published Pods of an owner that are not leaving.
func (r *rig) of(name string) (pods []*model.Pod) {
	for _, p := range r.World().Pods() {
		if p.Workload == name && p.Spec.Status.PodIP != "" && p.Spec.DeletionTimestamp == nil {
			pods = append(pods, p)
		}
	}
	return pods
}

func (r *rig) ready(name string, n int) func() bool {
	return func() bool {
		pods := r.of(name)
		return len(pods) == n && !slices.ContainsFunc(pods, func(p *model.Pod) bool { return !p.Ready })
	}
}

func (r *rig) lines() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.printed.String()
}

func (r *rig) has(match func(Event) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.events, match)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// fetch asks a program directly, behind its sidecar.
func fetch(t *testing.T, p *model.Pod, port uint16) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + p.AppAddress(port))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, string(must(io.ReadAll(resp.Body)))
}

func TestTutorialRunsWordForWord(t *testing.T) {
	manifest := must(os.ReadFile("demo/circuit-breaking.yaml"))
	r := newRig(t, string(manifest), nil)
	for _, name := range []string{"good", "bad", "slow-cooker"} {
		r.await(name+" is ready", r.ready(name, 1))
	}
	good, bad := r.of("good")[0], r.of("bad")[0]
	if status, body := fetch(t, good, 8080); status != 200 {
		t.Errorf("good: %d %q", status, body)
	}
	if status, body := fetch(t, bad, 8080); status != 500 {
		t.Errorf("bad: %d %q", status, body)
	}
	if good.Spec.Status.PodIP == bad.Spec.Status.PodIP || good.App == good.Spec.Status.PodIP {
		t.Errorf("addresses are shared: %s behind %s, %s behind %s", good.App, good.Spec.Status.PodIP, bad.App, bad.Spec.Status.PodIP)
	}
	if good.WorkloadKind != "Deployment" || good.Spec.Labels["class"] != "good" {
		t.Errorf("good belongs to %v, labels %v", good.Owner, good.Spec.Labels)
	}
	if svc := r.World().Service("circuit-breaking-demo", "bb"); len(svc.Ports[0].Endpoints) != 2 {
		t.Errorf("the Service finds %v", svc.Ports[0].Endpoints)
	}
	// The script sleeps for 5 seconds, then runs the program by the image's
	// absolute path.
	r.await("the script runs slow_cooker", func() bool {
		return strings.Contains(r.lines(), "# sending 10 GET req/s with concurrency=1 to http://bb:8080 ...")
	})
	pids := r.pids()
	if len(pids) < 6 {
		t.Errorf("only %d processes run: %v", len(pids), pids)
	}
	r.end()
	for _, pid := range pids {
		if groupAlive(pid) {
			t.Errorf("process group %d outlived the mesh", pid)
		}
	}
}

// pids are those of all programs and sidecars that run.
func (r *rig) pids() (pids []int) {
	for _, in := range r.mesh.list() {
		in.mu.Lock()
		for _, s := range append(slices.Clone(in.programs), in.sidecar) {
			if s.running {
				pids = append(pids, s.pid)
			}
		}
		in.mu.Unlock()
	}
	return pids
}

// deployment is a manifest of n building blocks that answer with text.
func deployment(n int, text string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: buoyantio/bb:v0.0.6
        args: [terminus, --h1-server-port=8080, "--response-text=%s"]
        ports: [{containerPort: 8080}]
`, n, text)
}

func TestScaleUpAndDown(t *testing.T) {
	r := newRig(t, deployment(1, "one"), nil)
	r.await("one is ready", r.ready("web", 1))
	first := r.of("web")[0].Name
	r.apply(deployment(3, "one"))
	r.await("three are ready", r.ready("web", 3))
	r.apply(deployment(1, "one"))
	r.await("one is left", func() bool { return len(r.World().Pods()) == 1 })
	if left := r.of("web")[0].Name; left != first {
		t.Errorf("%s is left, want the oldest, %s", left, first)
	}
	r.apply("")
	r.await("none is left", func() bool { return len(r.World().Pods()) == 0 })
}

func TestTemplateChangeReplacesWithoutAGap(t *testing.T) {
	r := newRig(t, deployment(2, "one"), nil)
	r.await("two are ready", r.ready("web", 2))
	gap := make(chan int, 1)
	r.onWorld(func() {
		n := 0
		for _, p := range r.World().Pods() {
			if p.Ready {
				n++
			}
		}
		if n < 2 {
			select {
			case gap <- n:
			default:
			}
		}
	})
	r.apply(deployment(2, "two"))
	r.await("both are new", func() bool {
		pods := r.of("web")
		return len(r.World().Pods()) == 2 && len(pods) == 2 && pods[0].Ready && pods[1].Ready &&
			strings.Contains(pods[0].Spec.Spec.Containers[0].Args[2], "two") && strings.Contains(pods[1].Spec.Spec.Containers[0].Args[2], "two")
	})
	select {
	case n := <-gap:
		t.Errorf("only %d were ready during the replacement", n)
	default:
	}
	if _, body := fetch(t, r.of("web")[0], 8080); !strings.Contains(body, "two") {
		t.Errorf("answer %q", body)
	}
}

func TestUnknownImageIsRefusedAndTheRestRuns(t *testing.T) {
	unknown := strings.Replace(strings.ReplaceAll(deployment(1, "x"), "web", "db"), "buoyantio/bb:v0.0.6", "postgres:17", 1)
	r := newRig(t, deployment(1, "x")+"---"+unknown, nil)
	r.await("the other one is ready", r.ready("web", 1))
	r.await("a refusal", func() bool {
		return r.has(func(e Event) bool {
			return e.Kind == Refused && e.Owner == "deployment/db -n shop" && strings.Contains(e.Detail, `"postgres:17"`) &&
				strings.Contains(e.Detail, "buoyantio/bb, buoyantio/slow_cooker")
		})
	})
}

// A Deployment that becomes wrong keeps what it had, like everything else that
// a mistake in a manifest meets.
func TestMistakeLeavesWhatRuns(t *testing.T) {
	r := newRig(t, deployment(1, "x"), nil)
	r.await("ready", r.ready("web", 1))
	before := r.of("web")[0].Name
	r.apply(strings.Replace(deployment(1, "x"), "buoyantio/bb:v0.0.6", "postgres:17", 1))
	r.await("a refusal", func() bool { return r.has(func(e Event) bool { return e.Kind == Refused }) })
	if pods := r.of("web"); len(pods) != 1 || pods[0].Name != before || !pods[0].Ready {
		t.Errorf("after a mistake there is\n%s", r.state())
	}
}

func TestCrashIsShownAndRestarted(t *testing.T) {
	r := newRig(t, workload(`[/bin/sh, -c, "echo this is why; sleep 0.1; exit 3"]`, ""), nil)
	r.await("a crash with its last words", func() bool {
		return r.has(func(e Event) bool {
			return e.Kind == Crashed && e.Detail == "exit status 3" && slices.Contains(e.Lines, "this is why") && e.Restart == firstBackoff
		})
	})
	r.await("a second start", func() bool { return strings.Count(r.lines(), "] this is why") >= 2 })
	r.await("the restart is counted", func() bool {
		pods := r.of("own")
		return len(pods) == 1 && pods[0].Spec.Status.ContainerStatuses[0].RestartCount >= 1
	})
	r.await("a longer pause, and the words of that start only", func() bool {
		return r.has(func(e Event) bool {
			return e.Kind == Crashed && e.Restart == 2*firstBackoff && slices.Equal(e.Lines, []string{"this is why"})
		})
	})
}

// A program that listens elsewhere, or not at all, is told of.
func TestInstanceThatDoesNotBecomeReadyIsToldOf(t *testing.T) {
	r := newRig(t, workload(`[/bin/sh, -c, "sleep 100"]`, "  ports: [{port: 7070}]"), func(c *Config) { c.Patience = 100 * time.Millisecond })
	r.await("what it lacks", func() bool {
		return r.has(func(e Event) bool {
			return e.Kind == Waiting && strings.Contains(e.Detail, ":7070, where its program is told to listen")
		})
	})
}

// workload is a manifest with a command of the user's own.
func workload(command, rest string) string {
	return fmt.Sprintf(`
apiVersion: recloser.io/v1alpha1
kind: Workload
metadata: {name: own, namespace: shop, labels: {app: own}}
spec:
  command: %s
%s
`, command, rest)
}

func TestWorkloadIsToldWhereItIs(t *testing.T) {
	self := must(os.Executable())
	// The user's own program: here the built-in one, told its port by $(PORT).
	r := newRig(t, workload(fmt.Sprintf(`[%s, app, bb]`, self),
		"  args: [terminus, --h1-server-port=$(PORT), --response-text=$(WHO)]\n  env: [{name: WHO, value: me-$(PORT)}]\n  ports: [{port: 7070}]"), nil)
	r.await("ready", r.ready("own", 1))
	if status, body := fetch(t, r.of("own")[0], 7070); status != 200 || !strings.Contains(body, "me-7070") {
		t.Errorf("%d %q", status, body)
	}
	if kind := r.of("own")[0].WorkloadKind; kind != "Workload" {
		t.Errorf("its kind is %q", kind)
	}
}

func TestEnvironmentOfAProgram(t *testing.T) {
	script := "echo proxy=$HTTP_PROXY,$http_proxy,${NO_PROXY-unset} host=$HOSTNAME pod=$POD_NAME ns=$POD_NAMESPACE; sleep 100"
	t.Setenv("NO_PROXY", "somewhere")
	r := newRig(t, workload(`[/bin/sh, -c, `+fmt.Sprintf("%q", script)+`]`, ""), nil)
	r.await("it prints", func() bool { return strings.Contains(r.lines(), "ns=shop") })
	p := r.of("own")[0]
	proxy := "http://" + p.Spec.Status.PodIP + ":4140"
	want := fmt.Sprintf("proxy=%s,%s,unset host=%s pod=%s ns=shop", proxy, proxy, p.Name.Name, p.Name.Name)
	if !strings.Contains(r.lines(), want) {
		t.Errorf("printed %q, want %q", r.lines(), want)
	}
}

func TestDownwardEnvironment(t *testing.T) {
	manifest := strings.Replace(deployment(1, "$(ME) on $(AT)"), "        ports:", `        env:
        - {name: ME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: AT, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        ports:`, 1)
	r := newRig(t, manifest, nil)
	r.await("ready", r.ready("web", 1))
	p := r.of("web")[0]
	if _, body := fetch(t, p, 8080); !strings.Contains(body, p.Name.Name+" on "+p.Spec.Status.PodIP) {
		t.Errorf("answer %q", body)
	}
}

// Machines without 127.x have one address for all, and ports that are chosen.
func TestOneAddressForAll(t *testing.T) {
	r := newRig(t, deployment(2, "x"), func(c *Config) { c.OneAddress = true })
	r.await("two are ready", r.ready("web", 2))
	pods := r.of("web")
	if pods[0].AppAddress(8080) == pods[1].AppAddress(8080) || pods[0].Public(8080) == pods[1].Public(8080) {
		t.Errorf("two programs share a port: %v %v", pods[0].PortMap, pods[1].PortMap)
	}
	for _, p := range pods {
		if status, body := fetch(t, p, 8080); status != 200 || p.Spec.Status.PodIP != "127.0.0.1" {
			t.Errorf("%s: %d %q", p.Spec.Status.PodIP, status, body)
		}
	}
}

// Somebody who listens on a port of all addresses of the machine does not keep
// the instances from coming up.
func TestTakenPortIsMoved(t *testing.T) {
	ln, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := uint16(ln.Addr().(*net.TCPAddr).Port)
	r := newRig(t, strings.ReplaceAll(deployment(1, "x"), "8080", portNumber(port)), nil)
	r.await("ready", r.ready("web", 1))
	p := r.of("web")[0]
	if p.Public(port) == port {
		t.Errorf("port %d is somebody else's and was not moved", port)
	}
	if status, _ := fetch(t, p, port); status != 200 {
		t.Errorf("status %d", status)
	}
}

func TestExistingAddressGetsASidecar(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r := newRig(t, fmt.Sprintf(`
apiVersion: recloser.io/v1alpha1
kind: Workload
metadata: {name: own, namespace: shop, labels: {app: own}}
spec:
  addresses: ["%s"]
  ports: [{port: 80}]
  readiness: {periodSeconds: 1}
`, ln.Addr()), nil)
	r.await("ready", r.ready("own", 1))
	if got := r.of("own")[0].AppAddress(80); got != ln.Addr().String() {
		t.Errorf("the sidecar leads to %s, want %s", got, ln.Addr())
	}
	ln.Close()
	r.await("not ready any more", func() bool { pods := r.of("own"); return len(pods) == 1 && !pods[0].Ready })
}

// What a shell has started ends with it, even what does not want to.
func TestGrandchildrenEnd(t *testing.T) {
	script := `trap "" TERM; (trap "" TERM; echo child $$; sleep 1000) & wait; sleep 1000`
	r := newRig(t, workload(`[/bin/sh, -c, `+fmt.Sprintf("%q", script)+`]`, ""), func(c *Config) { c.HurryTime = 50 * time.Millisecond })
	r.await("it runs", func() bool { return strings.Contains(r.lines(), "child ") })
	pids := r.pids()
	r.end()
	for _, pid := range pids {
		if groupAlive(pid) {
			t.Errorf("process group %d outlived the mesh", pid)
		}
	}
}

// Somebody who does not want to wait: nothing is left all the same.
func TestKill(t *testing.T) {
	script := `trap "" TERM; (trap "" TERM; echo child $$; sleep 1000) & wait; sleep 1000`
	kill := make(chan struct{})
	r := newRig(t, workload(`[/bin/sh, -c, `+fmt.Sprintf("%q", script)+`]`, ""), func(c *Config) {
		c.HurryTime, c.Kill = time.Hour, kill
	})
	r.await("it runs", func() bool { return strings.Contains(r.lines(), "child ") })
	pids := r.pids()
	close(kill)
	r.end()
	for _, pid := range pids {
		if groupAlive(pid) {
			t.Errorf("process group %d outlived the mesh", pid)
		}
	}
}

func TestKnobsHealAProgramInPlace(t *testing.T) {
	r := newRig(t, strings.Replace(deployment(1, "x"), "terminus,", "terminus, --percent-failure=100,", 1), nil)
	r.await("ready", r.ready("web", 1))
	p := r.of("web")[0]
	if status, _ := fetch(t, p, 8080); status != 500 {
		t.Errorf("before: %d", status)
	}
	for _, in := range r.mesh.Instances() {
		if err := apps.TurnKnob(t.Context(), in.Knobs, "percent-failure", 0); err != nil {
			t.Fatal(err)
		}
	}
	if status, _ := fetch(t, p, 8080); status != 200 {
		t.Errorf("healed: %d", status)
	}
}

func TestBarePodIsRun(t *testing.T) {
	r := newRig(t, `
apiVersion: v1
kind: Pod
metadata: {name: once, namespace: shop}
spec:
  restartPolicy: Never
  containers:
  - {name: c, image: "buoyantio/bb:v0.0.6", command: [/bin/sh, -c, "echo done"]}
`, nil)
	r.await("it is done", func() bool {
		pods := r.of("once")
		return len(pods) == 1 && pods[0].Spec.Status.Phase == corev1.PodSucceeded
	})
	if n := strings.Count(r.lines(), "] done"); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

func TestSidecarThatDiesIsStartedAgain(t *testing.T) {
	r := newRig(t, deployment(1, "x"), nil)
	r.await("ready", r.ready("web", 1))
	in := r.mesh.list()[0]
	in.mu.Lock()
	pid := in.sidecar.pid
	in.mu.Unlock()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.await("its end is told", func() bool {
		return r.has(func(e Event) bool { return e.Kind == Crashed && e.Part == "sidecar" && e.Detail == "signal: killed" })
	})
	r.await("not ready without it", func() bool { return r.has(func(e Event) bool { return e.Kind == NotReady }) })
	r.await("ready again", r.ready("web", 1))
}

// Relative paths of a Workload start at the folder of its manifest.
func TestWorkloadStartsInTheFolderOfItsManifest(t *testing.T) {
	r := newRig(t, workload(`[/bin/sh, -c, "pwd; sleep 100"]`, "  workingDir: demo"), nil)
	want := filepath.Join(must(os.Getwd()), "demo")
	r.await("it prints where it is", func() bool { return strings.Contains(r.lines(), "] "+want+"\n") })
}
