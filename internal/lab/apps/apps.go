// Package apps is the sample programs that are built into recloser: the
// workloads of the tutorials that people try a mesh with, so that a tutorial's
// manifest runs as it is on a machine without a container engine.
//
// A program here takes the flags of the original, answers and prints in the
// original's format, and is a program of its own: it is started as a process
// (`recloser app NAME ARGS...`) and speaks HTTP over real sockets. What the
// container would have given it comes by environment:
//
//   - RECLOSER_APP_ADDRESS: the address to bind, default 0.0.0.0.
//   - RECLOSER_APP_PORTS: "8080=41002,9090=41003", other ports to bind in the
//     place of those that the arguments name; empty on machines where each
//     instance has an address of its own.
//   - RECLOSER_LAB_CONTROL: where to serve the knobs (see ServeKnobs), so that
//     a demonstration can break and heal a program in place.
//   - HTTP_PROXY, HTTPS_PROXY, NO_PROXY and their lower-case forms: where
//     outgoing requests go, usually the instance's own sidecar.
//
// Nothing here keeps state between runs, and every program returns when its
// context ends and what it had in hand is done. The programs are samples: they
// serve with net/http, which the data plane does not.
package apps

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// Env is what a program gets from outside beside its arguments.
type Env struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// Getenv reads one environment variable; empty when it is not set.
	Getenv func(key string) string
}

// Program is one built-in sample program.
type Program struct {
	Name    string // as in `recloser app NAME`
	Summary string // one line
	// Run runs the program and returns when it has ended: nil when it did what
	// it was asked to or when ctx asked it to end, a *UsageError when the
	// arguments are wrong.
	Run func(ctx context.Context, args []string, env Env) error
}

// Programs returns all built-in programs, sorted by name.
func Programs() []Program {
	return []Program{
		{Name: "bb", Summary: "Building block of a service graph: answers, passes on, or fails requests", Run: runBB},
		{Name: "echo", Summary: "Answers with what was asked, and by whom it was answered", Run: runEcho},
		{Name: "slow_cooker", Summary: "Steady load with a report line per interval", Run: runSlowCooker},
	}
}

// UsageError is a mistake in the arguments of a program: nothing was tried.
type UsageError struct {
	Program string
	Err     error
}

func (e *UsageError) Error() string { return e.Program + ": " + e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Run runs the named program. The name that no program has is a *UsageError
// that says which names there are.
func Run(ctx context.Context, name string, args []string, env Env) error {
	programs := Programs()
	i := slices.IndexFunc(programs, func(p Program) bool { return p.Name == name })
	if i < 0 {
		names := make([]string, len(programs))
		for j, p := range programs {
			names[j] = p.Name
		}
		return &UsageError{"app", fmt.Errorf("no built-in program %q; there are %s", name, strings.Join(names, ", "))}
	}
	return programs[i].Run(ctx, args, env)
}

// proxyFromEnv picks the proxy of a request by the usual variables of env. The
// standard library's own reader keeps the first environment that it saw for
// the life of the process; this one reads the environment that it is given.
func proxyFromEnv(getenv func(string) string) func(*http.Request) (*url.URL, error) {
	either := func(name string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return getenv(strings.ToLower(name))
	}
	cfg := httpproxy.Config{
		HTTPProxy:  either("HTTP_PROXY"),
		HTTPSProxy: either("HTTPS_PROXY"),
		NoProxy:    either("NO_PROXY"),
	}
	pick := cfg.ProxyFunc()
	return func(r *http.Request) (*url.URL, error) { return pick(r.URL) }
}
