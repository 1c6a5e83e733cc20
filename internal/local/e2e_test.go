package local

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// build compiles a program of this module, with the race detector when the
// tests have it, and returns its path. Each is compiled once.
func build(t *testing.T, name string) string {
	t.Helper()
	binaries.mu.Lock()
	defer binaries.mu.Unlock()
	file := filepath.Join(binaries.dir, name)
	if _, err := os.Stat(file); err == nil {
		return file
	}
	args := []string{"build", "-o", file}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, "github.com/reclosermesh/recloser/cmd/"+name)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", name, err, out)
	}
	return file
}

// binaries is where build puts them; TestMain makes and removes the folder.
var binaries struct {
	mu  sync.Mutex
	dir string
}

// wholeMesh is a mesh of real parts: control plane, observer, proxies.
type wholeMesh struct {
	t    *testing.T
	up   *Up
	file string // the manifest
	end  func()
	log  *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newWholeMesh(t *testing.T, manifest string, change func(*UpConfig)) *wholeMesh {
	t.Helper()
	m := &wholeMesh{t: t, file: filepath.Join(t.TempDir(), "manifest.yaml"), log: &syncBuffer{}}
	m.write(manifest)
	cfg := UpConfig{
		Paths: []string{m.file}, HTTPAddress: "127.0.0.1:0",
		ProxyPath: build(t, "recloser-proxy"), RecloserPath: must(os.Executable()),
		Output: m.log, Logger: slog.New(slog.NewTextHandler(m.log, nil)),
		Notify: func(e Event) { fmt.Fprintln(m.log, e) },
	}
	if change != nil {
		change(&cfg)
	}
	m.up = must(NewUp(cfg))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.up.Run(ctx) }()
	m.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the mesh ended with %v\n%s", err, m.log)
		}
	})
	t.Cleanup(m.end)
	limit, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	select {
	case <-m.up.Started():
	case err := <-done:
		done <- err
		t.Fatalf("the mesh did not start: %v\n%s", err, m.log)
	}
	if !m.up.Mesh.AwaitReady(limit) {
		t.Fatalf("the instances did not become ready\n%s", m.log)
	}
	return m
}

// write replaces the manifest as editors do: another file is renamed over it.
func (m *wholeMesh) write(manifest string) {
	m.t.Helper()
	temp := m.file + ".new"
	if err := os.WriteFile(temp, []byte(manifest), 0o600); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(temp, m.file); err != nil {
		m.t.Fatal(err)
	}
}

// instance is the one that serves of a workload.
func (m *wholeMesh) instance(workload string) Instance {
	m.t.Helper()
	for _, in := range m.up.Mesh.Instances() {
		if in.Workload == workload && in.Ready {
			return in
		}
	}
	m.t.Fatalf("%s has no instance that serves\n%s", workload, m.log)
	return Instance{}
}

// client calls as a program of the instance would: through its sidecar.
func (m *wholeMesh) client(in Instance) *http.Client {
	tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: in.Outbound.String()})}
	m.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

type answer struct {
	status int
	body   string
	reason string // of the proxy's own answers
}

func ask(t *testing.T, c *http.Client, url string) answer {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, string(body), resp.Header.Get("Recloser-Reason")}
}

// askUntil repeats a call until it has been answered as wanted.
func askUntil(t *testing.T, c *http.Client, url, what string, wanted func(answer) bool) {
	t.Helper()
	var last answer
	for range 2000 {
		if last = ask(t, c, url); wanted(last) {
			return
		}
	}
	t.Fatalf("%s: not within 2000 calls; the last answer was %+v", what, last)
}

func TestTutorialEndToEnd(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	manifest := string(must(os.ReadFile("demo/circuit-breaking.yaml")))
	gateway := must(ParseGateway(strings.TrimPrefix(freePortOf(t), "127.0.0.1:") + "=bb:8080"))
	m := newWholeMesh(t, manifest, func(c *UpConfig) { c.Gateways = []Gateway{gateway} })

	good, bad, cooker := m.instance("good"), m.instance("bad"), m.instance("slow-cooker")
	caller := m.client(cooker)
	for name, c := range map[string]*http.Client{"slow-cooker": caller, "good": m.client(good)} {
		for _, want := range []int{200, 500} {
			askUntil(t, c, "http://bb:8080/", fmt.Sprintf("%s gets a %d", name, want), func(a answer) bool { return a.status == want })
		}
	}
	for _, host := range []string{"bb.circuit-breaking-demo:8080", "bb.circuit-breaking-demo.svc.cluster.local:8080"} {
		if a := ask(t, caller, "http://"+host+"/"); a.reason != "" {
			t.Errorf("%s: %+v", host, a)
		}
	}
	if a := ask(t, caller, "http://nobody:8080/"); a.status != 404 || a.reason == "" {
		t.Errorf("a service that does not exist: %+v", a)
	}
	direct := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if a := ask(t, direct, "http://"+good.Public[0].String()); a.status != 200 {
		t.Errorf("good, at its public address: %+v", a)
	}
	if a := ask(t, direct, "http://"+bad.Public[0].String()); a.status != 500 || !strings.Contains(a.body, "injected") {
		t.Errorf("bad, at its public address: %+v", a)
	}
	awaitPublished(t, direct, gateway)

	// One annotation on disk: the breaker opens, and until then and from then on
	// every failure is the endpoint's own.
	m.write(strings.Replace(manifest, "  name: bb\n", "  name: bb\n  annotations:\n    balancer.linkerd.io/failure-accrual: consecutive\n", 1))
	inARow := 0
	askUntil(t, caller, "http://bb:8080/", "100 successes in a row", func(a answer) bool {
		if a.status != 200 && (a.status != 500 || !strings.Contains(a.body, "injected") || a.reason != "") {
			t.Fatalf("a failure that is not the endpoint's: %+v", a)
		}
		if inARow++; a.status != 200 {
			inARow = 0
		}
		return inARow == 100
	})

	pids := m.pids()
	m.end()
	for _, pid := range pids {
		if groupAlive(pid) {
			t.Errorf("process group %d outlived the mesh", pid)
		}
	}
}

