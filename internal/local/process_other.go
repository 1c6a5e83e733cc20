//go:build !linux

package local

import (
	"errors"
	"syscall"
)

// processAttributes gives a child a process group of its own, so that Ctrl-C in
// the terminal reaches it only through us and its whole family can be ended.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// groupAlive tells whether a process group has a member.
func groupAlive(pgid int) bool {
	return !errors.Is(syscall.Kill(-pgid, 0), syscall.ESRCH)
}
