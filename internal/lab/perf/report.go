package perf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Report is all that a run found: what is printed and every round behind it.
type Report struct {
	Time     time.Time         `json:"time"`
	Machine  Machine           `json:"machine"`
	Rounds   int               `json:"rounds"`
	Seconds  float64           `json:"secondsPerRound"`
	Pinned   bool              `json:"pinned"`
	Versions map[string]string `json:"versions"`
	// Missing has a line for each peer that was not measured because it is
	// not installed, or did not start.
	Missing []string   `json:"missing,omitempty"`
	Traffic []*Section `json:"traffic"`
}

// Section is what was found with one kind of traffic: one table.
type Section struct {
	Name  string `json:"name"` // of Traffics
	Title string `json:"title"`
	Unit  string `json:"unit"` // what the figures call a request: request, call, message
	Load  string `json:"load"`
	Paced bool   `json:"paced"` // requests came at a rate of their own
	// Idle is how many of IdleOf (conns, streams) were held while memory was
	// measured; 0 when none were.
	Idle   int    `json:"idle"`
	IdleOf string `json:"idleOf"`
	// Direct is the load on the upstream without a proxy, with the processor
	// time of the upstream: how far it was from being the limit.
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
	WithIdle Memory  `json:"memoryWithIdle"`
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
	for _, s := range r.Traffic {
		s.summarize()
	}
}

func (s *Section) summarize() {
	var base []Round
	for _, res := range s.Results {
		if res.Subject == baseline {
			base = res.Rounds
		}
	}
	for _, res := range s.Results {
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
		Requests:   int64(of(func(r Round) float64 { return float64(r.Requests) })),
		PerSecond:  of(func(r Round) float64 { return r.PerSecond }),
		CPUMicros:  of(func(r Round) float64 { return r.CPUMicros }),
		P50Micros:  of(func(r Round) float64 { return r.P50Micros }),
		P99Micros:  of(func(r Round) float64 { return r.P99Micros }),
		P999Micros: of(func(r Round) float64 { return r.P999Micros }),
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

// WriteTable writes the figures for people, as tables that are Markdown too.
func (r *Report) WriteTable(w io.Writer) error {
	var b bytes.Buffer
	what := map[string]string{}
	var order []string
	for _, s := range r.Traffic {
		s.writeTable(&b)
		for _, res := range s.Results {
			if what[res.Subject] == "" {
				order = append(order, res.Subject)
			}
			what[res.Subject] = res.What
		}
	}
	fmt.Fprintf(&b, "Medians of %d rounds of %.0fs, interleaved; ratios within a round, lowest-highest in brackets.\n", r.Rounds, r.Seconds)
	b.WriteString("Memory is private / resident; each: what one idle one adds to the private.\n")
	where := "everything shares the processors"
	if r.Pinned {
		where = "the proxy has processor 0, load and upstream the others (recloser-all: not pinned)"
	}
	fmt.Fprintf(&b, "%d processors, Linux %s, %s; %s.\n", r.Machine.CPUs, r.Machine.Kernel, r.Machine.Arch, where)
	for _, name := range order {
		fmt.Fprintf(&b, "- %s: %s\n", name, what[name])
	}
	for _, line := range r.Missing {
		fmt.Fprintf(&b, "- not measured: %s\n", line)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (s *Section) writeTable(b *bytes.Buffer) {
	fmt.Fprintf(b, "## %s\n\n", s.Title)
	row := []string{"proxy", "CPU µs/" + s.Unit, "of " + baseline + "'s", s.Unit + "s/s", "p50", "p99"}
	if s.Paced {
		row = append(row, "p99.9")
	}
	rest := slices.ContainsFunc(s.Results, func(r *Result) bool { return r.AtRest.RSS > 0 })
	if rest {
		row = append(row, "memory at rest")
	}
	if s.Idle > 0 {
		row = append(row, fmt.Sprintf("%d idle %s", s.Idle, s.IdleOf))
	}
	rows := [][]string{append(row, "under load")}
	for _, res := range s.Results {
		m := res.Median
		row := []string{
			res.Subject, fmt.Sprintf("%.1f", m.CPUMicros), res.CPURatio.String(),
			fmt.Sprintf("%.0f", m.PerSecond), micros(m.P50Micros), micros(m.P99Micros),
		}
		if s.Paced {
			row = append(row, micros(m.P999Micros))
		}
		if rest {
			row = append(row, res.AtRest.String())
		}
		if s.Idle > 0 {
			row = append(row, res.WithIdle.String()+res.each(s.Idle))
		}
		rows = append(rows, append(row, m.Memory.String()))
	}
	writeAligned(b, rows)
	fmt.Fprintf(b, "\n%s; the upstream alone: %.0f %ss/s.\n\n", s.Load, medianRound(s.Direct).PerSecond, s.Unit)
}

// each says what one of n idle ones adds to the private memory.
func (r *Result) each(n int) string {
	if r.WithIdle.RSS == 0 {
		return ""
	}
	return fmt.Sprintf(", %.1f kB each", float64(r.WithIdle.Private-r.AtRest.Private)/1024/float64(n))
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
