package perf

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// h2load keeps Config.HTTP2Streams on each of Config.HTTP2Connections busy
// with GET requests, or unary gRPC calls.
type h2load struct {
	grpc  bool
	paced bool // Config.Rate requests a second instead of always busy
}

const (
	h2loadLog  = "h2load.log"  // of each request, in the folder of the run
	h2loadBody = "h2load.body" // of each gRPC call, likewise
)

func (h2load) program() string { return "h2load" }

func (g h2load) args(c *Config, dir, addr string, d time.Duration) ([]string, error) {
	log := filepath.Join(dir, h2loadLog)
	if err := os.RemoveAll(log); err != nil { // h2load appends
		return nil, err
	}
	args := []string{
		"-t1", "-c" + strconv.Itoa(c.HTTP2Connections), "-m" + strconv.Itoa(c.HTTP2Streams),
		"-D" + strconv.Itoa(int(d.Seconds())), "--log-file=" + log, "--connect-to=" + addr,
	}
	if g.paced {
		args = append(args, "--rps="+strconv.FormatFloat(float64(c.Rate)/float64(c.HTTP2Connections), 'f', -1, 64))
	}
	path := "/"
	if g.grpc {
		path = sayPath
		body := filepath.Join(dir, h2loadBody)
		if err := os.WriteFile(body, message([]byte(answer)), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "-d", body, "-H", "content-type: application/grpc", "-H", "te: trailers")
	}
	return append(args, "http://"+authority+path), nil
}

// round reads h2load's summary, and the latencies from its log: it prints
// their mean, and not the quantiles.
func (g h2load) round(dir string, out []byte) (Round, error) {
	size := len(answer)
	if g.grpc {
		size = len(message([]byte(answer)))
	}
	s, err := parseH2load(out)
	if err != nil {
		return Round{}, err
	}
	if err := s.check(int64(size)); err != nil {
		return Round{}, err
	}
	log, err := os.Open(filepath.Join(dir, h2loadLog))
	if err != nil {
		return Round{}, err
	}
	defer log.Close()
	latencies, err := parseH2loadLog(log)
	if err != nil {
		return Round{}, err
	}
	slices.Sort(latencies)
	return Round{
		Requests:   s.succeeded,
		PerSecond:  s.perSecond,
		P50Micros:  quantile(latencies, 0.5),
		P99Micros:  quantile(latencies, 0.99),
		P999Micros: quantile(latencies, 0.999),
	}, nil
}

// h2loadSummary is what is read of h2load's output.
type h2loadSummary struct {
	perSecond                                    float64
	started, succeeded, failed, errored, timeout int64
	status2xx                                    int64
	data                                         int64 // bytes of bodies
}

// These lines have been the same since h2load 1.10. "finished in" is given
// with two decimals and of no use by itself.
var (
	h2loadFinished = regexp.MustCompile(`(?m)^finished in [^,]+, (\d+(?:\.\d+)?) req/s`)
	h2loadRequests = regexp.MustCompile(`(?m)^requests: \d+ total, (\d+) started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)
	h2loadStatus   = regexp.MustCompile(`(?m)^status codes: (\d+) 2xx, `)
	h2loadTraffic  = regexp.MustCompile(`(?m)^traffic: .*, [^(]+ \((\d+)\) data`)
)

func parseH2load(out []byte) (h2loadSummary, error) {
	var s h2loadSummary
	for _, line := range []struct {
		what   string
		form   *regexp.Regexp
		fields []any
	}{
		{"finished in", h2loadFinished, []any{&s.perSecond}},
		{"requests:", h2loadRequests, []any{&s.started, &s.succeeded, &s.failed, &s.errored, &s.timeout}},
		{"status codes:", h2loadStatus, []any{&s.status2xx}},
		{"traffic:", h2loadTraffic, []any{&s.data}},
	} {
		m := line.form.FindSubmatch(out)
		if m == nil {
			return s, fmt.Errorf("it printed no %q line of the known form\n%s", line.what, out)
		}
		for i, field := range line.fields {
			if _, err := fmt.Sscan(string(m[i+1]), field); err != nil {
				return s, fmt.Errorf("%q: %w", bytes.TrimSpace(m[0]), err)
			}
		}
	}
	return s, nil
}

// check says whether every request was answered, with a body of size bytes:
// a refusal in gRPC's form is a 200 without one.
func (s h2loadSummary) check(size int64) error {
	var errs []error
	for _, e := range []struct {
		n    int64
		what string
	}{
		{s.failed, "failed requests"},
		{s.errored, "errored requests"},
		{s.timeout, "requests that timed out"},
	} {
		if e.n != 0 {
			errs = append(errs, fmt.Errorf("%d %s", e.n, e.what))
		}
	}
	// What was under way at the end may have come in part.
	under := s.started - s.succeeded
	if s.status2xx < s.succeeded {
		errs = append(errs, fmt.Errorf("%d answers with a status of 2xx, of %d", s.status2xx, s.succeeded))
	}
	if s.data < s.succeeded*size || s.data > (s.succeeded+under)*size {
		errs = append(errs, fmt.Errorf("%d bytes of bodies in %d answers of %d", s.data, s.succeeded, size))
	}
	if s.succeeded == 0 {
		errs = append(errs, errNoRequest)
	}
	return errors.Join(errs...)
}

// parseH2loadLog reads lines of start time, status and microseconds, with tabs
// between, of which every status must be 200.
func parseH2loadLog(log io.Reader) ([]float64, error) {
	var micros []float64
	lines := bufio.NewScanner(log)
	for n := 1; lines.Scan(); n++ {
		f := strings.Split(lines.Text(), "\t")
		if len(f) < 3 {
			return nil, fmt.Errorf("log, line %d: %q is not of the known form", n, lines.Text())
		}
		if f[1] != "200" {
			return nil, fmt.Errorf("log, line %d: status %s", n, f[1])
		}
		v, err := strconv.ParseFloat(f[2], 64)
		if err != nil {
			return nil, fmt.Errorf("log, line %d: %w", n, err)
		}
		micros = append(micros, v)
	}
	return micros, lines.Err()
}

// quantile returns the smallest of sorted that q of them are not above; of
// none, 0.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
