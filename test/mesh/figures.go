package mesh

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Metric returns the sum of a metric's series that have all the labels, each
// written as in the exposition: name="value". A metric without such a series
// is 0.
func (p *Proxy) Metric(name string, labels ...string) (float64, error) {
	text, err := p.Get("/metrics")
	if err != nil {
		return 0, err
	}
	return sum(text, name, labels)
}

func sum(text, name string, labels []string) (float64, error) {
	var total float64
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
next:
	for lines.Scan() {
		line := lines.Text()
		end := strings.LastIndexByte(line, ' ')
		if end < 0 || line[0] == '#' {
			continue
		}
		series, value := line[:end], line[end+1:]
		have, rest, _ := strings.Cut(series, "{")
		if have != name {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue next
			}
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", series, err)
		}
		total += v
	}
	return total, lines.Err()
}

// Figures of a proxy's process.
type Figures struct {
	Goroutines int
	Private    int64 // as Private gives it
	Heap       int64 // bytes of objects that the last collection found alive
}

// Figures reads them now. Until the proxy has collected for the first time,
// which asking for its metrics brings about sooner or later, it is an error.
func (p *Proxy) Figures() (Figures, error) {
	text, err := p.Get("/metrics")
	if err != nil {
		return Figures{}, err
	}
	goroutines, err1 := sum(text, "go_goroutines", nil)
	heap, err2 := sum(text, "go_gc_heap_live_bytes", nil)
	private, err3 := p.Private()
	if err2 == nil && heap == 0 {
		err2 = errors.New("no collection of garbage yet")
	}
	return Figures{Goroutines: int(goroutines), Private: private, Heap: int64(heap)}, errors.Join(err1, err2, err3)
}

// MustFigures waits for them.
func (p *Proxy) MustFigures() Figures {
	p.t.Helper()
	var f Figures
	Until(p.t, "the proxy's figures", func() (err error) {
		f, err = p.Figures()
		return err
	})
	return f
}

// Private returns how many bytes of the process are in memory that no other
// process shares and no file backs. Where the system does not tell, it is all
// resident memory as the proxy's own metrics have it.
func (p *Proxy) Private() (int64, error) {
	if n, err := privateBytes(p.PID()); err == nil {
		return n, nil
	}
	resident, err := p.Metric("process_resident_memory_bytes")
	return int64(resident), err
}

// privateBytes reads what Linux says of a process.
func privateBytes(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("no RssAnon in status")
}
