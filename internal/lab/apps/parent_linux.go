package apps

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// EndWithParent asks the kernel to end this process when the one that started
// it ends, if EnvEndWithParent is set. A program that a shell script of an
// instance starts is a grandchild of the laptop mesh, and only this ends it
// when the mesh itself is killed.
func EndWithParent(getenv func(string) string) error {
	if getenv(EnvEndWithParent) == "" {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("%s: %w", EnvEndWithParent, err)
	}
	return nil
}
