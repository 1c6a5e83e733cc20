package apps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Knob is one setting of a program that can be turned while it runs.
type Knob struct {
	Name     string // as the flag that sets its first value
	Min, Max int64
	value    atomic.Int64
}

// Get returns the present value.
func (k *Knob) Get() int64 { return k.value.Load() }

// Set changes the value, which must be in the knob's range.
func (k *Knob) Set(v int64) error {
	if v < k.Min || v > k.Max {
		return fmt.Errorf("%s %d: allowed are %d to %d", k.Name, v, k.Min, k.Max)
	}
	k.value.Store(v)
	return nil
}

// maxKnobBody bounds the body of a request that turns a knob, in bytes.
const maxKnobBody = 64

// knobHandler serves GET /NAME, which answers the value as a decimal number
// and a newline, and POST /NAME with such a number as the body, which sets it
// and answers the same way. GET / lists all knobs, one "NAME VALUE" per line.
func knobHandler(knobs []*Knob) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		for _, k := range knobs {
			fmt.Fprintf(w, "%s %d\n", k.Name, k.Get())
		}
	})
	for _, k := range knobs {
		mux.HandleFunc("GET /"+k.Name, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, k.Get())
		})
		mux.HandleFunc("POST /"+k.Name, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxKnobBody))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			v, err := strconv.ParseInt(strings.TrimSpace(string(body)), 10, 64)
			if err != nil {
				http.Error(w, fmt.Sprintf("%s %q: want a whole number", k.Name, body), http.StatusBadRequest)
				return
			}
			if err := k.Set(v); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			fmt.Fprintln(w, k.Get())
		})
	}
	return mux
}

// controlNetwork reads where knobs are served: a path (of a unix socket; also
// written unix:PATH) or a host:port of the loopback interface. Nothing else is
// allowed, because knobs have no authentication.
func controlNetwork(address string) (network, addr string, err error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok || strings.HasPrefix(address, "/") {
		return "unix", path, nil
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !ap.Addr().IsLoopback() {
		return "", "", fmt.Errorf("%s %q: want the path of a unix socket or a loopback IP:PORT", EnvControl, address)
	}
	return "tcp", address, nil
}

// listenKnobs opens the address of EnvControl. A socket file that a former run
// left behind is replaced.
func listenKnobs(ctx context.Context, address string) (net.Listener, error) {
	network, addr, err := controlNetwork(address)
	if err != nil {
		return nil, err
	}
	if network == "unix" {
		if fi, err := os.Lstat(addr); err == nil && fi.Mode()&os.ModeSocket != 0 {
			if err := os.Remove(addr); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, fmt.Errorf("%s: %w", EnvControl, err)
			}
		}
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", EnvControl, err)
	}
	return ln, nil
}

// TurnKnob sets a knob of a running program through the address that the
// program was given as RECLOSER_LAB_CONTROL.
func TurnKnob(ctx context.Context, address, name string, value int64) error {
	_, err := knobRequest(ctx, address, http.MethodPost, name, strconv.FormatInt(value, 10))
	return err
}

// ReadKnob reads a knob of a running program.
func ReadKnob(ctx context.Context, address, name string) (int64, error) {
	answer, err := knobRequest(ctx, address, http.MethodGet, name, "")
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(answer), 10, 64)
}

func knobRequest(ctx context.Context, address, method, name, body string) (string, error) {
	network, addr, err := controlNetwork(address)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
	}
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	req, err := http.NewRequestWithContext(ctx, method, "http://knobs/"+name, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("knob %s: %w", name, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return "", fmt.Errorf("knob %s: %w", name, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("knob %s: %s: %s", name, resp.Status, bytes.TrimSpace(answer))
	}
	return string(answer), nil
}
