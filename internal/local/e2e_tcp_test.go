package local

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// shouter is a server of a protocol in which the server speaks first: it says
// hello, and then what it hears in capitals, until the client has no more to
// say.
func shouter(t *testing.T) string {
	t.Helper()
	ln := must(net.Listen("tcp", "127.0.0.1:0"))
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				if _, err := io.WriteString(c, "hello\n"); err != nil {
					return
				}
				if heard, err := io.ReadAll(c); err == nil {
					_, _ = io.WriteString(c, strings.ToUpper(string(heard)))
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return ln.Addr().String()
}

// shout speaks to a shouter: it waits to be greeted, and says that it has no
// more to say before it listens to the end.
func shout(t *testing.T, address string) error {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	hello := make([]byte, 6)
	if _, err := io.ReadFull(c, hello); err != nil {
		return fmt.Errorf("no greeting: %w", err)
	}
	said := strings.Repeat("quiet ", 100_000)
	go func() {
		_, _ = io.WriteString(c, said)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	heard, err := io.ReadAll(c)
	if err == nil && (string(hello) != "hello\n" || string(heard) != strings.ToUpper(said)) {
		err = fmt.Errorf("heard %q and %d bytes", hello, len(heard))
	}
	return err
}

// TestTCPEndToEnd: services of which is said, or known, that they are opaque
// are reached at the address that programs are told, and through --publish.
func TestTCPEndToEnd(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	manifest := fmt.Sprintf(`
apiVersion: recloser.io/v1alpha1
kind: Workload
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {addresses: [%[1]q], ports: [{port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: known, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: declared, namespace: shop}
spec: {selector: {app: db}, ports: [{name: sql, port: 7000, targetPort: 5432, appProtocol: postgresql}]}
---
apiVersion: v1
kind: Service
metadata: {name: guessed, namespace: shop}
spec: {selector: {app: other}, ports: [{port: 7001}]}
---
apiVersion: recloser.io/v1alpha1
kind: Workload
metadata: {name: other, namespace: shop, labels: {app: other}}
spec: {addresses: [%[1]q], ports: [{port: 7001}]}
---
apiVersion: recloser.io/v1alpha1
kind: Workload
metadata: {name: shop, namespace: shop}
spec:
  command: [/bin/sh, -c, 'echo "told $KNOWN_SERVICE_HOST:$KNOWN_SERVICE_PORT $(DECLARED_SERVICE_HOST):$DECLARED_SERVICE_PORT_SQL"; exec sleep 1000']
`, shouter(t))
	open := must(ParseGateway(strings.TrimPrefix(freePortOf(t), "127.0.0.1:") + "=known:5432"))
	guessed := must(ParseGateway(strings.TrimPrefix(freePortOf(t), "127.0.0.1:") + "=guessed:7001"))
	m := newWholeMesh(t, manifest, func(c *UpConfig) { c.Gateways = []Gateway{open, guessed} })
	shop := m.instance("shop")
	known, declared := m.door(shop.Name, "known"), m.door(shop.Name, "declared")
	if want := "told " + known + " " + declared; !strings.Contains(m.log.String(), want) {
		t.Errorf("the program was not %s", want)
	}
	for _, at := range []string{known, declared, m.instance("db").Public[0].String()} {
		for range 3 {
			if err := shout(t, at); err != nil {
				t.Errorf("%s: %v\n%s", at, err, m.log)
			}
		}
	}
	m.awaitOpen(open)
	if err := shout(t, open.Listen.String()); err != nil {
		t.Errorf("--publish: %v", err)
	}
	// A client that waits to be greeted is waited for, at both sidecars; the
	// connection is passed on all the same.
	m.awaitOpen(guessed)
	if err := shout(t, guessed.Listen.String()); err != nil {
		t.Errorf("nothing is said of it: %v", err)
	}
	m.seesConnection(known)
	if lines := m.up.Mesh.Published(); len(lines) != 2 || !strings.HasSuffix(lines[0], "(tcp)") {
		t.Errorf("published: %q", lines)
	}
}

// awaitOpen waits for a gateway, which is no instance.
func (m *wholeMesh) awaitOpen(g Gateway) {
	m.t.Helper()
	for range 600 {
		if c, err := net.Dial("tcp", g.Listen.String()); err == nil {
			c.Close()
			return
		}
		if !sleep(m.t.Context(), eagerPeriod) {
			return
		}
	}
	m.t.Errorf("%s is not listened on", g)
}

// seesConnection holds a connection to service known and looks for it in the
// table, with the bytes of its greeting.
func (m *wholeMesh) seesConnection(address string) {
	m.t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		m.t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, 6)); err != nil {
		m.t.Fatal(err)
	}
	var row map[string]any
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); {
		row = m.row("svc/known")
		if read, _ := row["read_bytes_per_second"].(float64); row["tcp_open_connections"] == 1.0 && read > 0 && row["rps"] == nil {
			return
		}
		if !sleep(m.t.Context(), eagerPeriod) {
			return
		}
	}
	m.t.Errorf("an open connection is not seen: %v", row)
}
