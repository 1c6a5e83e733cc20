package apps

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// console is a place to print to that several goroutines may share.
type console struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{} // closed and dropped when something is printed
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
	return c.buf.Write(p)
}

// await returns when text was printed.
func (c *console) await(t *testing.T, text string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		c.mu.Lock()
		printed := c.buf.String()
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		if strings.Contains(printed, text) {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("%q was not printed, but\n%s", text, printed)
		}
	}
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String()
}

// testEnv is an environment of the given variables, with consoles to look at.
func testEnv(vars map[string]string) (env Env, stdout, stderr *console) {
	stdout, stderr = &console{}, &console{}
	return Env{
		Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr,
		Getenv: func(k string) string { return vars[k] },
	}, stdout, stderr
}
