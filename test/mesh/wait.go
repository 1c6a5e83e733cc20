package mesh

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// Patience is how long the suites wait for something that is bound to happen.
// It decides nothing but when a test gives up.
const Patience = 30 * time.Second

// Until waits for a condition: nil is met, and else the error says what is
// missing. The test ends when it is not met in time.
func Until(t testing.TB, what string, met func() error) {
	t.Helper()
	if err := Await(Patience, met); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// Await is Until with a bound of its own and without a test.
func Await(atMost time.Duration, met func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(atMost)
	defer end.Stop()
	for {
		err := met()
		if err == nil {
			return nil
		}
		select {
		case <-end.C:
			return fmt.Errorf("not after %v: %w", atMost, err)
		case <-tick.C:
		}
	}
}

// Ports are taken from below the range that the kernel gives to outgoing
// connections, so that what is free now is free when a program listens on it;
// each process begins elsewhere.
var nextPort atomic.Uint32

const (
	firstPort = 12000
	ports     = 16000
)

// FreeAddress returns an IP:PORT of this machine on which nobody listens.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for range ports {
		n := nextPort.Add(1) + uint32(os.Getpid())*131
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+n%ports)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return addr
	}
	t.Fatal("no free port")
	return ""
}
