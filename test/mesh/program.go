package mesh

import (
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Run starts a program and returns. It is asked to end when the test does; the
// test fails if the program has ended before, or ends with an error, and logs
// what it printed then.
func Run(t testing.TB, path string, args ...string) {
	t.Helper()
	name, log := filepath.Base(path), &output{}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("%s has ended by itself: %v", name, err)
		}
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if t.Failed() {
			t.Logf("%s:\n%s", name, log)
		}
	})
}
