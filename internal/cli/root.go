// Package cli is the command line of recloser, one file per command.
//
// A command here is thin: it reads flags and arguments, calls the room that
// does the work (internal/control, internal/local, internal/observe, ...) and
// prints what comes back. Commands print only to their command's own streams
// (cobra's OutOrStdout and ErrOrStderr), stop when their context ends, and
// report failure by returning an error; nothing in this package calls os.Exit
// or reads os.Args.
//
// Exit statuses are the same for every command: 0 done, 1 it was tried and
// failed, 2 it was asked for wrongly and nothing was tried.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// The exit statuses of Run.
const (
	ExitOK    = 0 // the command did what it was asked to
	ExitError = 1 // the command ran and failed
	ExitUsage = 2 // the command line was wrong; nothing ran
)

// Streams are where a command reads and writes.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// errReported is returned by a command that failed and has already told the
// user all there is to tell, such as lint after its findings: the exit status
// is 1 and nothing more is printed.
var errReported = errors.New("already reported")

// usageError is a mistake in how a command was called. Its exit status is 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usagef makes the error of a command that finds a flag or an argument wrong
// only once it runs.
func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// runError marks an error that came from a command's own work. What cobra
// returns unmarked happened before any command ran, so it is a usage error:
// an unknown command or flag, a wrong number of arguments, a missing flag.
type runError struct{ err error }

func (e *runError) Error() string { return e.err.Error() }
func (e *runError) Unwrap() error { return e.err }

// New returns the whole command tree, bound to the given streams.
func New(s Streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "recloser",
		Short: "A service mesh that opens on a fault, tries again by itself, and closes when the fault is gone",
		Long: `Recloser is a service mesh built around the circuit breaker: it keeps a
failure in one place small, tells you why it acted, and recovers by itself.

It reads the configuration that you have, on one machine or many.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.AddCommand(
		newControlCommand(),
		newLintCommand(),
		newPolicyCommand(),
		newProxyConfigCommand(),
		newConvertCommand(),
		newExplainCommand(),
		newRoutesCommand(),
		newStatCommand(),
		newBreakersCommand(),
		newEventsCommand(),
		newAnnotateCommand(),
		newBenchCommand(),
		newDemoCommand(),
		newUpCommand(),
		newAppCommand(),
		newVersionCommand(),
	)
	prepare(root)
	return root
}

// prepare gives every command below c the behaviour that all share: errors of
// its own work are marked, and a command that only groups others refuses a
// name that it does not have instead of printing its help and succeeding.
func prepare(c *cobra.Command) {
	for _, sub := range c.Commands() {
		prepare(sub)
	}
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			if err := run(cmd, args); err != nil {
				return &runError{err}
			}
			return nil
		}
		return
	}
	if !c.Runnable() && c.HasSubCommands() && c.HasParent() {
		c.RunE = runGroup
	}
}

// runGroup is the work of a command that has sub-commands and none of its own.
func runGroup(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return unknownCommand(cmd, args[0])
}

func unknownCommand(cmd *cobra.Command, name string) error {
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return usagef("unknown command %q for %q; did you mean %q?", name, cmd.CommandPath(), near[0])
	}
	return usagef("unknown command %q for %q", name, cmd.CommandPath())
}

// Run runs one command line (without the program's name) and returns the exit
// status. It returns when the command has ended; the end of ctx asks the
// command to end.
func Run(ctx context.Context, args []string, s Streams) int {
	root := New(s)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return status(ctx, s.Err, cmd, err)
}

// status prints what err has to say and picks the exit status.
func status(ctx context.Context, w io.Writer, cmd *cobra.Command, err error) int {
	var usage *usageError
	var run *runError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &usage), !errors.As(err, &run):
		fmt.Fprintf(w, "recloser: %v\nRun '%s --help' for usage.\n", err, cmd.CommandPath())
		return ExitUsage
	case errors.Is(err, errReported):
		return ExitError
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		fmt.Fprintln(w, "recloser: interrupted")
		return ExitError
	default:
		fmt.Fprintf(w, "recloser: %v\n", err)
		return ExitError
	}
}
