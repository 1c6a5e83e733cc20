package perf

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// Memory is what a process and its children hold, in bytes.
type Memory struct {
	// Private is memory that no file backs (the kernel's Pss_Anon and
	// Pss_Shmem): heap, stacks, written data. It is what one more process of
	// the program costs. RSS counts all that is resident, program text and
	// libraries among them, which are in memory once however many processes
	// there are. Private_Dirty would not do: it counts the text of a program
	// that has just been built until the kernel has written that to disk.
	Private int64 `json:"private"`
	RSS     int64 `json:"rss"`
}

// userHZ is the unit of the times in /proc/PID/stat: 100 per second on every
// system that Go supports, whatever the kernel's own tick (proc(5), sysconf).
const userHZ = 100

// usage is what a group of processes has used and holds.
type usage struct {
	cpu    time.Duration // user and system time since they began
	memory Memory
}

// usage reads the process's whole group: nginx works in a child.
func (p *process) usage() (usage, error) {
	return groupUsage(os.DirFS("/proc"), p.cmd.Process.Pid)
}

// groupUsage sums over the processes of group pgrp below proc.
func groupUsage(proc fs.FS, pgrp int) (usage, error) {
	entries, err := fs.ReadDir(proc, ".")
	if err != nil {
		return usage{}, err
	}
	var sum usage
	found := false
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		b, err := fs.ReadFile(proc, path.Join(e.Name(), "stat"))
		if err != nil {
			continue // it has ended meanwhile
		}
		group, cpu, err := parseStat(b)
		if err != nil {
			return usage{}, fmt.Errorf("process %s: %w", e.Name(), err)
		}
		if group != pgrp {
			continue
		}
		m, err := readMemory(proc, e.Name())
		if err != nil {
			return usage{}, fmt.Errorf("process %s: %w", e.Name(), err)
		}
		found = true
		sum.cpu += cpu
		sum.memory.Private += m.Private
		sum.memory.RSS += m.RSS
	}
	if !found {
		return usage{}, fmt.Errorf("process group %d: no process", pgrp)
	}
	return sum, nil
}

// parseStat reads the process group and the processor time from
// /proc/PID/stat, proc(5): fields 5, 14 and 15. The second field is the
// program's name in parentheses and may hold anything, so fields are counted
// from the last closing one.
func parseStat(b []byte) (pgrp int, cpu time.Duration, err error) {
	i := bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[i+1:])) // f[0] is field 3
	if i < 0 || len(f) < 13 {
		return 0, 0, fmt.Errorf("stat %q is not of proc(5)'s form", b)
	}
	if pgrp, err = strconv.Atoi(f[2]); err != nil {
		return 0, 0, fmt.Errorf("stat: %w", err)
	}
	for _, field := range f[11:13] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("stat: %w", err)
		}
		cpu += time.Duration(ticks) * (time.Second / userHZ)
	}
	return pgrp, cpu, nil
}

func readMemory(proc fs.FS, pid string) (Memory, error) {
	b, err := fs.ReadFile(proc, path.Join(pid, "smaps_rollup"))
	if err != nil {
		return Memory{}, err
	}
	return parseRollup(b)
}

// parseRollup reads /proc/PID/smaps_rollup, proc(5).
func parseRollup(b []byte) (Memory, error) {
	var m Memory
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		kb, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return Memory{}, fmt.Errorf("smaps_rollup: %w", err)
		}
		switch f[0] {
		case "Rss:":
			m.RSS += kb * 1024
		case "Pss_Anon:", "Pss_Shmem:":
			m.Private += kb * 1024
		}
	}
	if m.RSS == 0 {
		return Memory{}, fmt.Errorf("smaps_rollup %q has no Rss", first(string(b)))
	}
	return m, lines.Err()
}

// settledMemory reads the memory once it has stopped growing: when it has not
// gone up by a hundredth for a second, or after ten.
func (p *process) settledMemory(ctx context.Context) (Memory, error) {
	const still, atMost = 20, 200 // polls of pollInterval
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var high int64
	for n, quiet := 0, 0; ; n++ {
		u, err := p.usage()
		if err != nil {
			return Memory{}, err
		}
		if u.memory.Private > high+high/100 {
			high, quiet = u.memory.Private, 0
		} else {
			quiet++
		}
		if quiet >= still || n >= atMost {
			return u.memory, nil
		}
		select {
		case <-ctx.Done():
			return Memory{}, ctx.Err()
		case <-tick.C:
		}
	}
}
