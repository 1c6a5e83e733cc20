package perf

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// wrkReport makes wrk end with one line of JSON, which is steadier to read
// than its table. Latencies are in microseconds, as wrk keeps them.
const wrkReport = `
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"requests":%d,"micros":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"p50":%f,"p99":%f}\n',
    summary.requests, summary.duration, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
`

// wrkResult is that line.
type wrkResult struct {
	Requests                              int64
	Micros                                int64
	Connect, Read, Write, Status, Timeout int64
	P50, P99                              float64
}

// A Round is one subject under load once.
type Round struct {
	Requests  int64   `json:"requests"`
	PerSecond float64 `json:"requestsPerSecond"`
	// CPUMicros is the processor time of the subject per request, user and
	// system together, in microseconds.
	CPUMicros float64 `json:"cpuMicrosPerRequest"`
	// P50Micros and P99Micros are latencies as the client saw them, all
	// connections always busy.
	P50Micros float64 `json:"p50Micros"`
	P99Micros float64 `json:"p99Micros"`
	// Memory is the most that was seen while under load.
	Memory Memory `json:"memory"`
}

// upstream is the server behind every subject.
type upstream struct {
	*process
	addrs []string
	port  string
}

// startUpstream starts nginx as the upstream on two loopback addresses, so
// that balancers have a choice to make.
func (b *bench) startUpstream(ctx context.Context) (*upstream, error) {
	hosts := []string{"127.0.0.1", "127.0.0.2"}
	port, err := freePort(ctx, hosts...)
	if err != nil {
		return nil, err
	}
	u := &upstream{port: port}
	for _, h := range hosts {
		u.addrs = append(u.addrs, net.JoinHostPort(h, port))
	}
	s := subject{config: upstreamConfig, file: "nginx.conf", args: subjectNamed("nginx").args}
	dir := filepath.Join(b.dir, "upstream")
	args, err := s.prepare(params{Dir: dir, Upstreams: u.addrs, Answer: strings.ReplaceAll(answer, "\n", `\n`)})
	if err != nil {
		return nil, err
	}
	argv := b.pin.command(otherCPUs, append([]string{b.programs["nginx"]}, args...))
	u.process, err = start(ctx, "upstream", dir, u.addrs[0], argv, nil)
	return u, err
}

// startSubject starts one of the subjects in front of up.
func (b *bench) startSubject(ctx context.Context, name string, up *upstream) (*process, error) {
	s := subjectNamed(name)
	port, err := freePort(ctx, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	admin, err := freePort(ctx, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, name)
	p := params{
		Dir:          dir,
		Listen:       net.JoinHostPort("127.0.0.1", port),
		Port:         port,
		Admin:        net.JoinHostPort("127.0.0.1", admin),
		Upstreams:    up.addrs,
		UpstreamPort: up.port,
		Authority:    authority,
		Connections:  2 * b.config.Connections,
	}
	args, err := s.prepare(p)
	if err != nil {
		return nil, err
	}
	where := subjectCPU
	if s.free {
		where = anywhere
	}
	argv := b.pin.command(where, append([]string{b.programs[s.program]}, args...))
	return start(ctx, name, dir, p.Listen, argv, s.env)
}

// freePort returns a port that nobody listens on at any of hosts just now.
func freePort(ctx context.Context, hosts ...string) (string, error) {
	var lc net.ListenConfig
	port := "0"
	for _, h := range hosts {
		l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(h, port))
		if err != nil {
			return "", err
		}
		defer l.Close()
		if port == "0" {
			_, port, err = net.SplitHostPort(l.Addr().String())
			if err != nil {
				return "", err
			}
		}
	}
	return port, nil
}

// load drives p with wrk for d and reads what that cost p.
func (b *bench) load(ctx context.Context, p *process, d time.Duration) (Round, error) {
	script := filepath.Join(b.dir, "report.lua")
	if err := os.WriteFile(script, []byte(wrkReport), 0o600); err != nil {
		return Round{}, err
	}
	argv := b.pin.command(otherCPUs, []string{
		b.programs["wrk"], "-t1", "-c" + strconv.Itoa(b.config.Connections),
		"-d" + strconv.Itoa(int(d.Seconds())) + "s", "-s", script, "-H", "Host: " + authority, "http://" + p.addr + "/",
	})
	before, err := p.usage()
	if err != nil {
		return Round{}, err
	}
	peak := watchMemory(p)
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	memory := peak()
	if err != nil {
		return Round{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	after, err := p.usage()
	if err != nil {
		return Round{}, err
	}
	r, err := parseWrk(out)
	if err != nil {
		return Round{}, err
	}
	return Round{
		Requests:  r.Requests,
		PerSecond: float64(r.Requests) / (float64(r.Micros) / 1e6),
		CPUMicros: float64((after.cpu - before.cpu).Microseconds()) / float64(r.Requests),
		P50Micros: r.P50,
		P99Micros: r.P99,
		Memory:    memory,
	}, nil
}

// watchMemory reads the memory of p a few times a second until the returned
// function is called, which gives the highest.
func watchMemory(p *process) (peak func() Memory) {
	stop := make(chan struct{})
	result := make(chan Memory)
	go func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		var m Memory
		for {
			select {
			case <-stop:
				result <- m
				return
			case <-tick.C:
				if u, err := p.usage(); err == nil { // if not, load will say so
					m.Private = max(m.Private, u.memory.Private)
					m.RSS = max(m.RSS, u.memory.RSS)
				}
			}
		}
	}()
	return func() Memory {
		close(stop)
		return <-result
	}
}

// parseWrk reads the line of wrkReport from wrk's output. A figure from a run
// with errors would be the figure of something else, so any is an error here.
func parseWrk(out []byte) (wrkResult, error) {
	var r wrkResult
	i := bytes.LastIndexByte(bytes.TrimRight(out, "\n"), '\n')
	if err := json.Unmarshal(out[i+1:], &r); err != nil {
		return r, fmt.Errorf("wrk printed no result: %w\n%s", err, out)
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
		errs = append(errs, errors.New("no request was answered"))
	}
	return r, errors.Join(errs...)
}
