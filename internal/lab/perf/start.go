package perf

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
)

// upstream is the server behind every subject.
type upstream struct {
	*process
	addrs []string
	port  string
}

// startUpstream starts the upstream of t on two loopback addresses, so that
// balancers have a choice to make.
func (b *bench) startUpstream(ctx context.Context, t *traffic) (*upstream, error) {
	hosts := []string{"127.0.0.1", "127.0.0.2"}
	port, err := freePort(ctx, hosts...)
	if err != nil {
		return nil, err
	}
	u := &upstream{port: port}
	for _, h := range hosts {
		u.addrs = append(u.addrs, net.JoinHostPort(h, port))
	}
	s := named(origins, t.origin)
	dir := filepath.Join(b.dir, t.name, "upstream")
	args, err := s.prepare(params{Dir: dir, Upstreams: u.addrs, Answer: strings.ReplaceAll(answer, "\n", `\n`), BackHTTP2: t.back == http2})
	if err != nil {
		return nil, err
	}
	argv := b.pin.command(otherCPUs, append([]string{b.programs[s.program]}, args...))
	ask := askHTTP1
	if t.back == http2 {
		ask = t.ask()
	}
	u.process, err = start(ctx, "upstream", dir, u.addrs[0], ask, argv, nil)
	return u, err
}

// ask is how a subject under t is asked for its first answer.
func (t *traffic) ask() asker {
	if t.front == http1 {
		return askHTTP1
	}
	return func(ctx context.Context, addr string) (io.Closer, error) { return askHTTP2(ctx, addr, t.path) }
}

// startSubject starts one of the subjects in front of up.
func (b *bench) startSubject(ctx context.Context, t *traffic, name string, up *upstream) (*process, error) {
	s := named(subjects, name)
	port, err := freePort(ctx, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	admin, err := freePort(ctx, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, t.name, name)
	p := params{
		Dir:          dir,
		Listen:       net.JoinHostPort("127.0.0.1", port),
		Port:         port,
		Admin:        net.JoinHostPort("127.0.0.1", admin),
		Upstreams:    up.addrs,
		UpstreamPort: up.port,
		Authority:    authority,
		Connections:  2 * max(b.config.Connections, b.config.HTTP2Connections*b.config.HTTP2Streams),
		FrontHTTP2:   t.front == http2,
		BackHTTP2:    t.back == http2,
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
	return start(ctx, name, dir, p.Listen, t.ask(), argv, s.env)
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
