package mesh

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A Proxy is a recloser-proxy that runs.
type Proxy struct {
	Admin string // HOST:PORT of its admin port

	t     testing.TB
	file  string // its resources
	cmd   *exec.Cmd
	log   output
	told  bool // to end
	ended chan struct{}
	err   error // of Wait; read after ended
}

// Start starts a proxy and returns when it is ready. It ends with the test, and
// what it printed is logged if the test fails.
func Start(t testing.TB, cfg Config, args ...string) *Proxy {
	t.Helper()
	p := &Proxy{
		t: t, Admin: FreeAddress(t), ended: make(chan struct{}),
		file: filepath.Join(t.TempDir(), "resources.json"),
	}
	p.write(cfg)
	argv := append([]string{"--resources", p.file, "--admin", p.Admin, "--log-level", "warn"}, args...)
	p.cmd = exec.Command(Binary(t), argv...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		if !p.Running() && !p.told {
			t.Errorf("recloser-proxy has ended by itself: %v", p.err)
		}
		p.Kill()
		if strings.Contains(p.Log(), "DATA RACE") { // where it was built to look
			t.Error("recloser-proxy has a data race")
		}
		if t.Failed() {
			t.Logf("recloser-proxy %s:\n%s", strings.Join(argv, " "), p.Log())
		}
	})
	p.untilReady()
	return p
}

// Reload gives the proxy another configuration. It returns before that is in
// force.
func (p *Proxy) Reload(cfg Config) {
	p.t.Helper()
	p.write(cfg)
}

// write replaces the file at once, as a deployment tool does.
func (p *Proxy) write(cfg Config) {
	p.t.Helper()
	text, err := cfg.Render()
	if err != nil {
		p.t.Fatal(err)
	}
	tmp := p.file + ".new"
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(tmp, p.file); err != nil {
		p.t.Fatal(err)
	}
}

// untilReady waits for the proxy's own word. A proxy that has not heard of any
// listener is not ready, so that an early question gets no early answer.
func (p *Proxy) untilReady() {
	p.t.Helper()
	Until(p.t, "recloser-proxy to be ready", func() error {
		select {
		case <-p.ended:
			p.t.Fatalf("recloser-proxy ended: %v\n%s", p.err, p.Log())
		default:
		}
		_, err := p.Get("/ready")
		return err
	})
}

// Get asks the admin port; an answer that is not 200 is an error.
func (p *Proxy) Get(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Admin+path, nil)
	if err != nil {
		return "", err
	}
	req.Close = true
	res, err := admin.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %s", path, res.Status, bytes.TrimSpace(body))
	}
	return string(body), nil
}

// admin keeps no connections.
var admin = &http.Transport{DisableKeepAlives: true}

// PID of the process.
func (p *Proxy) PID() int { return p.cmd.Process.Pid }

// Log returns what the proxy printed.
func (p *Proxy) Log() string { return p.log.String() }

// Running tells whether the process has not ended.
func (p *Proxy) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Terminate asks the proxy to end in peace, and does not wait.
func (p *Proxy) Terminate() {
	p.t.Helper()
	p.told = true
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// Wait waits for the proxy's end and returns what it ended with.
func (p *Proxy) Wait() error {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.err
	case <-time.After(Patience):
		p.t.Fatal("recloser-proxy does not end")
		return nil
	}
}

// Kill ends the process at once.
func (p *Proxy) Kill() {
	p.told = true
	_ = p.cmd.Process.Kill() // an error: it has ended
	<-p.ended
}

// output is the text of a process, which may be read while it is written.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
