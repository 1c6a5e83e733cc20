package local

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/reclosermesh/recloser/internal/lab/apps"
)

// TestMain lets the test binary play the parts of the programs that the mesh
// starts: `TEST app NAME ARGS...` as recloser does, and, when it is called
// through a link of that name, the sidecar that sidecar_test.go describes.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "app" {
		os.Exit(playApp(os.Args[2], os.Args[3:]))
	}
	if len(os.Args) > 1 && os.Args[1] == "--xds" {
		os.Exit(playSidecar(os.Args[1:]))
	}
	dir, err := os.MkdirTemp("", "recloser-binaries-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binaries.dir = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

func playApp(name string, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := apps.EndWithParent(os.Getenv); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := apps.Run(ctx, name, args, apps.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
