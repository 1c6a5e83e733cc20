package local

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"syscall"
)

// processAttributes gives a child a process group of its own, so that Ctrl-C in
// the terminal reaches it only through us and its whole family can be ended,
// and has the kernel end it if we are killed.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// groupAlive tells whether a process group has a member that has not ended. A
// member that has ended stays in its group until its parent, or init in its
// stead, has asked how it ended, and that may take long, so kill(2) alone does
// not tell.
func groupAlive(pgid int) bool {
	if errors.Is(syscall.Kill(-pgid, 0), syscall.ESRCH) {
		return false
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return true // no /proc: what kill said stands
	}
	for _, e := range entries {
		if name := e.Name(); name[0] < '0' || name[0] > '9' {
			continue
		}
		if group, ended, ok := readStat("/proc/" + e.Name() + "/stat"); ok && group == pgid && !ended {
			return true
		}
	}
	return false
}

// readStat reads the process group of a /proc/PID/stat, and whether the process
// has ended: "PID (NAME) STATE PPID PGRP ..." (proc_pid_stat(5)). The name may
// have parentheses and spaces.
func readStat(file string) (group int, ended, ok bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false, false
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 3 {
		return 0, false, false
	}
	group, err = strconv.Atoi(string(fields[2]))
	state := fields[0][0]
	return group, state == 'Z' || state == 'X', err == nil
}
