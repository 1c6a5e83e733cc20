package perf

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Report is all that a run found: what is printed and every round behind it.
type Report struct {
	Time        time.Time         `json:"time"`
	Machine     Machine           `json:"machine"`
	Rounds      int               `json:"rounds"`
	Seconds     float64           `json:"secondsPerRound"`
	Connections int               `json:"connections"`
	Idle        int               `json:"idleConnections"`
	Pinned      bool              `json:"pinned"`
	Versions    map[string]string `json:"versions"`
	// Direct is wrk on the upstream without a proxy, with the processor time
	// of the upstream: how far it was from being the limit.
	Direct  []Round   `json:"direct"`
	Results []*Result `json:"results"`
}

// Machine is what is worth knowing of where a run took place.
type Machine struct {
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
	Arch   string `json:"arch"`
	Go     string `json:"go"`
}

// Result is one subject's figures.
type Result struct {
	Subject string `json:"subject"`
	What    string `json:"what"`
	// Median holds the medians over the rounds, each column for itself.
	Median Round `json:"median"`
	// CPURatio is this subject's processor time per request over the
	// baseline's in the same round; the median, lowest and highest of those.
	// Zero when the baseline was not measured.
	CPURatio Spread  `json:"cpuRatio"`
	AtRest   Memory  `json:"memoryAtRest"`
	WithIdle Memory  `json:"memoryWithIdleConnections"`
	Rounds   []Round `json:"rounds"`
}

// Spread is a median with its range.
type Spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// summarize fills in what follows from the rounds.
func (r *Report) summarize() {
	var base []Round
	for _, res := range r.Results {
		if res.Subject == baseline {
			base = res.Rounds
		}
	}
	for _, res := range r.Results {
		res.Median = medianRound(res.Rounds)
		var ratios []float64
		for i := range min(len(base), len(res.Rounds)) {
			ratios = append(ratios, res.Rounds[i].CPUMicros/base[i].CPUMicros)
		}
		if len(ratios) > 0 {
			res.CPURatio = Spread{median(ratios), slices.Min(ratios), slices.Max(ratios)}
		}
	}
}

func medianRound(rounds []Round) Round {
	of := func(f func(Round) float64) float64 {
		v := make([]float64, len(rounds))
		for i, r := range rounds {
			v[i] = f(r)
		}
		return median(v)
	}
	return Round{
		Requests:  int64(of(func(r Round) float64 { return float64(r.Requests) })),
		PerSecond: of(func(r Round) float64 { return r.PerSecond }),
		CPUMicros: of(func(r Round) float64 { return r.CPUMicros }),
		P50Micros: of(func(r Round) float64 { return r.P50Micros }),
		P99Micros: of(func(r Round) float64 { return r.P99Micros }),
		Memory: Memory{
			Private: int64(of(func(r Round) float64 { return float64(r.Memory.Private) })),
			RSS:     int64(of(func(r Round) float64 { return float64(r.Memory.RSS) })),
		},
	}
}

// median of an even number of values is the mean of the middle two; of none, 0.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// WriteTable writes the figures for people, as a table that is Markdown too.
func (r *Report) WriteTable(w io.Writer) error {
	rows := [][]string{{
		"proxy", "CPU µs/request", "of " + baseline + "'s", "requests/s", "p50", "p99",
		"memory at rest", fmt.Sprintf("%d idle conns", r.Idle), "under load",
	}}
	for _, res := range r.Results {
		m := res.Median
		rows = append(rows, []string{
			res.Subject, fmt.Sprintf("%.1f", m.CPUMicros), res.CPURatio.String(),
			fmt.Sprintf("%.0f", m.PerSecond), micros(m.P50Micros), micros(m.P99Micros),
			res.AtRest.String(), res.WithIdle.String(), m.Memory.String(),
		})
	}
	var b bytes.Buffer
	writeAligned(&b, rows)
	fmt.Fprintf(&b, "\nMedians of %d rounds of %.0fs, interleaved; %d connections; ratios within a round, lowest-highest in brackets.\n",
		r.Rounds, r.Seconds, r.Connections)
	fmt.Fprintf(&b, "Memory is private / resident. The upstream alone: %.0f requests/s.\n", medianRound(r.Direct).PerSecond)
	where := "everything shares the processors"
	if r.Pinned {
		where = "the proxy has processor 0, wrk and the upstream the others (recloser-all: not pinned)"
	}
	fmt.Fprintf(&b, "%d processors, Linux %s, %s; %s.\n", r.Machine.CPUs, r.Machine.Kernel, r.Machine.Arch, where)
	for _, res := range r.Results {
		fmt.Fprintf(&b, "- %s: %s\n", res.Subject, res.What)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (s Spread) String() string {
	if s.Median == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f [%.2f-%.2f]", s.Median, s.Low, s.High)
}

func (m Memory) String() string {
	if m.RSS == 0 {
		return "-"
	}
	const mb = 1 << 20
	return fmt.Sprintf("%.1f / %.1f MB", float64(m.Private)/mb, float64(m.RSS)/mb)
}

func micros(v float64) string {
	return fmt.Sprintf("%.2f ms", v/1000)
}

// writeAligned writes rows as a Markdown table whose columns line up, the
// first to the left and figures to the right.
func writeAligned(b *bytes.Buffer, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	for n, row := range rows {
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-len([]rune(cell)))
			if i == 0 {
				fmt.Fprintf(b, "| %s%s |", cell, pad)
			} else {
				fmt.Fprintf(b, " %s%s |", pad, cell)
			}
		}
		b.WriteByte('\n')
		if n == 0 {
			for i := range row {
				if i == 0 {
					fmt.Fprintf(b, "|%s|", strings.Repeat("-", width[i]+2))
				} else {
					fmt.Fprintf(b, "%s:|", strings.Repeat("-", width[i]+1))
				}
			}
			b.WriteByte('\n')
		}
	}
}

// WriteJSON writes the whole report to a file in dir, which is made if need
// be, and returns its path.
func (r *Report) WriteJSON(dir string) (string, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "proxy.json")
	return path, os.WriteFile(path, append(b, '\n'), 0o644)
}

func machine() Machine {
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("unknown")
	}
	// Only the version: what follows the first dash is the builder's affair.
	version, _, _ := strings.Cut(strings.TrimSpace(string(kernel)), "-")
	return Machine{CPUs: runtime.NumCPU(), Kernel: version, Arch: runtime.GOARCH, Go: runtime.Version()}
}

// versions asks each program for its version. Programs without one are left
// out: the report has no use for an error here.
func (b *bench) versions(ctx context.Context) map[string]string {
	versions := map[string]string{}
	for program, flag := range map[string]string{"nginx": "-v", "haproxy": "-v", "wrk": "-v", "recloser-proxy": "--version"} {
		path := b.programs[program]
		if path == "" {
			continue
		}
		out, _ := exec.CommandContext(ctx, path, flag).CombinedOutput() // wrk -v exits with 1
		if line := first(string(out)); line != "" {
			versions[program] = line
		}
	}
	return versions
}
