package perf

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startTimeout = 15 * time.Second // for a subject to answer its first request
	askTimeout   = 4 * time.Second  // for one attempt at that
	stopTimeout  = 5 * time.Second  // for a subject to end by itself
	pollInterval = 50 * time.Millisecond
)

// pinning puts the subject on one processor and all else on the others, where
// there are two and taskset is installed: the subject then does not compete
// with its own client, and cannot use what nginx with one worker could not.
type pinning struct {
	taskset string // path, "" where there is none
	cpus    int
}

func newPinning() pinning {
	path, err := exec.LookPath("taskset")
	if err != nil {
		path = ""
	}
	return pinning{taskset: path, cpus: runtime.NumCPU()}
}

func (p pinning) enabled() bool { return p.taskset != "" && p.cpus > 1 }

// place is where a process may run.
type place int

const (
	anywhere place = iota
	subjectCPU
	otherCPUs
)

// command puts argv in its place.
func (p pinning) command(where place, argv []string) []string {
	if !p.enabled() || where == anywhere {
		return argv
	}
	list := "0"
	if where == otherCPUs {
		list = "1-" + strconv.Itoa(p.cpus-1)
	}
	return append([]string{p.taskset, "-c", list}, argv...)
}

// A process is a program that answers on addr, with all the processes
// that it starts itself: they share a process group, which ends with it.
type process struct {
	name string
	addr string // HOST:PORT
	cmd  *exec.Cmd
	log  string // its output
	done chan struct{}
	err  error // how it ended; read after done
}

// An asker connects to addr, has one request answered as it should be, and
// returns the connection.
type asker func(ctx context.Context, addr string) (io.Closer, error)

// start runs argv until stop, or the end of ctx, and returns once it answers.
func start(ctx context.Context, name, dir, addr string, ask asker, argv, env []string) (*process, error) {
	p := &process{name: name, addr: addr, log: filepath.Join(dir, "output.log"), done: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own copy
	p.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Cancel = p.kill
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	if err := p.awaitAnswer(ctx, ask); err != nil {
		p.stop()
		return nil, fmt.Errorf("%s: %w%s", strings.Join(argv, " "), err, p.lastOutput())
	}
	return p, nil
}

// awaitAnswer returns when the process answers a request.
func (p *process) awaitAnswer(ctx context.Context, ask asker) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var last error
	for {
		attempt, done := context.WithTimeout(ctx, askTimeout)
		conn, err := ask(attempt, p.addr)
		done()
		if err == nil {
			return conn.Close()
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-p.done:
			return fmt.Errorf("ended before it answered: %w", errOf(p.err))
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w", errors.Join(ctx.Err(), last))
		case <-tick.C:
		}
	}
}

// errOf gives the end of a process without an error a name.
func errOf(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// lastOutput returns the end of what the process printed, on lines of its own.
func (p *process) lastOutput() string {
	const keep = 2000
	b, err := os.ReadFile(p.log)
	if err != nil || len(b) == 0 {
		return ""
	}
	return "\n" + strings.TrimSpace(string(b[max(0, len(b)-keep):]))
}

func (p *process) kill() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// stop ends the process and its children, and waits for it.
func (p *process) stop() {
	// Errors mean that it has ended already, which is what is wanted.
	_ = syscall.Kill(p.cmd.Process.Pid, syscall.SIGTERM)
	t := time.NewTimer(stopTimeout)
	defer t.Stop()
	select {
	case <-p.done:
	case <-t.C:
	}
	_ = p.kill()
	<-p.done
}

// askHTTP1 sends one request on a new connection and returns the connection
// when the whole answer, a 200, has been read.
func askHTTP1(ctx context.Context, addr string) (io.Closer, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := askOn(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// askOn does not use net/http's client, which would keep more about each
// connection than what is held idle should cost this process.
func askOn(ctx context.Context, conn net.Conn) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", authority); err != nil {
		return err
	}
	r := bufio.NewReaderSize(conn, 1024)
	status, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(status, "HTTP/1.1 200 ") {
		return fmt.Errorf("answer %q", strings.TrimSpace(status))
	}
	length := -1
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.ToLower(strings.TrimSpace(line))
		if line == "" {
			break
		}
		if v, ok := strings.CutPrefix(line, "content-length:"); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(v)); err != nil {
				return err
			}
		}
	}
	if length != len(answer) {
		return fmt.Errorf("content-length %d, the upstream's is %d", length, len(answer))
	}
	if _, err = io.CopyN(io.Discard, r, int64(length)); err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// openIdle opens n connections, each by ask.
func openIdle(ctx context.Context, addr string, n int, ask asker) (closeAll func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conns := make([]io.Closer, 0, n)
	closeAll = func() {
		for _, c := range conns {
			c.Close()
		}
	}
	for range n {
		c, err := ask(ctx, addr)
		if err != nil {
			closeAll()
			return nil, fmt.Errorf("idle connection %d: %w", len(conns)+1, err)
		}
		conns = append(conns, c)
	}
	return closeAll, nil
}
