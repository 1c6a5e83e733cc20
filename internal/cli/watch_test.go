package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reclosermesh/recloser/internal/observe/breakers"
	"github.com/reclosermesh/recloser/internal/observe/client"
)

// output is a writer that tells when it has a text.
type output struct {
	mu   sync.Mutex
	cond *sync.Cond
	buf  bytes.Buffer
}

func newOutput() *output {
	o := &output{}
	o.cond = sync.NewCond(&o.mu)
	return o
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.cond.Broadcast()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *output) waitFor(text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !strings.Contains(o.buf.String(), text) {
		o.cond.Wait()
	}
}

// Commands that stay end well when they are interrupted.
func TestInterrupted(t *testing.T) {
	url, err := serveTutorial(t.Cleanup)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ args, want string }{
		{"events -f", "7 failures in a row; next probe in 1.3s"},
		{"events -f -o json", `"to":"open"`},
		{"breakers -w", "50%\nslow-cooker"},
		{"breakers -w -o json", `"state":"open"`},
	} {
		t.Run(tc.args, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			out, stderr := newOutput(), newOutput()
			status := make(chan int, 1)
			go func() {
				status <- Run(ctx, append(strings.Fields(tc.args), "--control", url), Streams{In: strings.NewReader(""), Out: out, Err: stderr})
			}()
			out.waitFor(tc.want)
			cancel()
			if got := <-status; got != ExitOK || stderr.String() != "" {
				t.Errorf("status %d, want %d; it said %q", got, ExitOK, stderr)
			}
		})
	}
}

// Following tells when the control plane ended, and that is not a failure.
func TestFollowedControlPlaneEnds(t *testing.T) {
	var stop []func()
	url, err := serveTutorial(func(f func()) { stop = append(stop, f) })
	if err != nil {
		t.Fatal(err)
	}
	out, stderr := newOutput(), newOutput()
	status := make(chan int, 1)
	go func() {
		status <- Run(t.Context(), []string{"events", "-f", "--control", url}, Streams{In: strings.NewReader(""), Out: out, Err: stderr})
	}()
	out.waitFor("next probe")
	for _, f := range slices.Backward(stop) {
		f()
	}
	if got := <-status; got != ExitOK || stderr.String() != "recloser: the control plane ends\n" {
		t.Errorf("status %d, it said %q", got, stderr)
	}
}

func list(states ...breakers.State) *breakers.List {
	l := &breakers.List{At: tutorialTime}
	for i, s := range states {
		l.Breakers = append(l.Breakers, breakers.Breaker{
			Client: breakers.Client{Node: "c"}, Service: breakers.Service{Name: "bb"},
			Endpoint: breakers.Endpoint{Address: "127.0.0.1:" + strconv.Itoa(i)}, State: s,
		})
	}
	return l
}

// In a pipe, a watch writes a table when something changed, and only then.
func TestWatchInAPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []*breakers.List{list(breakers.Closed), list(breakers.Closed), list(breakers.Open), list(breakers.Open)}
		var out bytes.Buffer
		v := breakersView{out: &out}
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		err := v.watch(ctx, func(context.Context) (*breakers.List, error) {
			l := answers[0]
			if answers = answers[1:]; len(answers) == 0 {
				cancel()
			}
			return l, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(out.String(), "CLIENT"); got != 2 {
			t.Errorf("%d tables, want 2:\n%s", got, &out)
		}
		if took := time.Since(began); took != 3*refresh {
			t.Errorf("four looks took %s, want %s", took, 3*refresh)
		}
	})
}

func TestWatchFails(t *testing.T) {
	gone := &client.UnreachableError{URL: "http://x", Err: io.EOF}
	v := breakersView{out: io.Discard}
	if err := v.watch(t.Context(), func(context.Context) (*breakers.List, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
}

// fakeTerminal shows what a terminal would: it knows the sequences that a
// screen writes.
type fakeTerminal struct {
	t      *testing.T
	lines  []string
	row    int
	col    int
	cursor bool // visible
}

var sequence = regexp.MustCompile(`^\x1b\[(\??)(\d*)([A-Za-z])`)

func (f *fakeTerminal) Write(p []byte) (int, error) {
	for s := string(p); s != ""; {
		for f.row >= len(f.lines) {
			f.lines = append(f.lines, "")
		}
		if m := sequence.FindStringSubmatch(s); m != nil {
			s = s[len(m[0]):]
			n, _ := strconv.Atoi(m[2])
			switch m[1] + m[3] {
			case "F":
				f.row, f.col = f.row-n, 0
				if f.row < 0 {
					f.t.Fatal("the cursor went above the drawing")
				}
			case "K":
				f.lines[f.row] = f.lines[f.row][:f.col]
			case "J":
				f.lines = append(f.lines[:f.row], f.lines[f.row][:f.col])
			case "?h":
				f.cursor = true
			case "?l":
				f.cursor = false
			default:
				f.t.Fatalf("an unknown sequence %q", m[0])
			}
			continue
		}
		if s[0] == '\n' {
			f.row, f.col, s = f.row+1, 0, s[1:]
			continue
		}
		r := []rune(s)[0]
		text, s2 := string(r), s[len(string(r)):]
		line := f.lines[f.row]
		rest := ""
		if f.col+1 < len(line) {
			rest = line[f.col+1:]
		}
		f.lines[f.row] = line[:f.col] + text + rest
		f.col += len(text)
		s = s2
	}
	return len(p), nil
}

func (f *fakeTerminal) text() string { return strings.TrimRight(strings.Join(f.lines, "\n"), "\n") }

func TestScreen(t *testing.T) {
	ft := &fakeTerminal{t: t}
	s := &screen{w: ft}
	for _, text := range []string{"one\ntwo, longer\nthree\n", "1\n2\n", "a\nb\nc\nd\n", "last\n"} {
		if err := s.draw(text); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimSuffix(text, "\n"), ft.text()); diff != "" {
			t.Error(diff)
		}
		if ft.cursor {
			t.Error("the cursor shows while it draws")
		}
	}
	s.height = 3
	if err := s.draw("1\n2\n3\n4\n5\n"); err != nil {
		t.Fatal(err)
	}
	if got := ft.text(); !strings.HasPrefix(got, "1\n") || strings.Contains(got, "3") {
		t.Errorf("in a terminal of 3 lines: %q", got)
	}
	s.end()
	if !ft.cursor {
		t.Error("the cursor does not come back")
	}
}
