package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// run calls the program as a shell would.
func run(t *testing.T, args ...string) (status int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	status = Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: &o, Err: &e})
	return status, o.String(), e.String()
}

func TestExitStatus(t *testing.T) {
	tests := []struct {
		name   string
		args   []string
		status int
		out    string // part of what is printed
		errOut string
	}{
		{name: "nothing asked shows help", status: ExitOK, out: "Available Commands:"},
		{name: "help", args: []string{"--help"}, status: ExitOK, out: "circuit breaker"},
		{name: "version", args: []string{"version"}, status: ExitOK, out: "recloser "},
		{name: "unknown command", args: []string{"verify"}, status: ExitUsage, errOut: `unknown command "verify"`},
		{name: "unknown flag", args: []string{"version", "--colour"}, status: ExitUsage, errOut: "unknown flag: --colour"},
		{name: "too many arguments", args: []string{"version", "now"}, status: ExitUsage, errOut: `"now"`},
		{name: "wrong flag value", args: []string{"version", "-o", "xml"}, status: ExitUsage, errOut: `--output "xml": allowed are text and json`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, out, errOut := run(t, tt.args...)
			if status != tt.status {
				t.Errorf("status = %d, want %d", status, tt.status)
			}
			if !strings.Contains(out, tt.out) {
				t.Errorf("stdout %q lacks %q", out, tt.out)
			}
			if !strings.Contains(errOut, tt.errOut) {
				t.Errorf("stderr %q lacks %q", errOut, tt.errOut)
			}
			if status == ExitOK && errOut != "" {
				t.Errorf("stderr = %q, want none on success", errOut)
			}
			if status == ExitUsage && !strings.Contains(errOut, "--help' for usage") {
				t.Errorf("stderr %q does not say where the usage is", errOut)
			}
		})
	}
}

// execute runs a made-up command below the shared behaviour of the real ones.
func execute(ctx context.Context, c *cobra.Command, args ...string) (status2 int, errOut string) {
	root := &cobra.Command{Use: "recloser", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(c)
	prepare(root)
	var o, e bytes.Buffer
	root.SetOut(&o)
	root.SetErr(&e)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return status(ctx, &e, cmd, err), e.String()
}

func TestErrorsOfACommandsWork(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name   string
		ctx    context.Context
		err    error
		status int
		errOut string
	}{
		{"none", t.Context(), nil, ExitOK, ""},
		{"failed", t.Context(), errors.New("no such service"), ExitError, "recloser: no such service\n"},
		{"reported", t.Context(), fmt.Errorf("lint: %w", errReported), ExitError, ""},
		{"usage", t.Context(), usagef("bad"), ExitUsage, "recloser: bad\nRun 'recloser x --help' for usage.\n"},
		{"interrupted", cancelled, fmt.Errorf("up: %w", context.Canceled), ExitError, "recloser: interrupted\n"},
		{"failed while interrupted", cancelled, errors.New("disk full"), ExitError, "recloser: disk full\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &cobra.Command{Use: "x", RunE: func(*cobra.Command, []string) error { return tt.err }}
			status, errOut := execute(tt.ctx, c, "x")
			if status != tt.status || errOut != tt.errOut {
				t.Errorf("got %d %q, want %d %q", status, errOut, tt.status, tt.errOut)
			}
		})
	}
}

func TestMissingFlagIsUsage(t *testing.T) {
	c := &cobra.Command{Use: "x", RunE: func(*cobra.Command, []string) error { return nil }}
	c.Flags().String("file", "", "")
	if err := c.MarkFlagRequired("file"); err != nil {
		t.Fatal(err)
	}
	if status, errOut := execute(t.Context(), c, "x"); status != ExitUsage || !strings.Contains(errOut, "file") {
		t.Errorf("got %d %q, want status %d naming the flag", status, errOut, ExitUsage)
	}
}

func TestGroupRefusesUnknownName(t *testing.T) {
	group := func() *cobra.Command {
		g := &cobra.Command{Use: "demo"}
		g.AddCommand(&cobra.Command{Use: "circuit-breaking", RunE: func(*cobra.Command, []string) error { return nil }})
		return g
	}
	tests := []struct {
		args   []string
		status int
		errOut string
	}{
		{[]string{"demo"}, ExitOK, ""},
		{[]string{"demo", "circuit-breaking"}, ExitOK, ""},
		{[]string{"demo", "circuit"}, ExitUsage, `did you mean "circuit-breaking"?`},
		{[]string{"demo", "nothing-like-it"}, ExitUsage, `unknown command "nothing-like-it" for "recloser demo"`},
	}
	for _, tt := range tests {
		status, errOut := execute(t.Context(), group(), tt.args...)
		if status != tt.status || !strings.Contains(errOut, tt.errOut) {
			t.Errorf("%v: got %d %q, want %d and %q", tt.args, status, errOut, tt.status, tt.errOut)
		}
	}
}

func TestReadVersion(t *testing.T) {
	bi := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	where := fmt.Sprintf(" (%s, %s/%s)", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef0123"}
	tests := []struct {
		name string
		bi   *debug.BuildInfo
		want string
	}{
		{"no build information", nil, "recloser devel"},
		{"working tree", bi("(devel)"), "recloser devel"},
		{"release", bi("v1.2.3"), "recloser v1.2.3"},
		{"revision", bi("(devel)", revision), "recloser devel 0123456789ab"},
		{"short revision", bi("", debug.BuildSetting{Key: "vcs.revision", Value: "01"}), "recloser devel 01"},
		{"changed", bi("", revision, debug.BuildSetting{Key: "vcs.modified", Value: "true"}), "recloser devel 0123456789ab+changes"},
	}
	for _, tt := range tests {
		if got := readVersion(tt.bi).String(); got != tt.want+where {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want+where)
		}
	}
}

func TestVersionJSON(t *testing.T) {
	_, out, _ := run(t, "version", "-o", "json")
	var v versionInfo
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatal(err)
	}
	if v.Go != runtime.Version() || v.Version == "" {
		t.Errorf("got %+v", v)
	}
}
