// Command recloser is the control plane, the command line for people, the
// laptop mesh and the proof tools of the mesh, as sub-commands. The data plane
// is a program of its own: recloser-proxy.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/reclosermesh/recloser/internal/cli"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal asks the command to end in good order; from then on
	// signals do what they always do, so that a second Ctrl-C ends it at once.
	context.AfterFunc(ctx, stop)
	return cli.Run(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
}