// awaitPublished calls a published port until it answers for the service: its
// proxy is no instance that AwaitReady would wait for.
func awaitPublished(t *testing.T, c *http.Client, g Gateway) {
	t.Helper()
	for range 600 {
		resp, err := c.Get("http://" + g.Listen.String() + "/")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == 200 {
				return
			}
		}
		if !sleep(t.Context(), eagerPeriod) {
			break
		}
	}
	t.Errorf("%s does not answer", g)
}

func (m *wholeMesh) pids() (pids []int) {
	for _, in := range m.up.Mesh.Instances() {
		pids = append(pids, in.PIDs...)
	}
	return pids
}

// A new template replaces all instances under load, and no call fails.
func TestReplacementLosesNothing(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	const service = `
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: recloser.io/v1alpha1
kind: Workload
metadata: {name: caller, namespace: shop}
spec: {command: [/bin/sleep, "1000"]}
`
	m := newWholeMesh(t, deployment(2, "one")+service, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	bodies := make(chan answer, 1)
	var callers sync.WaitGroup
	for range 4 {
		c := m.client(m.instance("caller"))
		callers.Go(func() {
			for ctx.Err() == nil {
				a := ask(t, c, "http://web/")
				select {
				case bodies <- a:
				case <-ctx.Done():
				}
			}
		})
	}
	next := func(text string, n int) {
		t.Helper()
		for seen := 0; seen < n; {
			a := <-bodies
			if a.status != 200 {
				cancel()
				callers.Wait()
				t.Fatalf("a call failed: %+v\n%s", a, m.log)
			}
			if seen++; !strings.Contains(a.body, text) {
				seen = 0
			}
		}
	}
	next("one", 10)
	m.write(deployment(2, "two") + service)
	next("two", 200)
	for len(m.up.Mesh.Instances()) > 3 {
		next("two", 50)
	}
	cancel()
	callers.Wait()
}

// Ctrl-C on the real program: the terminal signals its process group once.
func TestCtrlCLeavesNothingBehind(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc to look for processes in")
	}
	state := filepath.Join(t.TempDir(), "state")
	cmd := exec.CommandContext(t.Context(), build(t, "recloser"), "up", "-f", "demo/circuit-breaking.yaml",
		"--proxy", build(t, "recloser-proxy"), "--http-address", "127.0.0.1:0", "--state", state)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var all syncBuffer
	cmd.Stderr = &all
	stdout := must(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan bool, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			fmt.Fprintln(&all, lines.Text())
			if strings.HasPrefix(lines.Text(), "Look at it") {
				ready <- true
			}
		}
	}()
	select {
	case <-ready:
	case <-read:
	}
	if n := len(processesOf(state)); n < 6 {
		t.Errorf("%d processes run, want three programs and three sidecars\n%s", n, &all)
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-read
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, &all)
	}
	if left := processesOf(state); len(left) > 0 {
		t.Errorf("left behind: %v\n%s", left, &all)
	}
	if !strings.Contains(all.String(), "All that was started has ended.") {
		t.Errorf("it said\n%s", &all)
	}
}

// processesOf lists the processes whose environment or command line names a
// folder, as all programs and sidecars of a mesh with that state folder do.
func processesOf(folder string) (found []string) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		cwd, _ := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		environ, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if strings.HasPrefix(cwd, folder) || bytes.Contains(environ, []byte(folder)) {
			cmdline, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
			found = append(found, e.Name()+" "+string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		}
	}
	return found
}

func TestTakenHTTPPortIsTold(t *testing.T) {
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	defer ln.Close()
	file := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	self := must(os.Executable())
	up := must(NewUp(UpConfig{Paths: []string{file}, HTTPAddress: ln.Addr().String(), ProxyPath: self, RecloserPath: self}))
	if err := up.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--http-address") {
		t.Errorf("%v", err)
	}
}
