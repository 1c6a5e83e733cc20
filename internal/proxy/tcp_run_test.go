package proxy

import (
	"net/http"
	"testing"
)

// A listener is of HTTP, then of all, then of bytes alone; no caller is refused
// on the way, and who is connected stays so.
func TestRunChangesTheKindOfAListener(t *testing.T) {
	up := startUpstream(t, func(p *peer, _ int) {
		first, _ := p.br.Peek(3)
		if string(first) == "GET" {
			answering(okAnswer("http"))(p, 0)
			return
		}
		for {
			line, err := p.br.ReadString('\n')
			if err != nil {
				return
			}
			p.send("raw " + line)
		}
	})
	res := resources{Inbound: freePort(t), App: portOf(up.addr)}
	r := startRun(t, res, nil)
	r.until("ready", r.ready)
	address := "127.0.0.1:" + res.Inbound
	raw := func(p *peer, line string) string {
		p.send(line)
		got, _ := p.br.ReadString('\n')
		return got
	}
	c := dial(t, address)
	c.send("hello\n\n")
	if resp, _ := c.answer(t, "GET"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("bytes on a listener of HTTP: %d", resp.StatusCode)
	}

	res.Inspect = true
	r.write(res)
	r.until("bytes are taken", func() bool { return raw(dial(t, address), "hello\n") == "raw hello\n" })
	if status, body := r.get(res.Inbound, "a"); status != 200 || body != "http" {
		t.Errorf("HTTP beside bytes: %d %q", status, body)
	}
	open := dial(t, address)
	if got := raw(open, "hello\n"); got != "raw hello\n" {
		t.Fatal(got)
	}

	res.Inspect, res.Bytes = false, true
	r.write(res)
	r.until("only bytes are taken", func() bool {
		// A request without a host is refused as HTTP, and is nothing special else.
		c := dial(t, address)
		c.send("GET / HTTP/1.1\r\n\r\n")
		resp, _ := c.answer(t, "GET")
		return resp.StatusCode == http.StatusOK
	})
	if got := raw(open, "still\n"); got != "raw still\n" {
		t.Errorf("a connection that was open got %q", got)
	}
	open.Close() // or the proxy would wait for it at its end
}
