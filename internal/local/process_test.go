package local

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// launcherRig runs single commands.
type launcherRig struct{ t *testing.T }

// with calls f with a launcher that runs.
func (r *launcherRig) with(f func(ctx context.Context, l *launcher)) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	var wg sync.WaitGroup
	l := newLauncher(nil)
	wg.Go(func() { l.run(ctx) })
	f(ctx, l)
	cancel()
	wg.Wait()
}

// run runs a command to its end and returns what it printed.
func (r *launcherRig) run(c command) (lines []string) {
	r.t.Helper()
	r.with(func(ctx context.Context, l *launcher) {
		out := &output{console: &console{}}
		p, err := l.start(ctx, c, out)
		if err != nil {
			r.t.Fatal(err)
		}
		<-p.ended
		lines = out.last(keptLines)
	})
	return lines
}

func sh(script string) command {
	return command{path: "/bin/sh", args: []string{"-c", script}, dir: "/"}
}

func TestProcessEnd(t *testing.T) {
	r := &launcherRig{t: t}
	r.with(func(ctx context.Context, l *launcher) {
		for script, want := range map[string]string{"exit 0": "exit status 0", "exit 4": "exit status 4", "kill -9 $$": "signal: killed"} {
			p, err := l.start(ctx, sh(script), &output{console: &console{}})
			if err != nil {
				t.Fatal(err)
			}
			<-p.ended
			if p.status != want || p.ok != (script == "exit 0") {
				t.Errorf("%s: %q ok=%v", script, p.status, p.ok)
			}
		}
		if _, err := l.start(ctx, command{path: "/no/such"}, &output{console: &console{}}); err == nil {
			t.Error("a program that is not there was started")
		}
	})
}

// A shell ends at once on SIGTERM; what it runs is given its time all the same.
func TestStopWaitsForTheWholeGroup(t *testing.T) {
	r := &launcherRig{t: t}
	r.with(func(ctx context.Context, l *launcher) {
		out := &output{console: &console{}}
		p, err := l.start(ctx, sh(`sh -c 'trap "sleep 0.3; echo finished; exit" TERM; echo up; while :; do sleep 0.05; done'; :`), out)
		if err != nil {
			t.Fatal(err)
		}
		for len(out.last(1)) == 0 {
			if !sleep(t.Context(), time.Millisecond) {
				return
			}
		}
		p.stop(20*time.Second, nil)
		if got := out.last(1); !slices.Equal(got, []string{"finished"}) {
			t.Errorf("it said %q", got)
		}
		if groupAlive(p.cmd.Process.Pid) {
			t.Error("something of it is left")
		}
	})
}

// What a program leaves behind when it ends is ended.
func TestLeftOversAreEnded(t *testing.T) {
	r := &launcherRig{t: t}
	r.with(func(ctx context.Context, l *launcher) {
		p, err := l.start(ctx, sh("sleep 1000 & exit 0"), &output{console: &console{}})
		if err != nil {
			t.Fatal(err)
		}
		<-p.ended
		if groupAlive(p.cmd.Process.Pid) {
			t.Error("it left a process behind")
		}
	})
}

func TestOutput(t *testing.T) {
	var shown bytes.Buffer
	o := &output{console: &console{out: &shown}, prefix: "[p] "}
	fmt.Fprint(o, "one\ntw")
	fmt.Fprint(o, "o\r\n")
	fmt.Fprint(o, strings.Repeat("x", maxLineLen+10)+"\n")
	fmt.Fprint(o, "end")
	o.flush()
	want := []string{"one", "two", strings.Repeat("x", maxLineLen), strings.Repeat("x", 10), "end"}
	if got := o.last(10); !slices.Equal(got, want) {
		t.Errorf("kept %q", got)
	}
	if got, want := shown.String(), "[p] "+strings.Join(want, "\n[p] ")+"\n"; got != want {
		t.Errorf("shown %q", got)
	}
	for i := range 3 * keptLines {
		fmt.Fprintln(o, i)
	}
	if got := o.last(keptLines + 1); len(got) != keptLines || got[len(got)-1] != fmt.Sprint(3*keptLines-1) || got[0] != fmt.Sprint(2*keptLines) {
		t.Errorf("of many lines %d are kept, %q to %q", len(got), got[0], got[len(got)-1])
	}
}
