package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// command is a program to run.
type command struct {
	path string   // of the executable, or a bare name to look up in PATH of env
	args []string // without the program's own name
	env  []string
	dir  string
}

// launcher starts processes. It does so from one thread that lives as long as
// the launcher: on Linux a child is told to die with the thread that started it
// (PR_SET_PDEATHSIG), and a thread of the Go runtime's pool may end at any time.
type launcher struct {
	requests chan launch
	// kill is closed when what is asked to end shall be killed at once; nil:
	// never.
	kill <-chan struct{}
}

type launch struct {
	cmd   *exec.Cmd
	reply chan error
}

func newLauncher(kill <-chan struct{}) *launcher {
	return &launcher{requests: make(chan launch), kill: kill}
}

// run serves until ctx ends. Processes that are alive then are killed by the
// kernel where it can do that, so it must end after them.
func (l *launcher) run(ctx context.Context) {
	runtime.LockOSThread() // never unlocked: the thread ends with the launcher
	for {
		select {
		case r := <-l.requests:
			r.reply <- r.cmd.Start()
		case <-ctx.Done():
			return
		}
	}
}

// process is a running child and all that it started, as one process group.
type process struct {
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the child has ended and its output was read
	status string        // how it ended, set before ended is closed
	ok     bool          // it ended with status 0, likewise

	patience atomic.Int64 // how long what is left of the group may go on after the child's own end, ns
}

// errLauncherEnded is returned when a process is asked for while all end.
var errLauncherEnded = errors.New("the mesh is ending")

// start runs c with its output going to out.
func (l *launcher) start(ctx context.Context, c command, out *output) (*process, error) {
	cmd := exec.Command(c.path, c.args...) //nolint:noctx // it is ended by process.stop, as a group
	cmd.Env, cmd.Dir = c.env, c.dir
	cmd.SysProcAttr = processAttributes()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = w, w
	request := launch{cmd, make(chan error, 1)}
	select {
	case l.requests <- request:
		err = <-request.reply
	case <-ctx.Done():
		err = errLauncherEnded
	}
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go p.wait(r, out)
	return p, nil
}

// leftOver is how long a program's group is waited for after it was killed, and
// how long its output is read on then: a descendant that left the group may
// hold the pipe.
const leftOver = time.Second

// wait collects the child's end and output.
func (p *process) wait(r *os.File, out *output) {
	defer close(p.ended)
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.CopyBuffer(out, struct{ io.Reader }{r}, make([]byte, outputPatch))
	}()
	err := p.cmd.Wait()
	p.ok = err == nil
	p.status = exitStatus(p.cmd, err)
	p.awaitGroup(time.Duration(p.patience.Load()))
	p.signal(syscall.SIGKILL) // what the program has left behind
	p.awaitGroup(leftOver)
	limit := time.AfterFunc(leftOver, func() { r.Close() })
	<-read
	if limit.Stop() {
		r.Close()
	}
	out.flush()
}

func exitStatus(cmd *exec.Cmd, err error) string {
	if cmd.ProcessState == nil {
		return fmt.Sprint(err)
	}
	return cmd.ProcessState.String()
}

// signal sends sig to the whole process group. A group that has ended is no
// error.
func (p *process) signal(sig syscall.Signal) {
	_ = syscall.Kill(-p.cmd.Process.Pid, sig)
}

// groupPoll is how often a group whose first process has ended is looked at:
// the kernel tells a parent of its own children only.
const groupPoll = 20 * time.Millisecond

// awaitGroup waits until nothing is left of the group, at most for limit.
func (p *process) awaitGroup(limit time.Duration) {
	tick := time.NewTicker(groupPoll)
	defer tick.Stop()
	for end := time.Now().Add(limit); time.Now().Before(end); <-tick.C {
		if !groupAlive(p.cmd.Process.Pid) {
			return
		}
	}
}

// stop asks the whole group to end, kills what is left of it after grace or when
// kill is closed, and returns when the group has ended. A shell ends at once while what it runs
// may need its time, so the group is waited for and not the child alone.
func (p *process) stop(grace time.Duration, kill <-chan struct{}) {
	p.patience.Store(int64(grace))
	p.signal(syscall.SIGTERM)
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.ended:
		return
	case <-kill:
	case <-t.C:
	}
	p.signal(syscall.SIGKILL)
	<-p.ended
}
