package perf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// wrk keeps Config.Connections busy with HTTP/1.1 requests.
type wrk struct{}

// wrkReport makes wrk end with one line of JSON, which is steadier to read
// than its table. Latencies are in microseconds, as wrk keeps them.
const wrkReport = `
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"requests":%d,"micros":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"p50":%f,"p99":%f,"p999":%f}\n',
    summary.requests, summary.duration, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
`

func (wrk) program() string { return "wrk" }

func (wrk) args(c *Config, dir, addr string, d time.Duration) ([]string, error) {
	script := filepath.Join(dir, "report.lua")
	if err := os.WriteFile(script, []byte(wrkReport), 0o600); err != nil {
		return nil, err
	}
	return []string{
		"-t1", "-c" + strconv.Itoa(c.Connections), "-d" + strconv.Itoa(int(d.Seconds())) + "s", "-s", script,
		"-H", "Host: " + authority, "http://" + addr + "/",
	}, nil
}

// round reads the line of wrkReport.
func (wrk) round(_ string, out []byte) (Round, error) {
	var r struct {
		Requests                              int64
		Micros                                int64
		Connect, Read, Write, Status, Timeout int64
		P50, P99, P999                        float64
	}
	i := bytes.LastIndexByte(bytes.TrimRight(out, "\n"), '\n')
	if err := json.Unmarshal(out[i+1:], &r); err != nil {
		return Round{}, fmt.Errorf("it printed no result: %w\n%s", err, out)
	}
	var errs []error
	for _, e := range []struct {
		n    int64
		what string
	}{
		{r.Status, "answers with status 400 or above"},
		{r.Connect, "failed connects"},
		{r.Read, "failed reads"},
		{r.Write, "failed writes"},
		{r.Timeout, "requests without an answer within 2s"},
	} {
		if e.n != 0 {
			errs = append(errs, fmt.Errorf("%d %s", e.n, e.what))
		}
	}
	if r.Requests == 0 || r.Micros == 0 {
		errs = append(errs, errNoRequest)
	}
	return Round{
		Requests:   r.Requests,
		PerSecond:  float64(r.Requests) / (float64(r.Micros) / 1e6),
		P50Micros:  r.P50,
		P99Micros:  r.P99,
		P999Micros: r.P999,
	}, errors.Join(errs...)
}

var errNoRequest = errors.New("no request was answered")
